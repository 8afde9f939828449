"""The services `~/forget`, `~/get_objects`, `~/reset`, `~/save_objects`, `~/set_region`; long work is the worker's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from sparse_recon.errors import ErrorCode, SparseReconError
from sparse_recon.frames.incoming import box_of, stamp_ns_of
from sparse_recon.messages.fields import candidate_fields, header_fields
from sparse_recon.msg import ObjectCandidate
from sparse_recon.ros import qos
from sparse_recon.ros.completions import Completions
from sparse_recon.ros.convert import to_message
from sparse_recon.ros.executor_calls import ExecutorCalls
from sparse_recon.ros.outputs import completed_object_message
from sparse_recon.ros.worker import Job
from sparse_recon.srv import Forget, GetObjects, Reset, SaveObjects, SetRegion
from sparse_recon.types import OrientedBox

log = logging.getLogger(__name__)


class Services:
    """Serves as long as the node lives; while it is not active every answer has code NOT_ACTIVE.

    Parameters
    ----------
    active : returns what works on requests now, or None, with why not.
    forget_frames : forgets all frames and the messages that wait; returns how many frames there were.
    """

    def __init__(
        self,
        node: Node,
        calls: ExecutorCalls,
        active: Callable[[], tuple[Completions | None, str]],
        forget_frames: Callable[[], int],
    ) -> None:
        self._node, self._calls, self._active, self._forget_frames = node, calls, active, forget_frames
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
            (Forget, "~/forget", self._forget),
            (GetObjects, "~/get_objects", self._get_objects),
            (Reset, "~/reset", self._reset),
            (SaveObjects, "~/save_objects", self._save_objects),
            (SetRegion, "~/set_region", self._set_region),
        ):
            node.create_service(kind, name, callback, qos_profile=qos.services(), callback_group=group)

    async def _get_objects(self, request: Any, response: Any) -> Any:
        def run(completions: Completions, job: Job) -> None:
            found = completions.objects(job)
            response.candidates = [to_message(ObjectCandidate, candidate_fields(item)) for item in found]
            newest_ns = max((frame.stamp_ns for frame in completions.session.frames), default=0)
            stamp = header_fields(completions.world_frame, newest_ns)
            response.header.frame_id = stamp["frame_id"]
            response.header.stamp.sec, response.header.stamp.nanosec = stamp["stamp"]["sec"], stamp["stamp"]["nanosec"]
            if request.with_completed:
                response.completed = [
                    completed_object_message(item, request.with_geometry)
                    for item in completions.completed.objects.values()
                ]

        return await self._answer("get_objects", run, response)

    async def _forget(self, request: Any, response: Any) -> Any:
        def run(completions: Completions, job: Job) -> None:
            frame_id, stamp_ns = request.region_pose.header.frame_id, stamp_ns_of(request.region_pose)
            box = _box_or_none(request.region_pose.pose, request.region_size_m)
            response.forgotten_ids = list(completions.forget(job, list(request.object_ids), frame_id, stamp_ns, box))

        return await self._answer("forget", run, response)

    async def _save_objects(self, request: Any, response: Any) -> Any:
        def run(completions: Completions, job: Job) -> None:
            paths = completions.save(job, request.folder, list(request.object_ids), request.overwrite)
            response.paths = [str(path) for path in paths]

        return await self._answer("save_objects", run, response)

    async def _set_region(self, request: Any, response: Any) -> Any:
        def run(completions: Completions, job: Job) -> None:
            box = _box_or_none(request.pose.pose, request.size_m)
            completions.set_region(job, request.pose.header.frame_id, stamp_ns_of(request.pose), box)

        return await self._answer("set_region", run, response)

    async def _reset(self, request: Any, response: Any) -> Any:
        def run(completions: Completions, job: Job) -> None:
            response.objects_dropped = completions.reset(job)

        completions, _ = self._active()
        if completions is not None:
            response.frames_dropped = self._forget_frames()
            completions.worker.cancel_all(
                ErrorCode.CANCELLED, "cancelled: a reset discarded all frames and objects; send the goal again"
            )
        return await self._answer("reset", run, response, sure=True)

    async def _answer(
        self, name: str, run: Callable[[Completions, Job], None], response: Any, *, sure: bool = False
    ) -> Any:
        completions, why_not = self._active()
        if completions is None:
            return _failed(response, SparseReconError(ErrorCode.NOT_ACTIVE, why_not))
        job = Job(name, lambda job: run(completions, job), sure=sure)
        try:
            _, error = await self._calls.finished(completions.worker, job, urgent=True)
        except Exception as mistake:
            log.exception(name)
            error = SparseReconError(ErrorCode.INTERNAL, f"internal error, please report it: {mistake!r}")
        return _done(response) if error is None else _failed(response, error)


def _box_or_none(pose: Any, size: Any) -> OrientedBox | None:
    """Return a box of messages; None where all edges are zero."""
    return None if size.x == size.y == size.z == 0.0 else box_of(pose, size)


def _done(response: Any) -> Any:
    response.success, response.code, response.message = True, int(ErrorCode.OK), "done"
    return response


def _failed(response: Any, error: SparseReconError) -> Any:
    response.success, response.code, response.message = False, int(error.code), error.message
    return response
