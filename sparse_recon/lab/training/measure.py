"""How far from the truth are completions of held-out samples, beside those of carve?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sparse_recon.complete.compact.conditioning import TRUNCATION_VOXELS, conditioning
from sparse_recon.complete.compact.flow import PRIOR_SHARE, Denoised, clip_to_bounds, multiscale_noise, sample
from sparse_recon.complete.compact.network import CompactNet
from sparse_recon.complete.compact.patches import patchify, unpatchify
from sparse_recon.complete.compact.volumes import CHANNELS, CLIP_VOXELS, GRID, QUANTISATION_LEVELS
from sparse_recon.lab.training.batches import batch_of
from sparse_recon.lab.training.samples import Sample
from sparse_recon.lab.training.shards import StoredSample, read_sample
from sparse_recon.types import Float32, Float64

TSDF, WEIGHT = CHANNELS.index("tsdf"), CHANNELS.index("weight")
TRUNCATION_OF_TSDF_VOXELS = 3.0
# The signed distance of 0.5 occupancy counts this near to it; beyond, x0 does.
OCCUPANCY_VOXELS = 1.0


@dataclass(frozen=True)
class Measured:
    """One held-out sample; distances in % of the true object's diagonal."""

    views: int
    family: str
    carve_pct: float
    model_pct: float
    occupancy_pct: float
    carve_iou: float
    model_iou: float
    error_ratio: float


@dataclass(frozen=True, eq=False)
class PredictedSample:
    """The network's prediction of a sample, and the truth, (N, N, N) in voxels.

    Attributes
    ----------
    field_voxels : signed distance with measured surface in it, within the bounds.
    occupied_voxels : the same where the occupancy says what is inside.
    raw_voxels : x0 alone.
    error_voxels : claimed error, with the standard deviation of the samples.
    """

    field_voxels: Float32
    occupied_voxels: Float32
    raw_voxels: Float32
    error_voxels: Float32
    truth_voxels: Float32


def predict(
    net: CompactNet,
    entry: Sample,
    number: int,
    *,
    with_prior: bool = True,
    steps: int = 1,
    samples: int = 1,
    prior_share: float = PRIOR_SHARE,
) -> PredictedSample:
    """Complete a sample; the noise of sample `number` is fixed.

    As fusion will do, measured surface takes the place of the imagined one, and all is clipped into the bounds.
    """
    device = str(next(net.parameters()).device)
    batch = batch_of([entry] * samples).to(device)
    condition = conditioning(batch.volumes, batch.scalars, torch.full((samples,), with_prior, device=device))
    seeds = [number * 1009 + k for k in range(samples)]
    noise = torch.cat([multiscale_noise((1, GRID, GRID, GRID), torch.Generator().manual_seed(seed)) for seed in seeds])
    answer = sample(net, condition, patchify(noise).to(device), steps, prior_share=prior_share)
    occupied = clip_to_bounds(x0_of_occupancy(answer), condition)
    x0, occupied, claimed = (
        unpatchify(v).mean(dim=0).cpu().numpy() * np.float32(TRUNCATION_VOXELS)
        for v in (answer.x0, occupied, answer.log_error.exp())
    )
    std = unpatchify(answer.x0).std(dim=0).cpu().numpy() * TRUNCATION_VOXELS if samples > 1 else np.zeros_like(x0)
    return PredictedSample(
        field_voxels=_measured_over(x0, entry.volumes),
        occupied_voxels=_measured_over(occupied, entry.volumes),
        raw_voxels=x0,
        error_voxels=np.hypot(claimed, std).astype(np.float32),
        truth_voxels=entry.target.astype(np.float32) * (CLIP_VOXELS / QUANTISATION_LEVELS),
    )


def measure(net: CompactNet, stored: Sequence[StoredSample], **how: Any) -> list[Measured]:
    """Complete held-out samples, with the options of `predict`, and compare them with the truth."""
    was_training = net.training
    net.eval()
    found = []
    for number, entry in enumerate(stored):
        sample_ = read_sample(entry)
        found.append(_compared(entry, sample_, predict(net, sample_, number, **how)))
    net.train(was_training)
    return found


def _compared(entry: StoredSample, sample_: Sample, answer: PredictedSample) -> Measured:
    volumes, truth = sample_.volumes, answer.truth_voxels
    carve = _measured_over(volumes[0].astype(np.float32) * (CLIP_VOXELS / QUANTISATION_LEVELS), volumes)
    inside = np.argwhere(truth < 0)
    diagonal = float(np.linalg.norm(np.ptp(inside, axis=0) + 1)) if len(inside) else 1.0
    hidden = (np.abs(answer.raw_voxels) < 1) & (volumes[WEIGHT] == 0)
    missed = np.abs(truth - answer.raw_voxels)[hidden]
    fields = (carve, answer.field_voxels, answer.occupied_voxels)
    carve_pct, model_pct, occupancy_pct = (100 * chamfer(f, truth) / diagonal for f in fields)
    return Measured(
        views=int(entry.scalars[2]),
        family=entry.family,
        carve_pct=carve_pct,
        model_pct=model_pct,
        occupancy_pct=occupancy_pct,
        carve_iou=iou(carve, truth),
        model_iou=iou(answer.field_voxels, truth),
        error_ratio=float(answer.error_voxels[hidden].mean() / max(missed.mean(), 1e-6))
        if hidden.any()
        else float("nan"),
    )


def x0_of_occupancy(answer: Denoised) -> torch.Tensor:
    """Return x0 whose zero lies where a voxel is as likely inside as not."""
    logit = -0.5 * answer.occupancy / TRUNCATION_VOXELS
    near = (1 - (answer.x0.abs() * TRUNCATION_VOXELS / OCCUPANCY_VOXELS - 1).clamp(0, 1)).clamp(0, 1)
    return near * logit.clamp(-1, 1) + (1 - near) * answer.x0


def _measured_over(field: Float32, volumes: np.ndarray) -> Float32:
    tsdf = volumes[TSDF].astype(np.float32) * (TRUNCATION_OF_TSDF_VOXELS / QUANTISATION_LEVELS)
    trusted = (volumes[WEIGHT] > 0) & (tsdf > -0.5 * TRUNCATION_OF_TSDF_VOXELS)
    return np.where(trusted, tsdf, field)


def chamfer(field: Float32, truth: Float32) -> float:
    """Return the mean of both mean distances between two surfaces, in voxels; half of the grid where one is empty."""
    from scipy.spatial import cKDTree

    a, b = surface_points(field), surface_points(truth)
    if len(a) == 0 or len(b) == 0:
        return 0.5 * field.shape[0]
    return 0.5 * float(cKDTree(b).query(a)[0].mean() + cKDTree(a).query(b)[0].mean())


def surface_points(field: Float32) -> Float64:
    """Return the points, (N, 3) in voxels, where grid lines cross the surface."""
    return np.concatenate([*_crossings(field)])


def trilinear(field: Float32, points: Float64) -> Float32:
    """Interpolate a field at (N, 3) points in voxels."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(field, points.T, order=1, mode="nearest").astype(np.float32)


def _crossings(field: Float32) -> Iterator[Float64]:
    for axis in range(3):
        a = np.moveaxis(field, axis, 0)[:-1]
        b = np.moveaxis(field, axis, 0)[1:]
        index = np.nonzero((a < 0) != (b < 0))
        points = np.stack(index, axis=1).astype(np.float64)
        points[:, 0] += a[index] / (a[index] - b[index])
        order = [1, 2]
        order.insert(axis, 0)
        yield points[:, order]


def iou(field: Float32, truth: Float32) -> float:
    """Return the intersection over union of two solids."""
    a, b = field < 0, truth < 0
    return float((a & b).sum() / max((a | b).sum(), 1))


def summary(found: Sequence[Measured]) -> dict[str, float]:
    """Return means over all, and the Chamfer distances at 1, 2 and more views."""
    row = {
        name: float(np.nanmean([getattr(m, name) for m in found]))
        for name in ("carve_pct", "model_pct", "occupancy_pct", "carve_iou", "model_iou", "error_ratio")
    }
    for label, counts in (("1", (1,)), ("2", (2,)), ("more", range(3, 100))):
        some = [m for m in found if m.views in counts]
        for name in ("carve", "model"):
            values = [getattr(m, f"{name}_pct") for m in some]
            row[f"{name}_pct_{label}"] = float(np.mean(values)) if values else float("nan")
    return row
