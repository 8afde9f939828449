"""The memory budget of the node: frames are forgotten, then requests refused, before the process grows beyond it."""

from __future__ import annotations

from sparse_recon.errors import ErrorCode, SparseReconError
from sparse_recon.machine.resident_memory import give_back, resident_bytes
from sparse_recon.session.session import CompletionSession

_SPARE = 0.02


class MemoryBudget:
    """Keeps the process below its budget by letting the session forget its least useful frames.

    Attributes
    ----------
    limit_bytes : the budget.
    growth_bytes : most that a completion took beyond what was resident before; room for it is kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.growth_bytes = 0
        self.evicted = 0

    def make_room(self, session: CompletionSession, needed_bytes: int = 0) -> None:
        """Forget frames until `needed_bytes` fit, as far as frames can help."""
        excess_bytes = resident_bytes() + needed_bytes - self.limit_bytes
        if excess_bytes > 0 and session.kept_bytes > 0:
            spare_bytes = int(_SPARE * self.limit_bytes)  # so that not every frame has to make room for itself
            dropped = session.shrink(max(session.kept_bytes - excess_bytes - spare_bytes, 0))
            self.evicted += dropped
            if dropped:
                give_back(collect=False)

    def require_room(self, session: CompletionSession) -> None:
        """Make room for a completion.

        Raises
        ------
        SparseReconError
            MEMORY_BUDGET, if the process is above its budget even with as few frames as possible.
        """
        self.make_room(session, self.growth_bytes)
        resident = resident_bytes()
        if resident > self.limit_bytes:
            raise SparseReconError(
                ErrorCode.MEMORY_BUDGET,
                f"{resident / 1e6:.0f} MB are resident, memory_budget_bytes allows {self.limit_bytes / 1e6:.0f} MB, "
                f"and only {session.kept_bytes / 1e6:.0f} MB of it are frames; raise memory_budget_bytes, or lower "
                "evidence.fine_grid and keyframes.max_frames",
            )

    def require_for_frame(self, session: CompletionSession, needed_bytes: int, what: str) -> None:
        """Make room to decode a frame and to look at it, if there can be any.

        Frames that take less than `_SPARE` of the budget are never refused: others go for them.

        Parameters
        ----------
        what : the frame, as the subject of a sentence.

        Raises
        ------
        SparseReconError
            MEMORY_BUDGET, if it would not fit even beside no other frame, or does not fit now.
        """
        small = needed_bytes <= _SPARE * self.limit_bytes
        if small or resident_bytes() - session.kept_bytes + needed_bytes <= self.limit_bytes:
            self.make_room(session, needed_bytes)
        resident = resident_bytes()
        if not small and resident + needed_bytes > self.limit_bytes:
            raise SparseReconError(
                ErrorCode.MEMORY_BUDGET,
                f"{what} takes {needed_bytes / 1e6:.0f} MB to be decoded and looked at, and {resident / 1e6:.0f} of "
                f"{self.limit_bytes / 1e6:.0f} MB (memory_budget_bytes) are in use; send smaller images, or raise it",
            )

    def note_growth(self, before_bytes: int) -> None:
        """Remember how far a running completion is above where it began."""
        self.growth_bytes = max(self.growth_bytes, resident_bytes() - before_bytes)
