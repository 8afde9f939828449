"""Where the files beside the code lie: interface definitions, configurations, weights."""

from __future__ import annotations

from pathlib import Path

from sparse_recon.errors import ErrorCode, FileError

PACKAGE = "sparse_recon"


def share_folder(name: str) -> Path:
    """Find a folder such as `msg`, `config` or `models` in the source tree, a colcon install or a pip install.

    An installed package keeps it in `share/sparse_recon` of its prefix; a source tree beside `package.xml`.

    Raises
    ------
    FileError
        If neither place has it.
    """
    here = Path(__file__).absolute().parents[1]
    if (here.parent / "package.xml").is_file():
        candidates = [here.parent / name]
    else:
        candidates = [parent / "share" / PACKAGE / name for parent in here.parents]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise FileError(
        ErrorCode.INPUT_MISSING,
        f"folder {name} of {PACKAGE} was not found beside {here} nor in share/{PACKAGE} of the folders above; "
        "the installation is incomplete: install the package again",
    )
