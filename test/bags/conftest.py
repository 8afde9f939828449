"""A short recording of a small room, in the forms in which recordings come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.geometry.poses import look_at
from sparse_recon.types import CameraIntrinsics, CompletedObject, Frame, OrientedBox, QualityRecord, TriangleMesh

STAMP_0_NS = 1_700_000_000_000_000_000


@pytest.fixture(scope="session")
def small_frames() -> tuple[Frame, ...]:
    """Twelve frames of 64x48 pixels, 100 ms apart; depth is whole millimetres so that nothing is rounded."""
    camera = CameraIntrinsics(64, 48, np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]]))
    rng = np.random.default_rng(4)
    return tuple(
        Frame(
            rgb=rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
            depth_m=(rng.integers(300, 2900, (48, 64)) * np.float32(1e-3)).astype(np.float32),
            intrinsics=camera,
            T_world_cam=look_at((0.5, 0.05 * k, 0.4), (0.0, 0.0, 0.0)),
            stamp_ns=STAMP_0_NS + k * 100_000_000,
        )
        for k in range(12)
    )


@pytest.fixture(scope="session")
def small_bag(small_frames: tuple[Frame, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MCAP bag of these frames."""
    path = tmp_path_factory.mktemp("bags") / "small"
    write_frames(small_frames, path, world_frame="world")
    return path


@pytest.fixture(scope="session")
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
        stamp_ns=STAMP_0_NS,
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
            scale_residual=0.0,
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
