"""Timestamped transforms between named frames: interpolated at the stamp that is asked for, never extrapolated.

Between two samples the translation is linear and the rotation spherical-linear, as in tf2, so that replay and robot
agree. pytransform3d's `NumpyTimeseriesTransform` is not used: its screw interpolation differs from tf2, its float
seconds lose nanoseconds, and each new sample rebuilds the whole series.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from sparse_recon.errors import ErrorCode, InputError, TransformError
from sparse_recon.geometry.poses import inverse, pose
from sparse_recon.geometry.transform_history import LinkHistory, Sample
from sparse_recon.types import Float64, check_pose

# Far above what robots have; what publishes more than this must not fill memory or time.
MAX_FRAMES, MAX_DEPTH, MAX_NAME_LENGTH = 10_000, 1000, 255
MAX_SAMPLES = 300_000  # of all frames together
MAX_TRANSLATION_M = 1e9  # also for transforms of the earth
_LISTED_FRAMES = 20


class TransformSource(Protocol):
    """Where poses come from: timestamped transforms that are fed in and asked for by frame names.

    `TransformTree` says what each method promises; stamps are nanoseconds, transforms (4, 4).
    """

    def add(self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64, static: bool = False) -> None: ...

    def lookup(self, target: str, source: str, stamp_ns: int) -> Float64: ...

    def root(self, frame: str | None = None) -> str: ...

    def newest_ns(self, child: str) -> int | None: ...

    def covers(self, target: str, source: str, stamp_ns: int) -> bool: ...

    def newest_common_ns(self, target: str, source: str) -> int: ...

    def moving_links(self, target: str, source: str) -> frozenset[str]: ...

    def frames(self) -> frozenset[str]: ...

    def forget_after(self, child: str, stamp_ns: int) -> None: ...

    def clear(self) -> None: ...


class TransformTree:
    """Frames that hang below each other, each with a bounded history: what tf2's buffer answers, and its guards.

    As in tf2, whether a child is static is what its last transform says; samples below an earlier parent answer for
    their time, and between the last of them and the first below the new parent the older one holds; a static transform
    that is published again counts from then on; a sample of the past is sorted in.

    Unlike tf2, where two samples are farther apart than `max_gap_s`, they are interpolated only if the frame has hardly
    moved between them (`transform_history.STILL_M`, `STILL_RAD`) and its samples usually are so far apart.

    Bounded: of more than `MAX_FRAMES` frames the moving ones that were silent for longest are forgotten, or the newest
    static ones where these are the most; of more than `MAX_SAMPLES` samples the older half of the frame that has most.

    Parameters
    ----------
    history_s : samples of a link older than its newest one by more than this are forgotten.
    max_gap_s : what is interpolated in any case.
    """

    def __init__(self, *, history_s: float = 30.0, max_gap_s: float = 1.0) -> None:
        self._history_ns = history_s * 1e9
        self._max_gap_ns = max_gap_s * 1e9
        self._links: dict[str, LinkHistory] = {}  # the longest silent first
        self._samples = 0

    def add(self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64, static: bool = False) -> None:
        """Take one transform; a stamp seen before is replaced.

        Parameters
        ----------
        parent, child : frame names; a leading slash is ignored.
        stamp_ns : of the transform; meaningless for a static one.
        T_parent_child : (4, 4), maps points of the child frame into the parent frame.
        static : holds at all times.

        Raises
        ------
        InputError
            If the matrix is not rigid or moves too far, a name is empty or too long, or the frame would be its own
            ancestor or would have too many.
        """
        parent, child = without_slash(parent), without_slash(child)
        check_link(parent, child, T_parent_child)
        self._check_ancestors(parent, child, stamp_ns, static)
        link = self._links.pop(child, None)
        before = 0 if link is None else len(link.samples)
        if link is None or link.static != static:
            link = LinkHistory(child, static)
        link.put(Sample(int(stamp_ns), parent, np.array(T_parent_child, dtype=np.float64)), self._history_ns)
        self._links[child] = link
        self._samples += len(link.samples) - before
        self._make_room()

    def _check_ancestors(self, parent: str, child: str, stamp_ns: int, static: bool) -> None:
        """Refuse a loop, unless a moving part of it was silent for longer than the history: then that is forgotten."""
        ancestors = self._chain(parent)
        if child not in ancestors:
            check_depth(parent, child, ancestors)
            return
        for name in ancestors[: ancestors.index(child)]:
            link = self._links[name]
            if not (static or link.static) and abs(link.newest_ns - stamp_ns) > self._history_ns:
                self._forget(name)
                return
        raise loop(parent, child)

    def _make_room(self) -> None:
        if len(self._links) > MAX_FRAMES:
            moving = [name for name, link in self._links.items() if not link.static]
            static = [name for name, link in self._links.items() if link.static]
            many = len(static) > MAX_FRAMES // 2
            for name in static[MAX_FRAMES * 2 // 5 :] if many else moving[: MAX_FRAMES // 10]:
                self._forget(name)
        if self._samples > MAX_SAMPLES:
            largest = max(self._links.values(), key=lambda link: len(link.samples))
            half = len(largest.samples) // 2
            del largest.samples[:half]
            self._samples -= half

    def _forget(self, child: str) -> None:
        self._samples -= len(self._links.pop(child).samples)

    def lookup(self, target: str, source: str, stamp_ns: int) -> Float64:
        """Return `T_target_source` (4, 4) at a stamp.

        Raises
        ------
        TransformError
            TF_FRAME_UNKNOWN if a frame never appeared, TF_NOT_CONNECTED if the two have no common ancestor,
            TF_EXTRAPOLATION if the stamp lies outside the samples of a link, TF_GAP if they are too far apart there.
        """
        target, source = without_slash(target), without_slash(source)
        if target == source:
            return np.eye(4)
        up_source, problem = self._chain_at(source, stamp_ns)
        up_target, other_problem = self._chain_at(target, stamp_ns)
        common = next((name for name in up_source if name in up_target), None)
        if common is None:
            raise self._not_connected(target, source, stamp_ns, problem or other_problem)
        T_common_source = self._product(up_source[: up_source.index(common)], stamp_ns)
        T_common_target = self._product(up_target[: up_target.index(common)], stamp_ns)
        return inverse(T_common_target) @ T_common_source

    def _not_connected(self, target: str, source: str, stamp_ns: int, problem: TransformError | None) -> TransformError:
        for name in (source, target):
            self._require(name)
        tops = self._chain(source)[-1], self._chain(target)[-1]
        if tops[0] == tops[1]:
            return problem or TransformError(
                ErrorCode.TF_NOT_CONNECTED,
                f"no transforms connected {source!r} to {target!r} at {stamp_ns * 1e-9:.3f} s: one of the frames "
                "between them had another parent then",
            )
        return TransformError(
            ErrorCode.TF_NOT_CONNECTED,
            f"no transforms connect {source!r} to {target!r}: {source!r} is in the tree of root {tops[0]!r}, "
            f"{target!r} in that of root {tops[1]!r}; publish the transform between these two roots",
        )

    def root(self, frame: str | None = None) -> str:
        """Return the topmost frame above `frame`, or the only root there is.

        Raises
        ------
        TransformError
            TF_FRAME_UNKNOWN if there are no transforms or `frame` is unknown; TF_NOT_CONNECTED if roots are several.
        """
        if frame is not None:
            self._require(without_slash(frame))
            return self._chain(without_slash(frame))[-1]
        return only_root({child: link.parent for child, link in self._links.items()})

    def frames(self) -> frozenset[str]:
        """Return the names of all frames seen."""
        return frozenset(self._links).union(*(link.parents for link in self._links.values()))

    def newest_ns(self, child: str) -> int | None:
        """Return the stamp of the newest sample that moves `child`; None for static and unknown frames."""
        link = self._links.get(without_slash(child))
        return None if link is None or link.static else link.newest_ns

    def covers(self, target: str, source: str, stamp_ns: int) -> bool:
        """Return False while a later sample may still answer `lookup`: the newest one of some link is too old."""
        up_source, up_target = self._chain(without_slash(source)), self._chain(without_slash(target))
        moving = [self._links[name] for name in set(up_source) ^ set(up_target) if name in self._links]
        return all(link.static or link.newest_ns >= stamp_ns for link in moving)

    def newest_common_ns(self, target: str, source: str) -> int:
        """Return the newest stamp at which every moving link between two frames has a sample; 0 where nothing moves.

        Raises
        ------
        TransformError
            TF_FRAME_UNKNOWN if a frame never appeared.
        """
        for name in (source, target):
            self._require(without_slash(name))
        moving = self.moving_links(target, source)
        return min((self._links[name].newest_ns for name in moving), default=0)

    def moving_links(self, target: str, source: str) -> frozenset[str]:
        """Return the children of all moving links between two frames; none where they are not connected."""
        up_source, up_target = self._chain(without_slash(source)), self._chain(without_slash(target))
        between = set(up_source) ^ set(up_target)
        return frozenset(name for name in between if name in self._links and not self._links[name].static)

    def forget_after(self, child: str, stamp_ns: int) -> None:
        """Forget the samples that move `child` after a stamp; a frame without any other is forgotten."""
        link = self._links.get(without_slash(child))
        if link is None or link.static:
            return
        self._samples -= link.forget_after(stamp_ns)
        if not link.samples:
            self._forget(link.child)

    def clear(self) -> None:
        """Forget all moving transforms; static ones stay."""
        self._links = {child: link for child, link in self._links.items() if link.static}
        self._samples = len(self._links)

    def _require(self, name: str) -> None:
        if name not in self.frames():
            raise unknown_frame(name, self.frames())

    def _chain(self, name: str) -> list[str]:
        return chain(name, lambda child: self._links[child].parent if child in self._links else None)

    def _chain_at(self, name: str, stamp_ns: int) -> tuple[list[str], TransformError | None]:
        """Return a frame and those above it at a stamp, as far as they are known, and what ended the way."""
        names = [name]
        while (link := self._links.get(names[-1])) is not None:
            try:
                parent = link.parent_at(stamp_ns)
            except TransformError as error:
                return names, error
            if parent in names:  # parents that changed may have closed a loop for a while
                return names, _loop_at(stamp_ns, [*names[names.index(parent) :], parent])
            names.append(parent)
        return names, None

    def _product(self, children: list[str], stamp_ns: int) -> Float64:
        T = np.eye(4)
        for child in children:
            T = self._links[child].at(stamp_ns, self._max_gap_ns) @ T
        return T


def pose_from_quaternion(quat_xyzw: Sequence[float], translation_m: Sequence[float]) -> Float64:
    """Return the (4, 4) transform of a ROS quaternion and a translation in metres.

    Raises
    ------
    InputError
        If the quaternion's length differs from 1 by more than 1 %: most often it was never filled in.
    """
    x, y, z, w = quat_xyzw
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if not 0.99 < length < 1.01:
        raise InputError(
            ErrorCode.FRAME_INVALID,
            f"quaternion xyzw ({x:g}, {y:g}, {z:g}, {w:g}) has length {length:g}, it must be 1: "
            "the publisher may have left the rotation unset",
        )
    x, y, z, w = x / length, y / length, z / length, w / length
    R = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return pose(R, translation_m)


def without_slash(frame: str) -> str:
    """Return the name of a frame without the slashes that tf of ROS 1 put before it."""
    return frame.lstrip("/")


def chain(frame: str, parent_of: Callable[[str], str | None]) -> list[str]:
    """Return a frame, its parent, and so on up to the root."""
    names = [frame]
    while (parent := parent_of(names[-1])) is not None:
        names.append(parent)
    return names


def only_root(parents: Mapping[str, str]) -> str:
    """Return the only frame without a parent, of parents by child.

    Raises
    ------
    TransformError
        TF_FRAME_UNKNOWN if there are no transforms; TF_NOT_CONNECTED if roots are several.
    """
    roots = sorted(set(parents.values()) - parents.keys())
    if not roots:
        raise TransformError(
            ErrorCode.TF_FRAME_UNKNOWN,
            "no transforms have arrived, so there is no root frame; publish /tf or name world_frame",
        )
    if len(roots) > 1:
        raise TransformError(
            ErrorCode.TF_NOT_CONNECTED,
            f"the transforms form {len(roots)} trees with roots {', '.join(roots[:_LISTED_FRAMES])}; name one as "
            "world_frame",
        )
    return roots[0]


def unknown_frame(name: str, frames: Collection[str]) -> TransformError:
    """Return the error that tells which frames there are instead."""
    more = f" and {len(frames) - _LISTED_FRAMES} more" * (len(frames) > _LISTED_FRAMES)
    known = ", ".join(sorted(frames)[:_LISTED_FRAMES]) + more or "none"
    return TransformError(
        ErrorCode.TF_FRAME_UNKNOWN,
        f"frame {name!r} does not appear in any transform; known frames: {known}; check frame_id and /tf",
    )


def check_link(parent: str, child: str, T_parent_child: Float64) -> None:
    """Refuse names and movements that no robot has.

    Raises
    ------
    InputError
        FRAME_INVALID if the matrix is not rigid or moves too far, or a name is empty or too long.
    """
    if not parent or not child:
        raise InputError(
            ErrorCode.FRAME_INVALID, f"a transform needs two frame names, got parent {parent!r} and child {child!r}"
        )
    for name in (parent, child):
        if len(name) > MAX_NAME_LENGTH:
            raise InputError(
                ErrorCode.FRAME_INVALID,
                f"the frame name {name[:20]!r}... has {len(name)} characters, accepted are {MAX_NAME_LENGTH}",
            )
    check_pose(T_parent_child, f"transform {parent} -> {child}")
    distance_m = float(np.abs(T_parent_child[:3, 3]).max())
    if distance_m > MAX_TRANSLATION_M:
        text = (
            f"transform {parent} -> {child} moves by {distance_m:g} m, accepted are up to {MAX_TRANSLATION_M:g} m: "
            "check units"
        )
        raise InputError(ErrorCode.FRAME_INVALID, text)


def check_depth(parent: str, child: str, ancestors: Sequence[str]) -> None:
    """Refuse a link below a `chain` that is longer than any robot's, with an InputError."""
    if len(ancestors) > MAX_DEPTH:
        depth = f"{parent} has {len(ancestors) - 1} ancestors, accepted are up to {MAX_DEPTH}"
        raise InputError(ErrorCode.FRAME_INVALID, f"transform {parent} -> {child}: {depth}")


def loop(parent: str, child: str) -> InputError:
    """Return the error about a frame that would be its own ancestor."""
    return InputError(
        ErrorCode.FRAME_INVALID,
        f"transform {parent} -> {child} closes a loop: {parent} is already a descendant of {child}; "
        "two nodes publish opposite transforms, stop one of them",
    )


def _loop_at(stamp_ns: int, names: Sequence[str]) -> TransformError:
    return TransformError(
        ErrorCode.TF_NOT_CONNECTED,
        f"the transforms at {stamp_ns * 1e-9:.3f} s form a loop, {' -> '.join(names[:_LISTED_FRAMES])}; frames must "
        "not change places with their parents",
    )
