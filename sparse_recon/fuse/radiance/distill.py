"""Score distillation: a radiance field whose pictures a diffusion model finds likely, from all sides.

Score Jacobian chaining (Wang et al., CVPR 2023) as Zero-1-to-3 (Liu et al., ICCV 2023) uses it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sparse_recon.completion import PictureScore
from sparse_recon.config.model_config import DistillConfig
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.fuse.radiance.field import RadianceField, RenderBounds
from sparse_recon.fuse.radiance.rays import camera_rays, square_camera
from sparse_recon.fuse.radiance.render import Rendered, render
from sparse_recon.fuse.radiance.terms import (
    Term,
    emptiness,
    input_view_loss,
    near_view_loss,
    score_loss,
    smoothness,
    solidity,
    weights_at,
)
from sparse_recon.fuse.radiance.viewpoints import nearby_viewpoint, random_viewpoints, towards_origin
from sparse_recon.types import Float64

# Iterations between two looks at what is empty and what is hidden.
SHORTCUT_ITERATIONS = 5

OnStep = Callable[[int, int], None]


def distil(
    score: PictureScore,
    config: DistillConfig,
    seed: int,
    on_step: OnStep = lambda step, steps: None,
    checkpoint: Callable[[], None] = lambda: None,
    deadline_passed: Callable[[], bool] = lambda: False,
) -> RadianceField:
    """Distil a field in the score's model units.

    The same score, parameters and seed give the same field on a processor; a GPU adds up in any order.

    Parameters
    ----------
    seed : of cameras, noise and the first features.
    on_step : called with the iterations done and wanted; it may raise.
    checkpoint : called between the terms of an iteration; it may raise to cancel.
    deadline_passed : asked between two iterations; True ends with the field as it is.

    Raises
    ------
    ModelError
        MODEL_FAILED if the score contradicts its own description, or answers with what is not finite.
    """
    distillation = Distillation(score, config, seed, checkpoint)
    for iteration in range(config.iterations):
        distillation.iterate(iteration)
        on_step(iteration + 1, config.iterations)
        if iteration + 1 < config.iterations and deadline_passed():
            break
    return distillation.field


class Distillation:
    """The field on its way, its optimiser, and the draws that make an iteration."""

    def __init__(
        self, score: PictureScore, config: DistillConfig, seed: int, checkpoint: Callable[[], None] = lambda: None
    ) -> None:
        _check_score(score)
        self.score, self.config = score, config
        self._checkpoint = checkpoint
        self._generator = torch.Generator().manual_seed(seed)
        self.field = RadianceField(score.channels, config.grid, self._generator, score.device)
        self._optimizer = torch.optim.Adamax(self.field.parameters(), lr=config.learning_rate)
        self._eyes = random_viewpoints(config.iterations, score.radius, score.height, self._generator)
        self._camera = square_camera(score.size, score.focal)
        self._background = score.background.reshape(score.channels, -1).T
        self._shortcuts: RenderBounds | None = None

    def iterate(self, iteration: int) -> dict[Term, float]:
        """Do one iteration; return the weighted value of each term that counted."""
        if iteration % SHORTCUT_ITERATIONS == 0:
            self._shortcuts = self.field.shortcuts()
        self._optimizer.zero_grad(set_to_none=False)
        weights = weights_at(iteration, self.config)
        values: dict[Term, float] = {}

        def learn(terms: dict[Term, Tensor]) -> None:
            counted = {name: weights[name] * term for name, term in terms.items() if weights[name] > 0}
            if counted:
                torch.stack(list(counted.values())).sum().backward()
                values.update({name: float(term.detach()) for name, term in counted.items()})
            self._checkpoint()

        # 1. The picture that was taken.
        if weights["view"] > 0 or weights["view_smoothness"] > 0:
            learn(self._input_view())
        # 2. A picture that nobody took, and the same from a little beside.
        learn(self._imagined_view(iteration, weights))
        self._optimizer.step()
        return values

    def _input_view(self) -> dict[Term, Tensor]:
        picture, rendered = self.picture(self.score.T_obj_input)
        colors = self.score.decoded(picture)[0]
        return {
            "view": input_view_loss(colors, self.score.conditioning_image),
            "view_smoothness": smoothness(self._square(rendered.depth)),
        }

    def _imagined_view(self, iteration: int, weights: dict[Term, float]) -> dict[Term, Tensor]:
        T_obj_cam = towards_origin(self._eyes[iteration : iteration + 1])
        picture, rendered = self.picture(T_obj_cam[0])
        self._checkpoint()
        denoised, sigma = self._denoised(picture.detach(), T_obj_cam)
        depth = self._square(rendered.depth)
        terms: dict[Term, Tensor] = {
            "score": score_loss(picture, denoised, sigma),
            "smoothness": smoothness(depth),
            "emptiness": emptiness(rendered, self.config.emptiness_steepness),
            "solidity": solidity(rendered.opacity),
        }
        # Drawn even where it does not count, so that all other draws stay the same.
        eye = nearby_viewpoint(self._eyes[iteration], self.config.near_view_distance, self._generator)
        if weights["near_view"] > 0:
            near_picture, near = self.picture(towards_origin(eye[None])[0])
            terms["near_view"] = near_view_loss(picture, near_picture, depth, self._square(near.depth))
        return terms

    def _denoised(self, picture: Tensor, T_obj_cam: Float64) -> tuple[Tensor, Tensor]:
        """Return what the score sees in the picture under noise of a drawn strength, and that strength (1,)."""
        drawn = int(torch.randint(len(self.score.sigmas), (1,), generator=self._generator))
        sigma = torch.tensor([self.score.sigmas[drawn]], dtype=torch.float32, device=picture.device)
        noise = torch.randn(picture.shape, generator=self._generator).to(picture.device)
        with torch.no_grad():
            denoised = self.score.denoised(picture + sigma[:, None, None, None] * noise, sigma, T_obj_cam)
        if denoised.shape != picture.shape or not bool(torch.isfinite(denoised).all()):
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                f"the model's denoised image at sigma {float(sigma):.3g} has shape {tuple(denoised.shape)} and "
                f"{int((~torch.isfinite(denoised)).sum())} values that are not finite; expected are "
                f"{tuple(picture.shape)} finite ones: check weights and precision (fp32 instead of fp16)",
            )
        return denoised, sigma

    def picture(self, T_obj_cam: Float64) -> tuple[Tensor, Rendered]:
        """Return the picture (1, C, S, S) from a camera (4, 4), model units, on the background, and what rays see."""
        rendered = render(self.field, camera_rays(self._camera, T_obj_cam, self.field.device), self._shortcuts)
        size = self.score.size
        return rendered.over(self._background).T.reshape(1, self.score.channels, size, size), rendered

    def _square(self, values: Tensor) -> Tensor:
        return values.reshape(self.score.size, self.score.size)


def _check_score(score: PictureScore) -> None:
    """Refuse a score whose description contradicts itself, before hours are spent on it."""
    sigmas = np.asarray(score.sigmas)
    (near, far), (low, high) = score.radius, score.height
    wrong = [
        text
        for bad, text in (
            (
                tuple(score.background.shape) != (score.channels, score.size, score.size),
                f"background is {tuple(score.background.shape)}, expected {(score.channels, score.size, score.size)}",
            ),
            (
                sigmas.ndim != 1 or len(sigmas) == 0 or not bool(np.all(np.isfinite(sigmas) & (sigmas > 0))),
                f"sigmas must be positive and finite, got {len(sigmas)} of them",
            ),
            (not 0 < near <= far, f"radius must be positive and in ascending order, got {score.radius}"),
            (
                not (low < high and low < far and high > -far),
                f"no camera at a radius of {score.radius} has a height of {score.height}",
            ),
            (
                not (score.focal > 0 and score.unit_m > 0),
                f"focal {score.focal:g} and unit_m {score.unit_m:g} must be > 0",
            ),
            (
                not bool(torch.isfinite(score.conditioning_image).all()),
                "conditioning_image has values that are not finite",
            ),
        )
        if bad
    ]
    if wrong:
        raise ModelError(
            ErrorCode.MODEL_FAILED, f"the score of this model is inconsistent: {'; '.join(wrong)}; report it"
        )
