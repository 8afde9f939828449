"""What a model hands over to fusion: views that it generated, a surface, or a score of images for distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sparse_recon.types import Float64, GeneratedView, SurfaceField

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Completion:
    """What a completer hands over: imagined views, the field that they would be rendered from, or what judges views.

    Attributes
    ----------
    views, surface, score : one of them; `score` speaks of the object around `centre_obj`.
    centre_obj : (3,) float64, middle of the object in the object frame, metres.
    warnings : sentences for people, which the result carries.
    """

    model: str
    seed: int
    views: tuple[GeneratedView, ...] = ()
    surface: SurfaceField | None = None
    score: PictureScore | None = None
    centre_obj: Float64 = field(default_factory=lambda: np.zeros(3))
    warnings: tuple[str, ...] = ()
    diagnostics: Mapping[str, float | str] = field(default_factory=dict)


class PictureScore(Protocol):
    """What a diffusion model says of pictures of an object that nobody took; `fuse` distils a volume from it.

    A picture has C channels and S x S pixels: three channels are colours in [0, 1], others are latents of colours.
    Cameras are given in model units in a frame with the object's axes (z up) and its centre; all look at the origin, z
    up.

    Attributes
    ----------
    channels, size : C and S.
    focal : focal length in pixels of a picture of S pixels; the principal point is its middle.
    unit_m : metres in one model unit, in which the object's longest side is about 1.
    background : (C, S, S) float32 tensor, picture of nothing.
    sigmas : (K,) float64, standard deviations of the noise that the model knows, falling.
    radius : least and greatest distance of cameras from the origin, model units.
    height : least and greatest z of cameras, model units.
    T_obj_input : (4, 4) float64, camera (x right, y down, z forward) of the picture that was taken, model units.
    conditioning_image : (3, P, P) float32 tensor in [0, 1], on white.
    device : where tensors live.
    """

    channels: int
    size: int
    focal: float
    unit_m: float
    background: Tensor
    sigmas: Float64
    radius: tuple[float, float]
    height: tuple[float, float]
    T_obj_input: Float64
    conditioning_image: Tensor
    device: str

    def denoised(self, noisy: Tensor, sigma: Tensor, T_obj_cam: Float64) -> Tensor:
        """Return the clean pictures (B, C, S, S) that it sees in `noisy` = clean + sigma * noise; no gradient.

        Parameters
        ----------
        sigma : (B,) of the noise.
        T_obj_cam : (B, 4, 4), cameras, model units.
        """

    def decoded(self, pictures: Tensor) -> Tensor:
        """Return the colours (B, 3, P, P) of pictures (B, C, S, S), differentiable.

        Black is 0, white is 1; what a decoder makes darker or brighter stays so.
        """
