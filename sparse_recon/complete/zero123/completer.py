"""Zero-1-to-3 on the robot's own frames: one of them is shown to it, and it draws a ring of views around the object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparse_recon.complete.base import CompletionTask, OnLoad, ViewCompleter
from sparse_recon.complete.latent.conditioning_image import (
    ConditioningImage,
    best_conditioning_view,
    conditioning_image,
    object_extent,
)
from sparse_recon.complete.latent.generated_views import generated_view, rounding_warnings
from sparse_recon.complete.latent.mini import MINI, mini_warning
from sparse_recon.complete.zero123.cameras import TRAINED, camera_ring
from sparse_recon.complete.zero123.parameters import Zero123Config
from sparse_recon.complete.zero123.weights import Zero123Size, layout, mini
from sparse_recon.completion import Completion
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, ModelError

if TYPE_CHECKING:
    from sparse_recon.complete.zero123.sampling import ViewSampler


class Zero123Completer(ViewCompleter):
    """Imagines views; `fuse` fits a volume to them, or distils one from what the model says of any view."""

    name = "zero123"

    def __init__(self, size: Zero123Size | None = None) -> None:
        self._published_size = self._size = size or Zero123Size()
        self._sampler: ViewSampler | None = None
        self._model: Any = None

    def load(self, config: SessionConfig, on_progress: OnLoad) -> None:
        """Read the weights, strictly; see `ViewCompleter.load`."""
        from sparse_recon.complete.latent.weights import check_given, read_given

        own, known = config.of(Zero123Config), layout(self._published_size)
        check_given(own.weights, known)
        from sparse_recon.complete.zero123.model import Zero123Model
        from sparse_recon.complete.zero123.sampling import ViewSampler
        from sparse_recon.machine.processor import chosen_device, chosen_dtype

        device = chosen_device(own.device)
        dtype = chosen_dtype(own.precision, device, amplified=own.geometry == "distill")
        self._size, tensors = read_given(
            own.weights, self._published_size, known, on_progress, mini, averaged=own.averaged
        )
        self._model = Zero123Model(tensors, self._size, device, dtype)
        if own.compile:
            self._model.compile()
        self._sampler = ViewSampler(self._model, own)
        on_progress(1.0, f"networks on {device}")

    def complete(self, task: CompletionTask) -> Completion:
        """Imagine views of the object; see `ViewCompleter.complete`."""
        if self._sampler is None:
            raise ModelError(
                ErrorCode.MODEL_FAILED, "zero123 cannot complete before its weights are loaded; call load first"
            )
        own = task.config.of(Zero123Config)
        # 1. Where the object's middle is and how large it is, by the carved prior: also the first preview.
        prior = task.prior
        task.on_step(0, 1, prior)
        middle_obj, unit_m = object_extent(prior, task.evidence)
        T_world_centre = task.views.object_frame.T_world_obj.copy()
        T_world_centre[:3, 3] += T_world_centre[:3, :3] @ middle_obj

        # 2. The picture that it is shown.
        view = best_conditioning_view(task.views.views)
        picture = conditioning_image(view, T_world_centre, unit_m, TRAINED, self._size.image_side)
        task.checkpoint()
        warnings = picture.warnings
        if own.weights == MINI:
            warnings += (mini_warning(self.name),)
        if len(task.views.views) > 1:
            warnings += (
                f"zero123 is conditioned on 1 of {len(task.views.views)} views; the others only bound the result",
            )
        warnings += rounding_warnings(self.name, str(self._model.dtype), own.guidance)
        if own.geometry == "distill":
            from sparse_recon.complete.zero123.score import Zero123Score

            score = Zero123Score(self._model, picture, unit_m)
            return Completion(self.name, task.seed, score=score, warnings=warnings, centre_obj=middle_obj)

        # 3. The views around it.
        cameras = camera_ring(picture.camera, own.views)
        seeds = [task.seed * 1_000_003 + k for k in range(len(cameras))]
        pictures = self._sampler.generate(
            picture, cameras, seeds, own, lambda step, steps, clean: task.on_step(step, steps, prior)
        )
        views = tuple(
            generated_view(rgb, camera, T_world_centre, unit_m, self.name, seed)
            for rgb, camera, seed in zip(pictures, cameras, seeds, strict=True)
        )
        drawn = tuple(view for view in views if view.mask.any())
        if not drawn:
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                f"none of the {len(views)} views that zero123 generated shows an object; try another seed or "
                "other frames",
            )
        return Completion(
            self.name, task.seed, views=drawn, warnings=warnings, diagnostics=_diagnostics(picture, unit_m, self._model)
        )


def _diagnostics(picture: ConditioningImage, unit_m: float, model: Any) -> dict[str, float | str]:
    return {
        "unit_m": unit_m,
        "elevation_deg": float(np.rad2deg(picture.camera.elevation_rad)),
        "radius": picture.camera.radius,
        "device": model.device,
        "precision": str(model.dtype).removeprefix("torch."),
    }
