"""Forgetting over DDS, and goals that ignore older frames."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Vector3
from rig import Robot, set_stamp
from sparse_recon.action import CompleteObject
from sparse_recon.srv import Forget, GetObjects

from sparse_recon.errors import ErrorCode

Goal = CompleteObject.Goal
NAMES = ["object_0", "object_1", "object_2"]


def listed(robot) -> list[str]:
    return sorted(item.object_id for item in robot.ask(GetObjects, "get_objects").candidates)


def complete_all(robot) -> None:
    for name in NAMES:
        assert robot.start(select_by=Goal.SELECT_BY_ID, object_id=name).result().code == ErrorCode.OK
    robot.spin_until(lambda: sorted(robot.known_objects) == NAMES, what="three objects")


def drawn(robot) -> list[str]:
    return sorted({namespace for namespace, _ in robot.known_markers})


def test_what_is_forgotten_leaves_list_and_topics_and_comes_back_with_a_newer_frame(robot, recording):
    robot.send_until_kept(recording.frames[:3])
    complete_all(robot)
    answer = robot.ask(Forget, "forget", object_ids=["object_1"])
    assert (answer.success, answer.code, answer.forgotten_ids) == (True, ErrorCode.OK, ["object_1"])
    left = ["object_0", "object_2"]
    assert listed(robot) == left
    robot.spin_until(lambda: sorted(robot.known_objects) == drawn(robot) == left, what="the removal")
    robot.spin_until(lambda: "object_1 was forgotten" in robot.diagnostics["worker"]["removed"], what="the reason")
    with Robot(robot.domain) as late:
        late.spin_until(lambda: sorted(late.known_objects) == drawn(late) == left, what="two objects")
    assert robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_1").result().code == ErrorCode.OBJECT_NOT_FOUND
    robot.send_until_kept(recording.frames[3:4])
    assert listed(robot) == [*left, "object_3"]
    again = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_3").result()
    assert (again.code, again.object.header.stamp) == (ErrorCode.OK, stamp_of(recording.frames[3]))


def stamp_of(frame) -> Time:
    stamp = Time()
    set_stamp(stamp, frame.stamp_ns)
    return stamp


def test_a_region_in_a_frame_of_the_robot_is_forgotten(robot, recording):
    robot.send_until_kept(recording.frames[:2])
    complete_all(robot)
    where = robot.known_objects["object_2"]
    request = Forget.Request()
    request.region_pose.header.frame_id = "world"
    request.region_pose.pose = where.pose
    edges = {axis: getattr(where.size_m, axis) + 0.02 for axis in "xyz"}
    answer = robot.ask(Forget, "forget", region_pose=request.region_pose, region_size_m=Vector3(**edges))
    assert (answer.success, answer.forgotten_ids) == (True, ["object_2"])
    robot.spin_until(lambda: sorted(robot.known_objects) == ["object_0", "object_1"], what="the removal")
    request.region_pose.header.frame_id = "nobody_knows_this"
    answer = robot.ask(Forget, "forget", region_pose=request.region_pose, region_size_m=Vector3(**edges))
    assert (answer.success, answer.code) == (False, ErrorCode.TF_FRAME_UNKNOWN)


def test_nothing_is_forgotten_where_the_request_is_wrong(robot, recording):
    robot.send_until_kept(recording.frames[:2])
    complete_all(robot)
    for fields, code in (
        ({}, ErrorCode.USAGE),
        ({"object_ids": [""]}, ErrorCode.USAGE),
        ({"object_ids": ["object_0", "object_9"]}, ErrorCode.OBJECT_NOT_FOUND),
        ({"region_size_m": Vector3(x=1.0, y=-1.0, z=1.0)}, ErrorCode.USAGE),
    ):
        answer = robot.ask(Forget, "forget", **fields)
        assert (answer.success, answer.code, answer.forgotten_ids) == (False, code, []), fields
    assert listed(robot) == NAMES
    assert sorted(robot.known_objects) == NAMES


def test_a_node_that_is_not_active_forgets_nothing_and_says_so(started):
    robot = started(autostart=False)
    robot.spin_until(lambda: robot.state() == "unconfigured", what="the node")
    answer = robot.ask(Forget, "forget", object_ids=["object_0"])
    assert (answer.success, answer.code) == (False, ErrorCode.NOT_ACTIVE)


def test_a_goal_ignores_frames_that_are_older_than_it_says(robot, recording):
    robot.send_until_kept(recording.frames)
    by_id = {"select_by": Goal.SELECT_BY_ID, "object_id": "object_1"}
    everything = robot.start(**by_id).result()
    assert (everything.code, everything.object.quality.views_used) == (ErrorCode.OK, 5)
    later = robot.start(**by_id, ignore_before=stamp_of(recording.frames[3])).result()
    assert (later.code, later.object.quality.views_used) == (ErrorCode.OK, 2)
    after = Time(sec=recording.frames[-1].stamp_ns // 10**9 + 60)
    none = robot.start(**by_id, ignore_before=after).result()
    assert none.code == ErrorCode.NO_FRAMES and "ignore_before" in none.message
    assert robot.start(**by_id, ignore_before=Time(sec=-1)).result().code == ErrorCode.USAGE
