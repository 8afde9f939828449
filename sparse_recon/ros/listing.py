"""What the last list of objects had and left out, which the log says once for each change."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from sparse_recon.requests import RejectedCandidate, told_rejections

log = logging.getLogger(__name__)

SHOWN = 10
# What is rejected for one reason within so many metres is the same thing, seen anew.
SAME_PLACE_M = 0.1

Place = tuple[str, int | None, tuple[float, ...]]


class Listing:
    """Written by the worker, read by the executor.

    Attributes
    ----------
    listed : how many objects there were; None before anybody asked.
    rejected : what was seen and not listed.
    """

    def __init__(self) -> None:
        self.listed: int | None = None
        self.rejected: tuple[RejectedCandidate, ...] = ()
        self._logged: list[Place] = []

    def note(self, listed: int, rejected: Sequence[RejectedCandidate]) -> None:
        """Take a new list; log what is new among that which is left out."""
        self.listed, self.rejected = listed, tuple(rejected)
        places = [_place(item) for item in rejected]
        new = [item for item, place in zip(rejected, places, strict=True) if not _known(place, self._logged)]
        self._logged = places
        if new:
            log.info("not listed: %s", "; ".join(told_rejections(new, SHOWN)))

    def forget(self) -> None:
        """Begin anew: all frames were forgotten."""
        self.listed, self.rejected, self._logged = None, (), []


def _place(item: RejectedCandidate) -> Place:
    centre = () if item.box is None else tuple(item.box.T_world_box[:3, 3].tolist())
    return item.reason.key, item.label, centre


def _known(place: Place, others: Sequence[Place]) -> bool:
    return any(
        other[:2] == place[:2]
        and len(other[2]) == len(place[2])
        and np.linalg.norm(np.subtract(other[2], place[2])) < SAME_PLACE_M
        for other in others
    )
