"""The action `~/complete`: goals into jobs of the worker, and what came of them into results."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from sparse_recon.action import CompleteObject
from sparse_recon.errors import ErrorCode, InputError, SparseReconError, clipped
from sparse_recon.frames.incoming import box_of, stamp_ns_of
from sparse_recon.messages.fields import feedback_fields
from sparse_recon.requests import CompletionRequest, Progress
from sparse_recon.ros import qos
from sparse_recon.ros.completions import Completions
from sparse_recon.ros.convert import to_message
from sparse_recon.ros.executor_calls import ExecutorCalls
from sparse_recon.ros.kept_results import KeptResults
from sparse_recon.ros.node_config import ResultsConfig
from sparse_recon.ros.outputs import completed_object_message, without_geometry
from sparse_recon.ros.worker import Job

log = logging.getLogger(__name__)

Goal = CompleteObject.Goal


class CompleteAction:
    """Serves the action as long as the node lives; while it is not active every goal ends with NOT_ACTIVE.

    Every goal is accepted, so that it can end with a code and a sentence; but no more than `results.max_goals` that
    rclpy has to remember.

    Parameters
    ----------
    active : returns what works on goals now, or None, with why not.
    results : parameters of kept results; `keep_s` is read once, here.
    """

    def __init__(
        self,
        node: Node,
        calls: ExecutorCalls,
        active: Callable[[], tuple[Completions | None, str]],
        results: Callable[[], ResultsConfig],
    ) -> None:
        self._node, self._calls, self._active = node, calls, active
        self._results_config = results
        self._kept = KeptResults(without_geometry)
        self._remembered = 0  # goals of which rclpy has a handle
        self._jobs: dict[bytes, tuple[Completions, Job]] = {}
        many = qos.services()
        self._server = ActionServer(
            node,
            CompleteObject,
            "~/complete",
            execute_callback=self._execute,
            goal_callback=self._answer,
            cancel_callback=self._cancel,
            callback_group=ReentrantCallbackGroup(),
            goal_service_qos_profile=many,
            result_service_qos_profile=many,
            cancel_service_qos_profile=many,
            result_timeout=results().keep_s,
        )

    @property
    def running(self) -> int:
        """Goals that have not ended."""
        return len(self._jobs)

    def _answer(self, goal: CompleteObject.Goal) -> GoalResponse:
        most = self._results_config().max_goals
        if self._remembered < most:
            return GoalResponse.ACCEPT
        self._node.get_logger().warning(
            f"goals are not accepted: results of {self._remembered} are kept, results.max_goals allows {most}; send "
            "fewer, raise it, or lower results.keep_s",
            throttle_duration_sec=10.0,
        )
        return GoalResponse.REJECT

    def _forgotten(self) -> None:
        self._remembered -= 1

    async def _execute(self, handle: ServerGoalHandle) -> CompleteObject.Result:
        self._remembered += 1
        weakref.finalize(handle, self._forgotten).atexit = False
        try:
            completed, error = await self._outcome(handle)
        except Exception as mistake:
            log.exception("goal")
            completed = None
            error = SparseReconError(ErrorCode.INTERNAL, f"internal error, please report it: {mistake!r}")
        result = CompleteObject.Result()
        if completed is not None:
            result.code, result.object, result.message = int(ErrorCode.OK), completed, "completed"
            if handle.request.with_geometry:
                self._kept.keep(handle, result, self._results_config().max_bytes)
            handle.succeed()
            return result
        assert error is not None
        result.code, result.message = int(error.code), error.message
        if handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result

    async def _outcome(self, handle: ServerGoalHandle) -> tuple[Any, SparseReconError | None]:
        completions, why_not = self._active()
        if completions is None:
            return None, SparseReconError(ErrorCode.NOT_ACTIVE, why_not)
        if (refusal := self._room(completions)) is not None:
            return None, refusal
        goal = handle.request

        def run(job: Job) -> Any:
            request = request_of(goal, lambda box, frame, stamp_ns: completions.in_world(job, box, frame, stamp_ns))
            completed = completions.complete(job, request, lambda progress: self._tell(handle, progress, completions))
            return completed_object_message(completed, goal.with_geometry)

        key = bytes(handle.goal_id.uuid)
        job = Job(f"goal {clipped(goal.object_id) or _WAYS.get(goal.select_by, '')}".strip(), run, goal=True)
        self._jobs[key] = (completions, job)
        if handle.is_cancel_requested:
            job.cancel(ErrorCode.CANCELLED, "cancelled by the caller")
        try:
            return await self._calls.finished(completions.worker, job)
        finally:
            del self._jobs[key]

    def _room(self, completions: Completions) -> SparseReconError | None:
        """Apply the goal policy; return why this goal cannot be taken."""
        config, goals = completions.config, completions.worker.goals()
        if config.goal_policy == "preempt":
            for job in goals:
                completions.worker.cancel(job, ErrorCode.CANCELLED, "preempted by a newer goal (goal_policy = preempt)")
        elif config.goal_policy == "reject" and goals:
            return SparseReconError(
                ErrorCode.BUSY, f"{goals[0].name} is running and goal_policy is reject; send the goal again later"
            )
        elif len(goals) > config.max_waiting_goals:
            text = (
                f"{len(goals) - 1} goals wait already, accepted are max_waiting_goals = {config.max_waiting_goals}; "
                "send the goal again later"
            )
            return SparseReconError(ErrorCode.BUSY, text)
        return None

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        entry = self._jobs.get(bytes(handle.goal_id.uuid))
        if entry is not None:
            completions, job = entry
            # After this callback returns, so that the goal is in its cancelling state when its job ends.
            self._calls.call_soon(
                lambda: completions.worker.cancel(job, ErrorCode.CANCELLED, "cancelled by the caller")
            )
        return CancelResponse.ACCEPT

    def _tell(self, handle: ServerGoalHandle, progress: Progress, completions: Completions) -> None:
        handle.publish_feedback(to_message(CompleteObject.Feedback, feedback_fields(progress)))
        if progress.preview is not None:
            completions.preview(progress)


_WAYS = {
    Goal.SELECT_ONLY_OBJECT: "the only object",
    Goal.SELECT_BY_ID: "by id",
    Goal.SELECT_BY_BOX: "by box",
    Goal.SELECT_BY_LABEL: "by label",
}


def request_of(goal: Any, in_world: Callable[[Any, str, int], Any]) -> CompletionRequest:
    """Turn a goal into a request.

    Parameters
    ----------
    goal : CompleteObject.Goal; exactly the fields of its `select_by` are read.
    in_world : puts an `OrientedBox` of (frame_id, stamp_ns) into the world frame.

    Raises
    ------
    InputError
        USAGE if the goal contradicts itself.
    TransformError
        If the box cannot be put into the world frame.
    """
    if goal.select_by not in _WAYS:
        raise InputError(ErrorCode.USAGE, f"select_by is {goal.select_by}, accepted are {sorted(_WAYS)} (SELECT_*)")
    if goal.select_by == Goal.SELECT_BY_ID and not goal.object_id:
        raise InputError(
            ErrorCode.USAGE, "select_by is SELECT_BY_ID and object_id is empty; service get_objects lists ids"
        )
    if goal.seed < Goal.SEED_FROM_PARAMETER or not np.isfinite(goal.deadline_s):
        raise InputError(
            ErrorCode.USAGE,
            f"seed must be >= 0 or SEED_FROM_PARAMETER (-1), got {goal.seed}; deadline_s finite, got {goal.deadline_s}",
        )
    box = None
    if goal.select_by == Goal.SELECT_BY_BOX:
        where = goal.box_pose
        box = in_world(box_of(where.pose, goal.box_size_m), where.header.frame_id, stamp_ns_of(where))
    return CompletionRequest(
        object_id=goal.object_id if goal.select_by == Goal.SELECT_BY_ID else "",
        box=box,
        label=int(goal.label) if goal.select_by == Goal.SELECT_BY_LABEL else None,
        model=goal.model,
        seed=None if goal.seed == Goal.SEED_FROM_PARAMETER else int(goal.seed),
        max_views=int(goal.max_views),
        deadline_s=float(goal.deadline_s),
        ignore_before_ns=goal.ignore_before.sec * 10**9 + goal.ignore_before.nanosec,
    )
