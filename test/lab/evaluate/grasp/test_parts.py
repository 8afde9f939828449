"""Convex parts are made once per mesh, and are the object."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from lab.evaluate.grasp import rig

from sparse_recon.lab.evaluate.grasp.parts import object_parts


@pytest.fixture(autouse=True)
def _coacd():
    pytest.importorskip("coacd", reason="CoACD is not installed: pip install coacd")


def test_parts_of_a_u_shape_leave_its_gap_open(tmp_path):
    u = _union(
        [
            ((0.10, 0.04, 0.02), (0, 0, 0.01)),
            ((0.02, 0.04, 0.06), (-0.04, 0, 0.05)),
            ((0.02, 0.04, 0.06), (0.04, 0, 0.05)),
        ]
    )
    parts = object_parts(u.vertices, np.asarray(u.faces, np.int32), tmp_path)
    hulls = [trimesh.Trimesh(v, f).convex_hull for v, f in parts]
    assert len(parts) >= 3
    # CoACD may bridge 2 mm of a hollow, and moves faces by less.
    assert sum(hull.volume for hull in hulls) == pytest.approx(u.volume, rel=0.06)
    assert not any(hull.contains([[0.0, 0.0, 0.05]])[0] for hull in hulls)


def test_parts_are_read_again_and_not_made_again(tmp_path):
    mesh = rig.box()
    first = object_parts(mesh.vertices_world, mesh.faces, tmp_path)
    (file,) = tmp_path.glob("*.npz")
    stamp = file.stat().st_mtime_ns
    again = object_parts(mesh.vertices_world, mesh.faces, tmp_path)
    assert file.stat().st_mtime_ns == stamp
    assert all(
        np.array_equal(a, b) for one, other in zip(first, again, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_another_mesh_has_a_file_of_its_own(tmp_path):
    for mesh in (rig.box(), rig.box((0.05, 0.10, 0.09))):
        object_parts(mesh.vertices_world, mesh.faces, tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 2


def _union(boxes) -> trimesh.Trimesh:
    from manifold3d import Manifold

    solid = Manifold.batch_boolean(
        [Manifold.cube(size, True).translate(centre) for size, centre in boxes], _add()
    ).to_mesh()
    return trimesh.Trimesh(np.asarray(solid.vert_properties[:, :3], float), np.asarray(solid.tri_verts))


def _add():
    from manifold3d import OpType

    return OpType.Add
