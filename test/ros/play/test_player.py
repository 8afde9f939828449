"""Recordings over real DDS: the player in one process, its subscribers in another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sparse_recon.bags.frames_bag import transient_local, write_frames
from sparse_recon.bags.reader import Bag
from sparse_recon.errors import DependencyError, InputError
from sparse_recon.geometry.poses import look_at
from sparse_recon.ros.play.timeline import CLOCK, is_static, merged_transforms, timeline, within
from sparse_recon.types import CameraIntrinsics, Frame

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")
pytest.importorskip("tf2_msgs.msg", reason="the workspace is not built or not sourced: make test")

from domains import new_domain
from listening import PATIENCE_S, Listener, command
from rclpy.qos import LivelinessPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from sparse_recon.ros.play.publisher_qos import PublisherQos, chosen_qos, is_cdr, message_class, qos_profile

DOMAIN = new_domain()
IMAGE, DEPTH, INFO = "/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw", "/camera/color/camera_info"
MOVING = {IMAGE: Image, DEPTH: Image, INFO: CameraInfo, "/tf": TFMessage}
FRAMES = 6
PERIOD_NS = 100_000_000
TEXT_DEFINITION = "string data\n"


def write_noise(path: Path, width: int, height: int, count: int) -> Path:
    """Write frames of noise, 0.1 s apart; two static transforms, each a message of its own."""
    camera = CameraIntrinsics(width, height, np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]]))
    rng = np.random.default_rng(3)
    frames = [
        Frame(
            rgb=rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
            depth_m=(rng.integers(300, 2900, (height, width)) * np.float32(1e-3)).astype(np.float32),
            intrinsics=camera,
            T_world_cam=look_at((0.5, 0.05 * k, 0.4), (0.0, 0.0, 0.0)),
            stamp_ns=1_700_000_000_000_000_000 + k * PERIOD_NS,
        )
        for k in range(count)
    ]
    write_frames(frames, path, world_frame="world")
    return path


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of 64x48 pixels."""
    return write_noise(tmp_path_factory.mktemp("player") / "small", 64, 48, FRAMES)


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener(DOMAIN)
    yield made
    made.close()


def recorded(bag: Path) -> dict[str, list[bytes]]:
    messages: dict[str, list[bytes]] = {}
    with Bag(bag) as opened:
        for topic, _, data in opened.serialised(opened.types):
            messages.setdefault(topic, []).append(bytes(data))
    return messages


def write_texts(path: Path, topics: dict[str, str], *, qos: Any = (), texts: tuple[bytes, ...] | None = None) -> Path:
    """Write three messages on each topic of the given type, in whose place a string lies."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    texts = texts or tuple(b"\x00\x01\x00\x00\x02\x00\x00\x00%d\x00" % k for k in range(3))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, msgtype in topics.items():
            connection = writer.add_connection(
                topic, msgtype, msgdef=TEXT_DEFINITION, rihs01="RIHS01_" + "0" * 64, offered_qos_profiles=qos
            )
            for k, data in enumerate(texts):
                writer.write(connection, 10**18 + k * PERIOD_NS, data)
    return path


def padded(data: bytes) -> bytes:
    """Return what arrives: DDS fills serialised messages up to whole words."""
    return data + bytes(-len(data) % 4)


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, json.loads(out) if out else {}, err


@pytest.fixture(scope="module")
def three_passes(bag: Path) -> Iterator[tuple[dict[str, Any], dict[str, list[bytes]]]]:
    """The report of three passes, and what arrived: reliable, and best effort under `lossy` and the topic."""
    listener = Listener(DOMAIN)
    for topic, message_type in MOVING.items():
        listener.subscribe(topic, message_type)
        listener.subscribe(topic, message_type, reliable=False, key=f"lossy{topic}")
    listener.subscribe(CLOCK, Clock)
    listener.subscribe("/tf_static", TFMessage)
    words = ["--loop", "3", "--rate", "2", "--clock", "50", "--pause-between", "0.1", "--json"]
    with command(["play", str(bag), *words], DOMAIN) as player:
        listener.spin_until_ended(player)
        code, report, err = ended(player)
    listener.close()
    assert code == 0, err
    return report, listener.received


def test_three_passes_arrive_whole_and_unchanged(bag: Path, three_passes: Any):
    report, received = three_passes
    assert report["messages"] == dict.fromkeys(MOVING, 3 * FRAMES) | {"/tf_static": 3}
    assert (report["loops"], report["left_out"], report["without_subscribers"]) == (3, {}, [])
    for topic, truth in recorded(bag).items():
        if topic in MOVING:
            assert received[topic] == [padded(data) for data in truth] * 3
            assert received[f"lossy{topic}"] == received[topic]


def test_static_transforms_come_once_a_pass(three_passes: Any):
    _, received = three_passes
    assert len(received["/tf_static"]) == 3 and len(set(received["/tf_static"])) == 1


def test_clock_jumps_back_only_where_a_pass_begins(bag: Path, three_passes: Any):
    stamps = [deserialize_message(data, Clock).clock for data in three_passes[1][CLOCK]]
    times_ns = np.array([stamp.sec * 10**9 + stamp.nanosec for stamp in stamps])
    with Bag(bag) as opened:
        log_times_ns = [log_ns for _, log_ns, _ in opened.serialised(opened.types)]
    jumps = np.flatnonzero(np.diff(times_ns) < 0)
    assert len(jumps) == 2
    assert set(times_ns[jumps]) == {max(log_times_ns)} == {times_ns[-1]}
    assert set(times_ns[jumps + 1]) == {min(log_times_ns)}
    # 50 Hz of 0.25 s, half a second at double speed, and of 0.1 s of pause in which the time stands still.
    assert all(abs(part - 18) <= 1 for part in np.diff([-1, *jumps, len(times_ns) - 1]))


def test_late_joiner_gets_all_static_transforms(bag: Path, listener: Listener):
    listener.subscribe(IMAGE, Image)
    with command(["play", str(bag), "--rate", "0.1", "--topics", IMAGE, "/tf_static"], DOMAIN) as player:
        listener.spin_until(lambda: bool(listener.received[IMAGE]))
        listener.subscribe("/tf_static", TFMessage, latched=True)
        listener.spin_until(lambda: bool(listener.received["/tf_static"]))
        assert len(listener.received[IMAGE]) < FRAMES
        player.send_signal(signal.SIGTERM)
        code, _, err = ended(player)
    assert code == 0 and "Traceback" not in err
    message = deserialize_message(listener.received["/tf_static"][0], TFMessage)
    assert [(t.header.frame_id, t.child_frame_id) for t in message.transforms] == [
        ("world", "base_link"),
        ("camera_link", "camera_color_optical_frame"),
    ]
    np.testing.assert_allclose(message.transforms[1].transform.rotation.x, 0.5, atol=1e-12)


def test_rate_is_a_factor(bag: Path):
    seconds = {}
    for rate in ("1", "10"):
        words = ["--rate", rate, "--wait-for-subscribers", "0", "--json"]
        with command(["play", str(bag), *words], DOMAIN) as player:
            seconds[rate] = ended(player)[1]["seconds"]
    assert seconds["1"] >= 0.5 and seconds["10"] >= 0.05
    assert seconds["1"] > 2 * seconds["10"]  # ten times less waiting, on a machine that is busy


def test_large_images_arrive_at_best_effort_subscribers_without_any_configuration(tmp_path: Path, listener: Listener):
    bag = write_noise(tmp_path / "large", 640, 480, 4)
    for topic in (IMAGE, DEPTH):
        listener.subscribe(topic, Image, reliable=False)
    profiles = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    with command(["play", str(bag), "--loop", "4"], DOMAIN, without=profiles) as player:
        listener.spin_until_ended(player)
        assert ended(player)[0] == 0
    # A subscriber may learn of the publisher after the publisher of it: the first image of a topic may go before that.
    assert all(15 <= len(got) <= 16 for got in listener.received.values()), [
        len(got) for got in listener.received.values()
    ]


def test_remapped_topics_alone_are_played(bag: Path, listener: Listener):
    listener.subscribe("/image", Image)
    listener.subscribe("/tf", TFMessage)
    words = ["--topics", IMAGE, INFO, "--remap", f"{IMAGE}:=/image", "--rate", "5", "--json"]
    with command(["play", str(bag), *words], DOMAIN) as player:
        listener.spin_until_ended(player)
        _, report, _ = ended(player)
    assert report["messages"] == {"/image": FRAMES, INFO: FRAMES}
    assert listener.received == {"/image": [padded(data) for data in recorded(bag)[IMAGE]], "/tf": []}


def test_part_of_a_recording(bag: Path, listener: Listener):
    listener.subscribe(IMAGE, Image)
    words = ["--topics", IMAGE, "--start-offset", "0.15", "--duration", "0.2"]
    with command(["play", str(bag), *words], DOMAIN) as player:
        listener.spin_until_ended(player)
        assert ended(player)[0] == 0
    assert listener.received[IMAGE] == [padded(data) for data in recorded(bag)[IMAGE][2:4]]


def test_unknown_types_are_named_and_left_out(tmp_path: Path, listener: Listener):
    bag = write_texts(tmp_path / "bag", {"/known": "std_msgs/msg/String", "/alien": "no_such_msgs/msg/Thing"})
    listener.subscribe("/known", String)
    with command(["play", str(bag), "--json"], DOMAIN) as player:
        listener.spin_until_ended(player)
        code, report, err = ended(player)
    assert code == 0
    assert len(listener.received["/known"]) == 3
    assert list(report["left_out"]) == ["/alien"] and "no_such_msgs/msg/Thing" in report["left_out"]["/alien"]
    assert "WARNING: /alien is skipped" in err


def test_recording_of_unknown_types_only_is_an_error(tmp_path: Path):
    bag = write_texts(tmp_path / "bag", {"/alien": "no_such_msgs/msg/Thing"})
    with command(["play", str(bag), "--json"], DOMAIN) as player:
        code, report, err = ended(player)
    assert code == 1 and report["error"]["name"] == "DEPENDENCY_MISSING"
    assert "/alien" in err and "no_such_msgs/msg/Thing" in err


def test_damaged_recording_is_played_as_far_as_it_goes(bag: Path, tmp_path: Path, listener: Listener):
    whole = next(bag.glob("*.mcap")).read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[: len(whole) // 2])
    listener.subscribe(IMAGE, Image)
    with command(["play", str(cut), "--topics", IMAGE, "--json"], DOMAIN) as player:
        listener.spin_until_ended(player)
        code, report, err = ended(player)
    truth = [padded(data) for data in recorded(cut)[IMAGE]]
    assert 0 < len(truth) < FRAMES
    assert listener.received[IMAGE] == truth
    assert code == 1 and report["error"]["name"] == "BAG_UNREADABLE"
    assert "is damaged" in err and f"{report['messages'][IMAGE]}  {IMAGE}" in err


def test_both_byte_orders_are_passed_on(tmp_path: Path, listener: Listener):
    texts = (b"\x00\x00\x00\x00\x00\x00\x00\x04big\x00", b"\x00\x01\x00\x00\x07\x00\x00\x00little\x00", b"\x28\xb5")
    bag = write_texts(tmp_path / "bag", {"/text": "std_msgs/msg/String"}, texts=texts)
    listener.subscribe("/text", String)
    with command(["play", str(bag), "--json"], DOMAIN) as player:
        listener.spin_until_ended(player)
        code, report, err = ended(player)
    assert code == 0, err
    assert [deserialize_message(data, String).data for data in listener.received["/text"]] == ["big", "little"]
    assert "not serialised as CDR" in report["left_out"]["/text"]


def test_latched_topics_stay_latched(tmp_path: Path, listener: Listener):
    bag = write_texts(tmp_path / "bag", {"/map_name": "std_msgs/msg/String"}, qos=[transient_local()])
    with command(["play", str(bag), "--pause-between", "20", "--wait-for-subscribers", "0"], DOMAIN) as player:
        listener.spin_until(lambda: listener.node.count_publishers("/map_name") == 1)
        listener.subscribe("/map_name", String, latched=True)
        listener.spin_until(lambda: [d[8:9] for d in listener.received["/map_name"]][-1:] == [b"2"])
        player.send_signal(signal.SIGTERM)
        assert ended(player)[0] == 0


def test_subscriber_that_wants_more_than_was_recorded_is_told(tmp_path: Path, listener: Listener):
    from rosbags.interfaces import QosDurability, QosReliability

    lossy = transient_local()._replace(reliability=QosReliability.BEST_EFFORT, durability=QosDurability.VOLATILE)
    bag = write_texts(tmp_path / "bag", {"/text": "std_msgs/msg/String"}, qos=[lossy])
    listener.subscribe("/text", String, reliable=True)
    with command(["play", str(bag), "--json"], DOMAIN) as player:
        listener.spin_until_ended(player)
        code, report, err = ended(player)
    assert code == 0 and report["without_subscribers"] == ["/text"]
    assert "quality of service does not match: offered are best_effort and volatile" in err


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_end_it_quickly_with_a_summary(bag: Path, listener: Listener, number: signal.Signals, expected: int):
    listener.subscribe(IMAGE, Image)
    with command(["play", str(bag), "--loop", "0", "--topics", IMAGE, "--json"], DOMAIN) as player:
        listener.spin_until(lambda: len(listener.received[IMAGE]) > FRAMES)
        os.killpg(player.pid, number)
        out, err = player.communicate(timeout=PATIENCE_S)
    assert player.returncode == expected
    assert "Traceback" not in err and "whole pass" in err
    report = json.loads(out)
    assert report["exit_code"] == expected and report["messages"][IMAGE] >= FRAMES


def test_timeline_keeps_log_times_at_a_rate_and_ticks_before_messages():
    messages = [("/a", 1_000, b"1"), ("/b", 500_001_000, b"2"), ("/a", 400_000_000, b"3")]
    events = list(timeline(messages, 1_000, rate=2.0, clock_hz=10.0, pause_s=0.1))
    told = [(round(e.due_s, 9), e.played_ns) for e in events if e.topic == CLOCK]
    assert told == [(0.0, 1_000), (0.1, 200_001_000), (0.2, 400_001_000), (0.25, 500_001_000), (0.3, 500_001_000)]
    assert [(e.due_s, e.data) for e in events if e.topic != CLOCK] == [(0.0, b"1"), (0.25, b"2"), (0.25, b"3")]
    assert events[0].topic == CLOCK and [e.due_s for e in events] == sorted(e.due_s for e in events)


def test_window_ends_reading_soon_after_its_end():
    read = []

    def messages() -> Iterator[tuple[str, int, bytes]]:
        for second in range(100):
            read.append(second)
            yield "/a", second * 10**9, b""

    assert [log_ns for _, log_ns, _ in within(messages(), 10**9, 3 * 10**9)] == [10**9, 2 * 10**9, 3 * 10**9]
    assert read[-1] == 5


def transform(parent: str, child: str, x: float) -> Any:
    header = SimpleNamespace(frame_id=parent, stamp=SimpleNamespace(sec=1, nanosec=2))
    moved = SimpleNamespace(
        translation=SimpleNamespace(x=x, y=0.0, z=0.0), rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
    )
    return SimpleNamespace(header=header, child_frame_id=child, transform=moved)


def test_static_transforms_of_several_publishers_become_one_message():
    publishers = [("map", "base", 1.0), ("base", "camera", 2.0)], [("arm", "gripper", 3.0)], [("map", "base", 4.0)]
    messages = [SimpleNamespace(transforms=[transform(*item) for item in items]) for items in publishers]
    merged = merged_transforms(messages)["transforms"]
    assert [(t["child_frame_id"], t["transform"]["translation"]["x"]) for t in merged] == [
        ("base", 4.0),
        ("camera", 2.0),
        ("gripper", 3.0),
    ]
    assert is_static("/robot/tf_static", "tf2_msgs/msg/TFMessage") and not is_static("/tf", "tf2_msgs/msg/TFMessage")


def recorded_qos(**changes: Any) -> Any:
    from rosbags.interfaces import QosDurability, QosHistory, QosReliability, QosTime

    names = {"reliability": QosReliability, "durability": QosDurability, "history": QosHistory}
    changes = {key: names[key][value] if key in names else value for key, value in changes.items()}
    changes = {key: QosTime(*value) if isinstance(value, tuple) else value for key, value in changes.items()}
    return transient_local()._replace(**{"durability": QosDurability.VOLATILE, **changes})


@pytest.mark.parametrize(
    ("recorded", "offer"),
    [
        ([], PublisherQos()),
        ([{"reliability": "BEST_EFFORT", "depth": 5}], PublisherQos(reliable=False)),
        ([{"durability": "TRANSIENT_LOCAL", "depth": 3}], PublisherQos(latched=True, depth=3)),
        ([{"durability": "TRANSIENT_LOCAL", "history": "UNKNOWN", "depth": 0}], PublisherQos(latched=True)),
        ([{"history": "KEEP_ALL", "depth": 0}], PublisherQos()),
        ([{"history": "KEEP_LAST", "depth": 100}], PublisherQos(depth=100)),
        ([{"reliability": "BEST_EFFORT"}, {}], PublisherQos()),
        ([{"deadline": (0, 5)}, {"deadline": (1, 0), "lifespan": (2, 0)}], PublisherQos(deadline_ns=5)),
    ],
)
def test_offered_qos_is_what_was_recorded(recorded: list[dict[str, Any]], offer: PublisherQos):
    assert chosen_qos("/a", "std_msgs/msg/String", [recorded_qos(**changes) for changes in recorded]) == offer


def test_static_transforms_are_one_latched_message_however_they_were_recorded():
    lossy = recorded_qos(reliability="BEST_EFFORT", depth=100)
    assert chosen_qos("/tf_static", "tf2_msgs/msg/TFMessage", [lossy]) == PublisherQos(latched=True, depth=1)


def test_profile_of_the_default_offer_is_that_of_rclpy():
    assert qos_profile(PublisherQos()) == QoSProfile(depth=10, liveliness=LivelinessPolicy.AUTOMATIC)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_recorded_quality_of_service_survives_damage(bag: Path, tmp_path: Path, storage: str):
    from rosbags.rosbag2 import Reader, StoragePlugin, Writer

    with (
        Reader(bag) as reader,
        Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer,
    ):
        for c in reader.connections:
            made = writer.add_connection(
                c.topic, c.msgtype, msgdef=c.msgdef.data, rihs01=c.digest, offered_qos_profiles=[recorded_qos(depth=7)]
            )
            for _, log_ns, data in reader.messages(connections=[c]):
                writer.write(made, log_ns, data)
    file = next(p for p in (tmp_path / "bag").iterdir() if p.suffix in (".mcap", ".db3"))
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.8)])
    with Bag(file) as opened:
        assert {qos.depth for offers in opened.offered_qos.values() for qos in offers} == {7}
        assert len(opened.offered_qos[IMAGE]) == 1


def test_type_names_import_nothing_but_message_packages():
    assert message_class("std_msgs/msg/String") is String
    for name, error in [("antigravity/msg/Fly", DependencyError), ("std_msgs/srv/String", InputError)]:
        with pytest.raises(error, match=name):
            message_class(name)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("data", "known"), [(b"\0\1\0\0", True), (b"\0\0\0\0x", True), (b"\0\7\0\0", True), (b"\x28\xb5\x2f\xfd", False)]
)
def test_header_of_a_message_is_looked_at(data: bytes, known: bool):
    assert is_cdr(data) is known and not is_cdr(data[:3])
