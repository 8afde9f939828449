"""Which pixels are the object: by a label image, or by a cluster of the scene's points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.geometry.cameras import pixel_rays, project_points, unproject_depth
from sparse_recon.geometry.clouds import inside_box, voxel_keys
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.observe.segment import SceneClusters
from sparse_recon.types import Bool, Float32, Frame, OrientedBox

# Pieces of two frames are one object when this share of the smaller one's voxels coincide ...
MIN_VOXEL_OVERLAP = 0.25
# ... or of its bounding box, since opposite sides share no voxel; less proof is needed where the label is the same.
MIN_BOX_OVERLAP, MIN_BOX_OVERLAP_SAME_LABEL = 0.5, 0.1


class ObjectRegion(ABC):
    """Says for each frame which pixels are the object."""

    @abstractmethod
    def mask(self, frame: Frame) -> Bool:
        """Return (H, W) bool, the object's pixels in a frame."""

    def points_world(self, frame: Frame) -> Float32:
        """Return the (N, 3) float32 measured points of the object in a frame; none where there is no depth."""
        if frame.depth_m is None:
            return np.zeros((0, 3), np.float32)
        points = unproject_depth(frame.depth_m, frame.intrinsics, self.mask(frame))
        return transform_points(frame.T_world_cam, points).astype(np.float32)


class LabelRegion(ObjectRegion):
    """The pixels of given labels; each camera image may have its own numbering.

    With `body_world` (N, 3), pixels whose depth is farther than `reach_m` from it are left out: along the rim of a mask
    they measure what is behind the object.
    """

    def __init__(
        self, labels_of_frame: dict[tuple[str, int], set[int]], body_world: Float32 | None = None, reach_m: float = 0.0
    ) -> None:
        from scipy.spatial import cKDTree

        self._labels = labels_of_frame
        self._tree = None if body_world is None else cKDTree(body_world)
        self._reach_m = reach_m

    def mask(self, frame: Frame) -> Bool:
        labels = self._labels.get((frame.camera, frame.stamp_ns))
        if frame.labels is None or not labels:
            return np.zeros(frame.rgb.shape[:2], bool)
        mask = np.isin(frame.labels, sorted(labels))
        if self._tree is not None and frame.depth_m is not None:
            measured = mask & (frame.depth_m > 0)
            points = transform_points(frame.T_world_cam, unproject_depth(frame.depth_m, frame.intrinsics, measured))
            distance, _ = self._tree.query(points, distance_upper_bound=self._reach_m)
            mask[measured] = np.isfinite(distance)
        return mask


class ClusterRegion(ObjectRegion):
    """The pixels whose point is nearest to one cluster of the scene."""

    def __init__(self, scene: SceneClusters, number: int, reach_m: float) -> None:
        from scipy.spatial import cKDTree

        own = scene.points_world[scene.label == number]
        self._low, self._high = own.min(axis=0) - reach_m, own.max(axis=0) + reach_m
        # Points farther off are nearest to no pixel of the object.
        close = np.all(
            (scene.points_world >= self._low - reach_m) & (scene.points_world <= self._high + reach_m), axis=1
        )
        self._tree = cKDTree(scene.points_world[close])
        self._own = np.append(scene.label[close] == number, False)
        self._reach_m = reach_m

    def mask(self, frame: Frame) -> Bool:
        mask = np.zeros(frame.rgb.shape[:2], bool)
        window = window_of_box(frame, self._low, self._high)
        if frame.depth_m is None or window is None:
            return mask
        depth_m = frame.depth_m[window]
        points = _pixel_points_world(frame, window)
        near = np.all((points >= self._low) & (points <= self._high), axis=-1) & (depth_m > 0)
        _, nearest = self._tree.query(points[near], distance_upper_bound=self._reach_m)  # len(tree) where none is
        mask[window][near] = self._own[nearest]
        return mask


def associate_labels(
    frames: Sequence[Frame],
    voxel_size_m: float,
    within: OrientedBox | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> list[dict[tuple[str, int], set[int]]]:
    """Group the labels of all frames into objects by where they are in space; the largest object comes first.

    Numbers need not agree between frames, but two labels of one frame are never one object. What no frame measured
    joins the object that bears its number most often. Of what was measured, only points in the box `within` count.
    `checkpoint` is called between the frames and may raise to cancel.
    """
    segments: list[_LabelSegment] = []
    for frame in frames:
        checkpoint()
        segments += _label_segments(frame, voxel_size_m, within)
    checkpoint()
    groups = [[segment] for segment in segments if len(segment.voxels)]
    shared = {(a, b): _overlap(groups[a][0], groups[b][0]) for b in range(len(groups)) for a in range(b)}
    root = list(range(len(groups)))
    for (a, b), overlap in sorted(shared.items(), key=lambda pair: (-pair[1], pair[0])):
        into, from_ = root[a], root[b]
        if overlap <= 0 or into == from_ or {p.frame for p in groups[into]} & {p.frame for p in groups[from_]}:
            continue
        groups[into] += groups[from_]
        root = [into if r == from_ else r for r in root]
    objects = [groups[r] for r in sorted(set(root))]
    for segment in segments:
        if len(segment.voxels) == 0:
            _add_unmeasured(segment, objects)
    objects.sort(key=lambda group: -sum(len(p.voxels) for p in group))
    return [{p.frame: {p.label} for p in group} for group in objects]


@dataclass(frozen=True, eq=False)
class _LabelSegment:
    """One label of one frame: (camera, stamp), the keys of its voxels, and their bounding box, metres."""

    frame: tuple[str, int]
    label: int
    voxels: npt.NDArray[np.int64]
    low: Float32
    high: Float32


def _overlap(a: _LabelSegment, b: _LabelSegment) -> float:
    """Return how surely two pieces are of one object: > 1 by common voxels, up to 1 by common space, 0 not at all."""
    if a.frame == b.frame or np.any(a.low > b.high) or np.any(b.low > a.high):
        return 0.0
    voxels = len(np.intersect1d(a.voxels, b.voxels)) / min(len(a.voxels), len(b.voxels))
    if voxels > MIN_VOXEL_OVERLAP:
        return 1.0 + voxels
    common = float(np.prod(np.maximum(np.minimum(a.high, b.high) - np.maximum(a.low, b.low), 0.0)))
    space = common / float(min(np.prod(a.high - a.low), np.prod(b.high - b.low)))
    return min(space, 1.0) if space > (MIN_BOX_OVERLAP_SAME_LABEL if a.label == b.label else MIN_BOX_OVERLAP) else 0.0


def _add_unmeasured(segment: _LabelSegment, objects: list[list[_LabelSegment]]) -> None:
    """Put a piece without depth to the object that bears its number most often and is not in its frame already."""
    free = [group for group in objects if all(p.frame != segment.frame for p in group)]
    same_label_counts = [sum(p.label == segment.label for p in group) for group in free]
    if max(same_label_counts, default=0) > 0:
        free[int(np.argmax(same_label_counts))].append(segment)
    else:
        objects.append([segment])


def _label_segments(frame: Frame, voxel_size_m: float, within: OrientedBox | None) -> list[_LabelSegment]:
    if frame.labels is None:
        return []
    key = (frame.camera, frame.stamp_ns)
    points_of = None if frame.depth_m is None else _pixel_points_world(frame)
    segments = []
    for label in np.unique(frame.labels[frame.labels > 0]):
        points = np.zeros((0, 3), np.float32)
        if points_of is not None and frame.depth_m is not None:
            points = points_of[(frame.depth_m > 0) & (frame.labels == label)]
            if within is not None and len(points):
                points = points[inside_box(points, within)]
                if len(points) == 0:
                    continue
        if len(points):
            low, high = np.quantile(points, 0.02, axis=0), np.quantile(points, 0.98, axis=0)
            segments.append(
                _LabelSegment(
                    key, int(label), voxel_keys(points, 2 * voxel_size_m), low - voxel_size_m, high + voxel_size_m
                )
            )
        else:
            nowhere = np.zeros(3, np.float32)
            segments.append(_LabelSegment(key, int(label), np.zeros(0, np.int64), nowhere, nowhere))
    return segments


Window = tuple[slice, slice]


def window_of_box(frame: Frame, low_world: Float32, high_world: Float32) -> Window | None:
    """Return the rows and columns that can see an axis-aligned box, or None where none can."""
    corners = np.stack(np.meshgrid(*np.stack([low_world, high_world], axis=1)), axis=-1).reshape(-1, 3)
    corners_cam = transform_points(inverse(frame.T_world_cam), corners.astype(np.float64))
    height, width = frame.rgb.shape[:2]
    if np.all(corners_cam[:, 2] <= 0):
        return None
    if np.any(corners_cam[:, 2] <= 0):  # the camera is inside or beside the box
        return slice(0, height), slice(0, width)
    uv = project_points(corners_cam, frame.intrinsics)
    left, top = np.maximum(np.floor(uv.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(uv.max(axis=0)).astype(int) + 1, (width, height))
    return (slice(top, bottom), slice(left, right)) if right > left and bottom > top else None


def _pixel_points_world(frame: Frame, window: Window = (slice(None), slice(None))) -> Float32:
    """Return (h, w, 3) float32 world points of a window of the image; NaN where the depth is invalid."""
    assert frame.depth_m is not None
    points_cam = pixel_rays(frame.intrinsics, window) * frame.depth_m[window][..., None]
    return transform_points(frame.T_world_cam, points_cam).astype(np.float32)
