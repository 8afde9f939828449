"""What is asked of a session, and what it tells: requests, candidates, progress and frame reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

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
    """An object that can be asked for by `object_id`.

    Attributes
    ----------
    label : value of the object in the label images; None where none named it.
    points : its depth pixels in the searched frames.
    score : probability in [0, 1] of being an object; 1 where a label image or a box names it.
    cut_by_image : the border of the image cuts it in every frame that shows it: `box` is a lower bound.
    """

    object_id: str
    label: int | None
    box: OrientedBox
    points: int
    state: ObjectState = ObjectState.SEEN
    score: float = 1.0
    cut_by_image: bool = False


class RejectionReason(Enum):
    """Why a candidate is not listed: `key` is its name in files, and `text` the sentence, with figure and limit."""

    TOO_LARGE = "too_large", "spans {figure:.2f} m, more than segment.max_size_m, {limit:g} m"
    TOO_SMALL = "too_small", "spans {figure:.3f} m, less than segment.min_size_m, {limit:g} m"
    TOO_FEW_PIXELS = "too_few_pixels", "has {figure:.0f} depth pixels, fewer than segment.min_points, {limit:g}"
    NO_OBJECT = "no_object", "has a score of {figure:.2f} of being an object, less than segment.min_score, {limit:g}"
    SURROUNDINGS = "surroundings", "is to {figure:.0%} on the walls of something too large, {limit:.0%} are accepted"
    SCATTERED = "scattered", "is {figure:.0%} of what was measured within its outline, at least {limit:.0%} are needed"
    HANGS = "hangs", "ends {figure:.2f} m from the support plane, farther than {limit:.2f} m: nothing carries it"
    OUTSIDE = "outside_region", "has its centre {figure:.2f} m outside of the region that was set"
    EMPTY = "empty", "holds no depth pixel but those of the support plane"
    UNPLACED = "unplaced", "has no depth, and too few masks from other sides to say where it is"

    def __init__(self, name: str, text: str) -> None:
        self.key, self.text = name, text


@dataclass(frozen=True, eq=False)
class RejectedCandidate:
    """Something that was seen and is not listed.

    Attributes
    ----------
    box : around its points, in the world frame; None where it has no place.
    points : its depth pixels in the searched frames.
    figure, limit : what was measured of it and what is accepted; metres, pixels or a share, as `reason` says.
    frames : camera and stamp of the searched frames that show it.
    holds : so many objects that are listed lie in it.
    label : its value in the label images; None where none named it.
    """

    reason: RejectionReason
    box: OrientedBox | None
    points: int
    figure: float = 0.0
    limit: float = 0.0
    frames: tuple[tuple[str, int], ...] = ()
    holds: int = 0
    label: int | None = None

    @property
    def sentence(self) -> str:
        """Say what it is, where, and why it is not listed, for people."""
        what = "a thing" if self.label is None else f"label {self.label}"
        if self.box is not None:
            what += " of {:.2f} x {:.2f} x {:.2f} m at ({:.2f}, {:.2f}, {:.2f}) m".format(
                *self.box.size_m, *self.box.T_world_box[:3, 3]
            )
        why = self.reason.text.format(figure=self.figure, limit=self.limit)
        holds = f"; {self.holds} listed object(s) lie in it" if self.holds else ""
        return f"{what} {why}{holds}"

    @property
    def extent_m(self) -> float:
        """The longest edge of its box, metres; 0 without one."""
        return 0.0 if self.box is None else float(self.box.size_m.max())


def told_rejections(rejected: Sequence[RejectedCandidate], most: int = 10) -> list[str]:
    """Return a sentence for each of the largest rejected candidates, and one with the count of the others by reason."""
    order = sorted(rejected, key=lambda r: -r.extent_m)
    sentences = [item.sentence for item in order[:most]]
    if rest := order[most:]:
        keys = [item.reason.key for item in rest]
        counts = ", ".join(f"{keys.count(key)} x {key}" for key in dict.fromkeys(keys))
        sentences.append(f"{len(rest)} smaller ones ({counts})")
    return sentences
