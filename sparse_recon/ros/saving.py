"""Completed objects into a folder that a request names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sparse_recon.errors import (
    CancelledError,
    ErrorCode,
    EvidenceError,
    FileError,
    InputError,
    clipped,
    quoted,
)
from sparse_recon.files.atomic import file_errors
from sparse_recon.files.locks import only_writer
from sparse_recon.files.named_paths import path_of
from sparse_recon.files.results import write_results
from sparse_recon.requests import RejectedCandidate
from sparse_recon.types import CompletedObject


def save_objects(
    completed: Mapping[str, CompletedObject],
    folder: str,
    object_ids: Sequence[str],
    overwrite: bool,
    cancelled: Callable[[], bool],
    rejected: Sequence[RejectedCandidate] = (),
) -> list[Path]:
    """Write objects to files, each once however often it is named; return the paths.

    Parameters
    ----------
    completed : all that there are, by id.
    folder : begins with / or ~; made if it is missing.
    object_ids : those that are wanted; all where there are none.
    overwrite : replace folders of these names.
    cancelled : asked before each object.
    rejected : what was seen beside the objects and is not listed.

    Raises
    ------
    InputError
        USAGE if the folder is none that can be, or relative.
    EvidenceError
        OBJECT_NOT_FOUND if an object is not among them; nothing is written then.
    FileError
        OUTPUT_UNWRITABLE, DISK_FULL, or BUSY while another process writes there.
    CancelledError
        If it was cancelled.
    """
    target = _absolute(folder)
    wanted = list(dict.fromkeys(object_ids)) or list(completed)
    missing = [name for name in wanted if name not in completed]
    if missing or not wanted:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_FOUND,
            f"not completed yet: {clipped(', '.join(missing)) or 'any object'}; completed are "
            f"{clipped(', '.join(completed)) or 'none'}: call complete first",
        )
    paths: list[Path] = []
    with file_errors(target, "results"):
        target.mkdir(parents=True, exist_ok=True)
        with only_writer(target, "results"):
            older = [name for name in wanted if (target / name).exists()]
            if older and not overwrite:
                held = f"{clipped(str(target))} already holds {clipped(', '.join(older))}"
                raise FileError(ErrorCode.OUTPUT_UNWRITABLE, f"{held}; set overwrite or name another")
            for name in wanted:
                if cancelled():
                    raise CancelledError(ErrorCode.CANCELLED, f"cancelled after {len(paths)} files were written")
                written = write_results(completed[name], target, rejected)
                paths += sorted(path for path in written.rglob("*") if path.is_file())
    return paths


def _absolute(folder: str) -> Path:
    if not folder:
        raise InputError(
            ErrorCode.USAGE, "the request names no folder and parameter save_folder is empty; set one of them"
        )
    target = path_of(folder)
    if not target.is_absolute():
        raise InputError(
            ErrorCode.USAGE,
            f"the folder {quoted(folder)} is relative to wherever the node was started; begin it with / or ~",
        )
    return target
