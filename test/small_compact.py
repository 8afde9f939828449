"""A network of a few thousand weights, the task that it is given, and files of its weights."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scenes import recording

from sparse_recon.complete.base import CompletionTask
from sparse_recon.complete.compact.completer import CompactCompleter
from sparse_recon.complete.compact.conditioning import INPUTS, conditioning
from sparse_recon.complete.compact.flow import multiscale_noise
from sparse_recon.complete.compact.network import Architecture, CompactNet
from sparse_recon.complete.compact.parameter_names import file_name
from sparse_recon.complete.compact.patches import patchify
from sparse_recon.complete.compact.volumes import GRID
from sparse_recon.config.model_config import CompactConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import CancelledError, ErrorCode
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession

SIZE = Architecture(INPUTS, 8, 8, 32, 1, 1)


@lru_cache(maxsize=1)
def task() -> CompletionTask:
    """The task that a session gives its completer for a ball seen from two sides."""
    caught = []

    class Catching(CompactCompleter):
        def load(self, config, on_progress):
            pass

        def complete(self, task):
            caught.append(task)
            raise CancelledError(ErrorCode.CANCELLED, "caught")

    session = CompletionSession(SessionConfig())
    for frame in recording(turn_deg=90).frames:
        session.add_frame(frame)
    session._completers[session.config.model] = Catching()
    with pytest.raises(CancelledError):
        session.complete(CompletionRequest())
    return caught[0]


def condition_of(evidence_input, count: int = 1, with_prior: bool = True):
    volumes = torch.from_numpy(evidence_input.volumes)[None].expand(count, -1, -1, -1, -1)
    scalars = torch.from_numpy(evidence_input.scalars)[None].expand(count, -1)
    return conditioning(volumes, scalars, torch.full((count,), with_prior))


def network(seed: int = 0, loud: float = 0.0) -> CompactNet:
    """A network that answers with the expected x0, or, when `loud`, with nonsense of that size."""
    torch.manual_seed(seed)
    net = CompactNet(SIZE).eval().requires_grad_(False)
    if loud:
        torch.nn.init.normal_(net.out.weight, std=loud)
    return net


def noise(count: int = 1) -> torch.Tensor:
    one = [multiscale_noise((1, GRID, GRID, GRID), torch.Generator().manual_seed(k)) for k in range(count)]
    return patchify(torch.cat(one))


def weights_file(path, net=None, about=None, **changes):
    about = {"architecture": {**SIZE.to_dict(), **changes}, **(about or {})}
    tensors = {file_name(name): t.half().contiguous() for name, t in (net or network()).state_dict().items()}
    save_file(tensors, path, {"about": json.dumps(about)})
    return path


def completed(path, seed: int = 3, given: CompletionTask | None = None, **how):
    config = SessionConfig(compact=CompactConfig(weights=str(path), **how))
    model = CompactCompleter()
    model.load(config, lambda share, text: None)
    generator = np.random.default_rng(seed)
    given = replace(given or task(), seed=seed, generator=generator, on_step=lambda *step: None, config=config)
    return model.complete(given)
