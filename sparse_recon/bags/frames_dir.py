"""Folders of `NAME.color.png`, `NAME.depth.png`, `NAME.pose.txt` and `intrinsics.K.txt`, as research data come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sparse_recon.bags.posed_files import FIRST_NS, STEP_NS, PosedFiles, decoded, matrix, orthonormal
from sparse_recon.bags.storage import natural_order
from sparse_recon.errors import ErrorCode, FileError, InputError, listed
from sparse_recon.frames.images import color_image, label_image
from sparse_recon.types import CameraIntrinsics, Frame


class FramesFolder(PosedFiles):
    """Posed RGB-D frames in files.

    Files of one frame share a name: `NAME.color.png` or `.jpg` (8 bit), `NAME.depth.png` (16 bit, 0 invalid,
    millimetres or `depth.unit_m`), `NAME.pose.txt` (4 x 4 camera-to-world, row major, metres), and optionally
    `NAME.labels.png`.
    `intrinsics.K.txt` holds the 3 x 3 pinhole matrix; `NAME.K.txt` overrides it for one frame. Files carry no time:
    frames are stamped 0.1 s apart in the order of their names, numbers by their value.
    """

    layout = "frames (NAME.color.png, NAME.depth.png, NAME.pose.txt, intrinsics.K.txt)"

    def found(self) -> Sequence[Path]:
        colors = [*self.path.glob("*.color.png"), *self.path.glob("*.color.jpg")]
        if not colors:
            some = listed(sorted(p.name for p in self.path.iterdir()), 8) or "nothing"
            raise FileError(
                ErrorCode.INPUT_MISSING,
                f"{self.path} holds no *.color.png or *.color.jpg; it holds {some}. Accepted are NAME.color.png, "
                "NAME.depth.png, NAME.pose.txt and intrinsics.K.txt, or rgb.txt, depth.txt and groundtruth.txt (TUM "
                f"RGB-D), or transforms.json (nerfstudio){self._hint()}",
            )
        return sorted(colors, key=natural_order)

    def _hint(self) -> str:
        recorded = any(path.suffix in (".mcap", ".db3") for path in self.path.iterdir())
        return f"; a recording is read by: sparse_recon replay {self.path}" if recorded else ""

    def frame(self, number: int) -> Frame:
        color, stamp_ns = self.colors[number], FIRST_NS + number * STEP_NS
        name = re.sub(r"\.color\.(png|jpg)$", "", color.name)
        files = {kind: self.path / f"{name}.{kind}" for kind in ("depth.png", "pose.txt", "labels.png", "K.txt")}
        rgb = decoded(color, color_image)
        K_file = files["K.txt"] if files["K.txt"].exists() else self.path / "intrinsics.K.txt"
        depth_m = labels = None
        if files["depth.png"].exists():
            depth_m = self.measured(files["depth.png"])
        if files["labels.png"].exists():
            labels = decoded(files["labels.png"], label_image)
        K, T_world_cam = matrix(K_file, 3), orthonormal(matrix(files["pose.txt"], 4))
        try:
            intrinsics = CameraIntrinsics(rgb.shape[1], rgb.shape[0], K)
            return Frame(rgb, depth_m, intrinsics, T_world_cam, stamp_ns, labels, self.camera)
        except InputError as error:
            raise InputError(error.code, f"{color}: {error.message}") from None
