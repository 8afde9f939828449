"""What all folders of posed frames have in common: one frame after the other, and none lost without a word."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError, SparseReconError, clipped, quoted
from sparse_recon.frames.depth_images import depth_image, empty_depth
from sparse_recon.frames.images import CompressedImage
from sparse_recon.frames.undistort import PinholeCamera, check_plausible, resampled
from sparse_recon.geometry.cameras import scaled
from sparse_recon.inputs.files import check_folder, read_bytes, shown, what_is_there
from sparse_recon.types import CameraIntrinsics, Float32, Float64, Frame

log = logging.getLogger(__name__)

STEP_NS = 100_000_000  # between frames of files that carry no time
FIRST_NS = 1_000_000_000  # a stamp of 0 means "not filled in" to ROS
MAX_FILE_BYTES = 1 << 28  # of an image or a list
_NO_DISTORTION = 1e-12
_SAME_ASPECT = 0.01  # 1296x968 and 640x480 are taken for two sizes of one image
_Pixels = TypeVar("_Pixels")


class PosedFiles(ABC):
    """A folder of frames; subclasses know a layout.

    Parameters
    ----------
    path : the folder.
    depth : range of valid depth, and its unit where it is not that of the layout.
    pose_unit_m : metres that a unit of the poses is; 0 for that of the layout.

    Attributes
    ----------
    layout : what is read, for people.
    notes : what a result has to tell of the folder itself.
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
    pose_unit_m = 1.0

    def __init__(self, path: Path, depth: DepthConfig | None = None, pose_unit_m: float = 0.0) -> None:
        self.path = Path(path)
        self.depth = depth or DepthConfig()
        self.pose_unit_m = pose_unit_m or self.pose_unit_m
        self.counts: Counter[ErrorCode] = Counter()
        self.last_reason = ""
        self.notes: list[str] = []
        check_folder(self.path, "a folder of frames")
        self.colors = self.found()

    @staticmethod
    @abstractmethod
    def recognised(path: Path) -> str:
        """Return which files of a folder show that it has this layout; empty where it has not."""

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

    @property
    def warnings(self) -> list[str]:
        """What every result has to tell: of the folder, and which frames were left out."""
        lost = self.counts.total()
        if not lost:
            return list(self.notes)
        reasons = ", ".join(f"{n} x {code.name}" for code, n in self.counts.most_common())
        left_out = f"{lost} of {len(self)} frames could not be used ({reasons}); the last: {self.last_reason}"
        return [*self.notes, left_out]

    def measured(self, path: Path, depth: DepthConfig | None = None, unmeasured: int = 0) -> Float32:
        """Return (H, W) float32 metres of a depth image with valid pixels.

        Parameters
        ----------
        depth : None for that of the folder.
        unmeasured : what the layout writes, beside 0, where nothing was measured.
        """
        wanted = depth or self.depth

        def decode(image: CompressedImage) -> Float32:
            far_m = wanted.far_m
            if unmeasured:
                far_m = min(far_m, (unmeasured - 0.5) * (wanted.unit_m or 1e-3))
            depth_m = depth_image(image, wanted.near_m, far_m, unit_m=wanted.unit_m)
            if not np.any(np.isfinite(depth_m)):
                raise empty_depth(image, "the depth image", wanted)
            return depth_m

        return decoded(path, decode)

    def on_color(self, depth_m: Float32, camera: PinholeCamera, path: Path) -> Float32:
        """Return the depth of the undistorted colour image.

        Parameters
        ----------
        depth_m : (H, W) float32, metres; the whole view of the colour camera, in any resolution.
        camera : of the colour image.
        path : of the depth image, for messages.

        Raises
        ------
        InputError
            SIZE_MISMATCH where width to height are others than those of colour.
        """
        height, width = depth_m.shape
        if (width, height) != camera.size:
            stretch = width * camera.size[1] / (height * camera.size[0])
            if abs(stretch - 1.0) > _SAME_ASPECT:
                raise InputError(
                    ErrorCode.SIZE_MISMATCH,
                    f"{path}: depth of {width}x{height} px cannot show the same view as colour of "
                    f"{camera.size[0]}x{camera.size[1]}; give depth that is registered to colour",
                )
            depth_m = resampled(depth_m, scaled(camera.intrinsics, width, height), camera.intrinsics)
        return camera.undistorted(depth_m, smooth=False)

    def in_metres(self, T_world_cam: Float64, source: str) -> Float64:
        """Return a pose as text files have it, as `Frame` takes it.

        Parameters
        ----------
        T_world_cam : (4, 4), its translation in units of `pose_unit_m`.
        source : where it was read, for messages.

        Raises
        ------
        InputError
            FRAME_INVALID if it is not finite: so trackers note that they were lost.
        """
        if not np.all(np.isfinite(T_world_cam)):
            raise InputError(ErrorCode.FRAME_INVALID, f"{source} is not finite: the camera's pose was lost there")
        out = orthonormal(T_world_cam)
        return np.vstack([out[:3] * [1.0, 1.0, 1.0, self.pose_unit_m], out[3:]])


def decoded(path: Path, decode: Callable[[CompressedImage], _Pixels]) -> _Pixels:
    """Return what is in an image file; errors name it."""
    image = CompressedImage(path.suffix[1:], content(path, "an image"))
    try:
        return decode(image)
    except InputError as error:
        raise InputError(error.code, f"{path}: {error.message}") from None


def named_file(folder: Path, name: str, source: Path) -> Path:
    """Return the path of a file that `source`, a list of a data set, names below a folder.

    Raises
    ------
    InputError
        FRAME_INVALID if it lies elsewhere: a data set that somebody gave away names nothing of other people. Links in
        the folder are followed.
    """
    file = folder / name
    if not Path(os.path.abspath(file)).is_relative_to(os.path.abspath(folder)):
        raise InputError(
            ErrorCode.FRAME_INVALID,
            f"{shown(source)} names {quoted(name)}, which lies outside of {shown(folder)}; accepted are files below "
            "it: copy or link them there",
        )
    return file


def content(path: Path, what: str, most_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes of a file that must hold something; raises FileError INPUT_MISSING."""
    if what_is_there(path) == "does not exist":
        raise FileError(ErrorCode.INPUT_MISSING, f"{shown(path)} is missing; it must hold {what}")
    return read_bytes(path, f"a file that holds {what}", most_bytes)


def pinhole(K: Float64, width: int, height: int, source: Path | str) -> CameraIntrinsics:
    """Return the camera of an image of so many pixels.

    Raises
    ------
    InputError
        INTRINSICS_INVALID where K, which was read from `source`, is not that of such an image.
    """
    try:
        camera = CameraIntrinsics(width, height, K)
    except InputError as error:
        raise InputError(error.code, f"{source}: {error.message}") from None
    cure = "it must be that of this very image, in pixels"
    check_plausible(camera, str(source), cure)
    if not (-0.5 <= camera.cx <= width - 0.5 and -0.5 <= camera.cy <= height - 0.5):
        raise InputError(
            ErrorCode.INTRINSICS_INVALID,
            f"{source}: the principal point ({camera.cx:g}, {camera.cy:g}) lies outside of an image of {width}x"
            f"{height} px, as where images were resized and intrinsics were not; {cure}",
        )
    return camera


def lens(D: Sequence[float]) -> tuple[float, ...]:
    """Return coefficients of an equidistant lens, not all 0: in ROS that would be no lens, and here it still is one."""
    return tuple(D) if any(D) else (_NO_DISTORTION, *D[1:])


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
    U, singular, Vt = np.linalg.svd(T[:3, :3])
    if np.abs(singular - 1.0).max() > 1e-2 or np.linalg.det(U @ Vt) < 0:
        return T  # no rotation at all: Frame says so
    out = T.copy()
    out[:3, :3] = U @ Vt
    return out
