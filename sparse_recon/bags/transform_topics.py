"""Which topics of a recording carry the transforms of its cameras: those of one tree, whatever their namespaces."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from sparse_recon.bags.topics import TRANSFORMS
from sparse_recon.types import Float64

_NAMES = ("tf", "tf_static")
_SAME = 1e-6  # metres, and entries of rotations
_SHOWN = 5  # frames


@dataclass(frozen=True, eq=False)
class Links:
    """What a topic, or several, say of frames: for each child its parent, and T_parent_child where it is static."""

    by_child: dict[str, tuple[str, Float64 | None]]

    @property
    def frames(self) -> frozenset[str]:
        """All names."""
        return frozenset(self.by_child) | {parent for parent, _ in self.by_child.values()}

    def contradicted(self, other: Links) -> list[str]:
        """Return the children that both place, unless both as static and alike."""
        both = sorted(self.by_child.keys() & other.by_child.keys())
        return [child for child in both if not _alike(self.by_child[child], other.by_child[child])]


@dataclass(frozen=True)
class TransformTopics:
    """The topics to be read; `left_out` says why the others are not."""

    used: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def choose(
    types: Mapping[str, str],
    cameras: Collection[str],
    optical_frames: Callable[[], Collection[str]],
    links: Callable[[str], Links],
) -> TransformTopics:
    """Choose among all topics of transforms; where there is one namespace, nothing is asked.

    One namespace begins: the one that knows the frames of the images, and among several such the one that the
    cameras' topics are in, then the global one. Others are read with it if they name a frame of its tree and say
    nothing else of the frames that it places.

    Parameters
    ----------
    types : message type of each topic.
    cameras : topics of the cameras' images.
    optical_frames : frames that images come in.
    links : what a topic says, as far as was read ahead.
    """
    groups: dict[str, list[str]] = {}
    for topic in sorted(topic for topic, kind in types.items() if kind == TRANSFORMS):
        namespace, _, name = topic.rpartition("/")
        groups.setdefault(namespace if name in _NAMES else topic, []).append(topic)
    if len(groups) < 2:
        return TransformTopics(tuple(topic for topics in groups.values() for topic in topics))
    known = {name: _together([links(topic) for topic in topics]) for name, topics in groups.items()}
    optical = {frame.lstrip("/") for frame in optical_frames()}

    def rank(name: str) -> tuple[bool, int, bool, str]:
        own = any(camera.startswith(f"{name}/") for camera in cameras)
        return not known[name].frames & optical, -len(name) if own else 0, name != "", name

    first, *others = sorted(groups, key=rank)
    taken, tree, reasons = [first], known[first], dict.fromkeys(others, "")
    changed = True
    while changed:
        changed = False
        for name in others:
            if name in taken:
                continue
            if contradicted := tree.contradicted(known[name]):
                shown = ", ".join(contradicted[:_SHOWN]) + " ..." * (len(contradicted) > _SHOWN)
                reasons[name] = f"they place frames otherwise that {_named(taken)} place already: {shown}"
            elif not tree.frames & known[name].frames:
                reasons[name] = f"they name no frame of the tree of {_named(taken)}"
            else:
                taken.append(name)
                tree = _together([tree, known[name]])
                changed = True
    left_out = {topic: reasons[name] for name in others if name not in taken for topic in groups[name]}
    return TransformTopics(tuple(sorted(topic for name in taken for topic in groups[name])), left_out)


def _together(parts: Collection[Links]) -> Links:
    return Links({child: link for part in parts for child, link in part.by_child.items()})


def _alike(one: tuple[str, Float64 | None], other: tuple[str, Float64 | None]) -> bool:
    if one[0] != other[0] or one[1] is None or other[1] is None:
        return False
    return bool(np.abs(one[1] - other[1]).max() < _SAME)


def _named(namespaces: Collection[str]) -> str:
    return " and ".join(f"{name}/tf" for name in namespaces)
