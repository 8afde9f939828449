"""Results that are asked for late, of goals that never were, and of very many goals at once."""

from __future__ import annotations

import os
import uuid

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.qos import QoSProfile
from rig import ABORTED, SUCCEEDED, Robot
from sparse_recon.action import CompleteObject
from sparse_recon.srv import GetObjects
from unique_identifier_msgs.msg import UUID

from sparse_recon.errors import ErrorCode

Goal = CompleteObject.Goal
UNKNOWN = GoalStatus.STATUS_UNKNOWN
OBJECT_0 = {"select_by": Goal.SELECT_BY_ID, "object_id": "object_0"}
MANY = int(os.environ.get("SPARSE_RECON_MANY_GOALS", "300"))


class Questions:
    """Asks for results of any goal id, as a client does that was started anew and has only the id."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        kind = CompleteObject.Impl.GetResultService
        self._client = robot.node.create_client(kind, "/completion_node/complete/_action/get_result")
        robot.spin_until(self._client.service_is_ready, what="get_result")

    def result(self, goal_id: bytes):
        request = CompleteObject.Impl.GetResultService.Request(goal_id=UUID(uuid=list(goal_id)))
        future = self._client.call_async(request)
        self._robot.spin_until(future.done, what="the result")
        return future.result()


def goal_id(call) -> bytes:
    return bytes(call.accepted()._handle.goal_id.uuid)


def test_the_result_of_a_goal_that_never_was_reads_as_no_answer(robot):
    answer = Questions(robot).result(uuid.uuid4().bytes)
    assert (answer.status, answer.result.code) == (UNKNOWN, ErrorCode.UNKNOWN)
    assert answer.result.code != ErrorCode.OK


def test_a_late_question_is_answered_until_the_result_expires_and_never_reads_as_ok_after(started, recording):
    robot = started(results__keep_s=3.0)
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:2])
    call = robot.start(**OBJECT_0)
    assert call.result().code == ErrorCode.OK
    with Robot(robot.domain) as other:
        questions = Questions(other)
        late = questions.result(goal_id(call))  # at once: it takes a busy machine less than three seconds
        answers = {(late.status, late.result.code)}
        while (SUCCEEDED, ErrorCode.OK) in {(late.status, late.result.code)}:
            other.spin_for(0.2)
            late = questions.result(goal_id(call))
            answers.add((late.status, late.result.code))
    assert answers - {(SUCCEEDED, ErrorCode.OK)} == {(UNKNOWN, ErrorCode.UNKNOWN)}


def test_results_stay_for_a_quarter_of_an_hour_by_default(robot, recording):
    robot.send_until_kept(recording.frames[:2])
    calls = [robot.start(**OBJECT_0, with_geometry=True) for _ in range(2)]
    for call in calls:
        call.result()
    robot.spin_for(11.0)  # longer than rcl's own default since Jazzy
    late = Questions(robot).result(goal_id(calls[0]))
    assert (late.status, late.result.code) == (SUCCEEDED, ErrorCode.OK)
    assert len(late.result.object.nominal_mesh.triangles) > 0


def test_the_oldest_results_lose_their_geometry_where_all_need_too_much_memory(started, recording):
    robot = started(results__max_bytes=0)
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:2])
    questions = Questions(robot)
    first = robot.start(**OBJECT_0, with_geometry=True)
    whole = first.result()
    assert len(questions.result(goal_id(first)).result.object.cloud.data) == len(whole.object.cloud.data) > 0
    second = robot.start(**OBJECT_0, with_geometry=True)
    assert len(second.result().object.cloud.data) > 0
    late = questions.result(goal_id(first))
    assert (late.status, late.result.code) == (SUCCEEDED, ErrorCode.OK)
    assert "results.max_bytes" in late.result.message
    assert not late.result.object.cloud.data and not late.result.object.nominal_mesh.triangles
    for name in ("header", "object_id", "model", "seed", "pose", "size_m", "quality"):
        assert getattr(late.result.object, name) == getattr(whole.object, name), name
    assert len(questions.result(goal_id(second)).result.object.cloud.data) > 0


def test_geometry_comes_with_results_and_answers_only_where_it_is_asked_for(robot, recording):
    robot.send_until_kept(recording.frames[:2])
    light = robot.start(**OBJECT_0).result().object
    assert light.object_id == "object_0" and light.size_m.x > 0 and light.quality.views_used == 2
    assert not light.cloud.data and not light.observed_cloud.data and not light.vertex_confidence
    assert not light.nominal_mesh.triangles and not light.conservative_mesh.vertices and not light.collision_parts
    whole = robot.start(**OBJECT_0, with_geometry=True).result().object
    assert whole.cloud.data and whole.nominal_mesh.triangles and whole.conservative_mesh.triangles
    robot.spin_until(lambda: robot.known_objects and robot.known_objects["object_0"].cloud.data, what="the topic")
    (listed,) = robot.ask(GetObjects, "get_objects", with_completed=True).completed
    assert listed.object_id == "object_0" and not listed.cloud.data and not listed.nominal_mesh.triangles
    (listed,) = robot.ask(GetObjects, "get_objects", with_completed=True, with_geometry=True).completed
    assert bytes(listed.cloud.data) == bytes(whole.cloud.data)


def test_how_long_results_stay_is_read_at_the_start_and_the_bytes_at_any_time(robot):
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
    from rcl_interfaces.srv import SetParameters

    def answer(name, **value):
        parameter = Parameter(name=name, value=ParameterValue(**value))
        return robot.ask(SetParameters, "set_parameters", parameters=[parameter]).results[0]

    keep = answer("results.keep_s", type=ParameterType.PARAMETER_DOUBLE, double_value=5.0)
    assert not keep.successful and "starts" in keep.reason
    assert answer("results.max_bytes", type=ParameterType.PARAMETER_INTEGER, integer_value=2**28).successful


def test_no_more_goals_are_remembered_than_allowed_and_others_are_told_so(started):
    robot = started(results__max_goals=3, results__keep_s=5.0)
    robot.wait_for_node()
    assert [robot.start().result().code for _ in range(3)] == 3 * [ErrorCode.NO_FRAMES]

    def accepted() -> bool:
        sent = robot.complete.send_goal_async(Goal())
        robot.spin_until(sent.done, what="an answer")
        return bool(sent.result().accepted)

    assert not accepted()
    assert "results.max_goals" in robot.process.log
    robot.spin_until(accepted, what="room when results have expired")


def test_very_many_goals_at_once_are_all_answered(started, recording):
    robot = started(max_waiting_goals=2)
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:2])
    assert robot.start(**OBJECT_0).result().code == ErrorCode.OK  # what the first completion allocates is there
    before = robot.figure("memory", "rss_bytes")
    deep = QoSProfile(depth=2 * MANY)
    client = ActionClient(
        robot.node,
        CompleteObject,
        "/completion_node/complete",
        goal_service_qos_profile=deep,
        result_service_qos_profile=deep,
    )
    robot.spin_until(client.server_is_ready, what="the action server")
    sent = [client.send_goal_async(Goal(**OBJECT_0)) for _ in range(MANY)]
    robot.spin_until(lambda: all(future.done() for future in sent), what="acceptance of all goals")
    asked = [future.result().get_result_async() for future in sent if future.result().accepted]
    assert len(asked) == MANY
    robot.spin_until(lambda: all(future.done() for future in asked), what="all results")
    answers = [future.result() for future in asked]
    codes = [answer.result.code for answer in answers]
    assert codes.count(ErrorCode.OK) + codes.count(ErrorCode.BUSY) == MANY
    assert codes.count(ErrorCode.OK) >= 3
    assert {answer.status for answer in answers} == {SUCCEEDED, ABORTED}
    robot.spin_through_diagnostics()
    grown = robot.figure("memory", "rss_bytes") - before
    print(f"{MANY} goals, {codes.count(ErrorCode.OK)} completed: {grown / 1e6:.1f} MB more")
    assert grown < 60e6 + 60e3 * MANY
    client.destroy()
