"""Tables of noise: what share of signal is left at each time, and the steps of DDIM through it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse_recon.types import Float64

TRAIN_STEPS = 1000
BETA_FIRST, BETA_LAST = 0.00085, 0.0120


def alpha_bars(single: bool = False) -> Float64:
    """Return (1000,) the shares of signal variance: betas are squares of a line between roots (arXiv 2112.10752).

    Parameters
    ----------
    single : betas and result rounded to float32, as SyncDreamer's are; they differ by 1e-7.
    """
    kind = np.float32 if single else np.float64
    betas = np.linspace(BETA_FIRST**0.5, BETA_LAST**0.5, TRAIN_STEPS, dtype=kind) ** 2
    return np.cumprod(1 - betas, dtype=np.float64).astype(kind).astype(np.float64)


@dataclass(frozen=True)
class DdimStep:
    """One step of DDIM (arXiv 2010.02502, equation 12).

    Attributes
    ----------
    t : time.
    alpha, alpha_next : signal shares before and after it.
    sigma : of the fresh noise.
    adds_noise : whether that noise is added; without, only its share is taken from the predicted noise.
    """

    t: int
    alpha: float
    alpha_next: float
    sigma: float
    adds_noise: bool = True


def ddim_steps(
    count: int, eta: float, released: bool, noisy_end: bool = True, alpha_bar: Float64 | None = None
) -> list[DdimStep]:
    """Return the steps from noise to image; the last leads to the share of signal at time 0.

    Parameters
    ----------
    count : target number of steps, to 1000; times are every `1000 // count`-th from 1 on, so that there may be a few
        more, and 999 for all above 500.
    eta : 0 without fresh noise, 1 as released.
    released : leave out the noisiest step, as the authors of Zero-1-to-3 do: 49 evaluations of 50.
    noisy_end : whether the last step adds noise, which those of SyncDreamer does not.
    alpha_bar : (1000,) table of signal shares; None: `alpha_bars()`.
    """
    alpha_bar = alpha_bars() if alpha_bar is None else alpha_bar
    times = np.arange(1, TRAIN_STEPS, TRAIN_STEPS // count)
    alphas = alpha_bar[times]
    after = np.concatenate([alpha_bar[:1], alphas[:-1]])
    sigmas = eta * np.sqrt((1 - after) / (1 - alphas) * (1 - alphas / after))
    steps = [
        DdimStep(int(t), float(a), float(b), float(s), noisy_end or k > 0)
        for k, (t, a, b, s) in enumerate(zip(times, alphas, after, sigmas, strict=True))
    ]
    if released:
        steps = steps[:-1]
    return steps[::-1]
