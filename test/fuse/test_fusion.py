"""Measured and imagined surface put together, against a ball whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scenes import around, ball, recording
from scipy.spatial import Delaunay, cKDTree
from scipy.spatial.transform import Rotation
from solids import turn

from sparse_recon.completion import Completion, SampledField
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.errors import ModelError
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.evidence.depth_noise import depth_sigma
from sparse_recon.fuse.blend import fine_grid
from sparse_recon.fuse.fusion import free_space_violation, fuse, grown_everywhere
from sparse_recon.fuse.imagined import imagined_field
from sparse_recon.fuse.mesh import isosurface
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import inverse, pose, transform_points
from sparse_recon.lab.evaluate.metrics.mesh_query import MeshQuery
from sparse_recon.lab.simulate.render import Renderer
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import Frame, GeneratedView, ObjectFrame, ObjectView, ObjectViews, Provenance, SurfaceField

CONFIG = load_config({"evidence.grid": 48, "evidence.fine_voxel_m": 0.002})
RADIUS_M = 0.04
# The recorded scene is turned and shifted as a whole, and the object's frame once more about its vertical and off the
# ball's centre: an axis or an origin that is mistaken for another one shows.
T_WORLD_SCENE = turn(7)
CENTRE_SCENE = np.array([0.0, 0.0, 0.04])
OBJECT_IN_SCENE = pose(Rotation.from_rotvec([0, 0, 0.7]).as_matrix(), (0.004, -0.006, 0.038))
OBJECT_FRAME = ObjectFrame(T_WORLD_SCENE @ OBJECT_IN_SCENE, 0.065, -0.038)
CENTRE_WORLD = transform_points(T_WORLD_SCENE, CENTRE_SCENE)
CENTRE_OBJ = transform_points(inverse(OBJECT_IN_SCENE), CENTRE_SCENE)
COARSE = VoxelGrid.cube(CONFIG.evidence.grid, OBJECT_FRAME.half_side_m)


@lru_cache(maxsize=8)
def views(count: int, sensor: str = "clean") -> ObjectViews:
    made = []
    for frame in recording("ball", count, sensor).frames:
        frame = replace(frame, T_world_cam=T_WORLD_SCENE @ frame.T_world_cam)
        mask = frame.labels == 1
        made.append(ObjectView(frame, mask, ~mask & (frame.depth_m > 0), depth_sigma(frame.depth_m, DepthConfig())))
    return ObjectViews("ball", tuple(made), OBJECT_FRAME)


def evidence_of(observed: ObjectViews) -> Evidence:
    evidence = Evidence.empty(OBJECT_FRAME, COARSE, CONFIG.evidence)
    for view in observed.views:
        evidence.add(view)
    return evidence


def sphere_field(radius_m: float = RADIUS_M, error_m: float = 0.002) -> SurfaceField:
    sdf = (np.linalg.norm(COARSE.centres() - CENTRE_OBJ, axis=-1) - radius_m).astype(np.float32)
    return SurfaceField(sdf, np.full(COARSE.shape, error_m, np.float32))


def fused(observed: ObjectViews, surface: SurfaceField, config: SessionConfig = CONFIG, seed: int = 0):
    return fuse(observed, surface, evidence_of(observed), config, np.random.default_rng(seed), lambda stage: None)


@lru_cache(maxsize=8)
def fused_sphere(count: int, radius_m: float = RADIUS_M, error_m: float = 0.002):
    return fused(views(count), sphere_field(radius_m, error_m))


def off_surface(points_world) -> np.ndarray:
    return np.linalg.norm(points_world - CENTRE_WORLD, axis=1) - RADIUS_M


def chamfer(points_world) -> float:
    truth = transform_points(T_WORLD_SCENE, ball().vertices_obj)
    return 0.5 * (cKDTree(truth).query(points_world)[0].mean() + cKDTree(points_world).query(truth)[0].mean())


def test_true_imagination_gives_the_true_surface():
    result = fused_sphere(2)
    assert np.abs(off_surface(result.points_world)).mean() < 0.0005
    assert result.nominal.watertight and result.conservative.watertight
    assert result.free_space_violation == 0.0
    assert not result.evidence_soft


def test_points_have_unit_normals_that_point_out():
    result = fused_sphere(2)
    np.testing.assert_allclose(np.linalg.norm(result.normals_world, axis=1), 1.0, atol=1e-4)
    outward = np.einsum("nk,nk->n", result.normals_world, result.points_world - CENTRE_WORLD) / RADIUS_M
    # Surface cut by the edge of free space follows the voxels and leans a little.
    assert np.mean(outward > 0.75) > 0.98 and np.median(outward) > 0.97


def test_provenance_is_observed_where_cameras_looked_and_inferred_elsewhere():
    result = fused_sphere(1)
    assert set(np.unique(result.provenance)) == {Provenance.OBSERVED, Provenance.INFERRED}
    towards = views(1).views[0].frame.T_world_cam[:3, 3] - CENTRE_WORLD
    cosine = (result.points_world - CENTRE_WORLD) @ towards / np.linalg.norm(towards) / RADIUS_M
    assert np.all(result.provenance[cosine > 0.5] == Provenance.OBSERVED)
    assert np.all(result.provenance[cosine < -0.3] == Provenance.INFERRED)
    assert result.observed_fraction == pytest.approx(np.mean(result.provenance == Provenance.OBSERVED))


def test_confidence_is_a_probability_and_higher_where_it_was_measured():
    result = fused_sphere(1, error_m=0.01)
    for confidence in (result.confidence, result.vertex_confidence):
        assert np.all((confidence >= 0) & (confidence <= 1))
    observed = result.provenance == Provenance.OBSERVED
    assert result.confidence[observed].mean() > result.confidence[~observed].mean() + 0.2
    assert len(result.vertex_confidence) == len(result.nominal.vertices_world)


def test_tail_stretches_radius90_and_nothing_of_the_best_estimate():
    surface = sphere_field(error_m=0.004)
    one, three = (fused(views(1), replace(surface, tail=tail)) for tail in (1.0, 3.0))
    assert three.radius90_m == pytest.approx(3.0 * one.radius90_m, rel=1e-4)  # found by bisection
    assert np.array_equal(three.points_world, one.points_world) and np.array_equal(three.confidence, one.confidence)


def test_less_certain_imagination_is_told():
    sure, unsure = fused_sphere(1, error_m=0.002), fused_sphere(1, error_m=0.01)
    assert unsure.confidence.mean() < sure.confidence.mean()
    assert unsure.radius90_m > 2 * sure.radius90_m


def test_colours_come_from_the_images_and_are_carried_to_unseen_surface():
    result = fused_sphere(1)
    inferred = result.provenance == Provenance.INFERRED
    measured, carried = (result.colors[part].astype(float) for part in (~inferred, inferred))
    assert np.any(measured != 128)
    usual = np.median(measured, axis=0)
    assert np.abs(np.median(carried, axis=0) - usual).max() < 6  # what most of the seen side is painted like
    assert (carried >= measured.min(axis=0) - 1).all() and (carried <= measured.max(axis=0) + 1).all()


@pytest.mark.parametrize(("count", "sensor"), [(1, "clean"), (4, "clean"), (4, "kinect")])
def test_observed_surface_moves_less_than_half_a_sigma(count, sensor):
    observed = views(count, sensor)
    # An imagined ball that is 6 mm too large pulls at the rim of what was seen.
    result = fused(observed, sphere_field(RADIUS_M + 0.006))
    seen = result.points_world[result.provenance == Provenance.OBSERVED]
    sigma = float(np.median(np.concatenate([v.sigma_m[v.mask & (v.frame.depth_m > 0)] for v in observed.views])))
    measured = transform_points(OBJECT_FRAME.T_world_obj, evidence_of(observed).all_points_obj().astype(np.float64))
    # The surface against the measured points nearest to it, along the normal: noise averages out, a shift does not.
    distance, nearest = cKDTree(measured).query(seen, k=9)
    along = np.linalg.norm(measured[nearest] - CENTRE_WORLD, axis=-1).mean(axis=1)
    shift = np.linalg.norm(seen - CENTRE_WORLD, axis=1) - along
    assert len(seen) > 500 and distance.max() < 0.02
    assert abs(shift.mean()) < 0.5 * sigma
    assert np.median(np.abs(shift)) < 0.5 * sigma


def test_imagination_cannot_stand_in_space_that_was_seen_to_be_empty():
    result = fused_sphere(4, radius_m=0.055)
    assert result.free_space_violation == 0.0
    points_scene = transform_points(inverse(T_WORLD_SCENE), result.points_world)
    upper = points_scene[:, 2] > 0.05  # no camera looks under the ball
    assert off_surface(result.points_world[upper]).max() < 0.005


def test_surface_in_free_space_is_counted():
    bounds = Bounds.of(evidence_of(views(4)))
    mesh = ball(0.05)
    vertices = mesh.vertices_obj - (0, 0, 0.05)
    outer = (CENTRE_OBJ + vertices).astype(np.float32)
    assert free_space_violation(outer, mesh.faces, bounds) > 0.5
    inner = (CENTRE_OBJ + 0.7 * vertices).astype(np.float32)
    assert free_space_violation(inner, mesh.faces, bounds) == 0.0


@pytest.mark.parametrize("count", [1, 2])
def test_conservative_mesh_holds_the_nominal_one(count):
    import open3d as o3d

    result = fused_sphere(count, error_m=0.006)
    scene = o3d.t.geometry.RaycastingScene()
    hull = result.conservative
    scene.add_triangles(o3d.core.Tensor(hull.vertices_world), o3d.core.Tensor(hull.faces.astype(np.uint32)))
    distance = scene.compute_signed_distance(o3d.core.Tensor(result.nominal.vertices_world)).numpy()
    # Both are decimated on their own: each may move by fusion.simplify_tolerance_m.
    assert distance.max() < 2 * CONFIG.fusion.simplify_tolerance_m
    assert distance.min() < -0.003  # and it grew where nobody looked


def test_conservative_mesh_does_not_enter_known_free_space():
    result = fused_sphere(2, error_m=0.02)
    grid = fine_grid(sphere_field(), COARSE, evidence_of(views(2)).all_points_obj(), CONFIG.evidence)
    bounds = Bounds.of(Evidence.of(views(2), grid, CONFIG.evidence))
    vertices = transform_points(inverse(OBJECT_FRAME.T_world_obj), result.conservative.vertices_world)
    assert free_space_violation(vertices.astype(np.float32), result.conservative.faces, bounds) == 0.0
    assert np.linalg.norm(vertices, axis=1).max() > RADIUS_M + 0.005  # and it grew elsewhere


# Draws beside the answer


def draws(*radii_m: float) -> tuple[SampledField, ...]:
    """Balls that stand on the table as the true one does, of equal weight."""
    return tuple(
        SampledField((np.linalg.norm(COARSE.centres() - CENTRE_OBJ, axis=-1) - r).astype(np.float32), 1 / len(radii_m))
        for r in radii_m
    )


def fused_with(hypotheses, config: SessionConfig = CONFIG, pose_error_m: float = 0.0, error_m: float = 0.006):
    stages: list[str] = []
    result = fuse(
        views(1),
        sphere_field(error_m=error_m),
        evidence_of(views(1)),
        config,
        np.random.default_rng(0),
        stages.append,
        hypotheses,
        pose_error_m,
    )
    return result, stages


def volume_m3(mesh) -> float:
    corner = mesh.vertices_world[mesh.faces].astype(np.float64)
    return float(np.einsum("fi,fi->", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])) / 6)


def test_draws_are_published_as_closed_meshes_with_weights():
    result, stages = fused_with(draws(0.034, 0.046))
    assert "hypotheses" in stages and [h.weight for h in result.hypotheses] == [0.5, 0.5]
    small, large = (volume_m3(h.mesh) for h in result.hypotheses)
    assert small < volume_m3(result.nominal) < large
    assert all(h.mesh.watertight for h in result.hypotheses)
    assert all(len(h.mesh.faces) <= CONFIG.fusion.hypothesis_faces for h in result.hypotheses)


def test_draws_have_what_was_measured_and_keep_out_of_free_space():
    (large,) = fused_with(draws(0.06))[0].hypotheses
    eye = views(1).views[0].frame.T_world_cam[:3, 3]
    towards = (eye - CENTRE_WORLD) / np.linalg.norm(eye - CENTRE_WORLD)
    off = large.mesh.vertices_world - CENTRE_WORLD
    ahead = off @ towards > 0.8 * np.linalg.norm(off, axis=1)
    assert np.linalg.norm(off[ahead], axis=1).max() < RADIUS_M + 0.003
    assert np.linalg.norm(off, axis=1).max() > RADIUS_M + 0.01  # behind it is as large as drawn


def test_the_collision_mesh_grows_by_the_spread_of_draws_and_not_by_the_claim():
    alone = volume_m3(fused_with(())[0].conservative)
    alike = volume_m3(fused_with(draws(0.04, 0.04, 0.04))[0].conservative)
    apart = volume_m3(fused_with(draws(0.03, 0.04, 0.05))[0].conservative)
    solid = volume_m3(fused_with(())[0].nominal)
    assert solid < alike < 0.9 * alone
    assert apart > 1.2 * alike


def test_a_single_draw_tells_no_spread_and_the_claim_stays():
    (alone, _), (one, _) = fused_with(()), fused_with(draws(0.04))
    assert volume_m3(one.conservative) == pytest.approx(volume_m3(alone.conservative), rel=0.02)


def test_the_answer_is_the_same_with_draws_that_stay_in_its_block():
    (alone, _), (beside, _) = fused_with(()), fused_with(draws(0.038, 0.039))
    for name in ("points_world", "normals_world", "confidence", "provenance"):
        assert np.array_equal(getattr(alone, name), getattr(beside, name)), name
    assert np.array_equal(alone.nominal.vertices_world, beside.nominal.vertices_world)


def test_wrong_poses_grow_the_collision_mesh_on_all_sides():
    (exact, _), (off, _) = fused_with((), error_m=0.001), fused_with((), pose_error_m=0.004, error_m=0.001)
    reach = [np.ptp(r.conservative.vertices_world, axis=0) for r in (exact, off)]
    assert reach[1] - reach[0] == pytest.approx([0.008] * 3, abs=0.003)
    assert np.array_equal(exact.nominal.vertices_world, off.nominal.vertices_world)


@pytest.mark.parametrize("pose_error_m", [0.004, 0.03])
def test_the_collision_mesh_holds_the_object_wherever_wrong_poses_may_put_it(pose_error_m):
    """Also where that is beyond the block of voxels that holds the object, whose rim is 7 mm here."""
    (off, _) = fused_with((), pose_error_m=pose_error_m, error_m=0.001)
    solid = MeshQuery(off.conservative)
    nominal = off.nominal.vertices_world
    for towards in np.concatenate([np.eye(3), -np.eye(3)]) @ OBJECT_FRAME.T_world_obj[:3, :3].T:
        moved = (nominal + 0.97 * pose_error_m * towards).astype(np.float32)
        assert solid.inside(moved)[0].mean() > 0.995
    reach = np.ptp(off.conservative.vertices_world, axis=0) - np.ptp(nominal, axis=0)
    assert reach.max() < 2 * pose_error_m + 0.01  # and it is not larger than that asks for


@pytest.mark.parametrize(("most", "shape"), [(200, 94), (60, 60)])
def test_a_grown_solid_has_room_in_no_more_voxels_than_allowed(most, shape):
    grid = VoxelGrid.cube(40, 0.04)
    distance_m = np.linalg.norm(grid.centres(), axis=-1) - 0.03
    cut = np.minimum(distance_m, 0.001).astype(np.float32)  # as free space cuts it: no distance outside
    sdf_m, wide = grown_everywhere(cut, grid, 0.05, most)
    assert wide.shape == (shape,) * 3
    reached_m = np.linalg.norm(isosurface(sdf_m, wide)[0], axis=1)
    assert reached_m.min() > 0.08 - 0.1 * wide.voxel_m
    assert reached_m.max() < 0.08 + (1.0 if most == 200 else 2.0) * wide.voxel_m


def test_a_wall_thinner_than_the_wider_voxels_is_grown_too():
    grid = VoxelGrid.cube(40, 0.04)
    wall_m = (np.abs(grid.centres()[..., 0] - 0.001) - 0.0008).astype(np.float32)
    wall_m = np.maximum(wall_m, np.abs(grid.centres()).max(axis=-1) - 0.03).astype(np.float32)
    sdf_m, wide = grown_everywhere(wall_m, grid, 0.005, 20)
    assert wide.sample(sdf_m, np.array([[0.0055, y, 0.0] for y in (-0.02, 0.0, 0.02)], np.float32)).max() < 0


def test_a_collision_mesh_in_free_space_keeps_to_its_number_of_faces():
    config = load_config({"fusion.max_faces": 1500, "fusion.simplify_tolerance_m": 0.0}, CONFIG)
    assert len(fused_with((), config, pose_error_m=0.002)[0].conservative.faces) <= 1500


def test_hypotheses_that_take_too_many_faces_are_left_out_and_told(caplog):
    rough = np.random.default_rng(0).normal(0.0, 0.01, COARSE.shape).astype(np.float32)
    spiky = SampledField(np.where(sphere_field().sdf_m < 0.01, rough, np.float32(0.02)), 0.5)
    config = load_config({"fusion.hypothesis_faces": 300, "fusion.min_component": 0.0}, CONFIG)
    result, _ = fused_with((spiky, *draws(0.04)), config)
    assert [h.weight for h in result.hypotheses] == [1.0]
    assert "hypothesis 0 is left out" in caplog.text


def test_faces_stay_below_the_limit():
    config = load_config({"fusion.max_faces": 400, "fusion.simplify_tolerance_m": 0.0}, CONFIG)
    result = fused(views(1), sphere_field(), config)
    assert result.nominal.watertight
    assert len(result.nominal.faces) <= 400 or result.free_space_violation == 0.0


def test_convex_parts_hold_the_conservative_mesh_on_request():
    pytest.importorskip("coacd")
    config = load_config({"fusion.convex_parts": True}, CONFIG)
    stages = []
    result = fuse(views(1), sphere_field(), evidence_of(views(1)), config, np.random.default_rng(0), stages.append)
    assert stages[-1] == "convex_parts" and all(part.watertight for part in result.convex_parts)
    inner = CENTRE_WORLD + 0.97 * (result.nominal.vertices_world - CENTRE_WORLD)
    covered = np.zeros(len(inner), bool)
    for part in result.convex_parts:
        covered |= Delaunay(part.vertices_world).find_simplex(inner) >= 0
    assert 1 <= len(result.convex_parts) <= 6 and covered.mean() > 0.99
    assert fused_sphere(1).convex_parts == ()


def test_same_seed_same_bytes_and_inputs_are_left_alone():
    observed, surface = views(1), sphere_field()
    before = surface.sdf_m.copy()
    first, second = fused(observed, surface, seed=5), fused(observed, surface, seed=5)
    for name in ("points_world", "normals_world", "colors", "confidence", "provenance", "vertex_confidence"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert np.array_equal(surface.sdf_m, before)


# Imagined views


@lru_cache(maxsize=1)
def rendered_views() -> tuple[GeneratedView, ...]:
    """The true ball seen from all round, from above and from below, as a perfect model would imagine it."""
    renderer = Renderer(scene_of([ball()], [pose(np.eye(3), (0, 0, 0))]))
    cameras = [T for e in (35, -35) for T in around(6, elevation_deg=e, distance_m=0.4)]
    generated = []
    for i, T_world_cam in enumerate(cameras):
        view = renderer.render(depth_camera(160, 120), T_world_cam, shadows=False)
        mask = view.labels == 1
        if i >= 6:  # a model imagines the object alone; our renderer has a table in the way
            view = _alone(T_world_cam)
            mask = view.depth_m > 0
        depth = np.where(mask, view.depth_m, np.float32(np.nan))
        frame = Frame(view.rgb, depth, view.intrinsics, T_WORLD_SCENE @ T_world_cam, i)
        generated.append(GeneratedView(frame, mask, np.full(mask.shape, 0.9, np.float32), "truth", 0))
    return tuple(generated)


def _alone(T_world_cam):
    far_below = replace(scene_of([ball()], [pose(np.eye(3), (0, 0, 0))]), table=ball(0.001))
    return Renderer(far_below).render(depth_camera(160, 120), T_world_cam, shadows=False)


def imagined(completion: Completion) -> SurfaceField:
    return imagined_field(completion, views(1), evidence_of(views(1)), CONFIG)


def completed_from(generated: tuple[GeneratedView, ...]):
    surface = imagined(Completion("truth", 0, views=generated))
    return fused(views(1), surface)


def test_generated_views_complete_a_ball_seen_from_one_side():
    with_all = completed_from(rendered_views())
    with_one = completed_from(rendered_views()[:1])
    assert chamfer(with_all.points_world) < 0.0015
    assert chamfer(with_all.points_world) < 0.4 * chamfer(with_one.points_world)
    assert with_all.nominal.watertight and with_all.free_space_violation == 0.0


def test_generated_outlines_carve_though_their_background_has_no_depth():
    surface = imagined(Completion("truth", 0, views=rendered_views()))
    distance = np.linalg.norm(COARSE.centres() - CENTRE_OBJ, axis=-1) - RADIUS_M
    assert np.mean(surface.sdf_m[distance > 0.006] > 0) > 0.97
    assert np.mean(surface.sdf_m[distance < -0.006] < 0) > 0.999


def test_unsure_views_give_an_unsure_field():
    unsure = tuple(replace(v, confidence=np.full(v.mask.shape, 0.4, np.float32)) for v in rendered_views())
    sure_field, unsure_field = (imagined(Completion("truth", 0, views=v)) for v in (rendered_views(), unsure))
    near = np.abs(np.linalg.norm(COARSE.centres() - CENTRE_OBJ, axis=-1) - RADIUS_M) < 0.003
    assert np.median(unsure_field.sigma_m[near]) > 2 * np.median(sure_field.sigma_m[near])


def test_an_unsure_view_still_carves_what_it_sees_through():
    # The slack of an unsure depth must not reach from behind the cube into it.
    unsure = tuple(replace(v, confidence=np.where(v.mask, 0.3, 0.0).astype(np.float32)) for v in rendered_views())
    surface = imagined(Completion("truth", 0, views=unsure))
    distance = np.linalg.norm(COARSE.centres() - CENTRE_OBJ, axis=-1) - RADIUS_M
    assert np.mean(surface.sdf_m[distance > 0.02] > 0) > 0.97


def test_a_field_that_a_completer_hands_over_is_taken_as_it_is():
    surface = sphere_field()
    assert imagined(Completion("m", 0, surface=surface)) is surface


def test_a_completion_of_nothing_is_a_failure_of_the_model():
    with pytest.raises(ModelError, match="neither"):
        imagined(Completion("lazy", 0))
