"""Recordings on disk: folders, single files and compressed files, sound or damaged, behind one small interface."""

from __future__ import annotations

import re
import shutil
import struct
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from sparse_recon.bags.channels import Channel
from sparse_recon.bags.decompression import (
    FREE_BYTES,
    MAX_FILE_BYTES,
    MOST_GROWTH,
    Undecompressable,
    decompressed_pieces,
)
from sparse_recon.bags.indexed_mcap import IndexedMcap
from sparse_recon.bags.mcap_records import Cut
from sparse_recon.bags.salvage import SalvagedMcap
from sparse_recon.bags.sqlite_file import SqliteFile
from sparse_recon.errors import ErrorCode, FileError, clipped
from sparse_recon.files.atomic import file_errors
from sparse_recon.files.unfinished import MADE, own_folder
from sparse_recon.inputs.files import check_file, open_file, read_bytes, shown, what_is_there
from sparse_recon.inputs.yaml_text import MAX_CHARACTERS, parse_yaml

_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
_TOLD = 5  # files of which the damage is told one by one


class Storage(Protocol):
    """A recording that is open.

    `damage` is empty, or says after reading why it ended too early; `note` is empty, or says what is wrong with it
    though nothing is lost. Files are open only while messages are read: a recording may have any number of them.
    """

    channels: tuple[Channel, ...]
    damage: str
    note: str

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
        INPUT_MISSING if nothing is there, or neither a folder nor a file, BAG_UNREADABLE if it is no ROS 2 bag or
        nothing of it can be read.
    """
    path = Path(path)
    what = "a ROS 2 bag: a folder, or a .mcap or .db3 file"
    if what_is_there(path) != "is a folder":
        check_file(path, what)
        with ExitStack() as stack:
            room = _Room()
            stack.callback(room.close)
            opened = _opened_file(path, room)
            stack.pop_all()
        return opened
    found = _recorded_files(path)
    if not found.files:
        why = found.damage or found.note
        raise FileError(
            ErrorCode.BAG_UNREADABLE,
            f"{shown(path)} is not a readable ROS 2 bag: {why}, and no {', '.join(_SUFFIXES)} file lies in it"
            f"{_hint(path)}",
        )
    return _several(found)


@dataclass(frozen=True)
class _Recorded:
    """The files of a recording in their order, what is missing of it, and what else is to be told."""

    files: Sequence[Path]
    damage: str = ""
    note: str = ""


def _recorded_files(folder: Path) -> _Recorded:
    there = sorted((f for f in folder.iterdir() if f.name.endswith(_SUFFIXES)), key=natural_order)
    metadata = folder / "metadata.yaml"
    try:
        if what_is_there(metadata) == "does not exist":
            return _Recorded(there, _gaps(there), "metadata.yaml is missing, as a killed recorder leaves it")
        text = read_bytes(metadata, "the metadata of a recording", MAX_CHARACTERS).decode("utf-8")
        document = parse_yaml(text, texts_only=True)
        listed = [
            folder / Path(str(name)).name for name in document["rosbag2_bagfile_information"]["relative_file_paths"]
        ]
    except Exception as error:  # of the file, of YAML, or of what is in it
        why = clipped(str(error) or type(error).__name__)
        return _Recorded(there, _gaps(there), f"metadata.yaml cannot be used: {why}")
    found = [f for f in dict.fromkeys(listed) if f.name.endswith(_SUFFIXES) and what_is_there(f) != "does not exist"]
    if len(found) < len(listed) or not found:
        return _Recorded(there, "some files that metadata.yaml names are missing")
    return _Recorded(found)


def _gaps(files: Sequence[Path]) -> str:
    """Return which files are missing between others of a recording: they are named NAME_0, NAME_1 and so on."""
    numbers: dict[str, list[int]] = {}
    for file in files:
        if match := re.fullmatch(r"(.*)_([0-9]{1,9})", file.name.partition(".")[0]):
            numbers.setdefault(match[1], []).append(int(match[2]))
    lacking = [f"{name}_{k}" for name, found in numbers.items() for k in _between(found)]
    return f"{len(lacking)} files are missing, such as {clipped(lacking[0])}" if lacking else ""


def _between(numbers: Sequence[int]) -> list[int]:
    """Return numbers that lack between two others, a few of them."""
    pairs = pairwise(sorted(set(numbers)))
    return [k for before, after in pairs for k in range(before + 1, min(after, before + 100))]


def _several(recorded: _Recorded) -> _Several:
    """Open what can be read; a recorder that was killed often leaves its last file empty."""
    parts: list[Storage] = []
    failed: list[FileError] = []
    with ExitStack() as stack:
        room = _Room()
        stack.callback(room.close)
        for file in recorded.files:
            try:
                part = _opened_file(file, room)
            except FileError as error:
                if error.code not in (ErrorCode.BAG_UNREADABLE, ErrorCode.INPUT_MISSING):
                    raise
                failed.append(error)
            else:
                stack.callback(part.close)
                parts.append(part)
        if not parts:
            raise failed[0]
        losses = [recorded.damage, *(error.message for error in failed[:_TOLD])]
        losses += [f"and {len(failed) - _TOLD} more"] if len(failed) > _TOLD else []
        opened = _Several(parts, "; ".join(filter(None, losses)), recorded.note)
        stack.pop_all()
    return opened


def _hint(folder: Path) -> str:
    """Return what a folder holds instead of a recording, and which command takes it."""
    if any(folder.glob("*.color.*")):
        return f"; its frames are read by: sparse_recon complete {shown(folder)}"
    some = ", ".join(clipped(name) for name in sorted(path.name for path in folder.iterdir())[:5])
    return f"; it holds {some or 'nothing'}"


class _Several:
    """The files of a folder, one after the other."""

    def __init__(self, parts: Sequence[Storage], damage: str, note: str) -> None:
        self._parts = parts
        self._own_damage = self.damage = damage
        self.note = note
        merged: dict[str, Channel] = {}
        for channel in (c for part in parts for c in part.channels):
            before = merged.get(channel.topic)
            merged[channel.topic] = channel if before is None else _merged(before, channel)
        self.channels = tuple(merged.values())

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        for part in self._parts:
            yield from part.messages(topics)
        damages = [part.damage for part in self._parts if part.damage]
        more = [f"and {len(damages) - _TOLD} more"] if len(damages) > _TOLD else []
        self.damage = "; ".join(filter(None, [self._own_damage, *damages[:_TOLD], *more]))

    def close(self) -> None:
        for part in self._parts:
            part.close()


def _merged(one: Channel, other: Channel) -> Channel:
    count = one.count + other.count if min(one.count, other.count) >= 0 else -1
    new_qos = tuple(qos for qos in other.offered_qos if qos not in one.offered_qos)
    return replace(one, count=count, offered_qos=one.offered_qos + new_qos)


class _Room:
    """The temporary folder of a recording whose files are unpacked, made for the first of them.

    That of a process that was killed goes when the next one is made.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._made: Path | None = None
        self._count = 0

    def folder(self) -> Path:
        """Return a new folder for a file; FileError DISK_FULL or OUTPUT_UNWRITABLE."""
        temporary = Path(tempfile.gettempdir())
        with file_errors(temporary, "the decompressed recording"):
            if self._made is None:
                self._made = self._stack.enter_context(own_folder(temporary)) / MADE
            self._count += 1
            new = self._made / str(self._count)
            new.mkdir()
        return new

    def close(self) -> None:
        """Remove it, if it is still there."""
        self._stack.close()


class _Unpacked:
    """A file that was decompressed as a whole into the room of its recording, which it closes with itself."""

    def __init__(self, path: Path, room: _Room) -> None:
        self._room = room
        with ExitStack() as stack:
            folder = room.folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self.damage = _decompress_file(path, folder / path.stem)
            self._inner = _opened_file(folder / path.stem, room)
            self.channels, self.note = self._inner.channels, self._inner.note
            stack.pop_all()

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        yield from self._inner.messages(topics)
        self.damage = self.damage or self._inner.damage

    def close(self) -> None:
        self._inner.close()
        self._room.close()


def _opened_file(path: Path, room: _Room) -> Storage:
    check_file(path, "a file of a ROS 2 bag", lambda text: FileError(ErrorCode.BAG_UNREADABLE, text))
    if path.suffix == ".zstd":
        return _Unpacked(path, room)
    if path.suffix not in (".mcap", ".db3"):
        hint = "; convert it with: rosbags-convert --src FILE --dst FOLDER" if path.suffix == ".bag" else ""
        raise FileError(
            ErrorCode.BAG_UNREADABLE,
            f"{shown(path)} is not a ROS 2 recording; accepted are {', '.join(_SUFFIXES)}{hint}",
        )
    if path.suffix == ".db3":
        return SqliteFile(path)
    try:
        return IndexedMcap(path)
    except (Cut, struct.error, ValueError, OSError):  # of a file without an index, or with one that is wrong
        return SalvagedMcap(path)


def _decompress_file(source: Path, target: Path) -> str:
    """Write what can be decompressed; return why it ended early, or nothing.

    Raises
    ------
    FileError
        BAG_UNREADABLE if `source` cannot be read, DISK_FULL or OUTPUT_UNWRITABLE if `target` cannot be written.
    """
    packed = open_file(source, "a compressed recording", lambda text: FileError(ErrorCode.BAG_UNREADABLE, text))
    with packed, file_errors(target, "the decompressed recording"), target.open("wb") as out:
        try:
            limit_bytes = min(MAX_FILE_BYTES, FREE_BYTES + MOST_GROWTH * source.stat().st_size)
            for piece in decompressed_pieces(packed, limit_bytes=limit_bytes):
                out.write(piece)
        except Undecompressable as error:
            return str(error)
    return ""


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Key that sorts `bag_10.mcap` after `bag_9.mcap`."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if number % 2 else (-1, part) for number, part in enumerate(parts)]
