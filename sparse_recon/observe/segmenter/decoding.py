"""From the network's maps to instances: peaks of the centre map, and the pixels that point to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from sparse_recon.observe.segmenter.layout import OFFSET_PX
from sparse_recon.types import Float32, Int32

THING = 0.5  # probability from which a pixel is of a thing
ENCLOSED = 0.55  # what is said of the floor of a bowl, at least
PEAK, PEAK_WINDOW_PX = 0.12, 9
# Pixels that point farther off than this from every peak are of a thing whose centre was missed.
FAR_PX = 14.0
MIN_PIXELS = 20
# An instance with so small a share of the pixels of one that it touches is a part of it.
FRAGMENT_SHARE = 0.06
# A hole in an instance that is of a thing with this probability on average is the floor of a bowl, not the table seen
# through a ring.
HOLE, HOLE_SHARE = 0.12, 0.5


@dataclass(frozen=True, eq=False)
class Instances:
    """Things in one image.

    Attributes
    ----------
    labels : (H, W) int32, 0 for what is no thing, else 1, 2, ...
    thing : (H, W) float32, probability of being a thing.
    score : (N,) float32, mean probability over the pixels of each thing; `score[i]` is of label i + 1.
    """

    labels: Int32
    thing: Float32
    score: Float32


def decoded(maps: Float32) -> Instances:
    """Return the instances of the network's answer (4, H, W): two logits and two offsets."""
    import cv2

    thing, centre = _sigmoid(maps[0]), _sigmoid(maps[1])
    window = np.ones((PEAK_WINDOW_PX, PEAK_WINDOW_PX), np.uint8)
    smooth = cv2.GaussianBlur(centre, (0, 0), 1.0)
    peak = (smooth >= cv2.dilate(smooth, window)) & (smooth > PEAK) & (cv2.dilate(thing, window) > THING)
    peaks = np.argwhere(peak)[:, ::-1].astype(np.float32)
    own = thing > THING
    v, u = np.nonzero(own)
    towards = np.stack([u, v], axis=1) + OFFSET_PX * maps[2:, v, u].T
    labels = np.zeros(thing.shape, np.int32)
    far = np.ones(len(u), bool)
    if len(peaks):
        distance, nearest = cKDTree(peaks).query(towards)
        far = distance > FAR_PX
        labels[v[~far], u[~far]] = nearest[~far] + 1
    if far.any():
        missed = np.zeros(thing.shape, np.uint8)
        missed[v[far], u[far]] = 1
        _, parts = cv2.connectedComponents(missed, connectivity=4)
        labels[missed > 0] = parts[missed > 0] + len(peaks)
    labels = _with_floors(_with_fragments(labels), thing)
    return _counted(labels, np.where(labels > 0, np.maximum(thing, np.float32(ENCLOSED)), thing))


def _with_floors(labels: Int32, thing: Float32) -> Int32:
    """Return the labels with doubtful holes inside one instance filled, no larger than a share of it."""
    import cv2

    count, holes, stats, _ = cv2.connectedComponentsWithStats((labels == 0).astype(np.uint8), connectivity=4)
    height, width = labels.shape
    size = np.bincount(labels.ravel())
    filled = labels.copy()
    for number in range(1, count):
        left, top, w, h, area = stats[number]
        if left == 0 or top == 0 or left + w == width or top + h == height:
            continue
        window = slice(top - 1, top + h + 1), slice(left - 1, left + w + 1)
        own = holes[window] == number
        rim = (cv2.dilate(own.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~own
        around = np.unique(labels[window][rim])
        if len(around) == 1 and area < HOLE_SHARE * size[around[0]] and thing[window][own].mean() > HOLE:
            filled[window][own] = around[0]
    return filled


def _with_fragments(labels: Int32) -> Int32:
    """Return the labels with fragments joined to the instance that they touch most."""
    import cv2

    labels = labels.copy()
    count = np.bincount(labels.ravel())
    for label in np.argsort(count, kind="stable"):
        if label == 0 or count[label] == 0 or count[label] >= FRAGMENT_SHARE * count[1:].max():
            continue
        v, u = np.nonzero(labels == label)
        window = slice(max(v.min() - 1, 0), v.max() + 2), slice(max(u.min() - 1, 0), u.max() + 2)
        own = labels[window] == label
        rim = (cv2.dilate(own.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~own
        touched = np.bincount(labels[window][rim], minlength=len(count))
        touched[0] = 0
        into = int(np.argmax(touched))
        if touched[into] > 0 and count[label] < FRAGMENT_SHARE * count[into]:
            labels[window][own] = into
            count[into] += count[label]
            count[label] = 0
    return labels


def _counted(labels: Int32, thing: Float32) -> Instances:
    """Number the instances anew; those of few pixels are none."""
    count = np.bincount(labels.ravel())
    count[0] = 0
    kept = np.nonzero(count >= MIN_PIXELS)[0]
    number = np.zeros(len(count), np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    sums = np.bincount(labels.ravel(), weights=thing.ravel())
    return Instances(number[labels], thing, (sums[kept] / np.maximum(count[kept], 1)).astype(np.float32))


def enlarged(found: Instances, height: int, width: int) -> Instances:
    """Return the same instances in an image of another size; outlines follow the probability, not the small pixels."""
    import cv2

    thing = np.asarray(cv2.resize(found.thing, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    spread = cv2.dilate(found.labels.astype(np.float32), np.ones((3, 3), np.uint8))
    filled = np.where(found.labels > 0, found.labels, spread).astype(np.float32)
    labels = cv2.resize(filled, (width, height), interpolation=cv2.INTER_NEAREST)
    return Instances(np.where(thing > THING, labels, 0).astype(np.int32), thing, found.score)


def _sigmoid(logit: Float32) -> Float32:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -30, 30))), np.float32)
