"""Frames written as a bag are the frames that are read from it."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.types import CameraIntrinsics, Frame

CAMERA = CameraIntrinsics(48, 36, np.array([[50.0, 0, 23.2], [0, 51.0, 18.1], [0, 0, 1]]))


def frame(index: int, camera: str = "camera", labels: bool = False) -> Frame:
    rng = np.random.default_rng(index)
    depth_m = rng.uniform(0.4, 2.0, (36, 48)).astype(np.float32)
    depth_m[0, :4] = (np.nan, 0.0, 70.0, np.inf)
    rgb = np.broadcast_to(np.linspace(40, 220, 48, dtype=np.uint8)[:, None], (36, 48, 3)).copy()
    masks = rng.integers(0, 3, (36, 48)).astype(np.int32) if labels else None
    T = look_at(rng.uniform(0.5, 1.0, 3), rng.uniform(-0.1, 0.1, 3))
    return Frame(rgb, depth_m, CAMERA, T, 10**9 + index * 10**8, masks, camera)


def read(path: Path) -> list[Frame]:
    with Bag(path) as bag:
        return list(FrameReader(bag))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_frames_come_back_exact_but_for_millimetres(tmp_path: Path, storage: Literal["mcap", "sqlite3"]) -> None:
    written = [frame(i, labels=True) for i in range(3)]
    T_world_base = pose(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), (0.5, 0.2, 0.1))
    write_frames(written, tmp_path / "bag", world_frame="map", storage=storage, T_world_base=T_world_base)
    back = read(tmp_path / "bag")
    assert len(back) == 3
    for a, b in zip(written, back, strict=True):
        assert a.stamp_ns == b.stamp_ns
        np.testing.assert_allclose(a.T_world_cam, b.T_world_cam, atol=1e-12)
        np.testing.assert_allclose(a.intrinsics.K, b.intrinsics.K)
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert a.depth_m is not None and b.depth_m is not None
        np.testing.assert_allclose(a.depth_m[1:], b.depth_m[1:], atol=5.01e-4)  # 16UC1 holds millimetres
        assert np.isnan(b.depth_m[0, :4]).all()


def test_compressed_depth_is_lossless_and_colour_near(tmp_path: Path) -> None:
    write_frames([frame(0)], tmp_path / "raw", world_frame="map")
    write_frames([frame(0)], tmp_path / "small", world_frame="map", compressed=True)
    (raw,), (small,) = read(tmp_path / "raw"), read(tmp_path / "small")
    np.testing.assert_array_equal(raw.depth_m, small.depth_m)
    assert np.abs(raw.rgb.astype(int) - small.rgb).mean() < 4


def test_two_cameras_keep_their_topics_and_poses(tmp_path: Path) -> None:
    write_frames([frame(0, "left"), frame(1, "right")], tmp_path / "bag", world_frame="base_link")
    left, right = sorted(read(tmp_path / "bag"), key=lambda f: f.camera)
    assert "left" in left.camera and "right" in right.camera
    np.testing.assert_allclose(left.T_world_cam, frame(0).T_world_cam, atol=1e-12)
    np.testing.assert_allclose(right.T_world_cam, frame(1).T_world_cam, atol=1e-12)


def test_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_frames([frame(0)], tmp_path / name / "bag", world_frame="map")
    assert (tmp_path / "a/bag/bag.mcap").read_bytes() == (tmp_path / "b/bag/bag.mcap").read_bytes()


def test_older_bag_is_replaced_and_stays_when_writing_fails(tmp_path: Path) -> None:
    write_frames([frame(0)], tmp_path / "bag", world_frame="map")
    write_frames([frame(0), frame(1)], tmp_path / "bag", world_frame="map")
    with pytest.raises(InputError, match="must not decrease") as caught:
        write_frames([frame(1), frame(0)], tmp_path / "bag", world_frame="map")
    assert caught.value.code is ErrorCode.STAMP_ORDER
    assert len(read(tmp_path / "bag")) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["bag"]


def test_folder_that_is_no_bag_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").write_text("years of work")
    with pytest.raises(FileError, match="not a bag") as caught:
        write_frames([frame(0)], tmp_path / "thesis", world_frame="map")
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE
    assert (tmp_path / "thesis" / "text").exists()


def test_no_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one") as caught:
        write_frames([], tmp_path / "bag", world_frame="map")
    assert caught.value.code is ErrorCode.NO_FRAMES
    assert not (tmp_path / "bag").exists()
