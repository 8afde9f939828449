"""The default model: a small diffusion model of signed distance volumes, which stands on what carving proves."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparse_recon.complete.base import CompletionTask, OnLoad, ViewCompleter
from sparse_recon.complete.carve import CarveCompleter
from sparse_recon.complete.compact.volumes import GRID, EvidenceVolumes, evidence_volumes
from sparse_recon.config import SessionConfig
from sparse_recon.errors import DependencyError, ErrorCode, ModelError
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import Completion, Float32, SurfaceField

if TYPE_CHECKING:
    from sparse_recon.complete.compact.flow import Denoised

log = logging.getLogger(__name__)

WEIGHTS_FILE, WEIGHTS_VARIABLE = "compact.safetensors", "SPARSE_RECON_COMPACT_WEIGHTS"
STEPS, SAMPLES = 1, 1
# The network's field is kept to this share of its truncation; beyond it distance is measured from its surface.
TRUSTED_SHARE = 0.8


class CompactCompleter(ViewCompleter):
    """Imagines the hidden side as a volume; the answer of `carve` is what it starts from.

    Parameters
    ----------
    weights : safetensors file; None for that in the environment variable `SPARSE_RECON_COMPACT_WEIGHTS`, else the one
        shipped in `models/`.
    steps, samples : Euler steps of the flow (1 is the regression answer), and samples whose mean is the answer.
    """

    name = "compact"

    def __init__(self, weights: Path | None = None, steps: int = STEPS, samples: int = SAMPLES) -> None:
        self._path, self._steps, self._samples = weights, steps, samples
        self._net: Any = None
        self._carve = CarveCompleter()

    def load(self, config: SessionConfig, on_progress: OnLoad) -> None:
        """Read the weights; see `ViewCompleter.load`."""
        if find_spec("torch") is None:
            raise DependencyError("torch", "the model compact", "pip install sparse_recon[models]")
        from sparse_recon.complete.compact.weights import load_network

        self._net = load_network(self._path or default_weights())
        on_progress(1.0, "weights read")

    def complete(self, task: CompletionTask) -> Completion:
        """Imagine the rest of the object; see `ViewCompleter.complete`."""
        if self._net is None:
            raise ModelError(
                ErrorCode.MODEL_FAILED, "compact was asked before its weights were loaded: call load first"
            )
        # 1. What carving makes of it, which is also the first preview.
        task = _on_own_grid(task)
        steps = self._steps + 1
        silent = replace(task, on_step=lambda step, count, field: task.checkpoint())
        prior = self._carve.complete(silent).surface
        assert prior is not None
        task.on_step(1, steps, prior)
        told = evidence_volumes(task.evidence, task.bounds, prior)
        task.checkpoint()

        # 2. The flow, K samples at once.
        grid = task.evidence.grid

        def on_step(step: int, answer: Denoised) -> None:
            if step < self._steps:
                task.on_step(1 + step, steps, surface_of(answer, grid))

        answer = self._sampled(told, task, on_step)
        task.checkpoint()
        field = surface_of(answer, grid)
        task.on_step(steps, steps, field)
        return Completion(self.name, task.seed, surface=field)

    def _sampled(self, told: EvidenceVolumes, task: CompletionTask, on_step: Any) -> Denoised:
        import torch

        from sparse_recon.complete.compact.conditioning import conditioning
        from sparse_recon.complete.compact.flow import noise_like, sample

        count = self._samples
        known = conditioning(
            torch.from_numpy(told.volumes)[None].expand(count, -1, -1, -1, -1),
            torch.from_numpy(told.scalars)[None].expand(count, -1),
            torch.ones(count, dtype=torch.bool),
        )
        shape = (1, GRID, GRID, GRID)
        # One generator per sample: a sample does not depend on how many there are.
        seeds = [task.seed * 1_000_003 + k for k in range(count)]
        noise = torch.cat([noise_like(shape, torch.Generator().manual_seed(seed)) for seed in seeds])
        return sample(self._net, known, noise, self._steps, on_step)


def default_weights() -> Path:
    """Return where the weights are looked for."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    return Path(named) if named else Path(__file__).parents[3] / "models" / WEIGHTS_FILE


def surface_of(answer: Denoised, grid: VoxelGrid) -> SurfaceField:
    """Return the mean of the samples as a signed distance field; its error is what they claim, and their spread."""
    import torch

    from sparse_recon.complete.compact.conditioning import TRUNCATION_VOXELS

    unit_m = TRUNCATION_VOXELS * grid.voxel_m
    x0 = answer.x0.mean(dim=0)
    claimed = answer.log_error.exp().mean(dim=0)
    spread = answer.x0.std(dim=0) if len(answer.x0) > 1 else torch.zeros_like(x0)
    sigma_m = unit_m * torch.hypot(claimed, spread)
    return SurfaceField(with_far_distances(x0.numpy(), grid, unit_m), sigma_m.numpy().astype(np.float32))


def with_far_distances(x0: Float32, grid: VoxelGrid, unit_m: float) -> Float32:
    """Return metres of a clipped field: its own near the surface, the distance to it beyond.

    Growing a surface by its uncertainty needs true distances there.
    """
    import edt

    inside = x0 < 0
    if not inside.any() or inside.all():
        return (x0 * unit_m).astype(np.float32)
    half = 0.5 * grid.voxel_m
    far = np.where(
        inside, half - edt.edt(inside, parallel=0) * grid.voxel_m, edt.edt(~inside, parallel=0) * grid.voxel_m - half
    )
    near = np.clip((1.0 - np.abs(x0)) / (1.0 - TRUSTED_SHARE), 0.0, 1.0)
    return (near * x0 * unit_m + (1.0 - near) * far).astype(np.float32)


def _on_own_grid(task: CompletionTask) -> CompletionTask:
    """Return the task with evidence on the network's grid: the session's may be another."""
    if task.evidence.grid.shape == (GRID,) * 3:
        return task
    frame = task.views.object_frame
    evidence = Evidence.empty(frame, VoxelGrid.cube(GRID, frame.half_side_m), task.config.evidence)
    for view in task.views.views:
        task.checkpoint()
        evidence.add(view)
    return replace(task, evidence=evidence, bounds=Bounds.of(evidence, task.checkpoint))
