"""One family of errors; every error carries a stable code that actions, diagnostics and exit codes reuse."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from enum import IntEnum
from itertools import accumulate


class ErrorCode(IntEnum):
    """Stable numbers; `action/CompleteObject.action` repeats them as constants and a test compares the two."""

    UNKNOWN = 0  # no answer was given: what a client library fills a blank result with
    INTERNAL = 1
    USAGE = 2
    CANCELLED = 3
    DEADLINE = 4
    MEMORY_BUDGET = 5
    DEPENDENCY_MISSING = 6
    CONFIG_INVALID = 7
    BUSY = 8
    NOT_ACTIVE = 9
    OK = 10

    FRAME_INVALID = 100
    ENCODING_UNSUPPORTED = 101
    INTRINSICS_INVALID = 102
    SIZE_MISMATCH = 103
    DEPTH_EMPTY = 104
    STAMP_INVALID = 105
    STAMP_ORDER = 106
    DISTORTION_UNSUPPORTED = 107
    STAMP_UNMATCHED = 108

    TF_FRAME_UNKNOWN = 200
    TF_NOT_CONNECTED = 201
    TF_EXTRAPOLATION = 202
    TF_GAP = 203

    NO_FRAMES = 300
    OBJECT_NOT_FOUND = 301
    OBJECT_TOO_SMALL = 302
    OBJECT_TOO_LARGE = 303
    OBJECT_NOT_IN_VIEW = 304
    EVIDENCE_CONTRADICTS = 305
    VIEWS_DISAGREE = 306

    MODEL_UNKNOWN = 400
    MODEL_WEIGHTS_MISSING = 401
    MODEL_FAILED = 402
    MODEL_WEIGHTS_INVALID = 403

    MESH_INVALID = 500

    INPUT_MISSING = 600
    BAG_UNREADABLE = 601
    TOPIC_UNKNOWN = 602
    TOPIC_AMBIGUOUS = 603
    OUTPUT_UNWRITABLE = 604
    DISK_FULL = 605


class SparseReconError(Exception):
    """Base of all errors that a user, a sensor or a file can cause.

    Parameters
    ----------
    code : the stable code.
    message : what was wrong, what was found, what is accepted, what to do next; made `readable`.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(readable(_with_causes_cut(message)))
        self.code = code

    @property
    def message(self) -> str:
        return str(self.args[0])


class InputError(SparseReconError):
    """A frame, argument or message that cannot be used as it is."""


class ConfigError(SparseReconError):
    """A parameter outside its range, of the wrong type, or unknown."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.CONFIG_INVALID, message)


class TransformError(SparseReconError):
    """A pose that the transform tree cannot give at the stamp that was asked for."""


class EvidenceError(SparseReconError):
    """Too little, or contradictory, evidence to complete an object: a normal answer, not a crash."""


class ModelError(SparseReconError):
    """A completer that is unknown, cannot load, or failed."""


class MemoryBudgetError(SparseReconError):
    """Memory ran out; what was held for the work is free again."""

    def __init__(self, work: str, found: str) -> None:
        super().__init__(
            ErrorCode.MEMORY_BUDGET,
            f"memory ran out while {work}: {found}; lower max_views, keyframes.frame_budget_bytes or "
            "evidence.fine_grid, choose another model, or free memory on this machine",
        )


class MeshError(SparseReconError):
    """A surface that failed its checks and must not be published."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.MESH_INVALID, message)


class FileError(SparseReconError):
    """A bag, folder or file that cannot be read or written."""


class DependencyError(SparseReconError):
    """An optional library is needed now and cannot be imported."""

    def __init__(self, library: str, needed_for: str, install: str) -> None:
        super().__init__(
            ErrorCode.DEPENDENCY_MISSING,
            f"{library} is needed for {needed_for} and cannot be imported; install it with: {install}",
        )


class CancelledError(SparseReconError):
    """The caller asked to stop, or the deadline passed before anything valid existed."""


QUOTED_CHARACTERS = 200  # of an input that a message quotes
_LISTED_CHARACTERS = 1200
_MAX_CAUSES = 10
_LONG_WORDS = re.compile(rf"(\S{{{QUOTED_CHARACTERS}}})\S+")


def quoted(value: object) -> str:
    """Return a value as messages quote it: its repr, cut after `QUOTED_CHARACTERS`.

    Of long texts, bytes, lists and dictionaries only the beginning is looked at.
    """
    if isinstance(value, (str, bytes, list, tuple)) and len(value) > QUOTED_CHARACTERS:
        value = value[:QUOTED_CHARACTERS]
        return clipped(repr(value) + " ...")
    if isinstance(value, dict) and len(value) > QUOTED_CHARACTERS:
        return f"a dictionary of {len(value)} names"
    try:
        return clipped(repr(value))
    except ValueError:  # an int of more digits than Python writes
        return f"an int of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    except RecursionError:
        return f"a {type(value).__name__}"


def clipped(text: str) -> str:
    """Return a text as messages repeat it: cut after `QUOTED_CHARACTERS`, in one line that no terminal obeys."""
    cut = "" if len(text) <= QUOTED_CHARACTERS else " ..."
    shown = _printable(text[:QUOTED_CHARACTERS])
    return f"{shown[:QUOTED_CHARACTERS]}{cut or ' ...' * (len(shown) > QUOTED_CHARACTERS)}"


def listed(names: Iterable[object], most: int = 20, between: str = ", ") -> str:
    """Return names as messages list them: clipped, and after `most` or many characters how many more."""
    shown = [clipped(str(name)) for name in names]
    lengths = accumulate(len(name) + 2 for name in shown)
    count = max(1, min(most, sum(length <= _LISTED_CHARACTERS for length in lengths)))
    more = f" and {len(shown) - count} more" if len(shown) > count else ""
    return between.join(shown[:count]) + more


def readable(message: str) -> str:
    """Return a message, of any length and lines, in which no input is longer than `QUOTED_CHARACTERS`.

    Control characters are escaped, so that no terminal obeys them, and words longer than that are cut: topics, frames
    and file names have no spaces.
    """
    lines = (_printable(line) for line in message.split("\n"))
    return _LONG_WORDS.sub(r"\1 ...", "\n".join(lines))


def _with_causes_cut(message: str) -> str:
    """Cut what the exceptions that are handled now said, where a message repeats more of it than is quoted.

    What libraries say of an input repeats the input, with its spaces.
    """
    error, looked_at = sys.exc_info()[1], 0
    while error is not None and looked_at < _MAX_CAUSES:
        if not isinstance(error, SparseReconError):
            for said in _sayings(error):
                if len(said) > QUOTED_CHARACTERS:
                    message = message.replace(said, clipped(said))
        error, looked_at = error.__cause__ or error.__context__, looked_at + 1
    return message


def _sayings(error: BaseException) -> list[str]:
    """Return how a message may repeat an exception, the longest first."""
    try:
        text = str(error)
        said = {repr(error), text, text.strip(), text.strip().rstrip("."), text.partition("\n")[0]}
    except Exception:  # of a foreign class
        return []
    return sorted(said, key=len, reverse=True)


def _printable(text: str) -> str:
    """Escape what is not printable, as repr does."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED = 0, 1, 2, 3
EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143  # as shells say of SIGINT and SIGTERM

_USAGE_CODES = {
    ErrorCode.USAGE,
    ErrorCode.CONFIG_INVALID,
    ErrorCode.MODEL_UNKNOWN,
    ErrorCode.INPUT_MISSING,
    ErrorCode.TOPIC_UNKNOWN,
    ErrorCode.TOPIC_AMBIGUOUS,
}


def exit_code(error: SparseReconError) -> int:
    """Exit code of a command that ended with `error`: 2 bad usage, 3 refused for lack of evidence, 1 otherwise."""
    if isinstance(error, EvidenceError):
        return EXIT_REFUSED
    if error.code in _USAGE_CODES:
        return EXIT_USAGE
    return EXIT_FAILED
