"""Samplers: the released DDIM loops step for step, and those of diffusers by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sparse_recon.complete.latent.architectures import INSTALL
from sparse_recon.complete.latent.schedules import BETA_FIRST, BETA_LAST, TRAIN_STEPS, DdimStep, ddim_steps
from sparse_recon.errors import DependencyError
from sparse_recon.types import Float64

if TYPE_CHECKING:
    from torch import Generator, Tensor

# ddim_released: the loop as the authors of Zero-1-to-3 released it, which leaves out its noisiest step.
SAMPLERS = ("ddim_released", "ddim", "dpm++", "unipc", "euler")


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
    *,
    noisy_end: bool = True,
    alpha_bar: Float64 | None = None,
) -> Tensor:
    """Return clean latents (B, C, S, S) from noise.

    Parameters
    ----------
    noise : returns a standard normal (B, C, S, S) at each call: first what is begun from, then what is added.
    sampler : one of `SAMPLERS`.
    eta, noisy_end, alpha_bar : of the ddim samplers, see `ddim_steps`.
    on_step : takes the step, their number, and what the image looks like by then; may raise to stop.
    """
    if sampler.startswith("ddim"):
        table = ddim_steps(steps, eta, sampler == "ddim_released", noisy_end, alpha_bar)
        return _ddim(denoiser, noise, table, on_step)
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
        if step.sigma > 0 and step.adds_noise:
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
