"""Folders with a `transforms.json`, as nerfstudio and its apps write them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.bags.posed_files import FIRST_NS, STEP_NS, PosedFiles, content, decoded, lens, named_file
from sparse_recon.errors import ErrorCode, FileError, InputError, clipped, quoted
from sparse_recon.frames.images import color_image
from sparse_recon.frames.undistort import CameraInfo, PinholeCamera
from sparse_recon.geometry.cameras import scaled
from sparse_recon.inputs.json_text import parse_json
from sparse_recon.types import CameraIntrinsics, Float32, Float64, Frame

NAME = "transforms.json"
_UNIT_M = 1e-3
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # y up and looking along -z, into optical axes
_PLUMB_BOB, _FISHEYE = ("k1", "k2", "p1", "p2", "k3"), ("k1", "k2", "k3", "k4")
_MODELS = {
    "": _PLUMB_BOB,
    "PINHOLE": (),
    "SIMPLE_PINHOLE": (),
    "OPENCV": _PLUMB_BOB,
    "OPENCV_FISHEYE": _FISHEYE,
}


class NerfstudioFolder(PosedFiles):
    """The frames of `transforms.json`: colour, depth where there is some, and camera-to-world poses of OpenGL axes.

    Depth is in millimetres unless `depth_unit_scale_factor` or `depth.unit_m` says otherwise; it may be smaller than
    colour. Intrinsics and distortion are those of the frame or of all frames; the centre of the first pixel is
    (0.5, 0.5), as in COLMAP and in the rays of nerfstudio. Frames are stamped 0.1 s apart.
    """

    layout = f"nerfstudio ({NAME})"

    @staticmethod
    def recognised(path: Path) -> str:
        return NAME if (path / NAME).is_file() else ""

    def found(self) -> Sequence[Path]:
        path = self.path / NAME
        try:
            self._all = parse_json(content(path, "the frames"))
            self._frames: list[Mapping[str, Any]] = list(self._all["frames"])
            colors = [self._file(entry["file_path"]) for entry in self._frames]
            for entry in self._frames:
                self._file(entry.get("depth_file_path", ""))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            text = f"{path} is not what nerfstudio writes: {type(error).__name__}: {clipped(str(error))}"
            raise InputError(ErrorCode.FRAME_INVALID, f"{text}; it must hold frames, each with a file_path") from None
        if not colors:
            raise FileError(ErrorCode.INPUT_MISSING, f"{path} lists no frames")
        if not self.depth.unit_m:
            self.depth = replace(self.depth, unit_m=self._number(self._all, "depth_unit_scale_factor", _UNIT_M))
        return colors

    def frame(self, number: int) -> Frame:
        entry, color = {**self._all, **self._frames[number]}, self.colors[number]
        try:
            return self._read(entry, color, FIRST_NS + number * STEP_NS)
        except InputError as error:
            named = str(color) in error.message
            raise InputError(error.code, error.message if named else f"{color}: {error.message}") from None

    def _read(self, entry: Mapping[str, Any], color: Path, stamp_ns: int) -> Frame:
        T_world_cam = self._pose(entry)
        raw = decoded(color, color_image)
        camera = self._camera(entry, raw.shape[1], raw.shape[0])
        rgb = camera.undistorted(raw, smooth=True)
        depth_m: Float32 | None = None
        if entry.get("depth_file_path"):
            file = self._file(entry["depth_file_path"])
            depth_m = self.on_color(self.measured(file), camera, file)
        return Frame(rgb, depth_m, camera.intrinsics, T_world_cam, stamp_ns, None, self.camera)

    def _file(self, name: Any) -> Path:
        file = named_file(self.path, str(name), self.path / NAME)
        return file if file.suffix else file.with_suffix(".png")

    def _pose(self, entry: Mapping[str, Any]) -> Float64:
        try:
            T = np.array(entry["transform_matrix"], np.float64)
        except (KeyError, ValueError, TypeError):
            T = np.zeros(0)
        if T.shape not in ((4, 4), (3, 4)):
            raise InputError(ErrorCode.FRAME_INVALID, "transform_matrix must hold 4x4 numbers")
        T = np.vstack([T[:3], [0.0, 0.0, 0.0, 1.0]])
        scale = self._number(entry, "applied_scale", 1.0)
        if not scale > 0.0:
            raise InputError(ErrorCode.FRAME_INVALID, f"applied_scale must be larger than 0, got {scale:g}")
        T[:3, 3] /= scale
        return self.in_metres(T @ _OPENGL, "transform_matrix")

    def _camera(self, entry: Mapping[str, Any], width: int, height: int) -> PinholeCamera:
        model = str(entry.get("camera_model") or "")
        if model not in _MODELS:
            accepted = ", ".join(filter(None, _MODELS))
            raise InputError(
                ErrorCode.DISTORTION_UNSUPPORTED, f"camera_model is {quoted(model)}; accepted are {accepted}"
            )
        size = int(self._number(entry, "w", width)), int(self._number(entry, "h", height))
        fx = self._number(entry, "fl_x", 0.0)
        if not fx and 0.0 < self._number(entry, "camera_angle_x", 0.0) < math.pi:
            fx = 0.5 * size[0] / math.tan(0.5 * self._number(entry, "camera_angle_x", 0.0))
        fy = self._number(entry, "fl_y", fx)
        cx, cy = (self._number(entry, key, 0.5 * n) - 0.5 for key, n in zip(("cx", "cy"), size, strict=True))
        K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        full = CameraIntrinsics(*size, K)
        if size != (width, height) and abs(width * size[1] - height * size[0]) <= max(size):  # a smaller copy
            full = scaled(full, width, height)
        D: Sequence[float] = [self._number(entry, key, 0.0) for key in _MODELS[model]]
        distortion = "equidistant" if model == "OPENCV_FISHEYE" else "plumb_bob"
        D = lens(D) if distortion == "equidistant" else D
        return PinholeCamera(CameraInfo(full.width, full.height, full.K, D, distortion), self.camera)

    def _number(self, entry: Mapping[str, Any], key: str, otherwise: float) -> float:
        value = entry.get(key, otherwise)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
            raise InputError(
                ErrorCode.FRAME_INVALID, f"{self.path / NAME}: {key} must be a number, got {quoted(value)}"
            )
        return float(value)
