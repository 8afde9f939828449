"""Recordings into frames: every storage, every compression, and every kind of damage."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from edited_bags import as_cloud, edited

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.bags.topics import CameraTopics
from sparse_recon.config.session_config import load_config
from sparse_recon.errors import ErrorCode, FileError, TransformError
from sparse_recon.types import Frame

SHARED = Path(__file__).parents[3] / "shared" / "data"


def read(path: Path) -> tuple[list[Frame], FileError | None]:
    with Bag(path) as bag:
        frames, error = [], None
        try:
            for frame in FrameReader(bag):
                frames.append(frame)
        except FileError as damage:
            error = damage
    return frames, error


def assert_same(frames: Sequence[Frame], truth: Sequence[Frame]) -> None:
    assert [f.stamp_ns for f in frames] == [t.stamp_ns for t in truth]
    for frame, true in zip(frames, truth, strict=True):
        np.testing.assert_allclose(frame.T_world_cam, true.T_world_cam, atol=1e-9)
        np.testing.assert_allclose(frame.depth_m, true.depth_m, atol=1e-6)
        np.testing.assert_array_equal(frame.intrinsics.K, true.intrinsics.K)


def rewritten(
    source: Path, target: Path, *, drop: Sequence[str] = (), storage: str = "MCAP", compression: str = "NONE"
) -> Path:
    """Copy a bag message by message with other storage and compression, through the rosbags writer."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

    writer = Writer(target, version=8, storage_plugin=StoragePlugin[storage])
    writer.set_compression(CompressionMode[compression], CompressionFormat.ZSTD)
    with Reader(source) as reader, writer:
        connections = {
            c.id: writer.add_connection(c.topic, c.msgtype, msgdef=c.msgdef.data, rihs01=c.digest)
            for c in reader.connections
            if c.topic not in drop
        }
        for connection, stamp_ns, data in reader.messages():
            if connection.id in connections:
                writer.write(connections[connection.id], stamp_ns, data)
    return target


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("single_file", [False, True])
def test_frames_come_back(small_frames, tmp_path: Path, storage: str, single_file: bool):
    write_frames(small_frames, tmp_path / "bag", world_frame="world", storage=storage)
    path = next(p for p in (tmp_path / "bag").iterdir() if p.suffix in (".mcap", ".db3"))
    frames, error = read(path if single_file else tmp_path / "bag")
    assert error is None
    assert_same(frames, small_frames)
    np.testing.assert_array_equal(frames[3].rgb, small_frames[3].rgb)


def test_compressed_images_come_back(small_frames, tmp_path: Path):
    write_frames(small_frames, tmp_path / "bag", world_frame="world", compressed=True)
    frames, error = read(tmp_path / "bag")
    assert error is None
    assert_same(frames, small_frames)


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
@pytest.mark.parametrize("mode", ["FILE", "MESSAGE", "STORAGE"])
@pytest.mark.parametrize("metadata", [True, False])
def test_zstd(small_frames, small_bag: Path, tmp_path: Path, storage: str, mode: str, metadata: bool):
    if (storage, mode) == ("SQLITE3", "STORAGE"):
        pytest.skip("SQLite has no compression of its own")
    rewritten(small_bag, tmp_path / "bag", storage=storage, compression=mode)
    if not metadata:
        (tmp_path / "bag" / "metadata.yaml").unlink()
    frames, error = read(tmp_path / "bag")
    assert error is None
    assert_same(frames, small_frames)
    with Bag(tmp_path / "bag") as bag:
        assert ("metadata.yaml is missing" in bag.note) == (not metadata)


def test_recording_without_definitions_is_read_with_those_of_jazzy(small_frames, tmp_path: Path):
    import sqlite3

    write_frames(small_frames, tmp_path / "bag", world_frame="world", storage="sqlite3")
    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        database.execute("DROP TABLE message_definitions")
        database.execute("UPDATE schema SET schema_version = 3")
    frames, error = read(tmp_path / "bag")
    assert error is None
    assert_same(frames, small_frames)


def test_mcap_cut_anywhere_gives_all_frames_before_the_cut(small_frames, small_bag: Path, tmp_path: Path):
    whole = next(small_bag.glob("*.mcap")).read_bytes()
    for cut in sorted(random.Random(1).sample(range(3000, len(whole) - 1), 12)):
        path = tmp_path / f"{cut}.mcap"
        path.write_bytes(whole[:cut])
        frames, error = read(path)
        assert_same(frames, small_frames[: len(frames)])
        assert error is not None and error.code is ErrorCode.BAG_UNREADABLE and f"{len(frames)} frames" in error.message
        assert len(frames) >= cut / len(whole) * 12 - 2  # the frame in the cut, and the one waiting for its transform


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_mcap_of_the_stock_writer_cut_within_a_chunk(small_frames, small_bag: Path, tmp_path: Path, compression: str):
    mcap_writer = pytest.importorskip("mcap.writer")
    from rosbags.rosbag2 import Reader

    path = tmp_path / "stock.mcap"
    with path.open("wb") as file, Reader(small_bag) as reader:
        kind = mcap_writer.CompressionType[compression.upper()]
        writer = mcap_writer.Writer(file, chunk_size=10_000_000, compression=kind)
        writer.start("ros2", "test")
        channels = {}
        for c in reader.connections:
            schema = writer.register_schema(c.msgtype, "ros2msg", c.msgdef.data.encode())
            channels[c.id] = writer.register_channel(c.topic, "cdr", schema)
        for connection, stamp_ns, data in reader.messages():
            writer.add_message(channels[connection.id], stamp_ns, bytes(data), stamp_ns)
        writer.finish()
    frames, error = read(path)
    assert error is None
    assert_same(frames, small_frames)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.8)])
    frames, error = read(path)
    assert error is not None and len(frames) >= 7
    assert_same(frames, small_frames[: len(frames)])


def test_garbled_mcap_ends_with_an_error_and_never_a_traceback(small_bag: Path, tmp_path: Path):
    whole = next(small_bag.glob("*.mcap")).read_bytes()
    rng = random.Random(2)
    for attempt in range(15):
        damaged = bytearray(whole)
        for _ in range(30):
            damaged[rng.randrange(8, len(damaged))] = rng.randrange(256)
        path = tmp_path / f"{attempt}.mcap"
        path.write_bytes(damaged)
        try:
            read(path)
        except (FileError, TransformError) as error:
            assert error.message


@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_cut_sqlite_gives_the_frames_before_the_cut(small_frames, tmp_path: Path, share: float):
    write_frames(small_frames, tmp_path / "bag", world_frame="world", storage="sqlite3")
    file = tmp_path / "bag" / "bag.db3"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    frames, error = read(tmp_path / "bag")
    assert error is not None and error.code is ErrorCode.BAG_UNREADABLE
    assert len(frames) >= 12 * share - 3
    assert_same(frames, small_frames[: len(frames)])


def test_cut_zstd_file_is_read_as_far_as_it_goes(small_frames, small_bag: Path, tmp_path: Path):
    zstd = pytest.importorskip("backports.zstd")
    packed = zstd.compress(next(small_bag.glob("*.mcap")).read_bytes())
    (tmp_path / "bag_0.mcap.zstd").write_bytes(packed[: int(len(packed) * 0.7)])
    frames, error = read(tmp_path)
    assert error is not None and len(frames) >= 5
    assert_same(frames, small_frames[: len(frames)])


def test_killed_recorder_leaves_no_metadata_and_all_splits_are_read(small_frames, tmp_path: Path):
    for k in range(3):
        write_frames(small_frames[4 * k : 4 * k + 4], tmp_path / f"{k}", world_frame="world")
        (tmp_path / "bag").mkdir(exist_ok=True)
        shutil.move(tmp_path / f"{k}" / f"{k}.mcap", tmp_path / "bag" / f"bag_{8 + k}.mcap")
    frames, error = read(tmp_path / "bag")
    assert error is None
    assert_same(frames, small_frames)
    with Bag(tmp_path / "bag") as bag:
        reader = FrameReader(bag)
        assert any("metadata.yaml is missing" in warning for warning in reader.warnings)


def test_a_split_that_is_missing_between_others_is_a_loss(small_frames, tmp_path: Path):
    (tmp_path / "bag").mkdir()
    for k in (0, 2):
        write_frames(small_frames[4 * k : 4 * k + 4], tmp_path / f"{k}", world_frame="world")
        shutil.move(tmp_path / f"{k}" / f"{k}.mcap", tmp_path / "bag" / f"bag_{k}.mcap")
    frames, error = read(tmp_path / "bag")
    assert error is not None and "1 files are missing, such as bag_1" in error.message
    assert_same(frames, [*small_frames[:4], *small_frames[8:]])


@pytest.mark.parametrize("last", ["empty", "folder"])
@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_last_split_that_cannot_be_read_costs_only_itself(small_frames, tmp_path: Path, suffix: str, last: str):
    storage = {".mcap": "mcap", ".db3": "sqlite3"}[suffix]
    (tmp_path / "bag").mkdir()
    for k in range(2):
        write_frames(small_frames[6 * k : 6 * k + 6], tmp_path / f"{k}", world_frame="world", storage=storage)
        shutil.move(tmp_path / f"{k}" / f"{k}{suffix}", tmp_path / "bag" / f"bag_{k}{suffix}")
    broken = tmp_path / "bag" / f"bag_2{suffix}"
    broken.touch() if last == "empty" else broken.mkdir()
    frames, error = read(tmp_path / "bag")
    assert_same(frames, small_frames)
    assert error is not None and f"bag_2{suffix}" in error.message and "12 frames" in error.message


def test_packed_file_that_cannot_be_unpacked_says_so(small_bag: Path, tmp_path: Path):
    """A limit on file size makes the kernel refuse real writes, as a full disk does."""
    packed = rewritten(small_bag, tmp_path / "bag", compression="FILE")
    (packed / "metadata.yaml").unlink()
    code = """
import resource, sys
from sparse_recon.bags.reader import Bag
from sparse_recon.errors import FileError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    Bag(sys.argv[1])
except FileError as error:
    print(error.code.name)
"""
    result = subprocess.run([sys.executable, "-c", code, str(packed)], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "DISK_FULL", result.stderr


def test_message_that_grows_beyond_the_limit_is_left_out(
    small_frames, small_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from sparse_recon.bags import reader

    packed = rewritten(small_bag, tmp_path / "bag", compression="MESSAGE")
    (packed / "metadata.yaml").unlink()
    monkeypatch.setattr(reader, "MAX_MESSAGE_BYTES", 8000)  # colour has 9 kB, depth 6 kB
    with Bag(packed) as bag:
        assert {len(data) for _, _, data in bag.serialised(["/camera/color/image_raw"])} == set()
        assert len(list(bag.serialised(["/camera/aligned_depth_to_color/image_raw"]))) == len(small_frames)


@pytest.mark.parametrize("content", [b"", b"\x89MCAP0\r\n", b"SQLite format 3\0", b"hello" * 100, bytes(5000)])
@pytest.mark.parametrize("name", ["a.mcap", "a.db3"])
def test_empty_and_foreign_files_are_refused(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError) as caught:
        Bag(tmp_path / name)
    assert caught.value.code is ErrorCode.BAG_UNREADABLE


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("missing", ErrorCode.INPUT_MISSING, "does not exist"),
        ("empty", ErrorCode.BAG_UNREADABLE, "metadata.yaml is missing"),
        ("old.bag", ErrorCode.BAG_UNREADABLE, "rosbags-convert"),
    ],
)
def test_what_is_no_bag_is_named(tmp_path: Path, name: str, code: ErrorCode, word: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(FileError, match=word) as caught:
        Bag(tmp_path / name)
    assert caught.value.code is code


def test_recording_without_transforms_is_refused(small_bag: Path, tmp_path: Path):
    path = rewritten(small_bag, tmp_path / "bag", drop=("/tf", "/tf_static"))
    with Bag(path) as bag, pytest.raises(TransformError, match="/tf") as caught:
        FrameReader(bag)
    assert caught.value.code is ErrorCode.TF_FRAME_UNKNOWN


def test_fixed_camera_needs_no_transforms_when_it_is_the_world(small_bag: Path, tmp_path: Path):
    path = rewritten(small_bag, tmp_path / "bag", drop=("/tf", "/tf_static"))
    with Bag(path) as bag:
        reader = FrameReader(bag, config=load_config({"world_frame": "camera_color_optical_frame"}))
        frames = list(reader)
    assert len(frames) == 12 and np.array_equal(frames[0].T_world_cam, np.eye(4))


def test_world_frame_is_the_root_and_can_be_named(small_bag: Path):
    with Bag(small_bag) as bag:
        reader = FrameReader(bag)
        assert len(list(reader)) == 12 and reader.world_frame == "world"
        frames = list(FrameReader(bag, config=load_config({"world_frame": "camera_link"})))
    assert frames[0].T_world_cam == pytest.approx(frames[5].T_world_cam)


def test_named_topics(small_bag: Path):
    named = CameraTopics("wrist", "/camera/color/image_raw", "", "/camera/aligned_depth_to_color/image_raw")
    with Bag(small_bag) as bag:
        frames = list(FrameReader(bag, [named]))
        assert {frame.camera for frame in frames} == {"wrist"}
        with pytest.raises(FileError, match="Did you mean /camera/color/image_raw"):
            FrameReader(bag, [CameraTopics("wrist", "/camera/color/image_row", "")])


def test_an_organised_cloud_is_depth(small_bag: Path, small_frames, tmp_path: Path):
    frames, error = read(edited(small_bag, tmp_path / "bag", as_cloud))
    assert error is None
    assert_same(frames, small_frames)


def test_memory_does_not_grow_with_the_recording(small_frames, tmp_path: Path):
    import tracemalloc
    from dataclasses import replace

    many = (replace(small_frames[k % 12], stamp_ns=small_frames[0].stamp_ns + k * 50_000_000) for k in range(200))
    write_frames(many, tmp_path / "long", world_frame="world")
    tracemalloc.start()
    with Bag(tmp_path / "long") as bag:
        count = sum(1 for _ in FrameReader(bag))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200
    assert peak < 6e6  # 200 frames hold 6 MB raw and 10 MB decoded; one chunk of the file is 1 MB


def test_importing_the_reader_loads_no_heavy_library():
    heavy = ("cv2", "torch", "open3d", "rclpy")
    code = f"import sparse_recon.bags.reader, sys; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_point_cloud_bag_of_others_is_refused_with_its_topics(tmp_path: Path):
    archive = next(SHARED.glob("bags/point_cloud_transport_tutorial/*.tar.xz"), None)
    if archive is None:
        pytest.skip("shared/data/bags is absent")
    subprocess.run(["tar", "xf", archive, "-C", tmp_path], check=True)
    folder = next(tmp_path.rglob("metadata.yaml")).parent
    with Bag(folder) as bag, pytest.raises(FileError, match=r"/point_cloud \(sensor_msgs/msg/PointCloud2\)") as caught:
        FrameReader(bag)
    assert caught.value.code is ErrorCode.TOPIC_UNKNOWN
