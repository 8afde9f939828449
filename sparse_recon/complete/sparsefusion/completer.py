"""SparseFusion on the robot's own frames: all of them are shown to it, and it draws a ring of views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparse_recon.complete.base import CompletionTask, OnLoad, ViewCompleter
from sparse_recon.complete.latent.agreement import agreements
from sparse_recon.complete.latent.conditioning_image import object_extent, object_radius_m
from sparse_recon.complete.latent.generated_views import generated_view, on_white, rounding_warnings
from sparse_recon.complete.latent.mini import MINI, mini_warning
from sparse_recon.complete.latent.outlines import Outlines
from sparse_recon.complete.sparsefusion.cameras import OBJECT_UNITS, ndc_cameras
from sparse_recon.complete.sparsefusion.crops import CroppedPicture, chosen_views, cropped
from sparse_recon.complete.sparsefusion.parameters import SparseFusionConfig
from sparse_recon.complete.sparsefusion.ring import (
    HIGHEST_RAD,
    LOWEST_RAD,
    OVERLAP_RAD,
    camera_ring,
    least_turn_rad,
    mean_elevation_rad,
    ring_lens,
)
from sparse_recon.complete.sparsefusion.sizes import MODEL, SparseFusionSize
from sparse_recon.complete.sparsefusion.weights import layout, mini
from sparse_recon.completion import Completion, PictureTarget
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.geometry.poses import inverse
from sparse_recon.types import Float64, ObjectView

if TYPE_CHECKING:
    from sparse_recon.complete.sparsefusion.model import ShownPictures
    from sparse_recon.complete.sparsefusion.sampling import ViewSampler


class SparseFusionCompleter(ViewCompleter):
    """Imagines views; `fuse` fits a volume to them and to what cameras saw and measured."""

    name = MODEL

    def __init__(self, size: SparseFusionSize | None = None) -> None:
        self._published_size = self._size = size or SparseFusionSize()
        self._sampler: ViewSampler | None = None
        self._model: Any = None
        self._perceptual: Any = None

    def load(self, config: SessionConfig, on_progress: OnLoad) -> None:
        """Read the weights, strictly; see `ViewCompleter.load`."""
        from sparse_recon.complete.latent.weights import check_given, read_given

        own, known = config.of(SparseFusionConfig), layout(self._published_size)
        check_given(own.weights, known)
        from sparse_recon.complete.sparsefusion.model import SparseFusionModel
        from sparse_recon.complete.sparsefusion.sampling import ViewSampler
        from sparse_recon.machine.processor import chosen_device, chosen_dtype

        device = chosen_device(own.device)
        self._size, tensors = read_given(own.weights, self._published_size, known, on_progress, mini)
        self._model = SparseFusionModel(tensors, self._size, device, chosen_dtype(own.precision, device))
        self._sampler = ViewSampler(self._model, own)
        if own.geometry == "distill":
            from sparse_recon.complete.latent.perceptual import lpips_distance, own_distance

            self._perceptual = lpips_distance(Path(own.lpips), device) if own.lpips else own_distance(device)
        on_progress(1.0, f"networks on {device}")

    def complete(self, task: CompletionTask) -> Completion:
        """Imagine views of the object; see `ViewCompleter.complete`."""
        import torch

        if self._sampler is None:
            raise ModelError(
                ErrorCode.MODEL_FAILED, f"{MODEL} cannot complete before its weights are loaded; call load first"
            )
        own = task.config.of(SparseFusionConfig)
        self._model.eft.authors_mode(own.authors_mode)
        # 1. Where the object's middle is and how large it is, by the carved prior: also the first preview.
        prior = task.prior
        task.on_step(0, 1, prior)
        middle_obj, unit_m = object_extent(prior, task.evidence)
        T_obj_centre = np.eye(4)
        T_obj_centre[:3, 3] = middle_obj
        T_world_centre = task.views.object_frame.T_world_obj @ T_obj_centre

        # 2. The pictures that it is shown, and where they were taken, in the frame of the object's middle.
        views = chosen_views(task.views.views, T_world_centre[:3, 3], own.context_views)
        side, scene_m = self._size.image_side, unit_m / OBJECT_UNITS
        pictures = [cropped(view, side) for view in views]
        task.checkpoint()
        T_centre_cam = np.stack([inverse(T_world_centre) @ picture.T_world_cam for picture in pictures])
        cameras = ndc_cameras(T_centre_cam, [picture.intrinsics for picture in pictures], scene_m)

        centres = T_centre_cam[:, :3, 3] / unit_m
        shown = torch.from_numpy(np.stack([picture.rgb for picture in pictures])).permute(0, 3, 1, 2).contiguous()
        warnings = _warnings(len(task.views.views), pictures, centres)
        if own.weights == MINI:
            warnings += (mini_warning(MODEL),)
        figures: dict[str, float | str] = {
            "unit_m": unit_m,
            "context_views": float(len(pictures)),
            "device": self._model.device,
            "precision": str(self._model.dtype).removeprefix("torch."),
        }
        if own.geometry == "distill":
            target = self._target(task, own, views, self._model.shown(shown, cameras), T_world_centre, unit_m)
            return Completion(
                MODEL, task.seed, target=target, centre_obj=middle_obj, warnings=warnings, diagnostics=figures
            )

        # 3. A ring of views, each from its own seed.
        ring = camera_ring(centres, own.views)
        lens = ring_lens(ring[0].radius, object_radius_m(prior, task.evidence, middle_obj) / unit_m, side)
        queries = ndc_cameras([camera.T_obj_cam(unit_m) for camera in ring], [lens] * len(ring), scene_m)
        seeds = [task.seed * 1_000_003 + k for k in range(len(ring))]
        drawn = self._sampler.generate(
            shown,
            cameras,
            queries,
            seeds,
            own,
            lambda step, steps, clean: task.on_step(step, steps, prior),
            task.checkpoint,
        )
        task.checkpoint()
        rgb, masks = (
            np.stack(x) for x in zip(*(on_white(picture, own.generator == "eft") for picture in drawn), strict=True)
        )
        if not masks.any():
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                f"none of the {len(ring)} views that {MODEL} generated shows an object; try another seed or "
                "other frames",
            )

        # 4. How far they agree is how far they are believed.
        T_cam_centre = np.stack([inverse(camera.T_obj_cam()) for camera in ring])
        outlines = Outlines(masks, T_cam_centre, lens)
        confidence = agreements(rgb, masks, T_cam_centre, lens, outlines, task.checkpoint)
        return Completion(
            self.name,
            task.seed,
            views=tuple(
                generated_view(rgb[k], camera, T_world_centre, unit_m, MODEL, seeds[k], confidence[k], lens)
                for k, camera in enumerate(ring)
                if masks[k].any()
            ),
            warnings=(*warnings, *rounding_warnings(MODEL, str(self._model.dtype), own.guidance)),
            diagnostics={
                **figures,
                "radius": ring[0].radius,
                "elevation_deg": float(np.rad2deg(np.mean([camera.elevation_rad for camera in ring]))),
                "agreement": float(confidence[masks].mean()),
            },
        )

    def _target(
        self,
        task: CompletionTask,
        own: SparseFusionConfig,
        views: Sequence[ObjectView],
        shown: ShownPictures,
        T_world_centre: Float64,
        unit_m: float,
    ) -> PictureTarget:
        """Return what a field is distilled towards."""
        from sparse_recon.complete.sparsefusion.target import SparseFusionTarget, schedule

        middle_obj = (inverse(task.views.object_frame.T_world_obj) @ T_world_centre)[:3, 3]
        return SparseFusionTarget(
            self._model,
            shown,
            views,
            T_world_centre,
            unit_m,
            object_radius_m(task.prior, task.evidence, middle_obj),
            unit_m / OBJECT_UNITS,
            schedule(own.iterations, task.config.distill.grid),
            self._perceptual,
            task.seed,
            task.checkpoint,
        )


def _warnings(views: int, pictures: list[CroppedPicture], centres: Float64) -> tuple[str, ...]:
    said = [sentence for picture in pictures for sentence in picture.warnings]
    if len(pictures) == 1:
        said.append(f"{MODEL} is conditioned on a single view; it was trained on 2 to 5: expect a guess")
    if len(pictures) < views:
        said.append(f"{MODEL} is conditioned on {len(pictures)} of {views} views; the others only bound the result")
    if (turn := least_turn_rad(centres)) > OVERLAP_RAD:
        said.append(
            f"a view is {np.rad2deg(turn):.0f} degrees away from its nearest neighbour: they hardly show the same "
            f"surface, and {MODEL} compares views"
        )
    height = mean_elevation_rad(centres)
    if not LOWEST_RAD <= height <= HIGHEST_RAD:
        drawn = np.clip(height, LOWEST_RAD, HIGHEST_RAD)
        said.append(
            f"the cameras look from {np.rad2deg(height):.0f} degrees above the object's middle in the mean; the views "
            f"are drawn from {np.rad2deg(drawn):.0f} degrees"
        )
    return tuple(said)
