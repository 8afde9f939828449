"""What is asked of a session, and what it tells: requests, candidates, progress and frame reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.types import OrientedBox, TriangleMesh


@dataclass(frozen=True, eq=False)
class CompletionRequest:
    """What to complete, and how.

    Attributes
    ----------
    object_id : id that `CompletionSession.objects` gave; empty with `box` and `label` unset: the only object there is.
    box : 3D box in the world frame that holds the object.
    label : value of the object in the frames' label images.
    model : name of the completer; empty for the session's.
    seed : seed of this completion; None for the session's.
    max_views : frames used at most; 0 for the session's limit.
    deadline_s : seconds after which the model begins no further step; its best answer so far is then fused, which takes
        its usual time; 0 for none.
    ignore_before_ns : frames with older stamps take no part: not in finding the object, nor as evidence, nor for
        colours; 0 ignores none.
    """

    object_id: str = ""
    box: OrientedBox | None = None
    label: int | None = None
    model: str = ""
    seed: int | None = None
    max_views: int = 0
    deadline_s: float = 0.0
    ignore_before_ns: int = 0

    def __post_init__(self) -> None:
        named = [self.object_id != "", self.box is not None, self.label is not None]
        if sum(named) > 1:
            raise InputError(
                ErrorCode.USAGE,
                f"the object is named {sum(named)} times; name it once, by object_id, by box or by label",
            )
        if self.seed is not None and self.seed < 0:
            raise InputError(
                ErrorCode.USAGE, f"seed must be >= 0, or None for the seed of the session, got {self.seed}"
            )
        if self.ignore_before_ns < 0:
            raise InputError(
                ErrorCode.USAGE, f"ignore_before must be a stamp, or zero for none, got {self.ignore_before_ns} ns"
            )
        if self.max_views < 0 or not self.deadline_s >= 0:
            raise InputError(
                ErrorCode.USAGE,
                f"max_views and deadline_s must not be negative, got {self.max_views} and {self.deadline_s}",
            )


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a completion stands; `fraction` runs from 0 to 1 over all stages."""

    stage: str
    step: int
    steps: int
    fraction: float
    preview: TriangleMesh | None = None
    preview_confidence: float = 0.0


@dataclass(frozen=True)
class FrameReport:
    """What became of a frame: kept or not, why not (with a code), and what the session now holds.

    Attributes
    ----------
    new_view : it is kept, and no frame of its camera that was kept before stood within `keyframes.min_move_m` and
        `keyframes.min_turn_deg` of it.
    dropped : frames that made room for it.
    """

    accepted: bool
    code: ErrorCode
    reason: str
    kept_frames: int
    kept_bytes: int
    new_view: bool = False
    dropped: int = 0


class ObjectState(IntEnum):
    """How sure it is that an object is there, numbered as in `msg/ObjectCandidate`. What is gone is not listed."""

    SEEN = 1
    """Frames of one moment show it, or of one since they contradicted each other last."""
    CONFIRMED = 2
    """Frames of two moments or more show it, and the newest one that looks there does."""
    DOUBTFUL = 3
    """The newest frame that looks there sees through more than a fifth of it, or its camera was bumped."""


@dataclass(frozen=True, eq=False)
class ObjectCandidate:
    """An object that can be asked for by `object_id`; `points` counts its depth pixels in the searched frames."""

    object_id: str
    label: int | None
    box: OrientedBox
    points: int
    state: ObjectState = ObjectState.SEEN
