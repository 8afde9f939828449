"""What `import sparse_recon` offers, and that it costs nothing until it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scenes import recording

import sparse_recon

ROOT = Path(__file__).parents[1]


def test_every_public_name_is_there_and_its_own():
    for name in sparse_recon.__all__:
        assert getattr(sparse_recon, name).__name__ == name
    assert set(sparse_recon.__all__) <= set(dir(sparse_recon))


def test_a_name_that_is_not_public_is_not_there():
    with pytest.raises(AttributeError, match="nonsense"):
        sparse_recon.nonsense  # noqa: B018


def test_import_of_the_package_loads_none_of_its_rooms():
    code = "import sys, sparse_recon; print(*[n for n in sys.modules if n.startswith('sparse_recon.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_public_names_are_those_that_the_documentation_promises():
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text.split("## Public API")[1].split("\n## ")[0]
    assert [name for name in sparse_recon.__all__ if f"`{name}`" not in section] == []


def test_type_checkers_are_told_that_the_package_has_types():
    assert (Path(sparse_recon.__file__).parent / "py.typed").is_file()


def test_an_object_is_completed_with_public_names_alone():
    session = sparse_recon.CompletionSession(sparse_recon.load_config({"model": "carve", "evidence.grid": 32}))
    for frame in recording(turn_deg=90).frames:
        assert session.add_frame(frame).accepted
    (candidate,) = session.objects()
    completed = session.complete(sparse_recon.CompletionRequest(object_id=candidate.object_id))
    assert isinstance(completed, sparse_recon.CompletedObject)
    inferred = completed.provenance == sparse_recon.Provenance.INFERRED
    assert 0 < np.count_nonzero(inferred) < len(inferred)
