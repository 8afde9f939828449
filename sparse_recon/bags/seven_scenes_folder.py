"""Sequences of 3DMatch (Zeng et al. 2017) and 7-Scenes (Shotton et al. 2013)."""

from __future__ import annotations

from pathlib import Path

from sparse_recon.bags.frames_dir import FramesFolder
from sparse_recon.errors import ErrorCode, FileError

_K_FILE = "camera-intrinsics.txt"


class SevenScenesFolder(FramesFolder):
    """`frame-000000.color.png`, `.depth.png` in millimetres, 65535 where nothing was measured, and `.pose.txt`.

    `camera-intrinsics.txt`, the 3 x 3 pinhole matrix, lies beside them or, for all sequences of a scene, above them.
    """

    layout = f"3DMatch / 7-Scenes (frame-000000.color.png, .depth.png, .pose.txt, {_K_FILE})"
    unmeasured = 65535

    @staticmethod
    def recognised(path: Path) -> str:
        if (path / "intrinsics.K.txt").exists() or not any(path.glob("*.color.*")):
            return ""
        named = "frame-*.color.png"
        above = any((folder / _K_FILE).is_file() for folder in (path, path.parent))
        return _K_FILE if above else named if any(path.glob(named)) else ""

    def intrinsics_file(self) -> Path:
        for folder in (self.path, self.path.absolute().parent):
            if (folder / _K_FILE).is_file():
                return folder / _K_FILE
        raise FileError(
            ErrorCode.INPUT_MISSING,
            f"{self.path / _K_FILE} is missing, here and one folder above; it must hold 3x3 numbers. 7-Scenes come "
            "without: their depth camera is given as fx = fy = 585, cx = 320, cy = 240, and colour is not registered "
            "to it, so that colours are off by some pixels",
        )
