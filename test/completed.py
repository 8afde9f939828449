"""Completed objects that need no completion: a tetrahedron among random points, and a box."""

from __future__ import annotations

import numpy as np

from sparse_recon.types import CompletedObject, OrientedBox, QualityRecord, SurfaceHypothesis, TriangleMesh


def make_object(points: int = 7, *, frame_id: str = "world") -> CompletedObject:
    rng = np.random.default_rng(5)
    xyz = rng.normal(size=(points, 3)).astype(np.float32)
    tetrahedron = TriangleMesh(
        np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32),
        np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32),
        watertight=True,
    )
    T = np.eye(4)
    T[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    T[:3, 3] = [0.1, 0.2, 0.3]
    quality = QualityRecord(3, 0.5, 0.0, 0.8, 0.004, True, True, False, {"fuse": 0.5}, 10**9, "ab" * 32, ("note",))
    return CompletedObject(
        object_id="object_0",
        frame_id=frame_id,
        stamp_ns=1_700_000_000_123_456_789,
        model="carve",
        seed=4,
        points_world=xyz,
        normals_world=xyz / np.linalg.norm(xyz, axis=1, keepdims=True),
        colors=rng.integers(0, 256, (points, 3), dtype=np.uint8),
        confidence=rng.random(points, dtype=np.float32),
        provenance=rng.integers(1, 3, points).astype(np.uint8),
        observed_points_world=xyz[: points // 2],
        nominal=tetrahedron,
        conservative=tetrahedron,
        vertex_confidence=np.linspace(0, 1, 4, dtype=np.float32),
        box=OrientedBox(T, np.array([0.1, 0.2, 0.3])),
        quality=quality,
        collision_parts=(tetrahedron,),
        hypotheses=(SurfaceHypothesis(tetrahedron, 0.75), SurfaceHypothesis(tetrahedron, 0.25)),
    )


def completed_box() -> CompletedObject:
    """A box of 8 x 6 x 10 cm, half of it observed."""
    import trimesh

    shape = trimesh.creation.box((0.08, 0.06, 0.1))
    mesh = TriangleMesh(shape.vertices.astype(np.float32), shape.faces.astype(np.int32), True)
    points, face = trimesh.sample.sample_surface(shape, 500, seed=1)
    observed = points[:, 2] > 0
    return CompletedObject(
        object_id="object_0",
        frame_id="world",
        stamp_ns=1_700_000_000_000_000_000,
        model="carve",
        seed=7,
        points_world=points.astype(np.float32),
        normals_world=shape.face_normals[face].astype(np.float32),
        colors=np.where(observed[:, None], [200, 40, 10], [90, 90, 90]).astype(np.uint8),
        confidence=np.where(observed, 0.95, 0.4).astype(np.float32),
        provenance=np.where(observed, 1, 2).astype(np.uint8),
        observed_points_world=points[observed].astype(np.float32),
        nominal=mesh,
        conservative=TriangleMesh(mesh.vertices_world * np.float32(1.1), mesh.faces, True),
        vertex_confidence=np.linspace(0, 1, len(mesh.vertices_world), dtype=np.float32),
        box=OrientedBox(np.eye(4), np.array([0.08, 0.06, 0.1])),
        quality=QualityRecord(
            views_used=3,
            observed_fraction=0.5,
            free_space_violation=0.0,
            mean_confidence=0.7,
            radius90_m=0.004,
            nominal_watertight=True,
            conservative_watertight=True,
            evidence_soft=False,
            timings_s={"observe": 0.1, "mesh": 0.2},
            peak_memory_bytes=10**9,
            input_hash="ab" * 32,
            warnings=("bounds were softened",),
        ),
        collision_parts=(mesh,),
    )
