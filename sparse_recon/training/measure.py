"""How far from the truth are completions of held-out samples, beside those of carve?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sparse_recon.complete.compact.conditioning import TRUNCATION_VOXELS, Conditioning, conditioning
from sparse_recon.complete.compact.flow import Denoised, noise_like, sample, within
from sparse_recon.complete.compact.network import CompactNet
from sparse_recon.complete.compact.volumes import CHANNELS, LEVELS, REACH_VOXELS
from sparse_recon.training.batches import batch_of
from sparse_recon.training.shards import StoredSample, read_sample
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


def measure(net: CompactNet, stored: Sequence[StoredSample], told: bool = True, steps: int = 1) -> list[Measured]:
    """Complete held-out samples and compare; the noise of each is fixed.

    As fusion will do, measured surface takes the place of the imagined one, and all is clipped into the bounds.
    """
    device = next(net.parameters()).device
    was_training = net.training
    net.eval()
    found = []
    for number, entry in enumerate(stored):
        batch = batch_of([read_sample(entry)]).to(str(device))
        known = conditioning(batch.volumes, batch.scalars, torch.tensor([told], device=device))
        noise = noise_like(tuple(batch.target.shape), torch.Generator().manual_seed(number)).to(device)  # type: ignore[arg-type]
        answer = sample(net, known, noise, steps)
        found.append(_compared(entry, batch.volumes[0].cpu().numpy(), batch.target[0].cpu().numpy(), known, answer))
    net.train(was_training)
    return found


def _compared(
    entry: StoredSample, volumes: np.ndarray, target: np.ndarray, known: Conditioning, answer: Denoised
) -> Measured:
    truth = target.astype(np.float32) * (REACH_VOXELS / LEVELS)
    carve = volumes[0].astype(np.float32) * (REACH_VOXELS / LEVELS)
    imagined = (answer.x0 * TRUNCATION_VOXELS)[0].cpu().numpy()
    occupied = (within(occupancy_x0(answer), known) * TRUNCATION_VOXELS)[0].cpu().numpy()
    inside = np.argwhere(truth < 0)
    diagonal = float(np.linalg.norm(np.ptp(inside, axis=0) + 1)) if len(inside) else 1.0
    fields = [_measured_over(f, volumes) for f in (carve, imagined, occupied)]
    hidden = (np.abs(imagined) < 1) & (volumes[WEIGHT] == 0)
    claimed = np.exp(answer.log_error[0].cpu().numpy())[hidden] * TRUNCATION_VOXELS
    missed = np.abs(truth - imagined)[hidden]
    carve_pct, model_pct, occupancy_pct = (100 * chamfer(f, truth) / diagonal for f in fields)
    return Measured(
        views=int(entry.scalars[2]),
        family=entry.family,
        carve_pct=carve_pct,
        model_pct=model_pct,
        occupancy_pct=occupancy_pct,
        carve_iou=iou(fields[0], truth),
        model_iou=iou(fields[1], truth),
        error_ratio=float(claimed.mean() / max(missed.mean(), 1e-6)) if hidden.any() else float("nan"),
    )


def occupancy_x0(answer: Denoised) -> torch.Tensor:
    """Return x0 whose zero lies where a voxel is as likely inside as not."""
    odds = -0.5 * answer.occupancy / TRUNCATION_VOXELS
    near = (1 - (answer.x0.abs() * TRUNCATION_VOXELS / OCCUPANCY_VOXELS - 1).clamp(0, 1)).clamp(0, 1)
    return near * odds.clamp(-1, 1) + (1 - near) * answer.x0


def _measured_over(field: Float32, volumes: np.ndarray) -> Float32:
    tsdf = volumes[TSDF].astype(np.float32) * (TRUNCATION_OF_TSDF_VOXELS / LEVELS)
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
