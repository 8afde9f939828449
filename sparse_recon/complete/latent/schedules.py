"""Noise schedules and samplers: the released DDIM loops step for step, and those of diffusers by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sparse_recon.complete.latent.architectures import INSTALL
from sparse_recon.errors import DependencyError
from sparse_recon.types import Float64

if TYPE_CHECKING:
    from torch import Generator, Tensor

TRAIN_STEPS = 1000
BETA_FIRST, BETA_LAST = 0.00085, 0.0120
# ddim_released: the loop as the authors of Zero-1-to-3 released it, which leaves out its noisiest step.
SAMPLERS = ("ddim_released", "ddim", "dpm++", "unipc", "euler")


def alpha_bars() -> Float64:
    """Return (1000,) the shares of signal variance: betas are squares of a line between roots (arXiv 2112.10752)."""
    betas = np.linspace(BETA_FIRST**0.5, BETA_LAST**0.5, TRAIN_STEPS, dtype=np.float64) ** 2
    return np.asarray(np.cumprod(1.0 - betas), np.float64)


@dataclass(frozen=True)
class DdimStep:
    """One step of DDIM (arXiv 2010.02502, equation 12): time, signal shares before and after it, and fresh noise."""

    t: int
    alpha: float
    alpha_next: float
    sigma: float


def ddim_steps(count: int, eta: float, released: bool) -> list[DdimStep]:
    """Return the steps from noise to image.

    Parameters
    ----------
    count : target number of steps; times are every `1000 // count`-th, so that there may be a few more.
    eta : 0 without fresh noise, 1 as released.
    released : leave out the noisiest step, as the authors' loop does: 49 evaluations of 50.
    """
    alpha_bar = alpha_bars()
    times = np.arange(0, TRAIN_STEPS, TRAIN_STEPS // count) + 1
    alphas = alpha_bar[times]
    after = np.concatenate([alpha_bar[:1], alphas[:-1]])
    sigmas = eta * np.sqrt((1 - after) / (1 - alphas) * (1 - alphas / after))
    steps = [
        DdimStep(int(t), float(a), float(b), float(s)) for t, a, b, s in zip(times, alphas, after, sigmas, strict=True)
    ]
    if released:
        steps = steps[:-1]
    return steps[::-1]


class Denoiser(Protocol):
    """Returns the noise (B, C, S, S) that it sees in latents (B, C, S, S) at time t."""

    def __call__(self, latents: Tensor, t: int) -> Tensor: ...


def sample(
    denoiser: Denoiser,
    noise: Callable[[], Tensor],
    sampler: str,
    steps: int,
    eta: float = 1.0,
    on_step: Callable[[int, int, Tensor], None] = lambda step, steps, clean: None,
) -> Tensor:
    """Return clean latents (B, C, S, S) from noise.

    Parameters
    ----------
    noise : returns a standard normal (B, C, S, S) at each call: first what is begun from, then what is added.
    sampler : one of `SAMPLERS`.
    on_step : takes the step, their number, and what the image looks like by then; may raise to stop.
    """
    if sampler.startswith("ddim"):
        return _ddim(denoiser, noise, ddim_steps(steps, eta, sampler == "ddim_released"), on_step)
    scheduler = _scheduler(sampler)
    scheduler.set_timesteps(steps)
    times = [float(t) for t in scheduler.timesteps]
    x = noise() * float(scheduler.init_noise_sigma)
    for k, t in enumerate(scheduler.timesteps):
        noise_prediction = denoiser(scheduler.scale_model_input(x, t), round(times[k]))
        stepped = scheduler.step(noise_prediction, t, x)
        x = stepped.prev_sample
        clean = getattr(stepped, "pred_original_sample", None)
        on_step(k + 1, len(times), x if clean is None else clean)
    return x


def _ddim(
    denoiser: Denoiser,
    noise: Callable[[], Tensor],
    steps: Sequence[DdimStep],
    on_step: Callable[[int, int, Tensor], None],
) -> Tensor:
    x = noise()
    for k, step in enumerate(steps):
        noise_prediction = denoiser(x, step.t)
        clean = (x - (1 - step.alpha) ** 0.5 * noise_prediction) / step.alpha**0.5
        x = step.alpha_next**0.5 * clean + (1 - step.alpha_next - step.sigma**2) ** 0.5 * noise_prediction
        if step.sigma > 0:
            x = x + step.sigma * noise()
        on_step(k + 1, len(steps), clean)
    return x


def _scheduler(name: str) -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise DependencyError("diffusers", "this sampler", INSTALL) from error
    common = {"beta_start": BETA_FIRST, "beta_end": BETA_LAST, "beta_schedule": "scaled_linear"}
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
        "unipc": ("UniPCMultistepScheduler", {}),
        "euler": ("EulerDiscreteScheduler", {}),
    }
    cls, values = kinds[name]
    return getattr(diffusers, cls)(num_train_timesteps=TRAIN_STEPS, **common, **values)


def seeded_noise(seeds: Sequence[int], shape: tuple[int, ...], device: str) -> Callable[[], Tensor]:
    """Return a source of noise (B, *shape), each row from its own seed: a view is the same in every batch and device.

    Drawn on the CPU in single precision.
    """
    import torch

    generators: list[Generator] = [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]

    def sample_noise() -> Tensor:
        return torch.stack([torch.randn(shape, generator=g) for g in generators]).to(device)

    return sample_noise
