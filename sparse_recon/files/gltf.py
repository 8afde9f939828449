"""A coloured mesh as a binary glTF 2.0 file (https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html)."""

from __future__ import annotations

import json
import struct

import numpy as np

from sparse_recon.types import Float64, TriangleMesh, UInt8

# glTF has +y up and the world frame +z (REP 103); viewers turn it back.
_R_GLTF_WORLD = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
_ASSET = {"version": "2.0", "generator": "sparse_recon"}
_FLOAT, _UBYTE, _UINT = 5126, 5121, 5125
_VERTICES, _INDICES = 34962, 34963  # ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER


def mesh_glb(mesh: TriangleMesh, colors: UInt8, origin_world: Float64 | None = None) -> bytes:
    """Return a mesh with (V, 3) uint8 vertex colours as a .glb file, metres, +y up; no faces give an empty scene.

    Positions are float32 from `origin_world` (3,), which the matrix of the node adds; None for the world's origin.
    """
    origin = np.zeros(3) if origin_world is None else origin_world
    positions = np.ascontiguousarray(mesh.vertices_world - origin, dtype="<f4")
    rgba = np.full((len(positions), 4), 255, dtype=np.uint8)
    rgba[:, :3] = colors
    corners = np.ascontiguousarray(mesh.faces, dtype="<u4").ravel()
    if not len(corners):
        return _file({"asset": _ASSET, "scene": 0, "scenes": [{}]}, b"")
    arrays = (positions, rgba, corners)
    starts = np.cumsum([0, *(array.nbytes for array in arrays)]).tolist()
    accessors = [
        {
            "bufferView": 0,
            "componentType": _FLOAT,
            "count": len(positions),
            "type": "VEC3",
            "min": positions.min(axis=0).tolist(),
            "max": positions.max(axis=0).tolist(),
        },
        {"bufferView": 1, "componentType": _UBYTE, "count": len(positions), "type": "VEC4", "normalized": True},
        {"bufferView": 2, "componentType": _UINT, "count": len(corners), "type": "SCALAR"},
    ]
    views = [
        {"buffer": 0, "byteOffset": start, "byteLength": array.nbytes, "target": target}
        for array, start, target in zip(arrays, starts, (_VERTICES, _VERTICES, _INDICES), strict=False)
    ]
    primitive = {"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2, "material": 0}
    scene = {
        "asset": _ASSET,
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "object", "mesh": 0, "matrix": _matrix(origin)}],
        "meshes": [{"name": "object", "primitives": [primitive]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}}],
        "buffers": [{"byteLength": starts[-1]}],
        "bufferViews": views,
        "accessors": accessors,
    }
    return _file(scene, b"".join(array.tobytes() for array in arrays))


def _matrix(origin_world: Float64) -> list[float]:
    """Return the matrix that puts the mesh into the scene of glTF, column-major; whole numbers are written so."""
    T_gltf_mesh = np.eye(4)
    T_gltf_mesh[:3, :3], T_gltf_mesh[:3, 3] = _R_GLTF_WORLD, _R_GLTF_WORLD @ origin_world
    return [int(x) if x.is_integer() else x for x in T_gltf_mesh.T.ravel().tolist()]


def _file(scene: dict[str, object], data: bytes) -> bytes:
    text = json.dumps(scene, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text  # "JSON"
    if data:
        chunks += struct.pack("<II", len(data), 0x004E4942) + data  # "BIN"; all our arrays are multiples of 4 bytes
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks  # "glTF"
