"""Scenes of BOP, the benchmark for 6D object pose estimation, in its scene-wise format (Hodan et al. 2018)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.bags.posed_files import FIRST_NS, STEP_NS, PosedFiles, content, decoded, pinhole
from sparse_recon.errors import ErrorCode, FileError, InputError, clipped, quoted
from sparse_recon.frames.images import color_image, label_image
from sparse_recon.geometry.poses import inverse, pose
from sparse_recon.types import Float64, Frame, Int32

_CAMERA, _TRUTH, _MASKS = "scene_camera.json", "scene_gt.json", "mask_visib"
_FOLDERS, _SUFFIXES = ("rgb", "gray"), (".png", ".jpg")


class BopScene(PosedFiles):
    """`rgb/` or `gray/`, `depth/` and `scene_camera.json` with cam_K, depth_scale and world-to-camera poses in mm.

    Where there are `scene_gt.json` and `mask_visib/`, the masks are label images whose values are the ids of the
    objects; what has no mask is then no object. A scene without poses is read if it has one image, whose camera is the
    world. Frames are stamped 0.1 s apart.
    """

    layout = f"BOP scene ({_CAMERA}, rgb/ or gray/, depth/)"
    pose_unit_m = 1e-3

    @staticmethod
    def recognised(path: Path) -> str:
        return next((file.name for file in sorted(path.glob("scene_camera*.json"))), "")

    def found(self) -> Sequence[Path]:
        others = sorted(file.name for file in self.path.glob("scene_camera_*.json"))
        if others and not (self.path / _CAMERA).exists():
            raise FileError(
                ErrorCode.INPUT_MISSING,
                f"{self.path} holds {', '.join(others[:4])}, of several sensors; accepted is {_CAMERA} with rgb/ or "
                "gray/ and depth/: rename the files of one sensor",
            )
        self._cameras = _entries(self.path / _CAMERA, dict)
        images = {
            int(file.stem): file
            for name in reversed(_FOLDERS)
            for file in (self.path / name).glob("*")
            if file.suffix in _SUFFIXES and file.stem.isdecimal()
        }
        if not images:
            raise FileError(
                ErrorCode.INPUT_MISSING, f"{self.path}: rgb/ and gray/ hold no images such as 000000.png or 000000.jpg"
            )
        posed = any({"cam_R_w2c", "cam_t_w2c"} <= camera.keys() for camera in self._cameras.values())
        self._alone = not posed and len(images) == 1
        self._numbers = sorted(images if self._alone else images.keys() | self._cameras.keys())
        if not posed and not self._alone:
            raise InputError(
                ErrorCode.FRAME_INVALID,
                f"{self.path / _CAMERA} has no cam_R_w2c and cam_t_w2c: nobody knows from where its "
                f"{len(self._numbers)} images were taken. Accepted is a scene with poses, or a folder with one image",
            )
        self._labels = self._labelled()
        folder = next(name for name in _FOLDERS if any(file.parent.name == name for file in images.values()))
        return [images.get(n, self.path / folder / f"{n:06d}.png") for n in self._numbers]

    def frame(self, number: int) -> Frame:
        color, n = self.colors[number], self._numbers[number]
        try:
            camera = self._cameras[n]
        except KeyError:
            raise InputError(ErrorCode.FRAME_INVALID, f"{color}: {_CAMERA} has no entry {n}") from None
        rgb = decoded(color, color_image)
        where = f"{self.path / _CAMERA}: entry {n}"
        K = _numbers(camera, "cam_K", 9, where).reshape(3, 3)
        intrinsics = pinhole(K, rgb.shape[1], rgb.shape[0], f"{where}: cam_K")
        unit_m = self.depth.unit_m or 1e-3 * float(_numbers(camera, "depth_scale", 1, where)[0])
        if not 0.0 < unit_m <= 1.0:
            raise InputError(ErrorCode.FRAME_INVALID, f"{where}: depth_scale is {1e3 * unit_m:g} mm a count")
        depth_m = self.measured(self._beside(n, "depth"), replace(self.depth, unit_m=unit_m))
        labels = self._label_image(n) if self._labels else None
        try:
            T_world_cam = self._pose(camera, where)
            return Frame(rgb, depth_m, intrinsics, T_world_cam, FIRST_NS + number * STEP_NS, labels, self.camera)
        except InputError as error:
            raise InputError(error.code, f"{color}: {error.message}") from None

    def _pose(self, camera: Mapping[str, Any], where: str) -> Float64:
        if self._alone:
            return np.eye(4)
        R = _numbers(camera, "cam_R_w2c", 9, where).reshape(3, 3)
        T_cam_world = pose(R, _numbers(camera, "cam_t_w2c", 3, where))
        return inverse(self.in_metres(T_cam_world, f"{where}, cam_R_w2c"))

    def _beside(self, n: int, folder: str) -> Path:
        return self.path / folder / f"{n:06d}.png"

    def _labelled(self) -> dict[int, list[int]]:
        """Return the object id of each mask of each image; nothing where masks do not tell objects apart."""
        if not (self.path / _TRUTH).is_file() or not (self.path / _MASKS).is_dir():
            return {}
        truth: dict[int, list[Any]] = _entries(self.path / _TRUTH, list)
        try:
            ids = {n: [int(item["obj_id"]) for item in items] for n, items in truth.items()}
        except (KeyError, TypeError, ValueError):
            self.notes.append(f"{self.path / _TRUTH}: entries without obj_id; masks are not used")
            return {}
        if any(len(set(found)) < len(found) or min(found, default=1) < 1 for found in ids.values()):
            self.notes.append(
                f"{self.path / _TRUTH} has several objects of one obj_id in an image, which nothing tells apart in the "
                "others; masks are not used"
            )
            return {}
        return ids

    def _label_image(self, n: int) -> Int32 | None:
        labels: Int32 | None = None
        for k, object_id in enumerate(self._labels.get(n, ())):
            mask = decoded(self.path / _MASKS / f"{n:06d}_{k:06d}.png", label_image)
            labels = np.zeros_like(mask) if labels is None else labels
            if mask.shape != labels.shape:
                raise InputError(
                    ErrorCode.SIZE_MISMATCH, f"{self.path / _MASKS}: masks of image {n} differ in their sizes"
                )
            labels[mask > 0] = object_id
        return labels


def _entries(path: Path, kind: type) -> dict[int, Any]:
    """Return what a file of BOP holds by the number of the image."""
    try:
        record = json.loads(content(path, "an entry an image"))
        out = {int(key): value for key, value in record.items()}
        if not all(isinstance(value, kind) for value in out.values()):
            raise TypeError(f"entries must be of type {kind.__name__}")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        text = f"{path} is not what BOP writes: {type(error).__name__}: {clipped(str(error))}"
        raise InputError(ErrorCode.FRAME_INVALID, text) from None
    return out


def _numbers(entry: Mapping[str, Any], key: str, count: int, where: str) -> Float64:
    try:
        values = np.asarray(entry[key], np.float64).reshape(-1)
    except KeyError:
        raise InputError(ErrorCode.FRAME_INVALID, f"{where} has no {key}") from None
    except (ValueError, TypeError):
        values = np.zeros(0)
    if values.size != count or not np.all(np.isfinite(values)):
        raise InputError(
            ErrorCode.FRAME_INVALID, f"{where}: {key} must hold {count} finite numbers, got {quoted(entry[key])}"
        )
    return values
