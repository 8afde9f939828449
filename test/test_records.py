"""Records that hold arrays: nothing is exchanged in them, and two are equal only when they are the same one."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import fields, is_dataclass

import pytest

import sparse_recon

ARRAYS = ("Float32", "Float64", "UInt8", "Int32", "Bool", "NDArray", "Tensor")
ROOMS = ("types", "geometry", "evidence", "observe", "fuse", "session")


def records() -> list[type]:
    """Return the public dataclasses of these rooms that hold arrays, or records that do, but for what is added to."""
    found = set()
    for info in pkgutil.walk_packages(sparse_recon.__path__, "sparse_recon."):
        if info.name.split(".")[1] in ROOMS:
            module = importlib.import_module(info.name)
            found |= {c for c in vars(module).values() if is_dataclass(c) and c.__module__ == info.name}
    names, holding = set(ARRAYS), set()
    for _ in found:  # a record may hold a record that holds an array
        holding = {c for c in found if any(names & set(re.findall(r"\w+", str(f.type))) for f in fields(c))}
        names |= {c.__name__ for c in holding}
    return sorted(
        (c for c in holding if c.__name__ != "Evidence" and c.__name__[0] != "_"), key=lambda c: c.__qualname__
    )


@pytest.mark.parametrize("record", records(), ids=lambda record: record.__qualname__)
def test_a_record_with_arrays_is_frozen_and_equal_to_itself_alone(record):
    assert record.__dataclass_params__.frozen
    assert not record.__dataclass_params__.eq  # NumPy has no truth value for whether arrays are equal


def test_records_are_found():
    assert {"Frame", "Bounds", "SceneClusters", "FusedGeometry", "Observation"} <= {
        record.__name__ for record in records()
    }
