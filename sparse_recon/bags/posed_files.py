"""What all folders of posed frames have in common: one frame after the other, and none lost without a word."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from sparse_recon.config.session_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError, SparseReconError, clipped
from sparse_recon.frames.depth_images import depth_image, empty_depth
from sparse_recon.frames.images import CompressedImage
from sparse_recon.inputs.files import check_folder, read_bytes, shown, what_is_there
from sparse_recon.types import Float32, Float64, Frame

log = logging.getLogger(__name__)

STEP_NS = 100_000_000  # between frames of files that carry no time
FIRST_NS = 1_000_000_000  # a stamp of 0 means "not filled in" to ROS
MAX_FILE_BYTES = 1 << 28  # of an image or a list
_Pixels = TypeVar("_Pixels")


class PosedFiles(ABC):
    """A folder of frames; subclasses know a layout.

    Parameters
    ----------
    path : the folder.
    depth : range of valid depth, and its unit where it is not that of the layout.

    Attributes
    ----------
    layout : what is read, for people.
    depth_encoding : of its depth images, for messages.
    counts : frames left out while reading, by code, as their files are missing or damaged.
    last_reason : why the last of them was left out, with the name of the file.

    Raises
    ------
    FileError
        INPUT_MISSING if the folder or its frames are missing.
    """

    camera = "camera"
    layout = ""
    depth_encoding = "16-bit PNG"

    def __init__(self, path: Path, depth: DepthConfig | None = None) -> None:
        self.path = Path(path)
        self.depth = depth or DepthConfig()
        self.counts: Counter[ErrorCode] = Counter()
        self.last_reason = ""
        check_folder(self.path, "a folder of frames, such as one with *.color.png files")
        self.colors = self.found()

    @abstractmethod
    def found(self) -> Sequence[Path]:
        """Return the colour image of each frame, in their order."""

    @abstractmethod
    def frame(self, number: int) -> Frame:
        """Return the frame of one of `colors`; raises FileError or InputError."""

    def __len__(self) -> int:
        return len(self.colors)

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames one by one; one with a missing or damaged file is left out with a warning.

        Raises
        ------
        FileError, InputError
            After the last file, if no frame at all can be used; with the code of the first reason.
        """
        self.counts.clear()
        first: SparseReconError | None = None
        for number, color in enumerate(self.colors):
            try:
                frame = self.frame(number)
            except (FileError, InputError) as error:
                first = first or error
                self.counts[error.code] += 1
                self.last_reason = error.message
                log.warning("%s is skipped: %s", clipped(color.name), error.message)
            else:
                yield frame
        if first is not None and self.counts.total() == len(self):
            message = f"none of the {len(self)} frames in {self.path} can be used; the first: {first.message}"
            raise type(first)(first.code, message)

    def measured(self, path: Path) -> Float32:
        """Return (H, W) float32 metres of a depth image with valid pixels."""

        def decode(image: CompressedImage) -> Float32:
            depth_m = depth_image(image, self.depth.near_m, self.depth.far_m, unit_m=self.depth.unit_m)
            if not np.any(np.isfinite(depth_m)):
                raise empty_depth(image, "the depth image", self.depth)
            return depth_m

        return decoded(path, decode)


def decoded(path: Path, decode: Callable[[CompressedImage], _Pixels]) -> _Pixels:
    """Return what is in an image file; errors name it."""
    image = CompressedImage(path.suffix[1:], content(path, "an image"))
    try:
        return decode(image)
    except InputError as error:
        raise InputError(error.code, f"{path}: {error.message}") from None


def content(path: Path, what: str) -> bytes:
    """Return the bytes of a file that must hold something; raises FileError INPUT_MISSING."""
    if what_is_there(path) == "does not exist":
        raise FileError(ErrorCode.INPUT_MISSING, f"{shown(path)} is missing; it must hold {what}")
    return read_bytes(path, f"a file that holds {what}", MAX_FILE_BYTES)


def matrix(path: Path, size: int) -> Float64:
    """Return the square matrix of a text file; raises FileError or InputError."""
    text = content(path, f"{size}x{size} numbers")
    try:
        values = np.array(text.decode("utf-8").replace(",", " ").split(), dtype=np.float64)
    except ValueError as error:
        raise InputError(
            ErrorCode.FRAME_INVALID, f"{path} must hold {size}x{size} numbers: {clipped(str(error))}"
        ) from None
    if values.size != size * size:
        raise InputError(ErrorCode.FRAME_INVALID, f"{path} must hold {size}x{size} numbers, got {values.size}")
    return values.reshape(size, size)


def orthonormal(T: Float64) -> Float64:
    """Return the pose with the rotation that is nearest to what a text file with few digits holds."""
    if not np.all(np.isfinite(T)):
        return T
    U, singular, Vt = np.linalg.svd(T[:3, :3])
    if np.abs(singular - 1.0).max() > 1e-2 or np.linalg.det(U @ Vt) < 0:
        return T  # no rotation at all: Frame says so
    out = T.copy()
    out[:3, :3] = U @ Vt
    return out
