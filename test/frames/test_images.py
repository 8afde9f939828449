"""Decoding of image messages: every accepted encoding, padding, byte order, and damage."""

from __future__ import annotations

import struct
import tracemalloc

import cv2
import numpy as np
import pytest

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.frames.depth_images import depth_image
from sparse_recon.frames.images import CompressedImage, RawImage, color_image, label_image

RGB = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
DEPTH_MM = np.random.default_rng(2).integers(200, 2900, (6, 8)).astype(np.uint16)
RANGE = (0.15, 3.0)


def raw(encoding: str, pixels: np.ndarray, padding: int = 0, bigendian: bool = False) -> RawImage:
    height, width = pixels.shape[:2]
    order = ">" if bigendian else "<"
    rows = pixels.astype(pixels.dtype.newbyteorder(order)).reshape(height, -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    return RawImage(encoding, width, height, rows.shape[1], bigendian, rows.tobytes())


def rvl(depth: np.ndarray) -> bytes:
    """Encode as the paper's listing does, one pixel and one nibble at a time."""
    nibbles: list[int] = []

    def put(value: int) -> None:
        while True:
            value, low = value >> 3, value & 7
            nibbles.append(low | (8 if value else 0))
            if not value:
                return

    pixels, at, last = depth.ravel().tolist(), 0, 0
    while at < len(pixels):
        start = at
        while at < len(pixels) and pixels[at] == 0:
            at += 1
        put(at - start)
        start = at
        while at < len(pixels) and pixels[at] != 0:
            at += 1
        put(at - start)
        for value in pixels[start:at]:
            delta = value - last
            put((delta << 1) ^ (delta >> 31))
            last = value
    nibbles += [0] * (-len(nibbles) % 8)
    words = [sum(n << (28 - 4 * k) for k, n in enumerate(nibbles[i : i + 8])) for i in range(0, len(nibbles), 8)]
    return struct.pack(f"<ii{len(words)}I", depth.shape[1], depth.shape[0], *words)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("8UC3", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, RGB[..., :1]])),
        ("bgra8", np.dstack([RGB[..., ::-1], RGB[..., :1]])),
    ],
)
def test_colour_encodings_give_the_same_rgb(encoding: str, pixels: np.ndarray, padding: int):
    np.testing.assert_array_equal(color_image(raw(encoding, pixels, padding)), RGB)


RGB16 = np.random.default_rng(5).integers(0, 65536, (6, 8, 3), dtype=np.uint16)


@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb16", RGB16),
        ("bgr16", RGB16[..., ::-1]),
        ("rgba16", np.dstack([RGB16, RGB16[..., :1]])),
        ("bgra16", np.dstack([RGB16[..., ::-1], RGB16[..., :1]])),
    ],
)
def test_of_sixteen_bits_the_upper_eight_are_used(encoding: str, pixels: np.ndarray, padding: int, bigendian: bool):
    np.testing.assert_array_equal(color_image(raw(encoding, pixels, padding, bigendian)), RGB16 // 256)


@pytest.mark.parametrize("bigendian", [False, True])
def test_grey_of_sixteen_bits(bigendian: bool):
    rgb = color_image(raw("mono16", RGB16[..., 0], 4, bigendian))
    np.testing.assert_array_equal(rgb, np.repeat(RGB16[..., :1] // 256, 3, axis=2))


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(("encoding", "order"), [("nv12", (0, 1)), ("nv21", (1, 0))])
def test_half_planes_of_a_red_and_a_blue_half(encoding: str, order: tuple[int, int], padding: int):
    luma = np.repeat(np.array([[82, 41]], np.uint8), 4, axis=1).repeat(4, axis=0)  # ITU-R BT.601 red, blue
    chroma = (
        np.array([[90, 240], [240, 110]], np.uint8)[:, list(order)].repeat(2, axis=0).reshape(1, 8).repeat(2, axis=0)
    )
    planes = raw("mono8", np.vstack([luma, chroma]), padding)
    rgb = color_image(RawImage(encoding, 8, 4, planes.step, False, planes.data))
    assert rgb.shape == (4, 8, 3)
    np.testing.assert_allclose(rgb[:, 1], np.tile([255, 0, 0], (4, 1)), atol=6)
    np.testing.assert_allclose(rgb[:, 6], np.tile([0, 0, 255], (4, 1)), atol=6)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_becomes_three_equal_channels(encoding: str):
    rgb = color_image(raw(encoding, RGB[..., 0], padding=3))
    np.testing.assert_array_equal(rgb, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize(("encoding", "order"), [("yuv422", (1, 0)), ("yuv422_yuy2", (0, 1)), ("yuyv", (0, 1))])
def test_yuv_of_a_red_image_is_red(encoding: str, order: tuple[int, int]):
    y, u, v = 82, 90, 240  # ITU-R BT.601 red
    pair = np.array([[[y, u], [y, v]]], np.uint8)[..., list(order)]
    rgb = color_image(raw(encoding, np.tile(pair, (4, 3, 1))))
    assert rgb[2, 3].tolist() == pytest.approx([255, 0, 0], abs=6)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_of_a_uniform_colour_is_that_colour(order: str, bits: int):
    encoding = f"bayer_{order}{bits}"
    color = {"r": 200, "g": 100, "b": 30}
    pattern = np.array([color[c] for c in order], np.uint8).reshape(2, 2)
    if bits == 16:
        pattern = pattern.astype(np.uint16) * 256 + 77
    assert color_image(raw(encoding, np.tile(pattern, (8, 8))))[8, 8].tolist() == [200, 100, 30]


@pytest.mark.parametrize(
    ("encoding", "shape"),
    [("rgb8", (6, 8, 3)), ("bgra8", (6, 8, 4)), ("mono8", (6, 8)), ("bayer_rggb8", (6, 8)), ("yuv422", (6, 8, 2))],
)
def test_equals_rosbags_image_where_rows_are_not_padded(encoding: str, shape: tuple[int, ...]):
    rosbags_image = pytest.importorskip("rosbags.image")
    image = raw(encoding, np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8))
    np.testing.assert_array_equal(color_image(image), rosbags_image.message_to_cvimage(image, "rgb8"))


@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_sixteen_bit_depth_is_millimetres(encoding: str, bigendian: bool):
    depth_m = depth_image(raw(encoding, DEPTH_MM, padding=2, bigendian=bigendian), *RANGE)
    assert depth_m.dtype == np.float32
    np.testing.assert_allclose(depth_m, DEPTH_MM / 1000.0, rtol=1e-6)


@pytest.mark.parametrize("bigendian", [False, True])
def test_float_depth_is_metres(bigendian: bool):
    depth = (DEPTH_MM / 1000.0).astype(np.float32)
    np.testing.assert_array_equal(depth_image(raw("32FC1", depth, padding=8, bigendian=bigendian), *RANGE), depth)


def test_invalid_and_out_of_range_depth_is_nan():
    depth = np.array([[0.0, np.nan, np.inf, -np.inf, -1.0, 0.149, 0.15, 3.0, 3.001]], np.float32)
    depth_m = depth_image(raw("32FC1", depth), *RANGE)
    assert np.isfinite(depth_m[0]).tolist() == [False] * 6 + [True, True, False]
    assert np.isnan(depth_image(raw("16UC1", np.array([[0, 65535]], np.uint16)), *RANGE)).all()


@pytest.mark.parametrize(
    ("encoding", "dtype"), [("mono8", np.uint8), ("8UC1", np.uint8), ("16UC1", np.uint16), ("32SC1", np.int32)]
)
def test_labels_become_int32(encoding: str, dtype: type):
    labels = np.arange(48).reshape(6, 8).astype(dtype)
    out = label_image(raw(encoding, labels, padding=1))
    assert out.dtype == np.int32
    np.testing.assert_array_equal(out, labels)


@pytest.mark.parametrize(
    ("decode", "encoding"),
    [(color_image, "16UC1"), (lambda i: depth_image(i, *RANGE), "rgb8"), (label_image, "32FC1"), (color_image, "")],
)
def test_wrong_encoding_names_what_is_accepted(decode, encoding: str):
    with pytest.raises(InputError, match="accepted are") as caught:
        decode(RawImage(encoding, 4, 4, 16, False, bytes(64)))
    assert caught.value.code is ErrorCode.ENCODING_UNSUPPORTED


@pytest.mark.parametrize(
    "image",
    [
        RawImage("rgb8", 8, 6, 24, False, bytes(8 * 6 * 3 - 1)),
        RawImage("rgb8", 8, 6, 23, False, bytes(1000)),
        RawImage("rgb8", 0, 6, 0, False, b""),
        RawImage("rgb8", 2**32 - 1, 2**32 - 1, 2**34, False, bytes(100)),
        RawImage("yuv422", 7, 2, 14, False, bytes(28)),
        RawImage("nv12", 7, 2, 7, False, bytes(28)),
        RawImage("nv12", 8, 3, 8, False, bytes(40)),
        RawImage("nv21", 8, 4, 8, False, bytes(47)),
        RawImage("bayer_rggb16", 8, 4, 16, False, bytes(63)),
    ],
)
def test_size_contradictions_cost_no_memory(image: RawImage):
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        color_image(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code is ErrorCode.SIZE_MISMATCH
    assert peak < 100_000


@pytest.mark.parametrize(
    ("format_", "channels"),
    [("png", "bgr"), ("rgb8; png compressed bgr8", "bgr"), ("rgb8; png compressed rgb8", "rgb")],
)
def test_png_colour(format_: str, channels: str):
    data = cv2.imencode(".png", RGB[..., ::-1] if channels == "bgr" else RGB)[1].tobytes()
    np.testing.assert_array_equal(color_image(CompressedImage(format_, data)), RGB)


@pytest.mark.parametrize("format_", ["jpeg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8"])
def test_jpeg_colour_is_close(format_: str):
    smooth = cv2.resize(RGB[:3, :4], (64, 48), interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(".jpg", smooth[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    assert np.abs(color_image(CompressedImage(format_, data)).astype(int) - smooth).mean() < 8


@pytest.mark.parametrize("format_", ["16UC1; compressedDepth png", "16UC1; compressedDepth", "16UC1;compressedDepth"])
def test_compressed_depth_skips_its_header(format_: str):
    data = struct.pack("<iff", 0, 0.0, 0.0) + cv2.imencode(".png", DEPTH_MM)[1].tobytes()
    np.testing.assert_allclose(depth_image(CompressedImage(format_, data), *RANGE), DEPTH_MM / 1000.0, rtol=1e-6)


def test_compressed_float_depth_undoes_the_inverse_quantisation():
    # The transport's own numbers: depth_quantization 100, depth_max 10 m.
    a = 100.0 * (100.0 + 1.0)
    b = 1.0 - a / 10.0
    depth = (DEPTH_MM / 1000.0).astype(np.float32)
    depth[0, 0] = np.nan
    quantised = np.where(np.isnan(depth), 0, a / np.nan_to_num(depth, nan=1.0) + b).astype(np.uint16)
    data = struct.pack("<iff", 1, a, b) + cv2.imencode(".png", quantised)[1].tobytes()
    depth_m = depth_image(CompressedImage("32FC1; compressedDepth png", data), *RANGE)
    assert np.isnan(depth_m[0, 0])
    np.testing.assert_allclose(depth_m.ravel()[1:], depth.ravel()[1:], rtol=1e-3)


def test_plain_sixteen_bit_png_is_millimetres():
    data = cv2.imencode(".png", DEPTH_MM)[1].tobytes()
    depth_m = depth_image(CompressedImage("16UC1; png compressed ", data), *RANGE)
    np.testing.assert_allclose(depth_m, DEPTH_MM / 1000.0, rtol=1e-6)


def test_rvl_depth():
    depth = DEPTH_MM.copy()
    depth[0, :3] = 0
    depth[2:4] = 0
    depth[5, 7] = 0
    data = struct.pack("<iff", 0, 0.0, 0.0) + rvl(depth)
    depth_m = depth_image(CompressedImage("16UC1; compressedDepth rvl", data), *RANGE)
    np.testing.assert_allclose(np.nan_to_num(depth_m), depth / 1000.0, rtol=1e-6)


@pytest.mark.parametrize("cut", [0, 4, 12, 18, 40, -6])
@pytest.mark.parametrize("kind", ["png", "rvl"])
def test_cut_compressed_depth_is_refused(kind: str, cut: int):
    payload = rvl(DEPTH_MM) if kind == "rvl" else cv2.imencode(".png", DEPTH_MM)[1].tobytes()
    data = (struct.pack("<iff", 0, 0.0, 0.0) + payload)[:cut]
    with pytest.raises(InputError):
        depth_image(CompressedImage(f"16UC1; compressedDepth {kind}", data), *RANGE)


def test_png_that_states_four_billion_pixels_costs_nothing():
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 65535, 65535) + bytes(40)
    with pytest.raises(InputError, match="65535x65535") as caught:
        color_image(CompressedImage("png", data))
    assert caught.value.code is ErrorCode.SIZE_MISMATCH


def test_jpeg_behind_a_long_exif_block_is_read():
    data = cv2.imencode(".jpg", RGB)[1].tobytes()
    exif = b"\xff\xe1" + struct.pack(">H", 65000) + bytes(64998)
    assert color_image(CompressedImage("jpeg", data[:2] + exif + exif + data[2:])).shape == RGB.shape


def test_unknown_file_inside_is_refused():
    with pytest.raises(InputError, match="accepted are PNG and JPEG") as caught:
        color_image(CompressedImage("h264", b"\x00\x00\x00\x01" + bytes(100)))
    assert caught.value.code is ErrorCode.ENCODING_UNSUPPORTED


def test_lossy_labels_are_refused():
    data = cv2.imencode(".jpg", RGB[..., 0])[1].tobytes()
    with pytest.raises(InputError, match="lossy"):
        label_image(CompressedImage("jpeg", data))
