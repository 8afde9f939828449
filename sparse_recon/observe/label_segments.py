"""Labels of many images grouped into objects by where they are in space; a new frame costs no other frame's work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.geometry.clouds import inside_box, voxel_keys
from sparse_recon.geometry.voxel_sums import VoxelSums
from sparse_recon.observe.regions import pixel_points_world
from sparse_recon.types import Float32, Frame, OrientedBox

# Segments of two frames are one object when this share of the smaller one's voxels coincide ...
MIN_VOXEL_OVERLAP = 0.25
# ... or of its bounding box, since opposite sides share no voxel; less proof is needed where the label is the same.
MIN_BOX_OVERLAP, MIN_BOX_OVERLAP_SAME_LABEL = 0.5, 0.1

LabelsOfFrame = dict[tuple[str, int], set[int]]


@dataclass(frozen=True, eq=False)
class LabelSegment:
    """One label of one frame.

    Attributes
    ----------
    frame : camera and stamp.
    cloud : its measured points in the world.
    keys : sorted keys of the voxels of twice the size that hold these.
    low, high : (3,) bounding box without strays, metres.
    """

    frame: tuple[str, int]
    label: int
    cloud: VoxelSums
    keys: npt.NDArray[np.int64]
    low: Float32
    high: Float32


@dataclass(frozen=True, eq=False)
class LabelGroup:
    """The segments of one object."""

    segments: tuple[LabelSegment, ...]

    @property
    def labels(self) -> LabelsOfFrame:
        """The labels of the object by camera and stamp of the frame."""
        return {segment.frame: {segment.label} for segment in self.segments}

    def cloud(self) -> VoxelSums:
        """Return the measured points of the object."""
        return VoxelSums.joined([segment.cloud for segment in self.segments])


class LabelSegments:
    """Remembers the segments of a frame as long as that frame is among those that are asked about.

    Parameters
    ----------
    voxel_size_m : edge of the voxels in which points are summed up.
    within : of what was measured, only points in this box count; all without one.
    """

    def __init__(self, voxel_size_m: float, within: OrientedBox | None = None) -> None:
        self._voxel_size_m, self._within = voxel_size_m, within
        self._segments: dict[int, tuple[Frame, list[LabelSegment]]] = {}  # by id of the frame, which is held
        self._overlaps: dict[tuple[int, int], float] = {}  # by ids of two segments

    def keep(self, frames: Sequence[Frame]) -> None:
        """Forget all frames but these."""
        there = {id(frame) for frame in frames}
        if self._segments.keys() - there:
            self._segments = {key: found for key, found in self._segments.items() if key in there}
            left = {id(segment) for _, segments in self._segments.values() for segment in segments}
            self._overlaps = {pair: share for pair, share in self._overlaps.items() if left.issuperset(pair)}

    def groups(self, frames: Sequence[Frame], checkpoint: Callable[[], None] = lambda: None) -> list[LabelGroup]:
        """Group the labels of these frames into objects; the largest object comes first.

        Numbers need not agree between frames, but two labels of one frame are never one object. What no frame measured
        joins the object that bears its number most often. `checkpoint` is called between the frames and may raise.
        """
        segments: list[LabelSegment] = []
        for frame in frames:
            checkpoint()
            segments += self._of(frame)
        checkpoint()
        groups = [[segment] for segment in segments if len(segment.keys)]
        shared = {(a, b): self._overlap(groups[a][0], groups[b][0]) for b in range(len(groups)) for a in range(b)}
        root = list(range(len(groups)))
        for (a, b), overlap in sorted(shared.items(), key=lambda pair: (-pair[1], pair[0])):
            into, from_ = root[a], root[b]
            if overlap <= 0 or into == from_ or {s.frame for s in groups[into]} & {s.frame for s in groups[from_]}:
                continue
            groups[into] += groups[from_]
            root = [into if r == from_ else r for r in root]
        objects = [groups[r] for r in sorted(set(root))]
        for segment in segments:
            if len(segment.keys) == 0:
                _add_unmeasured(segment, objects)
        objects.sort(key=lambda group: -sum(len(segment.keys) for segment in group))
        return [LabelGroup(tuple(group)) for group in objects]

    def _of(self, frame: Frame) -> list[LabelSegment]:
        if id(frame) not in self._segments:
            self._segments[id(frame)] = frame, _segments(frame, self._voxel_size_m, self._within)
        return self._segments[id(frame)][1]

    def _overlap(self, a: LabelSegment, b: LabelSegment) -> float:
        pair = id(a), id(b)
        if pair not in self._overlaps:
            self._overlaps[pair] = _overlap(a, b)
        return self._overlaps[pair]


def _overlap(a: LabelSegment, b: LabelSegment) -> float:
    """Return how surely two segments are of one object: > 1 by common voxels, up to 1 by common space, 0 not at all."""
    if a.frame == b.frame or np.any(a.low > b.high) or np.any(b.low > a.high):
        return 0.0
    voxels = len(np.intersect1d(a.keys, b.keys, assume_unique=True)) / min(len(a.keys), len(b.keys))
    if voxels > MIN_VOXEL_OVERLAP:
        return 1.0 + voxels
    common = float(np.prod(np.maximum(np.minimum(a.high, b.high) - np.maximum(a.low, b.low), 0.0)))
    space = common / float(min(np.prod(a.high - a.low), np.prod(b.high - b.low)))
    return min(space, 1.0) if space > (MIN_BOX_OVERLAP_SAME_LABEL if a.label == b.label else MIN_BOX_OVERLAP) else 0.0


def _add_unmeasured(segment: LabelSegment, objects: list[list[LabelSegment]]) -> None:
    """Put a segment without depth to the object that bears its number most often and is not in its frame already."""
    free = [group for group in objects if all(s.frame != segment.frame for s in group)]
    same_label_counts = [sum(s.label == segment.label for s in group) for group in free]
    if max(same_label_counts, default=0) > 0:
        free[int(np.argmax(same_label_counts))].append(segment)
    else:
        objects.append([segment])


def _segments(frame: Frame, voxel_size_m: float, within: OrientedBox | None) -> list[LabelSegment]:
    if frame.labels is None:
        return []
    points_of = None if frame.depth_m is None else pixel_points_world(frame)
    segments = []
    for label in np.unique(frame.labels[frame.labels > 0]):
        points = np.zeros((0, 3), np.float32)
        if points_of is not None and frame.depth_m is not None:
            points = points_of[(frame.depth_m > 0) & (frame.labels == label)]
            if within is not None and len(points):
                points = points[inside_box(points, within)]
                if len(points) == 0:
                    continue
        low = high = np.zeros(3, np.float32)
        if len(points):
            low, high = (
                np.quantile(points, 0.02, axis=0) - voxel_size_m,
                np.quantile(points, 0.98, axis=0) + voxel_size_m,
            )
        cloud, keys = VoxelSums.of(points, voxel_size_m), voxel_keys(points, 2 * voxel_size_m)
        segments.append(LabelSegment((frame.camera, frame.stamp_ns), int(label), cloud, keys, low, high))
    return segments
