"""What SparseFusion takes renderings for, and by which terms a volume is distilled towards it (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from sparse_recon.complete.sparsefusion.cameras import NdcCameras, depth_range, ndc_cameras
from sparse_recon.complete.sparsefusion.model import ShownPictures, SparseFusionModel, ToldViews
from sparse_recon.complete.sparsefusion.ring import camera_ring, ring_lens
from sparse_recon.complete.sparsefusion.vldm_samplers import MULTISTEP_STEPS, multistep
from sparse_recon.complete.sparsefusion.vldm_schedule import log_snr
from sparse_recon.completion import DenoisedPicture, InputView, Phase, TargetSchedule
from sparse_recon.geometry.poses import inverse, look_at
from sparse_recon.types import CameraIntrinsics, Float64, ObjectView

# Cameras on a ring from which it is asked, beside those that took pictures.
RING = 50
# Renderings have half the side of the pictures that the networks see.
ENLARGED = 2
# Noise beyond this level counts as this.
MOST_LEVEL = 0.99
# A pixel of the feature network's picture shows the object where its mean colour is above this.
SEEN = 0.1
# The first third of the iterations is led by the feature network.
BOOTSTRAP = 3
# Pictures are cut from frames with so many times the pixels, and averaged.
SUPERSAMPLING = 4


def schedule(iterations: int, grid: int) -> TargetSchedule:
    """Return the published terms and weights; rates and smoothness are those of our field.

    The first third has no noise: level 0 asks for the picture of the feature network.
    """
    return TargetSchedule(
        phases=(
            Phase(max(1, iterations // BOOTSTRAP), (0.0, 0.0), "huber", mask=1.0, weighted=False),
            Phase(max(2, iterations), (0.0, 1.0), "l1", perceptual=0.1, opacity=1e-3),
        ),
        input_difference="huber",
        input_color=1.0,
        input_mask=1.0,
        input_opacity=1e-3,
        inputs_apart=True,
        grid=grid,
    )


class SparseFusionTarget:
    """A `completion.PictureTarget` in units of the object's longest side.

    Parameters
    ----------
    model, shown : its networks, and the pictures that they are conditioned on.
    views : that were taken, as the robot's cameras see them.
    T_world_centre : (4, 4) of the object's middle, with the object's axes.
    unit_m : longest side of the object.
    object_radius_m : of the sphere around its middle.
    scene_m : size of a scene unit.
    seed : of the dropout of the authors' mode.
    checkpoint : called within the networks; may raise.
    """

    background = 0.0
    enlarged = ENLARGED

    def __init__(
        self,
        model: SparseFusionModel,
        shown: ShownPictures,
        views: Sequence[ObjectView],
        T_world_centre: Float64,
        unit_m: float,
        object_radius_m: float,
        scene_m: float,
        plan: TargetSchedule,
        perceptual: Callable[[Tensor, Tensor], Tensor] | None,
        seed: int = 0,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> None:
        self._model, self._shown, self._seed, self._checkpoint = model, shown, seed, checkpoint
        self.schedule, self.perceptual = plan, perceptual
        self.unit_m, self.device = unit_m, model.device
        self.size = model.size.image_side // ENLARGED
        T_centre_cam = [_facing(inverse(T_world_centre) @ view.frame.T_world_cam) for view in views]
        ring = camera_ring(np.stack(T_centre_cam)[:, :3, 3] / unit_m, RING)
        asked = np.stack([*T_centre_cam, *(camera.T_obj_cam(unit_m) for camera in ring)])
        # One lens for all: that of the nearest camera, whose picture the object's sphere fills.
        nearest_m = float(np.linalg.norm(asked[:, :3, 3], axis=1).min())
        lens, large = (ring_lens(nearest_m, object_radius_m, side) for side in (self.size, model.size.image_side))
        self.focal = lens.fx
        self._queries: NdcCameras = ndc_cameras(asked, [large] * len(asked), scene_m)
        self._depths = depth_range(shown.cameras)
        self._told: dict[int, ToldViews] = {}
        self.cameras = asked.copy()
        self.cameras[:, :3, 3] /= unit_m
        self.inputs = tuple(
            input_view(view, T_world_centre @ T, lens, camera, model.device)
            for view, T, camera in zip(views, T_centre_cam, self.cameras, strict=False)
        )

    def denoised(self, rgb: Tensor, camera: int, level: float, generator: Generator) -> DenoisedPicture:
        """Return what a rendering is taken for; see `PictureTarget.denoised`.

        At level 0 that is the colour of the feature network, whatever is rendered.
        """
        model, side = self._model, rgb.shape[-1]
        model.checkpoint = self._checkpoint
        try:
            told = self._of(camera)
            if level == 0.0:
                picture = functional.interpolate(told.rgb, side, mode="bilinear", align_corners=True)[0]
                return DenoisedPicture(picture, 1.0, (picture.mean(0) > SEEN).float())
            level = min(level, MOST_LEVEL)

            def noise() -> Tensor:
                return torch.randn((1, *model.latent_shape), generator=generator).to(model.device)

            def predict(latents: Tensor, ratio: Tensor) -> Tensor:
                return model.predict_noise(latents, ratio, told.features)

            clean = multistep(predict, noise, model.encoded(rgb[None]), level, MULTISTEP_STEPS)
            weight = 1.0 - float(torch.sigmoid(log_snr(torch.tensor(level))))
            return DenoisedPicture(model.decode_latents(clean)[0].clamp(0, 1), weight)
        finally:
            model.checkpoint = lambda: None

    def _of(self, camera: int) -> ToldViews:
        """Return what the pictures tell of a camera's view; asked of the networks once."""
        if camera not in self._told:
            query = self._queries[camera : camera + 1]
            self._told[camera] = self._model.told(self._shown, query, self._depths, self._seed + camera)
        return self._told[camera]


def input_view(
    view: ObjectView, T_world_cam: Float64, lens: CameraIntrinsics, T_obj_cam: Float64, device: str
) -> InputView:
    """Return what a turned camera at the same place would have taken: the object on black, and its mask.

    Parameters
    ----------
    T_world_cam : of the turned camera, `lens` its intrinsics.
    T_obj_cam : the same in model units.
    """
    frame, n = view.frame, SUPERSAMPLING
    R = frame.T_world_cam[:3, :3].T @ T_world_cam[:3, :3]
    # Pixel centres are at integers.
    finer = np.array([[n, 0, 0.5 * n - 0.5], [0, n, 0.5 * n - 0.5], [0, 0, 1.0]])
    H = frame.intrinsics.K @ R @ np.linalg.inv(finer @ lens.K)
    black = np.dstack([frame.rgb * view.mask[..., None], np.where(view.mask, np.uint8(255), np.uint8(0))])
    large = cv2.warpPerspective(
        black, H, (n * lens.width, n * lens.height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    small = cv2.resize(large, (lens.width, lens.height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    picture = torch.from_numpy(small).permute(2, 0, 1).contiguous().to(device)
    return InputView(picture[:3], picture[3], T_obj_cam)


def _facing(T_centre_cam: Float64) -> Float64:
    """Return the camera (4, 4) at the same place that looks at the middle."""
    return look_at(T_centre_cam[:3, 3], (0.0, 0.0, 0.0))
