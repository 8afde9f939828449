"""Noise schedules and sampling loops, against values worked out from the published formulas."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparse_recon.complete.latent.samplers import SAMPLERS, sample, seeded_noise  # noqa: E402
from sparse_recon.complete.latent.schedules import alpha_bars, ddim_steps  # noqa: E402


def test_shares_of_signal():
    alpha = alpha_bars()

    known = {0: 0.999150000, 1: 0.998296028, 21: 0.980380748, 500: 0.276332684, 961: 0.007281727, 999: 0.004660099}
    assert np.allclose([alpha[t] for t in known], list(known.values()), rtol=0, atol=1e-9)


def test_table_in_single_precision_differs_by_its_rounding_alone():
    single, double = alpha_bars(single=True), alpha_bars()

    assert np.array_equal(single, single.astype(np.float32))
    assert 0 < np.abs(single - double).max() < 2e-6
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
    assert np.abs(torch.cumprod(1 - betas, 0).numpy() - single).max() < 2e-7  # as PyTorch adds up


def test_an_end_without_noise_keeps_the_share_of_noise_out_of_the_picture():
    noisy, clean = ddim_steps(50, 1.0, released=False), ddim_steps(50, 1.0, released=False, noisy_end=False)

    assert [s.adds_noise for s in noisy] == [True] * 50
    assert [s.adds_noise for s in clean] == [True] * 49 + [False]
    assert clean[-1].sigma == noisy[-1].sigma == pytest.approx(0.02064832, abs=1e-8)

    def last_two_of(noisy_end: bool):
        draws = iter([torch.zeros(1, 1, 2, 2)] + [torch.ones(1, 1, 2, 2)] * 50)
        count = [0]

        def noise():
            count[0] += 1
            return next(draws)

        return sample(lambda x, t: x * 0 + 0.5, noise, "ddim", 50, noisy_end=noisy_end), count[0]

    with_noise, drawn = last_two_of(True)
    without, fewer = last_two_of(False)
    assert (drawn, fewer) == (51, 50)
    assert float((with_noise - without).abs().max()) == pytest.approx(0.02064832, abs=1e-6)


def test_released_loop_leaves_out_its_noisiest_step():
    released, whole = ddim_steps(50, 1.0, released=True), ddim_steps(50, 1.0, released=False)

    assert (len(released), released[0].t) == (49, 961)
    assert (len(whole), whole[0].t) == (50, 981)
    assert (len(ddim_steps(75, 1.0, released=True)), ddim_steps(75, 1.0, released=True)[0].t) == (76, 976)
    assert released[0].sigma == pytest.approx(0.44828244, abs=1e-8)
    assert released[-2].sigma == pytest.approx(0.03947955, abs=1e-8)
    assert released[-1].sigma == pytest.approx(0.02064832, abs=1e-8)
    assert released[-1].alpha_next == pytest.approx(0.99915, abs=1e-9)


@pytest.mark.parametrize("released", [True, False])
def test_loop_follows_a_scalar_reference(released):
    # A network that anyone can work out by hand, one number for a latent, noise of known values.
    times: list[int] = []

    def denoiser(x, t):
        times.append(t)
        return 0.1 * x + 0.01 * t / 1000

    drawn = iter(np.random.default_rng(0).normal(size=60))
    draws = [float(next(drawn)) for _ in range(60)]
    source = iter(draws)
    found = sample(
        denoiser,
        lambda: torch.tensor([[[[next(source)]]]], dtype=torch.float64),
        "ddim_released" if released else "ddim",
        50,
        eta=1.0,
    )

    alpha = alpha_bars()
    t = np.arange(1, 1000, 20)[: 49 if released else 50][::-1]
    x = draws[0]
    for k, (now, noise) in enumerate(zip(t, draws[1:], strict=False)):
        a, before = alpha[now], alpha[t[k + 1]] if k + 1 < len(t) else alpha[0]
        eps = 0.1 * x + 0.01 * now / 1000
        s = np.sqrt((1 - before) / (1 - a) * (1 - a / before))
        x = np.sqrt(before) * (x - np.sqrt(1 - a) * eps) / np.sqrt(a) + np.sqrt(1 - before - s**2) * eps + s * noise
    assert times == t.tolist()
    assert float(found) == pytest.approx(x, abs=1e-9)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_finds_the_picture_that_the_network_knows(sampler):
    if not sampler.startswith("ddim"):
        pytest.importorskip("diffusers")
    picture = torch.linspace(-1, 1, 16, dtype=torch.float64).reshape(1, 1, 4, 4)
    alpha = alpha_bars()

    def denoiser(x, t):
        return (x - alpha[t] ** 0.5 * picture) / (1 - alpha[t]) ** 0.5

    seen = []
    found = sample(
        denoiser,
        seeded_noise([3], (1, 4, 4), "cpu"),
        sampler,
        20,
        on_step=lambda step, steps, clean: seen.append((step, steps)),
    )

    # The last step of DDIM leaves the noise of the first level, 0.029; the others end at none.
    assert float((found - picture).abs().max()) < 0.15
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_noise_of_a_view_is_its_own():
    together, alone = seeded_noise([1, 2], (4, 2, 2), "cpu"), seeded_noise([2], (4, 2, 2), "cpu")

    for _ in range(2):
        assert torch.equal(together()[1:], alone())


def test_who_stops_a_step_stops_the_loop():
    def stop(step, steps, clean):
        if step == 3:
            raise KeyboardInterrupt

    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        sample(lambda x, t: calls.append(t) or x * 0, seeded_noise([0], (1, 2, 2), "cpu"), "ddim", 10, 1.0, stop)
    assert len(calls) == 3


@pytest.mark.parametrize("count", [1, 3, 9, 27, 37, 300, 1000])
def test_no_number_of_steps_leaves_the_table(count):
    times = [step.t for step in ddim_steps(count, 1.0, False)]
    assert times[-1] == 1 and max(times) <= 999 and times == sorted(set(times), reverse=True)


@pytest.mark.parametrize("count", [500, 501, 1000])
def test_as_many_steps_as_there_are_times(count):
    whole = ddim_steps(count, 1.0, released=False)

    assert (len(whole), whole[0].t, whole[-1].t) == ((500, 999, 1) if count == 500 else (999, 999, 1))
    assert ddim_steps(count, 1.0, released=True) == whole[1:]
