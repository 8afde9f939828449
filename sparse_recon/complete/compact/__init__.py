"""The default model: a small diffusion model of signed distance volumes."""

from sparse_recon.complete.compact.completer import CompactCompleter

__all__ = ["CompactCompleter"]
