"""Completed objects that are no longer where they were, by the frames that came after them."""

from __future__ import annotations

from collections.abc import Sequence

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.evidence.changes import CoarseFrame, seen_through
from sparse_recon.evidence.depth_noise import depth_sigma
from sparse_recon.types import CompletedObject, Frame

# A completed object is gone when the newest frame that sees MIN_SEEN_SHARE of its measured points looks through
# GONE_SHARE of these; it has moved when each of the two newest such frames looks through OUTDATED_SHARE: noise of poses
# and outlines makes one frame in a hundred do so.
MIN_SEEN_SHARE, OUTDATED_SHARE, GONE_SHARE = 0.2, 0.2, 0.6
MAX_CHECKED_POINTS = 500


def outdated(completed: Sequence[CompletedObject], frames: Sequence[Frame], config: DepthConfig) -> dict[str, str]:
    """Return which objects are gone or have moved, and why, by the newest frames that see them.

    It costs some milliseconds an object, however many frames there are.
    """
    since_ns = min((item.stamp_ns for item in completed), default=0)
    newer = [f for f in frames if f.depth_m is not None and f.stamp_ns > since_ns]
    coarse: dict[int, CoarseFrame] = {}
    found: dict[str, str] = {}
    for item in completed:
        points = item.observed_points_world[:: max(1, len(item.observed_points_world) // MAX_CHECKED_POINTS)]
        shares: list[float] = []
        for frame in sorted(newer, key=lambda f: -f.stamp_ns):
            if frame.stamp_ns <= item.stamp_ns or len(shares) == 2:
                break
            if id(frame) not in coarse and frame.depth_m is not None:
                coarse[id(frame)] = CoarseFrame.of(frame, depth_sigma(frame.depth_m, config))
            visible, through = seen_through(points, coarse[id(frame)])
            if visible >= max(1.0, MIN_SEEN_SHARE * len(points)):
                shares.append(through / visible)
        gone = bool(shares) and shares[0] > GONE_SHARE
        if gone or (len(shares) == 2 and min(shares) > OUTDATED_SHARE):
            what = "is gone" if gone else "has moved"
            found[item.object_id] = (
                f"{item.object_id} {what}: the newest frame looks through {100 * shares[0]:.0f} % of its points"
            )
    return found
