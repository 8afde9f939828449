"""A running node among liars: what they claim costs nothing, what they garble is passed over, nothing is executed."""

from __future__ import annotations

import importlib.util
import random
import struct
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

from domains import new_domain
from geometry_msgs.msg import PoseStamped, Vector3
from policy import POLICY, read_policy
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.action import get_action_server_names_and_types_by_node
from rclpy.serialization import serialize_message
from rig import MATCH_S, NodeProcess, Robot, messages_of, parameter_arguments, transform_of
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from sparse_recon.action import CompleteObject
from sparse_recon.srv import Forget, GetObjects, SaveObjects, SetRegion
from tf2_msgs.msg import TFMessage

from sparse_recon.errors import ErrorCode

Goal = CompleteObject.Goal
GROWTH_BYTES = 20_000_000 + (1 << 26)  # what the heap keeps at its top: `tame_allocator`
LIES = 30
MANY = 1000  # where a busy machine loses most of them
STEP_NS = 50_000_000
EVERY_FRAME = {"keyframes.min_move_m": 0.0}  # also one that shows nothing new is decoded
LATER_NS = 100_000_000_000


def resident_bytes(robot: Robot) -> int:
    """Return what is resident beside the frames that were kept: images may overtake a lying info, and are good then."""
    robot.spin_through_diagnostics()
    status = Path(f"/proc/{robot.process.process.pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["VmRSS"].split()[0]) * 1024 - int(robot.figure("memory", "frame_bytes"))


def lying_image(message: Image) -> Image:
    """Return an image of 4 billion pixels and 100 bytes."""
    size = {"width": 65537, "height": 65536, "step": 4 * 65537}
    return Image(header=message.header, encoding=message.encoding, data=array("B", bytes(100)), **size)


def lying_info(message: CameraInfo) -> CameraInfo:
    """Return a calibration of 4 billion times 4 billion pixels."""
    info = CameraInfo(
        header=message.header, width=2**32 - 1, height=2**32 - 1, distortion_model="plumb_bob", d=[0.1] * 5
    )
    info.k = [4e9, 0.0, 2e9, 0.0, 4e9, 2e9, 0.0, 0.0, 1.0]
    return info


def lying_png(header, *, depth: bool) -> CompressedImage:
    """Return a PNG of 60000x60000 pixels and 100 bytes."""
    head = struct.pack(">8sI4sIIBBBBB", b"\x89PNG\r\n\x1a\n", 13, b"IHDR", 60000, 60000, 16 if depth else 8, 0, 0, 0, 0)
    form = "16UC1; compressedDepth png" if depth else "rgb8; png compressed bgr8"
    return CompressedImage(header=header, format=form, data=array("B", bytes(12) * depth + head + bytes(67)))


def test_raw_images_and_camera_infos_of_billions_of_pixels_cost_nothing(started, recording):
    robot = started(**EVERY_FRAME)
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:2])
    before = resident_bytes(robot)
    frame, lies = recording.frames[2], {"image": lying_image, "depth": lying_image, "info": lying_info}
    for k in range(MANY):
        stamp_ns, name = frame.stamp_ns + k * STEP_NS, tuple(lies)[k % 3]
        made = messages_of(frame, stamp_ns)
        robot.send(frame, stamp_ns=stamp_ns, **{name: lies[name](made[name])})
        robot.spin_for(0.05)
        if k >= LIES and robot.figure("ingest", "rejected SIZE_MISMATCH") >= LIES / 2:
            break
    assert robot.figure("ingest", "rejected SIZE_MISMATCH") >= LIES / 2
    assert resident_bytes(robot) - before < GROWTH_BYTES
    robot.send_until_kept(recording.frames[3:], shift_ns=LATER_NS)


def test_compressed_images_of_billions_of_pixels_cost_nothing(started, recording):
    robot = started(image_transport="compressed", depth_transport="compressedDepth", **EVERY_FRAME)
    color = robot.node.create_publisher(CompressedImage, "image/compressed", 10)
    depth = robot.node.create_publisher(CompressedImage, "depth/compressedDepth", 10)
    robot.wait_for_node(("info",))
    robot.spin_until(lambda: color.get_subscription_count() and depth.get_subscription_count(), MATCH_S, "match")
    frame = recording.frames[0]
    robot.spin_for(0.5)
    before = resident_bytes(robot)
    for k in range(MANY):
        made = messages_of(frame, frame.stamp_ns + k * STEP_NS)
        robot.send_transform(frame, frame.stamp_ns + k * STEP_NS)
        robot.info.publish(made["info"])
        color.publish(lying_png(made["image"].header, depth=False))
        depth.publish(lying_png(made["depth"].header, depth=True))
        robot.spin_for(0.05)
        if k >= LIES and robot.figure("ingest", "rejected SIZE_MISMATCH") >= LIES / 2:
            break
    assert robot.figure("ingest", "rejected SIZE_MISMATCH") >= LIES / 2
    assert "60000x60000" in robot.diagnostics["inputs camera"]["message"]
    assert resident_bytes(robot) - before < GROWTH_BYTES


def garbled(rng: random.Random, data: bytes) -> bytes:
    """Return serialised bytes cut, with lengths of billions, or with some of them changed; the first four stay."""
    how, changed = rng.randrange(4), bytearray(data)
    if how == 0:
        return data[: rng.randrange(4, len(data))]
    for _ in range(rng.choice([1, 3, 30])):
        at = 4 + 4 * rng.randrange(min(len(data), 400) // 4 - 1)
        if how == 1:
            changed[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x40"])
        elif how == 2:
            changed[rng.randrange(4, len(changed))] = rng.randrange(256)
        else:
            changed[at : at + 4] = rng.randbytes(4)
    return bytes(changed)


def test_garbled_bytes_on_the_wire_are_passed_over(started, recording):
    robot = started(use_mask=True, world_frame="world")
    inputs = ("image", "depth", "info", "mask")
    robot.wait_for_node(inputs)
    robot.send_until_kept(recording.frames[:1])
    before, rng, frame = resident_bytes(robot), random.Random(7), recording.frames[1]
    for k in range(200):
        stamp_ns = frame.stamp_ns + k * STEP_NS
        made = messages_of(frame, stamp_ns)
        for name in inputs:
            getattr(robot, name).publish(garbled(rng, serialize_message(made[name])))
        robot.tf.publish(garbled(rng, serialize_message(TFMessage(transforms=[transform_of(frame, stamp_ns)]))))
        robot.spin_for(0.02)
    assert resident_bytes(robot) - before < GROWTH_BYTES
    robot.send_until_kept(recording.frames[2:], shift_ns=LATER_NS)


STRANGE_FOLDERS = ("", "/dev/null/x", "/proc/1/x", "f" * 5000, "\n", "~nobody-of-this-name/x", "out", "../out")


def strange_boxes() -> Iterator[tuple[PoseStamped, Vector3]]:
    """Boxes of the world frame with a number that no box has, as centre and as edge."""
    for number in (float("nan"), float("inf"), -float("inf"), 1e9, -1e9, 1.7e308):
        for part in ("centre", "edge"):
            pose, size = PoseStamped(), Vector3(x=0.1, y=0.1, z=0.1)
            pose.header.frame_id = "world"
            (size if part == "edge" else pose.pose.position).z = number
            yield pose, size


def test_strange_requests_are_answered_with_a_code(started, recording):
    robot = started()
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:1])
    answers = [robot.ask(SaveObjects, "save_objects", folder=folder) for folder in STRANGE_FOLDERS]
    for names in (["../x"], ["/etc/passwd"], ["object_0"] * 1000, ["x" * 100_000]):
        answers.append(robot.ask(SaveObjects, "save_objects", folder="/tmp", object_ids=names))
        answers.append(robot.ask(Forget, "forget", object_ids=[*names, "nothing"]))
    for number in (float("nan"), float("inf"), -1.0, 5e-324, 1.7e308):
        request = SetRegion.Request()
        request.size_m.x, request.pose.header.frame_id = number, "world\n\x7f" * 50
        answers.append(robot.ask(SetRegion, "set_region", pose=request.pose, size_m=request.size_m))
    for pose, size in strange_boxes():
        answers.append(robot.ask(Forget, "forget", region_pose=pose, region_size_m=size))
        answers.append(robot.ask(SetRegion, "set_region", pose=pose, size_m=size))
        goal = robot.start(select_by=Goal.SELECT_BY_BOX, box_pose=pose, box_size_m=size).result()
        assert {answers[-2].code, answers[-1].code, goal.code} == {ErrorCode.USAGE}, (pose.pose, size)
    for name in ("../x", "/etc/passwd", "x" * 100_000):
        goal = robot.start(select_by=Goal.SELECT_BY_ID, object_id=name).result()
        assert (goal.code, len(goal.message) < 1000) == (ErrorCode.OBJECT_NOT_FOUND, True)
    assert all(not answer.success and answer.message and len(answer.message) < 1000 for answer in answers)
    assert ErrorCode.INTERNAL not in {answer.code for answer in answers}
    goal = robot.start(select_by=Goal.SELECT_BY_BOX, deadline_s=float("nan"), seed=-(2**63), model="../../x").result()
    assert goal.code == ErrorCode.USAGE
    number = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=5)
    wrong = [Parameter(name=name, value=number) for name in ("camera_names", "up_world")]
    results = robot.ask(SetParameters, "set_parameters", parameters=wrong).results
    assert [result.successful for result in results] == [False, False]
    assert robot.ask(GetObjects, "get_objects").success


# Events of Python (PEP 578) when objects are made of pickles, programs are started or connections opened.
WATCHED = """
import sys
EVENTS = {"pickle.find_class", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "subprocess.Popen",
          "socket.connect", "socket.bind", "urllib.Request", "shutil.unpack_archive", "ctypes.dlopen"}
seen = set()

def watch(event, arguments):
    if event in EVENTS and (event, str(arguments[:1])) not in seen:
        seen.add((event, str(arguments[:1])))
        print("SEEN", event, arguments[:1], file=sys.stderr, flush=True)

sys.addaudithook(watch)
from sparse_recon.ros.completion_node import main
sys.exit(main())
"""


def test_nothing_is_unpickled_started_or_connected_from_start_to_end(recording):
    domain, given = new_domain(), {"evidence.grid": 32, "evidence.fine_grid": 48, "transform_source": "tree"}
    program = (sys.executable, "-c", WATCHED)
    with NodeProcess(domain, parameter_arguments(**given), program) as node:
        with Robot(domain) as robot:
            robot.wait_for_node()
            robot.send_until_kept(recording.frames[:3])
            found = robot.ask(GetObjects, "get_objects").candidates
            goal = {"select_by": Goal.SELECT_BY_ID, "object_id": found[0].object_id}
            assert robot.start(**goal).result().code == ErrorCode.OK
        assert node.end() == 0
        seen = {line for line in node.log.splitlines() if line.startswith("SEEN ")}
    assert {line for line in seen if "ctypes.dlopen" not in line} == set()
    assert seen, "the watch did not work: the node itself opens the C library to give memory back"


def names(pairs: list[tuple[str, list[str]]]) -> set[str]:
    """Return names; the topics and services that an action is made of are left out."""
    return {name for name, _ in pairs if "/_action/" not in name}


def test_cameras_and_masks_add_their_inputs_to_the_policy_and_nothing_else(started):
    robot = started(camera_names="[front, arm]", use_mask=True, depth_camera_info=True, image_transport="compressed")
    robot.spin_until(lambda: robot.state() == "active", MATCH_S, "activation")
    node, who = robot.node, ("completion_node", "/")

    def graph() -> dict[str, set[str]]:
        return {
            "publish": names(node.get_publisher_names_and_types_by_node(*who)),
            "subscribe": names(node.get_subscriber_names_and_types_by_node(*who)),
            "reply": names(node.get_service_names_and_types_by_node(*who)),
            "request": names(node.get_client_names_and_types_by_node(*who)),
            "execute": names(get_action_server_names_and_types_by_node(node, *who)),
        }

    policy = read_policy(POLICY)
    wanted = {word: set(getattr(policy, word)) for word in ("publish", "reply", "request", "execute")}
    wanted["reply"].discard("/tf2_frames")  # of tf2_ros, which transform_source = tree leaves alone
    if importlib.util.find_spec("moveit_msgs") is None:
        wanted["publish"].remove("/completion_node/collision_objects")
    inputs = ("image/compressed", "depth", "camera_info", "depth_camera_info", "mask")
    wanted["subscribe"] = {
        "/tf",
        "/tf_static",
        *(f"/{camera}/{name}" for camera in ("front", "arm") for name in inputs),
    }
    until_s = time.monotonic() + MATCH_S
    while (found := graph()) != wanted and time.monotonic() < until_s:
        robot.spin_for(0.1)
    assert found == wanted
