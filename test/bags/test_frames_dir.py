"""Frames in files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.frames_dir import FramesFolder
from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError

TABLETOP = Path(__file__).parents[3] / "shared" / "data" / "rgbd" / "tabletop_box"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in (9, 10):
        cv2.imwrite(str(tmp_path / f"f-{k}.color.png"), np.full((6, 8, 3), k, np.uint8))
        cv2.imwrite(str(tmp_path / f"f-{k}.depth.png"), np.full((6, 8), 500 + k, np.uint16))
        np.savetxt(tmp_path / f"f-{k}.pose.txt", np.eye(4))
    np.savetxt(tmp_path / "intrinsics.K.txt", np.diag([10.0, 10.0, 1.0]))
    return tmp_path


def test_frames_are_ordered_by_number(folder: Path):
    frames = list(FramesFolder(folder))
    assert [int(f.rgb[0, 0, 0]) for f in frames] == [9, 10]
    assert frames[0].depth_m is not None and frames[0].depth_m[0, 0] == pytest.approx(0.509)
    assert 0 < frames[0].stamp_ns < frames[1].stamp_ns


def test_depth_is_read_in_the_unit_that_is_said(folder: Path):
    frames = list(FramesFolder(folder, DepthConfig(unit_m=0.0025)))
    assert frames[1].depth_m is not None and frames[1].depth_m[0, 0] == pytest.approx(510 * 0.0025)


def test_depth_out_of_range_names_the_file_the_median_and_the_unit(folder: Path):
    with pytest.raises(InputError, match=r"f-9.depth.png.* 5.09 m .*depth.unit_m") as caught:
        list(FramesFolder(folder, DepthConfig(unit_m=0.01)))
    assert caught.value.code is ErrorCode.DEPTH_EMPTY


def test_labels_are_read_where_they_are(folder: Path):
    cv2.imwrite(str(folder / "f-9.labels.png"), np.full((6, 8), 3, np.uint8))
    frames = list(FramesFolder(folder))
    assert frames[0].labels is not None and frames[0].labels[0, 0] == 3 and frames[1].labels is None


def damaged(path: Path, content: bytes | str | None) -> None:
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()


SHEARED = b"1 .2 0 0 0 1 0 0 0 0 1 0 0 0 0 1"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("f-9.pose.txt", None, ErrorCode.INPUT_MISSING),
        ("f-9.pose.txt", "folder", ErrorCode.INPUT_MISSING),
        ("f-9.pose.txt", b"1 2 3", ErrorCode.FRAME_INVALID),
        ("f-9.pose.txt", b"a b c", ErrorCode.FRAME_INVALID),
        ("f-9.pose.txt", b"\xff\xfe", ErrorCode.FRAME_INVALID),
        ("f-9.pose.txt", SHEARED, ErrorCode.FRAME_INVALID),
        ("f-9.color.png", b"\x89PNG\r\n\x1a\n cut", ErrorCode.SIZE_MISMATCH),
        ("f-9.depth.png", b"", ErrorCode.ENCODING_UNSUPPORTED),
        ("f-9.depth.png", "folder", ErrorCode.INPUT_MISSING),
    ],
)
def test_frame_with_a_damaged_file_is_left_out_and_named(
    folder: Path, name: str, content: bytes | str | None, code: ErrorCode, caplog: pytest.LogCaptureFixture
):
    damaged(folder / name, content)
    frames = FramesFolder(folder)
    assert [int(f.rgb[0, 0, 0]) for f in frames] == [10]
    assert frames.counts == {code: 1}
    expected = "f-9.color.png" if content is SHEARED else name
    assert expected in frames.last_reason and expected in caplog.text


@pytest.mark.parametrize(("content", "code"), [(None, ErrorCode.INPUT_MISSING), (b"1 2 3", ErrorCode.FRAME_INVALID)])
def test_folder_without_a_usable_frame_is_refused(folder: Path, content: bytes | None, code: ErrorCode):
    damaged(folder / "intrinsics.K.txt", content)
    with pytest.raises((FileError, InputError), match=r"none of the 2 frames.*intrinsics\.K\.txt") as caught:
        list(FramesFolder(folder))
    assert caught.value.code is code


def test_empty_folder_says_what_it_holds(tmp_path: Path):
    (tmp_path / "notes.md").touch()
    with pytest.raises(FileError, match=r"notes\.md") as caught:
        FramesFolder(tmp_path)
    assert caught.value.code is ErrorCode.INPUT_MISSING


@pytest.mark.skipif(not TABLETOP.is_dir(), reason="shared/data/rgbd/tabletop_box is absent")
def test_real_frames_survive_the_way_through_a_bag(tmp_path: Path):
    folder = FramesFolder(TABLETOP)
    assert len(folder) == 25
    write_frames(folder, tmp_path / "bag", world_frame="world")
    with Bag(tmp_path / "bag") as bag:
        for frame, true in zip(FrameReader(bag), folder, strict=True):
            assert frame.stamp_ns == true.stamp_ns
            np.testing.assert_array_equal(frame.rgb, true.rgb)
            np.testing.assert_array_equal(frame.depth_m, true.depth_m)
            np.testing.assert_allclose(frame.T_world_cam, true.T_world_cam, atol=1e-6)
