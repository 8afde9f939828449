"""Evaluations of different cost, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sparse_recon.lab.evaluate.methods import TRUTH


@dataclass(frozen=True)
class Profile:
    """Values that a profile sets unless the command line says otherwise.

    Attributes
    ----------
    text : for people.
    protocol : values of `Protocol`.
    methods : besides the model of the session; none for all.
    made_up : number of made-up objects where no folder is given.
    """

    text: str
    protocol: dict[str, Any] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    made_up: int = 12


PROFILES: dict[str, Profile] = {
    "full": Profile("every method, 1/2/4 views, clean and noisy"),
    "stress": Profile(
        "every method, 1/2/4 views: wrong poses, wrong masks, another object in front",
        {"conditions": ["pose", "mask", "occluded"]},
    ),
    "quick": Profile(
        "model, measured points and truth, 1/2/4 views, noisy", {"conditions": ["noisy"]}, ("observed", TRUTH)
    ),
    "regression": Profile(
        "model and measured points on 8 made-up objects, 1/2 views, mild; what continuous integration runs",
        {"conditions": ["mild"], "views": [1, 2], "novel_views": 0},
        ("observed",),
        made_up=8,
    ),
}

# With --grasp, unless a profile is named.
GRASPS = Profile(
    "grasps on measured points, hulls, the model and the truth, 1/2 views, noisy",
    {"conditions": ["noisy"], "views": [1, 2], "novel_views": 0},
    ("observed", "hull", "carved_hull", TRUTH),
)
