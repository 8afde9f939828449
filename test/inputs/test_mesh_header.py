"""Mesh files that state more than they can hold are refused before room is made for it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from fuzz.bounded import assert_bounded, tried

from sparse_recon.inputs.mesh_header import lie_of

MANY = 400_000_000
LOAD = """
from sparse_recon.lab.simulate.shapes import scanned_surface
import trimesh
def tried():
    return len(scanned_surface(path)[1])
"""
TRIANGLE = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
PLY_TEXT, PLY_BINARY = b"0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", TRIANGLE + struct.pack("<B3i", 3, 0, 1, 2)


def ply(form: str, count: int, body: bytes) -> bytes:
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    faces = "element face 1\nproperty list uchar int vertex_indices\n"
    return f"ply\nformat {form} 1.0\nelement vertex {count}\n{properties}{faces}end_header\n".encode() + body


def stl(count: int) -> bytes:
    return bytes(80) + struct.pack("<I", count) + struct.pack("<3f", 0, 0, 1) + TRIANGLE + bytes(2)


def off(count: int) -> bytes:
    return f"OFF\n{count} 1 0\n".encode() + PLY_TEXT


def glb(count: int = 3, *, packed: bool = True, nodes: int = 1, parts: int = 1) -> bytes:
    points: dict[str, Any] = {"componentType": 5126, "count": count, "type": "VEC3"}
    indices = {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"}
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": list(range(nodes))}],
        "nodes": [{"mesh": 0}] * nodes,
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}] * parts}],
        "accessors": [points | ({"bufferView": 0} if packed else {}), indices],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 12},
        ],
        "buffers": [{"byteLength": 48}],
    }
    text, data = json.dumps(document).encode(), TRIANGLE + struct.pack("<3I", 0, 1, 2)
    text += b" " * (-len(text) % 4)
    parts = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(parts)) + parts


LIES = {
    "binary.ply": ply("binary_little_endian", MANY, PLY_BINARY),
    "text.ply": ply("ascii", MANY, PLY_TEXT),
    "endless.ply": b"ply\n" + b"comment\n" * 20_000,
    "lie.stl": stl(MANY),
    "lie.off": off(MANY),
    "count.glb": glb(MANY),
    "zeros.glb": glb(MANY, packed=False),
    "nodes.glb": glb(nodes=20_000, parts=100),
}
HONEST = {
    "binary.ply": ply("binary_little_endian", 3, PLY_BINARY),
    "text.ply": ply("ascii", 3, PLY_TEXT),
    "right.stl": stl(1),
    "right.off": off(3),
    "right.glb": glb(nodes=3),
}


@pytest.mark.parametrize("name", LIES)
def test_file_that_states_more_than_it_holds_is_a_lie(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(LIES[name])
    assert lie_of(tmp_path / name)


@pytest.mark.parametrize("name", HONEST)
def test_honest_file_is_none(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(HONEST[name])
    assert not lie_of(tmp_path / name)


@pytest.mark.parametrize("name", ["binary.ply", "text.ply", "lie.stl", "lie.off", "zeros.glb"])
def test_lie_is_refused_by_name_and_costs_little(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(LIES[name])
    answer = tried(tmp_path / name, LOAD)
    assert_bounded(answer)
    assert answer.code == "INPUT_MISSING" and "cannot be read as a mesh" in answer.message


def test_honest_mesh_is_read(tmp_path: Path):
    (tmp_path / "right.glb").write_bytes(HONEST["right.glb"])
    answer = tried(tmp_path / "right.glb", LOAD)
    assert answer.code == "OK" and answer.count >= 1
