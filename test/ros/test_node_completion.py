"""The node as a robot uses it: frames in, objects out, over DDS between two processes."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from domains import new_domain
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rig import ABORTED, ANSWER_S, BEST_EFFORT, CANCELED, LOST_S, SUCCEEDED, Robot
from scipy.spatial.transform import Rotation
from sparse_recon.action import CompleteObject
from sparse_recon.srv import GetObjects, Reset, SaveObjects, SetRegion
from visualization_msgs.msg import Marker

from sparse_recon.complete.compact.shipped import NANO_FILE
from sparse_recon.errors import ErrorCode
from sparse_recon.machine.share import share_folder
from sparse_recon.messages.fields import unpack_cloud
from sparse_recon.messages.markers import MESH
from sparse_recon.ros.convert import from_message

Goal = CompleteObject.Goal


def test_frames_become_objects_on_every_topic(robot, recording):
    robot.send_until_kept(recording.frames)
    listed = robot.ask(GetObjects, "get_objects")
    assert (listed.success, listed.code, listed.header.frame_id) == (True, ErrorCode.OK, "world")
    assert sorted(item.object_id for item in listed.candidates) == ["object_0", "object_1", "object_2"]

    call = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_1", with_geometry=True)
    result = call.result()
    assert (result.code, result.message, call.status) == (ErrorCode.OK, "completed", SUCCEEDED)
    cloud = unpack_cloud(from_message(result.object.cloud))
    assert set(np.unique(cloud["provenance"])) == {1, 2}
    assert result.object.header.frame_id == "world"

    robot.spin_until(lambda: list(robot.known_objects) == ["object_1"] and robot.clouds and robot.footprints)
    robot.spin_until(lambda: ("object_1", MESH) in robot.known_markers)
    assert bytes(robot.clouds[-1].data) == bytes(result.object.cloud.data)
    assert len(robot.known_markers["object_1", MESH].points) == 3 * len(result.object.nominal_mesh.triangles)
    assert 100 in robot.footprints[-1].data
    stages = [item.stage for item in robot.feedback]
    assert {"observe", "complete", "mesh", "done"} <= set(stages)
    fractions = [item.fraction for item in robot.feedback]
    assert fractions == sorted(fractions)


def test_the_only_object_of_a_region_is_found_and_none_elsewhere(robot, recording):
    robot.send_until_kept(recording.frames)
    assert robot.start().result().code == ErrorCode.OBJECT_NOT_FOUND  # three objects: which one?
    target = robot.ask(GetObjects, "get_objects").candidates[2]
    region = SetRegion.Request()
    region.pose.header.frame_id = "world"
    region.pose.pose = target.pose
    edges = {axis: 2 * getattr(target.size_m, axis) for axis in "xyz"}
    for axis, size in edges.items():
        setattr(region.size_m, axis, size)
    answer = robot.ask(SetRegion, "set_region", pose=region.pose, size_m=region.size_m)
    assert (answer.success, answer.message) == (True, "done")
    assert len(robot.ask(GetObjects, "get_objects").candidates) == 1
    assert robot.start().result().code == ErrorCode.OK
    region.pose.pose.position.z += 5.0
    robot.ask(SetRegion, "set_region", pose=region.pose, size_m=region.size_m)
    assert robot.start().result().code == ErrorCode.OBJECT_NOT_FOUND
    robot.ask(SetRegion, "set_region")
    assert len(robot.ask(GetObjects, "get_objects").candidates) == 3


def test_up_is_found_where_the_world_is_the_camera_itself(started, recording):
    frame = recording.frames[0]
    robot = started(world_frame=f"{frame.camera}_optical")
    robot.wait_for_node()
    robot.send_until_kept([frame])
    listed = robot.ask(GetObjects, "get_objects").candidates
    assert listed
    up_cam = frame.T_world_cam[2, :3]
    for item in listed:
        q = item.pose.orientation
        box_up = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()[:, 2]
        assert box_up @ up_cam > 0.99


def test_objects_by_box_in_a_moving_frame_and_by_label(started, recording):
    robot = started(use_mask=True)
    robot.wait_for_node(("image", "depth", "info", "mask"))
    robot.send_until_kept(recording.frames)
    by_label = robot.start(select_by=Goal.SELECT_BY_LABEL, label=2).result()
    assert by_label.code == ErrorCode.OK
    goal = Goal(select_by=Goal.SELECT_BY_BOX)
    goal.box_pose.header.frame_id = "camera_optical"  # stamp 0: where the camera is now
    T_cam_world = np.linalg.inv(recording.frames[-1].T_world_cam)
    centre = by_label.object.pose.position
    x, y, z, _ = T_cam_world @ np.array([centre.x, centre.y, centre.z, 1.0])
    goal.box_pose.pose.position.x, goal.box_pose.pose.position.y, goal.box_pose.pose.position.z = x, y, z
    goal.box_size_m.x = goal.box_size_m.y = goal.box_size_m.z = 0.2
    by_box = robot.start(select_by=goal.select_by, box_pose=goal.box_pose, box_size_m=goal.box_size_m).result()
    assert (by_box.code, by_box.object.object_id) == (ErrorCode.OK, "box_0")
    found = by_box.object.pose.position
    assert np.allclose((found.x, found.y, found.z), (centre.x, centre.y, centre.z), atol=0.03)


def test_who_comes_later_receives_the_last_objects(robot, recording):
    robot.send_until_kept(recording.frames)
    assert robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result().code == ErrorCode.OK
    with Robot(robot.domain) as late:
        late.spin_until(lambda: list(late.known_objects) == ["object_0"] and late.clouds and late.footprints)
        late.spin_until(lambda: {namespace for namespace, _ in late.known_markers} == {"object_0"})


def test_hypotheses_go_out_with_objects_and_with_results_that_ask_for_geometry(started, recording):
    weights = str(share_folder("models") / NANO_FILE)
    robot = started(model="compact", compact__weights=weights, compact__samples=2, compact__steps=2)
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:1])
    result = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0", with_geometry=True).result()
    assert result.code == ErrorCode.OK
    assert [h.weight for h in result.object.hypotheses] == [0.5, 0.5]
    assert all(0 < len(h.mesh.triangles) <= 3000 for h in result.object.hypotheses)
    robot.spin_until(lambda: "object_0" in robot.known_objects)
    assert robot.known_objects["object_0"].hypotheses == result.object.hypotheses


def test_of_three_objects_only_the_one_completed_again_is_sent_again(robot, recording):
    robot.send_until_kept(recording.frames[:2])
    for name in ("object_0", "object_1", "object_2"):
        assert robot.start(select_by=Goal.SELECT_BY_ID, object_id=name).result().code == ErrorCode.OK
    robot.spin_until(lambda: len(robot.known_objects) == 3 and len(robot.known_markers) == 9)
    objects, markers = len(robot.objects), len(robot.markers)
    assert robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_1", seed=5).result().code == ErrorCode.OK
    robot.spin_until(lambda: robot.known_objects["object_1"].seed == 5)
    robot.spin_until(lambda: len(robot.markers) > markers)
    assert [[item.object_id for item in message.objects] for message in robot.objects[objects:]] == [["object_1"]]
    assert [{marker.ns for marker in message.markers} for message in robot.markers[markers:]] == [{"object_1"}]
    with Robot(robot.domain) as late:
        late.spin_until(lambda: len(late.known_objects) == 3 and len(late.known_markers) == 9)


def test_a_node_started_in_the_middle_of_the_stream_completes_too(started, recording):
    robot = started()
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:2])
    assert robot.process.end() == 0
    other = started(robot.domain)
    other.wait_for_node()
    other.send_until_kept(recording.frames[2:])
    assert other.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result().code == ErrorCode.OK


def test_two_nodes_in_two_namespaces_do_not_disturb_each_other(started, recording):
    domain = new_domain()
    left = started(domain, namespace="/left")
    right = started(domain, namespace="/right")
    left.wait_for_node()
    right.wait_for_node()
    left.send_until_kept(recording.frames[:3])
    assert left.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result().code == ErrorCode.OK
    assert right.start().result().code == ErrorCode.NO_FRAMES
    left.spin_until(lambda: left.objects)
    right.spin_for(0.5)
    assert not [array for array in right.objects if array.objects]


@pytest.mark.parametrize("reliability", list(QoSReliabilityPolicy)[1:3])
@pytest.mark.parametrize("durability", list(QoSDurabilityPolicy)[1:3])
def test_every_camera_driver_is_understood(robot, recording, reliability, durability):
    driver = QoSProfile(depth=5, reliability=reliability, durability=durability)
    with Robot(robot.domain, sensor_qos=driver) as other:
        other.wait_for_node()
        other.send_until_kept(recording.frames[:1])
        assert other.diagnostics["inputs camera"]["level"] == "0"


def test_an_incompatible_publisher_is_named_with_the_policy(started, recording):
    topics = ("image", "depth", "camera_info")
    wanted = {f"qos_overrides./{topic}.subscription.reliability": "reliable" for topic in topics}
    robot = started(robot={"sensor_qos": BEST_EFFORT}, **wanted)
    robot.spin_until(lambda: "reliability" in robot.diagnostics.get("inputs camera", {}).get("message", ""))
    status = robot.diagnostics["inputs camera"]
    assert status["level"] == "2"
    assert "/image" in status["message"]
    assert "qos_overrides./image.subscription" in status["message"]


def test_cancel_at_every_stage_takes_less_than_a_second_of_work(started, recording):
    robot = started(**{"evidence.grid": 64, "evidence.fine_grid": 144})
    robot.wait_for_node()
    robot.send_until_kept(recording.frames)
    for stage in ("observe", "evidence", "complete", "evidence_fine", "blend", "mesh", "conservative", "points"):
        robot.feedback.clear()
        call = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_1").accepted()
        robot.spin_until(lambda stage=stage: stage in {item.stage for item in robot.feedback}, what=stage)
        seconds = call.cancel()
        result = call.result()
        if stage != "points" or call.status != SUCCEEDED:  # the last one may be over before the request arrives
            assert (call.status, result.code) == (CANCELED, ErrorCode.CANCELLED)
        assert seconds < 1.0, stage


def test_a_deadline_gives_the_best_answer_so_far_or_says_that_there_is_none(robot, recording):
    robot.send_until_kept(recording.frames)
    result = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0", deadline_s=1e-6).result()
    assert result.code == ErrorCode.DEADLINE
    assert "deadline" in result.message


def test_a_hundred_goals_at_once_all_end_with_a_code(started, recording):
    robot = started(max_waiting_goals=2)
    robot.wait_for_node()
    robot.send_until_kept(recording.frames)
    calls = [robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0") for _ in range(100)]
    codes = [call.result().code for call in calls]
    assert codes.count(ErrorCode.OK) >= 3
    assert codes.count(ErrorCode.OK) + codes.count(ErrorCode.BUSY) == 100
    assert {call.status for call in calls} == {SUCCEEDED, ABORTED}
    assert robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result().code == ErrorCode.OK


@pytest.mark.parametrize("policy", ["preempt", "reject"])
def test_goal_policies(started, recording, policy):
    robot = started(goal_policy=policy, **{"evidence.grid": 64, "evidence.fine_grid": 144})
    robot.wait_for_node()
    robot.send_until_kept(recording.frames)
    expected = (ErrorCode.CANCELLED, ErrorCode.OK) if policy == "preempt" else (ErrorCode.OK, ErrorCode.BUSY)
    for _ in range(10):
        first = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").accepted()
        second = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_2")
        found = (first.result().code, second.result().code)
        if found != (ErrorCode.OK, ErrorCode.OK):  # else the first was over before a busy machine sent the second
            break
    assert found == expected


def test_goals_that_contradict_themselves_are_refused_with_a_sentence(robot, recording):
    robot.send_until_kept(recording.frames[:1])
    for fields, word in (
        ({"select_by": 9}, "select_by"),
        ({"select_by": Goal.SELECT_BY_ID}, "object_id"),
        ({"select_by": Goal.SELECT_BY_BOX}, "size"),
        ({"seed": -5}, "seed"),
        ({"deadline_s": float("nan")}, "deadline_s"),
        ({"deadline_s": -1.0}, "deadline_s"),
    ):
        result = robot.start(**fields).result()
        assert result.code == ErrorCode.USAGE, fields
        assert word in result.message
    assert robot.start(model="nothing", select_by=1, object_id="object_0").result().code == ErrorCode.MODEL_UNKNOWN
    assert robot.start(select_by=1, object_id="object_77").result().code == ErrorCode.OBJECT_NOT_FOUND


def test_results_are_saved_and_nothing_is_replaced_unasked(robot, recording, tmp_path):
    nothing = robot.ask(SaveObjects, "save_objects", folder=str(tmp_path))
    assert (nothing.success, nothing.code) == (False, ErrorCode.OBJECT_NOT_FOUND)
    robot.send_until_kept(recording.frames)
    robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result()
    assert robot.ask(SaveObjects, "save_objects").code == ErrorCode.USAGE
    saved = robot.ask(SaveObjects, "save_objects", folder=str(tmp_path))
    assert saved.success
    assert sorted(path.name for path in (tmp_path / "object_0").iterdir()) == [
        *("cloud.ply", "collision", "mesh.glb", "mesh.obj", "mesh.ply", "quality.json")
    ]
    assert str(tmp_path / "object_0" / "cloud.ply") in saved.paths
    assert robot.ask(SaveObjects, "save_objects", folder=str(tmp_path)).code == ErrorCode.OUTPUT_UNWRITABLE
    assert robot.ask(SaveObjects, "save_objects", folder=str(tmp_path), overwrite=True).success
    assert robot.ask(SaveObjects, "save_objects", folder="/proc/none").code == ErrorCode.OUTPUT_UNWRITABLE


def test_reset_forgets_frames_objects_and_what_viewers_show(robot, recording):
    robot.send_until_kept(recording.frames[:2])
    robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result()
    robot.spin_until(lambda: robot.known_objects)
    answer = robot.ask(Reset, "reset")
    assert (answer.success, answer.frames_dropped, answer.objects_dropped) == (True, 2, 1)
    robot.spin_until(lambda: not robot.known_objects and not robot.known_markers)
    assert not robot.clouds[-1].data
    assert [marker.action for marker in robot.markers[-1].markers] == [Marker.DELETEALL]
    assert robot.ask(GetObjects, "get_objects").candidates == []
    assert robot.start().result().code == ErrorCode.NO_FRAMES


def test_continuous_mode_completes_again_when_views_from_new_sides_come(started, recording):
    robot = started(continuous=True, continuous_period_s=0.1)
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:1])
    robot.spin_until(lambda: len(robot.known_objects) == 3, what="a first pass")
    views = {name: item.quality.views_used for name, item in robot.known_objects.items()}
    robot.send_until_kept(recording.frames[1:])

    def seen_better():
        known = robot.known_objects
        return all(name in known and known[name].quality.views_used > count for name, count in views.items())

    robot.spin_until(seen_better, what="a second pass")


def test_frames_give_way_before_the_memory_budget_is_spent(started, recording):
    robot = started(memory_budget_bytes=300_000_000, keyframes__max_frames=300)
    robot.wait_for_node()
    frame = recording.frames[0]
    step = np.eye(4)
    for k in range(600):  # 60 or so, more where a busy machine loses some
        step[0, 3] = 0.05 * k  # each from somewhere else, so that all of them are wanted
        robot.send(replace(frame, T_world_cam=step @ frame.T_world_cam), stamp_ns=frame.stamp_ns + k * 100_000_000)
        robot.spin_for(0.06)
        # The camera waits for the node.
        robot.spin_while(lambda k=k: robot.figure("ingest", "keyframes_kept") < k - 8, LOST_S)
        if robot.figure("memory", "frames_evicted") > 0 and robot.figure("ingest", "keyframes_kept") > 40:
            break
    assert robot.figure("memory", "frames_evicted") > 0, robot.diagnostics
    assert robot.figure("ingest", "keyframes_kept") > 40
    assert robot.figure("memory", "rss_bytes") < robot.figure("memory", "memory_budget_bytes") == 300_000_000
    assert robot.figure("memory", "frames") >= 1


def test_a_subscriber_that_asks_for_too_much_is_named_with_the_policy(robot):
    wanted = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    robot.node.create_subscription(Marker, "/completion_node/preview", lambda message: None, wanted)
    robot.spin_until(lambda: robot.diagnostics.get("outputs", {}).get("level") == "1")
    assert "/completion_node/preview" in robot.diagnostics["outputs"]["message"]
    assert "durability" in robot.diagnostics["outputs"]["message"]


def test_reset_during_a_completion_ends_it_and_viewers_show_nothing(started, recording):
    robot = started(**{"evidence.grid": 64, "evidence.fine_grid": 144})
    robot.wait_for_node()
    robot.send_until_kept(recording.frames)
    call = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").accepted()
    robot.spin_until(lambda: robot.feedback)
    assert robot.ask(Reset, "reset").frames_dropped == 5
    assert call.result().code == ErrorCode.CANCELLED
    robot.spin_until(lambda: robot.objects and not robot.known_objects)
    robot.spin_until(lambda: robot.figure("memory", "frames") == 0)


def test_questions_do_not_keep_continuous_mode_from_its_work(started, recording):
    robot = started(continuous=True, continuous_period_s=0.1)
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:2])
    until_s = time.monotonic() + ANSWER_S
    while time.monotonic() < until_s:
        robot.ask(GetObjects, "get_objects")
        if len(robot.known_objects) == 3:
            break
    assert len(robot.known_objects) == 3
