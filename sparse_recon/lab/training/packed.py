"""Shards: files of a header in JSON and compressed records, each file written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sparse_recon.errors import ErrorCode, FileError

_MAX_HEADER_BYTES = 16_000_000
_MAGIC_BYTES, _LENGTH_BYTES = 8, 8


def write_packed(path: Path, magic: bytes, header: Mapping[str, Any], blobs: Sequence[bytes]) -> None:
    """Write a header and records into one file; a killed writer leaves no file.

    Raises
    ------
    FileError
        OUTPUT_UNWRITABLE if the file cannot be written.
    """
    text = json.dumps(header).encode()
    partial = path.with_suffix(f".partial{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.writelines([magic, len(text).to_bytes(_LENGTH_BYTES, "little"), text, *blobs])
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise FileError(ErrorCode.OUTPUT_UNWRITABLE, f"{path} cannot be written: {error.strerror or error}") from error


def read_header(path: Path, magic: bytes, layout: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the header of a shard and the byte at which its records begin.

    Parameters
    ----------
    layout : entries that the header must have.

    Raises
    ------
    FileError
        INPUT_MISSING if a shard cannot be read, or is no shard of this layout.
    """
    try:
        with path.open("rb") as file:
            found, length = file.read(_MAGIC_BYTES), int.from_bytes(file.read(_LENGTH_BYTES), "little")
            known = found == magic and length <= _MAX_HEADER_BYTES
            header = json.loads(file.read(length)) if known else {}
    except (OSError, ValueError) as error:
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} cannot be read: {error}; generate it again") from error
    if {name: header.get(name) for name in layout} != layout:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{path} holds no samples of this version; delete it and generate it again"
        )
    return header, _MAGIC_BYTES + _LENGTH_BYTES + length


def read_record(path: Path, start: int, size: int, most_bytes: int) -> bytes:
    """Return one record, unpacked.

    Raises
    ------
    FileError
        INPUT_MISSING if the file is gone, cut off or damaged.
    """
    zstd = load_zstd()
    try:
        with path.open("rb") as file:
            file.seek(start)
            data: bytes = zstd.ZstdDecompressor().decompress(file.read(size), max_length=most_bytes)
    except (OSError, zstd.ZstdError) as error:
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} is damaged: {error}; generate it again") from error
    return data


def load_zstd() -> Any:
    """Return the module that compresses records."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        from backports import zstd
    return zstd
