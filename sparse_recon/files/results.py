"""Completed objects as files for other programs. Equal objects give equal bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparse_recon.files.atomic import whole_folder
from sparse_recon.files.gltf import mesh_glb
from sparse_recon.messages.fields import vertex_colors
from sparse_recon.requests import RejectedCandidate
from sparse_recon.types import CompletedObject, Float64, OrientedBox, TriangleMesh, UInt8


def write_results(completed: CompletedObject, folder: Path, rejected: Sequence[RejectedCandidate] = ()) -> Path:
    """Write one object into a folder of its own; an older one of that name is replaced only when the new is whole.

    Files: `cloud.ply` (points, normals, colours, confidence, provenance 1 observed or 2 inferred), `mesh.ply` (nominal
    mesh with colour and confidence of each vertex), `mesh.obj` (the same without confidence, for programs that read no
    PLY, such as MuJoCo), `mesh.glb` (the same, +y up as glTF wants it), `collision/conservative.stl` and
    `collision/part_NNN.stl`, `hypotheses/mesh_NNN.ply` where the model drew any (their weights are in `quality.json`),
    `quality.json`. All but glTF are in metres in the world frame. Where the world's origin is
    far (`CompletedObject.origin_world`), PLY files have double coordinates, the matrix of the glTF file moves the mesh
    to its place, and OBJ and STL files, which are read in float32, count from `origin_world` of `quality.json`.

    Parameters
    ----------
    completed : the object.
    folder : where results of all objects lie; made if it is missing.
    rejected : what was seen beside the objects and is not listed, for `quality.json`.

    Returns
    -------
    The object's folder.

    Raises
    ------
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE.
    """
    target = Path(folder) / (re.sub(r"[^\w.-]", "_", completed.object_id).lstrip(".") or "object")
    with whole_folder(target, f"the result {completed.object_id}") as new:
        colors = vertex_colors(completed)
        (new / "cloud.ply").write_bytes(cloud_ply(completed))
        (new / "mesh.ply").write_bytes(mesh_ply(completed, colors))
        (new / "mesh.obj").write_bytes(mesh_obj(completed.nominal, colors, completed.origin_world))
        (new / "mesh.glb").write_bytes(mesh_glb(completed.nominal, colors, completed.origin_world))
        (new / "collision").mkdir()
        (new / "collision" / "conservative.stl").write_bytes(mesh_stl(completed.conservative, completed.origin_world))
        for k, part in enumerate(completed.collision_parts):
            (new / "collision" / f"part_{k:03d}.stl").write_bytes(mesh_stl(part, completed.origin_world))
        for k, hypothesis in enumerate(completed.hypotheses):
            path = new / _hypothesis_file(k)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(plain_ply(hypothesis.mesh))
        text = json.dumps(quality_record(completed, rejected), indent=1, sort_keys=True)
        (new / "quality.json").write_text(text + "\n", encoding="utf-8")
    return target


def quality_record(completed: CompletedObject, rejected: Sequence[RejectedCandidate] = ()) -> dict[str, Any]:
    """Return what `quality.json` holds; sub-object `run` differs from run to run, all else only with the input."""
    q = completed.quality
    return {
        "object_id": completed.object_id,
        "frame_id": completed.frame_id,
        "stamp_ns": completed.stamp_ns,
        "origin_world": completed.origin_world.tolist(),
        "model": completed.model,
        "seed": completed.seed,
        "points": len(completed.points_world),
        "observed_points": len(completed.observed_points_world),
        "faces": len(completed.nominal.faces),
        "hypotheses": [
            {"file": _hypothesis_file(k), "weight": float(h.weight), "faces": len(h.mesh.faces)}
            for k, h in enumerate(completed.hypotheses)
        ],
        "box": _box_record(completed.box),
        "score": float(q.score),
        "cut_by_image": bool(q.cut_by_image),
        "rejected": [rejected_record(item) for item in rejected],
        "views_used": q.views_used,
        "observed_fraction": float(q.observed_fraction),
        "free_space_violation": float(q.free_space_violation),
        "mean_confidence": float(q.mean_confidence),
        "radius90_m": float(q.radius90_m),
        "nominal_watertight": q.nominal_watertight,
        "conservative_watertight": q.conservative_watertight,
        "evidence_soft": q.evidence_soft,
        "input_hash": q.input_hash,
        "warnings": list(q.warnings),
        "model_figures": dict(q.model_figures),
        "run": {"timings_s": dict(q.timings_s), "peak_memory_bytes": q.peak_memory_bytes},
    }


def _hypothesis_file(k: int) -> str:
    return f"hypotheses/mesh_{k:03d}.ply"


def rejected_record(item: RejectedCandidate) -> dict[str, Any]:
    """Return what files and `--json` say of something that is not listed."""
    return {
        "reason": item.reason.key,
        "sentence": item.sentence,
        "box": None if item.box is None else _box_record(item.box),
        "label": item.label,
        "points": item.points,
        "figure": float(item.figure),
        "limit": float(item.limit),
        "holds": item.holds,
        "frames": [{"camera": camera, "stamp_ns": stamp_ns} for camera, stamp_ns in item.frames],
    }


def _box_record(box: OrientedBox) -> dict[str, Any]:
    return {"T_world_box": box.T_world_box.tolist(), "size_m": box.size_m.tolist()}


def cloud_ply(completed: CompletedObject) -> bytes:
    """Return the completed cloud as a binary PLY file."""
    names = [*"xyz", "nx", "ny", "nz", "red", "green", "blue", "confidence", "provenance"]
    columns = [*completed.points_world.T, *completed.normals_world.T, *completed.colors.T]
    return _ply(names, [*columns, completed.confidence, completed.provenance])


def mesh_ply(completed: CompletedObject, colors: UInt8) -> bytes:
    """Return the nominal mesh as a binary PLY file; `colors` (V, 3) uint8."""
    names = [*"xyz", "red", "green", "blue", "confidence"]
    columns = [*completed.nominal.vertices_world.T, *colors.T, completed.vertex_confidence]
    return _ply(names, columns, completed.nominal.faces)


def plain_ply(mesh: TriangleMesh) -> bytes:
    """Return a mesh as a binary PLY file of positions and triangles."""
    return _ply(list("xyz"), list(mesh.vertices_world.T), mesh.faces)


def mesh_obj(mesh: TriangleMesh, colors: UInt8, origin_world: Float64 | None = None) -> bytes:
    """Return a mesh with (V, 3) uint8 vertex colours as a Wavefront OBJ file, which has them after x y z, 0 to 1.

    Counted from `origin_world` (3,); None for the world's origin.
    """
    origin = np.zeros(3) if origin_world is None else origin_world
    corners = (mesh.vertices_world - origin).astype(np.float32)
    vertices = zip(corners.tolist(), (colors / 255.0).tolist(), strict=True)
    lines = [f"# {_header(origin)}"]
    lines += [f"v {x:.9g} {y:.9g} {z:.9g} {r:.4g} {g:.4g} {b:.4g}" for (x, y, z), (r, g, b) in vertices]
    lines += [f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist()]  # corners are counted from 1
    return ("\n".join(lines) + "\n").encode("ascii")


def mesh_stl(mesh: TriangleMesh, origin_world: Float64 | None = None) -> bytes:
    """Return a mesh as a binary STL file, counted from `origin_world` (3,); None for the world's origin."""
    origin = np.zeros(3) if origin_world is None else origin_world
    corners = (mesh.vertices_world - origin)[mesh.faces].astype("<f4")  # (F, 3 corners, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    records["normal"] = normals / np.maximum(lengths, np.float32(1e-20))
    records["corners"] = corners
    return _header(origin).encode().ljust(80, b" ") + len(corners).to_bytes(4, "little") + records.tobytes()


def _header(origin_world: Float64) -> str:
    return "sparse_recon, metres" + (f", from {origin_world.tolist()} of the world" if origin_world.any() else "")


def _ply(names: list[str], columns: list[npt.NDArray[Any]], faces: npt.NDArray[np.int32] | None = None) -> bytes:
    kinds = {
        np.dtype(np.float32): ("float", "<f4"),
        np.dtype(np.float64): ("double", "<f8"),
        np.dtype(np.uint8): ("uchar", "u1"),
    }
    floats = [c.dtype if name in "xyz" else np.float32 for name, c in zip(names, columns, strict=True)]
    columns = [
        np.asarray(c, np.uint8 if c.dtype.kind in "ui" else kind) for c, kind in zip(columns, floats, strict=True)
    ]
    vertices = np.zeros(len(columns[0]), [(n, kinds[c.dtype][1]) for n, c in zip(names, columns, strict=True)])
    for name, column in zip(names, columns, strict=True):
        vertices[name] = column
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment sparse_recon, metres",
        f"element vertex {len(vertices)}",
    ]
    header += [f"property {kinds[c.dtype][0]} {n}" for n, c in zip(names, columns, strict=True)]
    body = vertices.tobytes()
    if faces is not None:
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        records = np.zeros(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
        records["count"], records["corners"] = 3, faces
        body += records.tobytes()
    return "\n".join([*header, "end_header\n"]).encode("ascii") + body
