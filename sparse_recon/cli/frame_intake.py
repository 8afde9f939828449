"""Frames on their way into the session of a command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Float64, Frame


@dataclass
class FrameCount:
    """What became of the frames.

    Attributes
    ----------
    read : decoded and offered to the session.
    unneeded : left undecoded, since the session has a frame from there.
    restarts : jumps back in time; only frames after the last one are used.
    left_out : refused by the session, by code; `last_reason` is that of the last one.
    damage : what ended the recording early.
    """

    read: int = 0
    unneeded: int = 0
    restarts: int = 0
    left_out: Counter[ErrorCode] = field(default_factory=Counter)
    last_reason: str = ""
    damage: FileError | None = None


class FrameIntake:
    """The session of a command, which takes its parameters from the first frame on.

    Parameters
    ----------
    config : asked at the first frame, when the world frame is known, and at the first one after each jump back in time.
    restarts : jumps back in time up to the newest frame; at each one the frames before are forgotten, as a looping
        recording must not mix two passes.
    """

    def __init__(self, config: Callable[[], SessionConfig], restarts: Callable[[], int] = lambda: 0) -> None:
        self.session = CompletionSession()
        self.count = FrameCount()
        self._config, self._restarts = config, restarts
        self._configured = False

    def wants(self, camera: str, T_world_cam: Float64, stamp_ns: int) -> bool:
        """Return whether a frame would tell anything new: for `FrameReader`, which then need not decode it."""
        self._note_restart()
        wanted = self.session.wants(camera, T_world_cam, stamp_ns)
        self.count.unneeded += not wanted
        return wanted

    def add(self, frame: Frame) -> None:
        """Offer a frame to the session."""
        self._note_restart()
        if not self._configured:
            self.session.configure(self._config())
            self._configured = True
        self.count.read += 1
        report = self.session.add_frame(frame)
        if not report.accepted:
            self.count.left_out[report.code] += 1
            self.count.last_reason = report.reason

    def _note_restart(self) -> None:
        if self._restarts() != self.count.restarts:
            self.count.restarts = self._restarts()
            self.session.reset()
            self._configured = False  # the world frame may be another one
