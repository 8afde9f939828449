"""The completer without weights: the baseline that every model is measured against."""

from sparse_recon.complete.carve.completer import CarveCompleter

__all__ = ["CarveCompleter"]
