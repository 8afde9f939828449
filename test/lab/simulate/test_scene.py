"""Scenes: upright objects that stand apart on the table, and cameras around them."""

import numpy as np
import pytest
import trimesh

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.geometry.poses import pose
from sparse_recon.lab.simulate.household import make_shape
from sparse_recon.lab.simulate.scene import scene_of, surface_samples, tabletop_scene
from sparse_recon.lab.simulate.virtual_cameras import camera_ring


def test_tabletop_objects_stand_on_the_table_and_apart() -> None:
    scene = tabletop_scene(3, count=4)
    assert [o.label for o in scene.objects] == [1, 2, 3, 4]
    clouds = [o.vertices_world for o in scene.objects]
    for i, cloud in enumerate(clouds):
        assert cloud[:, 2].min() == pytest.approx(scene.table_z_m, abs=1e-9)
        for other in clouds[i + 1 :]:
            gaps = np.linalg.norm(cloud[::40, None, :2] - other[None, ::40, :2], axis=2)
            assert gaps.min() > 0.02


def test_same_seed_gives_the_same_scene() -> None:
    first, again = tabletop_scene(8), tabletop_scene(8)
    for a, b in zip(first.objects, again.objects, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.vertices_world, b.vertices_world)


def test_table_is_a_closed_slab_below_its_height() -> None:
    scene = scene_of([make_shape("can", np.random.default_rng(0))], table_z_m=0.7)
    table = trimesh.Trimesh(scene.table.vertices_obj, scene.table.faces, process=False)
    assert table.is_watertight and table.volume == pytest.approx(1.2 * 0.9 * 0.03)
    assert scene.table.vertices_obj[:, 2].max() == 0.7
    assert scene.objects[0].vertices_world[:, 2].min() == pytest.approx(0.7)


def test_given_poses_are_kept_and_equal_names_told_apart() -> None:
    can = make_shape("can", np.random.default_rng(0))
    T = pose(np.eye(3), (0.2, 0.1, 0.0))
    scene = scene_of([can, can], [np.eye(4), T])
    assert [o.name for o in scene.objects] == ["can", "can_2"]
    np.testing.assert_allclose(scene.objects[1].vertices_world, can.vertices_obj + np.array((0.2, 0.1, 0.0)))


def test_wrong_number_of_poses_is_refused() -> None:
    can = make_shape("can", np.random.default_rng(0))
    with pytest.raises(InputError, match="one pose per shape") as caught:
        scene_of([can, can], [np.eye(4)])
    assert caught.value.code is ErrorCode.USAGE


def test_more_objects_than_the_table_holds_are_refused() -> None:
    can = make_shape("can", np.random.default_rng(0))
    with pytest.raises(InputError, match="no free place on the"):
        scene_of([can] * 120)


def test_surface_samples_lie_on_the_surface_in_proportion_to_area() -> None:
    mesh = scene_of([make_shape("box", np.random.default_rng(1))], [np.eye(4)]).objects[0].mesh_world
    points = surface_samples(mesh, 4000)
    faces = trimesh.Trimesh(mesh.vertices_world, mesh.faces, process=False)
    top = mesh.vertices_world[:, 2].max()
    share = faces.area_faces[faces.triangles_center[:, 2] > 0.999 * top].sum() / faces.area
    assert (points[:, 2] > 0.999 * top).mean() == pytest.approx(share, abs=0.02)
    assert np.abs(points).max() <= np.abs(mesh.vertices_world).max() + 1e-6


def test_ring_cameras_look_at_the_target_from_the_asked_distance_and_elevation() -> None:
    target = np.array([0.1, -0.2, 0.05])
    poses = camera_ring(
        6, np.random.default_rng(0), target, distance_m=(0.5, 0.8), elevation_deg=(20, 60), target_jitter_m=0.0
    )
    for T in poses:
        ray = target - T[:3, 3]
        distance = np.linalg.norm(ray)
        assert 0.5 <= distance <= 0.8
        np.testing.assert_allclose(T[:3, 2], ray / distance, atol=1e-12)
        assert 20 <= np.degrees(np.arcsin(-ray[2] / distance)) <= 60
        assert abs(T[2, 0]) < 1e-12  # the horizon is level


def test_ring_without_cameras_is_refused() -> None:
    with pytest.raises(InputError, match="count >= 1"):
        camera_ring(0, np.random.default_rng(0), (0, 0, 0))


@pytest.mark.parametrize(("seed", "count", "word"), [(-1, 3, "seed"), (0, 0, "at least one")])
def test_impossible_scene_is_refused(seed: int, count: int, word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        tabletop_scene(seed, count)
    assert caught.value.code is ErrorCode.USAGE
