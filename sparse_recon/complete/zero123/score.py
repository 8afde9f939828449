"""What Zero-1-to-3 says of images that nobody took, for score distillation (SJC, arXiv 2212.00774)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparse_recon.complete.latent.cameras import SphericalCamera, model_intrinsics, pose_vectors
from sparse_recon.complete.latent.conditioning_image import ConditioningImage
from sparse_recon.complete.latent.schedules import alpha_bars
from sparse_recon.complete.latent.view_sampler import as_tensor
from sparse_recon.complete.zero123.cameras import TRAINED
from sparse_recon.complete.zero123.model import Zero123Model
from sparse_recon.types import Float64

# Of the 3D stage as released: noisiest and cleanest levels that are left out, guidance, cameras of the sampled views.
SKIP_NOISIEST, SKIP_CLEANEST = 30, 10
GUIDANCE = 100.0
RADII, HEIGHTS = (1.8, TRAINED.max_radius), (-0.5, TRAINED.max_radius)


class Zero123Score:
    """A `completion.PictureScore`: images are latents of four channels; see there."""

    def __init__(self, model: Zero123Model, image: ConditioningImage, unit_m: float) -> None:
        self._model, self._source = model, image.camera
        self.channels, self.size = model.latent_shape[0], model.latent_shape[1]
        self.focal = model_intrinsics(self.size).fx
        self.unit_m, self.device = unit_m, model.device
        self.radius, self.height = RADII, HEIGHTS
        self.T_obj_input = image.camera.T_obj_cam()
        self.conditioning_image = as_tensor(image)[0].to(model.device)
        self._context = model.context(as_tensor(image) * 2 - 1)
        side = model.size.image_side
        self.background = model.images.encode_images(torch.ones(1, 3, side, side))[0]
        alpha = alpha_bars()
        self._noise_levels = np.sqrt((1 - alpha) / alpha)
        self.sigmas: Float64 = self._noise_levels[::-1][SKIP_NOISIEST:-SKIP_CLEANEST].copy()

    @torch.no_grad()
    def denoised(self, noisy: Tensor, sigma: Tensor, T_obj_cam: Float64) -> Tensor:
        """See `PictureScore`: D = z - sigma * eps(z / sqrt(1 + sigma^2), t)."""
        poses = pose_vectors(self._source, [SphericalCamera.at(T[:3, 3]) for T in T_obj_cam])
        out = []
        for z, level, pose in zip(noisy, sigma, torch.from_numpy(poses).to(noisy), strict=True):
            t = int(np.abs(self._noise_levels - float(level)).argmin())
            scaled = z[None] / (1 + level**2) ** 0.5
            out.append(z[None] - level * self._model.predict_noise(scaled, t, pose[None], self._context, GUIDANCE))
        return torch.cat(out)

    def decoded(self, images: Tensor) -> Tensor:
        """See `PictureScore`: not clamped, so that what the decoder makes too bright still learns."""
        return self._model.images.decode_unclamped(images)
