"""Depth images of a camera that stands still, made one before they count."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.evidence.depth_noise import depth_sigma, robust_sigma
from sparse_recon.observe.catalog import LABEL_FRAMES
from sparse_recon.observe.still import is_sparse, stands_still
from sparse_recon.types import Bool, Float32, Frame, UInt8

# A pixel shows something else than in the newest image where depth around it differs by more than so many standard
# deviations, or colour by so many of 255 levels, each as a median over 5 x 5 pixels; so do the pixels around it.
CHANGED_SIGMA, CHANGED_LEVELS, CHANGED_RIM_PX = 4.0, 30.0, 4
# So it does where the mean over so many pixels differs by more than this: errors that are alike over some pixels and
# new in each image are gone in it, and a large thing that moved a little is not.
SHIFTED_PX, SHIFTED_SIGMA = 31, 3.0
# A depth on which no more than this share of the images that measured it agree, within so many standard deviations,
# flickers between two surfaces, and one that less than a third of the images measured between surface and hole:
# nothing is known there.
STEADY_SHARE, STEADY_SIGMA, MEASURED_SHARE = 0.5, 3.0, 0.34
# What an average lacks of a frame, depth or labels, is told from flicker by its size.
LOST_PX = 7
BAND_ROWS = 64  # at a time: images may be huge


class StillFrames:
    """Puts one frame in the place of those of a camera that stands still, and remembers it as long as they are asked.

    What it gives depends on the frames alone. Not thread-safe: it belongs to the worker.
    """

    def __init__(self) -> None:
        # By parameters and the ids of the frames, of which only the newest is held.
        self._known: dict[tuple[DepthConfig, tuple[int, ...]], _Average] = {}

    def of(
        self, frames: Sequence[Frame], config: DepthConfig, checkpoint: Callable[[], None] = lambda: None
    ) -> tuple[Frame, ...]:
        """Return the frames in their order, those of one pose averaged, `depth.average_frames` at a time.

        An average has colour, labels, stamp and pose of the newest of its frames, and stands in its place. A frame that
        newer ones contradict, or of which the average lacks a part, lends it what has stayed and is returned too: it
        may show what something hides since, or what a detector has missed.
        """
        known, self._known = self._known, {}
        given: dict[int, Frame | None] = {}
        # Of more labelled frames a region knows a part only, which need not be the newest of each pose.
        too_many = sum(frame.labels is not None for frame in frames) > LABEL_FRAMES
        for run in _runs(frames, config.average_frames):
            if len(run) > 1 and not (too_many and run[-1].labels is not None):
                checkpoint()
                key = (config, tuple(map(id, run)))
                found = known.get(key)
                if found is None or not found.is_of(run):
                    mean = averaged(run, config)
                    lent = tuple(f.superseded is None and not _lost(f, mean) for f in run[:-1])
                    found = _Average(tuple(map(weakref.ref, run)), mean, lent)
                self._known[key] = found
                given |= {id(f): None for f, lent in zip(run[:-1], found.lent, strict=True) if lent}
                given[id(run[-1])] = found.frame
        return tuple(f for f in (given.get(id(frame), frame) for frame in frames) if f is not None)


@dataclass(frozen=True, eq=False)
class _Average:
    """The average of some frames, and which of them but the newest it stands for."""

    of: tuple[weakref.ref[Frame], ...]
    frame: Frame
    lent: tuple[bool, ...]

    def is_of(self, run: Sequence[Frame]) -> bool:
        """Whether it is of these very frames: ids of frames that are gone are used again."""
        return all(ref() is frame for ref, frame in zip(self.of, run, strict=True))


def _lost(frame: Frame, mean: Frame) -> bool:
    """Whether an average lacks depth or labels of one of its frames in more than what flickers."""
    import cv2

    assert frame.depth_m is not None and mean.depth_m is not None
    with np.errstate(invalid="ignore"):
        lost = (frame.depth_m > 0) & ~(mean.depth_m > 0)
    if frame.labels is not None and mean.labels is not None:
        lost |= (frame.labels > 0) & (frame.labels != mean.labels)
    return bool(cv2.erode(lost.astype(np.uint8), np.ones((LOST_PX, LOST_PX), np.uint8)).any())


def _runs(frames: Sequence[Frame], longest: int) -> list[list[Frame]]:
    """Return the frames by pose, each list in order of stamps and counted from the newest."""
    runs: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda frame: -frame.stamp_ns):
        alike = next((run for run in runs if _joins(frame, run, longest)), None)
        if alike is None:
            runs.append([frame])
        else:
            alike.insert(0, frame)
    return runs


def _joins(frame: Frame, run: Sequence[Frame], longest: int) -> bool:
    newest = run[-1]
    alike = len(run) < longest and (frame.labels is None) == (newest.labels is None) and stands_still(frame, newest)
    return alike and _is_averaged(frame) and _is_averaged(newest)


def _is_averaged(frame: Frame) -> bool:
    # Sparse images measure other pixels each time: together they show more than any average.
    return frame.depth_m is not None and not is_sparse(frame.depth_m)


def averaged(frames: Sequence[Frame], config: DepthConfig) -> Frame:
    """Return the newest frame with the mean depth of all, where they agree.

    Parameters
    ----------
    frames : at least two, of one camera that stood still, the newest last, all with depth.

    Returns
    -------
    Frame whose depth is the mean over the images that show what the newest one shows, without those that are off the
    median by more than their noise; NaN where it flickers.
    """
    newest = frames[-1]
    assert newest.depth_m is not None
    depth, usable = [], []
    noise = 0.0
    for frame in frames:
        assert frame.depth_m is not None
        same = np.ones(newest.depth_m.shape, bool)
        if frame is not newest:
            same, noise_share = _same(frame, newest, config)
            noise = max(noise, noise_share)
        depth.append(frame.depth_m)
        usable.append(same)
    gone = None if newest.superseded is None else newest.superseded.gone_m > 0
    mean = np.full(newest.depth_m.shape, np.nan, np.float32)
    for top in range(0, newest.intrinsics.height, BAND_ROWS):
        band = slice(top, top + BAND_ROWS)
        stack = np.stack([d[band] for d in depth])
        mean[band] = _steady_mean(stack, np.stack([u[band] for u in usable]), noise, config)
    if gone is not None:
        mean[gone] = np.nan
    return replace(newest, depth_m=mean)


def _steady_mean(depth_m: Float32, same: Bool, noise: float, config: DepthConfig) -> Float32:
    """Return the mean (H, W) of images (N, H, W) where they agree; `noise` is of the square of depth, 1/m."""
    valid = same & (depth_m > 0)
    count = valid.sum(axis=0)
    # NaN sorts last, so the median of the valid ones lies in the middle of so many.
    ordered = np.sort(np.where(valid, depth_m, np.float32(np.nan)), axis=0)
    low, high = (np.take_along_axis(ordered, np.maximum(k, 0)[None], 0)[0] for k in ((count - 1) // 2, count // 2))
    median = np.asarray(0.5 * (low + high), np.float32)
    with np.errstate(invalid="ignore"):
        reach_m = STEADY_SIGMA * np.maximum(depth_sigma(median, config), np.float32(noise) * median**2)
        agree = valid & (np.abs(depth_m - median) <= reach_m)
    steady = agree.sum(axis=0)
    asked = same.sum(axis=0)
    enough = np.where(asked > 2, np.maximum(2, MEASURED_SHARE * asked), 1)
    known = (steady > STEADY_SHARE * count) & (steady >= enough)
    total = np.where(agree, depth_m, np.float32(0.0)).sum(axis=0)
    return np.where(known, total / np.maximum(steady, 1), np.float32(np.nan)).astype(np.float32)


def _same(frame: Frame, newest: Frame, config: DepthConfig) -> tuple[Bool, float]:
    """Return where a frame shows what the newest one shows, and the noise of one image over the square of depth."""
    import cv2

    assert frame.depth_m is not None and newest.depth_m is not None
    with np.errstate(invalid="ignore"):
        both = (frame.depth_m > 0) & (newest.depth_m > 0)
    difference = np.where(both, frame.depth_m - newest.depth_m, np.float32(0.0))
    noise = 0.0
    if both.any():
        noise = robust_sigma(difference[both][::7] / newest.depth_m[both][::7] ** 2) / np.sqrt(2.0)
    with np.errstate(invalid="ignore"):
        sigma = np.maximum(depth_sigma(newest.depth_m, config), np.float32(noise) * newest.depth_m**2)
        changed = np.abs(cv2.medianBlur(difference, 5)) > CHANGED_SIGMA * sigma
    changed |= _shifted(difference, both, newest.depth_m, config)
    changed |= _colour_changed(frame.rgb, newest.rgb)
    if frame.superseded is not None:
        changed |= frame.superseded.gone_m > 0
        if frame.superseded.filled_m is not None:
            changed |= np.isfinite(frame.superseded.filled_m)
    rim = np.ones((2 * CHANGED_RIM_PX + 1,) * 2, np.uint8)
    return np.asarray(cv2.dilate(changed.astype(np.uint8), rim) == 0), noise


def _shifted(difference: Float32, both: Bool, depth_m: Float32, config: DepthConfig) -> Bool:
    """Return where surface as large as a window is nearer or farther than before; the pose, the same, has no part."""
    import cv2

    size = (SHIFTED_PX, SHIFTED_PX)
    count = cv2.boxFilter(both.astype(np.float32), -1, size, normalize=False)
    mean = cv2.boxFilter(difference, -1, size, normalize=False) / np.maximum(count, 1)
    with np.errstate(invalid="ignore"):
        far = np.abs(mean) > SHIFTED_SIGMA * depth_sigma(depth_m, replace(config, pose_sigma_m=0.0))
    return np.asarray(far & (count > 0.25 * SHIFTED_PX**2))


def _colour_changed(rgb: UInt8, newest: UInt8) -> Bool:
    """Return where colours differ, whatever the exposure."""
    import cv2

    a, b = (cv2.medianBlur(image, 5) for image in (rgb, newest))
    exposure = np.divide(np.add(cv2.mean(b)[:3], 1.0), np.add(cv2.mean(a)[:3], 1.0)).astype(np.float32)
    difference = np.abs(a * exposure - b)
    red, green, blue = cv2.split(difference)
    return np.asarray(cv2.max(cv2.max(red, green), blue) > CHANGED_LEVELS)
