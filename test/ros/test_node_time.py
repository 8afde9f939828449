"""Stamps, loops and simulated time."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile
from rig import image_of, messages_of, set_stamp
from rosgraph_msgs.msg import Clock
from sparse_recon.action import CompleteObject

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.errors import ErrorCode
from sparse_recon.messages.fields import pack_completed_points
from sparse_recon.requests import CompletionRequest
from sparse_recon.ros.node_config import load_node_config
from sparse_recon.session.session import CompletionSession

Goal = CompleteObject.Goal
RELIABLE = QoSProfile(depth=200)
AHEAD = 2  # sets that may be on their way: no queue is full, on however slow a machine
INPUTS = ("image", "depth", "camera_info")
RELIABLE_INPUTS = {
    **{f"qos_overrides./{topic}.subscription.reliability": "reliable" for topic in INPUTS},
    **{f"qos_overrides./{topic}.subscription.depth": 200 for topic in INPUTS},
}


def small(frame):
    """Return a frame of 64x48 pixels that shows a wall at 1 m."""
    camera = replace(frame.intrinsics, width=64, height=48, K=np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]))
    return replace(
        frame,
        rgb=np.zeros((48, 64, 3), np.uint8),
        depth_m=np.ones((48, 64), np.float32),
        labels=None,
        intrinsics=camera,
    )


def test_three_loops_of_a_30_hz_camera_with_2_hz_depth_match_forty_sets_each(started, recording):
    robot = started(robot={"sensor_qos": RELIABLE}, **RELIABLE_INPUTS)
    robot.wait_for_node()
    frame = small(recording.frames[0])

    def matched():
        return robot.figure("ingest", "keyframes_kept") + robot.figure("ingest", "frames_unneeded")

    for loop in (1, 2, 3):
        for k in range(600):
            stamp_ns = 1_700_000_000_000_000_000 + k * 1_000_000_000 // 30
            made = messages_of(frame, stamp_ns)
            robot.send_transform(frame, stamp_ns)
            robot.info.publish(made["info"])
            robot.image.publish(made["image"])
            if k % 15 == 0:
                robot.depth.publish(made["depth"])
            robot.spin_for(0.004)
            if k % 15 == 14:
                sets = 40 * (loop - 1) + k // 15 + 1
                robot.spin_until(lambda sets=sets: matched() >= sets - AHEAD, what=f"set {sets - AHEAD}")
        robot.spin_until(lambda loop=loop: matched() >= 40 * loop, what=f"forty sets in loop {loop}")
        robot.spin_for(0.5)
        assert matched() == 40 * loop
    assert robot.figure("ingest", "restarts") == 2
    assert robot.figure("ingest", "dropped") == 0


def test_three_passes_of_a_recording_give_equal_clouds_and_those_of_the_offline_replay(started, recording, tmp_path):
    robot = started(model="compact")
    robot.wait_for_node()
    frames = [replace(frame, labels=None) for frame in recording.frames]
    clouds = []
    for k in range(3):
        for number, frame in enumerate(frames, 5 * k + 1):
            robot.send(frame)
            robot.spin_until(lambda n=number: robot.figure("ingest", "keyframes_kept") == n, what=f"frame {number}")
        assert robot.figure("memory", "frames") == 5
        result = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_1", with_geometry=True).result()
        assert result.code == ErrorCode.OK
        clouds.append(bytes(result.object.cloud.data))
    assert clouds[0] == clouds[1] == clouds[2]
    assert robot.figure("ingest", "restarts") == 2

    write_frames(frames, tmp_path / "bag", world_frame="world")
    coarse = {"evidence.grid": 32, "evidence.fine_grid": 48, "fusion.max_points": 4000, "fusion.max_faces": 2000}
    config = load_node_config({**coarse, "world_frame": "world"}).session
    session = CompletionSession(config)
    with Bag(tmp_path / "bag") as bag:
        for frame in FrameReader(bag, config=config):
            session.add_frame(frame)
    offline = session.complete(CompletionRequest(object_id="object_1"))
    assert pack_completed_points(offline).tobytes() == clouds[0]


def test_a_clock_that_jumps_back_clears_frames_and_objects(started, recording):
    robot = started(use_sim_time=True)
    clock = robot.node.create_publisher(Clock, "/clock", 10)
    first_ns = recording.frames[0].stamp_ns

    def tick(stamp_ns):
        message = Clock(clock=Time())
        set_stamp(message.clock, stamp_ns)
        clock.publish(message)

    robot.spin_until(lambda: "/clock" in robot.diagnostics.get("inputs camera", {}).get("message", ""))
    assert robot.diagnostics["inputs camera"]["code"] == "105 STAMP_INVALID"
    robot.wait_for_node()
    robot.spin_until(clock.get_subscription_count)
    tick(first_ns + 10_000_000_000)
    robot.send_until_kept(recording.frames[:3])
    assert robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result().code == ErrorCode.OK
    tick(first_ns + 11_000_000_000)
    robot.spin_until(lambda: robot.figure("memory", "frames") == 3)
    tick(first_ns - 60_000_000_000)
    robot.spin_until(lambda: robot.figure("memory", "frames") == 0, what="forgetting")
    robot.spin_until(lambda: robot.objects and not robot.known_objects)
    assert robot.figure("worker", "objects") == 0


def test_the_first_frame_of_a_loop_survives_a_clock_that_jumps_after_it(started, recording):
    robot = started(use_sim_time=True)
    clock = robot.node.create_publisher(Clock, "/clock", 10)
    first_ns = recording.frames[0].stamp_ns

    def tick(stamp_ns):
        message = Clock()
        set_stamp(message.clock, stamp_ns)
        clock.publish(message)

    robot.wait_for_node()
    robot.spin_until(clock.get_subscription_count)
    tick(first_ns)
    robot.send_until_kept(recording.frames)
    tick(recording.frames[-1].stamp_ns)
    robot.spin_until(lambda: robot.now_ns == recording.frames[-1].stamp_ns, what="the time")
    robot.send(recording.frames[0])
    robot.spin_until(lambda: robot.figure("memory", "frames") == 1, what="the first frame of the new loop")
    tick(first_ns)
    robot.spin_until(lambda: robot.now_ns == first_ns, what="the time")
    robot.spin_through_diagnostics()
    assert robot.figure("memory", "frames") == 1


def test_stamps_that_miss_each_other_are_reported_with_how_much(robot, recording):
    frame = recording.frames[0]
    late = messages_of(frame, frame.stamp_ns + 300_000_000)["depth"]

    def reported():
        return "apart" in robot.diagnostics["inputs camera"]["message"]

    for k in range(500):
        stamp_ns = frame.stamp_ns + k * 100_000_000
        set_stamp(late.header.stamp, stamp_ns + 30_000_000)
        robot.send(frame, stamp_ns=stamp_ns, depth=late)
        robot.spin_while(lambda: not reported(), 0.08)
        if reported():
            break
    message = robot.diagnostics["inputs camera"]["message"]
    assert "apart" in message
    assert "assembly.stamp_tolerance_s" in message
    assert "0.03" in message or "0.07" in message
    robot.send_until_kept(recording.frames[1:2], shift_ns=60_000_000_000)
    robot.spin_until(lambda: robot.diagnostics["inputs camera"]["level"] == "0", what="recovery")


def test_a_missing_input_is_named_within_five_seconds(robot, recording):
    frame, periods = recording.frames[0], round(5.0 / 0.2)  # the node tells its state every 0.2 s of its own time
    told = robot.told
    blank = image_of(frame.rgb, "rgb8")
    blank.header.frame_id = "camera_optical"
    for k in itertools.count():
        robot.send(frame, stamp_ns=frame.stamp_ns + k * 100_000_000, depth=None)
        robot.spin_for(0.1)
        if "/depth" in robot.diagnostics["inputs camera"]["message"] or robot.told > told + periods:
            break
    assert robot.diagnostics["inputs camera"]["level"] == "2"
    assert "no message on /depth" in robot.diagnostics["inputs camera"]["message"]
    assert "/image for" not in robot.diagnostics["inputs camera"]["message"]


def test_continuous_passes_go_on_while_the_clock_stands_still(started, recording):
    robot = started(use_sim_time=True, continuous=True, continuous_period_s=1.0)
    clock = robot.node.create_publisher(Clock, "/clock", 10)

    def tick(stamp_ns):
        message = Clock()
        set_stamp(message.clock, stamp_ns)
        clock.publish(message)

    def views():
        return sorted(item.quality.views_used for item in robot.known_objects.values())

    robot.wait_for_node()
    robot.spin_until(clock.get_subscription_count)
    tick(recording.frames[0].stamp_ns)
    robot.send_until_kept(recording.frames[:2])
    robot.spin_until(lambda: views() == [2, 2, 2], what="a first pass")
    robot.send_until_kept(recording.frames[2:])  # the recording pauses: no tick any more
    robot.spin_until(lambda: views() == [5, 5, 5], what="a pass of all views while /clock stands still")

    # Also after a jump back, where the clock stands still once more.
    tick(recording.frames[0].stamp_ns - 3_600_000_000_000)
    robot.spin_until(lambda: robot.figure("memory", "frames") == 0 and not robot.known_objects, what="forgetting")
    robot.send_until_kept(recording.frames[:3], shift_ns=-3_600_000_000_000)
    robot.spin_until(lambda: views() == [3, 3, 3], what="a pass in the time before")
