"""What goes wrong on robots: each fault ends in a code and a sentence, and the node recovers by itself."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from array import array
from pathlib import Path

import numpy as np
import pytest
from domains import new_domain
from rig import NodeProcess, Robot, image_of, messages_of, parameter_arguments
from sparse_recon.action import CompleteObject
from sparse_recon.srv import GetObjects, SaveObjects

from sparse_recon.errors import ErrorCode

Goal = CompleteObject.Goal
SECOND_NS = 1_000_000_000
_minutes = itertools.count(1)


@pytest.fixture
def times(recording):
    """Return stamps that grow from test to test, so that none of them is a jump back."""
    return recording.frames[0].stamp_ns + next(_minutes) * 60_000_000_000


def changed(message, **fields):
    for name, value in fields.items():
        owner, _, last = name.rpartition("__")
        setattr(getattr(message, owner) if owner else message, last, value)
    return message


def zero_k(made):
    return {"info": changed(made["info"], k=np.zeros(9), p=np.zeros(12))}


def other_size(made):
    return {"info": changed(made["info"], width=320, height=240)}


def no_frame_id(made):
    return {name: changed(made[name], header__frame_id="") for name in ("image", "depth")}


def nothing_measured(made):
    depth = image_of(np.full((480, 640), np.nan, np.float32), "32FC1")
    depth.header = made["depth"].header
    return {"depth": depth}


def strange_encoding(made):
    return {"image": changed(made["image"], encoding="xyz42")}


def cut_off(made):
    return {"depth": changed(made["depth"], data=made["depth"].data[:1000])}


def four_billion_pixels(made):
    return {"image": changed(made["image"], width=2**32 - 1, height=2**32 - 1, step=2**32 - 1)}


def depth_from_elsewhere(made):
    return {"depth": changed(made["depth"], header__frame_id="depth_optical")}


FAULTS = {
    "K of zeros": (zero_k, ErrorCode.INTRINSICS_INVALID, "calibrated"),
    "sizes differ": (other_size, ErrorCode.SIZE_MISMATCH, "320x240"),
    "empty frame_id": (no_frame_id, ErrorCode.FRAME_INVALID, "frame_id"),
    "NaN depth": (nothing_measured, ErrorCode.DEPTH_EMPTY, "depth"),
    "unknown encoding": (strange_encoding, ErrorCode.ENCODING_UNSUPPORTED, "xyz42"),
    "cut image": (cut_off, ErrorCode.SIZE_MISMATCH, "1000"),
    "unregistered depth": (depth_from_elsewhere, ErrorCode.INTRINSICS_INVALID, "assembly.depth_is_registered"),
    "a header of 4 billion pixels": (four_billion_pixels, ErrorCode.SIZE_MISMATCH, "4294967295"),
}


def report_of(robot, code):
    """Wait until the diagnostics of the camera have a code; return the sentence."""
    name = f"{int(code)} {code.name}"
    robot.spin_until(lambda: robot.diagnostics["inputs camera"]["code"] == name, what=name)
    return robot.diagnostics["inputs camera"]["message"]


def expect_recovery(robot, recording, stamp_ns):
    robot.send_until_kept(recording.frames[:1], shift_ns=stamp_ns - recording.frames[0].stamp_ns)
    robot.spin_until(lambda: robot.diagnostics["inputs camera"]["level"] == "0", what="recovery")


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_frames_are_refused_with_code_and_sentence(robot, recording, times, fault):
    breaking, code, word = FAULTS[fault]
    frame, reported = recording.frames[0], f"{int(code)} {code.name}"
    # Over and over, as a driver would: images may overtake the first camera info that no longer fits them.
    for stamp_ns in range(times, times + 40 * SECOND_NS, 2 * SECOND_NS):
        robot.send(frame, stamp_ns=stamp_ns, **breaking(messages_of(frame, stamp_ns)))
        robot.spin_while(lambda: robot.diagnostics["inputs camera"]["code"] != reported, 2.0)
        if robot.diagnostics["inputs camera"]["code"] == reported:
            break
    assert word in report_of(robot, code)
    expect_recovery(robot, recording, times + 50 * SECOND_NS)


def test_stamp_zero_is_refused(robot, recording, times):
    robot.send(recording.frames[0], stamp_ns=0)
    assert "header.stamp" in report_of(robot, ErrorCode.STAMP_INVALID)
    expect_recovery(robot, recording, times)


def test_big_endian_and_padded_images_are_frames_like_any_other(robot, recording, times):
    frame = recording.frames[0]
    made = messages_of(frame, times)
    swapped = np.frombuffer(bytes(made["depth"].data), "<u2").astype(">u2").tobytes()
    padded = np.zeros((480, 640 * 3 + 64), np.uint8)
    padded[:, : 640 * 3] = frame.rgb.reshape(480, -1)
    depth = changed(made["depth"], is_bigendian=1, data=array("B", swapped))
    image = changed(made["image"], step=640 * 3 + 64, data=array("B", padded.tobytes()))
    robot.send(frame, stamp_ns=times, image=image, depth=depth)
    robot.spin_until(lambda: robot.figure("memory", "frames") == 1, what="the frame")
    there = robot.ask(GetObjects, "get_objects").candidates
    assert len(there) == 3
    assert max(item.size_m.z for item in there) < 0.4  # swapped bytes would put everything elsewhere


def test_frames_wait_for_a_pose_that_nobody_publishes_yet(started, recording):
    robot = started()
    robot.wait_for_node()
    frame = recording.frames[0]
    for k in range(450):  # less than tf_timeout_s of the camera's time
        robot.send(frame, stamp_ns=frame.stamp_ns + k * 10_000_000, transform=False)
        robot.spin_for(0.1)
        if "waiting for the pose" in robot.diagnostics["inputs camera"]["message"]:
            break
    assert "waiting for the pose" in report_of(robot, ErrorCode.TF_FRAME_UNKNOWN)
    assert robot.diagnostics["transforms"]["code"] == "200 TF_FRAME_UNKNOWN"
    refused = robot.start().result()
    assert refused.code == ErrorCode.NO_FRAMES
    assert "waiting for the pose" in refused.message
    robot.send_until_kept(recording.frames[1:2], shift_ns=10_000_000_000)


def test_a_pose_that_comes_two_seconds_late_is_used(robot, recording, times):
    frame = recording.frames[0]
    robot.send_transform(frame, times - 10**8)
    robot.send(frame, stamp_ns=times, transform=False)
    robot.spin_until(lambda: robot.diagnostics["transforms"]["frames_waiting"] == "1", what="a frame that waits")
    robot.spin_for(2.0)
    assert robot.figure("memory", "frames") == 0
    assert robot.diagnostics["transforms"]["frames_waiting"] == "1"
    robot.send_transform(frame, times + 10**8)
    robot.spin_until(lambda: robot.figure("memory", "frames") == 1, what="the frame")


def test_a_gap_in_the_poses_is_not_bridged(robot, recording, times):
    frame, received = recording.frames[0], robot.figure("transforms", "received")
    robot.send_transform(frame, times - 2 * 10**9)
    robot.send_transform(recording.frames[1], times + 2 * 10**9)  # elsewhere: it was on its way
    robot.spin_until(lambda: robot.figure("transforms", "received") >= received + 2, what="both transforms")
    robot.send(frame, stamp_ns=times, transform=False)
    assert "gap" in report_of(robot, ErrorCode.TF_GAP)
    expect_recovery(robot, recording, times + 3 * 10**9)


CAMERA = """
import sys, time
sys.path.insert(0, {folder!r})
from rig import Robot
from sparse_recon.lab.simulate.recording import tabletop_recording
frame = tabletop_recording(7, frames=1).frames[0]
with Robot({domain}) as camera:
    while True:
        camera.send(frame, stamp_ns=time.time_ns())
        camera.spin_for(0.1)
"""


def test_a_camera_that_is_killed_and_comes_back(started):
    robot = started(watchdog_s=1.0)
    program = [sys.executable, "-c", CAMERA.format(folder=str(Path(__file__).parents[1]), domain=robot.domain)]
    first = subprocess.Popen(program)
    robot.spin_until(lambda: robot.figure("memory", "frames") > 0, what="frames of the camera")
    first.send_signal(signal.SIGKILL)
    first.wait()
    message = report_of(robot, ErrorCode.NO_FRAMES)
    assert "/image" in message
    second = subprocess.Popen(program)
    try:
        robot.spin_until(lambda: robot.diagnostics["inputs camera"]["level"] == "0", what="recovery")
    finally:
        second.kill()
        second.wait()


def test_a_full_disk_on_save_leaves_older_results_whole(robot, recording, times, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small file system can be mounted only as root")
    try:
        robot.send_until_kept(recording.frames[:2], shift_ns=times - recording.frames[0].stamp_ns)
        found = robot.ask(GetObjects, "get_objects").candidates[0].object_id
        assert robot.start(select_by=Goal.SELECT_BY_ID, object_id=found).result().code == ErrorCode.OK
        codes = []
        for number in range(8):
            answer = robot.ask(SaveObjects, "save_objects", folder=str(small / str(number)))
            codes.append(answer.code)
            if answer.code:
                break
        assert codes[-1] == ErrorCode.DISK_FULL
        assert "full" in answer.message
        assert not list(small.glob(f"{number}/*/cloud.ply"))
        assert robot.ask(SaveObjects, "save_objects", folder=str(tmp_path / "elsewhere")).success
    finally:
        subprocess.run(["umount", str(small)], check=True)


# A model with weights in a file, in the node's own process, beside the ones that ship.
PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from sparse_recon.complete import registry
registry.COMPLETERS["weighted"] = "weighted_completer:WeightedCompleter"
from sparse_recon.ros.completion_node import main
sys.exit(main(sys.argv))
"""


@pytest.fixture
def weighted(tmp_path):
    """Start a node whose model reads weights; return a function that does, and the weights' path."""
    path = tmp_path / "weights.safetensors"
    things = []

    def start():
        domain = new_domain()
        os.environ["WEIGHTED_COMPLETER_PATH"] = str(path)
        program = [sys.executable, "-c", PROGRAM.format(folder=str(Path(__file__).parents[1]))]
        parameters = {"model": "weighted", "transform_source": "tree", "diagnostics_period_s": 0.2}
        node = NodeProcess(domain, parameter_arguments(**parameters), program)
        companion = Robot(domain)
        things.extend((companion, node))
        return companion

    yield start, path
    companion, node = things
    companion.close()
    assert node.end() == 0, node.log
    assert "Traceback" not in node.log


def save_weights(path, shape, values=None):
    from safetensors.numpy import save_file

    save_file({"offset": np.zeros(shape, np.float32) if values is None else values}, path)


def test_missing_weights_are_reported_and_used_once_they_are_there(weighted):
    start, path = weighted
    robot = start()
    robot.spin_until(lambda: robot.diagnostics.get("model", {}).get("level") == "2", what="an error")
    assert robot.diagnostics["model"]["code"] == "401 MODEL_WEIGHTS_MISSING"
    assert str(path) in robot.diagnostics["model"]["message"]
    assert robot.start().result().code == ErrorCode.NOT_ACTIVE
    save_weights(path, (3,))
    robot.spin_until(lambda: robot.state() == "active", what="recovery")


@pytest.mark.parametrize("damage", ["corrupt", "wrong shape"])
def test_bad_weights_are_reported(weighted, damage):
    start, path = weighted
    if damage == "corrupt":
        path.write_bytes(b"\xff" * 64)
    else:
        save_weights(path, (4, 4))
    robot = start()
    robot.spin_until(lambda: robot.diagnostics.get("model", {}).get("level") == "2", what="an error")
    assert robot.diagnostics["model"]["code"] == "403 MODEL_WEIGHTS_INVALID"
    save_weights(path, (3,))
    robot.spin_until(lambda: robot.state() == "active", what="recovery")


def test_memory_that_runs_out_inside_the_model_costs_one_goal(weighted, recording):
    start, path = weighted
    save_weights(path, (3,), np.array([1, 0, 0], np.float32))  # its first completion takes a petabyte
    robot = start()
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:2])
    result = robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result()
    assert result.code == ErrorCode.MEMORY_BUDGET
    robot.spin_until(lambda: robot.diagnostics["worker"]["last_code"] == "5 MEMORY_BUDGET")
    assert robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result().code == ErrorCode.OK


def test_of_two_cameras_the_one_that_is_dead_is_named_and_the_other_goes_on(started, recording):
    robot = started(camera_names="[left, right]", robot={"prefix": "left/"}, watchdog_s=2.0)
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:2])
    for k in range(600):
        robot.send(recording.frames[2], stamp_ns=recording.frames[2].stamp_ns + 10**9 + k * 10**8)
        robot.spin_for(0.1)
        if [robot.diagnostics.get(f"inputs {name}", {}).get("level") for name in ("left", "right")] == ["0", "2"]:
            break
    assert "/right/image" in robot.diagnostics["inputs right"]["message"]
    assert robot.diagnostics["inputs left"]["level"] == "0"
    assert robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result().code == ErrorCode.OK
