"""What cameras see of a surface, against formulas and exact ray casting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import around, ball, block, mug

from sparse_recon.geometry.poses import pose
from sparse_recon.lab.evaluate.metrics.surface import Surface
from sparse_recon.lab.evaluate.metrics.visibility import GRAZING_DEG, seen_by
from sparse_recon.lab.simulate.render import RenderedView, Renderer
from sparse_recon.lab.simulate.scene import Scene, SceneObject, scene_of
from sparse_recon.lab.simulate.virtual_cameras import depth_camera

TOLERANCE_M = 0.001


def views(scene: Scene, count: int = 1, distance_m: float = 0.55) -> list[RenderedView]:
    return [Renderer(scene).render(depth_camera(640, 480), T) for T in around(count, distance_m=distance_m)]


def samples(one: SceneObject, count: int = 20_000) -> Surface:
    return Surface.of_mesh(one.mesh_world, count, 0)


def alone(shape) -> Scene:
    return scene_of([shape], [pose(np.eye(3), (0, 0, 0))])


def exactly(scene: Scene, surface: Surface, eye_world) -> np.ndarray:
    """Which points of a surface a ray from the camera reaches."""
    import open3d as o3d

    rays = o3d.t.geometry.RaycastingScene()
    for one in scene.objects:
        mesh = one.mesh_world
        rays.add_triangles(o3d.core.Tensor(mesh.vertices_world), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    towards = surface.points_world - np.float32(eye_world)
    origin = np.broadcast_to(np.float32(eye_world), towards.shape)
    hit = rays.cast_rays(o3d.core.Tensor(np.concatenate([origin, towards], axis=1)))["t_hit"].numpy()
    return hit > 1.0 - TOLERANCE_M / np.linalg.norm(towards, axis=1)


def test_camera_sees_the_cap_of_a_ball_that_its_tangents_touch():
    scene, distance_m = alone(ball(0.04)), 0.55
    points = samples(scene.objects[0])
    seen = seen_by(points.points_world, points.normals_world, views(scene, 1, distance_m), TOLERANCE_M)
    # Less the rim that is seen more obliquely than 85 degrees: 5 degrees of the 86 from the middle of the cap.
    rim = np.deg2rad(85.0) - np.arcsin(0.04 * np.sin(np.deg2rad(85.0)) / distance_m)
    assert seen.mean() == pytest.approx((1 - np.cos(rim)) / 2, abs=0.01)


def test_three_sides_of_a_box_are_seen_and_three_are_not():
    scene = alone(block())
    points = samples(scene.objects[0])
    view = views(scene)[0]
    seen = seen_by(points.points_world, points.normals_world, [view], TOLERANCE_M)
    towards = view.T_world_cam[:3, 3] - points.points_world
    faces = np.einsum("nd,nd->n", points.normals_world, towards) > 0
    assert seen[faces].mean() > 0.999 and not seen[~faces].any()


@pytest.mark.parametrize("kind", ["mug behind a block", "mug"])
def test_agrees_with_rays_cast_from_the_camera(kind):
    at = [(0, 0, 0)] if kind == "mug" else [(0, 0, 0), (0.12, 0.05, 0)]
    scene = scene_of([mug(), block()][: len(at)], [pose(np.eye(3), t) for t in at])
    points, view = samples(scene.objects[0]), views(scene)[0]
    seen = seen_by(points.points_world, points.normals_world, [view], TOLERANCE_M)
    towards = view.T_world_cam[:3, 3] - points.points_world
    cosine = np.einsum("nd,nd->n", towards, points.normals_world) / np.linalg.norm(towards, axis=1)
    exact = exactly(scene, points, view.T_world_cam[:3, 3]) & (cosine > np.cos(np.deg2rad(GRAZING_DEG)))
    # They differ along outlines, by half a pixel of 1 mm.
    assert 0.1 < exact.mean() < 0.5
    assert (seen == exact).mean() > 0.997


def test_occluder_hides_what_is_behind_it():
    free = alone(ball())
    hidden = scene_of([ball(), block((0.02, 0.12, 0.15))], [pose(np.eye(3), t) for t in ((0, 0, 0), (0.08, 0.03, 0))])
    points = samples(free.objects[0])
    before, after = (seen_by(points.points_world, points.normals_world, views(s), TOLERANCE_M) for s in (free, hidden))
    assert not np.any(after & ~before) and after.sum() < 0.5 * before.sum()


def test_more_cameras_see_what_each_of_them_sees():
    scene = alone(mug())
    points, ring = samples(scene.objects[0], 5000), views(scene, 3)
    each = [seen_by(points.points_world, points.normals_world, [v], TOLERANCE_M) for v in ring]
    together = seen_by(points.points_world, points.normals_world, ring, TOLERANCE_M)
    np.testing.assert_array_equal(together, each[0] | each[1] | each[2])
    assert together.sum() > max(e.sum() for e in each)


def test_inside_of_a_thin_sheet_is_not_seen_through_it():
    # The inner side of a wall of 0.5 mm lies within the tolerance behind the outer one, but faces away.
    plate = block((0.1, 0.0005, 0.08))
    scene = alone(plate)
    points = samples(scene.objects[0])
    seen = seen_by(points.points_world, points.normals_world, views(scene), TOLERANCE_M)
    sides = np.abs(points.normals_world[:, 1]) > 0.9
    assert seen[sides].mean() == pytest.approx(0.5, abs=0.01)


def test_what_is_outside_the_image_is_not_seen():
    scene = alone(ball())
    points, view = samples(scene.objects[0], 1000), views(scene)[0]
    turned = replace(view, T_world_cam=view.T_world_cam @ pose(np.diag([-1.0, 1.0, -1.0]), (0, 0, 0)))
    assert not seen_by(points.points_world, points.normals_world, [turned], TOLERANCE_M).any()


def test_no_camera_and_no_points_see_nothing():
    none = np.zeros((0, 3), np.float32)
    points = samples(alone(ball()).objects[0], 10)
    assert not seen_by(points.points_world, points.normals_world, [], TOLERANCE_M).any()
    assert len(seen_by(none, none, views(alone(ball())), TOLERANCE_M)) == 0
