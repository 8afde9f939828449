"""The sampler and the completer, with a network of a few thousand weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import recording, two_objects
from small_compact import completed, condition_of, network, noise, task, weights_file

from sparse_recon.complete.compact.calibration import Calibration, hidden_only_by_other
from sparse_recon.complete.compact.completer import CompactCompleter, with_far_distances, with_thin_parts
from sparse_recon.complete.compact.flow import Denoised, clip_to_bounds, denoised, sample
from sparse_recon.complete.compact.patches import PATCH_VOXELS, depth_to_space, patchify, space_to_depth, unpatchify
from sparse_recon.complete.compact.sampling import Sampler
from sparse_recon.complete.compact.volumes import CHANNELS, GRID, evidence_volumes
from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.config.model_config import CompactConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.machine import processor
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.run import CompletionRun
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import SurfaceField


def test_blocks_hold_the_same_voxels():
    volume = torch.arange(2 * 8**3).view(2, 8, 8, 8)
    blocks = patchify(volume)
    assert blocks[1, 2, 0, 3].tolist() == volume[1, 4:6, 0:2, 6:8].flatten().tolist()
    assert torch.equal(unpatchify(blocks), volume)
    features = torch.randn(2, 4, 4, 4, 5)
    assert torch.equal(depth_to_space(space_to_depth(features)), features)


def test_noise_has_unit_variance():
    assert float(noise(2).std()) == pytest.approx(1.0, abs=0.1)


def test_untrained_network_answers_with_its_prior(evidence_input):
    condition = condition_of(evidence_input)
    answer = denoised(network(), noise(), torch.ones(1), condition)
    assert torch.equal(answer.x0, condition.expected_x0)


def test_little_noise_is_mostly_taken_as_seen(evidence_input):
    condition = condition_of(evidence_input)
    x_t = condition.expected_x0 + 0.3
    answer = denoised(network(), x_t, torch.full((1,), 0.02), condition)
    assert (answer.x0 - x_t).abs().max() < 0.05


def test_without_the_prior_the_bound_is_what_x0_is_expected_near(evidence_input):
    condition = condition_of(evidence_input, with_prior=False)
    assert torch.equal(condition.expected_x0, condition.lower.clamp(-1, 1))
    assert condition.channels[..., PATCH_VOXELS : 3 * PATCH_VOXELS].abs().max() == 0


@pytest.mark.parametrize("steps", [1, 4])
def test_every_step_keeps_to_the_bounds(evidence_input, steps):
    condition, seen = condition_of(evidence_input, 2), []

    def look(step: int, answer: Denoised) -> None:
        seen.append(step)
        assert (answer.x0 >= condition.lower.clamp(-1, 1) - 1e-6).all()
        assert (answer.x0 <= condition.upper.clamp(-1, 1) + 1e-6).all()

    sample(network(loud=1.0), condition, noise(2), steps, look)
    assert seen == list(range(1, steps + 1))


def test_the_answer_is_moved_towards_that_of_carve_where_the_network_has_it(evidence_input):
    condition, net = condition_of(evidence_input), network(loud=0.3)
    alone, drawn, whole = (sample(net, condition, noise(), 1, prior_share=share).x0 for share in (0.0, 0.3, 1.0))
    near = (alone - condition.expected_x0).abs() > 0.02
    away, nearer = (alone - condition.expected_x0)[near].abs(), (drawn - condition.expected_x0)[near].abs()
    assert near.float().mean() > 0.05
    assert float((nearer / away).median()) == pytest.approx(0.7, abs=0.02)
    assert torch.allclose(whole, clip_to_bounds(condition.expected_x0, condition), atol=1e-6)
    without_prior = condition_of(evidence_input, with_prior=False)
    assert torch.equal(*(sample(net, without_prior, noise(), 1, prior_share=share).x0 for share in (0.0, 0.3)))


def test_sample_does_not_depend_on_its_batch(evidence_input):
    net = network(loud=0.3)
    alone = sample(net, condition_of(evidence_input), noise(2)[1:], 2).x0[0]
    together = sample(net, condition_of(evidence_input, 2), noise(2), 2).x0[1]
    assert torch.allclose(alone, together, atol=1e-4)


def test_volumes_are_whole_numbers_of_what_was_seen(evidence_input):
    assert evidence_input.volumes.shape == (len(CHANNELS), GRID, GRID, GRID)
    measured = evidence_input.volumes[CHANNELS.index("weight")] > 0
    assert np.array_equal(measured, task().evidence.weight > 0)


def test_far_distances_are_true_ones():
    grid = VoxelGrid.cube(GRID, 0.1)
    true = np.linalg.norm(grid.centres(), axis=-1) - 0.05
    unit_m = 4 * grid.voxel_m
    field = with_far_distances(np.clip(true / unit_m, -1, 1).astype(np.float32), grid, unit_m)
    assert np.abs(field - true).max() < 0.6 * grid.voxel_m
    near = np.abs(true) < 2 * grid.voxel_m
    assert np.abs(field - true)[near].max() < 1e-6


def test_same_seed_gives_the_same_field(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))
    one, two, other = (completed(path, seed).surface for seed in (3, 3, 4))
    assert np.array_equal(one.sdf_m, two.sdf_m) and np.array_equal(one.sigma_m, two.sigma_m)
    assert not np.array_equal(one.sdf_m, other.sdf_m)


def test_field_comes_on_the_grid_of_the_session(tmp_path):
    path = weights_file(tmp_path / "w.safetensors")
    config = SessionConfig(compact=CompactConfig(weights=str(path)))
    model = CompactCompleter()
    model.load(config, lambda share, text: None)
    run = CompletionRun(config, CompletionRequest(), None, None)
    views, grid = task().views, VoxelGrid.cube(48, task().views.object_frame.half_side_m)
    coarse = Evidence.of(views, grid, config.evidence)
    run.enter("complete")
    field = run.imagine(model, views, coarse, Bounds.of(coarse)).surface
    own = completed(path).surface
    assert field.sdf_m.shape == (48,) * 3
    far = np.abs(field.sdf_m - task().evidence.grid.resample(own.sdf_m, grid))
    assert np.median(far) < 0.1 * grid.voxel_m


def test_more_samples_hold_the_earlier_ones(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))
    sampler = Sampler(load_weights(path).net, CompactConfig(samples=4, precision="fp32"))
    evidence_input = evidence_volumes(task().evidence, task().bounds, completed(path).surface)
    two, four = (sampler(evidence_input, range(count), 2, lambda step, answer: None).x0 for count in (2, 4))
    assert torch.allclose(two, four[:2], atol=1e-4)
    assert (four[2] - four[3]).abs().max() > 1e-3


def test_claims_are_stretched_by_what_hides(tmp_path):
    calibrated = {"calibration": {"hidden_by_self": 2.0, "hidden_by_other": 3.0, "tail": 1.5}}
    plain = completed(weights_file(tmp_path / "a.safetensors")).surface
    field = completed(weights_file(tmp_path / "b.safetensors", about=calibrated)).surface
    other = hidden_only_by_other(task().evidence.state)
    assert field.tail == 1.5 and plain.tail == Calibration().tail
    assert other.any() and np.allclose(field.sigma_m[other], 3 * plain.sigma_m[other])
    assert np.allclose(field.sigma_m[~other], 2 * plain.sigma_m[~other])


def test_completion_through_a_session_keeps_seen_space_empty(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.5))
    session = CompletionSession(SessionConfig(model="compact", compact=CompactConfig(weights=str(path))))
    for frame in recording().frames:
        session.add_frame(frame)
    previews = []
    result = session.complete(CompletionRequest(), lambda p: previews.append(p.preview))
    assert result.model == "compact"
    assert result.quality.free_space_violation == 0
    assert result.nominal.watertight and result.conservative.watertight
    assert any(p is not None for p in previews)


class Scarce(Sampler):
    """A device, played by the processor, with memory for `room` samples."""

    room = 2

    def _move(self, device: str) -> None:
        super()._move("cpu")
        self.device = device

    def _sample_batch(self, evidence_input, seeds, steps, on_step, prior_share):
        if self.device != "cpu" and len(seeds) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super()._sample_batch(evidence_input, seeds, steps, on_step, prior_share)


@pytest.mark.parametrize(("room", "device", "said"), [(2, "cuda", "2 samples per batch"), (0, "cpu", "the CPU")])
def test_scarce_memory_costs_time_and_no_accuracy(evidence_input, monkeypatch, caplog, room, device, said):
    monkeypatch.setattr(Scarce, "room", room)
    config = CompactConfig(samples=4, precision="fp32")
    scarce = Scarce(network(loud=0.3), config)
    scarce.device = "cuda"
    answer = scarce(evidence_input, range(4), 1, lambda step, so_far: None)
    plain = Sampler(network(loud=0.3), config)(evidence_input, range(4), 1, lambda step, so_far: None)
    assert torch.allclose(answer.x0, plain.x0, atol=1e-4)
    assert scarce.device == device and said in caplog.text


def disturbed(frames, what: str):
    if what == "moved by 2 cm":
        T = frames[1].T_world_cam.copy()
        T[:3, 3] += (0.02, 0.0, 0.0)
        return [frames[0], replace(frames[1], T_world_cam=T)]
    if what == "labels of the table":
        return [frames[0], replace(frames[1], labels=np.where(frames[1].labels == 0, 1, 0).astype(np.int32))]
    raise AssertionError(what)


@pytest.mark.parametrize("what", ["moved by 2 cm", "labels of the table"])
def test_the_shipped_model_bears_views_that_contradict_each_other(what):
    seen = two_objects(2, with_labels=True).frames
    session = CompletionSession(SessionConfig())
    for frame in disturbed(seen, what):
        session.add_frame(frame)
    result = session.complete(CompletionRequest(object_id="object_0"))
    assert result.model == "compact" and result.nominal.watertight and np.isfinite(result.points_world).all()
    assert result.quality.free_space_violation < 0.02
    if what == "moved by 2 cm":
        assert any("no longer is" in w and "camera poses" in w for w in result.quality.warnings)


def test_a_processor_without_bf16_uses_fp32_and_says_so_once(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(processor, "_said", set())
    monkeypatch.setattr(processor, "multiplies_bf16", lambda device: False)
    assert [processor.chosen_dtype("auto", "cpu") for _ in range(2)] == [torch.float32] * 2
    assert caplog.text.count("fp32 is used") == 1
    assert processor.chosen_dtype("bf16", "cpu") == torch.bfloat16


def test_a_shaft_beside_measured_surface_outlives_a_network_that_does_not_see_it():
    prior = SurfaceField(np.full((GRID,) * 3, -0.001, np.float32), np.ones((GRID,) * 3, np.float32))
    nothing = SurfaceField(np.full((GRID,) * 3, 0.004, np.float32), np.ones((GRID,) * 3, np.float32))
    kept = with_thin_parts(nothing, prior, task()).sdf_m < 0
    measured = task().evidence.grid.nearest(task().evidence.all_points_obj())
    assert kept[measured].all()
    away = task().bounds.upper_m - task().bounds.upper_m.min()
    assert not kept[away > 2 * task().evidence.grid.voxel_m].any()
