"""SyncDreamer on the robot's own frames: one of them is shown to it, and it draws sixteen views that agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparse_recon.complete.base import CompletionTask, OnLoad, ViewCompleter
from sparse_recon.complete.latent.agreement import agreements
from sparse_recon.complete.latent.cameras import SphericalCamera, model_intrinsics
from sparse_recon.complete.latent.conditioning_image import (
    ConditioningImage,
    best_conditioning_view,
    conditioning_image,
    object_extent,
)
from sparse_recon.complete.latent.generated_views import WHITE, generated_view, object_mask, rounding_warnings
from sparse_recon.complete.latent.mini import MINI, mini_warning
from sparse_recon.complete.latent.outlines import Outlines
from sparse_recon.complete.syncdreamer.cameras import TRAINED, view_cameras
from sparse_recon.complete.syncdreamer.parameters import SyncDreamerConfig
from sparse_recon.complete.syncdreamer.previews import EVERY, is_due, made_or, outlined
from sparse_recon.complete.syncdreamer.similarity import Similarity, fitted_similarity
from sparse_recon.complete.syncdreamer.sizes import MODEL, SyncDreamerSize
from sparse_recon.complete.syncdreamer.weights import layout, mini
from sparse_recon.completion import Completion
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.types import Float32, Float64, GeneratedView, Positions, SurfaceField, UInt8

if TYPE_CHECKING:
    from sparse_recon.complete.syncdreamer.sampling import SetSampler

# A set that misses the measured surface by more than this share of the object's longest side is told.
LARGE_RESIDUAL = 0.05


@dataclass(frozen=True, eq=False)
class DrawnSet:
    """What was drawn of an object.

    Attributes
    ----------
    pictures : (V, P, P, 3) uint8.
    masks : (V, P, P) bool.
    confidence : (V, P, P) float32, how far views agree.
    cameras : relative to the middle of the set, lengths in its longest side.
    similarity : from the space of the set to that of the object.
    """

    pictures: UInt8
    masks: np.ndarray
    confidence: Float32
    cameras: list[SphericalCamera]
    similarity: Similarity


class SyncDreamerCompleter(ViewCompleter):
    """Imagines sixteen views; `fuse` fits a volume to them and to what cameras saw and measured."""

    name = MODEL

    def __init__(self, size: SyncDreamerSize | None = None) -> None:
        self._published_size = self._size = size or SyncDreamerSize()
        self._sampler: SetSampler | None = None
        self._model: Any = None

    def load(self, config: SessionConfig, on_progress: OnLoad) -> None:
        """Read the weights, strictly; see `ViewCompleter.load`."""
        from sparse_recon.complete.latent.weights import check_given, read_given

        own, known = config.of(SyncDreamerConfig), layout(self._published_size)
        check_given(own.weights, known)
        from sparse_recon.complete.syncdreamer.model import SyncDreamerModel
        from sparse_recon.complete.syncdreamer.sampling import SetSampler
        from sparse_recon.machine.processor import chosen_device, chosen_dtype

        device = chosen_device(own.device)
        self._size, tensors = read_given(own.weights, self._published_size, known, on_progress, mini)
        self._model = SyncDreamerModel(tensors, self._size, device, chosen_dtype(own.precision, device))
        self._sampler = SetSampler(self._model, own)
        on_progress(1.0, f"networks on {device}")

    def complete(self, task: CompletionTask) -> Completion:
        """Imagine views of the object; see `ViewCompleter.complete`."""
        if self._sampler is None:
            raise ModelError(
                ErrorCode.MODEL_FAILED, f"{MODEL} cannot complete before its weights are loaded; call load first"
            )
        own = task.config.of(SyncDreamerConfig)
        # 1. Where the object's middle is and how large it is, by the carved prior: also the first preview.
        prior = task.prior
        task.on_step(0, 1, prior)
        middle_obj, unit_m = object_extent(prior, task.evidence)
        T_obj_centre = np.eye(4)
        T_obj_centre[:3, 3] = middle_obj
        T_world_centre = task.views.object_frame.T_world_obj @ T_obj_centre

        # 2. The picture that it is shown; its elevation is that of the camera's pose.
        view = best_conditioning_view(task.views.views)
        picture = conditioning_image(view, T_world_centre, unit_m, TRAINED, self._size.image_side)
        task.checkpoint()

        small = (mini_warning(MODEL),) if own.weights == MINI else ()

        # 3. All views, the first from the picture's azimuth; by their outlines, later previews.
        sampler, cameras = self._sampler, view_cameras(picture.camera.azimuth_rad, self._size.volume.views)
        shown = prior

        def on_step(step: int, steps: int, clean: Any) -> None:
            nonlocal shown

            def make() -> SurfaceField:
                some = sampler.pictures(clean[0, ::EVERY], task.checkpoint)
                return outlined(prior, task.evidence.grid, some, cameras[::EVERY], middle_obj, unit_m)

            if is_due(step, steps):
                shown = made_or(prior, make)
            task.preview(step, steps, shown)  # the outlines are not aligned yet: the answer so far stays the prior

        pictures = sampler.generate(picture, task.seed, own, on_step, task.checkpoint)
        task.checkpoint()
        if len(pictures) != self._size.volume.views:
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                f"{MODEL} generated {len(pictures)} views, {self._size.volume.views} were asked for; report this",
            )
        masks = np.stack([object_mask(rgb, WHITE) for rgb in pictures])
        task.checkpoint()
        if not masks.any():
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                f"none of the {len(pictures)} views that {MODEL} generated shows an object; try another seed or "
                "other frames",
            )

        # 4. How far they agree, and where they fit what was measured.
        measured = transform_points(inverse(T_obj_centre), task.evidence.all_points_obj()) / unit_m
        drawn = drawn_set(pictures, masks, cameras, measured if own.align else None, task.seed, task.checkpoint)
        return Completion(
            self.name,
            task.seed,
            views=generated_views(drawn, T_world_centre, unit_m, task.seed),
            warnings=(
                *picture.warnings,
                *small,
                *rounding_warnings(MODEL, str(self._model.dtype), own.guidance),
                *_warnings(len(task.views.views), drawn.similarity, unit_m),
            ),
            diagnostics=_diagnostics(picture, drawn, unit_m, self._model),
        )


def drawn_set(
    pictures: UInt8,
    masks: np.ndarray,
    cameras: list[SphericalCamera],
    measured: Positions | None,
    seed: int,
    checkpoint: Callable[[], None] = lambda: None,
) -> DrawnSet:
    """Return pictures with what they say of each other, and of measured points (N, 3) in longest sides, if given."""
    T_cam_obj = np.stack([inverse(camera.T_obj_cam()) for camera in cameras])
    lens = model_intrinsics(pictures.shape[1])
    outlines = Outlines(masks, T_cam_obj, lens)
    points = np.zeros((0, 3)) if measured is None else np.asarray(measured, np.float64)
    similarity = fitted_similarity(outlines, points, seed, checkpoint)
    return DrawnSet(
        pictures, masks, agreements(pictures, masks, T_cam_obj, lens, outlines, checkpoint), cameras, similarity
    )


def generated_views(drawn: DrawnSet, T_world_centre: Float64, unit_m: float, seed: int) -> tuple[GeneratedView, ...]:
    """Return the pictures that show something as frames of the world, the whole set placed by its similarity."""
    T_centre_set = drawn.similarity.T.copy()
    T_centre_set[:3, 3] *= unit_m
    return tuple(
        generated_view(
            rgb, camera, T_world_centre @ T_centre_set, drawn.similarity.scale * unit_m, MODEL, seed, confidence
        )
        for rgb, mask, camera, confidence in zip(
            drawn.pictures, drawn.masks, drawn.cameras, drawn.confidence, strict=True
        )
        if mask.any()
    )


def _warnings(views: int, similarity: Similarity, unit_m: float) -> tuple[str, ...]:
    said = []
    if views > 1:
        said.append(
            f"{MODEL} is conditioned on 1 of {views} views; the others bound the result, and place the generated views"
        )
    if similarity.residual > LARGE_RESIDUAL:
        said.append(
            f"the generated views miss the measured surface by {1e3 * similarity.residual * unit_m:.0f} mm; "
            "try another seed or other frames"
        )
    return tuple(said)


def _diagnostics(picture: ConditioningImage, drawn: DrawnSet, unit_m: float, model: Any) -> dict[str, float | str]:
    fit = drawn.similarity
    return {
        "unit_m": unit_m,
        "elevation_deg": float(np.rad2deg(picture.camera.elevation_rad)),
        "radius": picture.camera.radius,
        "device": model.device,
        "precision": str(model.dtype).removeprefix("torch."),
        "agreement": float(drawn.confidence[drawn.masks].mean()),
        "scale": fit.scale,
        "turn_deg": float(np.rad2deg(fit.turn_rad)),
        "shift_m": float(np.linalg.norm(fit.T[:3, 3])) * unit_m,
        "residual_before_m": fit.residual_before * unit_m,
        "residual_m": fit.residual * unit_m,
    }
