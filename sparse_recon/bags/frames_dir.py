"""Folders of `NAME.color.png`, `NAME.depth.png`, `NAME.pose.txt` and `intrinsics.K.txt`, as research data come."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from sparse_recon.bags.storage import natural_order
from sparse_recon.config.session_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError, SparseReconError
from sparse_recon.frames.depth_images import depth_image, empty_depth
from sparse_recon.frames.images import CompressedImage, color_image, label_image
from sparse_recon.types import CameraIntrinsics, Float32, Float64, Frame

log = logging.getLogger(__name__)

_STEP_NS = 100_000_000
_FIRST_NS = 1_000_000_000  # a stamp of 0 means "not filled in" to ROS
_Pixels = TypeVar("_Pixels")


class FramesFolder:
    """Posed RGB-D frames in files.

    Files of one frame share a name: `NAME.color.png` or `.jpg` (8 bit), `NAME.depth.png` (16 bit, 0 invalid,
    millimetres or `depth.unit_m`), `NAME.pose.txt` (4 x 4 camera-to-world, row major, metres), and optionally
    `NAME.labels.png`.
    `intrinsics.K.txt` holds the 3 x 3 pinhole matrix; `NAME.K.txt` overrides it for one frame. Files carry no time:
    frames are stamped 0.1 s apart in the order of their names, numbers by their value.

    Parameters
    ----------
    path : the folder.
    depth : range of valid depth.

    Attributes
    ----------
    depth_encoding : of its depth images, for messages.
    counts : frames left out while reading, by code, as their files are missing or damaged.
    last_reason : why the last of them was left out, with the name of the file.

    Raises
    ------
    FileError
        INPUT_MISSING if the folder or its frames are missing.
    """

    camera = "camera"
    depth_encoding = "16-bit PNG"

    def __init__(self, path: Path, depth: DepthConfig | None = None) -> None:
        self.path = Path(path)
        self._depth = depth or DepthConfig()
        self.counts: Counter[ErrorCode] = Counter()
        self.last_reason = ""
        if not self.path.is_dir():
            raise FileError(ErrorCode.INPUT_MISSING, f"{self.path} is not a folder; name one with *.color.png files")
        colors = [*self.path.glob("*.color.png"), *self.path.glob("*.color.jpg")]
        self._colors: Sequence[Path] = sorted(colors, key=natural_order)
        if not colors:
            some = ", ".join(sorted(p.name for p in self.path.iterdir())[:8]) or "nothing"
            raise FileError(
                ErrorCode.INPUT_MISSING,
                f"{self.path} holds no *.color.png or *.color.jpg; it holds {some}. Accepted are NAME.color.png, "
                f"NAME.depth.png, NAME.pose.txt and intrinsics.K.txt{self._hint()}",
            )

    def _hint(self) -> str:
        recorded = any(path.suffix in (".mcap", ".db3") for path in self.path.iterdir())
        return f"; a recording is read by: sparse_recon replay {self.path}" if recorded else ""

    def __len__(self) -> int:
        return len(self._colors)

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames one by one; one with a missing or damaged file is left out with a warning.

        Raises
        ------
        FileError, InputError
            After the last file, if no frame at all can be used; with the code of the first reason.
        """
        self.counts.clear()
        first: SparseReconError | None = None
        for k, color in enumerate(self._colors):
            try:
                frame = self._frame(color, _FIRST_NS + k * _STEP_NS)
            except (FileError, InputError) as error:
                first = first or error
                self.counts[error.code] += 1
                self.last_reason = error.message
                log.warning("%s is skipped: %s", color.name, error.message)
            else:
                yield frame
        if first is not None and self.counts.total() == len(self):
            message = f"none of the {len(self)} frames in {self.path} can be used; the first: {first.message}"
            raise type(first)(first.code, message)

    def _frame(self, color: Path, stamp_ns: int) -> Frame:
        name = re.sub(r"\.color\.(png|jpg)$", "", color.name)
        files = {kind: self.path / f"{name}.{kind}" for kind in ("depth.png", "pose.txt", "labels.png", "K.txt")}
        rgb = _decoded(color, color_image)
        K_file = files["K.txt"] if files["K.txt"].exists() else self.path / "intrinsics.K.txt"
        depth_m = labels = None
        if files["depth.png"].exists():
            depth_m = _decoded(files["depth.png"], self._measured)
        if files["labels.png"].exists():
            labels = _decoded(files["labels.png"], label_image)
        K, T_world_cam = _matrix(K_file, 3), _orthonormal(_matrix(files["pose.txt"], 4))
        try:
            intrinsics = CameraIntrinsics(rgb.shape[1], rgb.shape[0], K)
            return Frame(rgb, depth_m, intrinsics, T_world_cam, stamp_ns, labels, self.camera)
        except InputError as error:
            raise InputError(error.code, f"{color}: {error.message}") from None

    def _measured(self, image: CompressedImage) -> Float32:
        depth_m = depth_image(image, self._depth.near_m, self._depth.far_m, unit_m=self._depth.unit_m)
        if not np.any(np.isfinite(depth_m)):
            raise empty_depth(image, "the depth image", self._depth)
        return depth_m


def _decoded(path: Path, decode: Callable[[CompressedImage], _Pixels]) -> _Pixels:
    content = _content(path, "an image")
    try:
        return decode(CompressedImage(path.suffix[1:], content))
    except InputError as error:
        raise InputError(error.code, f"{path}: {error.message}") from None


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} is missing; it must hold {what}") from None
    except OSError as error:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{path} cannot be read: {error.strerror or error}; it must hold {what}"
        ) from error


def _matrix(path: Path, size: int) -> Float64:
    content = _content(path, f"{size}x{size} numbers")
    try:
        values = np.array(content.decode("utf-8").replace(",", " ").split(), dtype=np.float64)
    except ValueError as error:
        raise InputError(ErrorCode.FRAME_INVALID, f"{path} must hold {size}x{size} numbers: {error}") from None
    if values.size != size * size:
        raise InputError(ErrorCode.FRAME_INVALID, f"{path} must hold {size}x{size} numbers, got {values.size}")
    return values.reshape(size, size)


def _orthonormal(T: Float64) -> Float64:
    """Return the pose with the rotation that is nearest to what a text file with few digits holds."""
    if not np.all(np.isfinite(T)):
        return T
    U, singular, Vt = np.linalg.svd(T[:3, :3])
    if np.abs(singular - 1.0).max() > 1e-2 or np.linalg.det(U @ Vt) < 0:
        return T  # no rotation at all: Frame says so
    out = T.copy()
    out[:3, :3] = U @ Vt
    return out
