"""What is fuzzed: each target takes one input, and gives good ones to begin with. See fuzz.py."""

from __future__ import annotations

import io
import json
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from rosbags.typesys import Stores, get_typestore

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.complete.latent.tensor_files import open_tensors
from sparse_recon.config.observation_config import SegmentConfig
from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.errors import SparseReconError
from sparse_recon.files.results import write_results
from sparse_recon.frames.assemble import FrameAssembler
from sparse_recon.frames.camera_streams import CameraStreams
from sparse_recon.frames.depth_images import depth_image
from sparse_recon.frames.images import CompressedImage, RawImage, color_image, label_image
from sparse_recon.frames.incoming import camera_info_of, image_of, stamp_ns_of, transforms_of
from sparse_recon.geometry.poses import look_at
from sparse_recon.inputs.json_text import NotJson, parse_json
from sparse_recon.inputs.yaml_text import NotYaml, parse_yaml
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import CameraIntrinsics, Frame
from sparse_recon.viz.saved import load_objects

WIDTH, HEIGHT = 32, 24
STAMP_0_NS, STEP_NS = 1_700_000_000_000_000_000, 100_000_000
FORMATS = ("png", "rgb8; jpeg compressed bgr8", "16UC1; compressedDepth png", "16UC1; compressedDepth rvl",
           "32FC1; compressedDepth png", "32FC1; compressedDepth rvl")  # fmt: skip
ENCODINGS = ("rgb8", "bgra8", "mono8", "yuv422", "yuyv", "bayer_rggb8", "16UC1", "32FC1", "32SC1", "mono16")
SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")


class Target(Protocol):
    """One thing to be fuzzed."""

    def seeds(self) -> Iterator[bytes]: ...

    def run(self, data: bytes) -> None: ...


def frames(count: int) -> list[Frame]:
    """Return small frames of a table top."""
    camera = CameraIntrinsics(WIDTH, HEIGHT, np.array([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]]))
    rng = np.random.default_rng(3)
    return [
        Frame(
            rgb=np.broadcast_to(rng.integers(0, 256, (HEIGHT, 1, 3), dtype=np.uint8), (HEIGHT, WIDTH, 3)).copy(),
            depth_m=(rng.integers(600, 640, (HEIGHT, WIDTH)) * np.float32(1e-3)).astype(np.float32),
            intrinsics=camera,
            T_world_cam=look_at((0.4, 0.05 * k, 0.5), (0.0, 0.0, 0.0)),
            stamp_ns=STAMP_0_NS + k * STEP_NS,
        )
        for k in range(count)
    ]


class Images:
    """One byte of format, one of use, then the bytes of the image."""

    def seeds(self) -> Iterator[bytes]:
        """Yield an image of each format and encoding."""
        frame = frames(1)[0]
        assert frame.depth_m is not None
        millimetres = np.round(frame.depth_m * 1000).astype(np.uint16)
        for number, form in enumerate(FORMATS):
            payload = cv2.imencode(".jpg" if "jpeg" in form else ".png", frame.rgb if number < 2 else millimetres)[1]
            data = payload.tobytes()
            if "rvl" in form:
                data = struct.pack("<ii", WIDTH, HEIGHT) + struct.pack("<I", 0x11211211) * 200
            header = struct.pack("<iff", 0, 10100.0, -1009.0) if "compressedDepth" in form else b""
            yield bytes([number, number % 3]) + header + data
        for number in range(len(ENCODINGS)):
            yield bytes([len(FORMATS) + number, number % 3]) + bytes(WIDTH * HEIGHT * 4)

    def run(self, data: bytes) -> None:
        """Decode it."""
        if len(data) < 3:
            return
        number, use, payload = data[0] % (len(FORMATS) + len(ENCODINGS)), data[1], data[2:]
        image: Any = CompressedImage(FORMATS[number], payload) if number < len(FORMATS) else None
        if image is None:
            width, height, step = (payload + bytes(6))[:6:2]
            encoding = ENCODINGS[number - len(FORMATS)]
            image = RawImage(encoding, width, height, step * 4, bool(use & 64), payload[6:])
        size = (WIDTH, HEIGHT) if use & 128 else None
        decode: list[Callable[[], Any]] = [
            lambda: color_image(image, size),
            lambda: depth_image(image, 0.1, 10.0, size),
            lambda: label_image(image, size),
        ]
        with suppress(SparseReconError):
            decode[use % 3]()


class Messages:
    """One byte says in place of which message of a frame the serialised message stands that follows."""

    def __init__(self) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._seeds: list[bytes] = []
        self._good: list[tuple[str, str, bytes]] = []
        roles = {"camera_info": "info", "depth": "depth", "color": "color"}
        with tempfile.TemporaryDirectory() as folder:
            for compressed in (False, True):
                write_frames(frames(2), Path(folder) / str(compressed), world_frame="world", compressed=compressed)
                with Bag(Path(folder) / str(compressed)) as bag:
                    for topic, _, data in bag.serialised(bag.types):
                        words = topic.split("/")
                        static = "tf_static" if topic == "/tf_static" else "tf"
                        role = next((roles[w] for w in reversed(words) for key in roles if w.startswith(key)), static)
                        role = "depth" if "depth" in topic else role
                        self._good.append((role, bag.types[topic], bytes(data)))
        self._seeds = [bytes([k]) + data for k, (_, _, data) in enumerate(self._good)]
        self._decoded = [(role, self._store.deserialize_cdr(data, kind)) for role, kind, data in self._good]

    def seeds(self) -> Iterator[bytes]:
        """Yield every message."""
        yield from self._seeds

    def run(self, data: bytes) -> None:
        """Put two frames together, one message of which is this one."""
        if len(data) < 6:
            return
        number = data[0] % len(self._good)
        try:
            wild = self._store.deserialize_cdr(data[1:], self._good[number][1])
        except Exception:  # of rosbags; such bytes are not decoded
            return
        half = len(self._decoded) // 2
        start = 0 if number < half else half
        session = CompletionSession(SessionConfig(segment=SegmentConfig(min_points=20)))
        streams = [CameraStreams("camera")]
        assembler = FrameAssembler(streams, world_frame="world", wanted=session.wants)
        for k, (role, message) in enumerate(self._decoded[start : start + half], start):
            push(assembler, role, wild if k == number else message)
            while found := assembler.poll():
                for frame in found:
                    session.add_frame(frame)
        for frame in assembler.flush():
            session.add_frame(frame)
        with suppress(SparseReconError):
            session.objects()


def push(assembler: FrameAssembler, role: str, message: Any) -> None:
    """Hand over a message as the node does."""
    if role.startswith("tf"):
        for parent, child, stamp_ns, T_parent_child in transforms_of(message):
            assembler.push_transform(parent, child, stamp_ns, T_parent_child, role == "tf_static")
    elif role == "info":
        assembler.push_info("color", "camera", stamp_ns_of(message), camera_info_of(message))
    else:
        stamp_ns, frame_id = stamp_ns_of(message), message.header.frame_id
        assembler.push_image(role, "camera", stamp_ns, frame_id, image_of(message))  # type: ignore[arg-type]


class Bags:
    """One byte says of which kind the file is that follows."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)

    def seeds(self) -> Iterator[bytes]:
        """Yield a recording of each kind."""
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_frames(frames(2), folder / "source", world_frame="world", compressed=True)
            for storage, suffix in (("MCAP", ".mcap"), ("SQLITE3", ".db3")):
                for mode in ("NONE", "FILE", "MESSAGE", "STORAGE"):
                    if (storage, mode) == ("SQLITE3", "STORAGE"):
                        continue
                    target = folder / f"{storage}_{mode}"
                    writer = Writer(target, version=8, storage_plugin=StoragePlugin[storage])
                    writer.set_compression(CompressionMode[mode], CompressionFormat.ZSTD)
                    with Reader(folder / "source") as reader, writer:
                        ids = {
                            c.id: writer.add_connection(c.topic, c.msgtype, msgdef=c.msgdef.data, rihs01=c.digest)
                            for c in reader.connections
                        }
                        for connection, log_ns, data in reader.messages():
                            writer.write(ids[connection.id], log_ns, data)
                    file = next(path for path in target.iterdir() if path.suffix != ".yaml")
                    yield bytes([SUFFIXES.index(suffix + ".zstd" * (mode == "FILE"))]) + file.read_bytes()

    def run(self, data: bytes) -> None:
        """Read all frames and all messages."""
        if not data:
            return
        path = Path(self._folder.name) / f"bag{SUFFIXES[data[0] % len(SUFFIXES)]}"
        path.write_bytes(data[1:])
        with suppress(SparseReconError), Bag(path) as bag:
            for _ in bag.messages(bag.types):
                pass
            for _ in FrameReader(bag):
                pass


class Documents:
    """One byte says as what the text that follows is read: parameters, metadata of a recording, or a record of ours."""

    def seeds(self) -> Iterator[bytes]:
        """Yield a text of each kind."""
        yield b"\0/**:\n  ros__parameters: &a {seed: 1, fusion: {max_faces: 9}}\nb: {<<: *a, x: [1e-3, 2001-01-01]}\n"
        yield b"\1rosbag2_bagfile_information: {relative_file_paths: [bag.mcap]}\n"
        yield b'\2{"format": 1, "a": [1, 2.5e3, null, true, "\\u00e4"]}'

    def run(self, data: bytes) -> None:
        """Parse it, and make parameters of what is in it."""
        if not data:
            return
        text = data[1:].decode("utf-8", "replace")
        with suppress(SparseReconError, NotYaml, NotJson):
            if data[0] % 3 == 2:
                parse_json(data[1:])
            else:
                found = parse_yaml(text, texts_only=data[0] % 3 == 1)
                if isinstance(found, dict):
                    load_config({str(name): value for name, value in found.items()})


class Results:
    """One byte says in place of which file of a result folder the bytes stand that follow."""

    NAMES = ("quality.json", "cloud.ply", "mesh.ply")

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))
        from completed import completed_box

        self._written = write_results(completed_box(), Path(self._folder.name))
        self._good = {name: (self._written / name).read_bytes() for name in self.NAMES}

    def seeds(self) -> Iterator[bytes]:
        """Yield every file."""
        for number, name in enumerate(self.NAMES):
            yield bytes([number]) + self._good[name]

    def run(self, data: bytes) -> None:
        """Read the objects back, as view does."""
        if not data:
            return
        for number, (name, good) in enumerate(self._good.items()):
            (self._written / name).write_bytes(data[1:] if number == data[0] % 3 else good)
        with suppress(SparseReconError):
            load_objects(self._written)


class Checkpoints:
    """One byte says of which kind the weights file is that follows."""

    SUFFIXES = (".safetensors", ".ckpt", ".safetensors.index.json")

    def __init__(self) -> None:
        import torch
        from safetensors.torch import save_file

        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        save_file({"a": torch.zeros(3)}, Path(self._folder.name) / "cut-00001-of-00001.safetensors")

    def seeds(self) -> Iterator[bytes]:
        """Yield a file of each kind."""
        import torch
        from safetensors.torch import save

        yield b"\0" + save({"a": torch.zeros(3), "b": torch.ones(2, 2)})
        for new in (True, False):
            buffer = io.BytesIO()
            torch.save({"state_dict": {"a": torch.zeros(3)}}, buffer, _use_new_zipfile_serialization=new)
            yield b"\1" + buffer.getvalue()
        buffer = io.BytesIO()
        torch.save({"model": {"a": torch.zeros(3)}, "left": slice(1)}, buffer, pickle_protocol=4)
        yield b"\1" + buffer.getvalue()
        yield b"\2" + json.dumps({"weight_map": {"a": "cut-00001-of-00001.safetensors"}}).encode()

    def run(self, data: bytes) -> None:
        """Open it and read its tensors."""
        if not data:
            return
        path = Path(self._folder.name) / f"weights{self.SUFFIXES[data[0] % len(self.SUFFIXES)]}"
        path.write_bytes(data[1:])
        with suppress(SparseReconError):
            file = open_tensors(path)
            for name in file.shapes:
                file[name]


TARGETS: dict[str, Callable[[], Target]] = {
    "images": Images,
    "messages": Messages,
    "bags": Bags,
    "documents": Documents,
    "results": Results,
    "checkpoints": Checkpoints,
}
