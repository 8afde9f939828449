"""The frames as the world is now: what newer frames contradict is taken out of older ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sparse_recon.config.session_config import DepthConfig
from sparse_recon.evidence.changes import SAME_MOMENT_NS, Change, CoarseFrame, change
from sparse_recon.observe.regions import ObjectRegion
from sparse_recon.observe.views import depth_sigma
from sparse_recon.types import Bool, Float32, Frame, Superseded

FrameName = tuple[str, int]

# A frame in which so large a share of an object's pixels has changed shows the object where it no longer is.
MOVED_SHARE = 0.06


@dataclass(eq=False)
class _Known:
    """A frame, what each newer one that is kept contradicts in it, and the frame without that."""

    frame: Frame
    coarse: CoarseFrame | None
    compared: set[FrameName] = field(default_factory=set)
    changes: dict[FrameName, Change] = field(default_factory=dict)
    dropped: Bool | None = None
    present: Frame | None = None


class PresentFrames:
    """Compares each new frame once with those kept, and gives the older ones without what is no longer true.

    What it gives depends on the frames alone, not on when it was asked before. A frame that nothing contradicts is
    given as it is. Not thread-safe: it belongs to the worker.
    """

    def __init__(self) -> None:
        self._known: dict[FrameName, _Known] = {}
        self._dropped: dict[str, set[FrameName]] = {}  # by object

    def of(
        self, frames: Sequence[Frame], config: DepthConfig, checkpoint: Callable[[], None] = lambda: None
    ) -> tuple[Frame, ...]:
        """Return the frames, in their order, as the newest ones leave them; `checkpoint` may raise to cancel."""
        names = [_name(frame) for frame in frames]
        known = {name: self._entry(name, frame, config) for name, frame in zip(names, frames, strict=True)}
        if list(known.items()) != list(self._known.items()):
            self._known = known
            self._begin_anew()
        entries = sorted((e for e in known.values() if e.coarse is not None), key=lambda e: e.frame.stamp_ns)
        for number, newer in enumerate(entries):
            name = _name(newer.frame)
            for older in entries[:number]:
                if name not in older.compared and newer.frame.stamp_ns - older.frame.stamp_ns > SAME_MOMENT_NS:
                    checkpoint()
                    _compare(older, newer)
        return tuple(_present(entry) for entry in known.values())

    def _begin_anew(self) -> None:
        """Forget what frames that went have said, and which frames showed an object elsewhere."""
        self._dropped.clear()
        for entry in self._known.values():
            gone = entry.changes.keys() - self._known.keys()
            if gone or entry.dropped is not None:
                entry.changes = {name: found for name, found in entry.changes.items() if name not in gone}
                entry.dropped = entry.present = None

    def drop_moved(self, objects: Mapping[str, ObjectRegion], checkpoint: Callable[[], None] = lambda: None) -> bool:
        """Take out of older frames what they show of an object that has moved since; return whether there was any.

        An object is rigid: where a part of what a frame shows of it has gone, or stands now in front of where it was,
        the rest of what that frame shows is out of date too, however little it differs.
        """
        dropped = False
        for known in self._known.values():
            frame = _present(known)
            for name, region in objects.items() if frame.superseded is not None else ():
                checkpoint()
                mask = _moved(known, frame, region)
                if mask is not None:
                    _drop(known, mask)
                    self._dropped.setdefault(name, set()).add(_name(known.frame))
                    dropped = True
        return dropped

    def outdated(self, object_id: str, region: ObjectRegion, since_ns: int = 0) -> int:
        """Return how many frames showed an object where it no longer is, or something in its place that is gone.

        Frames older than `since_ns` are not counted.
        """
        dropped = set(self._dropped.get(object_id, ()))
        for name, known in self._known.items():
            superseded = _present(known).superseded
            if superseded is not None and _surface_in(region, known.frame, superseded.gone_m).any():
                dropped.add(name)
        return sum(stamp_ns >= since_ns for _, stamp_ns in dropped)

    def _entry(self, name: FrameName, frame: Frame, config: DepthConfig) -> _Known:
        known = self._known.get(name)
        if known is not None and known.frame is frame:
            return known
        coarse = None if frame.depth_m is None else CoarseFrame.of(frame, depth_sigma(frame.depth_m, config))
        return _Known(frame, coarse)


def _compare(older: _Known, newer: _Known) -> None:
    assert older.coarse is not None and newer.coarse is not None
    name = _name(newer.frame)
    older.compared.add(name)
    found = change(older.coarse, newer.coarse)
    if found.vanished.any() or np.isfinite(found.filled_m).any():
        older.changes[name], older.present = found, None


def _moved(known: _Known, frame: Frame, region: ObjectRegion) -> Bool | None:
    """Return the pixels of an object, (H, W) bool, if a frame, as it is without what is gone, shows it elsewhere."""
    assert frame.superseded is not None
    mask = region.mask(frame)
    if not mask.any():
        return None
    changed = _surface_in(region, known.frame, frame.superseded.gone_m)
    if frame.superseded.filled_m is not None:
        changed |= mask & _surface_in(region, known.frame, frame.superseded.filled_m)
    return mask if changed.sum() > MOVED_SHARE * (mask | changed).sum() else None


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
