"""The default model: a small diffusion model of signed distance volumes, which stands on what carving proves."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparse_recon.complete.base import CompletionTask, OnLoad, ViewCompleter
from sparse_recon.complete.compact.calibration import Calibration
from sparse_recon.complete.compact.shipped import WEIGHTS_FILE, WEIGHTS_SHA256
from sparse_recon.complete.compact.volumes import GRID, EvidenceVolumes, evidence_volumes
from sparse_recon.completion import Completion, SampledField
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import DependencyError, ErrorCode, ModelError
from sparse_recon.evidence import Evidence
from sparse_recon.geometry.grids import VoxelGrid, solid_distances
from sparse_recon.machine.share import share_folder
from sparse_recon.types import Float32, SurfaceField

if TYPE_CHECKING:
    from sparse_recon.complete.compact.flow import Denoised

log = logging.getLogger(__name__)

# The network's field is kept to this share of its truncation; beyond it distance is measured from its surface.
TRUSTED_SHARE = 0.8
# What carving leaves this close to a measured voxel is kept.
THIN_VOXELS = 1.2


class CompactCompleter(ViewCompleter):
    """Imagines the hidden side as a volume, conditioned on the evidence and the carved prior."""

    name = "compact"
    grid = GRID

    def __init__(self) -> None:
        self._sampler: Any = None
        self._calibration = Calibration()

    def load(self, config: SessionConfig, on_progress: OnLoad) -> None:
        """Read the weights; see `ViewCompleter.load`."""
        if find_spec("torch") is None:
            raise DependencyError("torch", "the model compact", "pip install torch, or model: carve")
        from sparse_recon.complete.compact.sampling import Sampler
        from sparse_recon.complete.compact.weights import load_weights

        on_progress(0.2, "PyTorch is there")
        given = config.compact.weights
        weights = (
            load_weights(Path(given)) if given else load_weights(share_folder("models") / WEIGHTS_FILE, WEIGHTS_SHA256)
        )
        self._sampler, self._calibration = Sampler(weights.net, config.compact), weights.calibration
        on_progress(1.0, "weights read")

    def complete(self, task: CompletionTask) -> Completion:
        """Imagine the rest of the object; see `ViewCompleter.complete`."""
        if self._sampler is None:
            raise ModelError(
                ErrorCode.MODEL_FAILED, "compact cannot complete before its weights are loaded; call load first"
            )
        # 1. The carved prior is the first preview.
        prior = task.prior
        samples = task.config.compact.samples
        steps = 2 + samples
        task.on_step(1, steps, prior)

        # 2. One step from noise alone: the mean over what the object may look like, which is the answer.
        inputs = evidence_volumes(task.evidence, task.bounds, prior)
        task.checkpoint()
        answer = self._sampler(inputs, [_sample_seed(task, 0)], 1, lambda step, so_far: None)
        task.checkpoint()
        field = with_thin_parts(surface_of(answer, task.evidence, self._calibration), prior, task)

        # 3. Several steps: draws of what it may look like. The answer is whole without them.
        drawn: list[Float32] = []
        if not samples:
            task.on_step(2, steps, field)
        elif task.goes_on(2, steps, field):
            drawn = self._drawn(inputs, task)
        said = (
            f"the deadline passed after {len(drawn)} of {samples} hypotheses were drawn" if len(drawn) < samples else ""
        )
        weight = 1.0 / max(len(drawn), 1)  # draws are equally likely
        return Completion(
            self.name,
            task.seed,
            surface=field,
            hypotheses=tuple(SampledField(sdf_m, weight) for sdf_m in drawn),
            warnings=(said,) if said else (),
            diagnostics={"device": self._sampler.device, "samples": samples},
        )

    def _drawn(self, inputs: EvidenceVolumes, task: CompletionTask) -> list[Float32]:
        """Return the signed distances of up to `compact.samples` draws, fewer where the deadline passes."""
        config, drawn = task.config.compact, list[Float32]()

        def on_step(step: int, so_far: Denoised) -> None:
            if not task.goes_on(2 + len(drawn), 2 + config.samples, None):
                raise _DeadlinePassed

        seeds = [_sample_seed(task, 1 + k) for k in range(config.samples)]
        try:
            while len(drawn) < len(seeds):
                batch = seeds[len(drawn) : len(drawn) + self._sampler.batch_size]
                found = self._sampler(inputs, batch, config.steps, on_step, prior_share=0.0)
                for k in range(len(batch)):
                    field = surface_of(found, task.evidence, self._calibration, k)
                    drawn.append(with_thin_parts(field, task.prior, task).sdf_m)
        except _DeadlinePassed:
            log.debug("%d of %d hypotheses were drawn before the deadline", len(drawn), len(seeds))
        return drawn


class _DeadlinePassed(Exception):
    """Ends the drawing of hypotheses from within a step."""


def _sample_seed(task: CompletionTask, number: int) -> int:
    """Return the seed of a draw: with it a draw does not depend on how many there are."""
    return task.seed * 1_000_003 + number


def surface_of(answer: Denoised, evidence: Evidence, calibration: Calibration, number: int = 0) -> SurfaceField:
    """Return one sample of an answer, in whole volumes, as a signed distance field; its error is what it claims."""
    from sparse_recon.complete.compact.conditioning import TRUNCATION_VOXELS

    grid = evidence.grid
    unit_m = TRUNCATION_VOXELS * grid.voxel_m
    sigma_m = unit_m * answer.log_error[number].exp().numpy() * calibration.factors(evidence.state)
    return SurfaceField(
        with_far_distances(answer.x0[number].numpy(), grid, unit_m), sigma_m.astype(np.float32), calibration.tail
    )


def with_thin_parts(field: SurfaceField, prior: SurfaceField, task: CompletionTask) -> SurfaceField:
    """Return a field that keeps what carving leaves right beside measured surface.

    A shaft or a handle about as thick as a voxel has no negative mean: the network alone would lose it.
    """
    reach = task.bounds.upper_m.min() + np.float32(THIN_VOXELS * task.evidence.grid.voxel_m)
    sdf = np.where(task.bounds.upper_m < reach, np.minimum(field.sdf_m, prior.sdf_m), field.sdf_m)
    return replace(field, sdf_m=sdf)


def with_far_distances(x0: Float32, grid: VoxelGrid, unit_m: float) -> Float32:
    """Return metres of a clipped field: its own near the surface, the distance to it beyond.

    Growing a surface by its uncertainty needs true distances there.
    """
    inside = x0 < 0
    if not inside.any() or inside.all():
        return (x0 * unit_m).astype(np.float32)
    far = solid_distances(inside, grid.voxel_m)
    near = np.clip((1.0 - np.abs(x0)) / (1.0 - TRUSTED_SHARE), 0.0, 1.0)
    return (near * x0 * unit_m + (1.0 - near) * far).astype(np.float32)
