"""Meshes from signed distance fields whose volume, area and topology are known."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sparse_recon.errors import CancelledError, ErrorCode, MeshError
from sparse_recon.fuse.convex import convex_parts
from sparse_recon.fuse.mesh import decimated, is_closed, isosurface, solid, triangles, without_small_components
from sparse_recon.geometry.grids import VoxelGrid

GRID = VoxelGrid.cube(48, 0.06)
RADIUS_M = 0.04
CENTRE = np.array([0.004, -0.003, 0.002])


def sphere(radius_m: float = RADIUS_M, centre=CENTRE, grid: VoxelGrid = GRID) -> np.ndarray:
    return (np.linalg.norm(grid.centres() - centre, axis=-1) - radius_m).astype(np.float32)


def l_shape(grid: VoxelGrid = GRID) -> np.ndarray:
    def box(low, high):
        q = np.maximum(np.array(low) - grid.centres(), grid.centres() - np.array(high))
        return q.max(axis=-1)

    upright = box((-0.04, -0.02, -0.04), (-0.01, 0.02, 0.04))
    foot = box((-0.04, -0.02, -0.04), (0.04, 0.02, -0.01))
    return np.minimum(upright, foot).astype(np.float32)


def volume(vertices, faces) -> float:
    corner = vertices[faces].astype(np.float64)
    return float(np.einsum("fi,fi->f", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])).sum() / 6)


def area(vertices, faces) -> float:
    corner = vertices[faces].astype(np.float64)
    return float(np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1).sum() / 2)


def test_sphere_has_its_volume_area_and_place():
    vertices, faces = isosurface(sphere(), GRID)
    # Chords of 2.5 mm on a radius of 40 mm lose 0.1 %.
    assert volume(vertices, faces) == pytest.approx(4 / 3 * np.pi * RADIUS_M**3, rel=0.005)
    assert area(vertices, faces) == pytest.approx(4 * np.pi * RADIUS_M**2, rel=0.005)
    np.testing.assert_allclose(np.linalg.norm(vertices - CENTRE, axis=1), RADIUS_M, atol=2e-4)
    assert is_closed(vertices, faces)


def test_faces_turn_counter_clockwise_seen_from_outside():
    vertices, faces = isosurface(sphere(), GRID)
    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert np.all(np.einsum("fi,fi->f", normal, corner.mean(axis=1) - CENTRE) > 0)


def test_a_solid_that_reaches_the_border_is_closed_there():
    vertices, faces = isosurface(sphere(radius_m=0.09), GRID)
    assert is_closed(vertices, faces)
    assert np.abs(vertices).max() <= 0.06 + GRID.voxel_m
    assert solid(vertices, faces, "nominal").volume() > 0


@pytest.mark.parametrize("seed", range(6))
def test_any_field_gives_a_closed_manifold(seed):
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(24, 20, 28)), 1.0).astype(np.float32)
    noise[np.abs(noise) < 0.01] = 0.0  # exact zeros are where vertices would coincide
    grid = VoxelGrid((24, 20, 28), (0.0, 0.0, 0.0), 0.002)
    vertices, faces = isosurface(noise * 0.01, grid)
    assert solid(vertices, faces, "noisy").volume() > 0


def test_field_without_inside_is_refused():
    with pytest.raises(MeshError, match="positive everywhere") as caught:
        isosurface(np.full(GRID.shape, 0.01, np.float32), GRID)
    assert caught.value.code == ErrorCode.MESH_INVALID


def test_one_voxel_inside_is_a_small_closed_solid():
    sdf = np.full(GRID.shape, 0.01, np.float32)
    sdf[10, 10, 10] = -0.001
    assert is_closed(*isosurface(sdf, GRID))


def test_open_mesh_is_not_published():
    vertices, faces = isosurface(sphere(), GRID)
    with pytest.raises(MeshError, match="not a closed manifold") as caught:
        solid(vertices, faces[:-1], "nominal")
    assert caught.value.code == ErrorCode.MESH_INVALID
    assert not is_closed(vertices, faces[:-1])


def test_flipped_face_is_not_published():
    vertices, faces = isosurface(sphere(), GRID)
    faces = faces.copy()
    faces[7] = faces[7][::-1]
    with pytest.raises(MeshError, match="nominal"):
        solid(vertices, faces, "nominal")
    assert not is_closed(vertices, faces)


def test_edge_shared_by_four_faces_is_not_closed():
    corner = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], np.float32)
    first = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    second = np.array([[0, 1, 4], [0, 5, 1], [0, 4, 5], [1, 5, 4]])
    assert is_closed(corner, first) and is_closed(corner, second)
    assert not is_closed(corner, np.concatenate([first, second]))


def test_mesh_turned_inside_out_is_not_published():
    vertices, faces = isosurface(sphere(), GRID)
    with pytest.raises(MeshError, match="volume"):
        solid(vertices, faces[:, ::-1], "nominal")


def test_crumbs_and_cavities_are_dropped():
    crumb = sphere(radius_m=0.006, centre=np.array([-0.05, -0.05, -0.05]))
    cavity = sphere(radius_m=0.015)
    dirty = np.maximum(np.minimum(sphere(), crumb), -cavity)
    vertices, faces = without_small_components(*isosurface(dirty, GRID), 0.02)
    assert volume(vertices, faces) == pytest.approx(4 / 3 * np.pi * RADIUS_M**3, rel=0.005)
    assert np.linalg.norm(vertices - CENTRE, axis=1).min() > 0.039
    assert faces.max() == len(vertices) - 1 and is_closed(vertices, faces)


def test_parts_of_some_size_stay():
    second = sphere(radius_m=0.012, centre=np.array([-0.045, -0.045, -0.045]))
    both = np.minimum(sphere(radius_m=0.03), second)
    vertices, _ = without_small_components(*isosurface(both, GRID), 0.02)  # 0.012^3 / 0.03^3 = 6 %
    assert np.linalg.norm(vertices - (-0.045, -0.045, -0.045), axis=1).min() < 0.013


def test_decimation_stays_within_its_tolerance():
    full = solid(*isosurface(sphere(), GRID), "nominal")
    vertices, faces = triangles(decimated(full, 0.0003, 2**31))
    middles = vertices[faces].mean(axis=1)
    away = np.abs(np.linalg.norm(np.concatenate([vertices, middles]) - CENTRE, axis=1) - RADIUS_M)
    assert len(faces) < full.num_tri()
    assert away.max() < 0.0003 + 0.0002  # its own 0.2 mm of discretisation


def test_decimation_goes_below_max_faces_and_stays_closed():
    full = solid(*isosurface(sphere(), GRID), "nominal")
    vertices, faces = triangles(decimated(full, 0.0, 500))
    assert len(faces) <= 500
    assert is_closed(vertices, faces)
    assert volume(vertices, faces) == pytest.approx(4 / 3 * np.pi * RADIUS_M**3, rel=0.1)


def test_convex_parts_are_convex_and_cover_the_solid():
    pytest.importorskip("coacd")
    from scipy.spatial import ConvexHull, Delaunay

    vertices, faces = triangles(decimated(solid(*isosurface(l_shape(), GRID), "nominal"), 0.0003, 2000))
    parts = convex_parts(vertices, faces, 0.08, seed=0)
    assert len(parts) >= 2
    for v, f in parts:
        assert volume(v, f) == pytest.approx(ConvexHull(v).volume, rel=0.01)
    inside = GRID.centres()[l_shape() < -GRID.voxel_m]
    covered = np.zeros(len(inside), bool)
    for v, _ in parts:
        covered |= Delaunay(v).find_simplex(inside) >= 0
    assert covered.mean() > 0.99
    together = sum(volume(v, f) for v, f in parts)
    assert together < 1.15 * volume(vertices, faces)  # one hull would hold 1.5 times as much


def test_convex_parts_are_the_same_in_every_run():
    pytest.importorskip("coacd")
    vertices, faces = triangles(decimated(solid(*isosurface(l_shape(), GRID), "nominal"), 0.0003, 2000))
    first, second = (convex_parts(vertices, faces, 0.2, seed=3) for _ in range(2))
    assert len(first) == len(second)
    for (v1, f1), (v2, f2) in zip(first, second, strict=True):
        assert np.array_equal(v1, v2) and np.array_equal(f1, f2)


def child_processes() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def children_s() -> float:
    """Return the processor seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_decomposition_ends_as_soon_as_the_caller_wants_to_stop():
    pytest.importorskip("coacd")
    vertices, faces = triangles(decimated(solid(*isosurface(l_shape(), GRID), "nominal"), 0.0003, 2000))
    before, used = child_processes(), children_s()  # multiprocessing leaves its resource tracker there
    asked: list[float] = []

    def stop_after_half_a_second() -> None:
        asked.append(time.perf_counter())
        if asked[-1] - asked[0] > 0.5:
            raise CancelledError(ErrorCode.CANCELLED, "enough")

    with pytest.raises(CancelledError):
        convex_parts(vertices, faces, 0.01, 0, stop_after_half_a_second)  # would take several seconds
    assert children_s() - used < 1.0
    assert child_processes() == before


def test_mistake_in_the_decomposition_is_told():
    pytest.importorskip("coacd")
    vertices, faces = triangles(decimated(solid(*isosurface(l_shape(), GRID), "nominal"), 0.0003, 2000))
    with pytest.raises(MeshError, match="threshold"):
        convex_parts(vertices, faces, 5.0, seed=0)


@pytest.mark.parametrize("start", ["-c", "-m", "path"])
def test_a_library_of_the_current_folder_is_never_run(tmp_path: Path, start: str):
    """Whoever works in a folder of somebody else, such as one of recordings, must not run what lies there."""
    pytest.importorskip("coacd")
    for name in ("coacd", "numpy", "struct", "runpy", "trap"):
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'run')!r}, 'a').write(__name__)\nraise SystemExit(9)"
        )
    code = """
import sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", sys.argv[1])]
import numpy, trimesh, manifold3d
from sparse_recon.fuse.convex import convex_parts
import os, struct, runpy
os.environ.pop("PYTHONSAFEPATH", None)  # it was for this process alone
if sys.argv[2] == "-c":
    sys.path.insert(0, "")
elif sys.argv[2] == "-m":
    sys.path.insert(0, sys.argv[1])
box = trimesh.creation.box((0.1, 0.1, 0.1)).subdivide()
print(len(convex_parts(box.vertices.astype("f4"), box.faces.astype("i4"), 0.2, 0)))
"""
    where = str(tmp_path) if start == "path" else ""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), where])}
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), start],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, "PYTHONSAFEPATH": "1"} if sys.version_info >= (3, 11) else environment,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "1" and not (tmp_path / "run").exists()
