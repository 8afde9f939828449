"""What a message claims, or how much it holds, costs neither memory nor time beyond what a robot's messages do."""

from __future__ import annotations

import struct
import zlib
from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

from fuzz.ingest_world import (
    ANSWER_S,
    HEIGHT,
    SECOND_NS,
    T0_NS,
    WIDTH,
    World,
    good_frame,
    good_info,
    good_transform,
    memory_growth,
    stamped,
)
from processor_time import processor_time_below
from sensor_msgs.msg import CompressedImage, Image

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.frames.compressed import decoded
from sparse_recon.frames.incoming import camera_info_of
from sparse_recon.frames.rvl import decode_rvl
from sparse_recon.frames.undistort import PinholeCamera, registered_depth
from sparse_recon.types import CameraIntrinsics, Frame, OrientedBox

MEGABYTE = 1_000_000


def camera(focal_px: float, width: int = 640, height: int = 480) -> CameraIntrinsics:
    return CameraIntrinsics(width, height, np.array([[focal_px, 0, 320.0], [0, focal_px, 240.0], [0, 0, 1]]))


def rejection(world: World):
    return world.ingest.counts.rejections[-1]


def frame_with(**changes):
    """Return the messages of a good frame, some of them replaced by role."""
    return [(role, changes.get(role, message)) for role, message in good_frame(T0_NS)]


def compressed(data: bytes, form: str = "rgb8; png compressed bgr8"):
    return stamped(CompressedImage(format=form, data=array("B", data)), T0_NS)


@pytest.mark.parametrize("focal_px", [1.0, 1e-6])
def test_depth_pixels_as_large_as_the_colour_image_are_refused(focal_px: float):
    T = np.eye(4)
    T[0, 3] = 0.1
    with memory_growth() as growth, pytest.raises(InputError, match="check both camera infos") as caught:
        registered_depth(np.ones((48, 64), np.float32), camera(focal_px, 64, 48), camera(600.0), T)
    assert caught.value.code is ErrorCode.INTRINSICS_INVALID
    assert growth[0] < 20 * MEGABYTE


def test_rvl_of_a_dotted_image_is_decoded_in_time():
    pixels = np.zeros((480, 640), np.uint16)
    pixels[:, 1::2] = np.arange(1, 153_601).reshape(480, 320) % 65536
    # Each dot: one zero, one value, and 1 more than the dot before it.
    groups = np.tile(np.array([1, 1, 2], np.uint32), 153_600)
    words = np.bitwise_or.reduce(groups.reshape(-1, 8) << np.arange(28, -1, -4, dtype=np.uint32), axis=1)
    with processor_time_below(ANSWER_S):
        found = decode_rvl(memoryview(struct.pack("<ii", 640, 480) + words.astype("<u4").tobytes()))
    np.testing.assert_array_equal(found, pixels)


def test_rvl_longer_than_its_image_is_not_unpacked():
    payload = memoryview(struct.pack("<ii", WIDTH, HEIGHT) + bytes(20 * MEGABYTE))
    with memory_growth() as growth, pytest.raises(InputError, match="truncated"):
        decode_rvl(payload)
    assert growth[0] < 20 * MEGABYTE


JPEG = cv2.imencode(".jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 5_000_000, "0x0"),
        (b"\xff\xd8" + b"\xff\xff\x00\x08" + bytes(6) + JPEG[2:], "0x0"),  # fill bytes hide the next frame header
        (b"\xff\xd8" + b"\xff\xd0" + JPEG[2:], "0x0"),
        (JPEG[:-2] + b"\xff\xda\x00\x02" * 200 + JPEG[-2:], "truncated or malicious"),
    ],
)
def test_jpeg_that_decoders_read_in_another_way_or_for_long_is_refused(data: bytes, word: str):
    with processor_time_below(ANSWER_S), pytest.raises(InputError, match=word) as caught:
        decoded(memoryview(data), "jpeg", cv2.IMREAD_COLOR, None)
    assert caught.value.code is ErrorCode.SIZE_MISMATCH


def test_large_image_in_few_bytes_is_not_decoded_where_the_camera_is_small():
    data = cv2.imencode(".png", np.zeros((8000, 8000), np.uint8))[1].tobytes()
    assert len(data) < 100_000
    with World() as world:
        world.say_all(good_frame(T0_NS - SECOND_NS))
        with memory_growth() as growth:
            world.say_all(frame_with(color=compressed(data)))
        assert growth[0] < 20 * MEGABYTE
        assert rejection(world).code is ErrorCode.SIZE_MISMATCH
        assert "8000x8000" in rejection(world).message


def chunk(kind: bytes, length: int, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", length, kind) + content + struct.pack(">I", zlib.crc32(kind + content))


PNG_FILE = cv2.imencode(".png", np.full((HEIGHT, WIDTH), 700, np.uint16))[1].tobytes()
AFTER_HEADER = 33


@pytest.mark.parametrize(
    "more",
    [
        chunk(b"IDAT", 0x7FFFFFFF),
        chunk(b"iCCP", 0x60000000),
        chunk(b"IDAT", 0x60000000, bytes(100)),
        chunk(b"IHDR", 13, struct.pack(">IIBBBBB", 60000, 60000, 16, 0, 0, 0, 0)),
    ],
    ids=["data", "profile", "some data", "second header"],
)
def test_png_chunk_that_claims_gigabytes_costs_nothing(more: bytes):
    data = PNG_FILE[:AFTER_HEADER] + more + PNG_FILE[AFTER_HEADER:]
    with memory_growth() as growth, pytest.raises(InputError, match="truncated or damaged"):
        decoded(memoryview(data), "png", cv2.IMREAD_UNCHANGED, None)
    assert growth[0] < 20 * MEGABYTE


def test_what_a_png_holds_beside_its_image_is_passed_over():
    packed = zlib.compress(bytes(50 * MEGABYTE), 9)
    more = [
        (b"zTXt", b"text\0\0" + packed),
        (b"iCCP", b"profile\0\0" + packed),
        (b"acTL", bytes(8)),
        (b"gAMA", bytes(4)),
    ]
    chunks = b"".join(chunk(kind, len(content), content) for kind, content in more)
    data = PNG_FILE[:AFTER_HEADER] + chunks + PNG_FILE[AFTER_HEADER:]
    with memory_growth() as growth:
        found = decoded(memoryview(data), "png", cv2.IMREAD_UNCHANGED, None)
    assert growth[0] < 20 * MEGABYTE
    np.testing.assert_array_equal(found, np.full((HEIGHT, WIDTH), 700, np.uint16))


def test_cut_png_of_many_empty_chunks_is_refused_in_time():
    data = PNG_FILE[:AFTER_HEADER] + chunk(b"IDAT", 0) * MEGABYTE
    with processor_time_below(ANSWER_S), pytest.raises(InputError, match="truncated or damaged"):
        decoded(memoryview(data), "png", cv2.IMREAD_UNCHANGED, None)


def test_image_of_so_many_pixels_has_more_bytes():
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 8000, 8000) + bytes(40)
    with memory_growth() as growth, pytest.raises(InputError, match="64 bytes"):
        decoded(memoryview(head), "png", cv2.IMREAD_COLOR, None)
    assert growth[0] < 20 * MEGABYTE


def test_header_of_four_billion_pixels_costs_nothing():
    image = stamped(Image(height=65535, width=65537, encoding="rgb8", step=3 * 65537), T0_NS)
    with World() as world:
        world.say_all(good_frame(T0_NS - SECOND_NS))
        with memory_growth() as growth:
            world.say_all(frame_with(color=image, labels=image))
        assert growth[0] < 20 * MEGABYTE
        assert rejection(world).code is ErrorCode.SIZE_MISMATCH


def test_camera_info_of_four_billion_pixels_draws_no_detections():
    info = good_info(T0_NS)
    info.width = info.height = 2**32 - 1
    centre = SimpleNamespace(position=SimpleNamespace(x=5.0, y=5.0))
    box = SimpleNamespace(bbox=SimpleNamespace(center=centre, size_x=3.0, size_y=3.0))
    found = stamped(SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace()), detections=[box]), T0_NS)
    with World() as world, memory_growth() as growth:
        for role, message in frame_with(info=info):
            world.say_all([("detections", found) if role == "labels" else (role, message)])
        assert rejection(world).code is ErrorCode.INTRINSICS_INVALID
    assert growth[0] < 20 * MEGABYTE


def test_hundred_thousand_detections_are_refused_in_time():
    centre = SimpleNamespace(position=SimpleNamespace(x=5.0, y=5.0))
    box = SimpleNamespace(bbox=SimpleNamespace(center=centre, size_x=30.0, size_y=30.0))
    header = SimpleNamespace(stamp=SimpleNamespace())
    found = stamped(SimpleNamespace(header=header, detections=[box] * 100_000), T0_NS)
    with World() as world:
        world.say_all([item for item in good_frame(T0_NS) if item[0] != "labels"])
        world.say_all([("detections", found)])
        assert "100000 boxes" in rejection(world).message


def long_frame_id(item):
    item.header.frame_id = "f" * 5 * MEGABYTE


def long_encoding(item):
    item.encoding = "e" * 5 * MEGABYTE


def many_coefficients(item):
    item.d = [1.5] * MEGABYTE


def long_model(item):
    item.distortion_model, item.d = "m" * 5 * MEGABYTE, [1.0]


@pytest.mark.parametrize(
    ("role", "spoil"),
    [
        ("color", long_frame_id),
        ("depth", long_encoding),
        ("info", many_coefficients),
        ("depth_info", long_model),
    ],
)
def test_rejections_do_not_keep_what_they_were_given(role: str, spoil):
    messages = frame_with()
    spoil(dict(messages)[role])
    with World() as world:
        world.say_all(messages)
        assert world.ingest.counts.rejections
        assert all(len(item.message) < 1100 for item in world.ingest.counts.rejections)
        assert world.keeps_good_frames()


def test_camera_at_the_end_of_the_world_is_refused():
    message = good_transform(T0_NS)
    message.transforms[0].transform.translation.x = 1e6
    with World() as world:
        world.say_all([("tf", message)])
        world.say_all([item for item in good_frame(T0_NS) if item[0] != "tf"])
        assert rejection(world).code is ErrorCode.FRAME_INVALID
        assert "nearer frame" in rejection(world).message


@pytest.mark.parametrize("farthest_m", [1e5, -1e5])
def test_frames_are_accepted_up_to_a_hundred_kilometres(farthest_m: float):
    T = np.eye(4)
    T[1, 3] = farthest_m
    rgb = np.zeros((480, 640, 3), np.uint8)
    Frame(rgb, None, camera(600.0), T, 1)
    T[1, 3] *= 1.01
    with pytest.raises(InputError, match="origin"):
        Frame(rgb, None, camera(600.0), T, 1)


@pytest.mark.parametrize(
    ("index", "value"), [(0, 1e-300), (0, 1e300), (4, 1e-3), (2, 1e9), (5, -1e9)], ids=["fx", "fx", "fy", "cx", "cy"]
)
def test_numbers_of_no_camera_are_refused(index: int, value: float):
    info = good_info(T0_NS)
    numbers = list(info.k)
    numbers[index] = value
    info.k = numbers
    with pytest.raises(InputError, match="not plausible") as caught:
        PinholeCamera(camera_info_of(info))
    assert caught.value.code is ErrorCode.INTRINSICS_INVALID


@pytest.mark.parametrize(("place_m", "edge_m"), [(1e30, 0.1), (0.0, 1e30)])
def test_box_at_the_end_of_the_world_is_refused(place_m: float, edge_m: float):
    T = np.eye(4)
    T[2, 3] = place_m
    with pytest.raises(InputError, match="1e\\+30 m far") as caught:
        OrientedBox(T, np.array([0.1, edge_m, 0.1]))
    assert caught.value.code is ErrorCode.USAGE
