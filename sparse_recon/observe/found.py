"""An object that was found: its region, how it looks, which label it bears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparse_recon.observe.named_boxes import Look
from sparse_recon.observe.object_score import ObjectCues
from sparse_recon.observe.regions import LabelRegion, ObjectRegion, cut_by_image
from sparse_recon.observe.segment import SupportPlane
from sparse_recon.requests import ObjectCandidate
from sparse_recon.types import Float32, Float64, Frame


@dataclass(frozen=True, eq=False)
class FoundObject:
    """An object with the region that says which pixels it is, and what it stands on.

    Attributes
    ----------
    points_world : (N, 3) float32, its points on the grid of the search.
    hull_world : where no frame has depth, points on the hull that its masks leave it.
    cues : what its score is made of; None where a label image or a box names it.
    """

    candidate: ObjectCandidate
    region: ObjectRegion
    points_world: Float32
    plane: SupportPlane | None
    up_world: Float64
    hull_world: Float32 | None = None
    cues: ObjectCues | None = None


def with_cut(found: FoundObject, frames: Sequence[Frame]) -> FoundObject:
    """Return an object with whether the image cuts it."""
    return replace(found, candidate=replace(found.candidate, cut_by_image=cut_by_image(found.region, frames)))


def bearing_label(found: Sequence[FoundObject], label: int, frames: Sequence[Frame]) -> list[FoundObject]:
    """Return the object that bears a label in the newest frame that knows it, else those that bear it most often."""
    for frame in sorted(frames, key=lambda f: -f.stamp_ns):
        for item in found:
            if isinstance(item.region, LabelRegion) and label in item.region.labels_in(frame):
                return [item]
    return [item for item in found if item.candidate.label == label]


def look_of(found: FoundObject, frames: Sequence[Frame]) -> Look | None:
    """Return how an object looks in the newest frame that shows it."""
    for frame in sorted(frames, key=lambda f: -f.stamp_ns):
        mask = found.region.mask(frame)
        if mask.any():
            return Look(np.sort(found.candidate.box.size_m), frame.rgb[mask].mean(axis=0))
    return None


def first_shown(found: FoundObject, frames: Sequence[Frame], least: int) -> tuple[int, str, int]:
    """Return which frame first shows `least` pixels of an object, by stamp and camera, and minus how many it shows.

    In this order names are given: as long as these frames are kept it is the same whether objects are listed after each
    of them or after the last.
    """
    for frame in sorted(frames, key=lambda f: (f.stamp_ns, f.camera)):
        if (pixels := int(np.count_nonzero(found.region.mask(frame)))) >= least:
            return frame.stamp_ns, frame.camera, -pixels
    return max((f.stamp_ns for f in frames), default=0) + 1, "", -found.candidate.points
