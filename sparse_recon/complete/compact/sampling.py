"""Samples of one object on the device that there is, whatever memory it has left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sparse_recon.complete.compact.conditioning import conditioning
from sparse_recon.complete.compact.flow import PRIOR_SHARE, Denoised, multiscale_noise, sample
from sparse_recon.complete.compact.network import CompactNet
from sparse_recon.complete.compact.patches import patchify, unpatchify
from sparse_recon.complete.compact.volumes import GRID, EvidenceVolumes
from sparse_recon.config.model_config import CompactConfig
from sparse_recon.machine.processor import chosen_device, chosen_dtype

log = logging.getLogger(__name__)

# Samples that a GPU makes at once while its memory suffices.
GPU_BATCH = 16

# Called with the steps done and the answer so far, volumes (K, N, N, N) on the CPU; may raise.
OnStep = Callable[[int, Denoised], None]


class Sampler:
    """The network on its device.

    Where a GPU runs out of memory, fewer samples are made at once, and at last the processor makes them; the answer
    is the same but for rounding, since every sample has its own seed.
    """

    def __init__(self, net: CompactNet, config: CompactConfig) -> None:
        self._original, self._config = net, config
        self._batch_size = GPU_BATCH
        self._move(chosen_device(config.device))

    def _move(self, device: str) -> None:
        self.device, self.dtype = device, chosen_dtype(self._config.precision, device)
        self._net = self._original.to(device=device, dtype=self.dtype)

    @property
    def batch_size(self) -> int:
        """How many samples are made at once; one on a processor, which gains nothing by more and asks more often."""
        return 1 if self.device == "cpu" else self._batch_size

    def __call__(
        self,
        evidence: EvidenceVolumes,
        seeds: Sequence[int],
        steps: int,
        on_step: OnStep,
        prior_share: float = PRIOR_SHARE,
    ) -> Denoised:
        """Return the answers of one sample a seed, volumes (K, N, N, N) float32 on the CPU.

        `prior_share` is that of `flow.sample`.

        Raises
        ------
        MemoryError, torch.OutOfMemoryError
            If the processor's memory does not suffice either.
        """
        while True:
            try:
                size = self.batch_size
                parts = [
                    self._sample_batch(evidence, seeds[first : first + size], steps, on_step, prior_share)
                    for first in range(0, len(seeds), size)
                ]
                return Denoised(*(torch.cat(volumes) for volumes in zip(*parts, strict=True)))
            except torch.OutOfMemoryError:
                if self.device == "cpu":
                    raise
                self._reduce_batch()

    def _reduce_batch(self) -> None:
        torch.cuda.empty_cache()
        if self._batch_size > 1:
            self._batch_size //= 2
            log.warning("GPU memory does not suffice: %d samples per batch from now on", self._batch_size)
        else:
            log.warning("GPU memory does not suffice for one sample: the CPU is used from now on")
            self._move("cpu")

    def _sample_batch(
        self, evidence: EvidenceVolumes, seeds: Sequence[int], steps: int, on_step: OnStep, prior_share: float
    ) -> tuple[Tensor, ...]:
        count, device = len(seeds), next(self._net.parameters()).device
        condition = conditioning(
            torch.from_numpy(evidence.volumes).to(device)[None].expand(count, -1, -1, -1, -1),
            torch.from_numpy(evidence.scalars).to(device)[None].expand(count, -1),
            torch.ones(count, dtype=torch.bool, device=device),
            self.dtype,
        )
        shape = (1, GRID, GRID, GRID)
        noise = torch.cat([multiscale_noise(shape, torch.Generator().manual_seed(seed)) for seed in seeds])
        answer = sample(
            self._net,
            condition,
            patchify(noise).to(device),
            steps,
            lambda step, so_far: on_step(step, _on_cpu(so_far)),
            prior_share,
        )
        out = _on_cpu(answer)
        return out.x0, out.log_error, out.occupancy


def _on_cpu(answer: Denoised) -> Denoised:
    """Return the answer as whole volumes."""
    return Denoised(*(unpatchify(v).float().cpu() for v in (answer.x0, answer.log_error, answer.occupancy)))
