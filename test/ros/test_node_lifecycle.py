"""The node's states, parameters and end."""

from __future__ import annotations

import resource
import signal
import time
from pathlib import Path

import pytest
from domains import new_domain
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters, SetParametersAtomically
from rig import ABORTED, ANSWER_S, NodeProcess, Robot
from sparse_recon.action import CompleteObject

from sparse_recon.errors import ErrorCode

Goal = CompleteObject.Goal
CYCLES = 20


def change(robot, transition):
    return robot.ask(ChangeState, "change_state", transition=Transition(id=transition)).success


def label(robot):
    return robot.ask(GetState, "get_state").current_state.label


def double(name, value):
    return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value))


def integer(name, value):
    return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value))


def text(name, value):
    return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value))


def inputs_of(robot):
    names = robot.node.get_subscriber_names_and_types_by_node("completion_node", "/")
    return {name for name, _ in names if name in ("/image", "/depth", "/camera_info", "/tf", "/tf_static")}


def test_states_go_up_and_down_and_each_says_what_it_is(started, recording):
    robot = started(autostart=False)
    assert label(robot) == "unconfigured"
    refused = robot.start()
    assert refused.result().code == ErrorCode.NOT_ACTIVE
    assert refused.status == ABORTED
    assert "activate" in refused.result().message
    assert change(robot, Transition.TRANSITION_CONFIGURE)
    assert not inputs_of(robot)
    assert change(robot, Transition.TRANSITION_ACTIVATE)
    robot.wait_for_node()
    # Other processes find subscriptions one by one.
    robot.spin_until(lambda: inputs_of(robot) == {"/image", "/depth", "/camera_info", "/tf", "/tf_static"})
    robot.send_until_kept(recording.frames[:1])
    assert change(robot, Transition.TRANSITION_DEACTIVATE)
    assert robot.start().result().code == ErrorCode.NOT_ACTIVE
    assert change(robot, Transition.TRANSITION_ACTIVATE)
    robot.spin_until(lambda: robot.state() == "active")
    kept = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result()
    assert (kept.code, kept.object.header.frame_id) == (ErrorCode.OK, "world")  # frames stayed, in their frame
    assert change(robot, Transition.TRANSITION_DEACTIVATE)
    assert change(robot, Transition.TRANSITION_CLEANUP)
    assert label(robot) == "unconfigured"
    assert change(robot, Transition.TRANSITION_CONFIGURE)
    assert change(robot, Transition.TRANSITION_ACTIVATE)
    robot.spin_until(lambda: robot.state() == "active")
    assert robot.start().result().code == ErrorCode.NO_FRAMES  # memory was given back


def test_a_goal_during_deactivate_ends_with_a_code(started, recording):
    robot = started(**{"evidence.grid": 64, "evidence.fine_grid": 144})
    robot.wait_for_node()
    robot.send_until_kept(recording.frames)
    running = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").accepted()
    robot.spin_until(lambda: robot.feedback)
    client = robot.node.create_client(ChangeState, "/completion_node/change_state")
    robot.spin_until(client.service_is_ready)
    leaving = client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE)))
    late = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0")
    assert running.result().code == ErrorCode.NOT_ACTIVE
    assert late.result().code == ErrorCode.NOT_ACTIVE
    robot.spin_until(leaving.done)
    assert change(robot, Transition.TRANSITION_ACTIVATE)
    robot.spin_until(lambda: robot.state() == "active")
    assert robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result().code == ErrorCode.OK


def test_cycles_leave_threads_memory_and_subscriptions_as_they_were(started):
    robot = started(autostart=False)
    steps = ("CONFIGURE", "ACTIVATE", "DEACTIVATE", "CLEANUP")

    def cycle():
        for step in steps:
            assert change(robot, getattr(Transition, f"TRANSITION_{step}")), step

    def figures():
        robot.diagnostics.clear()
        robot.spin_until(lambda: "node" in robot.diagnostics)
        pid = robot.process.process.pid
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        blocks = robot.figure("node", "allocated_blocks")
        return int(lines["Threads"]), len(inputs_of(robot)), blocks, int(lines["VmRSS"].split()[0])

    for _ in range(3):
        cycle()
    threads, subscriptions, blocks, rss_kb = figures()
    for _ in range(CYCLES):
        cycle()
    robot.spin_until(lambda: not inputs_of(robot))
    now = figures()
    assert now[:2] == (threads, subscriptions)
    assert now[2] < blocks + 200 * CYCLES  # a forgotten publisher or subscription holds about a thousand
    assert now[3] < rss_kb + 8_000


def test_parameters_are_described_validated_as_a_set_and_refused_with_name_value_and_range(started):
    robot = started(autostart=False)
    described = robot.ask(DescribeParameters, "describe_parameters", names=["depth.far_m", "goal_policy"]).descriptors
    assert "[m]" in described[0].description
    assert described[0].floating_point_range[0].to_value == 100.0
    assert "preempt" in described[1].additional_constraints

    def reason(kind, service, *given):
        answer = robot.ask(kind, service, parameters=list(given))
        return getattr(answer, "result", None) or answer.results[0]

    too_far = reason(SetParameters, "set_parameters", double("depth.far_m", 500.0))
    assert not too_far.successful
    assert all(part in too_far.reason for part in ("depth.far_m", "500", "100"))
    crossed = reason(SetParameters, "set_parameters", double("depth.far_m", 0.1))
    assert not crossed.successful
    assert "depth.near_m" in crossed.reason
    both = (double("depth.near_m", 3.5), double("depth.far_m", 6.0))
    assert reason(SetParametersAtomically, "set_parameters_atomically", *both).successful
    assert reason(SetParameters, "set_parameters", integer("depth.far_m", 5)).successful
    wrong = reason(SetParameters, "set_parameters", text("depth.far_m", "far"))
    assert not wrong.successful
    assert "depth.far_m" in wrong.reason
    assert not reason(SetParameters, "set_parameters", text("goal_policy", "maybe")).successful
    assert change(robot, Transition.TRANSITION_CONFIGURE)
    assert reason(SetParameters, "set_parameters", double("depth.near_m", 0.3)).successful
    fixed = reason(SetParameters, "set_parameters", text("world_frame", "map"))
    assert not fixed.successful
    assert "unconfigured" in fixed.reason
    values = robot.ask(GetParameters, "get_parameters", names=["depth.near_m", "world_frame"]).values
    assert (values[0].double_value, values[1].string_value) == (0.3, "")


def test_a_node_started_with_a_wrong_parameter_says_so_and_starts_once_it_is_mended(started):
    robot = started(**{"depth.far_m": 0.1, "max_waiting_goals": 3, "seed": 5})
    robot.spin_until(lambda: robot.diagnostics.get("node", {}).get("level") == "2", what="an error")
    assert robot.diagnostics["node"]["code"] == "7 CONFIG_INVALID"
    assert "depth.near_m" in robot.diagnostics["node"]["message"]
    assert robot.ask(SetParameters, "set_parameters", parameters=[integer("seed", 6)]).results[0].successful
    robot.spin_for(1.0)
    assert robot.diagnostics["node"]["code"] == "7 CONFIG_INVALID"  # another parameter mends nothing
    assert robot.ask(SetParameters, "set_parameters", parameters=[double("depth.far_m", 2.0)]).results[0].successful
    robot.spin_until(lambda: robot.state() == "active", what="recovery")
    values = robot.ask(GetParameters, "get_parameters", names=["depth.far_m", "seed", "max_waiting_goals"]).values
    assert (values[0].double_value, values[1].integer_value, values[2].integer_value) == (2.0, 6, 3)


def test_a_transition_that_the_state_does_not_allow_is_answered(started):
    robot = started(autostart=False)
    assert not change(robot, Transition.TRANSITION_ACTIVATE)
    assert change(robot, Transition.TRANSITION_CONFIGURE)
    assert not change(robot, Transition.TRANSITION_CONFIGURE)
    assert label(robot) == "inactive"


def test_activation_that_fails_leaves_no_subscriptions(started):
    robot = started(use_detections=True)
    try:
        import vision_msgs.msg  # noqa: F401
    except ImportError:
        robot.spin_until(lambda: robot.diagnostics.get("node", {}).get("code") == "6 DEPENDENCY_MISSING")
        robot.spin_for(4.0)
        assert not inputs_of(robot)
        assert robot.process.log.count("cannot activate") == 1  # it is tried again every 3 s, and said every minute
        assert robot.diagnostics["node"]["code"] == "6 DEPENDENCY_MISSING"
    else:
        pytest.skip("vision_msgs is installed, so that activation succeeds")


def test_a_client_is_told_when_the_node_ends_during_its_goal(started, recording):
    robot = started(**{"evidence.grid": 64, "evidence.fine_grid": 144})
    robot.wait_for_node()
    robot.send_until_kept(recording.frames)
    call = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").accepted()
    robot.spin_until(lambda: robot.feedback)
    robot.process.process.send_signal(signal.SIGTERM)
    assert call.result().code == ErrorCode.NOT_ACTIVE
    assert robot.process.process.wait(ANSWER_S) == 0


def hears_signals(node):
    """Return whether a program has set what it does at SIGTERM, which it does before it loads anything."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines())
    return int(lines["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1


def children_s():
    """Return the processor seconds of all programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("state", ["starting", "unconfigured", "inactive", "active", "completing"])
def test_signals_end_it_with_zero_in_every_state(recording, state, number):
    domain = new_domain()
    arguments = ["-p", f"autostart:={'true' if state in ('active', 'completing') else 'false'}"]
    with NodeProcess(domain, [*arguments, "-p", "transform_source:=tree"]) as node:
        if state == "starting":
            while not hears_signals(node):
                time.sleep(0.01)
        else:
            with Robot(domain) as robot:
                robot.spin_until(lambda: robot.state())
                if state == "inactive":
                    assert change(robot, Transition.TRANSITION_CONFIGURE)
                if state in ("active", "completing"):
                    robot.wait_for_node()
                if state == "completing":
                    robot.send_until_kept(recording.frames)
                    robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").accepted()
                    robot.spin_until(lambda: robot.feedback)
        begun_s = children_s() + node.processor_s
        assert node.end(number) == 0, node.log
        assert children_s() - begun_s < 5.0
        assert "Traceback" not in node.log
