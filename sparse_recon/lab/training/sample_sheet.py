"""A contact sheet of samples, to be looked at before anything is learned from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparse_recon.complete.compact.volumes import CHANNELS, QUANTISATION_LEVELS
from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.evidence import VoxelState
from sparse_recon.lab.training.samples import Sample
from sparse_recon.types import Float32, Float64, UInt8

ZOOM = 3
_LIGHT = np.array([-0.45, -0.6, 0.66])


def write_sheet(path: Path, samples: Sequence[Sample], per_row: int = 2) -> None:
    """Write one strip per sample: truth and prior from two sides, and what was seen in a slice through the middle.

    Raises
    ------
    FileError
        OUTPUT_UNWRITABLE.
    """
    import cv2

    strips = [_strip(s) for s in samples]
    strips += [np.full_like(strips[0], 255)] * (-len(strips) % per_row)
    rows = [np.concatenate(strips[i : i + per_row], axis=1) for i in range(0, len(strips), per_row)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1]):
        raise FileError(ErrorCode.OUTPUT_UNWRITABLE, f"{path} cannot be written; name a .png file in a folder that can")


def _strip(sample: Sample) -> UInt8:
    import cv2

    channel = dict(zip(CHANNELS, sample.volumes, strict=True))
    truth, prior = (_unit(v) for v in (sample.target, channel["prior"]))
    middle = truth.shape[1] // 2
    tiles = [shaded(truth, 1), shaded(truth, 2), shaded(prior, 1), shaded(prior, 2)]
    tiles += [_slice(v[:, middle]) for v in (truth, prior)]
    measured = np.where(channel["weight"] > 0, _unit(channel["tsdf"]), np.float32(0))
    tiles += [_slice(measured[:, middle]), _states(channel["state"][:, middle])]
    tiles += [_slice(_unit(channel["lower"])[:, middle])]
    image = np.concatenate([t.repeat(ZOOM, 0).repeat(ZOOM, 1) for t in tiles], axis=1)
    text = f"{sample.family} {sample.number}, {sample.scalars[2]:.0f} views, voxel {1e3 * sample.scalars[0]:.1f} mm"
    image = np.ascontiguousarray(np.pad(image, ((16, 2), (0, 6), (0, 0)), constant_values=255))
    cv2.putText(image, text, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return image


def _unit(levels: npt.NDArray[np.int8]) -> Float32:
    return (levels / np.float32(QUANTISATION_LEVELS)).astype(np.float32)


def shaded(sdf: Float32, axis: int) -> UInt8:
    """Return a solid (X, Y, Z) from outside, (64, 64, 3): from the front (axis 1, z up) or above (axis 2, y up)."""
    volume = np.moveaxis(sdf, axis, 2) if axis == 1 else sdf[:, :, ::-1]
    hit = (volume < 0).any(axis=2)
    first = (volume < 0).argmax(axis=2)
    a, b = np.nonzero(hit)
    normal: Float64 = np.stack([np.gradient(volume, axis=k)[a, b, first[a, b]] for k in range(3)], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    light = normal @ (_LIGHT[[0, 2, 1]] if axis == 1 else _LIGHT * (1, 1, -1))
    image = np.full((*hit.shape, 3), 235, np.uint8)
    image[a, b] = (40 + 200 * np.clip(light, 0, 1))[:, None].astype(np.uint8)
    return np.ascontiguousarray(image.transpose(1, 0, 2)[::-1])


def _slice(values: Float32) -> UInt8:
    """Blue inside, red outside, black where the surface is."""
    v = np.clip(values.T[::-1], -1, 1)
    image = np.stack([np.where(v > 0, 255, 255 * (1 + v)), 255 * (1 - np.abs(v)), np.where(v < 0, 255, 255 * (1 - v))])
    image[:, (v != 0) & (np.abs(v) < 0.07)] = 0
    return image.transpose(1, 2, 0).astype(np.uint8)


def _states(states: npt.NDArray[np.int8]) -> UInt8:
    image = np.full((*states.T.shape, 3), 255, np.uint8)
    for flag, color in (
        (VoxelState.HIDDEN_BY_OTHER, (230, 150, 40)),
        (VoxelState.HIDDEN_BY_SELF, (120, 120, 120)),
        (VoxelState.FREE, (190, 225, 255)),
        (VoxelState.SURFACE, (20, 140, 60)),
        (VoxelState.OUTSIDE_HULL, (200, 120, 220)),
    ):
        image[(states.T[::-1] & flag) > 0] = color
    return image
