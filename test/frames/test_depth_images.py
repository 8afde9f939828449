"""Depth in the units of sensors that do not keep to REP 118."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode
from sparse_recon.frames.depth_images import depth_image, empty_depth
from sparse_recon.frames.images import CompressedImage, Image, RawImage

DEPTH_M = np.array([[0.5, 1.25], [2.0, 0.75]])


def raw(counts: np.ndarray, encoding: str) -> RawImage:
    return RawImage(encoding, 2, 2, counts[0].nbytes, False, counts.tobytes())


def packed(counts: np.ndarray) -> CompressedImage:
    data = struct.pack("<iff", 0, 0.0, 0.0) + cv2.imencode(".png", counts)[1].tobytes()
    return CompressedImage("16UC1; compressedDepth png", data)


@pytest.mark.parametrize("unit_m", [0.00025, 0.0001, 0.0002])
@pytest.mark.parametrize("made", [lambda counts: raw(counts, "16UC1"), packed])
def test_counts_are_read_in_the_unit_that_is_said(unit_m: float, made):
    image = made(np.round(DEPTH_M / unit_m).astype(np.uint16))
    np.testing.assert_allclose(depth_image(image, 0.1, 10.0, unit_m=unit_m), DEPTH_M, rtol=1e-6)


def test_float_millimetres_are_read_in_the_unit_that_is_said():
    image = raw((DEPTH_M * 1000).astype(np.float32), "32FC1")
    np.testing.assert_allclose(depth_image(image, 0.1, 10.0, unit_m=0.001), DEPTH_M, rtol=1e-6)


def test_the_message_is_left_as_it_is():
    counts = DEPTH_M.astype(np.float32)
    image = RawImage("32FC1", 2, 2, 8, False, counts.view(np.uint8).reshape(-1))
    depth_image(image, 0.6, 1.0)
    np.testing.assert_array_equal(counts, DEPTH_M)


@pytest.mark.parametrize(
    ("image", "unit_m", "words"),
    [
        (raw((DEPTH_M * 1000).astype(np.float32), "32FC1"), 0.0, ["1000 m", "'32FC1' of 1 m a count (by encoding)"]),
        (raw(np.full((2, 2), 10, np.uint16), "16UC1"), 0.0, ["0.01 m", "'16UC1' of 0.001 m a count (by encoding)"]),
        (packed(np.full((2, 2), 9, np.uint16)), 1.0, ["9 m", "'16UC1' of 1 m a count (depth.unit_m)"]),
        (raw(np.zeros((2, 2), np.uint16), "16UC1"), 0.0, ["nothing is measured"]),
    ],
)
def test_depth_out_of_range_names_encoding_median_and_parameter(image: Image, unit_m: float, words: list[str]):
    error = empty_depth(image, "cam: depth image", DepthConfig(unit_m=unit_m))
    assert error.code is ErrorCode.DEPTH_EMPTY and "depth.unit_m" in error.message
    for word in words:
        assert word in error.message
