"""Pictures of clouds and meshes show what stands where."""

import numpy as np
import trimesh

from sparse_recon.geometry.poses import look_at
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import Frame, TriangleMesh
from sparse_recon.viz.raster import shade_mesh, silhouettes, splat_cloud, views_around


def mesh_of(solid: trimesh.Trimesh) -> TriangleMesh:
    return TriangleMesh(solid.vertices.astype(np.float32), solid.faces.astype(np.int32), watertight=True)


def test_nearer_points_hide_farther_ones() -> None:
    grid = np.stack(np.meshgrid(np.linspace(-0.1, 0.1, 60), np.linspace(-0.1, 0.1, 60)), axis=-1).reshape(-1, 2)
    near = np.stack([np.full(3600, 0.05), grid[:, 0], grid[:, 1]], axis=1)
    points = np.concatenate([near, near - (0.1, 0.0, 0.0)]).astype(np.float32)
    colors = np.repeat(np.array([(250, 0, 0), (0, 0, 250)], np.uint8), 3600, axis=0)
    front, back = views_around(points, (0.0, 180.0), 120, elevation_deg=0.0)
    for view, seen in ((front, 0), (back, 2)):
        middle = splat_cloud(points, colors, view)[50:70, 50:70]
        assert (middle[..., seen] > 200).all() and (middle[..., 2 - seen] < 10).all()


def test_up_is_up_and_right_is_right_in_the_picture() -> None:
    frame = np.array([(0.0, y, z) for y in (-0.1, 0.1) for z in (-0.1, 0.1)])
    marker = np.concatenate([frame, [(0.0, 0.08, 0.07)]]).astype(np.float32)  # seen from +x, +y is on the right
    colors = np.array([(255, 255, 255)] * 4 + [(0, 120, 0)], np.uint8)
    (view,) = views_around(marker, (0.0,), 100, elevation_deg=0.0)
    rows, columns = np.nonzero(splat_cloud(marker, colors, view, point_m=0.01)[..., 0] < 128)
    assert rows.mean() < 40 and columns.mean() > 60


def test_everything_fits_into_every_view() -> None:
    points = np.random.default_rng(0).uniform((-0.02, -0.15, 0.3), (0.02, 0.2, 0.9), (500, 3))
    for view in views_around(points, (0.0, 75.0, 180.0), 100, elevation_deg=35.0):
        local = (points - view.centre_world) @ view.R_view_world.T
        assert np.abs(local[:, :2]).max() < view.half_width_m


def test_no_points_give_an_empty_picture() -> None:
    (view,) = views_around(np.eye(3), (0.0,), 40)
    assert (splat_cloud(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), view) == 255).all()


def test_mesh_covers_its_projected_area() -> None:
    ball = mesh_of(trimesh.creation.icosphere(subdivisions=4, radius=0.1))
    (view,) = views_around(ball.vertices_world, (30.0,), 200)
    (picture,) = shade_mesh(ball, (view,))
    covered = (picture < 250).all(axis=2).sum() / view.pixels_per_metre**2
    assert abs(covered - np.pi * 0.1**2) < 0.02 * np.pi * 0.1**2
    assert picture[60, 80].mean() > picture[140, 130].mean() + 20  # lit from the upper left


def test_silhouettes_respect_who_stands_in_front() -> None:
    cubes = [trimesh.creation.box((0.1, 0.1, 0.1)), trimesh.creation.box((0.1, 0.1, 0.1))]
    cubes[1].apply_translation((0.3, 0.05, 0.0))
    camera = depth_camera(160, 120)
    frame = Frame(np.zeros((120, 160, 3), np.uint8), None, camera, look_at((1, 0, 0), (0, 0, 0)), 1)
    labels = silhouettes([mesh_of(c) for c in cubes], frame)
    assert set(np.unique(labels)) == {0, 1, 2}
    assert labels[60, 82] == 2 and labels[60, 76] == 1  # +y is on the right, where the nearer cube stands


def test_painted_mesh_has_the_colours_of_its_vertices() -> None:
    ball = mesh_of(trimesh.creation.icosphere(subdivisions=3, radius=0.05))
    paint = np.where(ball.vertices_world[:, 2:] > 0, (200, 0, 0), (0, 0, 200)).astype(np.uint8)
    (view,) = views_around(ball.vertices_world, (0.0,), 100, elevation_deg=0.0)
    (picture,) = shade_mesh(ball, (view,), paint)
    upper, lower = picture[25, 50].astype(int), picture[75, 50].astype(int)
    assert upper[0] > 90 > 20 > upper[2] and lower[2] > 40 > 20 > lower[0]
