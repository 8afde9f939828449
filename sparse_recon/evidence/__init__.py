"""What the chosen views prove about the space around one object.

A room between `geometry` and `observe`/`complete`/`fuse`: completers are conditioned on evidence, fusion is bounded by
it, and neither may import the other.
"""

from sparse_recon.evidence.bounds import Bounds
from sparse_recon.evidence.consistency import without_outliers
from sparse_recon.evidence.registration import brought_together
from sparse_recon.evidence.volume import Evidence, VoxelState

__all__ = ["Bounds", "Evidence", "VoxelState", "brought_together", "without_outliers"]
