"""Noise in continuous time and the two samplers, beside their definitions written out in double precision."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparse_recon.complete.sparsefusion.vldm_samplers import ancestral, multistep, step_count  # noqa: E402
from sparse_recon.complete.sparsefusion.vldm_schedule import (  # noqa: E402
    alpha_sigma,
    clean_seen,
    log_snr,
    loss_weight,
    noised,
    posterior,
)

SHAPE = (2, 4, 3, 3)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Noise:
    """Standard normals, counted."""

    def __init__(self, factor: float = 1.0) -> None:
        self.draws, self.factor = 0, factor

    def __call__(self):
        self.draws += 1
        return self.factor * drawn(*SHAPE, seed=self.draws)


class Knows:
    """Sees the noise in latents of which it knows what is below."""

    def __init__(self, clean) -> None:
        self.clean, self.asked = clean, []

    def __call__(self, x, ratio):
        self.asked.append(float(ratio[0]))
        alpha, sigma = alpha_sigma(ratio[:, None, None, None])
        return (x - alpha * self.clean) / sigma


@pytest.mark.parametrize(
    ("t", "ratio"),
    [(0.0, 8.769295), (0.25, 1.710341), (0.5, -0.024934), (0.75, -1.780433), (0.9, -3.701659), (0.99, -8.322949)],
)
def test_ratio_of_signal_and_noise(t, ratio):
    assert float(log_snr(torch.tensor([t]))[0]) == pytest.approx(ratio, rel=2e-5)
    alpha, sigma = alpha_sigma(log_snr(torch.tensor([t])))
    assert float(alpha**2 + sigma**2) == pytest.approx(1.0, abs=1e-6)


def test_end_is_what_rounding_leaves():
    # Of an infinite ratio; the network was trained up to time 0.999, and is asked this.
    assert -40 < float(log_snr(torch.ones(1))[0]) < -30
    assert loss_weight(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([math.exp(-8.7693 / 2), 1.0], rel=1e-3)


def test_noise_is_found_again():
    clean, noise, t = drawn(*SHAPE), drawn(*SHAPE, seed=1), torch.tensor([0.2, 0.9])
    assert torch.allclose(clean_seen(noised(clean, t, noise), t, noise), clean, atol=1e-4)
    assert float(clean_seen(100 * clean, t, noise).abs().max()) == 10.0


def test_posterior_is_that_of_gaussians():
    """Against conditioning of the joint Gaussian (arXiv 2107.00630, equations 24 to 26)."""
    x, clean, t, s = drawn(*SHAPE), drawn(*SHAPE, seed=1), torch.tensor([0.6, 0.3]), torch.tensor([0.5, 0.1])
    found = posterior(x, clean, t, s)

    def shares(times):
        share = np.cos((times.double().numpy() + 0.008) / 1.008 * np.pi / 2) ** 2
        return np.sqrt(share)[:, None, None, None], (1 - share)[:, None, None, None]

    (a_t, v_t), (a_s, v_s) = shares(t), shares(s)
    across, between = a_t / a_s, v_t - (a_t / a_s) ** 2 * v_s
    mean = across * v_s / v_t * x.numpy() + a_s * between / v_t * clean.numpy()
    assert np.allclose(found.mean, mean, atol=1e-5)
    assert np.allclose(found.deviation, np.sqrt(between * v_s / v_t), atol=1e-5)
    assert not bool(posterior(x, clean, s, torch.zeros(2)).deviation.any())


def test_who_knows_what_is_below_finds_it_by_ancestral_steps():
    clean = drawn(*SHAPE)
    assert torch.allclose(ancestral(Knows(clean), Noise(), 40), clean, atol=2e-2)


def test_remembered_noise_and_fresh_noise_do_not_go_together():
    """What is left of the released steps' error even if the network knows the answer: memory holds noise long gone."""
    clean = drawn(*SHAPE)
    off = float((multistep(Knows(clean), Noise()) - clean).pow(2).mean().sqrt())
    assert 0.2 < off < 1.0


def test_all_steps_of_the_diffusion():
    noise, predict, steps = Noise(), Knows(drawn(*SHAPE)), []
    ancestral(predict, noise, on_step=lambda step, count, clean: steps.append((step, count)))
    assert len(predict.asked) == 500 and noise.draws == 501
    assert steps[0] == (1, 500) and steps[-1] == (500, 500)
    assert predict.asked[1] == pytest.approx(float(log_snr(torch.tensor([0.998]))[0]), rel=1e-4)


@pytest.mark.parametrize(
    ("level", "steps"), [(0.005, 0), (0.01, 1), (0.29, 28), (0.3, 30), (0.5, 50), (0.8, 50), (1, 50)]
)
def test_number_of_steps(level, steps):
    assert step_count(level) == steps


def test_answers_and_draws_of_released_steps():
    noise, predict = Noise(), Knows(drawn(*SHAPE))
    multistep(predict, noise, drawn(*SHAPE, seed=7), 0.3)
    assert len(predict.asked) == 31 and noise.draws == 1 + 4 + 2 * 29
    noise, predict = Noise(), Knows(drawn(*SHAPE))
    multistep(predict, noise)
    assert len(predict.asked) == 51 and noise.draws == 2 + 4 + 2 * 49


def test_released_steps_beside_the_rules_written_out():
    """For a network that answers by a line, with noise that is drawn for what is only looked at."""
    noise = Noise()
    start = drawn(*SHAPE, seed=9)
    found = multistep(lambda x, ratio: 0.3 * x + 0.05 * ratio[:, None, None, None], noise, start, 0.07, steps=50)

    def ratio(t):
        return -math.log(math.cos((t + 0.008) / 1.008 * math.pi / 2) ** -2 - 1)

    draws = iter(drawn(*SHAPE, seed=k + 1).double() for k in range(noise.draws))

    def seen(x, t):
        return 0.3 * x + 0.05 * ratio(t)

    def step(x, eps, t, s):
        a, v = 1 / (1 + math.exp(-ratio(t))), 1 / (1 + math.exp(ratio(t)))
        b, w = 1 / (1 + math.exp(-ratio(s))), 1 / (1 + math.exp(ratio(s)))
        clean = ((x - v**0.5 * eps) / a**0.5).clamp(-10, 10)
        c = 1 - math.exp(ratio(t) - ratio(s))
        return b**0.5 * (x * (1 - c) / a**0.5 + c * clean) + (w * c) ** 0.5 * (s > 0) * next(draws)

    times = np.linspace(0.07, 0, 8)
    a, v = 1 / (1 + math.exp(-ratio(0.07))), 1 / (1 + math.exp(ratio(0.07)))
    x, past = a**0.5 * start.double() + v**0.5 * next(draws), []
    for t, s in pairwise(times):
        now = seen(x, t)
        next(draws)
        if not past:
            ahead = step(x, now, t, s)
            mixed = (now + seen(ahead, s)) / 2
            next(draws)
        elif len(past) == 1:
            mixed = (3 * now - past[-1]) / 2
        elif len(past) == 2:
            mixed = (23 * now - 16 * past[-1] + 5 * past[-2]) / 12
        else:
            mixed = (55 * now - 59 * past[-1] + 37 * past[-2] - 9 * past[-3]) / 24
        x = step(x, mixed, t, s)
        past.append(now)
    assert next(draws, None) is None
    assert torch.allclose(found.double(), x, atol=1e-4)


def test_mistakes_of_the_release_are_behind_a_flag():
    latents = drawn(*SHAPE)
    predict = Knows(drawn(*SHAPE, seed=5))
    almost = multistep(predict, Noise(), latents, 0.005, as_released=True)
    assert not predict.asked and torch.allclose(almost, noised(latents, torch.full((2,), 0.005), drawn(*SHAPE, seed=1)))
    one = multistep(predict, Noise(), latents, 0.005)
    assert len(predict.asked) == 2 and not torch.allclose(one, almost, atol=0.1)

    begun = []

    def first(x, ratio):
        begun.append(x.clone())
        return x

    multistep(first, Noise(), latents, 0.995, as_released=True)
    released = begun[0]
    begun.clear()
    multistep(first, Noise(), latents, 0.995)
    assert torch.equal(released, latents)
    assert torch.allclose(begun[0], noised(latents, torch.full((2,), 0.995), drawn(*SHAPE, seed=1)))


def test_a_caller_may_stop_and_result_is_bounded():
    class Stop(Exception):
        pass

    def stop(step, steps, clean):
        assert float(clean.abs().max()) <= 10.0
        if step == 3:
            raise Stop

    with pytest.raises(Stop):
        multistep(lambda x, ratio: 100 * x, Noise(), drawn(*SHAPE), 0.4, on_step=stop)
    assert float(multistep(lambda x, ratio: 100 * x, Noise(), drawn(*SHAPE), 0.4).abs().max()) <= 10.0
