"""The frames of a session in the frame near to them, in which it looks at them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparse_recon.geometry.near import is_within_reach, moved_box, moved_frame, near_origin
from sparse_recon.types import Float64, Frame, OrientedBox


class NearFrames:
    """Keeps the origin of the near frame by the newest camera. Not thread-safe: it belongs to the worker.

    Attributes
    ----------
    origin_world : (3,) metres; zeros while cameras are within a kilometre of the world's origin.
    """

    def __init__(self) -> None:
        self.origin_world: Float64 = np.zeros(3)
        self._known: dict[int, tuple[Frame, Frame]] = {}  # by id of the frame of the world, which is held

    def follow(self, kept: Sequence[Frame]) -> Float64:
        """Take a nearer origin where the newest camera is out of reach; return by how much all that is near moves."""
        before = self.origin_world
        if kept and not is_within_reach(kept[-1].T_world_cam[:3, 3], before):
            self.origin_world, self._known = near_origin(kept[-1].T_world_cam[:3, 3]), {}
        return before - self.origin_world

    def of(self, kept: Sequence[Frame]) -> tuple[Frame, ...]:
        """Return frames of the world in the near frame: the same ones for the same ones."""
        if not self.origin_world.any():
            return tuple(kept)
        known, self._known = self._known, {}
        for frame in kept:
            self._known[id(frame)] = known.get(id(frame)) or (frame, moved_frame(frame, -self.origin_world))
        return tuple(self._known[id(frame)][1] for frame in kept)

    def box(self, box: OrientedBox) -> OrientedBox:
        """Return a box of the world in the near frame."""
        return moved_box(box, -self.origin_world)
