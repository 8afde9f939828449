"""What a robot said to forget: places of which frames up to then say nothing any more."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.geometry.near import moved_box
from sparse_recon.geometry.poses import inverse
from sparse_recon.observe.regions import ObjectRegion, window_of_box
from sparse_recon.types import Bool, Float32, Float64, Frame, OrientedBox, Superseded

FrameName = tuple[str, int]

# For frames that come late although they are older; what a kept frame has to forget is noted with that frame.
MAX_PLACES = 64
BAND_ROWS = 128  # at a time: images may be huge
# In label images without depth: not background, which would prove emptiness, and no object either.
UNKNOWN_LABEL = np.int32(-1)


@dataclass(frozen=True, eq=False)
class ForgottenPlace:
    """A box, world frame, and where it is that of an object its pixels: forgotten in frames before `before_ns`."""

    box: OrientedBox
    before_ns: int
    region: ObjectRegion | None = None


@dataclass(eq=False)
class _Noted:
    """What a frame has to forget: pixels (H, W) bool, and the depth (H, W) metres at which its rays enter a place.

    `given` is the frame that was handed in and the one that was returned for it.
    """

    frame: Frame
    pixels: Bool | None = None
    limit_m: Float32 | None = None
    given: tuple[Frame, Frame] | None = None


class ForgottenPlaces:
    """Takes forgotten places out of frames: surface, labels and the emptiness along the rays that cross them.

    Not thread-safe: it belongs to the worker.
    """

    def __init__(self) -> None:
        self._places: deque[ForgottenPlace] = deque(maxlen=MAX_PLACES)
        self._noted: dict[FrameName, _Noted] = {}

    def add(self, places: Sequence[ForgottenPlace], kept: Sequence[Frame]) -> None:
        """Forget places in the frames that are kept, and in older ones that come later."""
        self._take(kept)
        self._places.extend(places)
        for noted in self._noted.values():
            for place in places:
                _note(noted, place)

    def move(self, by_m: Float64) -> None:
        """Go on with frames in which the world is moved by (3,) metres.

        What kept frames have to forget stays. Of late ones it is the boxes alone: pixels of objects are told by points
        of the frames as they were.
        """
        places = [ForgottenPlace(moved_box(p.box, by_m), p.before_ns) for p in self._places]
        self._places = deque(places, maxlen=MAX_PLACES)

    def of(self, kept: Sequence[Frame], present: Sequence[Frame]) -> tuple[Frame, ...]:
        """Return the frames without what is forgotten; one that has nothing to forget is returned as it is.

        Parameters
        ----------
        kept : the frames as they were taken.
        present : those of the same frames that count, without what newer ones contradict.
        """
        if not self._places:
            return tuple(present)
        self._take(kept)
        return tuple(_without(self._noted[_name(frame)], frame) for frame in present)

    def _take(self, kept: Sequence[Frame]) -> None:
        known, self._noted = self._noted, {}
        for frame in kept:
            noted = known.get(_name(frame))
            if noted is not None and noted.frame.rgb is frame.rgb:  # the same one, perhaps moved
                noted.frame = frame
            else:
                noted = _Noted(frame)
                for place in self._places:
                    _note(noted, place)
            self._noted[_name(frame)] = noted


def _note(noted: _Noted, place: ForgottenPlace) -> None:
    frame = noted.frame
    if frame.stamp_ns >= place.before_ns:
        return
    entry_m, pixels = _rays_through(frame, place.box)
    if place.region is not None:
        pixels |= place.region.mask(frame)
    if not np.isfinite(entry_m).any() and not pixels.any():
        return
    noted.pixels = pixels if noted.pixels is None else noted.pixels | pixels
    noted.limit_m = entry_m if noted.limit_m is None else np.minimum(noted.limit_m, entry_m)
    noted.given = None


def _rays_through(frame: Frame, box: OrientedBox) -> tuple[Float32, Bool]:
    """Return where pixels' rays enter a box, (H, W) depth along z, inf where they miss it, and whose surface is in it.

    Without depth these are all pixels whose rays meet the box.
    """
    shape = (frame.intrinsics.height, frame.intrinsics.width)
    entry_m, pixels = np.full(shape, np.inf, np.float32), np.zeros(shape, bool)
    half_m = np.abs(box.T_world_box[:3, :3]) @ (0.5 * box.size_m)
    centre = box.T_world_box[:3, 3]
    window = window_of_box(frame, (centre - half_m).astype(np.float32), (centre + half_m).astype(np.float32))
    if window is None:
        return entry_m, pixels
    T_box_cam = inverse(box.T_world_box) @ frame.T_world_cam
    rows, columns = window
    for top in range(rows.start, rows.stop, BAND_ROWS):
        band = slice(top, min(top + BAND_ROWS, rows.stop)), columns
        rays = pixel_rays(frame.intrinsics, band).astype(np.float64) @ T_box_cam[:3, :3].T  # along which z grows by 1
        with np.errstate(divide="ignore", invalid="ignore"):
            # A ray within a face gives 0 / 0, which says nothing of the other faces.
            near = np.nan_to_num(
                (-0.5 * box.size_m - T_box_cam[:3, 3]) / rays, nan=-np.inf, posinf=np.inf, neginf=-np.inf
            )
            far = np.nan_to_num((0.5 * box.size_m - T_box_cam[:3, 3]) / rays, nan=np.inf, posinf=np.inf, neginf=-np.inf)
            enter = np.maximum(np.minimum(near, far).max(axis=-1), 0.0)
            leave = np.maximum(near, far).min(axis=-1)
            crossed = enter < leave
            entry_m[band] = np.where(crossed, enter, np.inf)
            depth_m = enter if frame.depth_m is None else frame.depth_m[band]
            pixels[band] = crossed & (depth_m >= enter) & (depth_m <= leave)
    return entry_m, pixels


def _without(noted: _Noted, present: Frame) -> Frame:
    if noted.pixels is None or noted.limit_m is None:
        return present
    if noted.given is None or noted.given[0] is not present:
        noted.given = present, _blanked(noted.pixels, noted.limit_m, present)
    return noted.given[1]


def _blanked(pixels: Bool, limit_m: Float32, frame: Frame) -> Frame:
    if frame.depth_m is None:
        return replace(frame, labels=None if frame.labels is None else np.where(pixels, UNKNOWN_LABEL, frame.labels))
    labels = None if frame.labels is None else np.where(pixels, np.int32(0), frame.labels)
    nothing = np.float32(np.nan)
    gone_m = np.where(pixels, frame.depth_m, nothing)
    superseded = frame.superseded
    if superseded is not None:
        gone_m = np.where(np.isfinite(superseded.gone_m), superseded.gone_m, gone_m)
        limit_m = limit_m if superseded.filled_m is None else np.minimum(limit_m, superseded.filled_m)
    return replace(
        frame,
        depth_m=np.where(pixels, nothing, frame.depth_m),
        labels=labels,
        superseded=Superseded(gone_m, limit_m),
    )


def _name(frame: Frame) -> FrameName:
    return frame.camera, frame.stamp_ns
