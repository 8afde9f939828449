"""Trials in MuJoCo: grasps that must hold hold, those that cannot fail in their own way, and twice the same."""

from __future__ import annotations

import builtins
from dataclasses import replace

import numpy as np
import pytest
from lab.evaluate.grasp import rig

from sparse_recon.errors import DependencyError, ErrorCode
from sparse_recon.geometry.poses import pose, transform_points
from sparse_recon.lab.evaluate.grasp.geometry import given_mesh
from sparse_recon.lab.evaluate.grasp.sampling import sample_grasps
from sparse_recon.lab.evaluate.grasp.trial import Outcome, execute, stands_still
from sparse_recon.lab.evaluate.grasp.world import FRICTION_RANGE, MASS_RANGE_KG, Physics, TrueObject, true_object

NORMAL = Physics(0.3, 0.5)
WORST = Physics(MASS_RANGE_KG[1], FRICTION_RANGE[0])


@pytest.fixture(autouse=True)
def _mujoco():
    pytest.importorskip("mujoco", reason="MuJoCo is not installed: pip install .[sim]")


@pytest.mark.parametrize("physics", [NORMAL, WORST])
def test_a_box_is_held_through_lift_and_shaking(physics):
    trial = execute(rig.true_box(), physics, rig.from_above())
    assert trial.outcome is Outcome.SUCCESS
    # Pads stick: what MuJoCo's contacts creep in four seconds.
    assert trial.slip_m < 0.002 and trial.turn_rad < 0.05


def test_the_planned_grasp_of_a_box_succeeds():
    best = sample_grasps(given_mesh(rig.box()), 0.0)[0]
    assert execute(rig.true_box(), WORST, best).outcome is Outcome.SUCCESS


def test_the_object_is_lifted_by_twenty_centimetres():
    trial = execute(rig.true_box(), NORMAL, rig.from_above(), record=True)
    assert trial.snapshots[-1].qpos[2] - trial.snapshots[0].qpos[2] == pytest.approx(0.20, abs=0.003)


def test_a_grasp_shifted_into_the_object_collides_with_it():
    trial = execute(rig.true_box(), NORMAL, rig.from_above(x_m=0.03))
    assert (trial.outcome, trial.hit) == (Outcome.COLLISION, "object")


def test_a_grasp_below_the_table_collides_with_it():
    trial = execute(rig.true_box(), NORMAL, rig.from_above(x_m=0.2, z_m=0.005))
    assert (trial.outcome, trial.hit) == (Outcome.COLLISION, "table")


def test_an_overlap_below_the_tolerance_is_no_collision():
    # Open to 80 mm, the pads leave 15 mm on each side of the box.
    assert execute(rig.true_box(), NORMAL, rig.from_above(x_m=0.0160)).outcome is not Outcome.COLLISION
    assert execute(rig.true_box(), NORMAL, rig.from_above(x_m=0.0175)).outcome is Outcome.COLLISION


def test_a_grasp_beside_the_object_misses():
    assert execute(rig.true_box(), NORMAL, rig.from_above(x_m=0.15)).outcome is Outcome.MISSED


@pytest.mark.parametrize("physics", [Physics(0.3, 0.01), Physics(8.0, 0.5)])
def test_what_is_too_slippery_or_too_heavy_is_dropped(physics):
    assert execute(rig.true_box(), physics, rig.from_above()).outcome is Outcome.DROPPED


def test_what_slides_far_in_the_hand_has_slipped():
    # 24 N of friction hold the weight of 1.6 kg, but not all of its shaking with 0.9 g.
    trial = execute(rig.true_box(), Physics(1.6, 0.3), rig.from_above())
    assert trial.outcome is Outcome.SLIPPED
    assert 0.02 <= trial.slip_m < 0.05


def test_heavier_objects_slip_farther():
    slips_m = [execute(rig.true_box(), Physics(mass_kg, 0.3), rig.from_above()).slip_m for mass_kg in (1.2, 1.4, 1.6)]
    assert slips_m == sorted(slips_m) and slips_m[0] < 0.5 * slips_m[2]


def test_two_trials_agree_to_the_last_bit():
    one, other = (execute(rig.true_box(), WORST, rig.from_above(y_m=0.03), record=True) for _ in range(2))
    assert (one.outcome, one.slip_m, one.turn_rad) == (other.outcome, other.slip_m, other.turn_rad)
    assert all(np.array_equal(a.qpos, b.qpos) for a, b in zip(one.snapshots, other.snapshots, strict=True))


def test_the_phases_follow_each_other():
    phases = [s.phase for s in execute(rig.true_box(), NORMAL, rig.from_above(), record=True).snapshots]
    assert list(dict.fromkeys(phases)) == ["approach", "close", "lift", "shake", "hold", "end"]


def test_friction_decides_at_its_physical_limit():
    """Two pads hold at most 2 * friction * 40 N: a weight a third below stays, one a third above is left behind."""
    limit_kg = 2 * 0.5 * 40.0 / 9.81
    light, heavy = (_lifted(Physics(share * limit_kg, 0.5)) for share in (0.67, 1.33))
    assert light and not heavy


def test_a_box_stands_still_and_a_leaning_one_falls():
    assert stands_still(rig.true_box(), NORMAL)
    leaning = _turned(rig.true_box((0.04, 0.04, 0.12)), np.deg2rad(35.0))
    assert not stands_still(leaning, NORMAL)


def test_mass_and_friction_are_drawn_from_their_ranges():
    drawn = [Physics.drawn(np.random.default_rng(seed)) for seed in range(200)]
    for values, (low, high) in (
        ([p.mass_kg for p in drawn], MASS_RANGE_KG),
        ([p.friction for p in drawn], FRICTION_RANGE),
    ):
        assert low <= min(values) < low + 0.1 * (high - low) and high - 0.1 * (high - low) < max(values) <= high
    assert Physics.drawn(np.random.default_rng(7)) == drawn[7]


def test_inertia_is_that_of_the_solid():
    a, b, c = rig.BOX_M
    found = rig.true_box()
    assert found.centre_of_mass_world == pytest.approx([0.0, 0.0, c / 2], abs=1e-7)
    expected = np.diag([b**2 + c**2, a**2 + c**2, a**2 + b**2]) / 12
    assert found.inertia_per_kg == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_slivers_are_left_out():
    mesh = rig.box()
    flat = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.1, 0.1, 0]], np.float32)
    sliver = (flat, np.array([[0, 2, 1], [1, 2, 3], [0, 1, 2], [1, 3, 2]], np.int32))
    true = true_object(mesh, [(mesh.vertices_world, mesh.faces), sliver], np.eye(4), 0.0)
    assert len(true.parts) == 1
    assert stands_still(true, NORMAL)


def test_without_mujoco_a_sentence_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def refusing(name, *rest, **named):
        if name == "mujoco":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(DependencyError, match=r"sparse_recon\[sim\]") as missing:
        execute(rig.true_box(), NORMAL, rig.from_above())
    assert missing.value.code == ErrorCode.DEPENDENCY_MISSING


def _lifted(physics: Physics) -> bool:
    trial = execute(rig.true_box(), physics, rig.from_above(), record=True)
    lifted = [s.qpos[2] for s in trial.snapshots if s.phase == "lift"]
    return lifted[-1] - lifted[0] > 0.15


def _turned(true: TrueObject, angle_rad: float) -> TrueObject:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    T = pose(np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]), (0.0, 0.0, 0.0))
    parts = [(transform_points(T, v.astype(float)), f) for v, f in true.parts]
    low = min(v[:, 2].min() for v, _ in parts)
    parts = tuple(((v - (0.0, 0.0, low)).astype(np.float32), f) for v, f in parts)
    centre = transform_points(T, true.centre_of_mass_world) - (0.0, 0.0, low)
    return replace(
        true, parts=parts, centre_of_mass_world=centre, inertia_per_kg=T[:3, :3] @ true.inertia_per_kg @ T[:3, :3].T
    )
