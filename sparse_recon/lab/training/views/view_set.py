"""Pictures of many objects in memory, drawn from by number."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.lab.training.views.shards import StoredViews, list_views, read_views
from sparse_recon.types import UInt8


class ViewSet:
    """The pictures of the shards at `paths`, all of one side and count.

    At 64 pixels a thousand objects with 16 views take 200 MB, on black 400 MB.

    Attributes
    ----------
    rgb : (N, V, 3, P, P) uint8, on white, or on black if `on_black`.
    mask : (N, V, 1, P, P) uint8, share of the object in 255ths, if `on_black`: else white tells.
    depth : (N, V, P, P) float16, along the optical axis, longest sides, infinite beside the object, if `on_black`.
    cameras : (N, V, 4) float32, polar angle and azimuth in radians, distance in longest sides, focal length in sides of
        a picture.
    names : of the objects.
    """

    def __init__(self, paths: Sequence[Path], most: int = 0, on_black: bool = False) -> None:
        stored = list_views(paths)
        if most:
            stored = stored[:: max(1, len(stored) // most)][:most]
        if not stored:
            raise FileError(ErrorCode.INPUT_MISSING, "there are no pictures to learn from; make some with --generate")
        _check_alike(stored)
        self.names = [s.name for s in stored]
        count, side = stored[0].count, stored[0].side
        rgb = np.empty((len(stored), count, 3, side, side), np.uint8)
        mask = np.empty((len(stored) if on_black else 0, count, 1, side, side), np.uint8)
        depth = np.empty((len(mask), count, side, side), np.float16)
        cameras = np.empty((len(stored), count, 4), np.float32)
        for k, entry in enumerate(stored):
            seen = read_views(entry)
            rgb[k], cameras[k] = seen.rgb.transpose(0, 3, 1, 2), seen.cameras
            if on_black:
                mask[k, :, 0], depth[k] = seen.mask, seen.depth
                rgb[k] = from_white_to_black(rgb[k], mask[k])
        self.rgb, self.cameras = torch.from_numpy(rgb), torch.from_numpy(cameras)
        self.mask, self.depth = torch.from_numpy(mask), torch.from_numpy(depth)

    def __len__(self) -> int:
        return len(self.rgb)

    @property
    def digest(self) -> str:
        """Tells sets apart by their objects, cameras and background."""
        told = hashlib.sha256("\n".join(self.names).encode())
        told.update(self.cameras.numpy().tobytes())
        told.update(b"black" if len(self.mask) else b"white")
        return told.hexdigest()

    @property
    def count(self) -> int:
        """Number of views of an object."""
        return self.rgb.shape[1]

    def images(self, objects: Tensor, views: Tensor) -> Tensor:
        """Return views (B,) of objects (B,) as (B, 3, P, P) float32 in [-1, 1]."""
        return to_signed(self.rgb[objects, views])


def from_white_to_black(rgb: UInt8, mask: UInt8) -> UInt8:
    """Return pictures on white on black instead; `mask` is the share of the object in 255ths."""
    return np.maximum(rgb.astype(np.int16) - (255 - mask.astype(np.int16)), 0).astype(np.uint8)


def to_signed(rgb: Tensor) -> Tensor:
    """Return bytes as float32 in [-1, 1]."""
    return rgb.float() / 127.5 - 1


def object_pixels(images: Tensor) -> Tensor:
    """Return (..., 1, P, P) float32, 1 where images (..., 3, P, P) in [-1, 1] are not white."""
    return (images.amin(dim=-3, keepdim=True) < 0.97).float()


def psnr_db(squared_error: Tensor) -> Tensor:
    """Return the PSNR of mean squared errors of images in [-1, 1]."""
    return 10 * torch.log10(4 / squared_error.clamp(min=1e-12))


def _check_alike(stored: Sequence[StoredViews]) -> None:
    kinds = {(s.count, s.side) for s in stored}
    if len(kinds) > 1:
        raise FileError(
            ErrorCode.INPUT_MISSING,
            f"{stored[0].path.parent} mixes pictures of different kinds (views, pixels): {sorted(kinds)}; generate "
            "them into folders of their own",
        )
