"""Two ways from noise to latents: all steps of the diffusion, or few that remember the noise seen before."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from sparse_recon.complete.sparsefusion.vldm_schedule import CLIP, clean_seen, log_snr, noised, posterior

# Returns the noise (B, 4, S, S) seen in latents (B, 4, S, S) at a `log_snr` (B,).
PredictNoise = Callable[[Tensor, Tensor], Tensor]
# Called with the steps done, their number, and the clean latents seen by then; may raise to stop.
OnStep = Callable[[int, int, Tensor], None]
# Published numbers of steps: of the whole diffusion, and of the sampler that remembers.
ANCESTRAL_STEPS, MULTISTEP_STEPS = 500, 50
# Of noise seen last, before, and so on, by how much is remembered (Adams and Bashforth).
ORDERS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
# From this level on, released steps begin at time 1.
WHOLE = 0.99


def _silent(step: int, steps: int, clean: Tensor) -> None:
    pass


def ancestral(
    predict: PredictNoise, noise: Callable[[], Tensor], steps: int = ANCESTRAL_STEPS, on_step: OnStep = _silent
) -> Tensor:
    """Return latents (B, 4, S, S) by drawing each step from its posterior.

    Parameters
    ----------
    noise : returns a standard normal (B, 4, S, S) at each call: 1 to begin with, and 1 a step.
    """
    x = noise()
    times = _times(1.0, steps, x)
    for k, (t, earlier) in enumerate(pairwise(times)):
        seen = clean_seen(x, t, predict(x, log_snr(t)))
        step = posterior(x, seen, t, earlier)
        x = step.mean + step.deviation * noise()
        on_step(k + 1, steps, seen)
    return x.clamp(-CLIP, CLIP)


def step_count(level: float, steps: int = MULTISTEP_STEPS) -> int:
    """Return how many steps are taken from a level of noise in [0, 1]: all of them from 0.5 on, none below 0.01."""
    return steps if level >= WHOLE else min(int(level * steps * 2), steps)


def multistep(
    predict: PredictNoise,
    noise: Callable[[], Tensor],
    latents: Tensor | None = None,
    level: float = 0.999,
    steps: int = MULTISTEP_STEPS,
    on_step: OnStep = _silent,
    as_released: bool = False,
) -> Tensor:
    """Return latents (B, 4, S, S) by steps in which the noise seen before has a say ("PLMS", arXiv 2202.09778).

    Unlike the method of that name every step draws from its posterior. The first looks one step ahead; that costs a
    second answer of the network. Noise is drawn for what is only looked at, too. What is remembered is noise that has
    been replaced since: of a network that knows the answer, 50 steps from time 1 end 0.5 deviations of the latents
    beside it (root mean square), as many ancestral ones 0.004.

    Parameters
    ----------
    noise : returns a standard normal (B, 4, S, S) at each call: 1 to begin from, if there are no `latents`; 1 to noise
        them; 4 in the first step, and 2 in each later one.
    latents : (B, 4, S, S), clean, that are noised to `level`; None: all is drawn.
    as_released : with two mistakes of the released code. At levels below 0.01 no step is taken, and noised latents are
        returned; otherwise one is. At levels from 0.99 on, the latents are taken for noise themselves; otherwise they
        are noised.
    """
    if latents is None:
        level, start = 1.0, noise()
        noise()  # drawn and not used, as released
        x = start
    else:
        disturbed = noised(latents, torch.full((len(latents),), level, device=latents.device), noise())
        x = latents if as_released and level >= WHOLE else disturbed
    count = step_count(level, steps)
    if count == 0 and not as_released:
        count = 1
    times = _times(1.0 if level >= WHOLE else level, count, x)
    before: list[Tensor] = []
    for k, (t, earlier) in enumerate(pairwise(times)):
        seen = predict(x, log_snr(t))
        noise()
        if before:
            weights = ORDERS[len(before)]
            blended = sum((w * n for w, n in zip(weights, [seen, *before], strict=True)), torch.zeros_like(seen))
        else:
            ahead, _ = _stepped(x, seen, t, earlier, noise)
            blended = (seen + predict(ahead, log_snr(earlier))) / 2
            noise()
        x, clean = _stepped(x, blended, t, earlier, noise)
        before = [seen, *before][: len(ORDERS) - 1]
        on_step(k + 1, count, clean)
    return x.clamp(-CLIP, CLIP)


def _stepped(
    x: Tensor, predicted: Tensor, t: Tensor, earlier: Tensor, noise: Callable[[], Tensor]
) -> tuple[Tensor, Tensor]:
    clean = clean_seen(x, t, predicted)
    step = posterior(x, clean, t, earlier)
    return step.mean + step.deviation * noise(), clean


def _times(first: float, steps: int, x: Tensor) -> Tensor:
    """Return (steps + 1, B) float32 from a time to 0."""
    return torch.linspace(first, 0.0, steps + 1, device=x.device)[:, None].expand(-1, len(x))
