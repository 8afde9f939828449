"""SyncDreamer as a session asks it, with tiny random weights: what it draws is noise, all else is as on a robot."""

from __future__ import annotations

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from published_syncdreamer import SMALLEST, TinySyncDreamer, published, write_checkpoint  # noqa: E402
from scenes import recording  # noqa: E402
from sessions import digest, session_of  # noqa: E402

from sparse_recon.complete.latent.cameras import SphericalCamera  # noqa: E402
from sparse_recon.complete.latent.conditioning_image import ConditioningImage  # noqa: E402
from sparse_recon.complete.latent.samplers import seeded_noise  # noqa: E402
from sparse_recon.complete.latent.view_sampler import DRAW_SEED  # noqa: E402
from sparse_recon.complete.registry import COMPLETERS  # noqa: E402
from sparse_recon.complete.syncdreamer.parameters import SyncDreamerConfig  # noqa: E402
from sparse_recon.complete.syncdreamer.sampling import IMAGE_SEED, SetSampler  # noqa: E402
from sparse_recon.config.session_config import load_config  # noqa: E402
from sparse_recon.errors import CancelledError, ErrorCode, MemoryBudgetError, ModelError  # noqa: E402
from sparse_recon.files.results import quality_record  # noqa: E402
from sparse_recon.machine.processor import torch_threads  # noqa: E402
from sparse_recon.requests import CompletionRequest  # noqa: E402
from sparse_recon.types import Provenance  # noqa: E402

SMALL = {
    "model": "syncdreamer",
    "evidence.grid": 40,
    "evidence.fine_voxel_m": 0.0025,
    "syncdreamer.precision": "fp32",
    "syncdreamer.steps": 1,
    "syncdreamer.guidance": 1.0,
    "syncdreamer.at_once": 16,
    "syncdreamer.device": "cpu",
    "fit.iterations": 10,
    "fit.rays": 400,
    "fit.grid": 32,
    "fit.views": 4,
}
PICTURE = ConditioningImage(
    np.linspace(0, 1, 64 * 64 * 3, dtype=np.float32).reshape(64, 64, 3),
    np.ones((64, 64), np.float32),
    SphericalCamera(1.1, 0.2, 1.5),
    (),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "syncdreamer-pretrain.ckpt", SMALLEST)


@pytest.fixture(scope="module")
def model(checkpoint):
    from sparse_recon.complete.latent.weights import find_weights
    from sparse_recon.complete.syncdreamer.model import SyncDreamerModel
    from sparse_recon.complete.syncdreamer.weights import layout

    return SyncDreamerModel(find_weights(checkpoint, layout(SMALLEST)).tensors, SMALLEST, "cpu", torch.float32)


@pytest.fixture
def session(checkpoint, monkeypatch):
    monkeypatch.setitem(COMPLETERS, "syncdreamer", "published_syncdreamer:TinySyncDreamer")
    config = load_config({**SMALL, "syncdreamer.weights": str(checkpoint)})
    return session_of(recording(turn_deg=90).frames, config)


def test_a_session_completes_with_it(session):
    session.load()
    seen, asked = [], []

    def cancel() -> bool:
        asked.append(time.thread_time())
        return False

    with torch_threads(1):
        result = session.complete(CompletionRequest(seed=3), on_progress=seen.append, cancel=cancel)
        again = session.complete(CompletionRequest(seed=3))

    assert result.model == "syncdreamer"
    assert result.quality.nominal_watertight and result.quality.free_space_violation == 0
    assert {Provenance.OBSERVED, Provenance.INFERRED} == set(result.provenance.tolist())
    assert any("1 of 2 views" in warning for warning in result.quality.warnings)
    told = quality_record(result)["model_figures"]
    assert 0 <= told["residual_m"] < 0.04 and 0.5 < told["scale"] < 2 and told["precision"] == "float32"
    shares = [p.fraction for p in seen]
    assert shares == sorted(shares) and any(p.preview is not None for p in seen)
    # Whoever wants to stop is asked often enough: 0.2 s on an idle core, more where threads wait for each other.
    assert max(np.diff(asked)) < 0.5
    # Metric: what was measured lies on the ball of 4 cm, wherever the drawings are.
    observed = result.points_world[result.provenance == Provenance.OBSERVED]
    assert np.abs(np.linalg.norm(observed - (0, 0, 0.04), axis=1) - 0.04).mean() < 0.002
    assert digest(result) == digest(again)


@pytest.mark.parametrize("broken", ["nan", "memory"])
def test_a_preview_that_cannot_be_made_neither_fails_nor_begins_anew(checkpoint, monkeypatch, broken):
    monkeypatch.setitem(COMPLETERS, "syncdreamer", "published_syncdreamer:TinySyncDreamer")
    config = load_config({**SMALL, "syncdreamer.weights": str(checkpoint), "syncdreamer.steps": 2})
    session = session_of(recording(turn_deg=90).frames, config)
    session.load()
    model, passes, decoded = session._completers["syncdreamer"]._model, [], []
    model.network.unet.conv_out.register_forward_hook(lambda *_: passes.append(0))
    decode = model.decode_latents

    def first_fails(latents):
        decoded.append(len(passes))
        if len(decoded) > 4:
            return decode(latents)
        if broken == "memory":
            decoded.extend([0] * 3)
            raise MemoryError
        return decode(latents) * np.nan

    monkeypatch.setattr(model, "decode_latents", first_fails)
    with torch_threads(1):
        result = session.complete(CompletionRequest(seed=3))
    assert result.quality.nominal_watertight
    # A preview after one pass, and all views after the second. It is imagined once more, in a larger cube.
    assert decoded[0] == 1 and decoded[4:20] == [2] * 16


def test_cancelled_within_a_pass_of_the_networks(session):
    session.load()
    passes = []
    network = session._completers["syncdreamer"]._model.network
    network.unet.conv_in.register_forward_hook(lambda *_: passes.append(0))
    network.unet.conv_out.register_forward_hook(lambda *_: passes.append(1))

    with pytest.raises(CancelledError):
        session.complete(CompletionRequest(), cancel=lambda: bool(passes))
    assert passes == [0]  # begun, and not done


def test_without_weights_it_says_which_file_goes_where(monkeypatch):
    monkeypatch.setitem(COMPLETERS, "syncdreamer", "published_syncdreamer:TinySyncDreamer")
    session = session_of(recording().frames, load_config(SMALL))

    with pytest.raises(
        ModelError, match=r"no path is given.*syncdreamer-pretrain\.ckpt.*syncdreamer\.weights"
    ) as caught:
        session.complete(CompletionRequest())
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_MISSING


def test_weights_for_other_cameras_are_refused(tmp_path, monkeypatch):
    poses = published(SMALLEST)["poses"]
    poses[2, 2, 3] = 2.0
    path = write_checkpoint(tmp_path / "a.ckpt", SMALLEST, poses=poses)
    with pytest.raises(ModelError, match=r"poses\[2\] looks from azimuth 45\.0.*accepted are 16 views") as caught:
        TinySyncDreamer().load(load_config({**SMALL, "syncdreamer.weights": str(path)}), lambda share, text: None)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID


def drawn(model, seed=0, **values):
    config = SyncDreamerConfig(**({"steps": 1, "guidance": 1.0} | values))
    return SetSampler(model, config).latents(PICTURE, seed, config, config.at_once, lambda step, steps, clean: None)


def test_latents_are_the_same_in_chunks_of_any_size(model):
    whole = drawn(model, at_once=16, guidance=2.0)
    chunks = drawn(model, at_once=4, guidance=2.0)

    assert whole.shape == (16, 4, 16, 16)
    assert float((whole - chunks).abs().max()) < 1e-4 * float(whole.abs().max())


def test_seed_of_an_object_decides_its_views(model):
    first, again, other = (drawn(model, seed, at_once=16) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.allclose(first, other)


def test_the_picture_has_noise_of_its_own():
    of_image, of_views = (seeded_noise([seed], (4, 16, 16), "cpu")() for seed in (5 ^ IMAGE_SEED, 5))
    assert abs(float((of_image * of_views).mean())) < 0.1


def test_pictures_are_the_mean_of_their_draws(model):
    def made(seed, draws):
        config = SyncDreamerConfig(steps=1, guidance=1.0, at_once=16, draws=draws)
        return SetSampler(model, config).generate(PICTURE, seed, config, lambda step, steps, clean: None)

    one, other = made(3, 1).astype(int), made(3 + DRAW_SEED, 1).astype(int)
    assert np.abs(one - other).max() > 1
    assert np.abs(made(3, 2) - (one + other) / 2).max() <= 0.5


def test_other_samplers_draw_too(model):
    found = drawn(model, sampler="dpm++", at_once=16)
    assert found.shape == (16, 4, 16, 16) and bool(found.isfinite().all())


def test_fewer_views_at_once_where_memory_does_not_suffice(model, monkeypatch, caplog):
    sizes = []
    plain = model.network.view_noise

    def scarce(latents, *args):
        sizes.append(latents.shape[1])
        if latents.shape[1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(latents, *args)

    monkeypatch.setattr(model.network, "view_noise", scarce)
    config = SyncDreamerConfig(steps=1, guidance=1.0, at_once=4)
    found = SetSampler(model, config).generate(PICTURE, 0, config, lambda step, steps, clean: None)

    assert found.shape == (16, 64, 64, 3) and found.dtype == np.uint8
    assert sizes == [4] + [2] * 8
    assert "2 views per batch" in caplog.text


def test_views_at_once_may_change_while_it_runs(model, monkeypatch):
    sizes = []
    plain = model.network.view_noise
    monkeypatch.setattr(model.network, "view_noise", lambda x, *args: sizes.append(x.shape[1]) or plain(x, *args))
    sampler = SetSampler(model, SyncDreamerConfig(at_once=4))

    for at_once in (8, 16):
        config = SyncDreamerConfig(steps=1, guidance=1.0, at_once=at_once)
        sampler.generate(PICTURE, 0, config, lambda step, steps, clean: None)
    assert sizes == [8, 8, 16]


def test_memory_that_does_not_suffice_for_one_view_is_refused_with_a_code(session, monkeypatch):
    def none(self, *args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    session.load()
    monkeypatch.setattr("sparse_recon.complete.syncdreamer.network.SyncDreamerNetwork.view_noise", none)
    with pytest.raises(MemoryBudgetError) as caught:
        session.complete(CompletionRequest())
    assert caught.value.code is ErrorCode.MEMORY_BUDGET


def test_pictures_that_hold_no_numbers(model, monkeypatch):
    monkeypatch.setattr(model, "decode_latents", lambda latents: torch.full((1, 3, 64, 64), torch.nan))
    config = SyncDreamerConfig(steps=1, guidance=1.0, at_once=16)

    with pytest.raises(ModelError, match="bf16 or fp32") as caught:
        SetSampler(model, config).generate(PICTURE, 0, config, lambda step, steps, clean: None)
    assert caught.value.code is ErrorCode.MODEL_FAILED


def test_nothing_but_white_is_told(session, monkeypatch):
    monkeypatch.setattr(SetSampler, "generate", lambda *_: np.full((16, 64, 64, 3), 255, np.uint8))

    with pytest.raises(ModelError, match="shows an object"):
        session.complete(CompletionRequest())


def test_another_number_of_views_than_the_networks_have_is_our_mistake(session, monkeypatch):
    monkeypatch.setattr(SetSampler, "generate", lambda *_: np.zeros((12, 64, 64, 3), np.uint8))

    with pytest.raises(ModelError, match="12 views, 16 were asked for") as caught:
        session.complete(CompletionRequest())
    assert caught.value.code is ErrorCode.MODEL_FAILED


def test_fp16_is_refused_on_a_processor(checkpoint):
    config = load_config({**SMALL, "syncdreamer.weights": str(checkpoint), "syncdreamer.precision": "fp16"})
    with pytest.raises(Exception, match="CPU does not compute"):
        TinySyncDreamer().load(config, lambda share, text: None)


def test_half_precision_answers_the_same_within_its_rounding(model, checkpoint):
    from sparse_recon.complete.latent.weights import find_weights
    from sparse_recon.complete.syncdreamer.model import SyncDreamerModel
    from sparse_recon.complete.syncdreamer.weights import layout

    found = find_weights(checkpoint, layout(SMALLEST))
    half = SyncDreamerModel(found.tensors, SMALLEST, "cpu", torch.bfloat16)
    generator = torch.Generator().manual_seed(0)
    latents, of_image = torch.randn(1, 16, 4, 16, 16, generator=generator), torch.randn(1, 4, 16, 16)
    image = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1

    single, rounded = (m.predict_noise(latents, 500, m.conditions(image, 0.3, of_image), 2.0, 4) for m in (model, half))

    # bf16 keeps 8 bits, and guidance of 2 triples what differs.
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, single)
    assert float((rounded - single).std() / single.std()) < 0.08
