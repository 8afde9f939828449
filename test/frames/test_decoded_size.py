"""What decoding a frame is said to take, against what it takes."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode, InputError, SparseReconError
from sparse_recon.frames.decode import FrameDecoder, PosedMessages
from sparse_recon.frames.images import CompressedImage, RawImage
from sparse_recon.frames.matching import Stamped
from sparse_recon.frames.undistort import CameraInfo, PinholeCamera
from sparse_recon.geometry.poses import pose
from sparse_recon.machine.resident_memory import give_back, peak_bytes, resident_bytes

W, H = 3000, 2000
STILL = np.eye(4)
MOVED = pose(np.eye(3), (0.02, 0.0, 0.0))


def camera(distorted: bool = False, scale: float = 1.0) -> PinholeCamera:
    K = [scale * W, 0, scale * W / 2, 0, scale * W, scale * H / 2, 0, 0, 1]
    return PinholeCamera(CameraInfo(round(scale * W), round(scale * H), K, [0.05, 0, 0, 0, 0] if distorted else ()))


def noise(shape: tuple[int, ...], low: int, high: int, dtype: type) -> np.ndarray:
    small = np.random.default_rng(0).integers(low, high, (shape[0] // 10, shape[1] // 10, *shape[2:]))
    return cv2.resize(small.astype(dtype), (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)


COLOR, DEPTH = noise((H, W, 3), 0, 256, np.uint8), noise((H, W), 500, 1500, np.uint16)
LABELS = noise((H, W), 0, 5, np.uint16)
HALF = DEPTH[::2, ::2].copy()


def coded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


def rvl(depth: np.ndarray) -> bytes:
    """Pack as compressed_depth_image_transport does; without zeros, so that it is one run."""
    steps = np.diff(depth.ravel().astype(np.int64), prepend=0)
    values = np.concatenate([[0, depth.size], (steps << 1) ^ (steps >> 63)])
    groups = np.stack([(values >> (3 * k)) & 7 for k in range(8)], 1)
    last = np.maximum([int(v).bit_length() - 1 for v in values], 0) // 3
    more = np.arange(8)[None] < last[:, None]
    nibbles = (groups | (more << 3))[np.arange(8)[None] <= last[:, None]]
    nibbles = np.pad(nibbles, (0, -len(nibbles) % 8)).reshape(-1, 8).astype(np.uint32)
    words = sum(nibbles[:, k] << (28 - 4 * k) for k in range(8))
    return struct.pack("<ii", depth.shape[1], depth.shape[0]) + words.astype("<u4").tobytes()


RGB8 = RawImage("rgb8", W, H, 3 * W, False, COLOR.tobytes())
MM = RawImage("16UC1", W, H, 2 * W, False, DEPTH.tobytes())
HALF_MM = RawImage("16UC1", W // 2, H // 2, W, False, HALF.tobytes())
PACKED = "16UC1; compressedDepth"
CASES = {
    "raw": (RGB8, MM, None, False, STILL),
    "32FC1": (RGB8, RawImage("32FC1", W, H, 4 * W, False, (DEPTH * np.float32(1e-3)).tobytes()), None, False, STILL),
    "bgr8, labels": (RawImage("bgr8", W, H, 3 * W, False, COLOR.tobytes()), MM, LABELS, False, STILL),
    "jpeg": (CompressedImage("jpeg", coded(".jpg", COLOR)), MM, None, False, STILL),
    "jpeg progressive, distorted": (
        CompressedImage("jpeg", coded(".jpg", COLOR, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        CompressedImage(f"{PACKED} png", bytes(12) + coded(".png", DEPTH)),
        LABELS,
        True,
        STILL,
    ),
    "png": (CompressedImage("png", coded(".png", COLOR)), MM, None, True, STILL),
    "rvl": (RGB8, CompressedImage(f"{PACKED} rvl", bytes(12) + rvl(DEPTH)), None, False, STILL),
    "registered": (RGB8, MM, None, False, MOVED),
    "registered, coarse": (RGB8, HALF_MM, None, False, MOVED),
    "resampled": (RGB8, HALF_MM, None, False, STILL),
}


def messages(name: str) -> PosedMessages:
    color, depth, labels, distorted, T_color_depth = CASES[name]
    parts = {"color": Stamped(1, "optical", color), "depth": Stamped(1, "optical", depth)}
    if labels is not None:
        parts["labels"] = Stamped(1, "optical", RawImage("16UC1", W, H, 2 * W, False, labels.tobytes()))
    of_color = camera(distorted)
    of_depth = camera(scale=0.5) if depth is HALF_MM else of_color
    return PosedMessages("cam", parts, of_color, of_depth, STILL, T_color_depth)


@pytest.fixture(scope="module")
def alone() -> dict[str, tuple[int, int, int]]:
    """What `decoded` returns in a process of its own: what earlier tests left, or other threads take, has no part."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=environment, check=True)
    found: dict[str, tuple[int, int, int]] = json.loads(done.stdout)
    return found


def decoded(name: str) -> tuple[int, int, int]:
    """Return the bytes that decoding asked for, those that it took at its worst, and those of the frame."""
    asked: list[int] = []
    posed = messages(name)
    decoder = FrameDecoder(DepthConfig(), None, lambda needed, what: asked.append(needed))
    give_back()
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes()
    frame = decoder.frame(posed)
    return asked[0], peak_bytes() - before, frame.nbytes


@pytest.mark.parametrize("name", CASES)
def test_decoding_takes_no_more_than_was_asked_for_and_not_a_tenth_of_it(name: str, alone):
    asked, taken, kept = alone[name]
    assert 0.1 * asked < taken < asked + 8_000_000  # the process itself: what libraries load
    assert kept < asked


def test_nothing_is_decoded_where_there_is_no_room():
    def refuse(needed: int, what: str) -> None:
        raise SparseReconError(ErrorCode.MEMORY_BUDGET, f"{what} takes {needed}")

    posed = messages("jpeg")
    give_back()
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes()
    with pytest.raises(SparseReconError, match="cam: a frame of 3000x2000 pixels"):
        FrameDecoder(DepthConfig(), None, refuse).frame(posed)
    assert peak_bytes() - before < 1_000_000


def test_what_is_refused_by_its_header_asks_for_no_room():
    asked: list[int] = []
    small = CompressedImage("png", coded(".png", COLOR[:20, :20]))
    parts = {"color": Stamped(1, "optical", small), "depth": Stamped(1, "optical", MM)}
    cut = {"color": Stamped(1, "o", RawImage("rgb8", W, H, 3 * W, False, bytes(9))), "depth": parts["depth"]}
    for given in (parts, cut):
        posed = PosedMessages("cam", given, camera(), camera(), STILL, STILL)
        decoder = FrameDecoder(DepthConfig(), None, lambda needed, what: asked.append(needed))
        with pytest.raises(InputError) as caught:
            decoder.frame(posed)
        assert caught.value.code is ErrorCode.SIZE_MISMATCH
    assert max(asked) < 20 * W * H  # the depth image alone


if __name__ == "__main__":
    print(json.dumps({name: decoded(name) for name in CASES}))
