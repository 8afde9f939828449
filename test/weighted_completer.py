"""A small completer with weights in a file, for tests of what happens when they are bad or memory runs out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from sparse_recon.complete.base import CompletionTask
from sparse_recon.complete.carve import CarveCompleter
from sparse_recon.completion import Completion
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.machine.safetensors_file import read_weights

PETABYTE = 10**15


class WeightedCompleter(CarveCompleter):
    """Carves; where the first weight is 1, its first completion asks for a petabyte."""

    name = "weighted"

    def load(self, config: SessionConfig, on_progress) -> None:
        weights = read_weights(Path(os.environ["WEIGHTED_COMPLETER_PATH"]), {"offset": (3,)})
        self._greedy = bool(weights["offset"][0] == 1)
        on_progress(1.0, "weights read")

    def complete(self, task: CompletionTask) -> Completion:
        if self._greedy:
            self._greedy = False
            np.empty(PETABYTE, np.uint8)
        return super().complete(task)
