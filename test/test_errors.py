"""Error codes are stable, complete in the action definition, and map to exit codes."""

from __future__ import annotations

import re

import pytest

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
    MeshError,
    SparseReconError,
    exit_code,
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
