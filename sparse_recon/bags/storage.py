"""Recordings on disk: folders, single files and compressed files, sound or damaged, behind one small interface."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import yaml

from sparse_recon.bags.channels import Channel
from sparse_recon.bags.decompression import (
    MAX_CHUNK_BYTES,
    MAX_FILE_BYTES,
    Undecompressable,
    decompressed,
    decompressed_pieces,
)
from sparse_recon.bags.salvage import SalvagedMcap
from sparse_recon.bags.sqlite_file import SalvagedSqlite, check_tables, write_ahead_log
from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.files.atomic import file_errors

_MAX_METADATA_BYTES = 2_000_000
# Images of nothing shrink to a thousandth; small files may grow to this.
_FREE_BYTES, _MOST_GROWTH = 1 << 28, 1000
_URI_MARKS = "%?#"  # rosbags writes names into a URI as they are, and opens other files
_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")


class Storage(Protocol):
    """A recording that is open. `damage` is empty, or says after reading why it ended too early."""

    channels: tuple[Channel, ...]
    damage: str

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, log time in ns, serialised message) of the topics, in the order of recording."""

    def close(self) -> None:
        """Release files."""


def open_storage(path: Path) -> Storage:
    """Open a rosbag2 folder or one of its files.

    Parameters
    ----------
    path : folder with metadata.yaml, folder of storage files without it (the recorder was killed), or a file
        ending in .mcap, .db3, .mcap.zstd or .db3.zstd.

    Raises
    ------
    FileError
        INPUT_MISSING if nothing is there, BAG_UNREADABLE if it is no ROS 2 bag or nothing of it can be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} does not exist; name a ROS 2 bag folder, .mcap or .db3 file")
    if path.is_file():
        return _opened_file(path)
    files, why = _recorded_files(path)
    if not files:
        raise FileError(
            ErrorCode.BAG_UNREADABLE,
            f"{path} is not a readable ROS 2 bag: {why}, and no {', '.join(_SUFFIXES)} file lies in it{_hint(path)}",
        )
    return _several(files, why)


def _recorded_files(folder: Path) -> tuple[list[Path], str]:
    """Return the files of a recording in their order, and what is wrong with its metadata."""
    there = sorted((f for f in folder.iterdir() if f.name.endswith(_SUFFIXES)), key=natural_order)
    metadata = folder / "metadata.yaml"
    if not metadata.is_file():
        return there, "metadata.yaml is missing"
    try:
        if metadata.stat().st_size > _MAX_METADATA_BYTES:
            raise ValueError(f"it has {metadata.stat().st_size} bytes")
        # Text alone: what else YAML can make of it may take any time.
        document = yaml.load(metadata.read_text(encoding="utf-8"), yaml.BaseLoader)
        listed = [
            folder / Path(str(name)).name for name in document["rosbag2_bagfile_information"]["relative_file_paths"]
        ]
    except Exception as error:  # of the file, of YAML, or of what is in it
        return there, f"metadata.yaml cannot be used: {str(error) or type(error).__name__}"
    found = [file for file in dict.fromkeys(listed) if file.name.endswith(_SUFFIXES) and file.exists()]
    if len(found) < len(listed) or not found:
        return there, "some files that metadata.yaml names are missing"
    return found, ""


def _several(files: Sequence[Path], why: str) -> _Several:
    """Open what can be read; a recorder that was killed often leaves its last file empty."""
    parts: list[Storage] = []
    failed: list[FileError] = []
    with ExitStack() as stack:
        for file in files:
            try:
                part = _opened_file(file)
            except FileError as error:
                if error.code is not ErrorCode.BAG_UNREADABLE:
                    raise
                failed.append(error)
            else:
                stack.callback(part.close)
                parts.append(part)
        if not parts:
            raise failed[0]
        opened = _Several(parts, "; ".join(filter(None, [why, *(error.message for error in failed)])))
        stack.pop_all()
    return opened


def _hint(folder: Path) -> str:
    """Return what a folder holds instead of a recording, and which command takes it."""
    if any(folder.glob("*.color.*")):
        return f"; its frames are read by: sparse_recon complete {folder}"
    some = ", ".join(sorted(path.name for path in folder.iterdir())[:5])
    return f"; it holds {some or 'nothing'}"


class _Sound:
    """A file that the rosbags library reads."""

    def __init__(self, path: Path) -> None:
        from rosbags.interfaces import MessageDefinitionFormat as Format
        from rosbags.rosbag2 import Reader

        _bound_chunks()
        self.damage = ""
        self._reader = Reader(path)
        self._reader.open()
        if path.suffix == ".mcap" and not _indexed(self._reader.storage):
            self._reader.close()
            raise ValueError(f"{path} has no index of all its messages")
        forms = {Format.MSG: "ros2msg", Format.IDL: "ros2idl"}
        self.channels = tuple(
            Channel(
                c.topic,
                c.msgtype,
                c.msgdef.data,
                forms.get(c.msgdef.format, ""),
                c.msgcount,
                _offered_qos(c),
                str(getattr(c.ext, "serialization_format", "")),
            )
            for c in self._reader.connections
        )

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        wanted = [c for c in self._reader.connections if c.topic in topics]
        if not wanted:
            return
        try:
            for connection, log_ns, data in self._reader.messages(connections=wanted):
                yield connection.topic, log_ns, data
        except GeneratorExit:
            raise
        except Exception as error:  # rosbags raises errors of many libraries on damaged input
            self.damage = str(error) or type(error).__name__

    def close(self) -> None:
        self._reader.close()


def _indexed(mcap: Any) -> bool:
    """Return whether an index leads to all messages: rosbags passes over others, or wants them in the order of time."""
    return sum(sum(chunk.channel_count.values()) for chunk in mcap.chunks) == mcap.statistics.message_count > 0


def _bound_chunks() -> None:
    """Let rosbags decompress no chunk beyond what it states: by itself it takes whatever the data grow to."""
    from rosbags.rosbag2 import storage_mcap

    for compression in storage_mcap.DECOMPRESSORS.keys() & {"lz4", "zstd"}:
        storage_mcap.DECOMPRESSORS[compression] = partial(_chunk, compression)


def _chunk(compression: str, data: bytes, stated_bytes: int) -> bytes:
    return decompressed(data, limit_bytes=min(stated_bytes, MAX_CHUNK_BYTES), compression=compression)


def _offered_qos(connection: Any) -> tuple[Any, ...]:
    return tuple(getattr(connection.ext, "offered_qos_profiles", ()))


class _Several:
    """The files of a folder, one after the other."""

    def __init__(self, parts: Sequence[Storage], damage: str) -> None:
        self._parts = parts
        self._own_damage = self.damage = damage
        merged: dict[str, Channel] = {}
        for channel in (c for part in parts for c in part.channels):
            before = merged.get(channel.topic)
            merged[channel.topic] = channel if before is None else _merged(before, channel)
        self.channels = tuple(merged.values())

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        for part in self._parts:
            yield from part.messages(topics)
        self.damage = "; ".join(filter(None, [self._own_damage, *(part.damage for part in self._parts)]))

    def close(self) -> None:
        for part in self._parts:
            part.close()


def _merged(one: Channel, other: Channel) -> Channel:
    count = one.count + other.count if min(one.count, other.count) >= 0 else -1
    new_qos = tuple(qos for qos in other.offered_qos if qos not in one.offered_qos)
    return replace(one, count=count, offered_qos=one.offered_qos + new_qos)


class _Unpacked:
    """A file that was decompressed as a whole into a temporary folder."""

    def __init__(self, path: Path) -> None:
        with ExitStack() as stack:
            with file_errors(Path(tempfile.gettempdir()), "the decompressed recording"):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sparse_recon_bag_")))
            self.damage = _decompress_file(path, folder / path.stem)
            self._inner = _opened_file(folder / path.stem)
            stack.callback(self._inner.close)
            self.channels = self._inner.channels
            self._stack = stack.pop_all()

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        yield from self._inner.messages(topics)
        self.damage = self.damage or self._inner.damage

    def close(self) -> None:
        self._stack.close()


def _opened_file(path: Path) -> Storage:
    if path.suffix == ".zstd":
        return _Unpacked(path)
    if path.suffix not in (".mcap", ".db3"):
        hint = "; convert it with: rosbags-convert --src FILE --dst FOLDER" if path.suffix == ".bag" else ""
        raise FileError(
            ErrorCode.BAG_UNREADABLE, f"{path} is not a ROS 2 recording; accepted are {', '.join(_SUFFIXES)}{hint}"
        )
    if path.suffix == ".db3":
        check_tables(path)
        if write_ahead_log(path) is not None or any(mark in str(path.resolve()) for mark in _URI_MARKS):
            return SalvagedSqlite(path)
    try:
        return _Sound(path)
    except Exception:  # rosbags raises errors of many libraries on damaged input, and we on one without an index
        return SalvagedMcap(path) if path.suffix == ".mcap" else SalvagedSqlite(path)


def _decompress_file(source: Path, target: Path) -> str:
    """Write what can be decompressed; return why it ended early, or nothing.

    Raises
    ------
    FileError
        BAG_UNREADABLE if `source` cannot be read, DISK_FULL or OUTPUT_UNWRITABLE if `target` cannot be written.
    """
    try:
        packed = source.open("rb")
    except OSError as error:
        raise FileError(
            ErrorCode.BAG_UNREADABLE, f"{source} cannot be opened: {error.strerror or error}; check permissions"
        ) from error
    with packed, file_errors(target, "the decompressed recording"), target.open("wb") as out:
        try:
            limit_bytes = min(MAX_FILE_BYTES, _FREE_BYTES + _MOST_GROWTH * source.stat().st_size)
            for piece in decompressed_pieces(packed, limit_bytes=limit_bytes):
                out.write(piece)
        except Undecompressable as error:
            return str(error)
    return ""


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Key that sorts `bag_10.mcap` after `bag_9.mcap`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
