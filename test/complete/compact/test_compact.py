"""The sampler, the weights and the completer, with a network of a few thousand weights."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scenes import recording, two_objects

from sparse_recon.complete.base import CompletionTask
from sparse_recon.complete.compact import completer
from sparse_recon.complete.compact.calibration import Calibration, hidden_only_by_other
from sparse_recon.complete.compact.completer import CompactCompleter, with_far_distances, with_thin_parts
from sparse_recon.complete.compact.conditioning import INPUTS, conditioning
from sparse_recon.complete.compact.flow import Denoised, clip_to_bounds, denoised, multiscale_noise, sample
from sparse_recon.complete.compact.network import Architecture, CompactNet
from sparse_recon.complete.compact.parameter_names import file_name, parameter_name
from sparse_recon.complete.compact.patches import PATCH_VOXELS, depth_to_space, patchify, space_to_depth, unpatchify
from sparse_recon.complete.compact.sampling import Sampler
from sparse_recon.complete.compact.shipped import NANO_FILE, NANO_SHA256, WEIGHTS_FILE, WEIGHTS_SHA256
from sparse_recon.complete.compact.volumes import CHANNELS, GRID, evidence_volumes
from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.config.model_config import CompactConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import CancelledError, ErrorCode, ModelError
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.machine import processor
from sparse_recon.machine.share import share_folder
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.run import CompletionRun
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import SurfaceField

SIZE = Architecture(INPUTS, 8, 8, 32, 1, 1)


@lru_cache(maxsize=1)
def task() -> CompletionTask:
    """The task that a session gives its completer for a ball seen from two sides."""
    caught = []

    class Catching(CompactCompleter):
        def load(self, config, on_progress):
            pass

        def complete(self, task):
            caught.append(task)
            raise CancelledError(ErrorCode.CANCELLED, "caught")

    session = CompletionSession(SessionConfig())
    for frame in recording(turn_deg=90).frames:
        session.add_frame(frame)
    session._completers[session.config.model] = Catching()
    with pytest.raises(CancelledError):
        session.complete(CompletionRequest())
    return caught[0]


@pytest.fixture(scope="module")
def evidence_input():
    return evidence_volumes(task().evidence, task().bounds, task().prior)


def condition_of(evidence_input, count: int = 1, with_prior: bool = True):
    volumes = torch.from_numpy(evidence_input.volumes)[None].expand(count, -1, -1, -1, -1)
    scalars = torch.from_numpy(evidence_input.scalars)[None].expand(count, -1)
    return conditioning(volumes, scalars, torch.full((count,), with_prior))


def network(seed: int = 0, loud: float = 0.0) -> CompactNet:
    """A network that answers with the expected x0, or, when `loud`, with nonsense of that size."""
    torch.manual_seed(seed)
    net = CompactNet(SIZE).eval().requires_grad_(False)
    if loud:
        torch.nn.init.normal_(net.out.weight, std=loud)
    return net


def noise(count: int = 1) -> torch.Tensor:
    one = [multiscale_noise((1, GRID, GRID, GRID), torch.Generator().manual_seed(k)) for k in range(count)]
    return patchify(torch.cat(one))


def weights_file(path, net=None, about=None, **changes):
    about = {"architecture": {**SIZE.to_dict(), **changes}, **(about or {})}
    tensors = {file_name(name): t.half().contiguous() for name, t in (net or network()).state_dict().items()}
    save_file(tensors, path, {"about": json.dumps(about)})
    return path


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


def completed(path, seed: int = 3, given: CompletionTask | None = None, **how):
    config = SessionConfig(compact=CompactConfig(weights=str(path), **how))
    model = CompactCompleter()
    model.load(config, lambda share, text: None)
    generator = np.random.default_rng(seed)
    given = replace(given or task(), seed=seed, generator=generator, on_step=lambda *step: None, config=config)
    return model.complete(given)


def test_same_seed_gives_the_same_field(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))
    one, two, other = (completed(path, seed).surface for seed in (3, 3, 4))
    assert np.array_equal(one.sdf_m, two.sdf_m) and np.array_equal(one.sigma_m, two.sigma_m)
    assert not np.array_equal(one.sdf_m, other.sdf_m)


def test_hypotheses_stand_beside_an_answer_that_does_not_depend_on_them(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))
    alone, two, three = (completed(path, samples=samples, steps=2) for samples in (0, 2, 3))
    assert alone.hypotheses == () and [len(c.hypotheses) for c in (two, three)] == [2, 3]
    for found in (two, three):
        assert np.array_equal(found.surface.sdf_m, alone.surface.sdf_m)
        assert np.array_equal(found.surface.sigma_m, alone.surface.sigma_m)
        assert sum(h.weight for h in found.hypotheses) == pytest.approx(1.0)
    for one, again in zip(two.hypotheses, three.hypotheses, strict=False):
        assert np.array_equal(one.sdf_m, again.sdf_m)
    first, second, third = (h.sdf_m for h in three.hypotheses)
    assert not np.array_equal(first, second) and not np.array_equal(second, third)


def test_drawing_stops_at_the_deadline_with_what_is_drawn(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))
    asked: list[tuple[int, int]] = []

    def goes_on(step: int, steps: int, answer: SurfaceField | None) -> bool:
        asked.append((step, steps))
        return len(asked) < 5  # after the answer, and two steps a draw: the fifth ends within the second

    found = completed(path, given=replace(task(), goes_on=goes_on), samples=3, steps=2)
    assert asked == [(2, 5), (2, 5), (2, 5), (3, 5), (3, 5)]
    assert [h.weight for h in found.hypotheses] == [1.0]
    assert "after 1 of 3 hypotheses" in found.warnings[0]


def test_an_answer_that_is_there_at_the_deadline_is_whole(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))
    told: list[SurfaceField | None] = []

    def goes_on(step: int, steps: int, answer: SurfaceField | None) -> bool:
        told.append(answer)
        return False

    found = completed(path, given=replace(task(), goes_on=goes_on), samples=3)
    assert np.array_equal(found.surface.sdf_m, completed(path, samples=0).surface.sdf_m)
    assert found.hypotheses == () and "after 0 of 3 hypotheses" in found.warnings[0]
    assert len(told) == 1 and told[0] is found.surface


def test_drawing_is_cancelled_within_a_draw(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))

    def goes_on(step: int, steps: int, answer: SurfaceField | None) -> bool:
        raise CancelledError(ErrorCode.CANCELLED, "the caller cancelled")

    with pytest.raises(CancelledError):
        completed(path, given=replace(task(), goes_on=goes_on), samples=2)


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


@pytest.mark.parametrize("value", [0.0, -1.0, "much", float("inf")])
def test_calibration_that_is_none_is_refused(tmp_path, value):
    refused(weights_file(tmp_path / "w.safetensors", about={"calibration": {"tail": value}}))


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


def drawing_session(samples: int) -> CompletionSession:
    """A session with the small network that ships, before a ball."""
    compact = CompactConfig(weights=str(share_folder("models") / NANO_FILE), samples=samples, steps=2)
    session = CompletionSession(SessionConfig(model="compact", compact=compact))
    for frame in recording(views=1).frames:
        session.add_frame(frame)
    return session


def test_a_session_publishes_hypotheses_of_the_shipped_model():
    result = drawing_session(3).complete(CompletionRequest())
    assert [h.weight for h in result.hypotheses] == pytest.approx([1 / 3] * 3)
    assert all(h.mesh.watertight for h in result.hypotheses)
    spans = np.array([np.ptp(h.mesh.vertices_world, axis=0) for h in result.hypotheses])
    assert np.abs(spans - np.ptp(result.nominal.vertices_world, axis=0)).max() < 0.05
    assert len({h.mesh.vertices_world.tobytes() for h in result.hypotheses}) == 3
    assert result.quality.timings_s["hypotheses"] > 0 and not result.quality.warnings
    again = drawing_session(3).complete(CompletionRequest())
    for one, other in zip(result.hypotheses, again.hypotheses, strict=True):
        assert np.array_equal(one.mesh.vertices_world, other.mesh.vertices_world)


def test_without_hypotheses_nothing_is_drawn():
    result = drawing_session(0).complete(CompletionRequest())
    assert result.hypotheses == () and "hypotheses" not in result.quality.timings_s


def test_a_session_stops_drawing_when_the_caller_cancels():
    told: list[tuple[int, int]] = []

    def on_progress(progress) -> None:
        if progress.stage == "complete":
            told.append((progress.step, progress.steps))

    with pytest.raises(CancelledError) as caught:
        drawing_session(4).complete(CompletionRequest(), on_progress, lambda: (3, 6) in told)
    assert caught.value.code is ErrorCode.CANCELLED
    assert told[-1] == (3, 6)


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


def refused(path, code=ErrorCode.MODEL_WEIGHTS_INVALID) -> str:
    with pytest.raises(ModelError) as caught:
        load_weights(path)
    assert caught.value.code == code and str(path) in caught.value.message
    return caught.value.message


def test_weights_come_back_as_they_were_saved(tmp_path):
    net = network(5)
    loaded = load_weights(weights_file(tmp_path / "w.safetensors", net)).net.state_dict()
    assert all(torch.equal(loaded[name], t.half().float()) for name, t in net.state_dict().items())


@pytest.mark.parametrize(
    ("name", "sha256", "most_bytes"), [(WEIGHTS_FILE, WEIGHTS_SHA256, 25e6), (NANO_FILE, NANO_SHA256, 4e6)]
)
def test_shipped_weights_are_whole_small_and_calibrated(name, sha256, most_bytes):
    path = share_folder("models") / name
    assert path.stat().st_size <= most_bytes
    calibration = load_weights(path, sha256).calibration
    assert calibration != Calibration() and 0.3 < calibration.hidden_by_self < 3


@pytest.mark.parametrize(
    ("name", "outputs"), [(WEIGHTS_FILE, [0.46760, 0.57636, 0.57055]), (NANO_FILE, [-0.08154, 0.08329, 0.00461])]
)
def test_shipped_weights_give_the_same_outputs_as_ever(name, outputs):
    # Values of the version in which the modules still had the names of the file; rounding differs between processors.
    net = load_weights(share_folder("models") / name).net
    generator = torch.Generator().manual_seed(7)
    volume = torch.randn((1, 32, 32, 32, PATCH_VOXELS * net.size.inputs), generator=generator)
    features = torch.randn((1, 8), generator=generator)
    with torch.no_grad():
        found = net(volume, torch.tensor([0.7]), features).flatten()[:3]
    np.testing.assert_allclose(found.numpy(), outputs, atol=1e-4)


def test_files_keep_the_names_of_parameters_of_the_first_release():
    names = list(network().state_dict())
    assert [parameter_name(file_name(name)) for name in names] == names
    assert len({file_name(name) for name in names}) == len(names)
    with safe_open(share_folder("models") / NANO_FILE, framework="pt") as file:
        assert set(file.keys()) == {
            file_name(name) for name in load_weights(share_folder("models") / NANO_FILE).net.state_dict()
        }


def test_shipped_weights_of_another_hash_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(completer, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="sha256"):
        CompactCompleter().load(SessionConfig(), lambda share, text: None)


def test_a_shaft_beside_measured_surface_outlives_a_network_that_does_not_see_it():
    prior = SurfaceField(np.full((GRID,) * 3, -0.001, np.float32), np.ones((GRID,) * 3, np.float32))
    nothing = SurfaceField(np.full((GRID,) * 3, 0.004, np.float32), np.ones((GRID,) * 3, np.float32))
    kept = with_thin_parts(nothing, prior, task()).sdf_m < 0
    measured = task().evidence.grid.nearest(task().evidence.all_points_obj())
    assert kept[measured].all()
    away = task().bounds.upper_m - task().bounds.upper_m.min()
    assert not kept[away > 2 * task().evidence.grid.voxel_m].any()


def test_missing_weights(tmp_path):
    assert "carve" in refused(tmp_path / "none.safetensors", ErrorCode.MODEL_WEIGHTS_MISSING)


def test_weights_of_another_size(tmp_path):
    assert "shape" in refused(weights_file(tmp_path / "w.safetensors", width=64))


def test_weights_of_another_version(tmp_path):
    assert "not supported by this version" in refused(weights_file(tmp_path / "w.safetensors", inputs=INPUTS + 1))


def test_architecture_that_would_fill_memory(tmp_path):
    assert "not supported by this version" in refused(weights_file(tmp_path / "w.safetensors", width=10**9))


def test_weights_that_do_not_say_what_they_are(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert "architecture" in refused(tmp_path / "w.safetensors")


def test_weights_that_are_no_numbers(tmp_path):
    net = network()
    net.out.bias[3] = torch.nan
    assert "NaN" in refused(weights_file(tmp_path / "w.safetensors", net))


def test_cut_off_weights(tmp_path):
    path = weights_file(tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    refused(path)
