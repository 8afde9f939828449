"""Recordings of Foxglove's schemas, in protobuf, JSON and cdr, as the tools that use them write them."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bags.test_reader import assert_same

from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.geometry.poses import inverse, pose, quat_xyzw
from sparse_recon.types import Frame

writers = pytest.importorskip("mcap.writer", reason="the stock writer of MCAP is not installed")

# What protobuf schemas are: bytes that are no text.
DESCRIPTOR = b"\n\xff\x01\n\x1cfoxglove/RawImage.proto\x12\x08foxglove"
# Numbers of the published .proto files.
NUMBERS = {
    "CompressedImage": {"timestamp": 1, "data": 2, "format": 3, "frame_id": 4},
    "RawImage": {"timestamp": 1, "width": 2, "height": 3, "encoding": 4, "step": 5, "data": 6, "frame_id": 7},
    "CameraCalibration": {"timestamp": 1, "width": 2, "height": 3, "distortion_model": 4, "D": 5, "K": 6, "R": 7}
    | {"P": 8, "frame_id": 9},
    "FrameTransform": {"timestamp": 1, "parent_frame_id": 2, "child_frame_id": 3, "translation": 4, "rotation": 5},
    "FrameTransforms": {"transforms": 1},
    "timestamp": {"sec": 1, "nsec": 2},
    "translation": {"x": 1, "y": 2, "z": 3},
    "rotation": {"x": 1, "y": 2, "z": 3, "w": 4},
    "transforms": {"timestamp": 1, "parent_frame_id": 2, "child_frame_id": 3, "translation": 4, "rotation": 5},
}
TIME = "builtin_interfaces/Time timestamp\n"
ROS_TIME = "=" * 80 + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
VECTORS = "".join(
    f"{'=' * 80}\nMSG: geometry_msgs/{name}\n" + "".join(f"float64 {axis}\n" for axis in axes)
    for name, axes in (("Vector3", "xyz"), ("Quaternion", "xyzw"))
)
TRANSFORM = f"{TIME}string parent_frame_id\nstring child_frame_id\ngeometry_msgs/Vector3 translation\n"
TRANSFORM += "geometry_msgs/Quaternion rotation\n"
DEFINITIONS = {
    "CompressedImage": f"{TIME}string frame_id\nuint8[] data\nstring format\n{ROS_TIME}",
    "RawImage": f"{TIME}string frame_id\nuint32 width\nuint32 height\nstring encoding\nuint32 step\nuint8[] data\n"
    f"{ROS_TIME}",
    "CameraCalibration": f"{TIME}string frame_id\nuint32 width\nuint32 height\nstring distortion_model\nfloat64[] d\n"
    f"float64[9] k\nfloat64[9] r\nfloat64[12] p\n{ROS_TIME}",
    "FrameTransform": f"{TRANSFORM}{ROS_TIME}{VECTORS}",
    "FrameTransforms": f"FrameTransform[] transforms\n{'=' * 80}\nMSG: foxglove_msgs/FrameTransform\n{TRANSFORM}"
    f"{ROS_TIME}{VECTORS}",
}


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def protobuf(fields: Mapping[str, Any], schema: str, packed: bool = True) -> bytes:
    out = b""
    for name, value in fields.items():
        number = NUMBERS[schema][name]
        if isinstance(value, dict):
            value = protobuf(value, name)
        if name in ("sec", "nsec"):
            out += varint(number << 3) + varint(value)
        elif isinstance(value, int):
            out += varint(number << 3 | 5) + struct.pack("<I", value)
        elif isinstance(value, float):
            out += varint(number << 3 | 1) + struct.pack("<d", value)
        elif isinstance(value, list) and isinstance(value[0], dict):
            for item in value:
                data = protobuf(item, name)
                out += varint(number << 3 | 2) + varint(len(data)) + data
        elif isinstance(value, list) and not packed:
            out += b"".join(varint(number << 3 | 1) + struct.pack("<d", v) for v in value)
        else:
            data = struct.pack(f"<{len(value)}d", *value) if isinstance(value, list) else value
            data = data.encode() if isinstance(data, str) else data
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def as_json(fields: Mapping[str, Any], schema: str) -> bytes:
    return json.dumps(fields, default=lambda data: base64.b64encode(data).decode()).encode()


def as_cdr(fields: Mapping[str, Any], schema: str) -> bytes:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(DEFINITIONS[schema], f"foxglove_msgs/msg/{schema}"))

    def made(fields: Mapping[str, Any], kind: str) -> Any:
        values = {name.lower(): value for name, value in fields.items()}
        if "sec" in values:
            values = {"sec": values["sec"], "nanosec": values["nsec"]}
        kinds = {"timestamp": "builtin_interfaces/msg/Time", "translation": "geometry_msgs/msg/Vector3"}
        kinds |= {"rotation": "geometry_msgs/msg/Quaternion"}
        for name, value in values.items():
            if isinstance(value, dict):
                values[name] = made(value, kinds[name])
            elif isinstance(value, list) and isinstance(value[0], dict):
                values[name] = [made(item, "foxglove_msgs/msg/FrameTransform") for item in value]
            elif isinstance(value, (list, bytes)):
                values[name] = np.array(value) if isinstance(value, list) else np.frombuffer(value, np.uint8)
        return store.types[kind](**values)

    kind = f"foxglove_msgs/msg/{schema}"
    return bytes(store.serialize_cdr(made(fields, kind), kind))


ENCODINGS: dict[str, Callable[[Mapping[str, Any], str], bytes]] = {
    "protobuf": protobuf,
    "unpacked protobuf": lambda fields, schema: protobuf(fields, schema, packed=False),
    "json": as_json,
    "cdr": as_cdr,
}


class Writer:
    """An MCAP of Foxglove's schemas in one encoding."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._file = path.open("wb")
        self._writer = writers.Writer(self._file)
        self._writer.start("", "test")
        self._encoding, self._channels = encoding, {}

    def put(self, topic: str, schema: str, stamp_ns: int, fields: Mapping[str, Any]) -> None:
        self.put_bytes(topic, schema, stamp_ns, ENCODINGS[self._encoding](fields, schema))

    def put_bytes(self, topic: str, schema: str, stamp_ns: int, data: bytes) -> None:
        name = self._encoding.split()[-1]
        if topic not in self._channels:
            kinds = {
                "protobuf": ("protobuf", DESCRIPTOR),
                "json": ("jsonschema", b"{}"),
                "flatbuffer": ("flatbuffer", b"\xff"),
            }
            form, text = kinds.get(name) or ("ros2msg", DEFINITIONS[schema].encode())
            full = f"foxglove_msgs/msg/{schema}" if name == "cdr" else f"foxglove.{schema}"
            self._channels[topic] = self._writer.register_channel(
                topic, name, self._writer.register_schema(full, form, text)
            )
        self._writer.add_message(self._channels[topic], stamp_ns, data, stamp_ns)

    def close(self) -> None:
        self._writer.finish()
        self._file.close()


def time_of(stamp_ns: int) -> dict[str, int]:
    return {"sec": stamp_ns // 10**9, "nsec": stamp_ns % 10**9}


def transform(parent: str, child: str, stamp_ns: int, T: np.ndarray) -> dict[str, Any]:
    names = {"timestamp": time_of(stamp_ns), "parent_frame_id": parent, "child_frame_id": child}
    t = dict(zip("xyz", map(float, T[:3, 3]), strict=True))
    return names | {"translation": t, "rotation": dict(zip("xyzw", quat_xyzw(T[:3, :3]), strict=True))}


def record(path: Path, frames: Sequence[Frame], encoding: str, several: bool = False) -> Path:
    """Images, calibration and poses of frames; with `several` the mount is told once, with the first pose."""
    writer = Writer(path, encoding)
    T_arm_cam = pose(np.eye(3), (0.01, 0.02, 0.03))
    for k, frame in enumerate(frames):
        at = frame.stamp_ns
        head = {"timestamp": time_of(at), "frame_id": "cam"}
        camera = frame.intrinsics
        size = {"width": camera.width, "height": camera.height}
        if several:
            items = [transform("world", "arm", at, frame.T_world_cam @ inverse(T_arm_cam))]
            items += [transform("arm", "cam", at, T_arm_cam)] if k == 0 else []
            writer.put("/tf", "FrameTransforms", at, {"transforms": items})
        else:
            writer.put("/tf", "FrameTransform", at, transform("world", "cam", at, frame.T_world_cam))
        K = camera.K
        P = np.hstack([K, np.zeros((3, 1))])
        calibration = {"distortion_model": "plumb_bob", "D": [0.0] * 5, "K": K.ravel().tolist()}
        calibration |= {"R": np.eye(3).ravel().tolist(), "P": P.ravel().tolist()}
        writer.put("/camera/calibration", "CameraCalibration", at, head | size | calibration)
        png = cv2.imencode(".png", frame.rgb[..., ::-1])[1].tobytes()
        writer.put("/camera/color", "CompressedImage", at, head | {"data": png, "format": "png"})
        data = np.round(frame.depth_m * 1000).astype("<u2").tobytes()
        raw = {"encoding": "16UC1", "step": 2 * camera.width, "data": data}
        writer.put("/camera/depth", "RawImage", at, head | size | raw)
    writer.close()
    return path


@pytest.mark.parametrize("several", [False, True], ids=["one transform", "several"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_images_calibrations_and_transforms_are_read(small_frames, tmp_path: Path, encoding: str, several: bool):
    with Bag(record(tmp_path / "fox.mcap", small_frames, encoding, several)) as bag:
        assert bag.types["/camera/depth"] == "sensor_msgs/msg/Image" and bag.damage == ""
        reader = FrameReader(bag)
        assert_same(list(reader), small_frames)
        assert reader.world_frame == "world" and not reader.counts


def test_a_still_camera_needs_one_transform(small_frames, tmp_path: Path):
    """Foxglove has no static transforms: one holds until the next."""
    path = tmp_path / "fox.mcap"
    still = [Frame(f.rgb, f.depth_m, f.intrinsics, small_frames[0].T_world_cam, f.stamp_ns) for f in small_frames]
    writer = Writer(path, "json")
    writer.put("/frames", "FrameTransform", 5, transform("world", "cam", 5, still[0].T_world_cam))
    for frame in still[:4]:
        head = {"timestamp": time_of(frame.stamp_ns), "frame_id": "cam"}
        size = {"width": 64, "height": 48}
        K = frame.intrinsics.K.ravel().tolist()
        writer.put("/camera/calibration", "CameraCalibration", frame.stamp_ns, head | size | {"K": K})
        raw = {"encoding": "rgb8", "step": 3 * 64, "data": frame.rgb.tobytes()}
        writer.put("/camera/color", "RawImage", frame.stamp_ns, head | size | raw)
        data = frame.depth_m.astype("<f4").tobytes()
        raw = {"encoding": "32FC1", "step": 4 * 64, "data": data}
        writer.put("/camera/depth", "RawImage", frame.stamp_ns, head | size | raw)
    writer.close()
    with Bag(path) as bag:
        assert "/frames/tf_static" in bag.types
        assert_same(list(FrameReader(bag)), still[:4])


@pytest.mark.parametrize("data", [b"", b"\xff" * 30, b"{", b"[]", b'{"data": "?"}', b"\x0a\x7f", b"\x0d\0\0\0\0"])
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_broken_messages_cost_themselves(small_frames, tmp_path: Path, encoding: str, data: bytes, caplog):
    writer = Writer(tmp_path / "fox.mcap", encoding)
    for topic, schema in (
        ("/tf", "FrameTransforms"),
        ("/camera/color", "CompressedImage"),
        ("/i", "CameraCalibration"),
    ):
        for k in range(2):
            writer.put_bytes(topic, schema, 10 + k, data)
    writer.close()
    with Bag(tmp_path / "fox.mcap") as bag:
        messages = list(bag.messages(["/camera/color", "/i", "/tf"]))
        assert bag.damage == ""
    if data:
        assert messages == [] and "cannot be" in caplog.text
    else:  # in protobuf a message of which all fields have their default; a calibration without K is none
        assert len(messages) == (4 if encoding == "protobuf" else 0)


def test_a_recording_of_ros_2_with_a_channel_of_protobuf_is_read_whole(small_bag: Path, small_frames, tmp_path: Path):
    from rosbags.rosbag2 import Reader

    path = tmp_path / "mixed.mcap"
    with path.open("wb") as file, Reader(small_bag) as reader:
        writer = writers.Writer(file)
        writer.start("ros2", "test")
        status = writer.register_channel(
            "/status", "protobuf", writer.register_schema("my.Status", "protobuf", DESCRIPTOR)
        )
        channels = {}
        for c in reader.connections:
            schema = writer.register_schema(c.msgtype, "ros2msg", c.msgdef.data.encode())
            channels[c.id] = writer.register_channel(c.topic, "cdr", schema)
        for connection, stamp_ns, data in reader.messages():
            writer.add_message(channels[connection.id], stamp_ns, bytes(data), stamp_ns)
            writer.add_message(status, stamp_ns, b"\xff\x00", stamp_ns)
        writer.finish()
    with Bag(path) as bag:
        assert bag.damage == ""
        assert_same(list(FrameReader(bag)), small_frames)


def test_schemas_that_are_not_read_are_named(tmp_path: Path):
    writer = Writer(tmp_path / "video.mcap", "protobuf")
    writer.put_bytes("/camera/video", "CompressedVideo", 1, b"")
    writer.put("/tf", "FrameTransform", 1, transform("world", "cam", 1, np.eye(4)))
    writer.close()
    words = (
        r"of Foxglove's schemas CompressedImage, RawImage, .* are read.*not /camera/video \(foxglove.CompressedVideo\)"
    )
    with Bag(tmp_path / "video.mcap") as bag, pytest.raises(FileError, match=words) as caught:
        FrameReader(bag)
    assert caught.value.code is ErrorCode.TOPIC_UNKNOWN


def test_encodings_that_are_not_read_are_named(tmp_path: Path):
    writer = Writer(tmp_path / "flat.mcap", "flatbuffer")
    writer.put_bytes("/camera/color", "RawImage", 1, b"\xff")
    writer.close()
    with pytest.raises(FileError, match=r"flatbuffer.*/camera/color \(foxglove.RawImage\).*protobuf, JSON") as caught:
        Bag(tmp_path / "flat.mcap")
    assert caught.value.code is ErrorCode.BAG_UNREADABLE
