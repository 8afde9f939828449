"""What a model hands over to fusion: views that it generated, a surface, or what it says of images for distillation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from sparse_recon.types import Float64, GeneratedView, SurfaceField

if TYPE_CHECKING:
    from torch import Generator, Tensor

# How colours are compared: absolute, squared, or squared when small and absolute when large.
Difference = Literal["l1", "l2", "huber"]


@dataclass(frozen=True, eq=False)
class Completion:
    """What a completer hands over: imagined views, the field that they would be rendered from, or what judges views.

    Attributes
    ----------
    views, surface, score, target : one of them; the last two speak of the object around `centre_obj`.
    centre_obj : (3,) float64, middle of the object in the object frame, metres.
    warnings : sentences for people, which the result carries.
    """

    model: str
    seed: int
    views: tuple[GeneratedView, ...] = ()
    surface: SurfaceField | None = None
    score: PictureScore | None = None
    target: PictureTarget | None = None
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


@dataclass(frozen=True)
class Phase:
    """One stretch of a distillation towards denoised pictures.

    Attributes
    ----------
    until : iterations done when it ends.
    levels : least and greatest of the noise levels that are drawn, in [0, 1]: from no noise to nothing but noise.
    difference : of colours.
    color, perceptual, mask, opacity : weights of the terms; that of colours times what comes with the target, if
        `weighted`.
    """

    until: int
    levels: tuple[float, float] = (0.0, 1.0)
    difference: Difference = "l2"
    color: float = 1.0
    perceptual: float = 0.0
    mask: float = 0.0
    opacity: float = 0.0
    weighted: bool = True


@dataclass(frozen=True)
class TargetSchedule:
    """How a field is distilled from denoised pictures; data, so that each model has that of its paper.

    Attributes
    ----------
    phases : in order of time; the last one's end is the number of iterations.
    input_difference, input_color, input_mask, input_opacity : of the terms at input views, throughout.
    inputs_apart : whether an input view has an optimiser step of its own in each iteration.
    density_rate, color_rate : learning rates of Adam; they fall to `final_rate` of them.
    grid : voxels along an edge of the field.
    smooth : weight of the opacity differences between neighbouring voxels.
    """

    phases: tuple[Phase, ...]
    input_difference: Difference = "huber"
    input_color: float = 1.0
    input_mask: float = 1.0
    input_opacity: float = 0.0
    inputs_apart: bool = False
    density_rate: float = 3.0
    color_rate: float = 0.3
    final_rate: float = 0.1
    grid: int = 64
    smooth: float = 0.0

    @property
    def iterations(self) -> int:
        return self.phases[-1].until

    def phase(self, iteration: int) -> Phase:
        """Return the phase of an iteration, counted from 0."""
        return next(phase for phase in self.phases if iteration < phase.until)


@dataclass(frozen=True, eq=False)
class InputView:
    """A picture that was taken: rgb (3, P, P) float32 in [0, 1], mask (P, P) in [0, 1], camera (4, 4), model units."""

    rgb: Tensor
    mask: Tensor
    T_obj_cam: Float64


@dataclass(frozen=True, eq=False)
class DenoisedPicture:
    """What a model takes a rendering for.

    Attributes
    ----------
    rgb : (3, Q, Q) float32 in [0, 1]; no gradient.
    weight : of its colours, such as the share of signal at the level of noise.
    mask : (Q, Q) in [0, 1], the object; None: not known.
    """

    rgb: Tensor
    weight: float = 1.0
    mask: Tensor | None = None


class PictureTarget(Protocol):
    """A diffusion model that says what renderings ought to look like; `fuse` distils a volume of colours towards that.

    Cameras are given as in `PictureScore`, and look wherever the model wants.

    Attributes
    ----------
    size, focal : P, pixels along a side of what is rendered, and focal length in pixels; the principal point is its
        middle.
    enlarged : Q / P, how much larger the model sees it (bilinear).
    unit_m : metres in one model unit, in which the object's longest side is about 1.
    background : of renderings and pictures, black 0 or white 1.
    cameras : (K, 4, 4) float64, from which it is asked, each once before any is again.
    inputs : pictures that were taken; may be empty.
    schedule : weights and stretches.
    perceptual : distance of two pictures (1, 3, Q, Q) as people see it, a scalar; None: there is no such term.
    device : where tensors live.
    """

    size: int
    focal: float
    enlarged: int
    unit_m: float
    background: float
    cameras: Float64
    inputs: tuple[InputView, ...]
    schedule: TargetSchedule
    perceptual: Callable[[Tensor, Tensor], Tensor] | None
    device: str

    def denoised(self, rgb: Tensor, camera: int, level: float, generator: Generator) -> DenoisedPicture:
        """Return what a rendering (3, Q, Q) in [0, 1] of one of `cameras` ought to be; no gradient.

        Parameters
        ----------
        level : of the noise under which it is looked at, in [0, 1].
        generator : of that noise, on the CPU.
        """
