"""Distillation towards denoised pictures: a radiance field whose renderings a diffusion model leaves as they are.

What SparseFusion (Zhou and Tulsiani, CVPR 2023) and UpFusion (Kani et al., ECCV 2024) have in common; where they differ
is data, in the schedule that a model brings.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sparse_recon.completion import DenoisedPicture, InputView, Phase, PictureTarget
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.fuse.radiance.field import RadianceField, RenderBounds
from sparse_recon.fuse.radiance.rays import camera_rays, square_camera
from sparse_recon.fuse.radiance.render import Rendered, render
from sparse_recon.fuse.radiance.terms import difference, opacity_size, total_variation
from sparse_recon.types import Float64

# Iterations between two looks at what is empty and what is hidden.
SHORTCUT_ITERATIONS = 5

OnStep = Callable[[int, int], None]


def distil_target(
    target: PictureTarget,
    seed: int,
    on_step: OnStep = lambda step, steps: None,
    checkpoint: Callable[[], None] = lambda: None,
    deadline_passed: Callable[[], bool] = lambda: False,
) -> RadianceField:
    """Distil a field of colours in the target's model units.

    Parameters
    ----------
    seed : of cameras and noise; the same gives the same field on a processor.
    on_step, checkpoint, deadline_passed : as in `distil`.

    Raises
    ------
    ModelError
        MODEL_FAILED if the target contradicts its own description, or answers with what is no picture.
    """
    distillation = TargetDistillation(target, seed, checkpoint)
    iterations = target.schedule.iterations
    for iteration in range(iterations):
        distillation.iterate(iteration)
        on_step(iteration + 1, iterations)
        if iteration + 1 < iterations and deadline_passed():
            break
    return distillation.field


class TargetDistillation:
    """The field on its way, its optimiser, and the draws that make an iteration."""

    def __init__(self, target: PictureTarget, seed: int, checkpoint: Callable[[], None] = lambda: None) -> None:
        _check_target(target)
        self.target, self.schedule = target, target.schedule
        self._checkpoint = checkpoint
        self._generator = torch.Generator().manual_seed(seed)
        self.field = RadianceField(3, self.schedule.grid, None, target.device)
        self.field.scale.requires_grad_(False)
        self._optimizer = torch.optim.Adam(
            [
                {"params": [self.field.raw], "lr": self.schedule.density_rate},
                {"params": [self.field.features], "lr": self.schedule.color_rate},
            ]
        )
        decay = self.schedule.final_rate ** (1.0 / self.schedule.iterations)
        self._rates = torch.optim.lr_scheduler.ExponentialLR(self._optimizer, decay)
        self._camera = square_camera(target.size, target.focal)
        self._order: list[int] = []
        self._shortcuts: RenderBounds | None = None

    def iterate(self, iteration: int) -> dict[str, float]:
        """Do one iteration; return the weighted value of each term that counted."""
        if iteration % SHORTCUT_ITERATIONS == 0:
            self._shortcuts = self.field.shortcuts()
        phase = self.schedule.phase(iteration)
        # 1. A picture that was taken, and a step of its own where the schedule says so.
        terms = self._input_terms()
        values = self._learn(terms) if terms and self.schedule.inputs_apart else {}
        # 2. A picture that nobody took.
        terms = self._target_terms(phase) if values else terms | self._target_terms(phase)
        if self.schedule.smooth > 0:
            terms["smooth"] = self.schedule.smooth * total_variation(self.field)
        values |= self._learn(terms)
        self._rates.step()
        return values

    def _learn(self, terms: dict[str, Tensor]) -> dict[str, float]:
        self._optimizer.zero_grad(set_to_none=False)
        torch.stack(list(terms.values())).sum().backward()
        self._optimizer.step()
        self._checkpoint()
        return {name: float(term.detach()) for name, term in terms.items()}

    def _input_terms(self) -> dict[str, Tensor]:
        inputs, plan = self.target.inputs, self.schedule
        if not inputs:
            return {}
        view: InputView = inputs[int(torch.randint(len(inputs), (1,), generator=self._generator))]
        picture, opacity, rendered = self.picture(view.T_obj_cam, view.rgb.shape[-1])
        terms = {
            "input_color": plan.input_color * difference(plan.input_difference, picture, view.rgb),
            "input_mask": plan.input_mask * difference(plan.input_difference, opacity, view.mask),
            "input_opacity": plan.input_opacity * opacity_size(rendered.opacity),
        }
        return {name: term for name, term in terms.items() if getattr(plan, name) > 0}

    def _target_terms(self, phase: Phase) -> dict[str, Tensor]:
        # 1. The next camera of the shuffled pool.
        if not self._order:
            self._order = torch.randperm(len(self.target.cameras), generator=self._generator).tolist()
        number = self._order.pop()
        side = self.target.size * self.target.enlarged
        picture, opacity, rendered = self.picture(self.target.cameras[number], side)
        self._checkpoint()
        # 2. What the model takes it for.
        low, high = phase.levels
        level = low + (high - low) * float(torch.rand(1, generator=self._generator, dtype=torch.float64))
        with torch.no_grad():
            denoised = self.target.denoised(picture.detach().clamp(0, 1), number, level, self._generator)
        _check_picture(denoised, picture, level)
        # 3. How far that is away.
        weight = phase.color * (denoised.weight if phase.weighted else 1.0)
        terms = {"color": weight * difference(phase.difference, picture, denoised.rgb)}
        if phase.perceptual > 0 and self.target.perceptual is not None:
            terms["perceptual"] = phase.perceptual * self.target.perceptual(picture[None], denoised.rgb[None])
        if phase.mask > 0 and denoised.mask is not None:
            terms["mask"] = phase.mask * difference(phase.difference, opacity, denoised.mask)
        if phase.opacity > 0:
            terms["opacity"] = phase.opacity * opacity_size(rendered.opacity)
        return terms

    def picture(self, T_obj_cam: Float64, side: int) -> tuple[Tensor, Tensor, Rendered]:
        """Return colours (3, side, side) and opacity (side, side) from a camera, enlarged, and what rays see."""
        rendered = render(self.field, camera_rays(self._camera, T_obj_cam, self.field.device), self._shortcuts)
        size = self.target.size
        colors = rendered.over(torch.full_like(rendered.features, self.target.background))
        stacked = torch.cat([colors, rendered.opacity[:, None]], 1).T.reshape(1, 4, size, size)
        if side != size:
            stacked = functional.interpolate(stacked, (side, side), mode="bilinear", align_corners=False)
        return stacked[0, :3], stacked[0, 3], rendered


def _check_picture(denoised: DenoisedPicture, asked: Tensor, level: float) -> None:
    rgb = denoised.rgb
    if rgb.shape != asked.shape or not bool(torch.isfinite(rgb).all()) or not np.isfinite(denoised.weight):
        raise ModelError(
            ErrorCode.MODEL_FAILED,
            f"the model's denoised image at level {level:.3g} has shape {tuple(rgb.shape)}, "
            f"{int((~torch.isfinite(rgb)).sum())} values that are not finite and weight {denoised.weight:g}; expected "
            f"are {tuple(asked.shape)} finite ones: check weights and precision (fp32 instead of fp16)",
        )
    mask = denoised.mask
    if mask is not None and (mask.shape != asked.shape[1:] or not bool(torch.isfinite(mask).all())):
        raise ModelError(
            ErrorCode.MODEL_FAILED,
            f"the mask of the model's denoised image at level {level:.3g} has shape {tuple(mask.shape)} and "
            f"{int((~torch.isfinite(mask)).sum())} values that are not finite; expected are {tuple(asked.shape[1:])} "
            "finite ones: check weights and precision (fp32 instead of fp16)",
        )


def _is_whole(view: InputView) -> bool:
    """Return whether an input view is square, with a mask as large, and holds nothing but numbers."""
    side = view.rgb.shape[-1]
    return (
        tuple(view.rgb.shape) == (3, side, side)
        and tuple(view.mask.shape) == (side, side)
        and np.shape(view.T_obj_cam) == (4, 4)
        and bool(torch.isfinite(view.rgb).all() and torch.isfinite(view.mask).all())
        and bool(np.isfinite(view.T_obj_cam).all())
    )


def _check_target(target: PictureTarget) -> None:
    """Refuse a target whose description contradicts itself, before hours are spent on it."""
    cameras, plan = np.asarray(target.cameras), target.schedule
    ends = [phase.until for phase in plan.phases]
    wrong = [
        text
        for bad, text in (
            (
                cameras.ndim != 3 or cameras.shape[1:] != (4, 4) or not len(cameras) or not np.isfinite(cameras).all(),
                f"cameras must be (K, 4, 4) and finite, got {cameras.shape}",
            ),
            (
                not ends or ends != sorted(set(ends)) or ends[0] < 1,
                f"phases must end one after the other, got {ends}",
            ),
            (
                any(not 0 <= phase.levels[0] <= phase.levels[1] <= 1 for phase in plan.phases),
                f"levels must rise within 0 to 1, got {[phase.levels for phase in plan.phases]}",
            ),
            (target.background not in (0.0, 1.0), f"background must be 0 or 1, got {target.background:g}"),
            (
                not (target.focal > 0 and target.unit_m > 0 and target.size > 0 and target.enlarged >= 1),
                f"focal {target.focal:g}, unit_m {target.unit_m:g} and size {target.size} must be > 0",
            ),
            (
                not all(map(_is_whole, target.inputs)),
                "an input view must have rgb (3, P, P), mask (P, P) and camera (4, 4), all finite",
            ),
            (
                target.perceptual is None and any(phase.perceptual > 0 for phase in plan.phases),
                "the schedule has a perceptual term, and there is none",
            ),
        )
        if bad
    ]
    if wrong:
        raise ModelError(
            ErrorCode.MODEL_FAILED, f"the target of this model is inconsistent: {'; '.join(wrong)}; report it"
        )
