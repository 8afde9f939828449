"""What a run gave, for people, for programs, and as a picture."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparse_recon.cli.output_folder import BAG_NAME, remove_earlier
from sparse_recon.cli.run_session import SessionOutcome
from sparse_recon.errors import ErrorCode, SparseReconError, readable
from sparse_recon.files.results import rejected_record
from sparse_recon.requests import told_rejections

PICTURE = "overview.png"


def finish(args: argparse.Namespace, outcome: SessionOutcome, rejected: Counter[ErrorCode], title: str) -> int:
    """Draw the picture, print the table and with --json the record; return the exit code."""
    if outcome.completed:
        remove_earlier(args.out, outcome.folders)
    started = time.perf_counter()
    picture = None if args.no_picture else draw(outcome, args.out, title)
    outcome.seconds["picture"] = time.perf_counter() - started
    print(readable(table(outcome)), file=sys.stderr)
    if picture is not None:
        print(f"look at {picture}", file=sys.stderr)
    if args.json:
        print(json.dumps(as_record(outcome, args.out, rejected, picture)))
    return outcome.exit_code


def draw(
    outcome: SessionOutcome, out: Path, title: str, notes: Mapping[str, Mapping[str, str]] | None = None
) -> Path | None:
    """Write the picture of a result, if there is any object; return its path."""
    if not outcome.completed:
        return None
    from sparse_recon.viz.overview import overview

    overview(outcome.session.frames, outcome.completed, out / PICTURE, title=title, notes=notes)
    return out / PICTURE


def table(outcome: SessionOutcome) -> str:
    """Return the result as lines for people."""
    lines = []
    if outcome.completed:
        lines.append(
            f"{'object':<12} {'score':>5} {'views':>5} {'points':>7} {'observed':>8} {'radius90':>9} {'seconds':>7}  "
            "folder"
        )
    for item in outcome.objects:
        if item.error is not None:
            continue
        r = item.record
        seconds = sum(r["run"]["timings_s"].values())
        lines.append(
            f"{item.object_id:<12} {r['score']:>5.2f} {r['views_used']:>5} {r['points']:>7} "
            f"{100 * r['observed_fraction']:>6.0f} % "
            f"{1e3 * r['radius90_m']:>6.1f} mm {seconds:>7.2f}  {item.folder}"
            f"{', cut by the image' if r['cut_by_image'] else ''}"
        )
    return "\n".join([*lines, *refusals(outcome), *not_listed(outcome), *_frame_lines(outcome)])


def not_listed(outcome: SessionOutcome) -> list[str]:
    """Return one line for each of the largest things that were seen and are not listed."""
    lines = [f"not listed: {text}" for text in told_rejections(outcome.rejected)]
    if outcome.left:
        lines.append(
            f"not completed: {outcome.left} more objects than max_objects, {outcome.session.config.max_objects}"
        )
    return lines


def refusals(outcome: SessionOutcome) -> list[str]:
    """Return one line for all objects that were refused for the same reason, with the sentence of the first."""
    groups: dict[ErrorCode, list[tuple[str, SparseReconError]]] = {}
    for item in outcome.objects:
        if item.error is not None:
            groups.setdefault(item.error.code, []).append((item.object_id, item.error))
    lines = []
    for code, group in groups.items():
        (name, error), *others = group
        sentence = error.message if error.message.startswith(name) else f"{name}: {error.message}"
        also = f"{len(group)} objects refused ({code.name}): {', '.join(n for n, _ in group)}; the first: "
        lines.append((also if others else f"refused ({code.name}): ") + sentence)
    return lines


def as_record(outcome: SessionOutcome, out: Path, rejected: Counter[ErrorCode], picture: Path | None) -> dict[str, Any]:
    """Return the result as `--json` prints it; `files` lists everything that was written."""
    bag = out / BAG_NAME if outcome.completed else None
    folders = [item.folder for item in outcome.objects if item.folder is not None]
    files = [path for folder in [*folders, *([bag] if bag else [])] for path in folder.rglob("*") if path.is_file()]
    frames = outcome.frames
    return {
        "exit_code": outcome.exit_code,
        "out": str(out),
        "bag": None if bag is None else str(bag),
        "picture": None if picture is None else str(picture),
        "files": sorted(map(str, [*files, *([picture] if picture else [])])),
        "frames_read": frames.read,
        "frames_unneeded": frames.unneeded,
        "frames_kept": len(outcome.session.frames),
        "frames_left_out": _by_name(frames.left_out),
        "rejected": _by_name(rejected),
        "not_listed": [rejected_record(item) for item in outcome.rejected],
        "not_completed": outcome.left,
        "restarts": frames.restarts,
        "damage": None if frames.damage is None else frames.damage.message,
        "world_frame": outcome.session.config.world_frame,
        "up_world": list(outcome.session.config.up_world),
        "seconds": outcome.seconds,
        "objects": [
            {"object_id": o.object_id, "code": "OK", "folder": str(o.folder), **o.record}
            if o.error is None
            else {"object_id": o.object_id, "code": o.error.code.name, "message": o.error.message}
            for o in outcome.objects
        ],
    }


def _frame_lines(outcome: SessionOutcome) -> list[str]:
    frames, kept = outcome.frames, len(outcome.session.frames)
    lines = []
    if frames.left_out:
        reasons = ", ".join(f"{n} x {code.name}" for code, n in frames.left_out.most_common())
        lines.append(f"frames left out: {reasons}; the last: {frames.last_reason}")
    unneeded = f" and {frames.unneeded} left unread that show nothing new" if frames.unneeded else ""
    lines.append(f"{frames.read} frames read{unneeded}, {kept} kept, {sum(outcome.seconds.values()):.1f} s in all")
    if frames.restarts:
        lines.append(
            f"warning: time jumped back ({frames.restarts} x), as where a recording was looped; only the frames "
            "after the last jump were used"
        )
    if frames.damage is not None:
        lines.append(f"warning: {frames.damage.message}")
    return lines


def _by_name(counts: Counter[ErrorCode]) -> dict[str, int]:
    return {code.name: count for code, count in sorted(counts.items())}
