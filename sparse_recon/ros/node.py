"""The lifecycle node: camera frames and transforms in, completed objects out. It converts, calls, publishes."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rclpy.clock import Clock, ClockType, JumpThreshold, ROSClock
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from sparse_recon.config.parameters import Parameter
from sparse_recon.errors import ErrorCode, SparseReconError
from sparse_recon.machine.resident_memory import give_back
from sparse_recon.ros.camera_inputs import CallbackTimes, CameraInputs
from sparse_recon.ros.completions import Completions
from sparse_recon.ros.diagnostics import Diagnostics, Stopwatch
from sparse_recon.ros.executor_calls import ExecutorCalls
from sparse_recon.ros.goals import CompleteAction
from sparse_recon.ros.health import (
    ERROR,
    OK,
    Health,
    ingest_health,
    input_health,
    listing_health,
    memory_health,
    output_health,
    process_figures,
    transform_health,
    worker_health,
)
from sparse_recon.ros.ingest import Ingest
from sparse_recon.ros.log import RepeatedSentences
from sparse_recon.ros.node_config import NodeConfig
from sparse_recon.ros.node_parameters import NodeParameters
from sparse_recon.ros.outputs import Outputs
from sparse_recon.ros.services import Services
from sparse_recon.ros.tf2_transforms import Tf2Transforms
from sparse_recon.ros.transform_subscriptions import TransformSubscriptions, transform_source
from sparse_recon.ros.worker import Job

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_STOP_S = 2.0  # threads get this long to end
_RETRY_S = 3.0  # a node that starts itself tries again after this
_TICK_S = 0.5


class CompletionNode(LifecycleNode):
    """See docs/node.md for how it behaves, docs/interfaces.md for topics, services and the action.

    Unconfigured: parameters, action, services (which say that the node is not active), diagnostics.
    Inactive: publishers, session, loaded model. Active: subscriptions and the thread that takes their messages.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__("completion_node", **how)
        self.stopping = threading.Event()
        self._threads_ended = True  # false for good once one could not be ended, as while it loads a library
        self._completions: Completions | None = None
        self._outputs: Outputs | None = None
        self._ingest: Ingest | None = None
        self._inputs: list[CameraInputs] = []
        self._transforms: TransformSubscriptions | None = None
        self._buffer: Tf2Transforms | None = None
        self._times = CallbackTimes()
        self._cpu = Stopwatch()
        self._state_problem = Health("node", message="unconfigured")
        self._model_health = Health("model", message="not loaded")
        self._starts_itself, self._retry_at_s = True, 0.0
        self._ticked = 0, time.monotonic()  # when simulated time was last seen to go on
        self._repeated = RepeatedSentences()  # a start that fails is tried again every few seconds
        self._node_parameters = NodeParameters(self, self._may_change, self._changed)
        self.executor_calls = ExecutorCalls(self)
        self._complete_action = CompleteAction(self, self.executor_calls, self._active, lambda: self.config.results)
        self._node_services = Services(self, self.executor_calls, self._active, self._forget_frames)
        self._diagnostics = Diagnostics(self, self.config.diagnostics_period_s, self._health)
        _guard_transitions(self)
        self._tick = self.create_timer(_TICK_S, self._go_on, clock=Clock(clock_type=ClockType.STEADY_TIME))
        backwards = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = self.get_clock().create_jump_callback(backwards, post_callback=self._clock_jumped)

    @property
    def config(self) -> NodeConfig:
        """The parameters in force."""
        return self._node_parameters.config

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make publishers and the session and load the model; FAILURE leaves the node unconfigured, with the reason."""
        try:
            if self._node_parameters.problem:
                raise SparseReconError(ErrorCode.CONFIG_INVALID, self._node_parameters.problem)
            self._outputs = Outputs(self, self.config.footprints, self.config.max_objects, self.config.collision_faces)
            self._completions = Completions(
                self.config, self._outputs, now_s=self._now_s, why_no_frames=self._why_no_frames
            )
            self._load_model(self._completions)
        except Exception as error:
            self._refused("configure", error)
            self._clean_up()
            return FAILURE
        self._state_problem = Health("node", message="inactive: activate it")
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe; FAILURE leaves the node inactive, with the reason."""
        try:
            self._subscribe()
        except Exception as error:
            self._unsubscribe()
            self._refused("activate", error)
            return FAILURE
        self._state_problem = Health("node", message="active")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking messages and cancel what runs; frames and results stay."""
        self._starts_itself = False
        if self._completions is not None:
            self._completions.worker.cancel_all(ErrorCode.NOT_ACTIVE, "the node was deactivated")
        self._unsubscribe()
        self._state_problem = Health("node", message="inactive: activate it")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give memory back."""
        self._starts_itself = False
        self._clean_up()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End everything."""
        self._starts_itself = False
        self._clean_up()
        self._state_problem = Health("node", message="finalized")
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured."""
        self._clean_up()
        return SUCCESS

    def start_itself(self) -> None:
        """Configure and activate, if parameter `autostart` says so, once; what fails is tried again later."""
        wanted = self._starts_itself and self.config.autostart and not self.stopping.is_set()
        if not wanted or time.monotonic() < self._retry_at_s:
            return
        label = self._state_machine.current_state[1]
        if label == "unconfigured" and self.trigger_configure() == SUCCESS:
            label = "inactive"
        if label == "inactive" and self.trigger_activate() == SUCCESS:
            self._starts_itself = False
            self._repeated.forget()
        self._retry_at_s = time.monotonic() + _RETRY_S

    @property
    def calls_running(self) -> int:
        """Goals and service calls whose clients still wait for an end."""
        return max(self._complete_action.running, self.executor_calls.waiting)

    def wind_down(self) -> None:
        """Take no more work and end what runs; the executor then has results to send."""
        self.stopping.set()
        if self._completions is not None:
            self._completions.worker.cancel_all(ErrorCode.NOT_ACTIVE, "the node is stopping")

    def close(self) -> bool:
        """End all threads; False if one of them could not be ended in time."""
        self._jumps.unregister()
        return self._clean_up()

    def _go_on(self) -> None:
        """Do what waits for its time."""
        try:
            self.start_itself()
            if self._ingest is not None and self._completions is not None:
                self._completions.passes.go_on(self.config)
                self._completions.show_late_viewers()
        except Exception as error:
            self._refused("go on", error)

    def _load_model(self, completions: Completions) -> None:
        def tell(fraction: float, sentence: str) -> None:
            self._model_health.message = f"loading {100 * fraction:.0f} %: {sentence}"
            if text := self._repeated.due(self._model_health.message):
                self.get_logger().info(text)

        loaded, problems = threading.Event(), []

        def done(result: Any, error: SparseReconError | None) -> None:
            problems.append(error)
            loaded.set()

        name, begun_s = self.config.model, time.monotonic()
        self._model_health = Health("model", message="loading", values={"name": name})
        completions.worker.submit(Job("load model", lambda job: completions.session.load(name, tell), done))
        while not loaded.wait(0.2):
            self._diagnostics.publish()
            if self.stopping.is_set():
                raise SparseReconError(ErrorCode.CANCELLED, "the node is stopping")
        if problems[0] is not None:
            self._model_health.worsen(ERROR, problems[0].code, problems[0].message)
            raise problems[0]
        # What is loaded stays: the collector's pauses, in which no callback runs, need not go through it again.
        gc.collect()
        gc.freeze()
        seconds = time.monotonic() - begun_s
        self._model_health = Health(
            "model", message=f"{name} is loaded", values={"name": name, "load_seconds": seconds}
        )

    def _subscribe(self) -> None:
        config, completions = self.config, self._completions
        assert completions is not None
        self._times = CallbackTimes()
        transforms = transform_source(config.transform_source, self, config.assembly)
        if isinstance(transforms, Tf2Transforms):
            self._buffer = transforms

        def take(camera: str, role: str, message: Any) -> None:
            if self._ingest is not None:
                self._ingest.put(camera, role, message)

        for name in config.camera_names or ("",):
            self._inputs.append(CameraInputs(self, name, config, take, self._times))
        self._ingest = completions.ingest = Ingest(
            config,
            [inputs.streams for inputs in self._inputs],
            transforms,
            completions.session,
            completions.memory,
            world_frame=completions.world_frame,
            post=completions.post,
        )
        self._transforms = TransformSubscriptions(self, config.transform_namespaces, self._ingest.put_transforms)

    def _unsubscribe(self) -> None:
        for inputs in self._inputs:
            inputs.destroy()
        self._inputs = []
        if self._transforms is not None:
            self._transforms.destroy()
            self._transforms = None
        if self._buffer is not None:
            self._buffer.destroy()
            self._buffer = None
        if self._ingest is not None:
            self._ingest.stop(_STOP_S)
            self._ingest = None
        if self._completions is not None:
            self._completions.leave_input()

    def _clean_up(self) -> bool:
        self._unsubscribe()
        if self._completions is not None:
            self._threads_ended &= self._completions.worker.stop(_STOP_S)
            self._completions = None
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None
        if self._state_problem.level == OK:
            self._state_problem = Health("node", message="unconfigured")
        if self._model_health.level == OK:
            self._model_health = Health("model", message="not loaded")
        gc.unfreeze()
        give_back()
        return self._threads_ended

    def _refused(self, what: str, error: Exception) -> None:
        if not isinstance(error, SparseReconError):
            error = SparseReconError(ErrorCode.INTERNAL, f"internal error, please report it: {error!r}")
        self._state_problem = Health("node", ERROR, error.code, f"cannot {what}: {error.message}")
        if text := self._repeated.due(f"[{int(error.code)} {error.code.name}] cannot {what}: {error.message}"):
            self.get_logger().error(text)

    def _active(self) -> tuple[Completions | None, str]:
        if self._ingest is not None and self._completions is not None and not self.stopping.is_set():
            return self._completions, ""
        return None, f"the node is not active ({self._state_problem.message}); activate it and ask again"

    def _forget_frames(self) -> int:
        return self._ingest.restart() if self._ingest is not None else 0

    def _clock_jumped(self, jump: Any) -> None:
        if self._ingest is not None and jump.delta.nanoseconds < 0:
            self._ingest.clock_jumped(self.get_clock().now().nanoseconds)

    def _may_change(self, parameter: Parameter) -> str:
        if parameter.name == "results.keep_s":
            return f"{parameter.name} is read when the node starts: give it in the parameters of its process"
        if self._state_machine.current_state[1] == "unconfigured":
            return ""
        return (
            f"{parameter.name} can be changed only while the node is unconfigured: deactivate it and clean it up first"
        )

    def _changed(self, config: NodeConfig) -> None:
        if self._completions is not None:
            self._completions.configure(config)
        self._diagnostics.set_period(config.diagnostics_period_s)

    def _now_s(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _why_no_frames(self) -> str:
        sentences = [health.message for health in self._input_health() if health.level != OK]
        return "; ".join(sentences) or "wait for the camera"

    def _input_health(self) -> list[Health]:
        ingest = self._ingest
        if ingest is None:
            return []
        return [
            input_health(
                inputs, ingest, self.config, self._published_types, self._clock_problem(), self._clock_stands()
            )
            for inputs in self._inputs
        ]

    def _published_types(self, topic: str) -> list[str]:
        return [publisher.topic_type for publisher in self.get_publishers_info_by_topic(topic)]

    def _clock_problem(self) -> str:
        clock = self.get_clock()
        if isinstance(clock, ROSClock) and clock.ros_time_is_active and clock.now().nanoseconds == 0:
            return "use_sim_time is true and nobody publishes /clock; play the recording with --clock, or set it false"
        return ""

    def _clock_stands(self) -> bool:
        """Return whether simulated time has not gone on for `watchdog_s`."""
        clock, now_s = self.get_clock(), time.monotonic()
        if clock.now().nanoseconds != self._ticked[0]:
            self._ticked = clock.now().nanoseconds, now_s
        simulated = isinstance(clock, ROSClock) and clock.ros_time_is_active
        return simulated and now_s - self._ticked[1] > self.config.watchdog_s

    def _health(self) -> Iterable[Health]:
        """Return the health of all parts."""
        yield replace(self._state_problem, values=process_figures())
        ingest, completions = self._ingest, self._completions
        if ingest is not None:
            yield from self._input_health()
            if self._transforms is not None:
                yield transform_health(ingest, self.config, self._transforms)
            threads_s = ingest.counts.cpu_s + (self._transforms.cpu_s if self._transforms is not None else 0.0)
            cpu_percent = self._cpu.percent(time.thread_time() + threads_s)
            yield ingest_health(ingest, self._times.percentiles_ms(), cpu_percent)
        if completions is not None and self._outputs is not None:
            yield output_health(self._outputs)
            yield worker_health(completions)
            yield listing_health(completions.listing)
            yield memory_health(completions)
        yield self._model_health


def _guard_transitions(node: LifecycleNode) -> None:
    """Answer a transition that the state does not allow: rclpy raises in the callback, and nobody answers."""
    service = getattr(node, "_service_change_state", None)
    if service is None:
        return
    change_state = service.callback

    def answer(request: Any, response: Any) -> Any:
        try:
            return change_state(request, response)
        except Exception as error:
            node.get_logger().warning(f"transition {request.transition.label or request.transition.id}: {error}")
            response.success = False
            return response

    service.callback = answer
