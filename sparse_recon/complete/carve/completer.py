"""The completer without weights: the baseline that every model is measured against, and the prior of them all."""

from __future__ import annotations

from sparse_recon.complete.base import CompletionTask, ViewCompleter
from sparse_recon.completion import Completion


class CarveCompleter(ViewCompleter):
    """Answers with the prior that every task carries."""

    name = "carve"

    def complete(self, task: CompletionTask) -> Completion:
        """Return the carved hull; see `ViewCompleter.complete`."""
        return Completion(self.name, task.seed, surface=task.prior)
