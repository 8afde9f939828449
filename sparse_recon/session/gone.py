"""What is refused because the newest frame that looks there sees through it."""

from __future__ import annotations

import numpy as np

from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.evidence.registration import Registered
from sparse_recon.geometry.cameras import unproject_depth
from sparse_recon.geometry.poses import transform_points
from sparse_recon.observe.catalog import FoundObject
from sparse_recon.observe.present import PresentFrames
from sparse_recon.session.outdated import GONE_SHARE
from sparse_recon.types import Float32


def refuse_gone(found: FoundObject, registered: Registered, present: PresentFrames) -> None:
    """Raise where an object is no longer there; poses that were off by as much as it is high count as corrected.

    Raises
    ------
    EvidenceError
        EVIDENCE_CONTRADICTS
    """
    through = present.seen_through(found.points_world)
    if through > GONE_SHARE and registered.sentence:
        poses = {(v.frame.camera, v.frame.stamp_ns): v.frame.T_world_cam for v in registered.views.views}
        through = present.seen_through(_measured(registered), poses)
    if through > GONE_SHARE:
        raise EvidenceError(
            ErrorCode.EVIDENCE_CONTRADICTS,
            f"{found.candidate.object_id}: the newest frame that looks there sees through {100 * through:.0f} % of it, "
            f"accepted are {100 * GONE_SHARE:.0f} %: it is gone, has moved, or camera poses are wrong; look again, or "
            "forget it",
        )


def _measured(registered: Registered) -> Float32:
    """Return what the views, as they fit, measured of the object, (N, 3) in the world."""
    points = [
        transform_points(v.frame.T_world_cam, unproject_depth(v.frame.depth_m, v.frame.intrinsics, v.mask))
        for v in registered.views.views
        if v.frame.depth_m is not None
    ]
    return np.concatenate(points).astype(np.float32)
