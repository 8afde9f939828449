"""The points of the scene, summed up frame by frame: a new frame costs the same however many are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.evidence.depth_noise import depth_sigma
from sparse_recon.evidence.sampling import evenly_sampled
from sparse_recon.geometry.cameras import every_nth_pixel, unproject_depth
from sparse_recon.geometry.poses import transform_points
from sparse_recon.geometry.voxel_sums import VoxelSums
from sparse_recon.observe.still import is_something_new, is_sparse, new_surface, stands_still
from sparse_recon.types import Bool, Float32, Frame

# Every so many-th pixel is looked at, in at most so many frames, evenly spread over those that show something new.
STEP, SCENE_FRAMES = 2, 16

Checkpoint = Callable[[], None]


class SceneCloud:
    """Remembers what it found in a frame as long as that frame is among those that are asked about.

    What it gives depends on the frames and their order alone. Not thread-safe: it belongs to the worker.

    Parameters
    ----------
    voxel_size_m : edge of the voxels of `points`.
    depth : noise of the depth images.
    """

    def __init__(self, voxel_size_m: float, depth: DepthConfig) -> None:
        self._voxel_size_m, self._depth = voxel_size_m, depth
        self._voxels: dict[int, tuple[Frame, VoxelSums]] = {}  # by id of the frame, which is held
        # By ids of two frames, which are held: where the first shows something that the second does not.
        self._new: dict[tuple[int, int], tuple[Frame, Frame, Bool]] = {}
        self._new_last: dict[int, Bool] = {}  # by id of a telling frame: that of the last one that is like it
        self._looked_at: list[Frame] = []
        self._telling: list[Frame] = []

    def frames_to_search(self, frames: Sequence[Frame], checkpoint: Checkpoint = lambda: None) -> tuple[Frame, ...]:
        """Return the frames that may show what no frame before them shows, evenly sampled where they are many.

        A frame of a camera that stands still before a scene that stands still is not among them. What is a few pixels
        large counts with the second frame that shows it, since noise does not come twice at one place.
        """
        if self._looked_at != list(frames[: len(self._looked_at)]):  # frames are compared by identity
            there = {id(f) for f in frames}
            self._new = {pair: new for pair, new in self._new.items() if there.issuperset(pair)}
            self._voxels = {key: found for key, found in self._voxels.items() if key in there}
            self._looked_at, self._telling, self._new_last = [], [], {}
        for frame in frames[len(self._looked_at) :]:
            if frame.depth_m is not None:
                checkpoint()
                before = next((f for f in reversed(self._telling) if stands_still(frame, f)), None)
                if before is None or is_sparse(frame.depth_m) or self._is_new(frame, before):
                    self._telling.append(frame)
            self._looked_at.append(frame)
        return tuple(evenly_sampled(self._telling, SCENE_FRAMES))

    def points(
        self, frames: Sequence[Frame], checkpoint: Checkpoint = lambda: None
    ) -> tuple[Float32, npt.NDArray[np.int64]]:
        """Return the mean point (K, 3) of each voxel in the world, and about how many pixels it holds in all frames."""
        parts = []
        for frame in frames:
            if frame.depth_m is not None:
                checkpoint()
                parts.append(self._voxels_of(frame))
        checkpoint()
        sums = VoxelSums.joined(parts)
        return sums.means(), STEP * STEP * sums.count

    def _is_new(self, frame: Frame, before: Frame) -> bool:
        pair = id(frame), id(before)
        if pair not in self._new:
            assert frame.depth_m is not None and before.depth_m is not None
            surface = new_surface(frame.depth_m, before.depth_m, depth_sigma(frame.depth_m, self._depth))
            self._new[pair] = frame, before, surface
        new, last = self._new[pair][2], self._new_last.get(id(before))
        self._new_last[id(before)] = new
        return is_something_new(new, last)

    def _voxels_of(self, frame: Frame) -> VoxelSums:
        if id(frame) not in self._voxels:
            assert frame.depth_m is not None
            points_cam = unproject_depth(frame.depth_m[::STEP, ::STEP], every_nth_pixel(frame.intrinsics, STEP))
            points_world = transform_points(frame.T_world_cam, points_cam).astype(np.float32)
            self._voxels[id(frame)] = frame, VoxelSums.of(points_world, self._voxel_size_m)
        return self._voxels[id(frame)][1]
