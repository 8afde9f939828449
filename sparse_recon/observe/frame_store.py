"""The frames a session keeps: which are worth keeping, which go when there are too many."""

from __future__ import annotations

from dataclasses import replace
from threading import RLock

import numpy as np

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode
from sparse_recon.evidence.depth_filter import without_flying_pixels
from sparse_recon.machine.memory_shortage import memory_shortage
from sparse_recon.observe.keyframes import is_near_stored_pose, most_redundant
from sparse_recon.requests import FrameReport
from sparse_recon.types import Float32, Float64, Frame

Refusal = tuple[ErrorCode, str]


class FrameStore:
    """Frames in the order in which they were added, bounded in number, bytes and age.

    Every method may be called from any thread. The lock is held for work on the list only, never while pixels are
    filtered; what `frames` returned stays as it is.

    Parameters
    ----------
    config : `depth` and `keyframes` are used; `configure` exchanges it.
    lock : shared with whatever must change together with the frames.
    """

    def __init__(self, config: SessionConfig, lock: RLock) -> None:
        self._config = config
        self._lock = lock
        self._frames: list[Frame] = []

    def configure(self, config: SessionConfig) -> None:
        """Take new parameters; frames kept already keep the depth that they were filtered to."""
        with self._lock:
            self._config = config
            self._make_room()

    def frames(self) -> tuple[Frame, ...]:
        """Return the frames kept, in the order in which they were added."""
        with self._lock:
            return tuple(self._frames)

    @property
    def nbytes(self) -> int:
        """Bytes held by the images of all frames."""
        with self._lock:
            return sum(f.nbytes for f in self._frames)

    def wants(self, camera: str, T_world_cam: Float64, stamp_ns: int) -> bool:
        """Return whether a frame would tell anything new: see `keyframes.min_move_m` and `keyframes.refresh_s`."""
        with self._lock:
            keyframes = self._config.keyframes
            fresh_ns = keyframes.refresh_s * 1e9
            fresh = [f for f in self._frames if f.camera == camera and abs(f.stamp_ns - stamp_ns) < fresh_ns]
        return not is_near_stored_pose(T_world_cam, fresh, keyframes)

    def add(self, frame: Frame) -> FrameReport:
        """Keep a copy of a frame if it can tell anything; others go for it where the bounds say so.

        Camera drivers fill the same buffers again: nothing of the caller's arrays is kept.
        """
        try:
            frame, refusal = _usable(frame, self._config.depth)
        except Exception as error:
            found = memory_shortage(error)
            if found is None:
                raise
            refusal = ErrorCode.MEMORY_BUDGET, f"{frame.camera}: memory ran out while its depth was filtered: {found}"
        with self._lock:
            refusal = refusal or self._stamp_refusal(frame)
            if refusal is not None:
                return self._report(False, *refusal)
            others = [f for f in self._frames if f.camera == frame.camera]
            new_view = not is_near_stored_pose(frame.T_world_cam, others, self._config.keyframes)
            self._frames.append(frame)
            dropped = self._make_room()
            reason = f"kept; {dropped} earlier frame(s) made room" if dropped else "kept"
            return self._report(True, ErrorCode.OK, reason, new_view, dropped)

    def shrink(self, budget_bytes: int) -> int:
        """Drop the least useful frames until all hold at most `budget_bytes`, never the newest; return how many."""
        with self._lock:
            before = len(self._frames)
            while len(self._frames) > 1 and sum(f.nbytes for f in self._frames) > budget_bytes:
                del self._frames[most_redundant(self._frames)]
            return before - len(self._frames)

    def clear(self) -> int:
        """Forget all frames; return how many there were."""
        with self._lock:
            count = len(self._frames)
            self._frames.clear()
            return count

    def _stamp_refusal(self, frame: Frame) -> Refusal | None:
        if any(f.camera == frame.camera and f.stamp_ns == frame.stamp_ns for f in self._frames):
            return ErrorCode.STAMP_ORDER, f"{frame.camera} already gave a frame with stamp {frame.stamp_ns} ns"
        oldest_ns = self._oldest_allowed_ns()
        if frame.stamp_ns < oldest_ns:
            return ErrorCode.STAMP_ORDER, (
                f"{frame.camera}: frame is {(oldest_ns - frame.stamp_ns) * 1e-9:.3f} s older than "
                f"keyframes.max_age_s = {self._config.keyframes.max_age_s:g} s allows"
            )
        return None

    def _oldest_allowed_ns(self) -> float:
        max_age_s = self._config.keyframes.max_age_s
        return max((f.stamp_ns for f in self._frames), default=0) - max_age_s * 1e9 if max_age_s > 0 else -np.inf

    def _make_room(self) -> int:
        before, keyframes = len(self._frames), self._config.keyframes
        oldest_ns = self._oldest_allowed_ns()
        self._frames = [f for f in self._frames if f.stamp_ns >= oldest_ns]
        while len(self._frames) > keyframes.max_frames:
            del self._frames[most_redundant(self._frames)]
        aged_or_many = before - len(self._frames)
        return aged_or_many + self.shrink(keyframes.frame_budget_bytes)

    def _report(
        self, accepted: bool, code: ErrorCode, reason: str, new_view: bool = False, dropped: int = 0
    ) -> FrameReport:
        return FrameReport(accepted, code, reason, len(self._frames), self.nbytes, new_view, dropped)


def _usable(frame: Frame, config: DepthConfig) -> tuple[Frame, Refusal | None]:
    """Return a copy of the frame with nothing but depth that can be used, or why it is of no use."""
    camera = replace(frame.intrinsics, K=frame.intrinsics.K.copy())
    frame = replace(frame, intrinsics=camera, T_world_cam=np.array(frame.T_world_cam, np.float64))
    if frame.depth_m is None:
        if frame.labels is None:
            what = f"{frame.camera}: a frame with neither depth nor labels shows no object"
            return frame, (ErrorCode.FRAME_INVALID, what)
        return replace(frame, rgb=frame.rgb.copy(), labels=frame.labels.copy()), None
    with np.errstate(invalid="ignore"):
        usable = (frame.depth_m >= config.near_m) & (frame.depth_m <= config.far_m)
    if not usable.any():
        return frame, (
            ErrorCode.DEPTH_EMPTY,
            f"{frame.camera}: no depth pixel between depth.near_m = {config.near_m:g} m and "
            f"depth.far_m = {config.far_m:g} m; {_median_text(frame.depth_m)}. Is it in metres (depth.unit_m sets the "
            "unit in which images are read), and is anything in range?",
        )
    depth_m: Float32 = np.where(usable, frame.depth_m, np.float32(np.nan))
    if config.edge_jump_m > 0:
        depth_m = without_flying_pixels(depth_m, config.edge_jump_m)
    labels = None if frame.labels is None else frame.labels.copy()
    return replace(frame, rgb=frame.rgb.copy(), depth_m=depth_m, labels=labels), None


def _median_text(depth_m: Float32) -> str:
    measured = depth_m[np.isfinite(depth_m) & (depth_m > 0)]
    return f"the median depth is {np.median(measured):g} m" if len(measured) else "nothing is measured"
