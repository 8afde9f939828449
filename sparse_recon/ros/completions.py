"""What the worker does for the node: completions, passes over all objects, files; and what came of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.bags.results import write_results
from sparse_recon.errors import (
    CancelledError,
    ErrorCode,
    EvidenceError,
    FileError,
    SparseReconError,
    TransformError,
)
from sparse_recon.requests import CompletionRequest, ObjectCandidate, Progress
from sparse_recon.ros.incoming import boxes_of, stamp_ns_of
from sparse_recon.ros.ingest import Ingest
from sparse_recon.ros.memory import MemoryBudget, give_back, resident_bytes
from sparse_recon.ros.node_config import NodeConfig
from sparse_recon.ros.outputs import Outputs
from sparse_recon.ros.worker import Job, Worker
from sparse_recon.session import CompletionSession
from sparse_recon.types import CompletedObject, Float64, OrientedBox

log = logging.getLogger(__name__)

_CATCH_UP_S = 2.0  # a job waits this long for messages that came before it
_TRANSFORM_WAIT_S = 1.0


@dataclass
class LastCompletion:
    """What became of the last completion, for diagnostics."""

    object_id: str = ""
    code: ErrorCode = ErrorCode.OK
    message: str = ""
    seconds: float = 0.0


class Completions:
    """Jobs over one session. Methods that take a `Job` run in the worker's thread.

    Parameters
    ----------
    now_s : the node's clock, by which continuous passes are spaced.
    why_no_frames : says what keeps frames from being made.

    Attributes
    ----------
    completed : the newest result of each object, by id; replaced, never changed in place.
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
        self.completed: dict[str, CompletedObject] = {}
        self.progress: Progress | None = None
        self.last = LastCompletion()
        self._outputs = outputs
        self._now_s, self._why_no_frames = now_s, why_no_frames
        self._world_frame = config.world_frame
        self._lock = threading.RLock()  # of what follows, and of `completed`
        self._epoch = 0
        self._detections: Any = None  # the newest vision_msgs/Detection3DArray that is not used yet
        self._pass: Job | None = None
        self._views_since_pass = 0
        self._frames_since_pass = 0
        self._last_pass_s = -float("inf")

    @property
    def world_frame(self) -> str:
        """Frame of all results; empty before it is known."""
        ingest = self.ingest
        return self._world_frame if ingest is None else ingest.assembler.world_frame

    def leave_input(self) -> None:
        """Go on without input; frames and results stay, in the world frame that was found."""
        if self.ingest is not None:
            self._world_frame = self.ingest.assembler.world_frame
            self.ingest = None

    def preview(self, progress: Progress) -> None:
        """Show the model's answer so far."""
        self._outputs.publish_preview(progress, self.world_frame, self._newest_ns())

    def configure(self, config: NodeConfig) -> None:
        """Take new parameters; the session gets them before the next job."""
        self.config = config
        self.memory.limit_bytes = config.memory_budget_bytes

    def complete(
        self, job: Job, request: CompletionRequest, on_progress: Callable[[Progress], None]
    ) -> CompletedObject:
        """Complete one object and publish all that are completed."""
        epoch = self._prepared(job)
        result = self._completed(job, request, on_progress)
        with self._lock:
            if epoch != self._epoch:
                raise CancelledError(ErrorCode.CANCELLED, "all objects were forgotten meanwhile")
            self.completed = {**self.completed, result.object_id: result}
        self._publish()
        return result

    def objects(self, job: Job) -> tuple[ObjectCandidate, ...]:
        """Return what can be completed."""
        self._prepared(job)
        return self.session.objects()

    def set_region(self, job: Job, frame_id: str, stamp_ns: int, box: OrientedBox | None) -> None:
        """Look for objects only inside a box that is given in another frame; None: everywhere."""
        self._prepared(job)
        self.session.set_region(None if box is None else self.in_world(job, box, frame_id, stamp_ns))

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

    def note_detections(self, message: Any) -> None:
        """Take a vision_msgs/Detection3DArray, from any thread; its boxes are the objects of the next job."""
        with self._lock:
            self._detections = message
            self._frames_since_pass += 1

    def save(self, job: Job, folder: str, object_ids: list[str], overwrite: bool) -> list[Path]:
        """Write completed objects to files; return the paths.

        Raises
        ------
        SparseReconError
            USAGE, OBJECT_NOT_FOUND, OUTPUT_UNWRITABLE or DISK_FULL.
        """
        folder = folder or self.config.save_folder
        if not folder:
            raise FileError(ErrorCode.USAGE, "name a folder, or set parameter save_folder")
        wanted = object_ids or list(self.completed)
        missing = [name for name in wanted if name not in self.completed]
        if missing or not wanted:
            there = ", ".join(self.completed) or "none"
            raise EvidenceError(
                ErrorCode.OBJECT_NOT_FOUND,
                f"not completed yet: {', '.join(missing) or 'any object'}; completed are {there}: call complete first",
            )
        target = Path(folder).expanduser().absolute()
        older = [name for name in wanted if (target / name).exists()]
        if older and not overwrite:
            raise FileError(
                ErrorCode.OUTPUT_UNWRITABLE, f"{target} already holds {', '.join(older)}; set overwrite or name another"
            )
        paths: list[Path] = []
        for name in wanted:
            if job.cancelled():
                raise CancelledError(ErrorCode.CANCELLED, f"cancelled; {len(paths)} files are whole")
            written = write_results(self.completed[name], target)
            paths += sorted(path for path in written.rglob("*") if path.is_file())
        return paths

    def forget(self) -> tuple[int, int]:
        """Forget frames and objects, from any thread, and end what runs; return how many of each there were."""
        with self._lock:
            self._epoch += 1
            frames, objects = self.session.reset(), len(self.completed)
            self.completed = {}
            self._views_since_pass = self._frames_since_pass = 0
            self._last_pass_s = -float("inf")
        self.worker.cancel_all(ErrorCode.CANCELLED, "everything was forgotten: reset, or time jumped back")
        self.worker.submit(Job("clear", lambda job: self._publish()), urgent=True)
        return frames, objects

    def time_jumped(self) -> None:
        """Forget what was before a jump back in time."""
        frames, objects = self.forget()
        log.warning("time jumped back: %d frames and %d completed objects were forgotten", frames, objects)

    def note_frame(self, new_view: bool) -> None:
        """Count a kept frame, and begin a pass where that is wanted."""
        with self._lock:
            self._frames_since_pass += 1
            self._views_since_pass += new_view
        self.continue_passes()

    def continue_passes(self) -> None:
        """Begin a pass over all objects if parameter `continuous` asks for one now."""
        if not self.config.continuous:
            return
        needed = self.config.continuous_new_views
        with self._lock:
            enough = self._views_since_pass >= needed if needed else self._frames_since_pass > 0
            rested = self._now_s() - self._last_pass_s >= self.config.continuous_period_s
            if not (enough and rested and self._pass is None):
                return
            job = self._pass = Job("pass", self._complete_all, lambda result, error: self._passed(error), yields=True)
        self.worker.submit(job)

    def show_late_viewers(self) -> None:
        """Draw pictures for whoever subscribed after the last results, while there is nothing else to do."""
        if self.completed and self.worker.current is None and not self.worker.waiting:
            self.worker.submit(Job("pictures", lambda job: self._outputs.refresh(), yields=True))

    def _complete_all(self, job: Job) -> None:
        views, frames = self._views_since_pass, self._frames_since_pass
        epoch = self._prepared(job)
        found = self.session.objects()[: self.config.max_objects]
        results = {}
        for candidate in found:
            try:
                request = CompletionRequest(object_id=candidate.object_id)
                results[candidate.object_id] = self._completed(job, request, lambda progress: None)
            except CancelledError:
                raise
            except SparseReconError as error:
                log.warning("%s: [%d %s] %s", candidate.object_id, error.code, error.code.name, error.message)
        with self._lock:
            if epoch != self._epoch:
                return
            self.completed = results
            self._views_since_pass -= views
            self._frames_since_pass -= frames
            self._last_pass_s = self._now_s()
        self._publish()

    def _passed(self, error: SparseReconError | None) -> None:
        self._pass = None
        if error is not None and error.code is not ErrorCode.CANCELLED:
            self._last_pass_s = self._now_s()
            log.warning("pass over all objects: [%d %s] %s", error.code, error.code.name, error.message)

    def _T_world_frame(self, job: Job, frame_id: str, stamp_ns: int) -> Float64:
        world = self.world_frame
        if not frame_id or not world:
            what = "frame_id is empty" if world else f"the world frame is not known yet: {self._why_no_frames()}"
            raise TransformError(ErrorCode.TF_FRAME_UNKNOWN, f"{what}; fill in header.frame_id, or set world_frame")
        if frame_id.lstrip("/") == world or self.ingest is None:
            return np.eye(4)
        until_s = time.monotonic() + _TRANSFORM_WAIT_S
        while True:
            with self.ingest.lock:
                transforms = self.ingest.assembler.transforms
                try:
                    at_ns = stamp_ns or transforms.newest_common_ns(world, frame_id)
                    return transforms.lookup(world, frame_id, at_ns)
                except TransformError:
                    if time.monotonic() > until_s or job.cancelled():
                        raise
            time.sleep(0.02)

    def _use_detections(self, job: Job) -> None:
        message, self._detections = self._detections, None
        if message is None:
            return
        try:
            frame_id, stamp_ns = message.header.frame_id, stamp_ns_of(message)
            self.session.suggest([self.in_world(job, box, frame_id, stamp_ns) for box in boxes_of(message)])
        except SparseReconError as error:
            log.warning("detections_3d are left out: [%d %s] %s", error.code, error.code.name, error.message)

    def _prepared(self, job: Job) -> int:
        """Catch up with the input, give the session its parameters and return the epoch in which the job began."""
        epoch = self._epoch
        if self.ingest is not None:
            self.ingest.wait_until_used(_CATCH_UP_S)
        config = replace(self.config.session, world_frame=self.world_frame)
        if config != self.session.config:
            self.session.configure(config)
        self._use_detections(job)
        return epoch

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
            if error.code is ErrorCode.NO_FRAMES:
                error = EvidenceError(ErrorCode.NO_FRAMES, f"no frame has been kept yet: {self._why_no_frames()}")
            self.last = LastCompletion(request.object_id, error.code, error.message, time.monotonic() - begun_s)
            raise error
        finally:
            self.progress = None
            give_back(collect=False)
        self.last = LastCompletion(result.object_id, ErrorCode.OK, "completed", time.monotonic() - begun_s)
        return result

    def _newest_ns(self) -> int:
        return max((frame.stamp_ns for frame in self.session.frames), default=0)

    def _publish(self) -> None:
        objects = list(self.completed.values())
        stamp_ns = max((completed.stamp_ns for completed in objects), default=0)
        if objects:
            self._outputs.publish(objects, self.world_frame, stamp_ns)
        else:
            self._outputs.clear(self.world_frame, stamp_ns)
