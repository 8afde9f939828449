"""Which pixels are the object: by a label image, or by a cluster of the scene's points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.geometry.cameras import pixel_rays, project_points, unproject_depth
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.observe.segment import SceneClusters
from sparse_recon.types import Bool, Float32, Frame

# Pieces of two frames are one object when this share of the smaller one's voxels coincide ...
SAME_VOXELS = 0.25
# ... or of its bounding box, since opposite sides share no voxel; less proof is needed where the label is the same.
SAME_BOX, SAME_BOX_AND_LABEL = 0.5, 0.1


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

        self._tree = cKDTree(scene.points_world)
        self._label, self._number, self._reach_m = scene.label, number, reach_m
        own = scene.points_world[scene.label == number]
        self._low, self._high = own.min(axis=0) - reach_m, own.max(axis=0) + reach_m

    def mask(self, frame: Frame) -> Bool:
        mask = np.zeros(frame.rgb.shape[:2], bool)
        window = window_of_box(frame, self._low, self._high)
        if frame.depth_m is None or window is None:
            return mask
        depth_m = frame.depth_m[window]
        points = _pixel_points_world(frame, window)
        near = np.all((points >= self._low) & (points <= self._high), axis=-1) & (depth_m > 0)
        distance, nearest = self._tree.query(points[near], distance_upper_bound=self._reach_m)
        own = np.append(self._label, -2)[nearest] == self._number
        mask[window][near] = own & np.isfinite(distance)
        return mask


def associate_labels(frames: Sequence[Frame], voxel_size_m: float) -> list[dict[tuple[str, int], set[int]]]:
    """Group the labels of all frames into objects by where they are in space; the largest object comes first.

    Numbers need not agree between frames. Frames without depth join by their label's number.
    """
    pieces = [piece for frame in frames for piece in _pieces(frame, voxel_size_m)]
    parent = list(range(len(pieces)))
    for i, piece in enumerate(pieces):
        for j in range(i):
            if piece.frame != pieces[j].frame and _same_object(piece, pieces[j]):
                parent[_root(parent, i)] = _root(parent, j)
    objects: dict[int, dict[tuple[str, int], set[int]]] = {}
    size: dict[int, int] = {}
    for i, piece in enumerate(pieces):
        root = _root(parent, i)
        objects.setdefault(root, {}).setdefault(piece.frame, set()).add(piece.label)
        size[root] = size.get(root, 0) + len(piece.cells)
    return [objects[root] for root in sorted(objects, key=lambda r: (-size[r], r))]


@dataclass(frozen=True, eq=False)
class _Piece:
    """One label of one frame: (camera, stamp), the keys of its voxels, and their bounding box, metres."""

    frame: tuple[str, int]
    label: int
    cells: npt.NDArray[np.int64]
    low: Float32
    high: Float32


def _same_object(a: _Piece, b: _Piece) -> bool:
    if len(a.cells) == 0 or len(b.cells) == 0:
        return a.label == b.label
    if len(np.intersect1d(a.cells, b.cells)) > SAME_VOXELS * min(len(a.cells), len(b.cells)):
        return True
    common = np.prod(np.maximum(np.minimum(a.high, b.high) - np.maximum(a.low, b.low), 0.0))
    smaller = min(np.prod(a.high - a.low), np.prod(b.high - b.low))
    return bool(common > (SAME_BOX_AND_LABEL if a.label == b.label else SAME_BOX) * smaller)


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        i = parent[i]
    return i


def _pieces(frame: Frame, voxel_size_m: float) -> list[_Piece]:
    if frame.labels is None:
        return []
    key = (frame.camera, frame.stamp_ns)
    points_of = None if frame.depth_m is None else _pixel_points_world(frame)
    pieces = []
    for label in np.unique(frame.labels[frame.labels > 0]):
        points = np.zeros((0, 3), np.float32)
        if points_of is not None and frame.depth_m is not None:
            points = points_of[(frame.depth_m > 0) & (frame.labels == label)]
        if len(points):
            low, high = np.quantile(points, 0.02, axis=0), np.quantile(points, 0.98, axis=0)
            pieces.append(
                _Piece(key, int(label), _cells(points, 2 * voxel_size_m), low - voxel_size_m, high + voxel_size_m)
            )
        else:
            nowhere = np.zeros(3, np.float32)
            pieces.append(_Piece(key, int(label), np.zeros(0, np.int64), nowhere, nowhere))
    return pieces


def _cells(points: Float32, size_m: float) -> npt.NDArray[np.int64]:
    """Return the sorted unique keys of the voxels that hold the points, the same in every frame (21 bits an axis)."""
    index = np.floor(points.astype(np.float64) / size_m).astype(np.int64) + (1 << 20)
    return np.unique((index[:, 0] << 42) | (index[:, 1] << 21) | index[:, 2])


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
