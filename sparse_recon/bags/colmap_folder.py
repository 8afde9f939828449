"""Workspaces of COLMAP with depth: its sparse model, the images, and a depth image of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sparse_recon.bags.colmap_model import ColmapCamera, ColmapImage, has_model, read_model
from sparse_recon.bags.colmap_scale import Scale, measured_scale
from sparse_recon.bags.posed_files import FIRST_NS, STEP_NS, PosedFiles, content, decoded, lens, pinhole
from sparse_recon.bags.storage import natural_order
from sparse_recon.errors import ErrorCode, FileError, InputError, SparseReconError, clipped, quoted
from sparse_recon.frames.compressed import MAX_PIXELS
from sparse_recon.frames.images import color_image
from sparse_recon.frames.undistort import CameraInfo, PinholeCamera
from sparse_recon.geometry.cameras import scaled
from sparse_recon.geometry.poses import inverse
from sparse_recon.types import Float32, Frame

_MODELS_AT = ("sparse/0", "sparse", "")
_METRIC, _OWN = ("depth", "depths"), "stereo/depth_maps"
_SUFFIXES = (".geometric.bin", ".photometric.bin")
# Numbers of focal lengths, and the distortion model of OpenCV whose first coefficients the other parameters are.
_CAMERAS = {
    "SIMPLE_PINHOLE": (1, "", ()),
    "PINHOLE": (2, "", ()),
    "SIMPLE_RADIAL": (1, "plumb_bob", (0.0, 0.0, 0.0)),
    "RADIAL": (1, "plumb_bob", (0.0, 0.0)),
    "OPENCV": (2, "plumb_bob", ()),
    "FULL_OPENCV": (2, "rational_polynomial", ()),
    "OPENCV_FISHEYE": (2, "equidistant", ()),
    "SIMPLE_FISHEYE": (1, "equidistant", (0.0,) * 4),
    "FISHEYE": (2, "equidistant", (0.0,) * 4),
    "SIMPLE_RADIAL_FISHEYE": (1, "equidistant", (0.0, 0.0, 0.0)),
    "RADIAL_FISHEYE": (1, "equidistant", (0.0, 0.0)),
}


class ColmapFolder(PosedFiles):
    """A model in `sparse/0/`, `sparse/` or the folder itself, `images/`, and `depth/` or `depths/` with PNG in metres.

    The unit of a model is arbitrary. Depth images are metric, in millimetres or `depth.unit_m`, and must fit the
    model's points; depth maps of COLMAP itself (`stereo/depth_maps/`) share its unit, so somebody has to say it. Frames
    are stamped 0.1 s apart in the order of their names.
    """

    layout = "COLMAP (cameras and images .txt or .bin, in sparse/0/ or beside; images/, depth/)"
    pose_unit_m = 0.0  # unknown

    @staticmethod
    def recognised(path: Path) -> str:
        folder = next((name for name in _MODELS_AT if has_model(path / name)), None)
        return "" if folder is None else "/".join(filter(None, (folder, "cameras and images")))

    def found(self) -> Sequence[Path]:
        at = next((name for name in _MODELS_AT if has_model(self.path / name)), None)
        if at is None:
            raise FileError(
                ErrorCode.INPUT_MISSING,
                f"{self.path} has no cameras.txt and images.txt, or .bin, in sparse/0/, sparse/ or itself",
            )
        if (self.path / "sparse" / "1").is_dir() and at == "sparse/0":
            self.notes.append(f"{self.path / 'sparse'} holds several models, which share no frame; 0 was read alone")
        self._model = read_model(self.path / at)
        self._images = sorted(self._model.images, key=lambda image: natural_order(Path(image.name)))
        if not self._images:
            raise FileError(ErrorCode.INPUT_MISSING, f"{self.path / at} holds no images")
        if not (self.path / "images").is_dir():
            raise FileError(ErrorCode.INPUT_MISSING, f"{self.path / 'images'} is missing; it must hold the images")
        self._depth_at = next((name for name in (*_METRIC, _OWN) if (self.path / name).is_dir()), "")
        if not self._depth_at:
            raise FileError(
                ErrorCode.INPUT_MISSING,
                f"{self.path} has no depth/, depths/ or {_OWN}/: objects are completed from depth. Put 16-bit PNG of "
                "the names of the images there, or let COLMAP's patch_match_stereo make depth maps",
            )
        self.layout = f"COLMAP ({'/'.join(filter(None, (at, 'cameras and images')))}, images/, {self._depth_at}/)"
        self._settle_unit()
        return [self.path / "images" / image.name for image in self._images]

    def frame(self, number: int) -> Frame:
        image, color = self._images[number], self.colors[number]
        raw = decoded(color, color_image)
        try:
            camera = self._camera(image, raw.shape[1], raw.shape[0])
            T_world_cam = inverse(self.in_metres(image.T_cam_world, f"{color}: its pose"))
        except InputError as error:
            raise InputError(error.code, f"{color}: {error.message}") from None
        file = self._depth_file(image)
        depth_m = self.on_color(self._depth(file), camera, file)
        rgb = camera.undistorted(raw, smooth=True)
        try:
            return Frame(rgb, depth_m, camera.intrinsics, T_world_cam, FIRST_NS + number * STEP_NS, None, self.camera)
        except InputError as error:
            raise InputError(error.code, f"{color}: {error.message}") from None

    def _camera(self, image: ColmapImage, width: int, height: int) -> PinholeCamera:
        if image.camera_id not in self._model.cameras:
            raise InputError(ErrorCode.INTRINSICS_INVALID, f"its camera {image.camera_id} is not among the cameras")
        found = self._model.cameras[image.camera_id]
        K, D, distortion = _opencv(found)
        full = pinhole(K, found.width, found.height, f"{self.path}: camera {image.camera_id}")
        if (found.width, found.height) != (width, height) and abs(width * found.height - height * found.width) <= max(
            found.width, found.height
        ):  # a smaller copy
            full = scaled(full, width, height)
        return PinholeCamera(CameraInfo(full.width, full.height, full.K, D, distortion), self.camera)

    def _depth_file(self, image: ColmapImage) -> Path:
        folder = self.path / self._depth_at
        if self._depth_at == _OWN:
            names = [folder / f"{image.name}{suffix}" for suffix in _SUFFIXES]
        else:
            names = [(folder / image.name).with_suffix(".png"), folder / f"{image.name}.png"]
        return next((file for file in names if file.is_file()), names[0])

    def _depth(self, file: Path) -> Float32:
        if self._depth_at != _OWN:
            return self.measured(file)
        depth_m = _depth_map(file) * np.float32(self.pose_unit_m)
        with np.errstate(invalid="ignore"):
            depth_m[~((depth_m >= self.depth.near_m) & (depth_m <= self.depth.far_m))] = np.nan
        if not np.any(np.isfinite(depth_m)):
            raise InputError(
                ErrorCode.DEPTH_EMPTY,
                f"{file} has no pixel within depth.near_m = {self.depth.near_m:g} to depth.far_m = "
                f"{self.depth.far_m:g} m, read with {self.pose_unit_m:g} m a unit (--pose-unit-m)",
            )
        return depth_m

    def _settle_unit(self) -> None:
        """Find out whether the unit of the poses is that of depth, or refuse."""
        said = self.pose_unit_m > 0.0
        if self._depth_at == _OWN:
            if not said:
                raise InputError(
                    ErrorCode.FRAME_INVALID,
                    f"{self.path}: the unit of a COLMAP model is arbitrary, and {_OWN}/ shares it, so no size in "
                    "metres is known. Say how many metres a unit is with --pose-unit-m (a known length over the same "
                    "in the model; 1 where model_aligner or known positions made it metric), or give metric depth in "
                    "depth/",
                )
            return
        self.pose_unit_m = self.pose_unit_m or 1.0
        scale = measured_scale(self._model, self._images, self._raw_depth, self.pose_unit_m)
        if scale is None:
            if not said:
                self.notes.append(
                    f"the unit of the COLMAP model in {self.path} is taken for a metre; it has no points that would "
                    "tell. --pose-unit-m says another one"
                )
        elif not scale.fits:
            self._disagree(scale, said)

    def _raw_depth(self, image: ColmapImage) -> Float32 | None:
        """Return the depth image as it is, in metres, or None if there is none that can be read."""
        try:
            return self.measured(self._depth_file(image), replace(self.depth, near_m=0.01, far_m=100.0))
        except SparseReconError:
            return None

    def _disagree(self, scale: Scale, said: bool) -> None:
        unit = f"{self.depth.unit_m:g} m (depth.unit_m)" if self.depth.unit_m else "0.001 m"
        text = f"{self.path}: {scale.text}, with {unit} a count of depth and {self.pose_unit_m:g} m a unit of the model"
        if said:
            self.notes.append(text)
        elif scale.one_factor:
            raise InputError(
                ErrorCode.FRAME_INVALID,
                f"{text}. The unit of a COLMAP model is arbitrary: if depth is right, say --pose-unit-m "
                f"{scale.factor:.6g}; if the model is metric, say --pose-unit-m 1 and --set depth.unit_m="
                f"{(self.depth.unit_m or 1e-3) / scale.factor:.6g}",
            )
        else:
            raise InputError(
                ErrorCode.FRAME_INVALID,
                f"{text}. Accepted is depth along the optical axis of the same images; --pose-unit-m goes on all the "
                "same, with a unit that you know",
            )


def _opencv(camera: ColmapCamera) -> tuple[np.ndarray, tuple[float, ...], str]:
    """Return K, D and the distortion model as OpenCV has them."""
    if camera.model not in _CAMERAS:
        raise InputError(
            ErrorCode.DISTORTION_UNSUPPORTED,
            f"camera model {quoted(camera.model)}; accepted are {', '.join(_CAMERAS)}: undistort the images with "
            "COLMAP's image_undistorter",
        )
    focals, distortion, fill = _CAMERAS[camera.model]
    counts = {"": 0, "plumb_bob": 4, "rational_polynomial": 8, "equidistant": 4}
    wanted = focals + 2 + counts[distortion] - len(fill)
    if len(camera.parameters) != wanted:
        raise InputError(
            ErrorCode.INTRINSICS_INVALID,
            f"{clipped(camera.model)} has {len(camera.parameters)} parameters, it must have {wanted}",
        )
    fx, fy = camera.parameters[0], camera.parameters[focals - 1]
    cx, cy, *rest = camera.parameters[focals:]
    # COLMAP counts from the corner of the first pixel, OpenCV from its centre.
    K = np.array([[fx, 0.0, cx - 0.5], [0.0, fy, cy - 0.5], [0.0, 0.0, 1.0]])
    D = lens((*rest, *fill)) if distortion == "equidistant" else (*rest, *fill)
    return K, D, distortion or "plumb_bob"


def _depth_map(path: Path) -> Float32:
    """Return (H, W) float32 of a depth map of COLMAP: `width&height&channels&`, then floats row by row."""
    data = content(path, "a depth map of COLMAP")
    try:
        width, height, channels = (int(part) for part in data[:64].split(b"&", 3)[:3])
        start = data.index(b"&", data.index(b"&", data.index(b"&") + 1) + 1) + 1
        if channels != 1 or not 0 < width * height <= MAX_PIXELS or min(width, height) < 1:
            raise ValueError(f"{width}x{height} with {channels} channels")
        values = np.frombuffer(data, "<f4", width * height, start)
    except ValueError as error:
        raise InputError(
            ErrorCode.SIZE_MISMATCH, f"{path} is cut, or is no depth map of COLMAP: {clipped(str(error))}"
        ) from None
    return values.reshape(height, width).astype(np.float32)
