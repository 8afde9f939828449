"""Rendered depth, labels and visibility against formulas."""

import numpy as np
import pytest
import trimesh

from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.render import RenderedView, Renderer
from sparse_recon.lab.simulate.scene import scene_of, tabletop_scene
from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import CameraIntrinsics

CAMERA = CameraIntrinsics(161, 121, np.array([[150.0, 0, 78.3], [0, 152.0, 61.9], [0, 0, 1]]))
FROM = look_at((0.6, -0.3, 0.5), (0.0, 0.0, 0.05))
TOLERANCE_M = 1e-5  # float32 rays at one metre


def shape_of(mesh: trimesh.Trimesh, name: str = "solid") -> Shape:
    colors = np.full((len(mesh.vertices), 3), 200, np.uint8)
    return Shape(name, np.asarray(mesh.vertices, dtype=np.float64), mesh.faces.astype(np.int32), colors)


def rays_world(T_world_cam: np.ndarray) -> np.ndarray:
    return pixel_rays(CAMERA).astype(np.float64) @ T_world_cam[:3, :3].T


def box_view() -> RenderedView:
    box = trimesh.creation.box((0.1, 0.16, 0.2))
    box.apply_translation((0, 0, 0.1))
    return Renderer(scene_of([shape_of(box)], [np.eye(4)])).render(CAMERA, FROM)


def test_table_depth_is_that_of_the_plane() -> None:
    view = box_view()
    expected = -FROM[2, 3] / rays_world(FROM)[..., 2]
    hit = rays_world(FROM) * expected[..., None] + FROM[:3, 3]
    table = (view.labels == 0) & (np.abs(hit[..., 0]) < 0.59) & (np.abs(hit[..., 1]) < 0.44) & (expected > 0)
    assert table.sum() > 5000
    np.testing.assert_allclose(view.depth_m[table], expected[table], atol=TOLERANCE_M)
    np.testing.assert_allclose(view.normals_world[table], np.broadcast_to((0, 0, 1), (table.sum(), 3)), atol=1e-5)


def test_box_depth_and_labels_are_those_of_the_slab_test() -> None:
    view, rays = box_view(), rays_world(FROM)
    low, high = np.array([-0.05, -0.08, 0.0]), np.array([0.05, 0.08, 0.2])
    near, far = (low - FROM[:3, 3]) / rays, (high - FROM[:3, 3]) / rays
    enter, leave = np.minimum(near, far).max(axis=-1), np.maximum(near, far).min(axis=-1)
    inside = leave - enter > 1e-4  # rays that only graze an edge may round either way
    assert inside.sum() > 1000
    np.testing.assert_allclose(view.depth_m[inside], enter[inside], atol=TOLERANCE_M)
    assert (view.labels[inside] == 1).all()
    assert (view.labels[leave < enter - 1e-4] == 0).all()


def test_sphere_depth_is_that_of_the_quadratic() -> None:
    radius, centre = 0.06, np.array([0.0, 0.0, 0.06])
    ball = shape_of(trimesh.creation.icosphere(subdivisions=7, radius=radius))
    view = Renderer(scene_of([ball], [pose(np.eye(3), centre)])).render(CAMERA, FROM)
    rays, offset = rays_world(FROM), FROM[:3, 3] - centre
    a, b, c = (rays**2).sum(-1), (rays * offset).sum(-1), (offset**2).sum() - radius**2
    root = b * b - a * c
    facing = root > 0.15 * (b * b - a * ((offset**2).sum() - 0.99 * radius**2)).max()
    expected = (-b - np.sqrt(np.where(facing, root, np.nan))) / a
    assert facing.sum() > 300
    np.testing.assert_allclose(view.depth_m[facing], expected[facing], atol=TOLERANCE_M)
    assert (view.labels[facing] == 1).all()


def test_depth_is_missing_and_label_zero_beside_everything() -> None:
    view = Renderer(tabletop_scene(0)).render(CAMERA, look_at((2.0, 0.0, 0.5), (4.0, 0.0, 0.5)))
    assert np.isnan(view.depth_m).all()
    assert (view.labels == 0).all()


def test_visibility_is_the_share_that_nothing_hides() -> None:
    plate = trimesh.creation.box((0.01, 0.2, 0.2))
    plate.apply_translation((0, 0, 0.1))
    half = trimesh.creation.box((0.01, 0.1, 0.2))
    half.apply_translation((0, 0.05, 0.1))
    scene = scene_of([shape_of(plate), shape_of(half)], [np.eye(4), pose(np.eye(3), (0.01, 0, 0))])
    renderer, T = Renderer(scene), look_at((3.0, 0.0, 0.1), (0.0, 0.0, 0.1))
    camera = depth_camera(320, 240, 12.0)
    shares = renderer.visibility(camera, T, renderer.render(camera, T).labels)
    assert shares[2] == 1.0
    assert shares[1] == pytest.approx(0.5, abs=0.02)


def test_visibility_is_zero_out_of_view() -> None:
    renderer, T = Renderer(tabletop_scene(0)), look_at((2.0, 0.0, 0.5), (4.0, 0.0, 0.5))
    assert set(renderer.visibility(CAMERA, T, renderer.render(CAMERA, T).labels).values()) == {0.0}


def test_shadow_falls_on_the_table_beside_a_box() -> None:
    box = trimesh.creation.box((0.1, 0.16, 0.2))
    box.apply_translation((0, 0, 0.1))
    renderer = Renderer(scene_of([shape_of(box)], [np.eye(4)]))
    lit, shaded = (renderer.render(CAMERA, FROM, shadows=s).rgb.astype(int).sum(-1) for s in (False, True))
    assert (shaded <= lit).all()
    assert 200 < (shaded < lit - 60).sum() < 0.3 * shaded.size


def test_two_renders_are_equal_bit_for_bit() -> None:
    first, again = (Renderer(tabletop_scene(5)).render(CAMERA, FROM) for _ in range(2))
    np.testing.assert_array_equal(first.depth_m, again.depth_m)
    np.testing.assert_array_equal(first.rgb, again.rgb)
