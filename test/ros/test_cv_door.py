"""Encodings that the package does not read: through cv_bridge where that works, with a reason where it does not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from messages_rig import H, Rig, W

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.frames.assemble import FrameAssembler
from sparse_recon.frames.camera_streams import CameraStreams
from sparse_recon.frames.depth_images import depth_image
from sparse_recon.frames.images import RAW_ENCODINGS, RawImage, color_image, label_image
from sparse_recon.ros import cv_door
from sparse_recon.ros.cv_door import CvDoor, cv_bridge_problem

RNG = np.random.default_rng(4)
RGB16 = RNG.integers(0, 2**16, (6, 8, 3), dtype=np.uint16)


def raw(encoding: str, pixels: np.ndarray) -> RawImage:
    return RawImage(encoding, pixels.shape[1], pixels.shape[0], pixels[0].nbytes, False, pixels.tobytes())


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch):
    """Return a CvBridge, where there is one that works."""
    pytest.importorskip("cv_bridge", reason="cv_bridge is not on pip; this runs beside the ROS of a robot")
    problem = cv_bridge_problem()
    if problem is not None:
        pytest.skip(f"cv_bridge {problem}")
    from cv_bridge import CvBridge

    return CvBridge()


@pytest.fixture
def untried():
    """Forget what is known of cv_bridge, before and after."""
    cv_bridge_problem.cache_clear()
    yield
    cv_bridge_problem.cache_clear()


# Beside cv_bridge


@pytest.mark.parametrize("encoding", sorted(RAW_ENCODINGS["color"]))
def test_colours_are_those_of_cv_bridge(bridge, encoding: str):
    try:
        dtype, channels = bridge.encoding_to_dtype_with_channels(encoding)
    except Exception as error:
        pytest.skip(f"this cv_bridge does not know {encoding}: {error}")
    pixels = RNG.integers(0, 256, (6, 8, channels)[: 3 if channels > 1 else 2]).astype(dtype)
    if encoding.startswith("8UC"):  # no colours to cv_bridge
        truth = bridge.imgmsg_to_cv2(raw(encoding, pixels), "passthrough")
        truth = np.repeat(truth[..., None], 3, axis=2) if channels == 1 else truth[..., 2::-1]
    else:
        truth = bridge.imgmsg_to_cv2(raw(encoding, pixels), "rgb8")
    np.testing.assert_array_equal(color_image(raw(encoding, pixels)), truth)


@pytest.mark.parametrize("encoding", sorted(RAW_ENCODINGS["depth"] | RAW_ENCODINGS["labels"]))
def test_numbers_are_those_of_cv_bridge(bridge, encoding: str):
    dtype, _ = bridge.encoding_to_dtype_with_channels(encoding)
    pixels = RNG.integers(1, 100, (6, 8)).astype(dtype)
    truth = bridge.imgmsg_to_cv2(raw(encoding, pixels), "passthrough")
    if encoding in RAW_ENCODINGS["labels"]:
        np.testing.assert_array_equal(label_image(raw(encoding, pixels)), truth)
    if encoding in RAW_ENCODINGS["depth"]:
        depth_m = depth_image(raw(encoding, pixels), 0.0, 1000.0)
        np.testing.assert_allclose(depth_m, truth * (1.0 if encoding == "32FC1" else 1e-3), rtol=1e-6)


def test_sixteen_bit_colours_come_through_the_door(bridge):
    rgb = color_image(CvDoor()("color", raw("rgb16", RGB16)))
    assert np.abs(rgb - RGB16 / 257.0).max() <= 1.0
    np.testing.assert_array_equal(color_image(CvDoor()("color", raw("bgr16", RGB16[..., ::-1]))), rgb)


def test_double_depth_and_signed_labels_come_through_the_door(bridge):
    depth = RNG.uniform(0.3, 2.0, (6, 8))
    np.testing.assert_array_equal(
        depth_image(CvDoor()("depth", raw("64FC1", depth)), 0.1, 3.0), depth.astype(np.float32)
    )
    labels = RNG.integers(-5, 300, (6, 8)).astype(np.int16)
    np.testing.assert_array_equal(label_image(CvDoor()("labels", raw("16SC1", labels))), labels)


@pytest.mark.parametrize("encoding", ["xyz42", "", "32FC1", "64FC4"])
def test_what_cv_bridge_does_not_know_is_refused_with_its_reason(bridge, encoding: str):
    with pytest.raises(InputError, match="cv_bridge") as caught:
        CvDoor()("color", raw(encoding, RGB16))
    assert caught.value.code is ErrorCode.ENCODING_UNSUPPORTED


def test_header_that_contradicts_the_data_is_refused(bridge):
    for image in (RawImage("rgb16", 2**31, 2**31, 2**31, False, b"12"), RawImage("rgb16", 8, 6, 48, False, b"")):
        with pytest.raises(InputError, match="cv_bridge refuses") as caught:
            CvDoor()("color", image)
        assert len(caught.value.message) < 800


# Whatever there is


@pytest.mark.parametrize(("stream", "encoding"), [("depth", "16SC1"), ("depth", "rgb8"), ("labels", "bgr8")])
def test_numbers_without_a_meaning_are_not_converted(stream: str, encoding: str):
    with pytest.raises(InputError, match="is asked for") as caught:
        CvDoor()(stream, raw(encoding, RGB16))
    assert caught.value.code is ErrorCode.ENCODING_UNSUPPORTED


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("raise ImportError('numpy.core.multiarray failed')", "numpy.core.multiarray failed"),
        ("import os; os.abort()", "-6"),
    ],
    ids=["does not import", "ends the process"],
)
def test_cv_bridge_that_does_not_work_costs_the_image_alone(
    untried, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, word: str
):
    (tmp_path / "cv_bridge.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    door = CvDoor()
    for _ in range(2):
        with pytest.raises(InputError, match=rf"'rgb16'.*{word}.*numpy<2") as caught:
            door("color", raw("rgb16", RGB16))
        assert caught.value.code is ErrorCode.ENCODING_UNSUPPORTED


def test_missing_cv_bridge_is_named(untried, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cv_door.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"'rgb16'; accepted are.*apt install"):
        CvDoor()("color", raw("rgb16", RGB16))


def test_only_frames_that_are_made_go_through_the_door():
    asked = []

    def convert(stream: str, image: RawImage) -> RawImage:
        asked.append((stream, image.encoding))
        return RawImage("rgb8", W, H, W * 3, False, bytes(W * H * 3))

    rig = Rig()
    rig.assembler = FrameAssembler([CameraStreams("cam")], convert=convert)
    rig.info()
    rig.tf(0)
    rig.tf(1000)
    rig.color(100, image=RawImage("16UC3", W, H, W * 6, False, bytes(W * H * 6)))
    assert asked == []
    rig.depth(100)
    rig.both(200)
    assert rig.stamps_ms() == [100, 200] and asked == [("color", "16UC3")]
