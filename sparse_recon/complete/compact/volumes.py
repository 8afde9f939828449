"""The network's conditioning on one object, as small integers in units of a voxel: the same in training and use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.types import Float32, SurfaceField

GRID = 64
# Signed distances are kept to this many voxels from the surface, in steps of 1/15.875 of a voxel.
CLIP_VOXELS = 8.0
QUANTISATION_LEVELS = 127
CHANNELS = ("prior", "prior_sigma", "tsdf", "weight", "lower", "upper", "state")
SCALARS = ("voxel_m", "sigma_voxels", "views", "support_voxels", "on_support")
SATURATED_WEIGHT = 16.0
SIGMA_LEVELS = 4.0  # per voxel


@dataclass(frozen=True, eq=False)
class EvidenceVolumes:
    """What was seen of one object, and what the completer without weights makes of it.

    Attributes
    ----------
    volumes : (7, N, N, N) int8 of `CHANNELS`: signed distance of the prior and its expected error, fused truncated
        distance, weight, lower and upper bound, `VoxelState` flags.
    scalars : (5,) float32 of `SCALARS`; the support plane's height is a voxel index along z.
    """

    volumes: npt.NDArray[np.int8]
    scalars: Float32


def evidence_volumes(evidence: Evidence, bounds: Bounds, prior: SurfaceField) -> EvidenceVolumes:
    """Describe evidence on a cube of `GRID` voxels to the network."""
    voxel, truncation = evidence.grid.voxel_m, evidence.truncation_m
    tsdf = np.nan_to_num(evidence.tsdf_m(), nan=0.0)
    weight = np.log1p(np.maximum(evidence.weight, 0)) / np.log1p(SATURATED_WEIGHT)
    volumes = np.stack(
        [
            quantised_distance(prior.sdf_m / voxel),
            np.rint(SIGMA_LEVELS * np.clip(prior.sigma_m / voxel, 0, CLIP_VOXELS)).astype(np.int8),
            _quantised(tsdf / truncation),
            # What was measured at all differs from what was not, however noisy it is.
            np.where(evidence.weight > 0, np.maximum(_quantised(weight), 1), 0).astype(np.int8),
            quantised_distance(bounds.lower_m / voxel),
            quantised_distance(0.5 * bounds.upper_m / voxel),
            evidence.state.astype(np.int8),
        ]
    )
    sigmas = evidence.all_sigmas_m()
    support_z = evidence.object_frame.support_z_m
    scalars = np.array(
        [
            voxel,
            float(np.median(sigmas)) / voxel if len(sigmas) else 0.0,
            len(evidence.view_depths),
            0.0 if support_z is None else (support_z - evidence.grid.low_m[2]) / voxel - 0.5,
            support_z is not None,
        ],
        np.float32,
    )
    return EvidenceVolumes(volumes, scalars)


def quantised_distance(distance_voxels: Float32) -> npt.NDArray[np.int8]:
    """Return distances in voxels as int8, clipped to `CLIP_VOXELS`."""
    return _quantised(distance_voxels / CLIP_VOXELS)


def _quantised(values: Float32) -> npt.NDArray[np.int8]:
    return np.rint(QUANTISATION_LEVELS * np.clip(values, -1, 1)).astype(np.int8)
