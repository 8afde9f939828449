"""Frames in, result files out: what `replay`, `complete` and `demo` have in common."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.bags.writer import ResultBag
from sparse_recon.cli.frame_intake import FrameCount, FrameIntake
from sparse_recon.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    ErrorCode,
    EvidenceError,
    FileError,
    SparseReconError,
    exit_code,
)
from sparse_recon.files.results import quality_record, write_results
from sparse_recon.frames.depth_images import unit_text
from sparse_recon.requests import CompletionRequest, Progress, RejectedCandidate, told_rejections
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import CompletedObject, Frame

log = logging.getLogger(__name__)

_NAMED_REJECTED = 2  # in the error where nothing is listed

# These would refuse every other object as well.
_FATAL = {
    ErrorCode.MODEL_UNKNOWN,
    ErrorCode.MODEL_WEIGHTS_MISSING,
    ErrorCode.MODEL_WEIGHTS_INVALID,
    ErrorCode.DEPENDENCY_MISSING,
    ErrorCode.CANCELLED,
}


@dataclass(frozen=True)
class ObjectOutcome:
    """What became of one object: its folder and record, or the error that refused it."""

    object_id: str
    folder: Path | None = None
    record: dict[str, Any] = field(default_factory=dict)
    error: SparseReconError | None = None


@dataclass(frozen=True, eq=False)
class SessionOutcome:
    """What a run gave; `session` still holds the frames, `completed` the objects.

    `rejected` is what was seen and is not listed; `left` counts what is listed beyond `max_objects`.
    """

    session: CompletionSession
    objects: tuple[ObjectOutcome, ...]
    completed: tuple[CompletedObject, ...]
    frames: FrameCount
    seconds: dict[str, float]
    rejected: tuple[RejectedCandidate, ...] = ()
    left: int = 0

    @property
    def folders(self) -> frozenset[Path | None]:
        """The folders that were written."""
        return frozenset(item.folder for item in self.objects)

    @property
    def exit_code(self) -> int:
        """0 done, 1 damaged input or a mistake of ours; without any object 3 if evidence was lacking for all."""
        errors = [item.error for item in self.objects if item.error is not None]
        if not self.completed:
            codes = [exit_code(error) for error in errors]
            return next((code for code in codes if code != EXIT_REFUSED), EXIT_REFUSED)
        broken = self.frames.damage is not None or any(error.code is ErrorCode.INTERNAL for error in errors)
        return EXIT_FAILED if broken else EXIT_DONE


def run_session(
    frames: Iterable[Frame],
    out: Path,
    result_bag: ResultBag,
    *,
    intake: FrameIntake,
    request: Callable[[], CompletionRequest] = CompletionRequest,
    rejected: Callable[[], tuple[Counter[ErrorCode], Sequence[str]]] = lambda: (Counter(), ()),
    warnings: Callable[[], Sequence[str]] = tuple,
    depth_encoding: Callable[[], str] = str,
    expected_frames: int = -1,
    max_frames: int = 0,
) -> SessionOutcome:
    """Add all frames to a session, complete what is asked for, and write every object as soon as it is finished.

    Parameters
    ----------
    frames : in stamp order; may end with FileError BAG_UNREADABLE, after which what came before it is used.
    out : folder of the results, as `output_folder` left it.
    result_bag : takes every object too.
    intake : takes them to the session.
    request : what is wanted, asked after the last frame; one that names no object is made of each that can be found.
    rejected : counts and sentences of inputs that gave no frame, for the error when there is none at all.
    warnings : sentences on the input that every result carries, asked after the last frame.
    depth_encoding : of the depth images, for the error where no object is found, asked after the last frame.
    expected_frames : for the progress bar; -1 if unknown.
    max_frames : stop reading after so many; 0 for all.

    Raises
    ------
    EvidenceError
        NO_FRAMES if no frame could be used, OBJECT_NOT_FOUND if there is no object.
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE; objects already written stay.
    KeyboardInterrupt
        Ctrl-C; objects already written stay, also in the bag.
    """
    seconds = _Stopwatch()
    total = min(expected_frames, max_frames) if max_frames and expected_frames >= 0 else expected_frames
    with _bar(total, "frames") as bar:
        _add_frames(frames, intake, max_frames, bar)
    session, count = intake.session, intake.count
    if not session.frames:
        raise _no_frames(count, *rejected())
    seconds.stop("read")
    found = session.views_verdict
    if found.refused and session.config.evidence.check_views:
        raise EvidenceError(ErrorCode.VIEWS_DISAGREE, f"{found.sentence}. --force goes on all the same")
    requests, rejected_here, left = _requests(session, request(), depth_encoding())
    seconds.stop("find")
    outcomes: list[ObjectOutcome] = []
    completed: list[CompletedObject] = []
    with _bar(len(requests), "objects") as bar:
        for number, item in enumerate(requests):
            name = item.object_id or "object"
            finished = _complete(session, item, name, _stage_display(bar, name, number))
            seconds.stop("complete")
            if isinstance(finished, CompletedObject):
                told = (*finished.quality.warnings, *warnings())
                finished = replace(finished, quality=replace(finished.quality, warnings=told))
                result_bag.write(finished)
                folder = write_results(finished, out, rejected_here)
                completed.append(finished)
                record = quality_record(finished, rejected_here)
                outcomes.append(ObjectOutcome(finished.object_id, folder, record))
                seconds.stop("write")
            else:
                outcomes.append(ObjectOutcome(name, error=finished))
    return SessionOutcome(session, tuple(outcomes), tuple(completed), count, seconds.stages, rejected_here, left)


class _Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._since = time.perf_counter()

    def stop(self, stage: str) -> None:
        """Count the time since the last stop for a stage."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._since
        self._since = now


def _add_frames(frames: Iterable[Frame], intake: FrameIntake, max_frames: int, bar: Any) -> None:
    count = intake.count
    try:
        for frame in frames:
            intake.add(frame)
            bar.update(count.read + count.unneeded - bar.n)
            if count.read == max_frames:
                break
    except FileError as error:
        if error.code is not ErrorCode.BAG_UNREADABLE:
            raise
        count.damage = error


def _no_frames(count: FrameCount, counts: Counter[ErrorCode], sentences: Sequence[str]) -> SparseReconError:
    if count.damage is not None and not counts:
        return count.damage
    if not counts and not count.read:
        return EvidenceError(ErrorCode.NO_FRAMES, "the recording holds no images; check the topics with --topics")
    reasons = ", ".join(f"{n} x {code.name}" for code, n in (counts + count.left_out).most_common())
    last = count.last_reason or sentences[-1]
    return EvidenceError(ErrorCode.NO_FRAMES, f"no frame could be used ({reasons}); the last reason: {last}")


def _requests(
    session: CompletionSession, wanted: CompletionRequest, depth_encoding: str
) -> tuple[list[CompletionRequest], tuple[RejectedCandidate, ...], int]:
    """Return what is to be completed, what was seen and is not listed, and how many objects are too many."""
    if wanted.object_id or wanted.box is not None or wanted.label is not None:
        return [wanted], (), 0
    found = session.objects()
    if not found:
        seen = "".join(f"; {text}" for text in told_rejections(session.rejected, _NAMED_REJECTED))
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_FOUND,
            f"no object stands on a support plane in {len(session.frames)} frames{_hint(session)}{seen}; name one with "
            "--box or --label, give the up direction with --up (0 0 0 estimates it), or check depth.far_m, "
            "segment.plane_tilt_deg, "
            f"segment.min_points and segment.max_size_m{_depth_hint(session, depth_encoding)}",
        )
    most = session.config.max_objects
    requests = [replace(wanted, object_id=candidate.object_id) for candidate in found[:most]]
    return requests, session.rejected, max(len(found) - most, 0)


def _depth_hint(session: CompletionSession, encoding: str) -> str:
    depth = session.config.depth
    medians = [float(np.nanmedian(f.depth_m)) for f in session.frames if f.depth_m is not None]
    if not medians:
        return ""
    read = f", read as {unit_text(encoding, depth.unit_m)}" if encoding else ""
    return (
        f"; the median depth within {depth.near_m:g} to {depth.far_m:g} m is {np.median(medians):.2f} m{read}: where "
        "that is not so, set depth.unit_m"
    )


def _hint(session: CompletionSession) -> str:
    found = session.views_verdict.sentence
    return f": {found}" if found else ""


def _complete(
    session: CompletionSession, request: CompletionRequest, name: str, on_progress: Callable[[Progress], None]
) -> CompletedObject | SparseReconError:
    """Return the object, or what refused it: the others are still completed."""
    try:
        return session.complete(request, on_progress)
    except SparseReconError as error:
        if error.code in _FATAL:
            raise
        return error
    except Exception as error:  # our mistake must not cost the objects that can be completed
        log.exception("%s", name)
        return SparseReconError(ErrorCode.INTERNAL, f"internal error, please report it: {error!r}")


@contextmanager
def _bar(total: int, unit: str) -> Any:
    """Progress on stderr, where that is a terminal; log lines are written above it."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    layout = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total} [{elapsed}<{remaining}]{postfix}"
    options = {"bar_format": layout} if total >= 0 else {}
    silent = not sys.stderr.isatty()
    with (
        logging_redirect_tqdm(),
        tqdm(
            total=total if total >= 0 else None, desc=unit, file=sys.stderr, disable=silent, leave=False, **options
        ) as bar,
    ):
        yield bar


def _stage_display(bar: Any, name: str, number: int) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        bar.set_postfix_str(f"{name}: {progress.stage}", refresh=False)
        bar.update(number + progress.fraction - bar.n)

    return show
