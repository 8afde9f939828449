"""Ingest without DDS: what one bad frame costs, what decoding may take, what is told of losses, what /tf costs."""

from __future__ import annotations

import logging
import struct
import time
from array import array

import cv2
import numpy as np
import pytest
from fuzz.ingest_world import (
    CONFIG,
    HEIGHT,
    MEGAPIXELS_ANSWER_S,
    SECOND_NS,
    T0_NS,
    WIDTH,
    World,
    good_frame,
    good_image,
    good_info,
    good_transform,
    memory_growth,
    stamped,
)
from geometry_msgs.msg import TransformStamped
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, PointCloud2
from tf2_msgs.msg import TFMessage

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode
from sparse_recon.frames.camera_streams import CameraStreams
from sparse_recon.ros.health import LOST_S, OK, WARN, ingest_health, transform_health
from sparse_recon.ros.losses import Losses
from sparse_recon.ros.node_config import load_node_config

MEGABYTE = 1_000_000


class Careless(DepthConfig):
    """Parameters that cannot be asked at one moment, as where our own code is wrong."""

    @property
    def near_m(self):
        return _near_m()


def _near_m():
    raise RuntimeError("a mistake of ours")


# What one frame costs


def test_our_mistake_costs_the_frame_that_it_hits_and_none_after_it(caplog):
    with World() as world:
        world.say_all(good_frame(T0_NS))
        kept = world.ingest.counts.kept
        world.ingest._assembler.depth = object.__new__(Careless)
        for role, message in good_frame(T0_NS + 20 * SECOND_NS, 1):
            world.say(role, message)
        for _ in range(3):  # it must not come again with every message
            world.say("info", good_info(T0_NS))
        world.ingest._assembler.depth = CONFIG.depth
        assert world.ingest.counts.rejected[ErrorCode.INTERNAL] == 1
        last = world.ingest.counts.rejections[-1]
        assert last.camera == "camera" and last.stamp_ns == T0_NS + 20 * SECOND_NS
        assert "report it" in last.message and "a mistake of ours" in last.message
        assert len(world.mistakes) == 1 and "Traceback" in world.mistakes[0]
        world.mistakes.clear()
        assert world.keeps_good_frames()
        assert world.ingest.counts.kept > kept


def test_session_that_fails_for_one_frame_keeps_the_others():
    with World() as world:
        add = world.session.add_frame
        broken = []

        def add_frame(frame):
            if frame.stamp_ns == T0_NS + 20 * SECOND_NS:
                broken.append(frame)
                raise RuntimeError("a mistake of ours")
            return add(frame)

        world.session.add_frame = add_frame
        for number, seconds in enumerate((0, 20, 40)):
            for role, message in good_frame(T0_NS + seconds * SECOND_NS, number):
                world.say(role, message)
        assert len(broken) == 1 and world.ingest.counts.kept == 2 and world.ingest.counts.lost == 1
        assert world.ingest.counts.rejected == {ErrorCode.INTERNAL: 1}
        world.mistakes.clear()


def test_of_a_refused_depth_and_its_lonely_colour_the_refusal_is_told():
    with World() as world:
        for seconds in range(8):
            parts = dict(good_frame(T0_NS + seconds * SECOND_NS, seconds))
            parts["depth"] = stamped(PointCloud2(height=1, width=HEIGHT * WIDTH), T0_NS + seconds * SECOND_NS)
            for role, message in parts.items():
                world.say(role, message)
            told = world.ingest.counts.last_rejection["camera"]
            assert told.code is ErrorCode.ENCODING_UNSUPPORTED and "organised clouds" in told.message
        until_s = time.monotonic() + 20.0
        while not world.ingest.counts.rejected[ErrorCode.STAMP_UNMATCHED] and time.monotonic() < until_s:
            time.sleep(0.05)
        assert world.ingest.counts.rejected[ErrorCode.STAMP_UNMATCHED]
        assert world.ingest.counts.last_rejection["camera"].code is ErrorCode.ENCODING_UNSUPPORTED
        world.say("color", dict(good_frame(T0_NS + 15 * SECOND_NS))["color"])  # now depth is silent
        while world.ingest.counts.last_rejection["camera"].stamp_ns < T0_NS + 15 * SECOND_NS:
            assert time.monotonic() < until_s
            time.sleep(0.05)
        assert world.ingest.counts.last_rejection["camera"].code is ErrorCode.STAMP_UNMATCHED


# What decoding may take


def large(width: int, height: int, focal_px: float = 4000.0):
    info = good_info(T0_NS)
    info.width, info.height = width, height
    info.k = [focal_px, 0.0, width / 2, 0.0, focal_px, height / 2, 0.0, 0.0, 1.0]
    info.p = [focal_px, 0.0, width / 2, 0.0, 0.0, focal_px, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    pixels = np.full((height, width, 3), 90, np.uint8)
    depth = np.full((height, width), 700, np.uint16)
    jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    png = struct.pack("<iff", 0, 0.0, 0.0) + cv2.imencode(".png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    return [
        ("tf", good_transform(T0_NS - 20_000_000)),
        ("tf", good_transform(T0_NS + 20_000_000)),
        ("info", info),
        ("color", stamped(CompressedImage(format="jpeg", data=array("B", jpeg)), T0_NS)),
        ("depth", stamped(CompressedImage(format="16UC1; compressedDepth png", data=array("B", png)), T0_NS)),
    ]


ONE_INFO = CameraStreams("camera")


def budget_of(extra_bytes: float):
    """Return parameters whose memory budget is so much above what is resident now."""
    from sparse_recon.machine.resident_memory import resident_bytes

    values = {"world_frame": "world", "memory_budget_bytes": int(resident_bytes() + extra_bytes)}
    return load_node_config(values)


def test_two_images_of_64_megapixels_are_refused_before_they_are_decoded():
    messages = large(9000, 7000)
    with World(budget_of(1000 * MEGABYTE), ONE_INFO) as world:
        world.say_all(messages[:3])
        with memory_growth() as growth:
            world.say_all(messages[3:])
        assert growth[0] < 50 * MEGABYTE
        last = world.ingest.counts.rejections[-1]
        assert last.code is ErrorCode.MEMORY_BUDGET and last.camera == "camera"
        assert "9000x7000" in last.message and "memory_budget_bytes" in last.message
        assert world.ingest.counts.kept == 0


@pytest.mark.parametrize("distorted", [False, True])
def test_images_that_fit_are_decoded_within_the_budget(distorted):
    messages = large(4000, 3000)
    if distorted:
        dict(messages)["info"].d = [0.05, 0.0, 0.0, 0.0, 0.0]
    with World(budget_of(800 * MEGABYTE), ONE_INFO) as world:
        world.say_all(messages[:3])
        with memory_growth() as growth:
            world.say_all(messages[3:], MEGAPIXELS_ANSWER_S)
        assert world.ingest.counts.kept == 1, world.ingest.counts.rejections
        assert growth[0] < 800 * MEGABYTE


def test_frames_go_for_a_large_one_that_fits_without_them_and_for_no_other():
    with World(budget_of(800 * MEGABYTE), ONE_INFO) as world:
        for number in range(3):
            for role, message in large(4000, 3000):
                stamp_ns = T0_NS + number * 20 * SECOND_NS
                if role == "tf":
                    message = good_transform(stamp_ns + (20_000_000 if number % 2 else -20_000_000), number)
                    world.say_all([("tf", good_transform(stamp_ns + d, number)) for d in (-20_000_000, 20_000_000)])
                elif role != "info":
                    stamped(message, stamp_ns)
                world.say_all([(role, message)] if role != "tf" else [], MEGAPIXELS_ANSWER_S)
        assert world.ingest.counts.kept == 3 and not world.ingest.counts.rejected
        kept = len(world.session.frames)
        huge = large(9000, 7000)
        for role, message in huge[2:]:
            stamped(message, T0_NS + 80 * SECOND_NS)
            world.say_all([(role, message)])
        assert len(world.session.frames) == kept


def test_images_that_wait_for_a_pose_are_bounded_in_bytes():
    config = load_node_config({"world_frame": "world", "memory_budget_bytes": 300 * MEGABYTE})
    with World(config, ONE_INFO) as world:
        for k in range(60):
            pixels = np.zeros((1000, 2000, 3), np.uint8)
            depth = np.full((1000, 2000), 700, np.uint16)
            for role, encoding, image in (("color", "rgb8", pixels), ("depth", "16UC1", depth)):
                world.say(role, good_image(T0_NS + k * SECOND_NS // 10, encoding, image))
        waiting = world.ingest._assembler._waiting
        assert 0 < sum(candidate.nbytes for candidate in waiting) <= 0.2 * 300 * MEGABYTE
        assert world.ingest.counts.rejected[ErrorCode.MEMORY_BUDGET] > 50
        assert "waiting images hold more than 60 MB" in world.ingest.counts.rejections[-1].message


# What is told of losses


def health(world: World):
    return ingest_health(world.ingest, (0.0, 0.0), 0.0)


def test_rejected_frames_are_told_with_their_reason_until_they_stop(monkeypatch):
    with World() as world:
        world.say_all(good_frame(T0_NS))
        assert health(world).level == OK
        strange = good_image(T0_NS + 20 * SECOND_NS, "weird", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        messages = dict(good_frame(T0_NS + 20 * SECOND_NS, 1)) | {"color": strange}
        world.say_all([("tf", good_transform(T0_NS + 19 * SECOND_NS)), *messages.items()])
        told = health(world)
        assert told.level == WARN and told.code is ErrorCode.ENCODING_UNSUPPORTED
        assert "1 x rejected of camera" in told.message and "weird" in told.message
        now_s = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now_s + LOST_S + 1.0)
        assert health(world).level == OK


def test_dropped_messages_are_told_by_stream_and_reason():
    config = load_node_config({"world_frame": "world", "assembly.queue_size": 2})
    with World(config, ONE_INFO) as world:
        with world.ingest._lock:  # the thread is busy
            for k in range(9):
                world.ingest.put("camera", "color", good_image(T0_NS + k, "rgb8", np.zeros((4, 4, 3), np.uint8)))
        told = health(world)
    assert world.ingest.counts.dropped >= 6
    assert told.level == WARN and told.code is ErrorCode.BUSY
    assert "x dropped message, color of camera" in told.message and "assembly.queue_size" in told.message


def test_losses_name_the_most_frequent_first_and_no_more_than_four():
    losses = Losses()
    for k in range(7):
        for _ in range(k + 1):
            losses.add(f"kind {k}", ErrorCode.TF_GAP if k == 6 else ErrorCode.BUSY, "why " * 200)
    code, sentence = losses.within(60.0)
    assert code is ErrorCode.TF_GAP and sentence.index("7 x kind 6") < sentence.index("6 x kind 5")
    assert "kind 2" not in sentence and "3 other kinds" in sentence and len(sentence) < 1500


# Serialised transforms


class NoSubscriptions:
    received, incompatible = 0, {}

    def unread(self):
        return []


def packed(*items: TransformStamped) -> bytes:
    return serialize_message(TFMessage(transforms=list(items)))


def link(stamp_ns: int, parent: str, child: str, x: float = 0.0) -> TransformStamped:
    item = TransformStamped(child_frame_id=child)
    item.transform.translation.x = x
    return stamped(item, stamp_ns, parent)


def test_serialised_transforms_make_frames_and_late_ones_are_told_with_link_and_lag():
    with World() as world:
        for offset_ns in (-20_000_000, 20_000_000):
            world.say("tf", packed(*good_transform(T0_NS + offset_ns).transforms, link(T0_NS, "base", "marker")))
        world.say("tf", packed(link(0, "base", "marker")))
        world.say_all([item for item in good_frame(T0_NS) if item[0] != "tf"])
        assert world.ingest.counts.kept == 1
        told = transform_health(world.ingest, CONFIG, NoSubscriptions())
        assert told.level == WARN and "base -> marker" in told.message
        assert f"{T0_NS * 1e-9:.3f} s older" in told.message and "marker" in told.values["frames"]
        assert health(world).level == WARN


def test_message_in_another_encoding_is_used_all_the_same(monkeypatch):
    from sparse_recon.frames import transform_bytes

    def refuse(self, data):
        raise transform_bytes.Unreadable("another encoding")

    monkeypatch.setattr(transform_bytes.TransformBytes, "__init__", refuse)
    with World() as world:
        world.say_all([(r, serialize_message(m) if r == "tf" else m) for r, m in good_frame(T0_NS)])
        assert world.ingest.counts.kept == 1


@pytest.mark.parametrize("data", [b"", b"\0\1", b"\0\1\0\0\xff\xff\xff\x7f", b"\7\7\7\7" + bytes(200), bytes(64)])
def test_any_bytes_of_a_transform_message_are_survived(data):
    logging.getLogger("rcl").setLevel(logging.CRITICAL)
    with World() as world:
        world.say("tf", data)
        world.mistakes.clear()
        assert world.keeps_good_frames()


def test_robot_of_thirty_links_costs_less_than_a_twentieth_of_a_core():
    """28 joints in one message, 50 times a second, beside the camera's own: processor time of twenty seconds of it."""
    with World() as world:
        world.say_all(good_frame(T0_NS))
        joints = [f"joint_{k}" for k in range(28)]
        messages = []
        for k in range(1000):
            stamp_ns = T0_NS + k * SECOND_NS // 50
            messages.append(packed(*(link(stamp_ns, "base", name) for name in joints)))
            messages.append(packed(link(stamp_ns, "map", "odom"), link(stamp_ns, "odom", "base")))
        world.say("tf", messages[0])
        world.say("tf", messages[1])
        begun_s = time.process_time()
        for data in messages[2:]:
            world.ingest.put("", "tf", data)
        assert world.ingest.wait_until_used(60.0)
        assert time.process_time() - begun_s < 0.05 * 20.0
        assert world.ingest.counts.dropped == 0
        newest_ns = T0_NS + 999 * SECOND_NS // 50
        assert world.ingest.missing_pose("joint_7", newest_ns) is not None  # not below the world of the camera
        assert np.array_equal(world.ingest._assembler.transforms.lookup("map", "joint_7", newest_ns), np.eye(4))
