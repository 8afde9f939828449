"""Error codes are stable, complete in the action definition, and map to exit codes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_recon.errors import (
    EXIT_FAILED,
    EXIT_REFUSED,
    EXIT_USAGE,
    QUOTED_CHARACTERS,
    ConfigError,
    DependencyError,
    ErrorCode,
    EvidenceError,
    FileError,
    MemoryBudgetError,
    MeshError,
    SparseReconError,
    clipped,
    exit_code,
    listed,
    quoted,
)
from sparse_recon.messages.fields import NO_LABEL, definition_files
from sparse_recon.types import Provenance


def constants(name: str, kind: str) -> dict[str, int]:
    text = definition_files()[name].read_text()
    return {key: int(value) for key, value in re.findall(rf"^{kind} ([A-Z0-9_]+)=(-?\d+)", text, re.MULTILINE)}


def test_action_repeats_every_error_code():
    assert constants("sparse_recon/action/CompleteObject", "uint16") == {code.name: int(code) for code in ErrorCode}


def test_every_code_in_the_action_has_a_sentence():
    text = definition_files()["sparse_recon/action/CompleteObject"].read_text()
    for line in re.findall(r"^uint16 [A-Z].*", text, re.MULTILINE):
        assert re.search(r"# [A-Z].+\.$", line), line


def test_message_repeats_the_provenance_values():
    prefix = "PROVENANCE_"
    values = constants("sparse_recon/msg/CompletedObject", "uint8")
    assert values == {prefix + value.name: int(value) for value in Provenance}


def test_message_repeats_the_missing_label():
    assert constants("sparse_recon/msg/ObjectCandidate", "int32") == {"NO_LABEL": NO_LABEL}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EvidenceError(ErrorCode.NO_FRAMES, "no frames"), EXIT_REFUSED),
        (ConfigError("bad value"), EXIT_USAGE),
        (FileError(ErrorCode.TOPIC_UNKNOWN, "no such topic"), EXIT_USAGE),
        (FileError(ErrorCode.DISK_FULL, "disk full"), EXIT_FAILED),
        (MeshError("not closed"), EXIT_FAILED),
    ],
)
def test_exit_code_follows_the_cause(error, expected):
    assert exit_code(error) == expected


def test_error_keeps_code_and_message():
    error = SparseReconError(ErrorCode.INTERNAL, "what was found")
    assert (error.code, error.message, str(error)) == (ErrorCode.INTERNAL, "what was found", "what was found")


@pytest.mark.parametrize("value", ["x" * 10_000, ["long"] * 10_000, 10**10_000], ids=["str", "list", "int"])
def test_quoted_input_is_short(value):
    assert len(quoted(value)) <= QUOTED_CHARACTERS + len(" ...")


def test_missing_dependency_says_how_to_install_it():
    assert DependencyError("open3d", "finding objects", "pip install open3d").message.endswith("pip install open3d")


def test_messages_repeat_no_more_than_a_little_of_an_input_and_nothing_that_a_terminal_obeys():
    error = FileError(ErrorCode.USAGE, f"topic {'z' * 5000} of\nframe \x1b[2J\u202e{'y' * 300} is unknown")
    assert error.message.count("z") == 200 and error.message.count("\n") == 1
    assert "\x1b" not in error.message and "\u202e" not in error.message and "\\x1b[2J" in error.message
    assert error.message.endswith("is unknown")


@pytest.mark.parametrize("text", ["a b " * 5000, "\x1b" * 5000, "\ud800" * 5000, "words"])
def test_clipped_text_is_short_and_printable(text: str):
    assert len(clipped(text)) <= QUOTED_CHARACTERS + len(" ...") and clipped(text).isprintable()


def test_lists_of_names_end_soon():
    assert listed(["a", "b"]) == "a, b"
    assert listed(str(k) for k in range(30)).endswith(", 18, 19 and 10 more")
    assert len(listed(["x" * 5000] * 5000)) < 1500


class Foreign(Exception):
    """What a library raises that repeats its input."""


def family(kind: type[SparseReconError]) -> list[type[SparseReconError]]:
    """Errors of `sparse_recon.errors`: those of other modules are known or not by what ran before, and look alike."""
    children = (child for child in kind.__subclasses__() if child.__module__ == SparseReconError.__module__)
    return [kind, *(below for child in children for below in family(child))]


MAKERS = {
    ConfigError: lambda code, text: ConfigError(text),
    MeshError: lambda code, text: MeshError(text),
    MemoryBudgetError: lambda code, text: MemoryBudgetError("reading", text),
    DependencyError: lambda code, text: DependencyError("library", text, "pip install library"),
}
HABITS = (
    lambda error: f"it cannot be read: {error}; write it again",
    lambda error: f"it cannot be read ({error!r})",
    lambda error: f"it cannot be read: {str(error).strip()}",
    lambda error: f"it cannot be read: {type(error).__name__}: {error}",
)


@settings(deadline=None, derandomize=True, database=None, max_examples=300)
@given(
    st.sampled_from(sorted(family(SparseReconError), key=lambda kind: kind.__name__)),
    st.sampled_from(list(ErrorCode)),
    st.sampled_from([ValueError, KeyError, OSError, Foreign]),
    st.sampled_from(HABITS),
    st.lists(st.sampled_from(["a", "quick", "brown fox", "é", "\n", "\x1b[31m", "'"]), min_size=1, max_size=9),
    st.integers(1, 3000),
    st.booleans(),
)
def test_no_error_repeats_more_of_an_input_than_is_quoted(kind, code, foreign, habit, words, times, deeper):
    said = " ".join(words) + " "
    said = "".join(f"{k} {said}" for k in range(times))
    try:
        try:
            raise foreign(said)
        except foreign as error:
            if not deeper:
                raise MAKERS.get(kind, kind)(code, habit(error)) from error
            text = habit(error)
            try:
                raise LookupError("another one on the way")
            except LookupError as other:
                raise MAKERS.get(kind, kind)(code, text) from other
    except SparseReconError as error:
        assert len(error.message) < 700, error.message
        assert error.message.replace("\n", "").isprintable()
