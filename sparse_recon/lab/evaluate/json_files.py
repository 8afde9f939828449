"""JSON and text files of an evaluation: the same bytes for the same content, written whole, read with suspicion."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.files.atomic import whole_file


def read_json(path: Path, what: str, format_number: int) -> dict[str, Any]:
    """Read a JSON file of ours with a format number, without values that JSON has not.

    Raises
    ------
    FileError
        INPUT_MISSING.
    """
    try:
        content = loaded(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"no {what} in {path}: {error.strerror or error}; name a file that is there"
        ) from error
    except ValueError as error:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{path} holds no {what}: it is not JSON ({error}); it may be of another program"
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != format_number:
        raise FileError(
            ErrorCode.INPUT_MISSING,
            f"{path} holds no {what} of format {format_number}, found {'none' if found is None else found}; "
            "write it again with this version",
        )
    return dict(content)


def write_text(path: Path, text: str, what: str) -> None:
    """Write a text file whole or not at all; FileError DISK_FULL or OUTPUT_UNWRITABLE."""
    with whole_file(Path(path), what) as new:
        new.write_text(text, encoding="utf-8")


def dumped(value: Any) -> str:
    """Return JSON that is the same for the same value: sorted names, no spaces, every digit, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def loaded(text: str) -> Any:
    """Parse JSON; ValueError also for NaN and infinities, which Python would take."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def check_fields(record: Any, of: type, what: str, also: tuple[str, ...] = ()) -> None:
    """Raise ValueError if a record has not the fields of a dataclass, and those of `also`, and no others."""
    names = {*of.__dataclass_fields__, *also}  # type: ignore[attr-defined]
    if not isinstance(record, dict):
        raise ValueError(f"{what} must be an object of {', '.join(sorted(names))}")
    if missing := sorted(names - set(record)):
        raise ValueError(f"{what} lacks {', '.join(missing)}")
    if unknown := sorted(set(record) - names):
        raise ValueError(f"{what} has unknown fields {', '.join(unknown)}")


def check_types(record: Mapping[str, Any], names: Iterable[str], kind: type, what: str) -> None:
    """Raise ValueError if one of the named fields is of another type."""
    for name in names:
        if not isinstance(record[name], kind) or isinstance(record[name], bool):
            raise ValueError(f"{name} of {what} must be of type {kind.__name__}, got {record[name]!r}")
