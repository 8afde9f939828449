"""ROS 2 recordings read without ROS: decoded messages, and the frames in them."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Any

from sparse_recon.bags.channels import ENCODINGS, Channel, other_encoding
from sparse_recon.bags.decompression import MAX_MESSAGE_BYTES, Undecompressable, decompressed
from sparse_recon.bags.foxglove import FoxgloveStorage, schema_of
from sparse_recon.bags.message_warnings import MessageWarnings
from sparse_recon.bags.storage import Storage, open_storage
from sparse_recon.bags.topics import (
    CameraTopics,
    guess_cameras,
    is_rectified,
    named_cameras,
)
from sparse_recon.bags.transform_topics import Links, choose
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, FileError, SparseReconError, TransformError, clipped
from sparse_recon.frames.assemble import FrameAssembler
from sparse_recon.frames.camera_streams import CameraStreams
from sparse_recon.frames.incoming import camera_info_of, image_of, stamp_ns_of, transforms_of
from sparse_recon.frames.rejections import Rejection
from sparse_recon.frames.robot_links import RobotMask
from sparse_recon.frames.transform_bytes import Unreadable
from sparse_recon.geometry.transforms import TransformSource, TransformTree, without_slash
from sparse_recon.types import Float64, Frame

log = logging.getLogger(__name__)

_LITTLE_ENDIAN = b"\x00\x01"  # CDR of version 1
_HEADER_TYPE, _HEADER = "std_msgs/msg/Header", Struct("<4x8xI")  # after the encapsulation: stamp, length of a name
_ZSTD = b"\x28\xb5\x2f\xfd"
_MAX_DEFINITION, _MAX_ARRAY = 200_000, 10_000  # characters, and elements of fixed arrays, each a line of code
MANY_LOST = 0.25  # share of the frames whose loss a result tells
_TOPOLOGY_MESSAGES = 500  # transforms read ahead to learn which frame is the root


class Bag:
    """An open recording.

    Parameters
    ----------
    path : folder with metadata.yaml, or a single .mcap or .db3 file, also compressed, also damaged.

    Attributes
    ----------
    types : message type of each topic.
    counts : messages of each topic, -1 where the recording does not say.
    offered_qos : `rosbags.interfaces.Qos` of each publisher of each topic, as far as they were recorded.
    damage : empty, or after reading: why it ended early.
    note : empty, or what is wrong with it though nothing is lost, such as missing metadata.

    Raises
    ------
    FileError
        INPUT_MISSING or BAG_UNREADABLE.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._definitions: dict[str, Channel] = {}
        self._stores: dict[str, Any] = {}
        self._with_header: set[str] = set()  # types
        self._warnings = MessageWarnings()
        self._storage: Storage = open_storage(self.path)
        if any(schema_of(c) for c in self._storage.channels):
            self._definitions = {c.msgtype: c for c in self._storage.channels}
            self._storage = FoxgloveStorage(self._storage, _ros_types(), self._decoded_as)
        # SQLite takes values of any type for every column.
        channels = [c for c in self._storage.channels if isinstance(c.topic, str) and isinstance(c.msgtype, str)]
        if channels and all(c.encoding not in ENCODINGS for c in channels):
            self._storage.close()
            raise other_encoding(self.path, channels)
        self.types = {channel.topic: channel.msgtype for channel in channels}
        self.counts = {channel.topic: channel.count for channel in channels}
        self.offered_qos: dict[str, list[Any]] = {topic: [] for topic in self.types}
        for channel in channels:
            self.offered_qos[channel.topic] += channel.offered_qos
        self._definitions |= {c.msgtype: c for c in channels}

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """Yield (topic, log time in ns, message) in the order of recording; a message that cannot be decoded is None.

        Messages have the attributes of their definition; arrays are NumPy arrays.
        """
        for topic, log_ns, data in self.serialised(topics):
            yield topic, log_ns, self.decoded(topic, log_ns, data)

    def serialised(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, log time in ns, CDR bytes) in the order of recording."""
        for topic, log_ns, data in self._storage.messages(topics):
            if not isinstance(log_ns, int) or not isinstance(data, (bytes, memoryview)):
                self._warnings.warn(
                    topic, "a message has no time, no data, or more of it than a message may have, and is skipped"
                )
                continue
            if data[:4] == _ZSTD:  # message compression, in a file without its metadata; CDR starts with a zero
                try:
                    data = decompressed(bytes(data), limit_bytes=MAX_MESSAGE_BYTES)
                except Undecompressable as error:
                    self._warnings.warn(topic, f"a message at {log_ns * 1e-9:.3f} s cannot be decompressed: {error}")
                    continue
            yield topic, log_ns, data

    def decoded(self, topic: str, log_ns: int, data: bytes) -> Any:
        """Return the message, or None with a warning if its bytes are damaged."""
        try:
            return self._decoded_as(self.types[topic], data)
        except Exception as error:  # damaged bytes make the generated decoders raise anything
            why = error
        self._warnings.warn(topic, lambda: f"a message at {log_ns * 1e-9:.3f} s cannot be decoded: {clipped(str(why))}")
        return None

    def _decoded_as(self, msgtype: str, data: bytes) -> Any:
        """Return the message, or None where its type is not known, which is told once."""
        if msgtype not in self._stores:
            try:
                self._stores[msgtype] = self._store(msgtype)
            except Exception as error:  # damaged definitions make the parser raise anything
                log.warning("messages of type %s cannot be decoded: %s", clipped(msgtype), clipped(str(error)))
                self._stores[msgtype] = None
            if self._stores[msgtype] is not None and _begins_with_header(self._stores[msgtype], msgtype):
                self._with_header.add(msgtype)
        store = self._stores[msgtype]
        if msgtype in self._with_header:
            _check_header(data)
        return None if store is None else store.deserialize_cdr(data, msgtype)

    @property
    def damage(self) -> str:
        return self._storage.damage

    @property
    def note(self) -> str:
        return self._storage.note

    def close(self) -> None:
        """Release files and temporary copies."""
        self._storage.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _store(self, msgtype: str) -> Any:
        """Return a type store with the definition of ROS 2 Jazzy, or for types that it lacks with the recorded one.

        rosbags makes Python code of definitions: those that a recording carries are used only where nothing else helps.
        """
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        if msgtype in _ros_types().types:
            return _ros_types()
        channel = self._definitions[msgtype]
        lengths = [int(digits[:10]) for digits in re.findall(r"\[(?:<=)?\s*(\d+)", channel.definition)]
        if channel.definition_format != "ros2msg" or not channel.definition:
            raise ValueError(f"the recording has no .msg definition of {msgtype}")
        if len(channel.definition) > _MAX_DEFINITION or max(lengths, default=0) > _MAX_ARRAY:
            raise ValueError(f"the definition of {msgtype} in the recording is too large to be one")
        store = get_typestore(Stores.EMPTY)
        store.register(get_types_from_msg(channel.definition, msgtype))
        return store


def _begins_with_header(store: Any, msgtype: str) -> bool:
    fields = store.get_msgdef(msgtype).fields
    return bool(fields) and fields[0][1][1] == _HEADER_TYPE


def _check_header(data: bytes) -> None:
    """Refuse at a hundredth of the cost of the decoder what is too short for its header, or for the frame it names."""
    if data[:2] != _LITTLE_ENDIAN:
        return
    if len(data) < _HEADER.size or _HEADER.size + _HEADER.unpack_from(data)[0] > len(data):
        raise ValueError("it is shorter than its header and the name of its frame")


@cache
def _ros_types() -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)  # makes its code for each type once


class FrameReader:
    """The frames of a recording, in stamp order and with bounded memory.

    Parameters
    ----------
    bag : the open recording.
    cameras : topics; none for a guess from names and types.
    config : `world_frame`, `depth` and `assembly` are used.

    on_transforms : takes topic, log time in ns and serialised message of every transform message that is used.
    wanted : asked with camera, `T_world_cam` and stamp in ns before a frame is decoded; False leaves it out.

    Attributes
    ----------
    cameras : the topics that are read.
    rejections : the last inputs that gave no frame; `counts` counts all by code.

    Raises
    ------
    FileError
        TOPIC_UNKNOWN or TOPIC_AMBIGUOUS.
    TransformError
        TF_FRAME_UNKNOWN if the recording has no transforms and no `world_frame` was named.
    """

    def __init__(
        self,
        bag: Bag,
        cameras: Sequence[CameraTopics] = (),
        *,
        config: SessionConfig | None = None,
        on_transforms: Callable[[str, int, bytes], None] | None = None,
        wanted: Callable[[str, Float64, int], bool] | None = None,
    ) -> None:
        config = config or SessionConfig()
        self._bag = bag
        self._on_transforms = on_transforms
        known = bag.types, bag.counts
        try:
            self.cameras = named_cameras(cameras, *known) if cameras else guess_cameras(*known)
        except FileError as error:
            damage = f". The recording is damaged: {bag.damage}" if bag.damage else ""
            raise FileError(error.code, error.message + damage) from None
        colors = [camera.color for camera in self.cameras]
        topics = choose(bag.types, colors, lambda: self._frames_of(colors), self._links)
        self._transforms, self._left_out = topics.used, topics.left_out
        self._static_topics = frozenset(topic for topic in topics.used if topic.endswith("tf_static"))
        if not self._transforms and not config.world_frame:
            raise TransformError(
                ErrorCode.TF_FRAME_UNKNOWN,
                f"{bag.path} has no transforms (/tf, /tf_static), so the pose of the camera is unknown; record them, "
                "or if the camera stood still, set world_frame to its optical frame",
            )
        streams = [_streams(camera) for camera in self.cameras]
        robot = RobotMask.of(config.robot)
        world_frame = config.world_frame or self._only_root()
        assembly = config.assembly
        self._assembler = FrameAssembler(
            streams,
            world_frame=world_frame,
            depth=config.depth,
            config=assembly,
            wanted=wanted,
            robot=robot,
        )
        self._robot = robot
        self._roles = {
            topic: (role, camera.name)
            for camera in self.cameras
            for role in ("color", "depth", "labels", "info", "depth_info")
            if (topic := getattr(camera, role))
        }
        self._optical_frames: set[str] = set()
        self.messages_read = 0
        self._first_ns = self._last_ns = 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames; after the last one that can be read, raise FileError BAG_UNREADABLE if it is damaged."""
        self._push_first_static()
        for topic, log_ns, data in self._bag.serialised({*self._roles, *self._transforms}):
            self.messages_read += topic not in self._static_topics
            self._first_ns = self._first_ns or log_ns
            self._last_ns = log_ns
            self._assembler.arrived(log_ns)
            try:
                used = self._push(topic, log_ns, data)
            except Exception as error:  # nothing in a message may end the reading
                role, camera = self._roles.get(topic, ("transforms", ""))
                self._assembler.refuse(error, role, camera, log_ns)
                used = True
            while used and (frames := self._assembler.poll()):
                yield from frames
        while frames := self._assembler.flush():
            yield from frames
        if self._bag.damage:
            raise FileError(
                ErrorCode.BAG_UNREADABLE,
                f"{self._bag.path} is damaged: {self._bag.damage}; {self.messages_read} messages over "
                f"{(self._last_ns - self._first_ns) * 1e-9:.2f} s were read and {self._assembler.frames_made} frames "
                "made of them; all of them were used",
            )

    @property
    def world_frame(self) -> str:
        """Frame of the poses; known from the first frame on."""
        return self._assembler.world_frame

    @property
    def depth_encoding(self) -> str:
        """Encoding of the depth images; empty before the first one was decoded."""
        return self._assembler.depth_encoding

    @property
    def rejections(self) -> Sequence[Rejection]:
        return tuple(self._assembler.rejections)

    @property
    def warnings(self) -> list[str]:
        """Return what was not read or not used as it came, and whether many frames were lost by it."""
        warnings = (
            [f"{clipped(str(self._bag.path))}: {self._bag.note}; all its files are read"] if self._bag.note else []
        )
        for why in dict.fromkeys(self._left_out.values()):
            topics = ", ".join(topic for topic, reason in self._left_out.items() if reason == why)
            warnings.append(f"the transforms of {topics} were not read: {why}")
        warnings += self._assembler.transform_notes()
        warnings += self._robot.problems
        lost = self._assembler.frames_lost
        count = sum(lost.values())
        seen = count + self._assembler.frames_made + self._assembler.unneeded
        if count > MANY_LOST * seen:
            reasons = ", ".join(f"{n} x {code.name}" for code, n in lost.most_common())
            last = next((item.message for item in reversed(self.rejections) if item.code in lost), "")
            warnings.append(f"{count} of {seen} frames could not be used ({reasons}); the last: {last}")
        return warnings

    @property
    def counts(self) -> Counter[ErrorCode]:
        return self._assembler.counts

    @property
    def restarts(self) -> int:
        """Jumps back in time so far: frames before and after one belong to different passes."""
        return self._assembler.restarts

    @property
    def transforms(self) -> TransformSource:
        """The transforms read so far."""
        return self._assembler.transforms

    @property
    def expected_frames(self) -> int:
        """Colour images in the recording; -1 if it does not say."""
        counts = [self._bag.counts[camera.color] for camera in self.cameras]
        return sum(counts) if min(counts) >= 0 else -1

    @property
    def optical_frames(self) -> frozenset[str]:
        """Frames in which colour images came so far."""
        return frozenset(self._optical_frames)

    def _push_first_static(self) -> None:
        """Take the first value of each static link ahead, as late joiners get it; others come in their time."""
        taken: set[str] = set()
        for topic, log_ns, data in self._bag.serialised(self._static_topics):
            if self._on_transforms is not None:
                self._on_transforms(topic, log_ns, data)
            message = self._bag.decoded(topic, log_ns, data)
            for parent, child, stamp_ns, T_parent_child in () if message is None else transforms_of(message):
                if child not in taken:
                    taken.add(child)
                    self._assembler.push_transform(parent, child, stamp_ns, T_parent_child, True)

    def _push_transforms(self, topic: str, log_ns: int, data: bytes) -> None:
        static = topic in self._static_topics
        if self._on_transforms is not None and not static:
            self._on_transforms(topic, log_ns, data)
        try:
            self._assembler.push_transform_message(bytes(data), static)
        except Unreadable:
            message = self._bag.decoded(topic, log_ns, data)
            for item in () if message is None else transforms_of(message):
                self._assembler.push_transform(*item, static)

    def _push(self, topic: str, log_ns: int, data: bytes) -> bool:
        """Use a message; return whether it could be decoded."""
        if topic in self._transforms:
            self._push_transforms(topic, log_ns, data)
            return True
        message = self._bag.decoded(topic, log_ns, data)
        if message is None:
            return False
        role, camera = self._roles[topic]
        stamp_ns, frame_id = stamp_ns_of(message), message.header.frame_id
        if role == "info" or role == "depth_info":
            self._assembler.push_info("color" if role == "info" else "depth", camera, stamp_ns, camera_info_of(message))
        else:
            if role == "color":
                self._optical_frames.add(frame_id)
            self._assembler.push_image(role, camera, stamp_ns, frame_id, image_of(message))  # type: ignore[arg-type]
        return True

    def _only_root(self) -> str:
        """Return the root above everything, read ahead: the map may hang itself above the robot only later."""
        tree = TransformTree()
        for topic in self._transforms:
            for parent, child, stamp_ns, T_parent_child in self._ahead(topic):
                with suppress(SparseReconError):  # told when it is read for good
                    tree.add(parent, child, stamp_ns, T_parent_child, static=True)
        try:
            return tree.root()
        except TransformError:
            return ""

    def _ahead(self, topic: str) -> Iterator[tuple[str, str, int, Float64]]:
        for _, _, message in islice(self._bag.messages([topic]), _TOPOLOGY_MESSAGES):
            yield from () if message is None else transforms_of(message)

    def _links(self, topic: str) -> Links:
        static = topic.endswith("tf_static")
        found: dict[str, tuple[str, Float64 | None]] = {}
        for parent, child, _, T_parent_child in self._ahead(topic):
            found[without_slash(child)] = without_slash(parent), T_parent_child if static else None
        return Links(found)

    def _frames_of(self, colors: Sequence[str]) -> set[str]:
        """Return the frames of the first images of topics."""
        first = (next(self._bag.messages([topic]), (topic, 0, None))[2] for topic in colors)
        return {message.header.frame_id for message in first if message is not None}


def _streams(camera: CameraTopics) -> CameraStreams:
    return CameraStreams(
        camera.name,
        depth=bool(camera.depth),
        labels=bool(camera.labels),
        depth_info=bool(camera.depth_info),
        rectified=is_rectified(camera.color),
        depth_rectified=is_rectified(camera.depth),
    )
