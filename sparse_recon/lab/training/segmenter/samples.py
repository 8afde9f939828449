"""Samples for the segmenter: a crop of a true view through a camera's faults, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from sparse_recon.lab.training.segmenter.faults import seen_color, seen_depth
from sparse_recon.lab.training.segmenter.scenes import TrueView, read_view, shard_views
from sparse_recon.observe.segmenter.layout import OFFSET_PX
from sparse_recon.types import Float32, Float64

CROP = (176, 240)
PLANE_TILT_DEG, PLANE_OFF_M = 0.5, 0.003
SMALLEST_CENTRE_PX, LARGEST_CENTRE_PX = 2.0, 6.0

Sample = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Target:
    """What is to be said of each pixel: thing (H, W), centre (H, W), offset (2, H, W), weight (H, W); float32."""

    thing: Float32
    centre: Float32
    offset: Float32
    weight: Float32


class ClutterSamples(Dataset[Sample]):
    """Draws samples of stored views; the number of a sample and the seed decide all of it."""

    def __init__(self, shards: Sequence[Path], seed: int, crop: tuple[int, int] | None = CROP) -> None:
        self._shards = [shard_views(path) for path in shards]
        self._first = np.cumsum([0, *(len(s) for s in self._shards)])
        self._seed, self._crop = seed, crop

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, number: int) -> Sample:
        view_number, epoch = number % len(self), number // len(self)
        rng = np.random.default_rng((self._seed, epoch, view_number))
        shard = int(np.searchsorted(self._first, view_number, side="right")) - 1
        return drawn_sample(read_view(self._shards[shard][view_number - self._first[shard]]), rng, self._crop)


def drawn_sample(view: TrueView, rng: np.random.Generator, crop: tuple[int, int] | None = CROP) -> Sample:
    """Return the tensors of one sample: rgb, depth_m, plane_cam and K as `features` takes them, and the target."""
    depth_m = seen_depth(view.depth_m, view.rgb, view.labels, float(view.K[0]), rng)
    rgb, labels, K = seen_color(view.rgb, rng), view.labels, view.K.copy()
    if rng.random() < 0.5:  # mirrored
        rgb, depth_m, labels = rgb[:, ::-1], depth_m[:, ::-1], labels[:, ::-1]
        K[2] = labels.shape[1] - 1 - K[2]
        plane: npt.NDArray[np.floating] = view.plane_cam * np.array([-1, 1, 1, 1], np.float32)
    else:
        plane = view.plane_cam
    if crop is not None:
        top, left = _window(labels, crop, rng)
        where = (slice(top, top + crop[0]), slice(left, left + crop[1]))
        rgb, depth_m, labels = rgb[where], depth_m[where], labels[where]
        K[2:] -= left, top
    estimated = _estimated(plane.astype(np.float64), rng)
    made = target(labels)
    arrays = {
        "rgb": rgb,
        "depth_m": depth_m,
        "plane_cam": estimated.astype(np.float32),
        "K": K,
        "thing": made.thing,
        "centre": made.centre,
        "offset": made.offset,
        "weight": made.weight,
        "labels": labels.astype(np.int64),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}


def target(labels: npt.NDArray[np.integer]) -> Target:
    """Return what is to be said of an image with these labels."""
    height, width = labels.shape
    v, u = np.mgrid[:height, :width].astype(np.float32)
    centre, offset = np.zeros((height, width), np.float32), np.zeros((2, height, width), np.float32)
    weight = np.ones((height, width), np.float32)
    for label in np.unique(labels[labels > 0]):
        own = labels == label
        area = float(own.sum())
        cu, cv = float(u[own].mean()), float(v[own].mean())
        sigma = np.clip(0.12 * np.sqrt(area), SMALLEST_CENTRE_PX, LARGEST_CENTRE_PX)
        bell = np.exp(-((u - cu) ** 2 + (v - cv) ** 2) / (2 * sigma**2))
        centre = np.maximum(centre, bell.astype(np.float32))
        offset[0][own], offset[1][own] = (cu - u[own]) / OFFSET_PX, (cv - v[own]) / OFFSET_PX
        weight[own] = np.clip(20.0 / np.sqrt(area), 0.4, 4.0)  # small things count too
    return Target((labels > 0).astype(np.float32), centre, offset, weight)


def _window(labels: npt.NDArray[np.integer], crop: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Return row and column of a window; most are around a pixel of a thing."""
    most = (labels.shape[0] - crop[0], labels.shape[1] - crop[1])
    rows, columns = np.nonzero(labels)
    if len(rows) and rng.random() < 0.85:
        i = int(rng.integers(len(rows)))
        top = rows[i] - rng.integers(crop[0] // 4, 3 * crop[0] // 4)
        left = columns[i] - rng.integers(crop[1] // 4, 3 * crop[1] // 4)
        return int(np.clip(top, 0, most[0])), int(np.clip(left, 0, most[1]))
    return int(rng.integers(most[0] + 1)), int(rng.integers(most[1] + 1))


def _estimated(plane: Float64, rng: np.random.Generator) -> Float64:
    """Return the plane as it would be estimated: tilted and shifted by a little."""
    normal = plane[:3] + rng.normal(0, np.deg2rad(PLANE_TILT_DEG) / 2, 3)
    normal /= np.linalg.norm(normal)
    return np.append(normal, plane[3] + rng.normal(0, PLANE_OFF_M / 2))
