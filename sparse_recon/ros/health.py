"""How the node is, in sentences with codes: inputs, transforms, worker, memory, model. No ROS messages here."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparse_recon.bags.topics import CLOUD
from sparse_recon.errors import ErrorCode
from sparse_recon.frames.rejections import Rejection
from sparse_recon.machine.resident_memory import peak_bytes, resident_bytes
from sparse_recon.requests import told_rejections
from sparse_recon.ros.camera_inputs import CameraInputs
from sparse_recon.ros.completions import Completions
from sparse_recon.ros.ingest import Ingest
from sparse_recon.ros.input_topics import INPUT_TOPICS
from sparse_recon.ros.listing import SHOWN, Listing
from sparse_recon.ros.node_config import NodeConfig
from sparse_recon.ros.outputs import Outputs
from sparse_recon.ros.transform_subscriptions import TransformSubscriptions

OK, WARN, ERROR = 0, 1, 2  # diagnostic_msgs/DiagnosticStatus
_SHOWN_NOTES = 5
LOST_S = 5.0  # what was lost within this time is told
Publishers = Callable[[str], Sequence[str]]  # of a topic, by the types that they publish


@dataclass
class Health:
    """One status: what part of the node, how it is, a code and a sentence, and figures."""

    part: str
    level: int = OK
    code: ErrorCode = ErrorCode.OK
    message: str = "ok"
    values: dict[str, Any] = field(default_factory=dict)

    def worsen(self, level: int, code: ErrorCode, message: str) -> None:
        """Take a worse state; the first of equally bad ones stays."""
        if level > self.level:
            self.level, self.code, self.message = level, code, message


def process_figures() -> dict[str, Any]:
    """Return what grows where a process leaks."""
    return {"threads": threading.active_count(), "allocated_blocks": sys.getallocatedblocks()}


def input_health(
    inputs: CameraInputs,
    ingest: Ingest,
    config: NodeConfig,
    publishers: Publishers,
    clock_problem: str,
    clock_stands: bool = False,
) -> Health:
    """Say which input of a camera is missing, by how much its stamps miss, or why no frame comes of it.

    Parameters
    ----------
    publishers : the message types of those of a topic, such as sensor_msgs/msg/Image.
    clock_problem : why there is no time, empty where there is one.
    clock_stands : simulated time has not gone on for `watchdog_s`.
    """
    health = Health(f"inputs {inputs.name}")
    for role, state in inputs.states.items():
        rate = 1.0 / state.period_s if state.period_s > 0 else 0.0
        lost = f", {state.lost} lost in transport" if state.lost else ""
        health.values[INPUT_TOPICS[role].name] = f"{state.topic}, {state.received} messages, {rate:.1f} Hz{lost}"
    if clock_problem:
        health.worsen(ERROR, ErrorCode.STAMP_INVALID, clock_problem)
    if silent := inputs.silent(config.watchdog_s):
        ended = _ended(inputs, ingest, silent, publishers, clock_stands)
        missing = _missing(inputs, silent, config.watchdog_s, publishers)
        health.worsen(WARN if ended else ERROR, ErrorCode.NO_FRAMES, ended or missing)
    rejection = _last_rejection(inputs, ingest)
    stalled = time.monotonic() - ingest.counts.last_frame_s[inputs.name] > config.watchdog_s
    if not silent and stalled:
        code, message = _why_stalled(inputs, ingest, config)
        health.worsen(ERROR, code, message)
    elif rejection is not None and rejection.code is not ErrorCode.STAMP_UNMATCHED:
        health.worsen(WARN, rejection.code, rejection.message)
    health.values["received"] = sum(state.received for state in inputs.states.values())
    health.values["lost_in_transport"] = sum(state.lost for state in inputs.states.values())
    return health


def _ended(
    inputs: CameraInputs,
    ingest: Ingest,
    silent: Sequence[str],
    publishers: Publishers,
    clock_stands: bool,
) -> str:
    """Return a sentence where a whole camera that gave frames is over, as a recording at its end; else nothing."""
    required = [role for role, state in inputs.states.items() if state.required]
    topics = [inputs.states[role].topic for role in silent]
    held = ingest.frames_held
    if not held or len(silent) < len(required) or not all(inputs.states[role].received for role in silent):
        return ""
    if any(map(publishers, topics)):
        if not clock_stands:
            return ""
        why = "simulated time stands still, as where a recording is paused or has ended"
    else:
        why = "nobody publishes them any more: the recording has ended, or the driver has"
    return f"no more messages on {', '.join(topics)}, and {why}; the {held} frame(s) kept are used on"


def _missing(inputs: CameraInputs, silent: Sequence[str], after_s: float, publishers: Publishers) -> str:
    reasons = []
    for role in silent:
        state = inputs.states[role]
        types = publishers(state.topic)
        if state.incompatible:
            why = f"a publisher's {state.incompatible} is incompatible: set qos_overrides.{state.topic}.subscription"
        elif not types:
            why = f"nobody publishes it: start the camera driver, or remap {INPUT_TOPICS[role].name!r}"
        elif state.msgtype not in types:
            why = _other_type(role, state.msgtype, types[0])
        else:
            why = f"{len(types)} publisher(s) are there but silent: check the driver"
        reasons.append(f"no message on {state.topic} for more than {after_s:g} s, {why}")
    return "; ".join(reasons)


def _other_type(role: str, expected: str, found: str) -> str:
    cure = f"remap {INPUT_TOPICS[role].name!r} to a topic of that type"
    if role == "depth" and CLOUD in (expected, found):
        cure += f", or set depth_transport: {'cloud' if found == CLOUD else 'raw'}"
    return f"the topic carries {found}, expected is {expected}: {cure}"


def _last_rejection(inputs: CameraInputs, ingest: Ingest) -> Rejection | None:
    found = ingest.counts.last_rejection.copy()
    return found.get(inputs.name) or found.get("")


def _why_stalled(inputs: CameraInputs, ingest: Ingest, config: NodeConfig) -> tuple[ErrorCode, str]:
    """Return why messages arrive and no frame comes of them."""
    rejection = _last_rejection(inputs, ingest)
    color = inputs.states["color"]
    partners = [inputs.states[role] for role in ("depth", "labels") if role in inputs.states]
    misses = {s.topic: abs(s.last_stamp_ns - color.last_stamp_ns) * 1e-9 for s in partners if s.received}
    if rejection is not None and rejection.code is not ErrorCode.STAMP_UNMATCHED:
        return rejection.code, rejection.message
    for topic, apart_s in misses.items():
        if apart_s > config.assembly.stamp_tolerance_s:
            return ErrorCode.STAMP_UNMATCHED, (
                f"stamps on {topic} and {color.topic} are {apart_s:.3f} s apart, assembly.stamp_tolerance_s allows "
                f"{config.assembly.stamp_tolerance_s:g} s; make both use the same clock, or raise it"
            )
    if rejection is not None:
        return rejection.code, rejection.message
    if ingest.counts.waiting:
        error = ingest.missing_pose(color.frame_id, color.last_stamp_ns)
        if error is not None:
            return error.code, f"waiting for the pose of the camera: {error.message}"
    return ErrorCode.NO_FRAMES, "messages arrive, but no frame was made of them yet"


def transform_health(ingest: Ingest, config: NodeConfig, subscriptions: TransformSubscriptions) -> Health:
    """Say who interpolates transforms, which frames there are, why there are none, and what is not used or read."""
    frames, unread = ingest.transform_frames, ", ".join(subscriptions.unread())
    health = Health(
        "transforms",
        values={
            "source": config.transform_source,
            "received": subscriptions.received,
            "frames_waiting": ingest.counts.waiting,
            "frames": " ".join(frames[:50]),
            "not_used": "; ".join(ingest.transform_notes()),
            "not_read": unread,
        },
    )
    if unread and not config.world_frame and not ingest.cameras_move:
        text = (
            f"nothing moves between camera and world, and {unread} are published but not read: add their namespace to "
            "transform_namespaces, or remap /tf and /tf_static to them; set world_frame if the camera stands still"
        )
        health.worsen(WARN, ErrorCode.TF_NOT_CONNECTED, text)
    if notes := ingest.transform_notes(LOST_S):
        health.worsen(WARN, ErrorCode.STAMP_ORDER, "; ".join(notes[-_SHOWN_NOTES:]))
    for topic, policy in subscriptions.incompatible.items():
        text = f"a publisher on {topic} offers a {policy} that tf2 does not accept either: change the publisher"
        health.worsen(WARN, ErrorCode.CONFIG_INVALID, text)
    if not frames:
        text = "no transform has arrived on /tf or /tf_static; publish them, or check the remapping of /tf"
        health.worsen(WARN, ErrorCode.TF_FRAME_UNKNOWN, text)
    return health


def ingest_health(ingest: Ingest, percentiles_ms: tuple[float, float], cpu_percent: float) -> Health:
    """Give the figures of the input side."""
    counts = ingest.counts
    health = Health(
        "ingest",
        values={
            "keyframes_kept": counts.kept,
            "new_views": counts.new_views,
            "keyframes_lost": counts.lost,
            "frames_unneeded": counts.unneeded,
            "dropped": counts.dropped,
            "rejected": sum(counts.rejected.values()),
            **{f"rejected {code.name}": number for code, number in sorted(counts.rejected.items())},
            "restarts": counts.restarts,
            "callback_p50_ms": f"{percentiles_ms[0]:.3f}",
            "callback_p99_ms": f"{percentiles_ms[1]:.3f}",
            "ingest_cpu_percent": f"{cpu_percent:.1f}",
        },
    )
    if (lost := counts.losses.within(LOST_S)) is not None:
        health.worsen(WARN, *lost)
    return health


def output_health(outputs: Outputs) -> Health:
    """Say which topics there are, and which of them a subscriber cannot read."""
    health = Health("outputs", values=dict(outputs.topics))
    for name, policy in outputs.refused.items():
        topic = outputs.topics[name]
        text = f"a subscriber of {topic} asks for a {policy} that is not offered: change it, or qos_overrides.{topic}"
        health.worsen(WARN, ErrorCode.CONFIG_INVALID, text)
    return health


def worker_health(completions: Completions) -> Health:
    """Say what the worker does, and what became of the last completion."""
    worker, last, progress = completions.worker, completions.last, completions.progress
    job = worker.current
    doing = job.name if job is not None else "idle"
    if progress is not None:
        doing += f": {progress.stage} {100 * progress.fraction:.0f} %"
    health = Health(
        "worker",
        message=doing,
        values={
            "waiting": worker.waiting,
            "finished": worker.finished,
            "objects": len(completions.completed.objects),
            "removed": "; ".join(completions.removed),
            "last_object": last.object_id,
            "last_code": f"{int(last.code)} {last.code.name}",
            "last_message": last.message,
            "last_seconds": f"{last.seconds:.3f}",
        },
    )
    if problem := completions.session.last_views_verdict.sentence:
        health.worsen(WARN, ErrorCode.VIEWS_DISAGREE, problem)
    for bump in completions.session.bumps:
        health.worsen(ERROR, ErrorCode.EVIDENCE_CONTRADICTS, bump.sentence)
    if last.code not in (ErrorCode.OK, ErrorCode.UNKNOWN):
        health.worsen(WARN, last.code, last.message)
    return health


def listing_health(listing: Listing) -> Health:
    """Say what the last list left out; WARN where it had nothing else."""
    listed, rejected = listing.listed, listing.rejected
    sentences = told_rejections(rejected, SHOWN)
    health = Health(
        "objects",
        message="nobody has asked for a list yet" if listed is None else f"{listed} listed, {len(rejected)} not",
        values={
            "listed": -1 if listed is None else listed,
            "not_listed": len(rejected),
            **{f"not_listed {number}": text for number, text in enumerate(sentences)},
        },
    )
    if listed == 0 and sentences:
        health.worsen(WARN, ErrorCode.OBJECT_NOT_FOUND, f"nothing is listed: {'; '.join(sentences)}")
    return health


def memory_health(completions: Completions) -> Health:
    """Compare resident memory, and the most that it ever was, with its budget."""
    resident, peak, limit = resident_bytes(), peak_bytes(), completions.memory.limit_bytes
    health = Health(
        "memory",
        message=f"{resident / 1e6:.0f} of {limit / 1e6:.0f} MB, at most {peak / 1e6:.0f} MB",
        values={
            "rss_bytes": resident,
            "rss_peak_bytes": peak,
            "memory_budget_bytes": limit,
            "frames": len(completions.session.frames),
            "frame_bytes": completions.session.kept_bytes,
            "frames_evicted": completions.memory.evicted,
            "completion_growth_bytes": completions.memory.growth_bytes,
        },
    )
    if resident > limit:
        text = f"{resident / 1e6:.0f} MB are resident, memory_budget_bytes allows {limit / 1e6:.0f} MB; raise it"
        health.worsen(ERROR, ErrorCode.MEMORY_BUDGET, text)
    if peak > limit:
        text = (
            f"{resident / 1e6:.0f} MB are resident, and once it was {peak / 1e6:.0f} MB: more than "
            f"memory_budget_bytes, {limit / 1e6:.0f} MB; raise it, or use smaller images and grids"
        )
        health.worsen(WARN, ErrorCode.MEMORY_BUDGET, text)
    return health
