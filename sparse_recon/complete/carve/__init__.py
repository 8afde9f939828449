"""The completer without weights: a baseline, and the answer when no model can be loaded."""

from sparse_recon.complete.carve.completer import CarveCompleter

__all__ = ["CarveCompleter"]
