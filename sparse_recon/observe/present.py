"""The frames as the world is now: what newer frames contradict is taken out of older ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from sparse_recon.config.geometry_config import RegistrationConfig
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.evidence.bumped import CameraShift, camera_shift, colours_stayed, moved_by_poses
from sparse_recon.evidence.changes import SAME_MOMENT_NS, Change, CoarseFrame, change, seen_through
from sparse_recon.evidence.depth_noise import depth_sigma
from sparse_recon.evidence.pose_noise import Grounded, without_noise
from sparse_recon.geometry.poses import transform_points
from sparse_recon.observe.bumps import Bump, judged
from sparse_recon.observe.regions import ObjectRegion
from sparse_recon.requests import ObjectState
from sparse_recon.types import Bool, Float32, Float64, Frame, Superseded

FrameName = tuple[str, int]
NO_POSES: Mapping[FrameName, Float64] = {}
# A frame that differs is looked at again, together with so many before it: that costs as much as ten comparisons.
SECOND_LOOKS = 6

# A frame tells of an object where it can tell of so large a share of its points; it is in doubt when the newest such
# frame looks through more than so many of these, and confirmed when frames of so many moments have it, none of them
# older than one that looks through most of it.
MIN_SEEN_SHARE, DOUBTFUL_SHARE, CONTRADICTING_SHARE, CONFIRMING_MOMENTS = 0.1, 0.2, 0.5, 2
MAX_CHECKED_POINTS, MAX_LOOKS = 300, 8
# So few pixels that are gone beside an object are told of nobody.
STRAY_PIXELS = 20
# A frame of which an object may be refused can tell of so large a share of its points.
TELLING_SHARE = 0.3

# A frame in which so large a share of an object's pixels has changed shows the object where it no longer is.
MOVED_SHARE = 0.06


@dataclass(eq=False)
class _Known:
    """A frame, what each newer one that is kept contradicts in it, and the frame without that.

    `shift` is by how much its camera seems to have moved since the frame before it, `since`.
    """

    frame: Frame
    coarse: CoarseFrame | None
    since: FrameName | None = None
    shift: CameraShift | None = None
    compared: set[FrameName] = field(default_factory=set)
    changes: dict[FrameName, Change] = field(default_factory=dict)
    dropped: Bool | None = None
    present: Frame | None = None

    @cached_property
    def grounded(self) -> Grounded | None:
        """The frame for a second look at what has changed; None where it shows too little for one."""
        return None if self.coarse is None else Grounded.of(self.coarse)

    def forget(self, names: Set[FrameName]) -> None:
        """Forget what these frames said."""
        if gone := self.changes.keys() & names:
            self.changes = {name: found for name, found in self.changes.items() if name not in gone}
            self.compared -= gone
            self.present = None


class PresentFrames:
    """Compares each new frame once with those kept, and gives the older ones without what is no longer true.

    What it gives depends on the frames alone, not on when it was asked before. A frame that nothing contradicts is
    given as it is. Not thread-safe: it belongs to the worker.

    Attributes
    ----------
    bumps : the cameras that have moved without their transforms, among the frames of the last call of `of`.
    """

    def __init__(self) -> None:
        self.bumps: tuple[Bump, ...] = ()
        self._known: dict[FrameName, _Known] = {}
        self._misplaced: set[FrameName] = set()  # their poses are wrong
        self._left_out: set[FrameName] = set()  # these, and those before a bump
        self._dropped: dict[str, set[FrameName]] = {}  # by object
        # By object and frame: the region and the frame, as it was, of which nothing had to be dropped.
        self._unmoved: dict[tuple[str, FrameName], tuple[ObjectRegion, Frame]] = {}

    def of(
        self,
        frames: Sequence[Frame],
        config: DepthConfig,
        registration: RegistrationConfig,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> tuple[Frame, ...]:
        """Return the frames, in their order, as the newest ones leave them; `checkpoint` may raise to cancel.

        What errors of poses within the bounds of `registration` explain is no contradiction.

        Left out are frames from elsewhere than their poses say, where their camera was right before and is again. Of a
        camera that was bumped these are the frames since, where another one shows the place; else the frames before,
        which contradict all that came after them.
        """
        names = [_name(frame) for frame in frames]
        known = {name: self._entry(name, frame, config) for name, frame in zip(names, frames, strict=True)}
        if list(known.items()) != list(self._known.items()):
            self._known = known
            self._begin_anew()
        entries = sorted((e for e in known.values() if e.coarse is not None), key=lambda e: e.frame.stamp_ns)
        left_out = self._judge(entries, registration, checkpoint)
        if left_out != self._left_out:
            self._left_out = left_out
            self._begin_anew()
        for entry in entries:
            entry.forget(left_out)
        entries = [entry for entry in entries if _name(entry.frame) not in left_out]
        for number, newer in enumerate(entries):
            for back, older in zip(range(number, 0, -1), entries[:number], strict=True):
                checkpoint()
                _compare(older, newer, registration, look_again=back <= SECOND_LOOKS)
        return tuple(_present(entry) for name, entry in known.items() if name not in left_out)

    def _judge(
        self, entries: Sequence[_Known], registration: RegistrationConfig, checkpoint: Callable[[], None]
    ) -> set[FrameName]:
        """Find what cameras did without their transforms; return the frames that must not count."""
        left_out: set[FrameName] = set()
        self._misplaced = set()
        bumps = []
        for camera in sorted({entry.frame.camera for entry in entries}):
            own = [entry for entry in entries if entry.frame.camera == camera]
            for before, entry in pairwise(own):
                if entry.since != _name(before.frame):
                    checkpoint()
                    _compare(before, entry, registration)
                    entry.since, entry.shift = _name(before.frame), _shift(before, entry)
            frames, bump = judged([e.frame for e in own], [None, *(e.shift for e in own[1:])])
            self._misplaced.update(map(_name, frames))
            if bump is not None:
                bumps.append(bump)
        bumped = {bump.camera for bump in bumps}
        others = [entry for entry in entries if entry.frame.camera not in bumped]
        for bump in bumps:
            own = [entry for entry in entries if entry.frame.camera == bump.camera]
            since = _shows_the_same(others, own[-1])
            left_out.update(_name(e.frame) for e in own if (e.frame.stamp_ns >= bump.stamp_ns) == since)
        self.bumps = tuple(bumps)
        return left_out | self._misplaced

    def _begin_anew(self) -> None:
        """Forget what frames that went have said, and which frames showed an object elsewhere."""
        self._dropped.clear()
        for entry in self._known.values():
            entry.forget(entry.changes.keys() - self._known.keys())
            if entry.dropped is not None:
                entry.dropped = entry.present = None

    def drop_moved(self, objects: Mapping[str, ObjectRegion], checkpoint: Callable[[], None] = lambda: None) -> bool:
        """Take out of older frames what they show of an object that has moved since; return whether there was any.

        An object is rigid: where a part of what a frame shows of it has gone, or stands now in front of where it was,
        the rest of what that frame shows is out of date too, however little it differs.
        """
        dropped, unmoved = False, {}
        for known in self._known.values():
            if _name(known.frame) in self._left_out:
                continue
            frame = _present(known)
            for name, region in objects.items() if frame.superseded is not None else ():
                checkpoint()
                key, state = (name, _name(frame)), (region, frame)
                mask = None if self._unmoved.get(key) == state else _moved(known, frame, region)
                if mask is None:
                    unmoved[key] = state
                else:
                    _drop(known, mask)
                    self._dropped.setdefault(name, set()).add(_name(known.frame))
                    dropped = True
        self._unmoved = unmoved
        return dropped

    def trusted(self, frames: Sequence[Frame]) -> list[Frame]:
        """Return those of these frames whose poses are right, as far as is known since the last call of `of`."""
        since_ns = {bump.camera: bump.stamp_ns for bump in self.bumps}
        return [
            f for f in frames if _name(f) not in self._misplaced and f.stamp_ns < since_ns.get(f.camera, f.stamp_ns + 1)
        ]

    def state(self, points_world: Float32) -> ObjectState:
        """Return how sure it is that surface (N, 3) is where the newest frames that look there have it."""
        moments: set[int] = set()
        looked = 0
        bumped = {bump.camera for bump in self.bumps}
        for frame, visible, through in self._looks(points_world, MIN_SEEN_SHARE):
            if frame.camera in bumped:
                continue
            if through > DOUBTFUL_SHARE * visible:
                if not moments:
                    return ObjectState.DOUBTFUL
                if through > CONTRADICTING_SHARE * visible:
                    break
            elif all(abs(frame.stamp_ns - stamp_ns) > SAME_MOMENT_NS for stamp_ns in moments):
                moments.add(frame.stamp_ns)
            looked += 1
            if len(moments) == CONFIRMING_MOMENTS or looked == MAX_LOOKS:
                break
        if bumped and not moments:
            return ObjectState.DOUBTFUL
        return ObjectState.CONFIRMED if len(moments) >= CONFIRMING_MOMENTS else ObjectState.SEEN

    def seen_through(self, points_world: Float32, poses: Mapping[FrameName, Float64] = NO_POSES) -> float:
        """Return the share of surface (N, 3) that the newest frame which looks there sees through; 0 without one.

        `poses` are `T_world_cam` (4, 4) of frames whose own ones are known to be a little off.
        """
        looks = self._looks(points_world, TELLING_SHARE, poses)
        return next((through / visible for _, visible, through in looks), 0.0)

    def _looks(
        self, points_world: Float32, share: float, poses: Mapping[FrameName, Float64] = NO_POSES
    ) -> Iterator[tuple[Frame, int, int]]:
        """Yield, newest first, the frames that tell of so large a share of a surface: of how many points of those that
        are looked at, and how many of these they see through.
        """
        points = points_world[:: max(1, len(points_world) // MAX_CHECKED_POINTS)]
        entries = [e for n, e in self._known.items() if n not in self._left_out]
        for entry in sorted(entries, key=lambda e: -e.frame.stamp_ns):
            if entry.coarse is not None:
                T_world_cam = poses.get(_name(entry.frame), entry.coarse.T_world_cam)
                visible, through = seen_through(points, replace(entry.coarse, T_world_cam=T_world_cam))
                if visible >= max(1.0, share * len(points)):
                    yield entry.frame, visible, through

    def outdated(self, object_id: str, region: ObjectRegion, since_ns: int = 0) -> int:
        """Return how many frames showed an object where it no longer is, or something in its place that is gone.

        Frames older than `since_ns` are not counted.
        """
        dropped = set(self._dropped.get(object_id, ()))
        for name, known in self._known.items():
            superseded = _present(known).superseded
            if superseded is not None and _surface_in(region, known.frame, superseded.gone_m).sum() > STRAY_PIXELS:
                dropped.add(name)
        return sum(stamp_ns >= since_ns for _, stamp_ns in dropped)

    def _entry(self, name: FrameName, frame: Frame, config: DepthConfig) -> _Known:
        known = self._known.get(name)
        if known is not None and known.frame is frame:
            return known
        coarse = None if frame.depth_m is None else CoarseFrame.of(frame, depth_sigma(frame.depth_m, config))
        return _Known(frame, coarse)


def _compare(older: _Known, newer: _Known, registration: RegistrationConfig, look_again: bool = True) -> None:
    assert older.coarse is not None and newer.coarse is not None
    name = _name(newer.frame)
    if name in older.compared or newer.frame.stamp_ns - older.frame.stamp_ns <= SAME_MOMENT_NS:
        return
    older.compared.add(name)
    found = change(older.coarse, newer.coarse)
    look_again &= registration.enabled and bool(found.pixels)
    if look_again and moved_by_poses(older.coarse, newer.coarse):
        a, b = older.grounded, newer.grounded
        found = found if a is None or b is None else without_noise(a, b, (older.frame, newer.frame), registration)
    if found.pixels:
        older.changes[name], older.present = found, None


def _shows_the_same(others: Sequence[_Known], entry: _Known) -> bool:
    """Return whether one of some frames can tell of what another one shows."""
    assert entry.coarse is not None
    points_cam = entry.coarse.points_cam[np.isfinite(entry.coarse.points_cam).all(axis=-1)]
    points_cam = points_cam[:: max(1, len(points_cam) // MAX_CHECKED_POINTS)]
    points_world = transform_points(entry.frame.T_world_cam, points_cam)
    return any(
        other.coarse is not None and seen_through(points_world, other.coarse)[0] > MIN_SEEN_SHARE * len(points_world)
        for other in others
    )


def _shift(before: _Known, entry: _Known) -> CameraShift | None:
    found = before.changes.get(_name(entry.frame))
    if found is None or before.coarse is None or entry.coarse is None:
        return None
    shift = camera_shift(before.coarse, entry.coarse, found)
    if shift and colours_stayed(before.coarse, entry.coarse, before.frame.rgb, entry.frame.rgb, shift):
        return None
    return shift


def _moved(known: _Known, frame: Frame, region: ObjectRegion) -> Bool | None:
    """Return the pixels of an object, (H, W) bool, if a frame, as it is without what is gone, shows it elsewhere."""
    assert frame.superseded is not None
    if not _changed_near(region, frame, frame.superseded):
        return None
    mask = region.mask(frame)
    if not mask.any():
        return None
    changed = _surface_in(region, known.frame, frame.superseded.gone_m)
    if frame.superseded.filled_m is not None:
        changed |= mask & _surface_in(region, known.frame, frame.superseded.filled_m)
    return mask if changed.sum() > MOVED_SHARE * (mask | changed).sum() else None


def _changed_near(region: ObjectRegion, frame: Frame, superseded: Superseded) -> bool:
    """Return whether anything has changed in the part of an image that can show an object."""
    window = region.window(frame)
    if window is None:
        return False
    filled_m = superseded.filled_m
    return bool(
        np.isfinite(superseded.gone_m[window]).any() or (filled_m is not None and np.isfinite(filled_m[window]).any())
    )


def _surface_in(region: ObjectRegion, frame: Frame, depth_m: Float32) -> Bool:
    """Return at which pixels (H, W) surface at another depth, NaN or inf for none, would be an object's."""
    there = np.isfinite(depth_m)
    return there & region.mask(replace(frame, depth_m=np.where(there, depth_m, np.float32(np.nan))))


def _drop(known: _Known, mask: Bool) -> None:
    known.dropped = mask if known.dropped is None else known.dropped | mask
    known.present = None


def _present(known: _Known) -> Frame:
    if not known.changes and known.dropped is None:
        return known.frame
    if known.present is None:
        known.present = _without(known)
    return known.present


def _without(known: _Known) -> Frame:
    frame, coarse = known.frame, known.coarse
    assert frame.depth_m is not None and coarse is not None
    shape = frame.depth_m.shape
    vanished = np.zeros(shape, bool) if known.dropped is None else known.dropped
    limit_m = None
    if known.changes:
        changes = list(known.changes.values())
        vanished = vanished | _whole(np.logical_or.reduce([c.vanished for c in changes]), coarse.stride, shape)
        limit_m = _whole(np.minimum.reduce([c.filled_m for c in changes]), coarse.stride, shape)
    depth_m = np.where(vanished, np.float32(np.nan), frame.depth_m)
    labels = None if frame.labels is None else np.where(vanished, np.int32(0), frame.labels)
    gone_m = np.where(vanished, frame.depth_m, np.float32(np.nan))
    return replace(frame, depth_m=depth_m, labels=labels, superseded=Superseded(gone_m, limit_m))


def _whole(coarse: np.ndarray, stride: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return an image of every n-th pixel at full size, each value at the pixels nearest to it."""
    import cv2

    small = coarse.astype(np.float32) if coarse.dtype == bool else coarse
    rows = np.minimum(np.rint(np.arange(shape[0]) / stride).astype(int), coarse.shape[0] - 1)
    columns = np.minimum(np.rint(np.arange(shape[1]) / stride).astype(int), coarse.shape[1] - 1)
    whole = small[rows][:, columns]
    if coarse.dtype == bool:  # a coarse pixel stands for all around it
        return np.asarray(cv2.dilate(whole, np.ones((stride, stride), np.uint8)) > 0)
    return np.ascontiguousarray(whole)


def _name(frame: Frame) -> FrameName:
    return frame.camera, frame.stamp_ns
