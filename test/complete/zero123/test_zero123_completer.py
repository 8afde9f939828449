"""Zero-1-to-3 as a session asks it, with tiny random weights: what it draws is noise, all else is as on a robot."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from published_zero123 import TinyZero123  # noqa: E402
from scenes import recording  # noqa: E402
from sessions import digest, session_of  # noqa: E402

from sparse_recon.complete.latent.cameras import SphericalCamera  # noqa: E402
from sparse_recon.complete.latent.conditioning_image import ConditioningImage, best_conditioning_view  # noqa: E402
from sparse_recon.complete.latent.view_sampler import DRAW_SEED  # noqa: E402
from sparse_recon.complete.registry import COMPLETERS  # noqa: E402
from sparse_recon.complete.zero123 import sampling  # noqa: E402
from sparse_recon.complete.zero123.cameras import camera_ring  # noqa: E402
from sparse_recon.complete.zero123.parameters import Zero123Config  # noqa: E402
from sparse_recon.complete.zero123.sampling import ViewSampler  # noqa: E402
from sparse_recon.complete.zero123.score import Zero123Score  # noqa: E402
from sparse_recon.config.parameters import needs_restart  # noqa: E402
from sparse_recon.config.session_config import load_config  # noqa: E402
from sparse_recon.errors import CancelledError, ConfigError, ErrorCode, MemoryBudgetError, ModelError  # noqa: E402
from sparse_recon.machine import processor  # noqa: E402
from sparse_recon.requests import CompletionRequest  # noqa: E402
from sparse_recon.types import ObjectView, Provenance  # noqa: E402

SMALL = {
    "model": "zero123",
    "evidence.grid": 40,
    "evidence.fine_voxel_m": 0.0025,
    "zero123.precision": "fp32",
    "fit.iterations": 10,
    "fit.rays": 400,
    "fit.grid": 32,
    "fit.views": 4,
    "distill.iterations": 2,
    "distill.grid": 20,
    "distill.views": 4,
    "zero123.views": 3,
    "zero123.steps": 2,
    "zero123.device": "cpu",
}
PICTURE = ConditioningImage(
    np.linspace(0, 1, 256 * 256 * 3, dtype=np.float32).reshape(256, 256, 3),
    np.ones((256, 256), np.float32),
    SphericalCamera(1.1, 0.2, 2.0),
    (),
)


@pytest.fixture
def session(checkpoint, monkeypatch):
    monkeypatch.setitem(COMPLETERS, "zero123", "published_zero123:TinyZero123")
    config = load_config({**SMALL, "zero123.weights": str(checkpoint)})
    return session_of(recording(turn_deg=90).frames, config)


def test_a_session_completes_with_it(session):
    seen = []
    result = session.complete(CompletionRequest(), on_progress=seen.append)

    assert result.model == "zero123"
    assert result.quality.nominal_watertight and result.quality.free_space_violation == 0
    assert {Provenance.OBSERVED, Provenance.INFERRED} == set(result.provenance.tolist())
    assert any("1 of 2 views" in warning for warning in result.quality.warnings)
    shares = [p.fraction for p in seen]
    assert shares == sorted(shares) and any(p.preview is not None for p in seen)
    # Metric: what was measured lies on the ball of 4 cm, wherever the drawings are.
    observed = result.points_world[result.provenance == Provenance.OBSERVED]
    assert np.abs(np.linalg.norm(observed - (0, 0, 0.04), axis=1) - 0.04).mean() < 0.002


def test_a_session_distils_with_it(session, checkpoint):
    config = load_config({**SMALL, "zero123.weights": str(checkpoint), "zero123.geometry": "distill"})
    session.configure(config)

    result = session.complete(CompletionRequest())

    assert result.quality.nominal_watertight and result.quality.free_space_violation == 0
    observed = result.points_world[result.provenance == Provenance.OBSERVED]
    assert np.abs(np.linalg.norm(observed - (0, 0, 0.04), axis=1) - 0.04).mean() < 0.002


def test_same_seed_same_result(session):
    first, again, other = (session.complete(CompletionRequest(seed=s)) for s in (3, 3, 4))

    assert digest(first) == digest(again) != digest(other)


def test_cancelled_between_steps(session):
    asked = []

    def cancel() -> bool:
        asked.append(time.monotonic())
        return len(asked) > 40

    with pytest.raises(CancelledError):
        session.complete(CompletionRequest(), cancel=cancel)
    assert len(asked) == 41


def test_without_weights_it_says_which_file_goes_where(monkeypatch):
    monkeypatch.setitem(COMPLETERS, "zero123", "published_zero123:TinyZero123")
    session = session_of(recording().frames, load_config(SMALL))

    with pytest.raises(ModelError, match=r"no path is given.*105000\.ckpt.*zero123\.weights") as caught:
        session.complete(CompletionRequest())
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_MISSING


def drawn(sampler, count=5, **values):
    config = Zero123Config(steps=2, **values)
    return sampler.generate(
        PICTURE, camera_ring(PICTURE.camera, count), list(range(count)), config, lambda step, steps, clean: None
    )


def test_views_are_the_same_in_any_number_of_passes(model):
    steps = []
    config = Zero123Config(steps=2, at_once=2)
    passes = ViewSampler(model, config).generate(
        PICTURE, camera_ring(PICTURE.camera, 5), list(range(5)), config, lambda k, n, clean: steps.append((k, n))
    )

    whole = drawn(ViewSampler(model, Zero123Config(at_once=8)))
    assert whole.shape == (5, 256, 256, 3)
    assert np.abs(whole.astype(int) - passes).max() <= 1
    # Two steps are 1, 501: the released loop leaves the second out, so that each of three passes has one.
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_a_picture_is_the_mean_of_its_draws(model):
    steps = []
    sampler, config = ViewSampler(model, Zero123Config()), Zero123Config(steps=2, draws=2)
    cameras = camera_ring(PICTURE.camera, 3)

    def made(seeds, config):
        return sampler.generate(PICTURE, cameras, seeds, config, lambda k, n, clean: steps.append((k, n)))

    mean = made([0, 1, 2], config)
    assert steps == [(1, 2), (2, 2)]
    one, other = (made([first, 1 + first, 2 + first], replace(config, draws=1)) for first in (0, DRAW_SEED))
    assert np.abs(one.astype(int) - other).max() > 1
    assert np.abs(mean - (one.astype(float) + other) / 2).max() <= 0.5


def test_fewer_views_at_once_where_memory_does_not_suffice(model, monkeypatch, caplog):
    whole = drawn(ViewSampler(model, Zero123Config()))
    sizes = []
    plain = model.predict_noise

    def scarce(latents, *args):
        sizes.append(len(latents))
        if len(latents) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(latents, *args)

    monkeypatch.setattr(model, "predict_noise", scarce)
    found = drawn(ViewSampler(model, Zero123Config()))

    assert np.abs(found.astype(int) - whole).max() <= 1
    assert sizes[:2] == [5, 2] and set(sizes[2:]) == {1}
    assert "1 views per batch" in caplog.text


def test_memory_that_does_not_suffice_for_one_view_is_refused_with_a_code(session, monkeypatch):
    def none(self, *args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    session.load()
    monkeypatch.setattr(sampling.Zero123Model, "predict_noise", none)
    with pytest.raises(MemoryBudgetError) as caught:
        session.complete(CompletionRequest())
    assert caught.value.code is ErrorCode.MEMORY_BUDGET
    monkeypatch.undo()
    assert session.objects()


def test_pictures_that_hold_no_numbers(model, monkeypatch):
    monkeypatch.setattr(model, "decode_latents", lambda latents: torch.full((1, 3, 256, 256), torch.nan))

    with pytest.raises(ModelError, match="bf16 or fp32") as caught:
        drawn(ViewSampler(model, Zero123Config()))
    assert caught.value.code is ErrorCode.MODEL_FAILED


def test_nothing_but_white_is_told(session, monkeypatch):
    monkeypatch.setattr(
        ViewSampler, "generate", lambda self, picture, cameras, *_: np.full((3, 256, 256, 3), 255, np.uint8)
    )

    with pytest.raises(ModelError, match="shows an object"):
        session.complete(CompletionRequest())


def test_distillation_is_never_computed_in_bf16(checkpoint, monkeypatch):
    """Guidance of 100 multiplies rounding: docs/zero123.md has the shares, test_zero123_model.py measures them."""
    monkeypatch.setattr(processor, "multiplies_bf16", lambda device: True)
    values = {**SMALL, "zero123.weights": str(checkpoint), "zero123.precision": "auto"}

    def dtype_of(geometry: str):
        completer = TinyZero123()
        completer.load(load_config({**values, "zero123.geometry": geometry}), lambda share, text: None)
        return completer._model.dtype

    assert (dtype_of("fit"), dtype_of("distill")) == (torch.bfloat16, torch.float32)
    assert processor.chosen_dtype("auto", "cuda", amplified=True) is torch.float16
    with pytest.raises(ConfigError, match=r"zero123\.precision is bf16 and geometry is distill.*fp32"):
        load_config({**values, "zero123.geometry": "distill", "zero123.precision": "bf16"})
    with pytest.raises(ConfigError, match="guidance of 100"):
        processor.chosen_dtype("bf16", "cuda", amplified=True)


def test_another_geometry_loads_the_model_anew():
    before, after = Zero123Config(), Zero123Config(geometry="distill")
    assert needs_restart(before, after)


def test_large_guidance_in_bf16_is_warned_of(session, checkpoint, monkeypatch):
    monkeypatch.setattr(processor, "multiplies_bf16", lambda device: True)
    config = {**SMALL, "zero123.weights": str(checkpoint), "zero123.precision": "bf16", "zero123.guidance": 20.0}
    session.configure(load_config(config))

    assert any("multiplies the rounding of bf16" in w for w in session.complete(CompletionRequest()).quality.warnings)


def test_fp16_is_refused_on_a_processor(checkpoint):
    completer = TinyZero123()
    config = load_config({**SMALL, "zero123.weights": str(checkpoint), "zero123.precision": "fp16"})

    with pytest.raises(Exception, match="CPU does not compute"):
        completer.load(config, lambda share, text: None)


def test_the_view_with_most_of_the_object_is_shown():
    def view(rows: slice) -> ObjectView:
        mask = np.zeros((60, 60), bool)
        mask[rows, 10:30] = True
        return ObjectView(None, mask, ~mask, np.zeros(mask.shape, np.float32))  # type: ignore[arg-type]

    whole, larger_but_cut, small = view(slice(10, 40)), view(slice(0, 33)), view(slice(20, 30))
    assert best_conditioning_view((small, larger_but_cut, whole)) is whole


@pytest.fixture
def score(model) -> Zero123Score:
    return Zero123Score(model, PICTURE, 0.1)


def test_ladder_of_noise_is_the_published_one(score):
    assert len(score.sigmas) == 960
    assert score.sigmas[0] == pytest.approx(12.2288, abs=1e-4)
    assert score.sigmas[-1] == pytest.approx(0.098291, abs=1e-6)
    assert (np.diff(score.sigmas) < 0).all()


def test_clean_picture_is_what_the_noise_leaves(score, model, monkeypatch):
    asked = []

    def noise(latents, t, poses, context, guidance):
        asked.append((latents, t, poses, guidance))
        return torch.full_like(latents, 0.5)

    monkeypatch.setattr(model, "predict_noise", noise)
    sigma = torch.tensor([float(score.sigmas[100])])
    z = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    target = SphericalCamera(0.9, 1.4, 1.9)

    found = score.denoised(z, sigma, target.T_obj_cam()[None])

    latents, t, poses, guidance = asked[0]
    assert torch.allclose(found, z - 0.5 * sigma)
    assert torch.allclose(latents, z / (1 + sigma**2) ** 0.5)
    assert (t, guidance) == (999 - 30 - 100, 100.0)
    assert np.allclose(poses[0], [-0.2, np.sin(1.2), np.cos(1.2), -0.1], atol=1e-6)


def test_score_has_what_distillation_asks_for(score):
    assert (score.channels, score.size, score.focal) == (4, 32, 35.0)
    assert score.background.shape == (4, 32, 32) and score.conditioning_image.shape == (3, 256, 256)
    latents = torch.zeros(1, 4, 32, 32, requires_grad=True)
    score.decoded(latents).sum().backward()
    assert latents.grad is not None and bool(latents.grad.isfinite().all())


def test_what_the_decoder_makes_too_bright_is_not_clamped(score, model):
    latents = 4.0 * torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    latents.requires_grad_()

    colors = score.decoded(latents)
    beyond = (colors > 1) | (colors < 0)
    assert float(beyond.float().mean()) > 0.05
    (gradient,) = torch.autograd.grad(colors[beyond].sum(), latents)
    assert float(gradient.abs().max()) > 0
    with torch.no_grad():
        assert torch.equal(model.decode_latents(latents), colors.clamp(0, 1))
