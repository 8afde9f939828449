"""The samples of one moving or static frame below its parent: interpolated at a stamp, never extrapolated."""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import numpy as np

from sparse_recon.errors import ErrorCode, TransformError
from sparse_recon.geometry.poses import pose
from sparse_recon.types import Float64

# Two samples that are farther apart than `max_gap_s` are interpolated where the frame has hardly moved between them, as
# localisation that speaks every few seconds, and where it is not a link of a faster rhythm that fell silent.
STILL_M, STILL_RAD = 0.1, 0.1
_RHYTHM_INTERVALS, _KNOWN_RHYTHM, _SILENCE = 8, 3, 3.0


class Sample(NamedTuple):
    """Where a frame was: `T` (4, 4) maps its points into `parent`."""

    stamp_ns: int
    parent: str
    T: Float64


class LinkHistory:
    """What is known about one child frame and its parents over time.

    Attributes
    ----------
    parents : all that `samples` have.
    """

    def __init__(self, child: str, static: bool) -> None:
        self.child, self.static = child, static
        self.samples: list[Sample] = []
        self.parents: set[str] = set()

    @property
    def parent(self) -> str:
        """The parent of the newest sample."""
        return self.samples[-1].parent

    @property
    def newest_ns(self) -> int:
        """The stamp of the newest sample."""
        return self.samples[-1].stamp_ns

    def put(self, sample: Sample, history_ns: float) -> None:
        """Take a sample; the newer of two with one stamp counts, and those older than the history go."""
        self.parents.add(sample.parent)
        if self.static:
            self.samples, self.parents = [sample], {sample.parent}
            return
        at = bisect_left(self.samples, sample.stamp_ns, key=_stamp)
        if at < len(self.samples) and self.samples[at].stamp_ns == sample.stamp_ns:
            self.samples[at] = sample
            return
        insort(self.samples, sample, key=_stamp)
        old = bisect_left(self.samples, self.samples[-1].stamp_ns - history_ns, key=_stamp)
        dropped = self.samples[:old]
        del self.samples[:old]
        if dropped and dropped[0].parent != self.parent:
            self.parents = {item.parent for item in self.samples}

    def forget_after(self, stamp_ns: int) -> int:
        """Forget the samples after a stamp; return how many there were."""
        kept = bisect_left(self.samples, stamp_ns + 1, key=_stamp)
        forgotten = len(self.samples) - kept
        del self.samples[kept:]
        self.parents = {item.parent for item in self.samples}
        return forgotten

    def parent_at(self, stamp_ns: int) -> str:
        """Return the parent that was in force; raises TransformError TF_EXTRAPOLATION outside the samples."""
        return self._older(stamp_ns)[0].parent

    def at(self, stamp_ns: int, max_gap_ns: float) -> Float64:
        """Return `T_parent_child` (4, 4) for the parent in force; between two parents it is that of the older sample.

        Raises
        ------
        TransformError
            TF_EXTRAPOLATION outside the samples, TF_GAP where two are too far apart.
        """
        earlier, at = self._older(stamp_ns)
        if self.static or earlier.stamp_ns == stamp_ns:
            return earlier.T
        later = self.samples[at + 1]
        gap_ns = later.stamp_ns - earlier.stamp_ns
        if gap_ns > max_gap_ns and not self._bridged(at):
            self._raise_gap(stamp_ns, at, max_gap_ns)
        if earlier.parent != later.parent:
            return earlier.T
        return interpolated(earlier.T, later.T, (stamp_ns - earlier.stamp_ns) / gap_ns)

    def _older(self, stamp_ns: int) -> tuple[Sample, int]:
        """Return the last sample that is not after a stamp, and its place; there is one after it or of that stamp."""
        if self.static:
            return self.samples[0], 0
        at = bisect_left(self.samples, stamp_ns, key=_stamp)
        if at < len(self.samples) and self.samples[at].stamp_ns == stamp_ns:
            return self.samples[at], at
        if at in (0, len(self.samples)):
            self._raise_extrapolation(stamp_ns, before=at == 0)
        return self.samples[at - 1], at - 1

    def _bridged(self, at: int) -> bool:
        """Return whether the frame stood still over the gap after a sample, and the gap is its usual rhythm."""
        earlier, later = self.samples[at], self.samples[at + 1]
        if earlier.parent != later.parent or max(moved(earlier.T, later.T)) > 1.0:
            return False
        stamps = [sample.stamp_ns for sample in self.samples[max(0, at - _RHYTHM_INTERVALS) : at + 1]]
        if len(stamps) <= _KNOWN_RHYTHM:
            return True
        rhythm_ns = median(b - a for a, b in pairwise(stamps))
        return later.stamp_ns - earlier.stamp_ns <= _SILENCE * rhythm_ns

    def _raise_gap(self, stamp_ns: int, at: int, max_gap_ns: float) -> None:
        earlier, later = self.samples[at], self.samples[at + 1]
        move_m = float(np.linalg.norm(later.T[:3, 3] - earlier.T[:3, 3]))
        raise TransformError(
            ErrorCode.TF_GAP,
            f"transform {earlier.parent} -> {self.child} has a gap of {(later.stamp_ns - earlier.stamp_ns) * 1e-9:.3f} "
            f"s around the stamp {stamp_ns * 1e-9:.3f} s, over which it moved by {move_m:.3f} m; assembly.max_gap_s = "
            f"{max_gap_ns * 1e-9:.3f} s is interpolated, and more where a link of that rhythm stands still: publish "
            "it more often, or raise assembly.max_gap_s",
        )

    def _raise_extrapolation(self, stamp_ns: int, before: bool) -> None:
        edge = self.samples[0 if before else -1]
        side, end = ("before", "oldest") if before else ("after", "newest")
        raise TransformError(
            ErrorCode.TF_EXTRAPOLATION,
            f"stamp {stamp_ns * 1e-9:.3f} s lies {abs(stamp_ns - edge.stamp_ns) * 1e-9:.3f} s {side} the {end} "
            f"transform {edge.parent} -> {self.child} at {edge.stamp_ns * 1e-9:.3f} s; transforms are not "
            "extrapolated: check clocks and the rate of /tf",
        )


def moved(T_a: Float64, T_b: Float64) -> tuple[float, float]:
    """Return how far two poses (4, 4) are apart, as shares of `STILL_M` and `STILL_RAD`."""
    distance_m = float(np.linalg.norm(T_b[:3, 3] - T_a[:3, 3]))
    cosine = 0.5 * (float(np.sum(T_a[:3, :3] * T_b[:3, :3])) - 1.0)
    return distance_m / STILL_M, float(np.arccos(np.clip(cosine, -1.0, 1.0))) / STILL_RAD


def interpolated(T_a: Float64, T_b: Float64, fraction: float) -> Float64:
    """Return the transform at `fraction` in [0, 1] from `T_a` to `T_b`: linear translation, shortest rotation (slerp).

    Both are (4, 4); the rotation follows R_a exp(fraction log(R_a^T R_b)).
    """
    from scipy.spatial.transform import Rotation

    step = Rotation.from_matrix(T_a[:3, :3].T @ T_b[:3, :3]).as_rotvec()
    R = T_a[:3, :3] @ Rotation.from_rotvec(fraction * step).as_matrix()
    return pose(R, (1.0 - fraction) * T_a[:3, 3] + fraction * T_b[:3, 3])


def _stamp(sample: Sample) -> int:
    return sample.stamp_ns
