"""Names that last: what comes near an earlier box keeps its name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparse_recon.types import OrientedBox

# A detector that runs for days must not fill the memory with names: those that were not used for longest go.
MAX_NAMES = 256


def same_place(a: OrientedBox, b: OrientedBox) -> bool:
    """Return whether two boxes may be of one object: centres closer than half of the smaller one's longest edge."""
    distance = float(np.linalg.norm(a.T_world_box[:3, 3] - b.T_world_box[:3, 3]))
    return distance < 0.5 * float(min(a.size_m.max(), b.size_m.max()))


class NamedBoxes:
    """Boxes under the names `prefix`_0, `prefix`_1 and so on; no name is ever given twice."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._given = 0
        self._boxes: dict[str, OrientedBox] = {}

    def get(self, name: str) -> OrientedBox | None:
        """Return the box that has a name."""
        return self._boxes.get(name)

    def name(self, box: OrientedBox) -> str:
        """Return the name of this very box, a new one for a box never seen."""
        for name, known in self._boxes.items():
            if np.allclose(known.T_world_box, box.T_world_box) and np.allclose(known.size_m, box.size_m):
                return self._put(name, box)
        return self._put(self._new_name(), box)

    def names(self, boxes: Sequence[OrientedBox]) -> list[str]:
        """Return one name for each box, nearest pairs first: that of an earlier box near it, else a new one.

        Near is a centre closer than half of the smaller box's longest edge. The named boxes are those of this call.
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
        return [self._put(found.get(i) or self._new_name(), box) for i, box in enumerate(boxes)]

    def _new_name(self) -> str:
        self._given += 1
        return f"{self._prefix}_{self._given - 1}"

    def _put(self, name: str, box: OrientedBox) -> str:
        self._boxes.pop(name, None)
        self._boxes[name] = box
        while len(self._boxes) > MAX_NAMES:
            del self._boxes[next(iter(self._boxes))]
        return name
