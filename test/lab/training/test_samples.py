"""Samples are what a session sees, and the truth that they carry keeps to what was seen."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sparse_recon.complete.carve import CarveCompleter
from sparse_recon.complete.compact.volumes import CHANNELS, CLIP_VOXELS, QUANTISATION_LEVELS, evidence_volumes
from sparse_recon.complete.registry import COMPLETERS
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.evidence import VoxelState
from sparse_recon.lab.simulate.sensor import SENSORS
from sparse_recon.lab.training import samples as samples_module
from sparse_recon.lab.training import scenes
from sparse_recon.lab.training.bake import bake
from sparse_recon.lab.training.objects import draw_object
from sparse_recon.lab.training.samples import object_views, sample_of, samples_of
from sparse_recon.lab.training.scenes import draw_scene, take
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession

UNIT = CLIP_VOXELS / QUANTISATION_LEVELS


def test_same_seed_and_number_give_the_same_bytes(samples):
    again = next(samples_of(7, 12, 1))
    assert np.array_equal(again.volumes, samples[0].volumes)
    assert np.array_equal(again.target, samples[0].target)


def test_without_noise_the_same_cameras_are_exact(samples):
    exact = next(samples_of(7, 12, 1, noise=False))

    # The same object; its cube follows what is measured.
    assert np.corrcoef(exact.target.ravel(), samples[0].target.ravel())[0, 1] > 0.9
    assert exact.scalars[2] == samples[0].scalars[2]
    assert not np.array_equal(exact.volumes, samples[0].volumes)


def test_real_cameras_see_their_share_of_the_same_scenes(samples):
    seen = next(samples_of(7, 12, 1, real_cameras=1.0))
    assert not np.array_equal(seen.volumes, samples[0].volumes)
    assert np.corrcoef(seen.target.ravel(), samples[0].target.ravel())[0, 1] > 0.8
    again = next(samples_of(7, 12, 1, real_cameras=1.0))
    assert np.array_equal(again.volumes, seen.volumes)


def test_real_cameras_are_drawn_by_the_seed_of_the_scene():
    made = bake(draw_object(np.random.default_rng((7, 12))))
    drawn = [
        scenes.seen_by_real_camera(draw_scene(made, np.random.default_rng(3), (7, k)), 0.4).sensor for k in range(60)
    ]
    plain = draw_scene(made, np.random.default_rng(3), (7, 0)).sensor
    assert all(replace(sensor, faults=None) == plain for sensor in drawn)  # poses, masks and range stay
    with_faults = [sensor.faults for sensor in drawn if sensor.faults is not None]
    assert 14 <= len(with_faults) <= 34  # 24 +- 2.5 standard deviations
    assert len(set(with_faults)) == len(with_faults)  # each with strengths of its own
    assert {type(faults).__name__ for faults in with_faults} == {"TriangulationFaults", "TimeOfFlightFaults"}


def test_truth_keeps_to_the_bounds_of_exact_views(monkeypatch):
    monkeypatch.setattr(scenes, "_draw_sensor", lambda rng: SENSORS["clean"])
    monkeypatch.setattr(samples_module, "PLANE_SIGMA_M", 0.0)
    monkeypatch.setattr(samples_module, "PLANE_SIGMA_RAD", 0.0)
    sample = next(samples_of(7, 12, 1))
    channel = dict(zip(CHANNELS, sample.volumes.astype(np.float32), strict=True))
    truth = sample.target * UNIT
    # Whole voxels know distances to half a diagonal.
    assert np.mean(truth < channel["lower"] * UNIT - 0.9) < 0.002
    assert np.mean(np.abs(truth) > channel["upper"] * 2 * UNIT + 0.9) < 0.002
    free = (sample.volumes[CHANNELS.index("state")] & VoxelState.FREE) > 0
    assert ((truth < 0) & free).sum() < 0.02 * (truth < 0).sum()


def test_measured_surface_is_the_true_one(samples):
    channel = dict(zip(CHANNELS, samples[0].volumes.astype(np.float32), strict=True))
    measured = channel["weight"] > 0
    assert measured.sum() > 300
    error = np.abs(3 * channel["tsdf"] / QUANTISATION_LEVELS - samples[0].target * UNIT)[measured]
    assert np.median(error) < 1.0  # voxels


def test_evidence_is_that_of_a_session(monkeypatch):
    made = draw_object(np.random.default_rng((7, 12)))
    rng = np.random.default_rng(3)
    scene = replace(draw_scene(bake(made), rng, (7, 12)), slabs=(), support_z_m=0.0)
    frames = [take(scene, k) for k in (0, 3)]
    caught = []

    class Catching(CarveCompleter):
        name = "catching"

        def complete(self, task):
            caught.append(evidence_volumes(task.evidence, task.bounds, task.prior))
            return super().complete(task)

    monkeypatch.setitem(sys.modules, "catching", SimpleNamespace(Catching=Catching))
    monkeypatch.setitem(COMPLETERS, "catching", "catching:Catching")
    session = CompletionSession(SessionConfig(model="catching"))
    for frame in frames:
        assert session.add_frame(frame).accepted
    session.complete(CompletionRequest(label=1))

    monkeypatch.setattr(samples_module, "PLANE_SIGMA_M", 0.0)
    monkeypatch.setattr(samples_module, "PLANE_SIGMA_RAD", 0.0)
    config = SessionConfig()
    ours = sample_of(scene, object_views(scene, frames, rng, config), rng, config)
    assert ours.scalars[[0, 2, 4]] == pytest.approx(caught[0].scalars[[0, 2, 4]], rel=0.02)
    state, prior = CHANNELS.index("state"), CHANNELS.index("prior")
    free = [(volumes[state] & VoxelState.FREE) > 0 for volumes in (ours.volumes, caught[0].volumes)]
    assert np.mean(free[0] == free[1]) > 0.97
    solid = [volumes[prior] < 0 for volumes in (ours.volumes, caught[0].volumes)]
    assert (solid[0] & solid[1]).sum() > 0.8 * (solid[0] | solid[1]).sum()  # symmetry is searched in drawn points
