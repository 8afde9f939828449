"""What the session says of views that do not belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparse_recon.evidence.agreement import BAD_AGREEMENT, GOOD_AGREEMENT, agreement, explanations, still_agreement
from sparse_recon.evidence.still_images import unmoved_share
from sparse_recon.types import Frame

# A camera that is said to stand still has so many pairs of frames after each other, at least, before it is doubted.
MIN_STILL = 2
# Where less of an image is found at the same place in the next one, the camera was moved.
MOVED_IMAGES = 0.4


@dataclass(frozen=True)
class ViewsVerdict:
    """Whether views belong together.

    Attributes
    ----------
    refused : they contradict each other; whatever is made of them is wrong.
    sentence : what was found, and what it looks like; empty where there is nothing to say.
    """

    refused: bool = False
    sentence: str = ""


def verdict(frames: Sequence[Frame]) -> ViewsVerdict:
    """Judge frames by what they measured of the same places; it costs some hundredths of a second."""
    found = agreement(frames)
    still, share = still_agreement(frames)
    if still >= MIN_STILL and still > found.frames and share < BAD_AGREEMENT:
        return ViewsVerdict(
            True,
            f"{still + 1} frames have one pose, but show different places (only {100 * share:.0f} % of what one "
            "measured the next one measured alike): the camera moves and no transform says so. Publish its odometry, "
            "or take one frame",
        )
    if found.frames == 1 and still and unmoved_share([f for f in frames if f.depth_m is not None]) < MOVED_IMAGES:
        return ViewsVerdict(
            False,
            f"{still + 1} frames have one pose, but their images show the scene from different places: the camera "
            "moves and no transform says so. Record its odometry or the poses of a SLAM, or take one frame",
        )
    if found.frames < 2 or (found.good and found.share >= GOOD_AGREEMENT):
        return ViewsVerdict()
    explained = explanations(frames, found)
    if not (found.bad or found.apart or explained):
        return ViewsVerdict()
    said = f"{found.frames} views from different poses do not fit each other"
    if found.pairs:
        said += f": {100 * found.share:.0f} % of what one measured in front of another that one measured alike (median)"
    if found.alone:
        said += f"; {found.alone} of them share no surface with any other"
    if explained:
        best = explained[0]
        said += f". They would fit to {100 * best.agreement.share:.0f} % if this were made good: {best.text}"
    elif found.bad:
        said += (
            ". Check that poses map the camera (x right, y down, z forward) into the world, their clock, the unit of "
            "depth and the calibration"
        )
    else:
        said += ". They may show different places; otherwise check poses, the unit of depth and the calibration"
    return ViewsVerdict(found.bad or (found.apart and bool(explained)), said)
