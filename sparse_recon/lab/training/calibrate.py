"""Fit what turns the network's claims into probabilities, on objects that it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.complete.compact.calibration import Calibration, hidden_only_by_other
from sparse_recon.complete.compact.network import CompactNet
from sparse_recon.complete.compact.volumes import CHANNELS, SCALARS
from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.fuse.confidence import CORRECT_WITHIN_M, mixture_quantile, probability_within
from sparse_recon.lab.training.measure import PredictedSample, predict, surface_points, trilinear
from sparse_recon.lab.training.shards import StoredSample, read_sample
from sparse_recon.types import Bool, Float32, Float64

POINTS_PER_SAMPLE = 2000
COVERAGE = 0.9
_TEMPERATURES = np.geomspace(0.1, 10.0, 161)
_STRETCHES = np.geomspace(0.3, 6.0, 241)
_STATE, _WEIGHT, _VOXEL = CHANNELS.index("state"), CHANNELS.index("weight"), SCALARS.index("voxel_m")


@dataclass(frozen=True, eq=False)
class Claims:
    """Inferred surface points of one object, (N,): true and claimed errors in metres, and what hides them."""

    error_m: Float32
    claimed_m: Float32
    by_other: Bool


def claims_of(net: CompactNet, entry: StoredSample, number: int, steps: int, samples: int) -> Claims:
    """Complete a held-out sample and compare its inferred surface with the true one."""
    sample = read_sample(entry)
    answer: PredictedSample = predict(net, sample, number, steps=steps, samples=samples)
    points = surface_points(answer.field_voxels)
    points = points[sample.volumes[_WEIGHT][_voxels(points)] == 0]
    points = points[:: max(1, len(points) // POINTS_PER_SAMPLE)]
    nearest = _voxels(points)
    voxel_m = np.float32(sample.scalars[_VOXEL])
    error = np.abs(trilinear(answer.truth_voxels, points)) * voxel_m
    claimed = answer.error_voxels[nearest] * voxel_m
    state = sample.volumes[_STATE].view(np.uint8)[nearest]
    return Claims(error.astype(np.float32), claimed.astype(np.float32), hidden_only_by_other(state))


def _voxels(points: Float64) -> tuple[np.ndarray, ...]:
    return tuple(np.rint(points).astype(np.intp).T)


def calibrate(claims: Sequence[Claims]) -> Calibration:
    """Fit one temperature a kind by likelihood of P(|e| < 5 mm), then the tail by split-conformal coverage.

    Every object counts the same. The coverage asked for is 90 % with the finite-sample correction of split-conformal
    prediction (Vovk et al. 2005).

    Raises
    ------
    InputError
        If there are fewer than ten objects with inferred surface.
    """
    claims = [c for c in claims if len(c.error_m)]
    if len(claims) < 10:
        raise InputError(
            ErrorCode.USAGE,
            f"{len(claims)} validation samples have inferred surface, 10 are needed; raise data.held_out_objects",
        )
    own = _temperature([_part(c, ~c.by_other) for c in claims])
    other = _temperature([_part(c, c.by_other) for c in claims], fallback=own)
    stretched = [c.claimed_m * np.where(c.by_other, np.float32(other), np.float32(own)) for c in claims]
    radius_m = np.array([mixture_quantile(s, COVERAGE) for s in stretched])
    wanted = min(1.0, COVERAGE * (1 + 1 / len(claims)))
    covered = np.array(
        [np.mean([np.mean(c.error_m <= k * r) for c, r in zip(claims, radius_m, strict=True)]) for k in _STRETCHES]
    )
    first = min(int(np.searchsorted(covered, wanted)), len(_STRETCHES) - 1)
    return Calibration(own, other, float(_STRETCHES[first]))


def _part(claims: Claims, which: Bool) -> Claims:
    return Claims(claims.error_m[which], claims.claimed_m[which], claims.by_other[which])


def _temperature(claims: Sequence[Claims], fallback: float = 1.0) -> float:
    claims = [c for c in claims if len(c.error_m) >= 20]
    if not claims:
        return fallback
    likelihood = np.zeros(len(_TEMPERATURES))
    for c in claims:
        right = c.error_m < CORRECT_WITHIN_M
        for k, temperature in enumerate(_TEMPERATURES):
            p = np.clip(probability_within(np.float32(temperature) * c.claimed_m), 1e-4, 1 - 1e-4)
            likelihood[k] += np.mean(np.where(right, np.log(p), np.log(1 - p)))
    return float(_TEMPERATURES[likelihood.argmax()])
