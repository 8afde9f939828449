"""Antipodal grasps: the pairs are those of the definition, and the hands that hold them touch nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import solids
from lab.evaluate.grasp import rig

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.geometry.poses import transform_points
from sparse_recon.lab.evaluate.grasp.geometry import GivenGeometry, given_mesh, given_points, given_prediction
from sparse_recon.lab.evaluate.grasp.gripper import MAX_OPENING_M, corners, hand_boxes
from sparse_recon.lab.evaluate.grasp.sampling import approaches, sample_grasps
from sparse_recon.lab.evaluate.grasp.seeds import antipodal_pairs
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.lab.simulate.scene import samples_with_faces
from sparse_recon.types import SurfaceHypothesis

FRICTION = 0.5
CONE_RAD = np.arctan(FRICTION)


def test_pairs_are_those_of_the_definition():
    given = given_mesh(rig.box(), count=150)
    i, j, cosine = antipodal_pairs(given.points, given.normals, friction=FRICTION, max_width_m=0.06)
    expected = {}
    for a in range(150):
        for b in range(a + 1, 150):
            line = given.points[a].astype(float) - given.points[b]
            width = np.linalg.norm(line)
            angles = [np.arccos(np.clip(side @ line / width, -1, 1)) for side in (given.normals[a], -given.normals[b])]
            if 0.002 <= width <= 0.06 and max(angles) <= CONE_RAD:
                expected[a, b] = np.cos(max(angles))
    found = dict(zip(zip(i.tolist(), j.tolist(), strict=True), cosine.tolist(), strict=True))
    assert len(expected) > 20
    assert set(found) == set(expected)
    # Single precision of squared millimetres.
    assert [found[k] for k in sorted(found)] == pytest.approx([expected[k] for k in sorted(expected)], abs=1e-4)


def test_pairs_of_a_cylinder_pass_its_axis_within_the_friction_cone():
    given = given_mesh(rig.cylinder(0.025), count=1000)
    i, j, _ = antipodal_pairs(given.points, given.normals, friction=FRICTION)
    side = (np.abs(given.normals[i, 2]) < 0.5) & (np.abs(given.normals[j, 2]) < 0.5)
    a, b = given.points[i][side].astype(float), given.points[j][side].astype(float)
    line = (a - b)[:, :2]
    miss_m = np.abs(a[:, 0] * line[:, 1] - a[:, 1] * line[:, 0]) / np.linalg.norm(line, axis=1)
    assert side.sum() > 1000
    # A chord at distance d from the axis meets the normal at asin(d / r); 0.1 mm for the 256 facets.
    assert miss_m.max() <= 0.025 * np.sin(CONE_RAD) + 1e-4
    assert miss_m.max() > 0.9 * 0.025 * np.sin(CONE_RAD)


def test_a_box_is_grasped_across_its_narrow_side():
    best = sample_grasps(given_mesh(rig.box(), count=1000), 0.0)[0]
    assert abs(best.T_world_grasp[0, 1]) > 0.99
    # Sampled faces are exact; the axis may be a few degrees off.
    assert best.width_m == pytest.approx(0.05, abs=0.003)
    assert np.abs(best.contacts_world[:, 0]) == pytest.approx([0.025, 0.025], abs=0.002)
    assert best.T_world_grasp[:3, :3].T @ best.T_world_grasp[:3, :3] == pytest.approx(np.eye(3), abs=1e-12)


def test_grasps_that_hold_in_all_hypotheses_come_first():
    """Two bars in one: the end that all hypotheses have alike is gripped, not the one that may be elsewhere."""
    long, size = 0.12, (0.12, 0.03, 0.05)
    centre = (0.0, 0.0, size[2] / 2)
    answer = solids.box(size, centre)
    bent = [_sheared(answer, by) for by in (-0.6, -0.3, 0.3, 0.6)]
    plain = given_mesh(answer, count=1500)
    drawn = tuple(replace(given_mesh(mesh, count=1500), weight=0.25) for mesh in bent)
    first = sample_grasps(plain, 0.0, wanted=200)
    ranked = sample_grasps(replace(plain, hypotheses=drawn), 0.0, wanted=200)
    straight = [g.contacts_world.mean(axis=0)[0] for g in ranked[:20]]
    assert np.mean(straight) < -0.1 * long  # bars are alike at negative x
    assert np.mean([g.contacts_world.mean(axis=0)[0] for g in first[:20]]) > np.mean(straight)
    assert [g.score for g in ranked] == sorted((g.score for g in ranked), reverse=True)
    assert ranked[0].score <= first[0].score


def test_a_hypothesis_that_a_finger_would_hit_does_not_hold():
    """A tile that may stand 14 mm farther along y: there it reaches 4 mm beyond the open jaw that grips it along y."""
    tile = solids.box((0.06, 0.06, 0.02), (0.0, 0.0, 0.01))
    aside = (np.float32([0.0, by, 0.0]) for by in (-0.014, 0.014))
    drawn = [replace(tile, vertices_world=tile.vertices_world + by) for by in aside]
    given = replace(
        given_mesh(tile, count=1500),
        hypotheses=tuple(replace(given_mesh(one, count=1500), weight=0.5) for one in drawn),
    )
    ranked = sample_grasps(given, 0.0, wanted=500)
    along_y = [abs(g.T_world_grasp[1, 1]) > 0.95 for g in ranked]
    assert max(g.opening_m for g in ranked) <= 0.08
    assert not along_y[0] and ranked[0].score > 0.2 and any(along_y)
    assert max(g.score for g, y in zip(ranked, along_y, strict=True) if y) == 0.0


def _sheared(mesh, by: float):
    """Return a bar whose part at positive x is bent sideways."""
    vertices = mesh.vertices_world.copy()
    vertices[:, 1] += by * np.maximum(vertices[:, 0], 0.0)
    return replace(mesh, vertices_world=vertices)


def test_hypotheses_of_one_kind_leave_the_best_grasp_in_place():
    given = given_mesh(rig.box(), count=1000)
    same = replace(given, hypotheses=(replace(given, weight=0.5), replace(given, weight=0.5)))
    before, after = (sample_grasps(g, 0.0, wanted=1)[0] for g in (given, same))
    assert abs(after.T_world_grasp[0, 1]) > 0.99 and after.score == pytest.approx(before.score, abs=0.1)


def test_a_prediction_hands_its_hypotheses_over_with_their_weights():
    mesh = rig.box()
    drawn = (SurfaceHypothesis(mesh, 0.75), SurfaceHypothesis(rig.box((0.06, 0.1, 0.08)), 0.25))
    given = given_prediction(
        Prediction(mesh, np.zeros((0, 3), np.float32), np.zeros(0, bool), hypotheses=drawn), count=500
    )
    assert [one.weight for one in given.hypotheses] == [0.75, 0.25]
    assert np.ptp(given.hypotheses[1].points[:, 0]) == pytest.approx(0.06, abs=1e-4)


def test_a_box_wider_than_the_jaw_has_no_grasp():
    assert sample_grasps(given_mesh(rig.box((0.1, 0.1, 0.1)), count=1000), 0.0) == ()


@pytest.mark.parametrize("size_m", [(0.06, 0.12, 0.012), rig.BOX_M])
def test_hands_stay_above_the_table_and_out_of_the_object(size_m):
    grasps = sample_grasps(given_mesh(rig.box(size_m), count=1200), 0.0)
    assert grasps
    inside = samples_with_faces(solids.box(size_m, (0.0, 0.0, size_m[2] / 2)), 5000)[0]
    for grasp in grasps:
        for box in hand_boxes(grasp.opening_m):
            assert transform_points(grasp.T_world_grasp, corners(box))[:, 2].min() > 0.0
            local = (inside - grasp.T_world_grasp[:3, 3]) @ grasp.T_world_grasp[:3, :3]
            assert not ((local > box.low) & (local < box.high)).all(axis=1).any()


def test_a_conservative_mesh_blocks_what_the_surface_allows():
    surface = rig.box()
    assert sample_grasps(given_mesh(surface, rig.box((0.06, 0.11, 0.085))), 0.0)
    assert sample_grasps(given_mesh(surface, rig.box((0.12, 0.12, 0.12))), 0.0) == ()


def test_thin_walls_are_grasped_with_one_finger_inside():
    walls = [
        solids.box((0.004, 0.15, 0.06), (0.075, 0.0, 0.03)),
        solids.box((0.004, 0.15, 0.06), (-0.075, 0.0, 0.03)),
    ]
    best = sample_grasps(given_mesh(solids.together(*walls, solids.box((0.15, 0.15, 0.004), (0, 0, 0.002)))), 0.0)[0]
    assert best.width_m == pytest.approx(0.004, abs=0.001)
    assert abs(abs(best.T_world_grasp[0, 3]) - 0.075) < 0.005


def test_the_same_seed_gives_the_same_grasps_to_the_last_bit():
    one, other = (sample_grasps(given_mesh(rig.cylinder(), count=800, seed=3), 0.0, seed=3) for _ in range(2))
    assert np.array_equal([g.T_world_grasp for g in one], [g.T_world_grasp for g in other])
    assert [g.score for g in one] == [g.score for g in other]


def test_grasps_come_best_first():
    scores = [g.score for g in sample_grasps(given_mesh(rig.box(), count=1000), 0.0)]
    assert scores == sorted(scores, reverse=True) and 0 < scores[-1] <= scores[0] <= 1


def test_of_a_half_seen_box_the_far_contact_is_where_the_points_end():
    points, normals = _seen_from(np.array([1.0, 0.2, 0.8]))
    grasps = sample_grasps(given_points(points, normals), 0.0)
    assert grasps and min(g.score for g in grasps) > 0
    assert grasps[0].width_m == pytest.approx(0.05, abs=0.005)
    closed = given_points(points, normals)
    as_solid = GivenGeometry(closed.points, closed.normals, closed.obstacles, closed.centre_of_mass, closed=True)
    assert sample_grasps(as_solid, 0.0) == ()


def test_uncertain_contacts_are_avoided_and_reported():
    mesh = rig.box((0.05, 0.20, 0.05))
    given = given_mesh(mesh)
    certain = np.where(given.points[:, 1] > 0, 0.9, 0.2).astype(np.float32)
    known = GivenGeometry(
        given.points, given.normals, given.obstacles, given.centre_of_mass, given.closed, confidence=certain
    )
    best = sample_grasps(known, 0.0)[0]
    assert best.T_world_grasp[1, 3] > 0.005
    assert 0.7 < best.contact_confidence <= 0.9 + 1e-6  # the pads may reach over the border a little
    assert np.isnan(sample_grasps(given, 0.0)[0].contact_confidence)


def test_confidence_of_a_prediction_is_that_of_its_nearest_points():
    points, _ = samples_with_faces(rig.box(), 3000)
    confidence = np.where(points[:, 2] > 0.04, 1.0, 0.0).astype(np.float32)
    prediction = Prediction(rig.box(), points, np.zeros(3000, bool), confidence=confidence)
    given = given_prediction(prediction)
    clear = np.abs(given.points[:, 2] - 0.04) > 0.01
    assert np.array_equal(given.confidence[clear] > 0.5, given.points[clear, 2] > 0.04)


def test_twelve_approaches_turn_evenly_about_the_axis_the_first_from_above():
    axis = np.array([[1.0, 0.0, 0.0], [0.6, 0.0, 0.8], [0.0, 0.0, 1.0]], np.float32)
    R = approaches(axis).astype(float)
    assert R.shape == (3, 12, 3, 3)
    assert np.linalg.det(R) == pytest.approx(np.ones((3, 12)), abs=1e-5)
    assert np.allclose(R[..., 1], axis[:, None], atol=1e-6)
    turned = np.degrees(np.arccos(np.clip(np.einsum("skc,skc->sk", R[..., 2], np.roll(R[..., 2], 1, axis=1)), -1, 1)))
    assert turned == pytest.approx(np.full((3, 12), 30.0), abs=0.1)
    assert R[0, 0, :, 2] == pytest.approx([0, 0, -1], abs=1e-6)
    assert (R[:, 0, 2, 2] <= R[:, :, 2, 2].min(axis=1) + 1e-6).all()


def test_the_jaw_opens_no_further_than_it_can():
    assert all(g.opening_m <= MAX_OPENING_M + 1e-6 for g in sample_grasps(given_mesh(rig.cylinder(0.036)), 0.0))


@pytest.mark.parametrize(
    ("prediction", "code", "word"),
    [
        (Prediction(None, np.zeros((5, 3), np.float32), np.zeros(5, bool)), ErrorCode.USAGE, "normals"),
        (
            Prediction(
                None, np.zeros((0, 3), np.float32), np.zeros(0, bool), normals_world=np.zeros((0, 3), np.float32)
            ),
            ErrorCode.USAGE,
            "none",
        ),
        (
            Prediction(
                None,
                np.full((5, 3), np.nan, np.float32),
                np.zeros(5, bool),
                normals_world=np.ones((5, 3), np.float32),
            ),
            ErrorCode.MESH_INVALID,
            "finite",
        ),
    ],
)
def test_answers_without_a_surface_are_refused(prediction, code, word):
    with pytest.raises(InputError, match=word) as refused:
        given_prediction(prediction)
    assert refused.value.code == code


def test_a_mesh_without_triangles_is_refused():
    with pytest.raises(InputError, match="no triangles") as refused:
        given_mesh(solids.nothing())
    assert refused.value.code == ErrorCode.MESH_INVALID


def _seen_from(direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points and normals of the faces of the box that look in a direction."""
    mesh = rig.box()
    points, face = samples_with_faces(mesh, 8000)
    corner = mesh.vertices_world[mesh.faces[face]].astype(float)
    normals = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    seen = normals @ direction > 0.1
    return points[seen], normals[seen].astype(np.float32)
