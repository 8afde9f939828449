"""Which layout a folder of posed frames has."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sparse_recon.bags.bop_scene import BopScene
from sparse_recon.bags.colmap_folder import ColmapFolder
from sparse_recon.bags.frames_dir import FramesFolder
from sparse_recon.bags.nerfstudio_folder import NerfstudioFolder
from sparse_recon.bags.posed_files import PosedFiles
from sparse_recon.bags.scannet_folder import ScanNetFolder
from sparse_recon.bags.seven_scenes_folder import SevenScenesFolder
from sparse_recon.bags.storage import natural_order
from sparse_recon.bags.tum_folder import TumFolder
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, clipped, listed
from sparse_recon.inputs.files import check_folder, shown, what_is_there

LAYOUTS: dict[str, type[PosedFiles]] = {
    "frames": FramesFolder,
    "tum": TumFolder,
    "nerfstudio": NerfstudioFolder,
    "bop": BopScene,
    "scannet": ScanNetFolder,
    "3dmatch": SevenScenesFolder,
    "colmap": ColmapFolder,
}
_LEVELS, _SUBFOLDERS, _NAMED = 2, 100, 3  # how deep and how far frames are looked for, and how many places are named
# What lies in folders that some tool makes into frames.
_OTHERS = {
    ("*.mcap", "*.db3"): "a recording is read by: sparse_recon replay {}",
    ("*.sens",): "a .sens file of ScanNet is exported first, by the reader.py of its SensReader with all its --export_ "
    "options",
    ("*.camera.json", "key_to_shard.json"): "BOP's webdataset and image-wise formats are not read; bop_toolkit "
    "describes the scene-wise one, which is",
}


def open_folder(path: Path, depth: DepthConfig | None = None, layout: str = "", pose_unit_m: float = 0.0) -> PosedFiles:
    """Open a folder of posed frames.

    Parameters
    ----------
    depth : range of valid depth, and its unit where it is not that of the layout.
    layout : one of `LAYOUTS`; empty for a guess from the names of the files.
    pose_unit_m : metres that a unit of the poses is; 0 for that of the layout.

    Raises
    ------
    FileError, InputError
        If its files are missing, or are not what the layout says; USAGE if it could have several layouts.
    """
    path = Path(path)
    check_folder(path, "a folder of frames")
    return LAYOUTS[layout or _guessed(path)](path, depth, pose_unit_m)


def _recognised(path: Path) -> dict[str, str]:
    """Return the layouts that a folder can have, the most special of a family, with the files that show it."""
    marks = {name: mark for name, kind in LAYOUTS.items() if (mark := kind.recognised(path))}
    special = [LAYOUTS[name].__mro__[1] for name in marks]
    return {name: mark for name, mark in marks.items() if LAYOUTS[name] not in special}


def _guessed(path: Path) -> str:
    marks = _recognised(path)
    if len(marks) == 1:
        return next(iter(marks))
    if marks:
        found = " and ".join(f"{name} ({clipped(mark)})" for name, mark in marks.items())
        raise FileError(ErrorCode.USAGE, f"{shown(path)} could have several formats: {found}; name one with --format")
    some = listed(sorted(p.name for p in islice(path.iterdir(), 1000)), 8) or "nothing"
    accepted = ", ".join(kind.layout for kind in LAYOUTS.values())
    below = [shown(folder) for folder in islice(_frames_below(path), _NAMED)]
    hints = [hint.format(shown(path)) for patterns, hint in _OTHERS.items() if any(any(path.glob(p)) for p in patterns)]
    if below:
        hints.append(f"there are frames in folders below: name one of them, such as {' or '.join(below)}")
    raise FileError(
        ErrorCode.INPUT_MISSING,
        f"{shown(path)} holds no frames{''.join(f'; {hint}' for hint in hints)}; it holds {some}. "
        f"Accepted are {accepted}",
    )


def _frames_below(path: Path, levels: int = _LEVELS) -> Iterator[Path]:
    """Yield the folders below that have a layout."""
    there = (p for p in islice(path.iterdir(), 10 * _SUBFOLDERS) if what_is_there(p) == "is a folder")
    for folder in sorted(there, key=natural_order)[:_SUBFOLDERS]:
        if _recognised(folder):
            yield folder
        elif levels > 1:
            yield from _frames_below(folder, levels - 1)
