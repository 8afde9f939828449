"""Views drawn by denoising: in batches that become smaller where memory runs out, each view from its own seed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from sparse_recon.complete.latent.conditioning_image import ConditioningImage
from sparse_recon.complete.latent.samplers import sample, seeded_noise
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.machine.memory_shortage import memory_shortage
from sparse_recon.types import UInt8

log = logging.getLogger(__name__)
T = TypeVar("T")

# Between the seeds of two draws of one view. PyTorch's generator knows the lowest 32 bits of a seed only: the golden
# section of their range keeps draws apart from the next views and objects.
DRAW_SEED = 0x9E3779B1

# Called with the steps done, their number, and the clean latents seen by then; may raise.
OnStep = Callable[[int, int, Tensor], None]


class Sampling(Protocol):
    """The parameters of a model that say how it draws."""

    @property
    def sampler(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def eta(self) -> float: ...


class BatchSize:
    """How many views go through a network at once; halved where memory does not suffice, until others are wanted."""

    def __init__(self, model: str, at_once: int) -> None:
        self._model, self._wanted, self.views = model, at_once, at_once

    def draw(self, count: int, at_once: int, draw: Callable[[int], T]) -> T:
        """Return `draw(views)`, begun anew with fewer views at once as long as memory does not suffice.

        Parameters
        ----------
        count : of all views that are drawn.
        at_once : how many are wanted at once; the parameter may change between calls.

        Raises
        ------
        MemoryError, torch.OutOfMemoryError
            If memory does not suffice for a single view.
        """
        if at_once != self._wanted:
            self._wanted = self.views = at_once
        while True:
            try:
                return draw(self.views)
            except Exception as error:
                if memory_shortage(error) is None or self.views == 1:
                    raise
            # Outside the handler, so that the traceback no longer holds what was allocated.
            self.views = max(1, min(self.views, count) // 2)
            log.warning("memory does not suffice: %s generates %d views per batch from now on", self._model, self.views)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def sample_in_batches(
    predict_noise: Callable[[Tensor, int, slice], Tensor],
    seeds: Sequence[int],
    latent_shape: tuple[int, ...],
    device: str,
    at_once: int,
    sampling: Sampling,
    on_step: OnStep,
) -> Tensor:
    """Return clean latents (B, C, S, S) of views that know nothing of each other, the same for any `at_once`.

    Parameters
    ----------
    predict_noise : returns the noise seen in latents (b, C, S, S) at a time, of the views in a slice.
    seeds : of the noise of each view.
    on_step : counts the steps of all batches.
    """
    batches = [slice(first, first + at_once) for first in range(0, len(seeds), at_once)]
    drawn = []
    for number, rows in enumerate(batches):

        def denoiser(latents: Tensor, t: int, rows: slice = rows) -> Tensor:
            return predict_noise(latents, t, rows)

        def report(step: int, steps: int, clean: Tensor, number: int = number) -> None:
            on_step(number * steps + step, len(batches) * steps, clean)

        noise = seeded_noise(seeds[rows], latent_shape, device)
        drawn.append(sample(denoiser, noise, sampling.sampler, sampling.steps, sampling.eta, report))
    return torch.cat(drawn)


def mean_of_draws(draw: Callable[[int, OnStep], UInt8], count: int, on_step: OnStep) -> UInt8:
    """Return the mean of images (..., P, P, 3) uint8 that are drawn `count` times; one draw is given as it is.

    A draw errs twice: by what the model does not know, and by what it made up in its place. The mean errs by the first
    alone.

    Parameters
    ----------
    draw : called with the number of the draw, from 0, and what it is to call at its steps.
    on_step : counts the steps of all draws.
    """
    total: Any = 0
    for number in range(count):

        def report(step: int, steps: int, clean: Tensor, number: int = number) -> None:
            on_step(number * steps + step, count * steps, clean)

        total = total + draw(number, report).astype(np.uint32)
    return np.rint(total / count).astype(np.uint8)


@torch.no_grad()
def decoded_bytes(decode: Callable[[Tensor], Tensor], latents: Tensor, model: str) -> UInt8:
    """Return the images (B, P, P, 3) uint8 of latents (B, C, S, S).

    One by one: a decoder needs more memory for an image than a denoiser for a batch.

    Parameters
    ----------
    decode : returns images (1, 3, P, P) in [0, 1] of latents (1, C, S, S).

    Raises
    ------
    ModelError
        MODEL_FAILED if an image has NaN or infinite values.
    """
    images = torch.cat([decode(one[None]) for one in latents])
    if not bool(images.isfinite().all()):
        raise ModelError(
            ErrorCode.MODEL_FAILED,
            f"{model} generated images with NaN or infinite values; fp16 may have overflowed: set {model}.precision "
            "to bf16 or fp32",
        )
    return (images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()


def as_tensor(image: ConditioningImage) -> Tensor:
    """Return an image as (1, 3, P, P) float32 in [0, 1]."""
    return torch.from_numpy(image.rgb).permute(2, 0, 1)[None].contiguous()
