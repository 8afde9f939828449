"""Folders of `NAME.color.png`, `NAME.depth.png`, `NAME.pose.txt` and `intrinsics.K.txt`, as research data come."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sparse_recon.bags.storage import natural_order
from sparse_recon.config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.observe.images import CompressedImage, color_image, depth_image, label_image
from sparse_recon.types import CameraIntrinsics, Float64, Frame

_STEP_NS = 100_000_000
_FIRST_NS = 1_000_000_000  # a stamp of 0 means "not filled in" to ROS


class FramesFolder:
    """Posed RGB-D frames in files.

    Files of one frame share a name: `NAME.color.png` or `.jpg` (8 bit), `NAME.depth.png` (16 bit, millimetres, 0
    invalid), `NAME.pose.txt` (4 x 4 camera-to-world, row major, metres), and optionally `NAME.labels.png`.
    `intrinsics.K.txt` holds the 3 x 3 pinhole matrix; `NAME.K.txt` overrides it for one frame. Files carry no time:
    frames are stamped 0.1 s apart in the order of their names, numbers by their value.

    Parameters
    ----------
    path : the folder.
    depth : range of valid depth.

    Raises
    ------
    FileError
        INPUT_MISSING if the folder or its frames are missing.
    """

    camera = "camera"

    def __init__(self, path: Path, depth: DepthConfig | None = None) -> None:
        self.path = Path(path)
        self._depth = depth or DepthConfig()
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
        """Yield frames one by one; raises InputError or FileError for a file that is missing or unusable."""
        for k, color in enumerate(self._colors):
            yield self._frame(color, _FIRST_NS + k * _STEP_NS)

    def _frame(self, color: Path, stamp_ns: int) -> Frame:
        name = re.sub(r"\.color\.(png|jpg)$", "", color.name)
        files = {kind: self.path / f"{name}.{kind}" for kind in ("depth.png", "pose.txt", "labels.png", "K.txt")}
        rgb = color_image(_compressed(color))
        K_file = files["K.txt"] if files["K.txt"].exists() else self.path / "intrinsics.K.txt"
        depth_m = labels = None
        if files["depth.png"].exists():
            depth_m = depth_image(_compressed(files["depth.png"]), self._depth.near_m, self._depth.far_m)
        if files["labels.png"].exists():
            labels = label_image(_compressed(files["labels.png"]))
        intrinsics = CameraIntrinsics(rgb.shape[1], rgb.shape[0], _matrix(K_file, 3))
        T_world_cam = _orthonormal(_matrix(files["pose.txt"], 4))
        try:
            return Frame(rgb, depth_m, intrinsics, T_world_cam, stamp_ns, labels, self.camera)
        except InputError as error:
            raise InputError(error.code, f"{color}: {error.message}") from None


def _compressed(path: Path) -> CompressedImage:
    return CompressedImage(path.suffix[1:], path.read_bytes())


def _matrix(path: Path, size: int) -> Float64:
    try:
        values = np.array(path.read_text(encoding="utf-8").replace(",", " ").split(), dtype=np.float64)
    except FileNotFoundError:
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} is missing; it must hold {size}x{size} numbers") from None
    except ValueError as error:
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} must hold {size}x{size} numbers: {error}") from None
    if values.size != size * size:
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} must hold {size}x{size} numbers, got {values.size}")
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
