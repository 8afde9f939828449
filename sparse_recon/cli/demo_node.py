"""The second half of the demo: the same recording through the real node, and what arrived on its topics."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse_recon.bags.topics import CameraTopics
from sparse_recon.cli.run_session import SessionOutcome
from sparse_recon.errors import ErrorCode, SparseReconError
from sparse_recon.messages.fields import completed_object_fields

if TYPE_CHECKING:
    from sparse_recon.ros.play.live import LiveOutcome


def run_node(sample: Path, camera: CameraTopics, replayed: SessionOutcome) -> dict[str, Any]:
    """Let node and player run, tell on stderr what came of it, and return it for `--json`.

    `skipped` says why there is no ROS here, `problem` what went wrong; without them all went well.
    """
    from sparse_recon.ros.play.live import run_live, why_not_here

    if missing := why_not_here():
        print(f"the node was not started: {missing}", file=sys.stderr)
        return {"skipped": missing}
    object_ids = [completed.object_id for completed in replayed.completed]
    print(
        "\nnow over ROS: completion_node and `sparse_recon play` as processes, action ~/complete for each object",
        file=sys.stderr,
    )
    session = replayed.session
    try:
        live = run_live(sample, camera, session.config, object_ids, session.frames[-1].stamp_ns)
    except SparseReconError as error:
        print(f"the node did not get through: {error.message}", file=sys.stderr)
        return {"problem": error.message, "code": error.code.name}
    same = same_clouds(live, replayed)
    print(live_table(live, same, len(session.frames)), file=sys.stderr)
    failed = [f"{goal.object_id}: {goal.message}" for goal in live.goals if goal.code != ErrorCode.OK]
    if live.node_exit_code:
        failed.append(f"the node ended with {live.node_exit_code}")
    if live.frames == len(session.frames):
        failed += [
            f"{name}: the node's points differ from those of the replay" for name, equal in same.items() if not equal
        ]
    return {
        **({"problem": "; ".join(failed)} if failed else {}),
        "frames": live.frames,
        "goals": [asdict(goal) for goal in live.goals],
        "topics": [asdict(arrival) for arrival in live.arrivals],
        "same_points": same,
        "seconds": live.seconds,
    }


def same_clouds(live: LiveOutcome, replayed: SessionOutcome) -> dict[str, bool]:
    """Return for each object of the node whether the replay gives the same points, byte for byte, and no two the same.

    Names may differ: the node names things in the order in which frames showed them, the replay when it has all frames.
    """
    fields = [completed_object_fields(completed) for completed in replayed.completed]
    left = [bytes(item["cloud"]["data"]) for item in fields]
    same = {}
    for name in (completed.object_id for completed in replayed.completed):
        same[name] = (cloud := live.clouds.get(name)) in left
        if same[name] and cloud is not None:
            left.remove(cloud)
    return same


def live_table(live: LiveOutcome, same: dict[str, bool], frames: int) -> str:
    """Return what arrived as lines for people."""
    width = max([len(arrival.topic) for arrival in live.arrivals], default=0)
    lines = [f"{'topic':<{width}}  {'type':<38} {'messages':>8} {'last one':>10} {'points':>8}"]
    for arrival in live.arrivals:
        points = "" if arrival.points is None else str(arrival.points)
        size = f"{arrival.size_bytes / 1e3:.1f} kB"
        lines.append(f"{arrival.topic:<{width}}  {arrival.msgtype:<38} {arrival.messages:>8} {size:>10} {points:>8}")
    for goal in live.goals:
        if goal.code != ErrorCode.OK:
            lines.append(f"{goal.object_id}: refused ({goal.code}): {goal.message}")
        else:
            points = (
                "the same points as in the replay" if same[goal.object_id] else "points that differ from the replay's"
            )
            lines.append(f"{goal.object_id}: completed in {goal.seconds:.1f} s, {points}")
    lines.append(f"{live.frames} of {frames} frames kept by the node, {live.seconds:.1f} s in all")
    return "\n".join(lines)
