"""The pickle of a checkpoint, looked through without running it: which classes it names, and that it stays small.

PyTorch's careful reader runs no foreign code, but whatever else a pickle says: megabytes of instructions, or tuples of
tuples that take for ever to hash. An archive may be a few bytes that unpack to gigabytes.
"""

from __future__ import annotations

import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from sparse_recon.errors import clipped

MAX_PICKLE_BYTES = 16_000_000
MAX_OPCODES = 1_000_000
MAX_ENTRIES = 100_000
MAX_CLASSES = 1_000
_MAX_TUPLE = 10_000  # values in a tuple and the tuples in it
_LONGEST_NAME = 200
_LEGACY_PICKLES = 5  # magic number, version, system, object, names of the storages

_MARK = pickletools.markobject
_TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING")


def named_classes(path: Path) -> set[tuple[str, str]]:
    """Return module and name of everything that the pickle of a checkpoint names.

    What has another name in Python 2, as protocol 2 writes it, is returned under both.

    Raises
    ------
    ValueError
        If it is neither an archive of PyTorch nor its older form, is damaged, or larger than any checkpoint's.
    """
    found = _all_names(path)
    return found | {_renamed(*name) for name in found}


def _renamed(module: str, name: str) -> tuple[str, str]:
    renamed = NAME_MAPPING.get((module, name))
    return renamed or (IMPORT_MAPPING.get(module, module), name)


def _all_names(path: Path) -> set[tuple[str, str]]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return _legacy_names(file)
    with zipfile.ZipFile(path) as archive:
        _check_archive(archive.infolist(), path.stat().st_size)
        pickles = [entry for entry in archive.infolist() if entry.filename.endswith("data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"its archive holds {len(pickles)} pickles, a checkpoint has 1")
        if pickles[0].file_size > MAX_PICKLE_BYTES:
            raise ValueError(f"its pickle has {pickles[0].file_size} bytes, accepted are {MAX_PICKLE_BYTES}")
        try:
            pickled = archive.read(pickles[0])
        except (
            Exception
        ) as error:  # EOFError, RuntimeError of an encrypted entry, and whatever else a damaged one makes
            raise ValueError(f"its archive is damaged ({type(error).__name__} {clipped(str(error))})") from error
        return _names(BytesIO(pickled), _Budget())


def _legacy_names(file: IO[bytes]) -> set[tuple[str, str]]:
    """Return what the pickles of the older form name, or those before the first that is damaged."""
    budget, legacy = _Budget(), _ShortReads(file)
    found: set[tuple[str, str]] = set()
    for _ in range(_LEGACY_PICKLES):
        try:
            found |= _names(legacy, budget)
        except ValueError:
            if not found:
                raise
            break
    return found


def _check_archive(entries: list[zipfile.ZipInfo], file_bytes: int) -> None:
    if len(entries) > MAX_ENTRIES:
        raise ValueError(f"its archive has {len(entries)} entries, accepted are {MAX_ENTRIES}")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise ValueError("its archive is compressed, which PyTorch never writes")
    if sum(entry.file_size for entry in entries) > file_bytes:
        raise ValueError(f"its entries have more bytes than the {file_bytes} of the file")


class _ShortReads:
    """A file that allocates nothing for a length which a pickle merely states."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.readline, self.tell = file.readline, file.tell

    def read(self, count: int) -> bytes:
        if count > MAX_PICKLE_BYTES:
            raise ValueError(f"its pickle has a value of {count} bytes, accepted are {MAX_PICKLE_BYTES}")
        return self._file.read(count)


class _Text(int):
    """One value on the stack, of which the text is kept: names of classes are made of two of them."""

    text: str

    def __new__(cls, text: object) -> _Text:
        made = super().__new__(cls, 1)
        made.text = str(text)[:_LONGEST_NAME]
        return made


class _Budget:
    """What is left of the instructions of all pickles of a file."""

    def __init__(self) -> None:
        self.opcodes = MAX_OPCODES

    def spend(self) -> None:
        self.opcodes -= 1
        if self.opcodes < 0:
            raise ValueError(f"its pickle has more than {MAX_OPCODES} instructions")


def _names(file: Any, budget: _Budget) -> set[tuple[str, str]]:
    """Follow the stack of a pickle as far as it takes to know how large its tuples are written out."""
    found: set[tuple[str, str]] = set()
    stack: list[Any] = []
    memo: dict[int, int] = {}
    try:
        for code, argument, _ in pickletools.genops(file):
            budget.spend()
            name = code.name
            if name == "GLOBAL":
                module, _, attribute = str(argument).partition(" ")
                found.add((module, attribute))
                stack.append(1)
            elif name == "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                found.add((getattr(module, "text", "?"), getattr(attribute, "text", "?")))
                stack.append(1)
            elif name in _TEXTS:
                stack.append(_Text(argument))
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                stack.append(memo.get(argument or 0, 1))
            elif name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
                memo[len(memo) if argument is None else argument] = stack[-1]
            elif name == "DUP":
                stack.append(stack[-1])
            elif name == "MARK":
                stack.append(None)
            else:
                taken = _taken(stack, code.stack_before)
                size = 1 + sum(taken) if name.startswith("TUPLE") else 1
                if size > _MAX_TUPLE:
                    raise ValueError(f"its pickle has a tuple of more than {_MAX_TUPLE} values")
                stack += [size] * len(code.stack_after)
            if len(found) > MAX_CLASSES:
                raise ValueError(f"its pickle names more than {MAX_CLASSES} classes")
    except IndexError:
        raise ValueError("its pickle takes more than it holds") from None
    return found


def _taken(stack: list[Any], before: list[Any]) -> list[int]:
    """Take from the stack what an instruction takes; return the values above its mark, or all of them."""
    if _MARK not in before:
        count = len(before)
        taken = [stack.pop() for _ in range(count)]
    else:
        taken = []
        while (value := stack.pop()) is not None:
            taken.append(value)
        for _ in range(before.index(_MARK)):
            stack.pop()
    if None in taken:
        raise ValueError("its pickle takes a mark for a value")
    return taken
