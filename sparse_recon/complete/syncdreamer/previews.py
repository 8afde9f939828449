"""What a set of views says before it is done: the carved prior, cut down to the outlines of some of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sparse_recon.complete.latent.cameras import SphericalCamera, model_intrinsics
from sparse_recon.complete.latent.generated_views import WHITE, object_mask
from sparse_recon.complete.latent.outlines import Outlines
from sparse_recon.errors import CancelledError
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import inverse
from sparse_recon.types import Float64, SurfaceField, UInt8

log = logging.getLogger(__name__)

# Shares of the steps after which there is something to see, and which of the views are decoded for it: decoding takes
# a good part of a step's time.
SHARES = (0.5, 0.75)
EVERY = 4


def is_due(step: int, steps: int) -> bool:
    """Whether a preview is to be made after a step, the first being 1."""
    return step in {max(1, round(share * steps)) for share in SHARES} and step < steps


def made_or(prior: SurfaceField, make: Callable[[], SurfaceField]) -> SurfaceField:
    """Return what `make` returns, or the prior where it fails: a preview is no reason to fail or to begin anew.

    Raises
    ------
    CancelledError
        If `make` raises it.
    """
    try:
        return make()
    except CancelledError:
        raise
    except Exception as error:  # NaN halfway, or memory that ran out
        log.warning("no preview could be made, the carved prior is shown: %s: %s", type(error).__name__, error)
    return prior


def outlined(
    prior: SurfaceField,
    grid: VoxelGrid,
    pictures: UInt8,
    cameras: list[SphericalCamera],
    middle_obj: Float64,
    unit_m: float,
) -> SurfaceField:
    """Return the prior (X, Y, Z) without what lies outside the outlines; unchanged if none of them shows anything.

    Parameters
    ----------
    pictures : (V, P, P, 3) on white, of `cameras`, which are relative to `middle_obj` in lengths of `unit_m`.
    """
    masks = np.stack([object_mask(rgb, WHITE) for rgb in pictures])
    solid = prior.sdf_m < 0
    if not masks.any() or not solid.any():
        return prior
    outlines = Outlines(masks, np.stack([inverse(c.T_obj_cam()) for c in cameras]), model_intrinsics(masks.shape[1]))
    within_m = outlines.depth_within((grid.centres()[solid] - middle_obj) / unit_m) * unit_m
    if not (within_m > 0).any():
        return prior
    sdf_m = prior.sdf_m.copy()
    sdf_m[solid] = np.maximum(sdf_m[solid], -within_m)
    return replace(prior, sdf_m=sdf_m)
