"""Folders of `NAME.color.png`, `NAME.depth.png`, `NAME.pose.txt` and `intrinsics.K.txt`, as research data come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sparse_recon.bags.posed_files import FIRST_NS, STEP_NS, PosedFiles, decoded, matrix, pinhole
from sparse_recon.bags.storage import natural_order
from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.frames.images import color_image, label_image
from sparse_recon.frames.undistort import resampled
from sparse_recon.types import CameraIntrinsics, Float32, Frame

_COLORS = ("*.color.png", "*.color.jpg")


class FramesFolder(PosedFiles):
    """Posed RGB-D frames in files.

    Files of one frame share a name: `NAME.color.png` or `.jpg` (8 bit), `NAME.depth.png` (16 bit, 0 invalid,
    millimetres or `depth.unit_m`), `NAME.pose.txt` (4 x 4 camera-to-world, row major, metres), and optionally
    `NAME.labels.png`.
    `intrinsics.K.txt` holds the 3 x 3 pinhole matrix; `NAME.K.txt` overrides it for one frame. Depth that has another
    size than colour, taken from the same place, has a matrix of its own in `intrinsics.depth.K.txt`. Files carry no
    time: frames are stamped 0.1 s apart in the order of their names, numbers by their value.
    """

    layout = "frames (NAME.color.png, NAME.depth.png, NAME.pose.txt, intrinsics.K.txt)"
    unmeasured = 0

    @staticmethod
    def recognised(path: Path) -> str:
        return next((pattern for pattern in _COLORS if any(path.glob(pattern))), "")

    def found(self) -> Sequence[Path]:
        colors = [path for pattern in _COLORS for path in self.path.glob(pattern)]
        if not colors:
            some = ", ".join(sorted(p.name for p in self.path.iterdir())[:8]) or "nothing"
            raise FileError(
                ErrorCode.INPUT_MISSING,
                f"{self.path} holds no *.color.png or *.color.jpg; it holds {some}. Accepted are NAME.color.png, "
                "NAME.depth.png, NAME.pose.txt and intrinsics.K.txt",
            )
        colors.sort(key=natural_order)
        without = [color.name for color in colors if not self._beside(color, "depth.png").exists()]
        if 0 < len(without) < len(colors):
            self.notes.append(f"{len(without)} of {len(colors)} frames have no depth image, the first: {without[0]}")
        return colors

    def _beside(self, color: Path, kind: str) -> Path:
        return self.path / (re.sub(r"color\.(png|jpg)$", "", color.name) + kind)

    def frame(self, number: int) -> Frame:
        color, stamp_ns = self.colors[number], FIRST_NS + number * STEP_NS
        files = {kind: self._beside(color, kind) for kind in ("depth.png", "pose.txt", "labels.png", "K.txt")}
        rgb = decoded(color, color_image)
        K_file = files["K.txt"] if files["K.txt"].exists() else self.intrinsics_file()
        intrinsics = pinhole(matrix(K_file, 3), rgb.shape[1], rgb.shape[0], K_file)
        depth_m = labels = None
        if files["depth.png"].exists():
            depth_m = self._depth(files["depth.png"], intrinsics)
        if files["labels.png"].exists():
            labels = decoded(files["labels.png"], label_image)
        T_world_cam = self.in_metres(matrix(files["pose.txt"], 4), str(files["pose.txt"]))
        try:
            return Frame(rgb, depth_m, intrinsics, T_world_cam, stamp_ns, labels, self.camera)
        except InputError as error:
            raise InputError(error.code, f"{color}: {error.message}") from None

    def intrinsics_file(self) -> Path:
        """Return the file that holds the matrix of all frames."""
        return self.path / "intrinsics.K.txt"

    def _depth(self, file: Path, color: CameraIntrinsics) -> Float32:
        depth_m = self.measured(file, unmeasured=self.unmeasured)
        height, width = depth_m.shape
        K_file = self.path / "intrinsics.depth.K.txt"
        if K_file.exists():
            return resampled(depth_m, pinhole(matrix(K_file, 3), width, height, K_file), color)
        if (width, height) != (color.width, color.height):
            raise InputError(
                ErrorCode.SIZE_MISMATCH,
                f"{file} is {width}x{height} px and colour is {color.width}x{color.height}; put the 3x3 matrix of the "
                f"depth camera into {K_file}, if it stands where the colour camera does",
            )
        return depth_m
