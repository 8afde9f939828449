"""Completed objects read back from a result folder, as far as its files tell."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.types import CompletedObject, OrientedBox, Provenance, QualityRecord, TriangleMesh

_KINDS = {"uchar": "u1", "int": "<i4", "float": "<f4", "double": "<f8"}


def load_objects(folder: Path) -> tuple[CompletedObject, ...]:
    """Read the objects of a result folder, or of one object's folder in it.

    The measured points are not stored; the completed points of provenance observed stand for them, and the nominal
    mesh for the conservative one.

    Returns
    -------
    Objects in the order of their folders' names.

    Raises
    ------
    FileError
        INPUT_MISSING if the folder is missing, holds no result, or a file cannot be read as what it should be.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError(ErrorCode.INPUT_MISSING, f"no folder {folder}; name one that replay, complete or demo wrote")
    places = sorted(path.parent for path in [*folder.glob("quality.json"), *folder.glob("*/quality.json")])
    if not places:
        raise FileError(
            ErrorCode.INPUT_MISSING,
            f"{folder} holds no result: no quality.json there or one level below; name the folder given as --out",
        )
    return tuple(_object(place) for place in places)


def _object(folder: Path) -> CompletedObject:
    try:
        record = json.loads((folder / "quality.json").read_text(encoding="utf-8"))
        cloud, _ = read_ply(folder / "cloud.ply")
        vertices, faces = read_ply(folder / "mesh.ply")
        points = np.stack([cloud[axis] for axis in "xyz"], axis=1)
        mesh = TriangleMesh(np.stack([vertices[axis] for axis in "xyz"], axis=1), faces, record["nominal_watertight"])
        box = OrientedBox(np.array(record["box"]["T_world_box"]), np.array(record["box"]["size_m"]))
        return CompletedObject(
            object_id=record["object_id"],
            frame_id=record["frame_id"],
            stamp_ns=record["stamp_ns"],
            model=record["model"],
            seed=record["seed"],
            points_world=points,
            normals_world=np.stack([cloud[name] for name in ("nx", "ny", "nz")], axis=1),
            colors=np.stack([cloud[name] for name in ("red", "green", "blue")], axis=1),
            confidence=cloud["confidence"],
            provenance=cloud["provenance"],
            observed_points_world=points[cloud["provenance"] == Provenance.OBSERVED],
            nominal=mesh,
            conservative=mesh,
            vertex_confidence=vertices["confidence"],
            box=box,
            quality=_quality(record),
            origin_world=np.array(record.get("origin_world", (0.0, 0.0, 0.0)), np.float64),
        )
    except (KeyError, ValueError, OSError) as error:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{folder} is not a whole result ({error!r}); write it again with replay or demo"
        ) from error


def _quality(record: Mapping[str, Any]) -> QualityRecord:
    names = ("views_used", "observed_fraction", "free_space_violation", "mean_confidence", "radius90_m")
    more = ("nominal_watertight", "conservative_watertight", "evidence_soft", "input_hash")
    return QualityRecord(
        **{name: record[name] for name in (*names, *more)},
        timings_s=record["run"]["timings_s"],
        peak_memory_bytes=record["run"]["peak_memory_bytes"],
        warnings=tuple(record["warnings"]),
    )


def read_ply(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read a binary little-endian PLY file with vertices and, where it has them, triangles.

    Returns
    -------
    The vertex properties by name, (V,) each, and (F, 3) int32 triangles.

    Raises
    ------
    ValueError
        If the file is of another kind or ends early.
    """
    data = path.read_bytes()
    head, mark, body = data.partition(b"end_header\n")
    lines = head.decode("ascii", "replace").splitlines()
    if not mark or lines[:2] != ["ply", "format binary_little_endian 1.0"]:
        raise ValueError(f"{path.name} is not a binary little-endian PLY file")
    counts = dict(re.findall(r"^element (\w+) (\d+)$", "\n".join(lines), re.MULTILINE))
    scalars = re.findall(r"^property (?!list)(\w+) (\w+)$", "\n".join(lines), re.MULTILINE)
    vertex_count, face_count = int(counts.get("vertex", 0)), int(counts.get("face", 0))
    vertex_type = np.dtype([(name, _KINDS[kind]) for kind, name in scalars])
    face_type = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
    if len(body) < vertex_count * vertex_type.itemsize + face_count * face_type.itemsize:
        raise ValueError(f"{path.name} ends early")
    vertices = np.frombuffer(body, vertex_type, vertex_count)
    faces = np.frombuffer(body, face_type, face_count, vertex_count * vertex_type.itemsize)
    if face_count and (faces["count"] != 3).any():
        raise ValueError(f"{path.name} has faces that are not triangles")
    return {name: vertices[name].copy() for _, name in scalars}, faces["corners"].astype(np.int32)
