"""What the worker does for the node: completions, passes over all objects, files; and what came of them."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.errors import (
    CancelledError,
    ErrorCode,
    EvidenceError,
    SparseReconError,
    TransformError,
    clipped,
)
from sparse_recon.frames.incoming import boxes_of, stamp_ns_of
from sparse_recon.frames.world_up import is_camera, with_unknown_up
from sparse_recon.machine.resident_memory import give_back, resident_bytes
from sparse_recon.observe.named_boxes import same_place
from sparse_recon.requests import CompletionRequest, ObjectCandidate, Progress
from sparse_recon.ros.completed_objects import CompletedObjects
from sparse_recon.ros.continuous import ContinuousPasses
from sparse_recon.ros.events import DetectionsArrived, Event, FrameKept, TimeJumped
from sparse_recon.ros.ingest import Ingest
from sparse_recon.ros.listing import Listing
from sparse_recon.ros.memory_budget import MemoryBudget
from sparse_recon.ros.node_config import NodeConfig
from sparse_recon.ros.outputs import Outputs
from sparse_recon.ros.saving import save_objects
from sparse_recon.ros.worker import Job, Worker
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import CompletedObject, Float64, OrientedBox

log = logging.getLogger(__name__)

_CATCH_UP_S = 2.0  # a job waits this long for messages that came before it
_TRANSFORM_WAIT_S = 1.0
_TIME_JUMPED = "cancelled: a jump back in time discarded all frames and objects; send the goal again"


@dataclass
class LastCompletion:
    """What became of the last completion, for diagnostics."""

    object_id: str = ""
    code: ErrorCode = ErrorCode.UNKNOWN  # there was none yet
    message: str = ""
    seconds: float = 0.0


class Completions:
    """Jobs over one session. Methods that take a `Job` run in the worker's thread.

    Parameters
    ----------
    now_s : the node's clock, by which detections grow old.
    why_no_frames : says what keeps frames from being made.

    Attributes
    ----------
    completed : the newest result of each object.
    listing : what the last list of objects had and what it left out.
    removed : why the objects that went last are no longer published.
    progress : where the completion at work stands; None while there is none.
    """

    def __init__(
        self, config: NodeConfig, outputs: Outputs, *, now_s: Callable[[], float], why_no_frames: Callable[[], str]
    ) -> None:
        self.config = config
        self.session = CompletionSession(config.session)
        self.memory = MemoryBudget(config.memory_budget_bytes)
        self.worker = Worker()
        self.ingest: Ingest | None = None
        self.completed = CompletedObjects(outputs)
        self.progress: Progress | None = None
        self.last = LastCompletion()
        self.listing = Listing()
        self.removed: list[str] = []  # the objects that were removed last, and why
        self._outputs = outputs
        self._why_no_frames = why_no_frames
        self._world_frame = config.world_frame
        self._events: deque[Event] = deque()
        self._handling_posted = False
        self._detections: dict[str, Any] = {}  # by camera, the newest Detection3DArray that is not used yet
        # By camera, in the world frame, each with the time of its last report; None before a detector spoke.
        self._boxes: dict[str, list[tuple[OrientedBox, float]]] | None = None
        self._camera_world: str | None = None  # a world frame that was found to be a camera's own
        self._now_s = now_s
        self.passes = ContinuousPasses(
            self.worker,
            found=lambda job: [item.object_id for item in self.objects(job)[: self.config.max_objects]],
            complete=lambda job, name: self._complete_again(job, name),
            finish=self._finish_pass,
        )

    @property
    def world_frame(self) -> str:
        """Frame of all results; empty before it is known."""
        ingest = self.ingest
        return self._world_frame if ingest is None else ingest.world_frame

    def leave_input(self) -> None:
        """Go on without input; frames and results stay, in the world frame that was found."""
        ingest, self.ingest = self.ingest, None
        if ingest is not None:
            self._world_frame = ingest.world_frame

    def preview(self, progress: Progress) -> None:
        """Show the model's answer so far."""
        self._outputs.publish_preview(progress, self.world_frame, self._newest_ns())

    def configure(self, config: NodeConfig) -> None:
        """Take new parameters; the session gets them before the next job."""
        self.config = config
        self.memory.limit_bytes = config.memory_budget_bytes
        self._outputs.footprints = config.footprints
        ingest = self.ingest
        if ingest is not None:
            ingest.configure(config)

    def complete(
        self, job: Job, request: CompletionRequest, on_progress: Callable[[Progress], None]
    ) -> CompletedObject:
        """Complete one object and publish all that are completed."""
        self._prepared(job)
        if not self.session.config.world_frame:
            raise EvidenceError(ErrorCode.NO_FRAMES, f"no frame has been kept yet: {self._why_no_frames()}")
        result = self._completed(job, request, on_progress)
        if job.reason is not None:  # what it was made of may be forgotten
            raise job.reason
        self.completed.add(result, min(self.config.max_objects, self._outputs.max_objects))
        self.completed.publish(self.world_frame)
        return result

    def objects(self, job: Job) -> tuple[ObjectCandidate, ...]:
        """Return what can be completed; what is not listed is told."""
        self._prepared(job)
        found = self.session.objects()
        self.listing.note(len(found), self.session.rejected)
        return found

    def set_region(self, job: Job, frame_id: str, stamp_ns: int, box: OrientedBox | None) -> None:
        """Look for objects only inside a box that is given in another frame; None: everywhere."""
        self._prepared(job)
        there = None if box is None else self.in_world(job, box, frame_id, stamp_ns)
        if job.reason is not None:
            raise job.reason
        self.session.set_region(there)

    def forget(
        self, job: Job, object_ids: Sequence[str], frame_id: str, stamp_ns: int, box: OrientedBox | None
    ) -> tuple[str, ...]:
        """Forget what was seen of objects, or in a box of another frame; return the ids of all that go.

        Raises
        ------
        SparseReconError
            USAGE if nothing is named, OBJECT_NOT_FOUND if an object is unknown, or what `in_world` raises.
        """
        self._prepared(job)
        there = None if box is None else self.in_world(job, box, frame_id, stamp_ns)
        if job.reason is not None:
            raise job.reason
        names = self.session.forget(object_ids, there, tuple(self.completed.objects.values()))
        if self.completed.objects.keys() & set(names):
            self.removed = [f"{name} was forgotten, as asked" for name in names if name in self.completed.objects]
            self.completed.keep(self.completed.objects.keys() - set(names))
            self.completed.publish(self.world_frame)
        return names

    def in_world(self, job: Job, box: OrientedBox, frame_id: str, stamp_ns: int) -> OrientedBox:
        """Return a box of another frame in the world frame.

        Parameters
        ----------
        stamp_ns : when the box was there; 0 takes the newest transform.

        Raises
        ------
        TransformError
            If the transform does not come within a second.
        """
        T_world_frame = self._T_world_frame(job, frame_id, stamp_ns)
        return OrientedBox(T_world_frame @ box.T_world_box, box.size_m)

    def post(self, event: Event) -> None:
        """Take an event of the input, from any thread; what runs ends at once where time jumped."""
        self._events.append(event)
        if isinstance(event, TimeJumped):
            self.worker.cancel_all(ErrorCode.CANCELLED, _TIME_JUMPED)
        if not self._handling_posted:
            self._handling_posted = True
            self.worker.submit(Job("input events", self._handle_events, sure=True), urgent=True)

    def _handle_events(self, job: Job) -> None:
        """Handle what was posted; every job does so before it looks at the session."""
        self._handling_posted = False
        frames_kept = False
        while self._events:
            event = self._events.popleft()
            if isinstance(event, TimeJumped):
                objects = self._forget_objects()
                log.warning(
                    "time jumped back: %d frames and %d completed objects were discarded", event.frames, objects
                )
                continue
            if isinstance(event, DetectionsArrived):
                self._detections[event.camera] = event.message
            self.passes.note(int(isinstance(event, FrameKept) and event.new_view))
            self.passes.go_on(self.config)
            frames_kept |= isinstance(event, FrameKept)
        if frames_kept and self.completed.objects:
            self._remove_out_of_date()

    def _remove_out_of_date(self) -> None:
        """Take what is no longer there out of what is published, the planning scene too."""
        found = self.session.out_of_date(tuple(self.completed.objects.values()))
        if found:
            self.removed = list(found.values())
            log.warning("removed: %s", "; ".join(self.removed))
            self.completed.keep(self.completed.objects.keys() - found.keys())
            self.completed.publish(self.world_frame)
            self.passes.note(1)

    def save(self, job: Job, folder: str, object_ids: Sequence[str], overwrite: bool) -> list[Path]:
        """Write completed objects to files; return the paths. See `save_objects`."""
        completed = self.completed.objects
        target, rejected = folder or self.config.save_folder, self.session.rejected
        return save_objects(completed, target, object_ids, overwrite, job.cancelled, rejected)

    def reset(self, job: Job) -> int:
        """Forget all objects and detections; return how many objects there were."""
        objects = len(self.completed.objects)
        self._handle_events(job)
        self._forget_objects()
        return objects

    def _forget_objects(self) -> int:
        objects = self.completed.forget()
        self._detections.clear()
        self._boxes = None
        self.listing.forget()
        self.passes.forget()
        self.completed.publish(self.world_frame)
        return objects

    def show_late_viewers(self) -> None:
        """Draw pictures for whoever subscribed after the last results, while there is nothing else to do."""
        if self.completed.objects and self.worker.current is None and not self.worker.waiting:
            self.worker.submit(Job("pictures", lambda job: self._outputs.refresh(), yields=True))

    def _complete_again(self, job: Job, name: str) -> None:
        self.complete(job, CompletionRequest(object_id=name), lambda progress: None)

    def _finish_pass(self, names: Sequence[str]) -> None:
        """Forget objects that are no longer there; those that were asked for by box stay.

        While a camera's pose is wrong, what it no longer shows may be there all the same.
        """
        if self.session.bumps:
            return
        boxes = [name for name in self.completed.objects if name.startswith("box_")]
        before = self.completed.objects
        self.completed.keep({*names, *boxes})
        if len(self.completed.objects) != len(before):
            self.completed.publish(self.world_frame)

    def _T_world_frame(self, job: Job, frame_id: str, stamp_ns: int) -> Float64:
        world = self.world_frame
        if not frame_id or not world:
            what = "frame_id is empty" if world else f"the world frame is not known yet: {self._why_no_frames()}"
            raise TransformError(ErrorCode.TF_FRAME_UNKNOWN, f"{what}; fill in header.frame_id, or set world_frame")
        if frame_id.lstrip("/") == world:
            return np.eye(4)
        until_s = time.monotonic() + _TRANSFORM_WAIT_S
        while True:
            ingest = self.ingest
            if ingest is None or job.reason is not None:
                raise job.reason or SparseReconError(ErrorCode.NOT_ACTIVE, "the node was deactivated")
            try:
                return ingest.T_world_frame(frame_id, stamp_ns)
            except TransformError:
                if time.monotonic() > until_s:
                    raise
            time.sleep(0.02)

    def _use_detections(self, job: Job) -> None:
        arrived, self._detections = self._detections, {}
        for camera, message in arrived.items():
            frame_id, stamp_ns = message.header.frame_id, stamp_ns_of(message)
            try:
                boxes = [self.in_world(job, box, frame_id, stamp_ns) for box in boxes_of(message)]
            except CancelledError:
                raise
            except SparseReconError as error:
                log.warning("detections_3d are skipped: [%d %s] %s", error.code, error.code.name, error.message)
            else:
                known = self._boxes = self._boxes or {}
                missed = [item for item in known.get(camera, ()) if not any(same_place(item[0], b) for b in boxes)]
                known[camera] = [*missed, *((box, self._now_s()) for box in boxes)]
        if self._boxes is not None:
            oldest_s = self._now_s() - self.config.detections.timeout_s
            self._boxes = {c: [item for item in items if item[1] >= oldest_s] for c, items in self._boxes.items()}
            self.session.suggest([box for items in self._boxes.values() for box, _ in items])

    def _prepared(self, job: Job) -> None:
        """Catch up with the input and give the session its parameters."""
        ingest = self.ingest
        if ingest is not None:
            ingest.wait_until_used(_CATCH_UP_S)
        self._handle_events(job)
        config = replace(self.config.session, world_frame=self.world_frame)
        # The frame that shows it may be dropped later; the world stays what it is.
        if self._camera_world == self.world_frame or is_camera(self.world_frame, self.session.frames):
            self._camera_world, config = self.world_frame, with_unknown_up(config)
        if config != self.session.config:
            self.session.configure(config)
        self._use_detections(job)

    def _completed(
        self, job: Job, request: CompletionRequest, on_progress: Callable[[Progress], None]
    ) -> CompletedObject:
        begun_s, before_bytes = time.monotonic(), resident_bytes()

        def tell(progress: Progress) -> None:
            self.progress = progress
            self.memory.note_growth(before_bytes)
            on_progress(progress)

        try:
            self.memory.require_room(self.session)
            result = self.session.complete(request, tell, job.cancelled)
        except SparseReconError as error:
            if error.code is ErrorCode.NO_FRAMES and not self.session.frames:
                error = EvidenceError(ErrorCode.NO_FRAMES, f"no frame has been kept yet: {self._why_no_frames()}")
            self._outputs.end_preview()
            self.last = LastCompletion(
                clipped(request.object_id), error.code, error.message, time.monotonic() - begun_s
            )
            raise error
        finally:
            self.progress = None
            give_back(collect=False)
        self.last = LastCompletion(result.object_id, ErrorCode.OK, "completed", time.monotonic() - begun_s)
        return result

    def _newest_ns(self) -> int:
        return max((frame.stamp_ns for frame in self.session.frames), default=0)
