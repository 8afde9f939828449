"""What the cameras of a protocol see: seeded, nested, and wrong in exactly the way that a condition says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from sparse_recon.config.session_config import load_config
from sparse_recon.errors import ConfigError
from sparse_recon.lab.evaluate.cases import LABEL, OCCLUDED_SHARE, Case, diameter, hidden_share, make_case
from sparse_recon.lab.evaluate.objects import folder_objects, procedural_objects
from sparse_recon.lab.evaluate.protocol import Protocol, changed_parameters
from sparse_recon.lab.simulate.sensor import SENSORS, exact

PROTOCOL = Protocol(views=(1, 4), width_px=160, height_px=120, novel_views=1)
CAN = procedural_objects(4)[3]


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {c: make_case(CAN, c, 0, PROTOCOL) for c in ("clean", "noisy", "pose", "mask", "occluded")}


def test_same_seed_gives_the_same_frames_and_another_one_others(cases: dict[str, Case]):
    again, other = make_case(CAN, "noisy", 0, PROTOCOL), make_case(CAN, "noisy", 1, PROTOCOL)
    for a, b in zip(cases["noisy"].frames, again.frames, strict=True):
        assert np.array_equal(a.depth_m, b.depth_m, equal_nan=True) and np.array_equal(a.rgb, b.rgb)
    assert not np.array_equal(again.frames[0].T_world_cam, other.frames[0].T_world_cam)
    assert not np.allclose(again.truth.vertices_world, other.truth.vertices_world)


def test_a_real_camera_errs_more_than_the_mild_one(cases: dict[str, Case]):
    assert exact(SENSORS["mild"]) == replace(exact(SENSORS["realsense"]), specular_deg=4.0)
    mild = make_case(CAN, "mild", 0, PROTOCOL)
    assert max(cases["noisy"].sigmas_m) > max(mild.sigmas_m)
    on_object = mild.ideal[0].labels == LABEL
    error_m = [
        np.nanmean(np.abs(case.frames[0].depth_m - case.ideal[0].depth_m)[on_object]) for case in (cases["noisy"], mild)
    ]
    assert error_m[0] > error_m[1]


def test_conditions_share_object_and_cameras(cases: dict[str, Case]):
    for case in cases.values():
        for view, clean in zip(case.ideal, cases["clean"].ideal, strict=True):
            assert np.array_equal(view.T_world_cam, clean.T_world_cam)
        assert np.array_equal(case.truth.vertices_world, cases["clean"].truth.vertices_world)


def test_clean_frames_are_the_truth(cases: dict[str, Case]):
    for frame, ideal in zip(cases["clean"].frames, cases["clean"].observed_ideal, strict=True):
        assert np.array_equal(frame.depth_m, ideal.depth_m, equal_nan=True)
        assert np.array_equal(frame.labels, ideal.labels)


def test_fewer_views_are_the_first_ones_and_two_lie_opposite(cases: dict[str, Case]):
    full, two = cases["clean"], cases["clean"].seen_from(2)
    assert two.frames == full.frames[:2] and two.observed_ideal == full.ideal[:2]
    assert two.novel_ideal == full.novel_ideal and len(full.novel_ideal) == 1
    a, b = (f.T_world_cam[:2, 3] for f in two.frames)
    assert np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) < -0.9


def test_only_poses_are_wrong_in_pose_and_within_the_limits(cases: dict[str, Case]):
    shifts_m = []
    for frame, ideal in zip(cases["pose"].frames, cases["pose"].observed_ideal, strict=True):
        T = np.linalg.inv(ideal.T_world_cam) @ frame.T_world_cam
        shifts_m.append(np.linalg.norm(T[:3, 3]))
        assert np.degrees(Rotation.from_matrix(T[:3, :3]).magnitude()) <= PROTOCOL.pose_error_deg
        assert np.array_equal(frame.labels, ideal.labels)
    assert 0 < max(shifts_m) <= PROTOCOL.pose_error_m
    exact = zip(cases["mask"].frames, cases["mask"].observed_ideal, strict=True)
    assert all(np.array_equal(frame.T_world_cam, ideal.T_world_cam) for frame, ideal in exact)


def test_masks_grow_or_shrink_in_mask(cases: dict[str, Case]):
    changed = [
        int((frame.labels == LABEL).sum()) - int((ideal.labels == LABEL).sum())
        for frame, ideal in zip(cases["mask"].frames, cases["mask"].observed_ideal, strict=True)
    ]
    assert any(changed)


def test_another_object_hides_part_of_the_first_view(cases: dict[str, Case]):
    alone = (cases["clean"].ideal[0].labels == LABEL).sum()
    hidden = 1 - (cases["occluded"].ideal[0].labels == LABEL).sum() / alone
    assert 0.1 < hidden < 0.6
    assert (cases["occluded"].frames[0].labels == LABEL + 1).any()


@pytest.mark.parametrize("height_m", [0.012, 0.2])
def test_flat_and_tall_objects_are_hidden_in_part_too(height_m: float, tmp_path: Path):
    trimesh.creation.box((0.2, 0.05, height_m)).export(tmp_path / "slab.ply")
    (slab,) = folder_objects(tmp_path)
    for seed in range(3):
        case = make_case(slab, "occluded", seed, replace(PROTOCOL, views=(1,)))
        hidden = hidden_share(case.scene, case.ideal[0].intrinsics, case.ideal[0].T_world_cam)
        assert OCCLUDED_SHARE[0] <= hidden <= OCCLUDED_SHARE[1]


def test_noise_has_holes_at_highlights(cases: dict[str, Case]):
    on_object = cases["noisy"].ideal[0].labels == LABEL
    assert np.isnan(cases["noisy"].frames[0].depth_m[on_object]).any()
    assert not np.isnan(cases["clean"].frames[0].depth_m[on_object]).any()


def test_diameter_is_the_longest_distance_whatever_the_turn():
    box = np.array([[x, y, z] for x in (0, 3.0) for y in (0, 4.0) for z in (0, 12.0)])
    turned = box @ Rotation.from_euler("xyz", (20, 30, 40), degrees=True).as_matrix().T
    assert diameter(box) == pytest.approx(13.0)
    assert diameter(turned) == pytest.approx(13.0)
    assert diameter(np.array([[0, 0, 0], [3.0, 0, 0], [3.0, 4.0, 0], [0, 4.0, 0]])) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"views": [2, 2]}, "different"),
        ({"views": [0]}, "1 to 16"),
        ({"conditions": ["rainy"]}, "clean"),
        ({"conditions": []}, "at least one"),
        ({"distance_near_m": 2.0}, "distance_far_m"),
        ({"wiews": [1]}, "unknown parameter wiews"),
    ],
)
def test_impossible_protocol_is_refused(values: dict[str, object], word: str):
    with pytest.raises(ConfigError, match=word):
        Protocol.of(values)


def test_protocol_survives_as_json_and_says_what_it_is():
    protocol = Protocol(views=(1,), conditions=("occluded",), parameters=("fusion.max_faces=500",))
    assert Protocol.of(protocol.as_dict()) == protocol
    assert "another object hides" in protocol.text() and "fusion.max_faces=500" in protocol.text()


def test_parameters_that_are_not_the_defaults_are_named():
    config = load_config({"fusion.max_faces": 500, "model": "carve", "up_world": [0.0, 0.0, 1.0]})
    assert changed_parameters(config) == ("fusion.max_faces=500",)
