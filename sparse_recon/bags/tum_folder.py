"""Folders as the TUM RGB-D benchmark has them: lists of images with stamps, and a trajectory (Sturm et al. 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from sparse_recon.bags.posed_files import PosedFiles, content, decoded, matrix, named_file, pinhole
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError, clipped, quoted
from sparse_recon.frames.images import color_image
from sparse_recon.geometry.poses import pose
from sparse_recon.types import CameraIntrinsics, Float64, Frame

UNIT_M = 1.0 / 5000.0
_LISTS = ("rgb.txt", "depth.txt", "groundtruth.txt")
_SAME_S, _GAP_S = 0.02, 0.5  # images that belong together, and poses that are interpolated
# Of the benchmark's own cameras, 640 x 480.
_KNOWN = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}


class TumFolder(PosedFiles):
    """`rgb.txt` and `depth.txt` list stamps in seconds and files; `groundtruth.txt` holds the camera's poses.

    Depth is in 1/5000 m unless `depth.unit_m` says otherwise. `intrinsics.K.txt` holds the 3 x 3 pinhole matrix; the
    benchmark's own sequences, whose folders are named freiburg1 to 3, need none.
    """

    layout = "TUM RGB-D (rgb.txt, depth.txt, groundtruth.txt)"

    def __init__(self, path: Path, depth: DepthConfig | None = None, pose_unit_m: float = 0.0) -> None:
        depth = depth or DepthConfig()
        super().__init__(path, depth if depth.unit_m else replace(depth, unit_m=UNIT_M), pose_unit_m)
        rows = _rows(self.path / "groundtruth.txt", 8)
        try:
            self._poses = np.unique(np.array(rows, np.float64), axis=0)
        except ValueError as error:
            raise InputError(ErrorCode.FRAME_INVALID, f"{self.path}/groundtruth.txt: {clipped(str(error))}") from None
        if not len(rows):
            raise FileError(ErrorCode.INPUT_MISSING, f"{self.path}/groundtruth.txt holds no poses")

    @staticmethod
    def recognised(path: Path) -> str:
        return ", ".join(_LISTS) if all((path / name).is_file() for name in _LISTS) else ""

    def found(self) -> Sequence[Path]:
        self._stamps_s, colors = _listed(self.path, "rgb.txt")
        self._depth_s, self._depths = _listed(self.path, "depth.txt")
        return colors

    def frame(self, number: int) -> Frame:
        color, stamp_s = self.colors[number], self._stamps_s[number]
        nearest = min(self._depth_s, key=lambda at_s: abs(at_s - stamp_s))
        if abs(nearest - stamp_s) > _SAME_S:
            raise InputError(
                ErrorCode.STAMP_UNMATCHED, f"{color}: no depth image within {_SAME_S:g} s of {stamp_s:.6f} s"
            )
        T_world_cam = self.in_metres(self._pose_at(stamp_s, color), f"{color}: its pose in groundtruth.txt")
        rgb = decoded(color, color_image)
        depth_m = self.measured(self._depths[self._depth_s.index(nearest)])
        camera = self._camera(rgb.shape[1], rgb.shape[0])
        try:
            return Frame(rgb, depth_m, camera, T_world_cam, round(stamp_s * 1e9), None, self.camera)
        except InputError as error:
            raise InputError(error.code, f"{color}: {error.message}") from None

    def _camera(self, width: int, height: int) -> CameraIntrinsics:
        file = self.path / "intrinsics.K.txt"
        known = [values for name, values in _KNOWN.items() if name in self.path.resolve().name]
        if file.exists() or not known or (width, height) != (640, 480):
            return pinhole(matrix(file, 3), width, height, file)
        fx, fy, cx, cy = known[0]
        return CameraIntrinsics(width, height, np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]))

    def _pose_at(self, stamp_s: float, color: Path) -> Float64:
        times = self._poses[:, 0]
        at = int(np.argmin(np.abs(times - stamp_s)))
        after = int(np.searchsorted(times, stamp_s))
        between = 0 < after < len(times) and times[after] - times[after - 1] <= _GAP_S
        if not between and abs(times[at] - stamp_s) > _SAME_S:
            text = f"{color}: groundtruth.txt has no pose at {stamp_s:.6f} s; the nearest is at {times[at]:.6f} s"
            raise InputError(ErrorCode.TF_EXTRAPOLATION, text)
        rows = self._poses[[after - 1, after] if between else [at]]
        try:
            turns = Rotation.from_quat(rows[:, 4:8])
        except ValueError as error:
            raise InputError(ErrorCode.FRAME_INVALID, f"{color}: its pose in groundtruth.txt: {error}") from None
        if not between:
            return pose(turns[0].as_matrix(), rows[0, 1:4])
        share = (stamp_s - rows[0, 0]) / (rows[1, 0] - rows[0, 0])
        turn = Slerp([0.0, 1.0], turns)(share)
        return pose(turn.as_matrix(), (1.0 - share) * rows[0, 1:4] + share * rows[1, 1:4])


def _listed(folder: Path, name: str) -> tuple[list[float], list[Path]]:
    """Return the stamps in seconds, growing, and files of a list."""
    found: dict[float, Path] = {}
    for stamp, file in _rows(folder / name, 2):
        try:
            found.setdefault(float(stamp), named_file(folder, file, folder / name))
        except ValueError:
            raise InputError(ErrorCode.FRAME_INVALID, f"{folder / name}: {quoted(stamp[:40])} is no stamp") from None
    if not found or not all(0 < stamp_s < 1e10 for stamp_s in found):
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{folder / name} must hold rows of a stamp in seconds and a file name"
        )
    stamps_s = sorted(found)
    return stamps_s, [found[stamp_s] for stamp_s in stamps_s]


def _rows(path: Path, columns: int) -> list[list[str]]:
    text = content(path, f"rows of {columns} columns").decode("utf-8", errors="replace")
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if wrong := next((row for row in rows if len(row) < columns), None):
        raise InputError(
            ErrorCode.FRAME_INVALID, f"{path} must hold rows of {columns} columns, got {len(wrong)} of them"
        )
    return [row[:columns] for row in rows]
