"""The completer without weights; what it answers is the prior that every other model is given."""

from sparse_recon.complete.carve.carving import carve
from sparse_recon.complete.carve.completer import CarveCompleter

__all__ = ["CarveCompleter", "carve"]
