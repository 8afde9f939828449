"""Which layout a folder of posed frames has."""

from __future__ import annotations

from pathlib import Path

from sparse_recon.bags.frames_dir import FramesFolder
from sparse_recon.bags.nerfstudio_folder import NAME, NerfstudioFolder
from sparse_recon.bags.posed_files import PosedFiles
from sparse_recon.bags.tum_folder import TumFolder
from sparse_recon.config.session_config import DepthConfig
from sparse_recon.inputs.files import check_folder

LAYOUTS: dict[str, type[PosedFiles]] = {"frames": FramesFolder, "tum": TumFolder, "nerfstudio": NerfstudioFolder}


def open_folder(path: Path, depth: DepthConfig | None = None, layout: str = "") -> PosedFiles:
    """Open a folder of posed frames.

    Parameters
    ----------
    depth : range of valid depth, and its unit where it is not that of the layout.
    layout : one of `LAYOUTS`; empty for a guess from the names of the files.

    Raises
    ------
    FileError, InputError
        If its files are missing, or are not what the layout says.
    """
    path = Path(path)
    check_folder(path, "a folder of frames, such as one with *.color.png files")
    if not layout and not any(path.glob("*.color.*")):
        marks = {"nerfstudio": (NAME,), "tum": ("rgb.txt", "depth.txt", "groundtruth.txt")}
        layout = next((name for name, files in marks.items() if all((path / f).is_file() for f in files)), "")
    return LAYOUTS[layout or "frames"](path, depth)
