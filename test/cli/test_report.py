"""Exit codes and sentences of a run, from its outcome."""

from __future__ import annotations

import pytest

from sparse_recon.cli.frame_intake import FrameCount
from sparse_recon.cli.report import refusals
from sparse_recon.cli.run_session import ObjectOutcome, SessionOutcome
from sparse_recon.errors import ErrorCode, EvidenceError, FileError, MeshError, SparseReconError
from sparse_recon.session.session import CompletionSession

SMALL = EvidenceError(ErrorCode.OBJECT_TOO_SMALL, "too small")
OPEN = MeshError("not closed")
MISTAKE = SparseReconError(ErrorCode.INTERNAL, "a mistake")


def outcome(*errors: SparseReconError | None, damage: FileError | None = None) -> SessionOutcome:
    objects = tuple(ObjectOutcome(f"object_{k}", error=error) for k, error in enumerate(errors))
    completed = tuple(item for item in objects if item.error is None)
    return SessionOutcome(CompletionSession(), objects, completed, FrameCount(damage=damage), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([None], 0),
        ([SMALL, None], 0),
        ([OPEN, None], 0),
        ([MISTAKE, None], 1),
        ([SMALL, SMALL], 3),
        ([SMALL, OPEN], 1),
    ],
)
def test_exit_code(errors, code):
    assert outcome(*errors).exit_code == code


def test_damaged_input_is_a_failure_though_objects_were_completed():
    assert outcome(None, damage=FileError(ErrorCode.BAG_UNREADABLE, "cut")).exit_code == 1


def test_refusals_of_one_kind_are_one_line():
    lines = refusals(outcome(SMALL, None, OPEN, SMALL))
    assert lines == [
        "2 objects refused (OBJECT_TOO_SMALL): object_0, object_3; the first: object_0: too small",
        "refused (MESH_INVALID): object_2: not closed",
    ]
