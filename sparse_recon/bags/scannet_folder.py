"""Folders as the exporter of ScanNet writes them (Dai et al. 2017), and the 25k frames of its benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparse_recon.bags.posed_files import FIRST_NS, STEP_NS, PosedFiles, decoded, matrix, pinhole
from sparse_recon.bags.storage import natural_order
from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.frames.images import color_image
from sparse_recon.frames.undistort import resampled
from sparse_recon.types import CameraIntrinsics, Frame

_PARTS = ("color", "depth", "pose")
_COLOR_SUFFIXES = (".jpg", ".png")


class ScanNetFolder(PosedFiles):
    """`color/N.jpg`, `depth/N.png` in millimetres, `pose/N.txt` camera-to-world, `intrinsic/intrinsic_color.txt`.

    Depth has intrinsics of its own, `intrinsic_depth.txt`, and another size; both cameras stand in one place, so depth
    is resampled to colour. `-inf` in a pose says that tracking was lost. Frames are stamped 0.1 s apart.
    """

    layout = "ScanNet (color/, depth/, pose/, intrinsic/)"

    @staticmethod
    def recognised(path: Path) -> str:
        return ", ".join(f"{name}/" for name in _PARTS) if all((path / name).is_dir() for name in _PARTS) else ""

    def found(self) -> Sequence[Path]:
        missing = [f"{name}/" for name in _PARTS if not (self.path / name).is_dir()]
        if missing:
            raise FileError(ErrorCode.INPUT_MISSING, f"{self.path} has no {' and no '.join(missing)}; {self.layout}")
        there = {path.stem: path for path in (self.path / "color").iterdir() if path.suffix in _COLOR_SUFFIXES}
        for path in (self.path / "depth").glob("*.png"):
            there.setdefault(path.stem, self.path / "color" / f"{path.stem}.jpg")
        if not there:
            raise FileError(ErrorCode.INPUT_MISSING, f"{self.path}: color/ and depth/ hold no images")
        self._files = {kind: self._calibration(kind) for kind in ("color", "depth")}
        self._K = {kind: matrix(file, 4)[:3, :3] for kind, file in self._files.items()}
        for kind, file in self._files.items():
            self._check_extrinsics(file.with_name(f"extrinsic_{kind}.txt"))
        return sorted(there.values(), key=natural_order)

    def frame(self, number: int) -> Frame:
        color = self.colors[number]
        pose_file = self.path / "pose" / f"{color.stem}.txt"
        T_world_cam = self.in_metres(matrix(pose_file, 4), str(pose_file))
        rgb = decoded(color, color_image)
        camera = self._camera("color", rgb.shape)
        depth_m = self.measured(self.path / "depth" / f"{color.stem}.png")
        depth_m = resampled(depth_m, self._camera("depth", depth_m.shape), camera)
        try:
            return Frame(rgb, depth_m, camera, T_world_cam, FIRST_NS + number * STEP_NS, None, self.camera)
        except InputError as error:
            raise InputError(error.code, f"{color}: {error.message}") from None

    def _camera(self, kind: str, shape: tuple[int, ...]) -> CameraIntrinsics:
        return pinhole(self._K[kind], shape[1], shape[0], self._files[kind])

    def _calibration(self, kind: str) -> Path:
        exported = self.path / "intrinsic" / f"intrinsic_{kind}.txt"
        of_25k = self.path / f"intrinsics_{kind}.txt"
        return of_25k if of_25k.is_file() and not exported.exists() else exported

    def _check_extrinsics(self, file: Path) -> None:
        if not file.exists():
            return
        if not np.allclose(matrix(file, 4), np.eye(4), atol=1e-3):
            raise InputError(
                ErrorCode.INTRINSICS_INVALID,
                f"{file} is not the identity: colour and depth were taken from two places, which is not read; accepted "
                "is depth from where colour was taken",
            )
