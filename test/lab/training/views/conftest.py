"""Objects for pictures: a pack of two shapes, as the shared one is laid out."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from cubes import CUBE, CUBE_FACES


@pytest.fixture(scope="session")
def pack(tmp_path_factory):
    """A folder with a pack: a cube and a flat box, one after the other in one file."""
    folder = tmp_path_factory.mktemp("pack")
    flat = (CUBE * (1, 1, 0.2)).astype(np.uint16)
    np.savez(
        folder / "cc0.npz",
        vertices=np.concatenate([CUBE, flat]),
        faces=np.concatenate([CUBE_FACES, CUBE_FACES]),
        vertex_offsets=np.array([0, 8, 16]),
        face_offsets=np.array([0, 12, 24]),
    )
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerows([("name", "shard", "index", "category"), ("cube", "cc0", 0, "box"), ("flat", "cc0", 1, "brick")])
    return folder
