"""Frames in, result files out: what `replay`, `complete` and `demo` have in common."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sparse_recon.bags.atomic import check_writable
from sparse_recon.bags.results import quality_record, write_results
from sparse_recon.bags.writer import ResultBag
from sparse_recon.config import SessionConfig
from sparse_recon.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    ErrorCode,
    EvidenceError,
    FileError,
    MeshError,
    SparseReconError,
    exit_code,
)
from sparse_recon.session import CompletionSession
from sparse_recon.types import CompletedObject, CompletionRequest, Frame, Progress

log = logging.getLogger(__name__)

BAG_NAME = "completed_bag"


@dataclass(frozen=True)
class ObjectOutcome:
    """What became of one object: its folder and record, or the error that refused it."""

    object_id: str
    folder: Path | None = None
    record: dict[str, Any] = field(default_factory=dict)
    error: SparseReconError | None = None


@dataclass(frozen=True, eq=False)
class SessionOutcome:
    """What a run gave; `session` still holds the frames, `completed` the objects."""

    session: CompletionSession
    objects: tuple[ObjectOutcome, ...]
    completed: tuple[CompletedObject, ...]
    frames_read: int
    damage: FileError | None
    seconds: dict[str, float]

    @property
    def exit_code(self) -> int:
        """0 done, 1 the input was damaged, else that of the first refusal when there is no object at all."""
        if not self.completed and self.objects and self.objects[0].error is not None:
            return exit_code(self.objects[0].error)
        return EXIT_FAILED if self.damage is not None else EXIT_DONE


def prepare_output(out: Path, overwrite: bool) -> None:
    """Make the output folder and see that it can be written before anything is read.

    Raises
    ------
    FileError
        OUTPUT_UNWRITABLE or DISK_FULL; USAGE if it holds results and `overwrite` is False.
    """
    check_writable(out, "results")
    older = sorted(path.parent.name for path in out.glob("*/quality.json"))
    if older and not overwrite:
        raise FileError(
            ErrorCode.USAGE,
            f"{out} already holds results ({', '.join(older[:5])}); name another folder or add --overwrite",
        )


def run_session(
    frames: Iterable[Frame],
    out: Path,
    config: SessionConfig,
    *,
    world_frame: Callable[[], str],
    request: Callable[[], CompletionRequest | None] = lambda: None,
    rejected: Callable[[], tuple[Counter[ErrorCode], Sequence[str]]] = lambda: (Counter(), ()),
    expected_frames: int = -1,
    max_frames: int = 0,
    quiet: bool = False,
) -> SessionOutcome:
    """Add all frames to a session, complete what is asked for, and write every object as soon as it is finished.

    Parameters
    ----------
    frames : in stamp order; may end with FileError BAG_UNREADABLE, after which what came before it is used.
    out : folder of the results, as `prepare_output` left it; a bag `completed_bag` is written there too.
    world_frame : name of the frame of the poses; asked after the first frame.
    request : the object wanted, asked after the last frame; None for all objects that can be found.
    rejected : counts and sentences of inputs that gave no frame, for the error when there is none at all.
    expected_frames : for the progress bar; -1 if unknown.
    max_frames : stop reading after so many; 0 for all.
    quiet : no progress bars; they are also left out where stderr is no terminal.

    Raises
    ------
    EvidenceError
        NO_FRAMES if no frame could be used, OBJECT_NOT_FOUND if there is no object.
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE; objects already written stay.
    KeyboardInterrupt
        Ctrl-C; objects already written stay, also in the bag.
    """
    started = time.perf_counter()
    total = min(expected_frames, max_frames) if max_frames and expected_frames >= 0 else expected_frames
    with _bar(total, "frames", quiet) as bar:
        session, count, damage = _add_frames(frames, config, world_frame, max_frames, bar)
    if not session.frames:
        raise _no_frames(count, damage, *rejected())
    read_s = time.perf_counter() - started
    wanted = request()
    requests = [wanted] if wanted is not None else _all_objects(session)
    outcomes: list[ObjectOutcome] = []
    completed: list[CompletedObject] = []
    with ResultBag(out / BAG_NAME) as result_bag, _bar(len(requests), "objects", quiet) as bar:
        for item in requests:
            finished = _complete(session, item, _stage_display(bar))
            if isinstance(finished, CompletedObject):
                result_bag.write(finished)
                folder = write_results(finished, out)
                completed.append(finished)
                outcomes.append(ObjectOutcome(finished.object_id, folder, quality_record(finished)))
            else:
                outcomes.append(ObjectOutcome(item.object_id or "object", error=finished))
            bar.update(1)
    seconds = {"read": read_s, "total": time.perf_counter() - started}
    return SessionOutcome(session, tuple(outcomes), tuple(completed), count, damage, seconds)


def _add_frames(
    frames: Iterable[Frame], config: SessionConfig, world_frame: Callable[[], str], max_frames: int, bar: Any
) -> tuple[CompletionSession, int, FileError | None]:
    session = CompletionSession(config)
    count = 0
    try:
        for frame in frames:
            if count == 0:
                session = CompletionSession(replace(config, world_frame=world_frame()))
            count += 1
            report = session.add_frame(frame)
            if not report.accepted:
                log.warning("frame at %.3f s is left out: %s", frame.stamp_ns * 1e-9, report.reason)
            bar.update(1)
            if count == max_frames:
                break
    except FileError as error:
        if error.code is not ErrorCode.BAG_UNREADABLE:
            raise
        return session, count, error
    return session, count, None


def _no_frames(
    count: int, damage: FileError | None, counts: Counter[ErrorCode], sentences: Sequence[str]
) -> SparseReconError:
    if damage is not None and not counts:
        return damage
    if count:
        return EvidenceError(ErrorCode.NO_FRAMES, f"none of {count} frames could be used; see the warnings above")
    if not counts:
        return EvidenceError(ErrorCode.NO_FRAMES, "the recording holds no images; check the topics with --topics")
    reasons = ", ".join(f"{n} x {code.name}" for code, n in counts.most_common())
    return EvidenceError(ErrorCode.NO_FRAMES, f"no frame could be made ({reasons}); the last reason: {sentences[-1]}")


def _all_objects(session: CompletionSession) -> list[CompletionRequest]:
    found = session.objects()[: session.config.max_objects]
    if not found:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_FOUND,
            f"no object stands on a support plane in {len(session.frames)} frames; give --box or --label, or check "
            "up_world, segment.plane_tilt_deg, segment.min_points and segment.max_size_m",
        )
    return [CompletionRequest(object_id=candidate.object_id) for candidate in found]


def _complete(
    session: CompletionSession, request: CompletionRequest, on_progress: Callable[[Progress], None]
) -> CompletedObject | SparseReconError:
    try:
        return session.complete(request, on_progress)
    except (EvidenceError, MeshError) as error:
        log.warning("%s is not completed: %s", request.object_id or "the object", error.message)
        return error


def table(outcome: SessionOutcome) -> str:
    """Return the result as lines for people."""
    lines = [f"{'object':<12} {'views':>5} {'points':>7} {'observed':>8} {'radius90':>9} {'seconds':>7}  folder"]
    for item in outcome.objects:
        if item.error is not None:
            lines.append(f"{item.object_id:<12} refused ({item.error.code.name}): {item.error.message}")
            continue
        r = item.record
        seconds = sum(r["run"]["timings_s"].values())
        lines.append(
            f"{item.object_id:<12} {r['views_used']:>5} {r['points']:>7} {100 * r['observed_fraction']:>6.0f} % "
            f"{1e3 * r['radius90_m']:>6.1f} mm {seconds:>7.2f}  {item.folder}"
        )
    kept = len(outcome.session.frames)
    lines.append(f"{outcome.frames_read} frames read, {kept} kept, {outcome.seconds['total']:.1f} s in all")
    if outcome.damage is not None:
        lines.append(f"warning: {outcome.damage.message}")
    return "\n".join(lines)


def as_record(outcome: SessionOutcome, out: Path, rejected: Counter[ErrorCode]) -> dict[str, Any]:
    """Return the result as `--json` prints it."""
    return {
        "exit_code": outcome.exit_code,
        "out": str(out),
        "bag": str(out / BAG_NAME) if outcome.completed else None,
        "frames_read": outcome.frames_read,
        "frames_kept": len(outcome.session.frames),
        "rejected": {code.name: count for code, count in sorted(rejected.items())},
        "damage": None if outcome.damage is None else outcome.damage.message,
        "seconds": outcome.seconds,
        "objects": [
            {"object_id": o.object_id, "code": "OK", "folder": str(o.folder), **o.record}
            if o.error is None
            else {"object_id": o.object_id, "code": o.error.code.name, "message": o.error.message}
            for o in outcome.objects
        ],
    }


def _bar(total: int, unit: str, quiet: bool) -> Any:
    from tqdm import tqdm

    silent = quiet or not sys.stderr.isatty()
    return tqdm(total=total if total >= 0 else None, desc=unit, unit="", file=sys.stderr, disable=silent, leave=False)


def _stage_display(bar: Any) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        bar.set_postfix_str(f"{progress.stage} {100 * progress.fraction:.0f} %")

    return show
