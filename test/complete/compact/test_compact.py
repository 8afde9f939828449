"""The sampler, the weights and the completer, with a network of a few thousand weights."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scenes import recording

from sparse_recon.complete.base import CompletionTask
from sparse_recon.complete.compact.completer import CompactCompleter, with_far_distances
from sparse_recon.complete.compact.conditioning import INPUTS, conditioning
from sparse_recon.complete.compact.flow import Denoised, denoised, noise_like, sample
from sparse_recon.complete.compact.network import Architecture, CompactNet
from sparse_recon.complete.compact.volumes import CHANNELS, GRID, evidence_volumes
from sparse_recon.complete.compact.weights import load_network
from sparse_recon.complete.registry import COMPLETERS
from sparse_recon.config import SessionConfig
from sparse_recon.errors import CancelledError, ErrorCode, ModelError
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.requests import CompletionRequest
from sparse_recon.session import CompletionSession

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
    session._completers["carve"] = Catching()
    with pytest.raises(CancelledError):
        session.complete(CompletionRequest())
    return caught[0]


@pytest.fixture(scope="module")
def told():
    from sparse_recon.complete.carve import CarveCompleter

    prior = CarveCompleter().complete(task()).surface
    return evidence_volumes(task().evidence, task().bounds, prior)


def known(told, count: int = 1, with_prior: bool = True):
    volumes = torch.from_numpy(told.volumes)[None].expand(count, -1, -1, -1, -1)
    scalars = torch.from_numpy(told.scalars)[None].expand(count, -1)
    return conditioning(volumes, scalars, torch.full((count,), with_prior))


def network(seed: int = 0, loud: float = 0.0) -> CompactNet:
    """A network that answers with its base, or, when `loud`, with nonsense of that size."""
    torch.manual_seed(seed)
    net = CompactNet(SIZE).eval().requires_grad_(False)
    if loud:
        torch.nn.init.normal_(net.out.weight, std=loud)
    return net


def noise(count: int = 1) -> torch.Tensor:
    one = [noise_like((1, GRID, GRID, GRID), torch.Generator().manual_seed(k)) for k in range(count)]
    return torch.cat(one)


def weights_file(path, net=None, **changes):
    about = {"architecture": {**SIZE.to_dict(), **changes}}
    tensors = {name: t.half().contiguous() for name, t in (net or network()).state_dict().items()}
    save_file(tensors, path, {"about": json.dumps(about)})
    return path


def test_noise_has_unit_variance():
    assert float(noise(2).std()) == pytest.approx(1.0, abs=0.1)


def test_untrained_network_answers_with_its_prior(told):
    conditions = known(told)
    answer = denoised(network(), noise(), torch.ones(1), conditions)
    assert torch.equal(answer.x0, conditions.base)


def test_little_noise_is_mostly_taken_as_seen(told):
    conditions = known(told)
    x_t = conditions.base + 0.3
    answer = denoised(network(), x_t, torch.full((1,), 0.02), conditions)
    assert (answer.x0 - x_t).abs().max() < 0.05


def test_without_the_prior_the_bound_is_what_x0_is_expected_near(told):
    conditions = known(told, with_prior=False)
    assert torch.equal(conditions.base, conditions.lower.clamp(-1, 1))
    assert conditions.channels[:, 1:3].abs().max() == 0


@pytest.mark.parametrize("steps", [1, 4])
def test_every_step_keeps_to_the_bounds(told, steps):
    conditions, seen = known(told, 2), []

    def look(step: int, answer: Denoised) -> None:
        seen.append(step)
        assert (answer.x0 >= conditions.lower.clamp(-1, 1) - 1e-6).all()
        assert (answer.x0 <= conditions.upper.clamp(-1, 1) + 1e-6).all()

    sample(network(loud=1.0), conditions, noise(2), steps, look)
    assert seen == list(range(1, steps + 1))


def test_sample_does_not_depend_on_its_batch(told):
    net = network(loud=0.3)
    alone = sample(net, known(told), noise(2)[1:], 2).x0[0]
    together = sample(net, known(told, 2), noise(2), 2).x0[1]
    assert torch.allclose(alone, together, atol=1e-4)


def test_volumes_are_whole_numbers_of_what_was_seen(told):
    assert told.volumes.shape == (len(CHANNELS), GRID, GRID, GRID)
    measured = told.volumes[CHANNELS.index("weight")] > 0
    assert np.array_equal(measured, task().evidence.weight > 0)


def test_far_distances_are_true_ones():
    grid = VoxelGrid.cube(GRID, 0.1)
    true = np.linalg.norm(grid.centres(), axis=-1) - 0.05
    unit_m = 4 * grid.voxel_m
    field = with_far_distances(np.clip(true / unit_m, -1, 1).astype(np.float32), grid, unit_m)
    assert np.abs(field - true).max() < 0.6 * grid.voxel_m
    near = np.abs(true) < 2 * grid.voxel_m
    assert np.abs(field - true)[near].max() < 1e-6


def completed(path, seed: int = 3, **how):
    completer = CompactCompleter(path, **how)
    completer.load(SessionConfig(), lambda share, text: None)
    generator = np.random.default_rng(seed)
    return completer.complete(replace(task(), seed=seed, generator=generator, on_step=lambda *step: None))


def test_same_seed_gives_the_same_field(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))
    one, two, other = (completed(path, seed, steps=2, samples=2).surface for seed in (3, 3, 4))
    assert np.array_equal(one.sdf_m, two.sdf_m) and np.array_equal(one.sigma_m, two.sigma_m)
    assert not np.array_equal(one.sdf_m, other.sdf_m)


def test_completion_through_a_session_keeps_seen_space_empty(tmp_path, monkeypatch):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.5))
    monkeypatch.setitem(COMPLETERS, "compact", "sparse_recon.complete.compact:CompactCompleter")
    monkeypatch.setenv("SPARSE_RECON_COMPACT_WEIGHTS", str(path))
    session = CompletionSession(SessionConfig(model="compact"))
    for frame in recording().frames:
        session.add_frame(frame)
    previews = []
    result = session.complete(CompletionRequest(), lambda p: previews.append(p.preview))
    assert result.model == "compact"
    assert result.quality.free_space_violation == 0
    assert result.nominal.watertight and result.conservative.watertight
    assert any(p is not None for p in previews)


def refused(path, code=ErrorCode.MODEL_WEIGHTS_INVALID) -> str:
    with pytest.raises(ModelError) as caught:
        load_network(path)
    assert caught.value.code == code and str(path) in caught.value.message
    return caught.value.message


def test_weights_come_back_as_they_were_saved(tmp_path):
    net = network(5)
    loaded = load_network(weights_file(tmp_path / "w.safetensors", net)).state_dict()
    assert all(torch.equal(loaded[name], t.half().float()) for name, t in net.state_dict().items())


def test_missing_weights(tmp_path):
    assert "carve" in refused(tmp_path / "none.safetensors", ErrorCode.MODEL_WEIGHTS_MISSING)


def test_weights_of_another_size(tmp_path):
    assert "shape" in refused(weights_file(tmp_path / "w.safetensors", width=64))


def test_weights_of_another_version(tmp_path):
    assert "not of this version" in refused(weights_file(tmp_path / "w.safetensors", inputs=INPUTS + 1))


def test_architecture_that_would_fill_memory(tmp_path):
    assert "not of this version" in refused(weights_file(tmp_path / "w.safetensors", width=10**9))


def test_weights_that_do_not_say_what_they_are(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert "architecture" in refused(tmp_path / "w.safetensors")


def test_weights_that_are_no_numbers(tmp_path):
    net = network()
    net.out.bias[3] = torch.nan
    assert "no numbers" in refused(weights_file(tmp_path / "w.safetensors", net))


def test_cut_off_weights(tmp_path):
    path = weights_file(tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    refused(path)
