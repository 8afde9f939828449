"""Which pixels are the object: by a label image, or by a cluster of the scene's points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np

from sparse_recon.geometry.cameras import pixel_rays, unproject_depth, window_of_points
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.observe.segment import SceneClusters
from sparse_recon.types import Bool, Float32, Frame

Window = tuple[slice, slice]

# What comes so near to the border of the part of an image that has depth is cut by it.
BORDER_PX = 2


class ObjectRegion(ABC):
    """Says for each frame which pixels are the object."""

    @abstractmethod
    def mask(self, frame: Frame) -> Bool:
        """Return (H, W) bool, the object's pixels in a frame."""

    def window(self, frame: Frame) -> Window | None:
        """Return rows and columns outside which no pixel can be the object; None where none can."""
        return slice(None), slice(None)

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

    def labels_in(self, frame: Frame) -> set[int]:
        """Return the values that the object has in a frame's label image."""
        return self._labels.get((frame.camera, frame.stamp_ns), set())

    def mask(self, frame: Frame) -> Bool:
        labels = self.labels_in(frame)
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

    def window(self, frame: Frame) -> Window | None:
        return window_of_box(frame, self._low, self._high)

    def mask(self, frame: Frame) -> Bool:
        mask = np.zeros(frame.rgb.shape[:2], bool)
        window = self.window(frame)
        if frame.depth_m is None or window is None:
            return mask
        depth_m = frame.depth_m[window]
        points = pixel_points_world(frame, window)
        near = np.all((points >= self._low) & (points <= self._high), axis=-1) & (depth_m > 0)
        _, nearest = self._tree.query(points[near], distance_upper_bound=self._reach_m)  # len(tree) where none is
        mask[window][near] = self._own[nearest]
        return mask


def cut_by_image(region: ObjectRegion, frames: Iterable[Frame]) -> bool:
    """Return whether the border of the image cuts an object in every frame that shows it, and there is one."""
    seen = False
    for frame in frames:
        mask = region.mask(frame)
        if mask.any():
            seen = True
            if not touches_border(mask, frame):
                return False
    return seen


def touches_border(mask: Bool, frame: Frame) -> bool:
    """Return whether (H, W) pixels touch the border of an image, or of the columns of it that have depth at all.

    At one side of the image stereo has none, as only one of its cameras sees it. Columns that have less than half of
    what is usual are of that side; few of them are the rest of a scene whose background is too far.
    """
    left, right = 0, mask.shape[1]
    if frame.depth_m is not None and (count := np.count_nonzero(frame.depth_m > 0, axis=0)).any():
        usual = np.nonzero(count >= 0.5 * np.median(count[count > 0]))[0]
        left, right = int(usual[0]), int(usual[-1]) + 1
    inner = mask[BORDER_PX : mask.shape[0] - BORDER_PX, left + BORDER_PX : right - BORDER_PX]
    return bool(np.count_nonzero(inner) < np.count_nonzero(mask))


def window_of_box(frame: Frame, low_world: Float32, high_world: Float32) -> Window | None:
    """Return the rows and columns that can see an axis-aligned box, or None where none can."""
    corners = np.stack(np.meshgrid(*np.stack([low_world, high_world], axis=1)), axis=-1).reshape(-1, 3)
    corners_cam = transform_points(inverse(frame.T_world_cam), corners.astype(np.float64))
    return window_of_points(corners_cam, frame.intrinsics)


def pixel_points_world(frame: Frame, window: Window = (slice(None), slice(None))) -> Float32:
    """Return (h, w, 3) float32 world points of a window of the image; NaN where the depth is invalid."""
    assert frame.depth_m is not None
    points_cam = pixel_rays(frame.intrinsics, window) * frame.depth_m[window][..., None]
    return transform_points(frame.T_world_cam, points_cam).astype(np.float32)
