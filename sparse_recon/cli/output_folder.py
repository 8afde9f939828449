"""The folder of a run's results: whether it may be used, and what an earlier run left in it."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sparse_recon.bags.writer import OBJECTS_TOPIC
from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.files.atomic import check_writable, remove_whole
from sparse_recon.files.locks import only_writer
from sparse_recon.files.unfinished import remove_left

BAG_NAME = "completed_bag"
_OBJECT_NAME = re.compile(r"(object|box)_\d+")  # ids that a session gives


@contextmanager
def output_folder(out: Path, overwrite: bool) -> Iterator[None]:
    """Make the output folder, see that it can be written before anything is read, and keep other runs out of it.

    Raises
    ------
    FileError
        OUTPUT_UNWRITABLE or DISK_FULL; BUSY while another run writes into it; USAGE if it holds results, or anything
        else under the names that results take, and `overwrite` is False.
    """
    check_writable(out, "results")
    with only_writer(out, "results"):
        remove_left(out)
        if not overwrite:
            _check_unused(out)
        yield


def _check_unused(out: Path) -> None:
    if older := earlier_results(out):
        raise FileError(
            ErrorCode.USAGE, f"{out} already holds results ({_some(older)}); name another folder or add --overwrite"
        )
    if foreign := foreign_content(out):
        raise FileError(
            ErrorCode.USAGE,
            f"{out} holds {_some(foreign)}, which no earlier run wrote and this one may replace; name another folder "
            "or add --overwrite",
        )


def earlier_results(out: Path) -> list[Path]:
    """Return the folders of objects that an earlier run wrote."""
    return sorted(path.parent for path in out.glob("*/quality.json") if (path.parent / "cloud.ply").is_file())


def foreign_content(out: Path) -> list[Path]:
    """Return what has a name that results take, but was not written by a run."""
    ours = earlier_results(out)
    objects = [path for path in out.glob("*_*") if _OBJECT_NAME.fullmatch(path.name) and path not in ours]
    bag = out / BAG_NAME
    return [*sorted(objects), *([bag] if bag.exists() and OBJECTS_TOPIC not in _metadata(bag) else [])]


def remove_earlier(out: Path, written: Container[Path | None]) -> None:
    """Remove the objects of an earlier run but those that this one has written."""
    for folder in earlier_results(out):
        if folder not in written and _OBJECT_NAME.fullmatch(folder.name):
            remove_whole(folder, "the result of an earlier run")


def _metadata(bag: Path) -> str:
    try:
        return (bag / "metadata.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _some(paths: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in paths[:5])
    return names + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
