"""Messages as no camera sends them: a good one of which some fields hold anything that their type allows."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from fuzz.ingest_world import (
    HEIGHT,
    SECOND_NS,
    T0_NS,
    WIDTH,
    good_compressed,
    good_frame,
    good_image,
    good_info,
    good_transform,
    stamped,
)
from geometry_msgs.msg import TransformStamped
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from tf2_msgs.msg import TFMessage

UINT32_MAX = 2**32 - 1
ROLES = ("color", "depth", "labels", "info", "depth_info", "tf", "tf_static", "detections", "detections_3d")

uint32 = st.sampled_from([0, 1, 2, WIDTH, HEIGHT, 3 * WIDTH, 65536, 2**31, UINT32_MAX]) | st.integers(0, UINT32_MAX)
extreme = [0.0, -0.0, 1.0, -1.0, 1e-300, 5e-324, 1e30, -1e30, 1.7e308, float("nan"), float("inf"), -float("inf")]
float64 = st.sampled_from(extreme) | st.floats(-1e6, 1e6)
names = st.sampled_from(["", "/", "world", "camera_optical", "base", "a", "ä" * 300, "\n\0\u202e"]) | st.text(
    max_size=8
)
encodings = st.sampled_from(["rgb8", "bgra8", "16UC1", "32FC1", "mono8", "32SC1", "yuv422", "bayer_rggb8", ""]) | names
formats = st.sampled_from(["png", "jpeg", "16UC1; compressedDepth png", "16UC1; compressedDepth rvl", "rgb8; rvl", ""])
stamps_ns = st.integers(0, 60 * SECOND_NS).map(lambda ns: T0_NS + ns)
wild_stamps = st.sampled_from([(0, 0), (-(2**31), 0), (2**31 - 1, UINT32_MAX), (1, 1)]) | st.tuples(
    st.integers(-(2**31), 2**31 - 1), st.integers(0, UINT32_MAX)
)


@st.composite
def wild_frames(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Draw (role, message) of a few frames, in each of which some messages are wild, and others lie in between."""
    messages: list[tuple[str, Any]] = []
    for number in range(draw(st.integers(1, 3))):
        stamp_ns = T0_NS + (number + 1) * SECOND_NS
        frame = good_frame(stamp_ns, number)
        for index in draw(st.sets(st.integers(0, len(frame) - 1), max_size=3)):
            role = frame[index][0]
            if role == "labels" and draw(st.booleans()):
                role = "detections"
            frame[index] = draw(wild(role, None if draw(st.integers(0, 7)) == 0 else stamp_ns))
        for _ in range(draw(st.integers(0, 2))):
            frame.insert(draw(st.integers(0, len(frame))), draw(wild(draw(st.sampled_from(ROLES)))))
        messages += frame
    return messages


@st.composite
def wild(draw: st.DrawFn, role: str, stamp_ns: int | None = None) -> tuple[str, Any]:
    """Draw (role, message), at a stamp or at any."""
    message = draw(_KINDS[role](role))
    header = message.transforms[0].header if role.startswith("tf") else message.header
    if stamp_ns is not None:
        stamped(message.transforms[0] if role.startswith("tf") else message, stamp_ns, header.frame_id)
    elif draw(st.booleans()):
        header.stamp.sec, header.stamp.nanosec = draw(wild_stamps)
    if draw(st.integers(0, 9)) == 0:
        header.frame_id = draw(names)
    return role, message


@st.composite
def images(draw: st.DrawFn, role: str) -> Image | CompressedImage:
    """Draw a raw or compressed image."""
    if role != "labels" and draw(st.booleans()):
        return draw(compressed(role))
    encoding, dtype, shape = {
        "color": ("rgb8", "u1", (HEIGHT, WIDTH, 3)),
        "depth": ("16UC1", "<u2", (HEIGHT, WIDTH)),
        "labels": ("mono8", "u1", (HEIGHT, WIDTH)),
    }[role]
    image = good_image(draw(stamps_ns), encoding, np.full(shape, 900 % 256, dtype))
    fields = {"height": uint32, "width": uint32, "step": uint32, "is_bigendian": st.integers(0, 255)}
    for name in draw(st.sets(st.sampled_from([*fields, "encoding", "data"]), max_size=3)):
        if name == "data":
            image.data = array("B", draw(mutated(bytes(image.data))))
        else:
            setattr(image, name, draw(fields.get(name, encodings)))
    return image


@st.composite
def compressed(draw: st.DrawFn, role: str) -> CompressedImage:
    """Draw a compressed image with damaged, foreign or lying bytes."""
    image = good_compressed(draw(stamps_ns), role, draw(st.sampled_from([".png", ".jpg"])))
    if draw(st.booleans()):
        image.format = draw(formats | names)
    data = bytes(image.data)
    if draw(st.integers(0, 3)) == 0:
        size = struct.pack(">II", draw(uint32), draw(uint32))
        data = data.replace(struct.pack(">II", WIDTH, HEIGHT), size)
    if draw(st.integers(0, 3)) == 0:
        data = bytes(12) + struct.pack("<ii", *draw(st.tuples(_int32, _int32))) + draw(st.binary(max_size=64))
    image.data = array("B", draw(mutated(data)))
    return image


@st.composite
def clouds(draw: st.DrawFn) -> PointCloud2:
    """Draw an organised cloud whose sizes and fields may lie."""
    cloud = stamped(PointCloud2(height=HEIGHT, width=WIDTH, point_step=12, row_step=12 * WIDTH), draw(stamps_ns))
    cloud.fields = [PointField(name=name, offset=4 * k, datatype=7, count=1) for k, name in enumerate("xyz")]
    cloud.data = array("B", np.full((HEIGHT, WIDTH, 3), 0.7, "<f4").tobytes())
    for name in draw(st.sets(st.sampled_from(["height", "width", "point_step", "row_step", "z", "data"]), max_size=3)):
        if name == "data":
            cloud.data = array("B", draw(mutated(bytes(cloud.data))))
        elif name == "z":
            cloud.fields[2].offset, cloud.fields[2].datatype = draw(uint32), draw(st.integers(0, 255))
        else:
            setattr(cloud, name, draw(uint32))
    cloud.is_bigendian = draw(st.booleans())
    return cloud


_int32 = st.sampled_from([0, 1, -1, WIDTH, HEIGHT, 8000, 2**31 - 1, -(2**31)])


@st.composite
def infos(draw: st.DrawFn, role: str) -> CameraInfo:
    """Draw a calibration."""
    info = good_info(draw(stamps_ns))
    for name in draw(st.sets(st.sampled_from(["size", "k", "p", "d", "model", "binning", "roi"]), max_size=3)):
        if name == "size":
            info.width, info.height = draw(uint32), draw(uint32)
        elif name in ("k", "p"):
            numbers = list(getattr(info, name))
            for index in draw(st.sets(st.integers(0, len(numbers) - 1), min_size=1)):
                numbers[index] = draw(float64)
            setattr(info, name, numbers)
        elif name == "d":
            info.d = draw(st.lists(float64, max_size=15)) * draw(st.sampled_from([1, 1, 1, 1000]))
        elif name == "model":
            info.distortion_model = draw(st.sampled_from(["rational_polynomial", "equidistant"]) | names)
        elif name == "binning":
            info.binning_x, info.binning_y = draw(uint32), draw(uint32)
        else:
            info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = (draw(uint32) for _ in range(4))
    return info


@st.composite
def transforms(draw: st.DrawFn, role: str) -> TFMessage:
    """Draw a few transforms; static ones leave the root of the tree where it is, which nothing else could mend."""
    message = good_transform(draw(stamps_ns), draw(st.integers(0, 100)))
    if draw(st.integers(0, 3)) == 0:
        setattr(message.transforms[0].transform.translation, draw(st.sampled_from("xyz")), draw(float64))
    for _ in range(draw(st.integers(0, 4))):
        child = draw(names.filter(lambda name: role == "tf" or name.strip("/") != "world"))
        item = stamped(TransformStamped(child_frame_id=child), draw(stamps_ns), draw(names))
        if draw(st.integers(0, 3)) == 0:
            item.header.stamp.sec, item.header.stamp.nanosec = draw(wild_stamps)
        for part in (item.transform.translation, item.transform.rotation):
            for axis in draw(st.sets(st.sampled_from("xyz"), max_size=2)):
                setattr(part, axis, draw(float64))
        message.transforms = [*message.transforms, item]
    return message


@st.composite
def boxes(draw: st.DrawFn, role: str) -> Any:
    """Draw a vision_msgs/Detection2DArray or Detection3DArray, whose package is not installed here."""
    header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0), frame_id="")
    number = float64 if draw(st.booleans()) else st.floats(-5, 40)

    def some(axes: str) -> SimpleNamespace:
        return SimpleNamespace(**{axis: draw(number) for axis in axes})

    detections = []
    for _ in range(draw(st.integers(0, 4))):
        if role == "detections":
            box = SimpleNamespace(center=SimpleNamespace(position=some("xy"), theta=0.0), size_x=0.0, size_y=0.0)
            box.size_x, box.size_y = draw(number), draw(number)
        else:
            turned = (
                draw(st.sampled_from([SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)]))
                if draw(st.booleans())
                else some("xyzw")
            )
            box = SimpleNamespace(center=SimpleNamespace(position=some("xyz"), orientation=turned), size=some("xyz"))
        detections.append(SimpleNamespace(bbox=box, results=[]))
    message = SimpleNamespace(header=header, detections=detections * draw(st.sampled_from([1, 1, 1, 200])))
    return stamped(message, draw(stamps_ns))


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw the bytes with a few of them flipped, cut out, put in or copied elsewhere."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(changed)))
        size = draw(st.sampled_from([1, 2, 4, 8, 64, 1024]))
        how = draw(st.sampled_from(["flip", "cut", "end", "insert", "splice"]))
        if how == "flip" and at < len(changed):
            changed[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del changed[at : at + size]
        elif how == "end":
            del changed[at:]
        elif how == "insert":
            changed[at:at] = (
                draw(st.sampled_from([bytes(size), b"\xff" * size])) if size > 8 else draw(st.binary(max_size=8))
            )
        elif how == "splice":
            other = draw(st.integers(0, len(changed)))
            changed[at : at + size] = changed[other : other + size]
    return bytes(changed)


_KINDS: dict[str, Callable[[str], st.SearchStrategy[Any]]] = {
    **dict.fromkeys(("color", "depth", "labels"), images),
    **dict.fromkeys(("info", "depth_info"), infos),
    **dict.fromkeys(("tf", "tf_static"), transforms),
    **dict.fromkeys(("detections", "detections_3d"), boxes),
}
