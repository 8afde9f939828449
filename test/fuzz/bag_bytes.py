"""Small recordings as our own commands and the stock writers make them, to be damaged."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.errors import SparseReconError
from sparse_recon.geometry.poses import look_at
from sparse_recon.types import CameraIntrinsics, Frame

MEGABYTE = 1_000_000
STAMP_0_NS = 1_700_000_000_000_000_000


@cache
def good_frames(count: int = 3) -> tuple[Frame, ...]:
    """Return frames of 64x48 pixels, 100 ms apart."""
    camera = CameraIntrinsics(64, 48, np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]]))
    rng = np.random.default_rng(4)
    return tuple(
        Frame(
            rgb=rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
            depth_m=(rng.integers(300, 2900, (48, 64)) * np.float32(1e-3)).astype(np.float32),
            intrinsics=camera,
            T_world_cam=look_at((0.5, 0.05 * k, 0.4), (0.0, 0.0, 0.0)),
            stamp_ns=STAMP_0_NS + k * 100_000_000,
        )
        for k in range(count)
    )


def frames_of(path: Path) -> tuple[list[Frame], SparseReconError | None]:
    """Read all frames, and why there are not more of them; nothing but an error of ours may come out."""
    frames: list[Frame] = []
    try:
        with Bag(path) as bag:
            for frame in FrameReader(bag):
                frames.append(frame)
    except SparseReconError as error:
        assert error.message
        return frames, error
    return frames, None


def stock_mcap(
    source: Path,
    target: Path,
    compression: str,
    *,
    bomb: bytes = b"",
    bomb_ns: int = 0,
    definition: Callable[[str], str] = lambda text: text,
    other: tuple[str, str, str] | None = None,
) -> Path:
    """Copy a recording with the MCAP writer of Foxglove.

    Parameters
    ----------
    bomb, bomb_ns : one more message with these data, after the others or at a log time.
    definition : changes the definition of every type.
    other : type, format and text of a definition, of which /trap then holds three messages.
    """
    from mcap.writer import CompressionType, Writer
    from rosbags.rosbag2 import Reader

    with target.open("wb") as file, Reader(source) as reader:
        writer = Writer(file, chunk_size=10 * MEGABYTE, compression=CompressionType[compression.upper()])
        writer.start("ros2", "test")
        channels = {}
        for c in reader.connections:
            schema = writer.register_schema(c.msgtype, "ros2msg", definition(c.msgdef.data).encode())
            channels[c.id] = writer.register_channel(c.topic, "cdr", schema)
        last_ns = 0
        for connection, last_ns, data in reader.messages():
            writer.add_message(channels[connection.id], last_ns, bytes(data), last_ns)
        if bomb:
            bomb_ns = bomb_ns or last_ns + 1
            writer.add_message(next(iter(channels.values())), bomb_ns, bomb, bomb_ns)
        if other is not None:
            schema = writer.register_schema(other[0], other[1], other[2].encode())
            channel = writer.register_channel("/trap", "cdr", schema)
            for k in range(3):
                writer.add_message(channel, last_ns + 2 + k, b"\0\1\0\0" + bytes(400), last_ns + 2 + k)
        writer.finish()
    return target


def rewritten(source: Path, target: Path, mode: str = "NONE", storage: str = "MCAP", bomb: bytes = b"") -> Path:
    """Copy a recording with the writer of rosbags, compressed by message, chunk (STORAGE) or file."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

    writer = Writer(target, version=8, storage_plugin=StoragePlugin[storage])
    writer.set_compression(CompressionMode[mode], CompressionFormat.ZSTD)
    with Reader(source) as reader, writer:
        connections = {
            c.id: writer.add_connection(c.topic, c.msgtype, msgdef=c.msgdef.data, rihs01=c.digest)
            for c in reader.connections
        }
        stamp_ns = 0
        for connection, stamp_ns, data in reader.messages():
            writer.write(connections[connection.id], stamp_ns, data)
        if bomb:
            writer.write(next(iter(connections.values())), stamp_ns + 1, bomb)
    return target
