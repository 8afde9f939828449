"""Names that last: what comes near an earlier box keeps its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparse_recon.geometry.near import moved_box
from sparse_recon.types import Float64, OrientedBox

# A detector that runs for days must not fill the memory with names: those that were not used for longest go.
MAX_NAMES = 256
# What moved is known again by the edges of its box and its mean colour, of 255.
SIZE_TOLERANCE, SIZE_TOLERANCE_M, COLOR_TOLERANCE = 0.2, 0.01, 20.0


def same_place(a: OrientedBox, b: OrientedBox) -> bool:
    """Return whether two boxes may be of one object: centres closer than half of the smaller one's longest edge."""
    distance = float(np.linalg.norm(a.T_world_box[:3, 3] - b.T_world_box[:3, 3]))
    return distance < 0.5 * float(min(a.size_m.max(), b.size_m.max()))


def _is_same(a: Float64, b: Float64) -> bool:
    """Return whether numbers are equal but for rounding, of poses and sizes in metres."""
    return np.allclose(a, b, rtol=0.0, atol=1e-5)


@dataclass(frozen=True, eq=False)
class Look:
    """By what an object is known elsewhere: sorted edges (3,) of its box, metres, and mean colour (3,), 0-255."""

    size_m: Float64
    color: Float64

    def resembles(self, other: Look) -> bool:
        """Return whether both may be one object, seen from about the same sides."""
        tolerance_m = np.maximum(SIZE_TOLERANCE * np.maximum(self.size_m, other.size_m), SIZE_TOLERANCE_M)
        return bool(
            np.all(np.abs(self.size_m - other.size_m) <= tolerance_m)
            and np.abs(self.color - other.color).max() <= COLOR_TOLERANCE
        )


class NamedBoxes:
    """Boxes under the names `prefix`_0, `prefix`_1 and so on; no name is ever given twice."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._given = 0
        self._boxes: dict[str, OrientedBox] = {}
        self._looks: dict[str, Look] = {}

    def get(self, name: str) -> OrientedBox | None:
        """Return the box that has a name."""
        return self._boxes.get(name)

    def name(self, box: OrientedBox) -> str:
        """Return the name of this very box, a new one for a box never seen."""
        for name, known in self._boxes.items():
            if _is_same(known.T_world_box, box.T_world_box) and _is_same(known.size_m, box.size_m):
                return self._put(name, box)
        return self._put(self._new_name(), box)

    def names(
        self,
        boxes: Sequence[OrientedBox],
        looks: Sequence[Look | None] = (),
        order: Callable[[int], Any] = lambda i: i,
    ) -> list[str]:
        """Return one name for each box, nearest pairs first: that of an earlier box near it, else a new one.

        Near is a centre closer than half of the smaller box's longest edge. The named boxes are those of this call. A
        box that is near none gets the name of the only one that is missing and resembles it by `looks`: it has moved.
        New names are given in the `order` of the boxes' numbers, which is asked of boxes without a name alone.
        """
        found: dict[int, str] = {}
        pairs = [
            (float(np.linalg.norm(known.T_world_box[:3, 3] - box.T_world_box[:3, 3])), name, i)
            for name, known in self._boxes.items()
            for i, box in enumerate(boxes)
        ]
        for _, name, i in sorted(pairs):
            if same_place(boxes[i], self._boxes[name]) and i not in found and name not in found.values():
                found[i] = name
        new = {i: look for i, look in enumerate(looks) if look is not None and i not in found}
        for i, look in new.items():
            missing = [name for name in self._looks if name not in found.values()]
            like = [name for name in missing if look.resembles(self._looks[name])]
            rivals = [j for j, other in new.items() if j != i and look.resembles(other)]
            if len(like) == 1 and not rivals:
                found[i] = like[0]
        unnamed = [i for i in range(len(boxes)) if i not in found]
        found |= {i: self._new_name() for i in sorted(unnamed, key=order)}
        names = [self._put(found[i], box) for i, box in enumerate(boxes)]
        self._looks |= {name: look for name, look in zip(names, looks, strict=False) if look is not None}
        return names

    def forget(self, names: Collection[str]) -> None:
        """Let nothing be known under these names any more."""
        for name in names:
            self._boxes.pop(name, None)
            self._looks.pop(name, None)

    def move(self, by_m: Float64) -> None:
        """Move all boxes by (3,) metres; they keep their names."""
        self._boxes = {name: moved_box(box, by_m) for name, box in self._boxes.items()}

    def _new_name(self) -> str:
        self._given += 1
        return f"{self._prefix}_{self._given - 1}"

    def _put(self, name: str, box: OrientedBox) -> str:
        self._boxes.pop(name, None)
        self._boxes[name] = box
        while len(self._boxes) > MAX_NAMES:
            oldest = next(iter(self._boxes))
            del self._boxes[oldest]
            self._looks.pop(oldest, None)
        return name
