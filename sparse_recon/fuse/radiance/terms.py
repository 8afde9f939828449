"""The terms of distillation, one function each, and how much each counts when."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from sparse_recon.completion import Difference
from sparse_recon.config.model_config import DistillConfig
from sparse_recon.fuse.radiance.field import RadianceField
from sparse_recon.fuse.radiance.render import Rendered

Term = Literal["score", "view", "view_smoothness", "near_view", "smoothness", "emptiness", "solidity"]
# Depth smoothness of the input view counts this share of that of sampled views.
VIEW_SMOOTHNESS = 0.1
# Of the soft absolute value of colours: where it turns from square to straight.
HUBER_AT = 0.1
# Added to squares of opacity, so that the root has a slope at 0.
OPACITY_FLOOR = 0.01
# Depth smoothness, and more emptiness, begin after this share of the iterations.
SECOND_HALF = 0.5


def weights_at(iteration: int, config: DistillConfig) -> dict[Term, float]:
    """Return the weight of each term in an iteration (Liu et al., Zero-1-to-3, ICCV 2023, released code)."""
    late = iteration >= SECOND_HALF * config.iterations
    return {
        "score": 1.0,
        "view": config.view_weight,
        "view_smoothness": VIEW_SMOOTHNESS * config.smooth_weight,
        "near_view": config.near_view_weight,
        "smoothness": config.smooth_weight if late else 0.0,
        "emptiness": config.emptiness_weight * (config.emptiness_growth if late else 1.0),
        "solidity": config.solidity_weight,
    }


def score_gradient(image: Tensor, denoised: Tensor, sigma: Tensor) -> Tensor:
    """Return the gradient -(D - y) / sigma of the score term at images y (B, C, S, S); `sigma` is (B,)."""
    return (image.detach() - denoised) / sigma.to(image.dtype)[:, None, None, None]


def score_loss(image: Tensor, denoised: Tensor, sigma: Tensor) -> Tensor:
    """Return a scalar without a meaning of its own whose gradient at the image is `score_gradient`."""
    return (image * score_gradient(image, denoised, sigma)).sum()


def input_view_loss(colors: Tensor, image: Tensor) -> Tensor:
    """Return the mean square difference of two images (3, P, P), black 0, white 1, on the published scale of [-1, 1].

    Colours beyond black and white count: the published decoder is not clamped here.
    """
    return (2.0 * (colors - image)).square().mean()


def smoothness(depth: Tensor) -> Tensor:
    """Return the mean absolute difference of depth (S, S) between neighbours, along rows and columns."""
    return 0.5 * (depth.diff(dim=0).abs().mean() + depth.diff(dim=1).abs().mean())


def near_view_loss(image: Tensor, near_image: Tensor, depth: Tensor, near_depth: Tensor) -> Tensor:
    """Return the mean absolute difference of two images plus that of their depths: near views look alike."""
    return (near_image - image).abs().mean() + (near_depth - depth).abs().mean()


def emptiness(rendered: Rendered, steepness: float) -> Tensor:
    """Return the mean of log(1 + steepness * weight) over all samples of an image (Wang et al., CVPR 2023).

    It is least where few samples carry the weight of a ray: it clears fog. Skipped samples count as empty.
    """
    samples = max(1, len(rendered.opacity) * rendered.max_samples)
    return torch.log1p(steepness * rendered.weights).sum() / samples


def solidity(opacity: Tensor) -> Tensor:
    """Return the mean of 4 o (1 - o) over the opacities o (R,) of rays: 0 where each meets a solid or nothing.

    Ours. On one background thin ink of a darker colour looks like a solid of the right one, and fog of the background's
    colour like nothing: no image tells them apart.
    """
    return (4.0 * opacity * (1.0 - opacity)).mean()


def difference(kind: Difference, found: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean difference of two pictures; huber: sqrt(1 + (d / 0.1)^2) - 1, times 0.1."""
    off = found - wanted
    if kind == "l1":
        return off.abs().mean()
    if kind == "l2":
        return off.square().mean()
    return HUBER_AT * ((1.0 + (off / HUBER_AT).square()).sqrt() - 1.0).mean()


def opacity_size(opacity: Tensor) -> Tensor:
    """Return the mean of sqrt(o^2 + 0.01) over opacities: what holds fog down (SparseFusion, UpFusion)."""
    return (opacity.square() + OPACITY_FLOOR).sqrt().mean()


def total_variation(field: RadianceField) -> Tensor:
    """Return the mean difference of opacity between neighbouring voxels, per voxel of a surface through the cube."""
    alpha = -torch.expm1(-field.voxel_density() * 2.0 * field.step)
    zero = torch.zeros((), device=alpha.device)
    return sum((alpha.diff(dim=axis).abs().sum() for axis in range(3)), zero) / field.grid**2
