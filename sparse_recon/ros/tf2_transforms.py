"""Camera poses from a `tf2_ros.Buffer`, behind the protocol that the assembler of frames asks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from sparse_recon.config.input_config import AssemblyConfig
from sparse_recon.errors import ErrorCode, InputError, TransformError
from sparse_recon.geometry import transforms as tree
from sparse_recon.geometry.poses import quat_xyzw
from sparse_recon.geometry.transforms import chain, pose_from_quaternion, without_slash
from sparse_recon.types import Float64

_LAST_NS = 2**31 * 1_000_000_000 - 1  # seconds of a stamp are an int32
_AUTHORITY = "default_authority"  # as the listener of tf2_ros says: messages do not tell who sent them
_LONGEST_SENTENCE = 200
# The lines of all_frames_as_yaml. A YAML parser is slow, and stumbles over a name with a colon or a quote in it.
_LINK = re.compile(r"^(.+): \n  parent: '(.+)'$", re.MULTILINE)
_HELD = re.compile(r"^  rate: ([\d.]+)\n(?:.*\n){2}  buffer_length: ([\d.]+)$", re.MULTILINE)
_SHORTEST_S = 1e-4  # tf2 counts a rate over this much at least
_NEXT = {
    ErrorCode.TF_FRAME_UNKNOWN: "check frame_id and /tf",
    ErrorCode.TF_NOT_CONNECTED: "publish the transform between these two",
    ErrorCode.TF_EXTRAPOLATION: "check clocks and the rate of /tf",
}


class Tf2Transforms:
    """Transforms that a `tf2_ros.Buffer` keeps, finds and interpolates; a `TransformSource`.

    What `TransformTree` promises holds, except where tf2 answers differently:

    - It interpolates over gaps of any length: `assembly.max_gap_s` does not apply, and nothing is refused as TF_GAP.
    - Of two moving transforms with one stamp it keeps both, and which of them counts depends on what else it holds.
    - A stamp of 0 means "the newest" to it, so moving transforms must have later ones.

    The listener of tf2_ros is not used: it fills the buffer ahead of the images that wait in the queue, and tells
    nobody that a late pose has come. Nor is the buffer built with the node: it would forget everything when the clock
    jumps, poses of the new loop included. Its service is offered here.

    A buffer never forgets a frame, and its own `clear` leaves the names of moving ones without anything behind them,
    which Humble reports as an error without a reason. So `clear` begins a new buffer and puts the static transforms
    into it again. So do more than `MAX_FRAMES` frames or `MAX_SAMPLES` samples of the tree, which no robot has, and a
    loop whose other half was silent for longer than the history.

    Parameters
    ----------
    config : `history_s` is what the buffer keeps.
    node : offers the service tf2_frames, as a node with a listener does; none without a node.

    Raises
    ------
    ImportError
        If there is no tf2_ros.
    """

    def __init__(self, config: AssemblyConfig, node: Node | None = None) -> None:
        import tf2_ros

        self._tf2, self._node = tf2_ros, node
        self._history_s = config.history_s
        self._static: dict[str, TransformStamped] = {}  # by child
        self._parents_read: dict[str, str] | None = {}  # by child; None after a change that only the buffer can judge
        self._samples = 0  # at most, since they were last counted
        self._buffer = self._new_buffer()
        self._service: Any = None
        if node is not None:
            from tf2_msgs.srv import FrameGraph

            self._service = node.create_service(FrameGraph, "tf2_frames", self._tell_frames)

    def add(self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64, static: bool = False) -> None:
        """Take one transform.

        Raises
        ------
        InputError
            As `TransformTree.add`; also FRAME_INVALID if a name has characters that cannot be printed, and
            STAMP_INVALID if a moving transform has no stamp, or one that no message can carry.
        """
        parent, child = without_slash(parent), without_slash(child)
        tree.check_link(parent, child, T_parent_child)
        if not (parent + child).isprintable():
            text = f"transform {parent!r} -> {child!r}: tf2 takes printable characters in names alone; rename the frame"
            raise InputError(ErrorCode.FRAME_INVALID, text)
        if not (static or 0 < stamp_ns <= _LAST_NS):
            text = f"transform {parent} -> {child} has the stamp {stamp_ns} ns; its publisher must fill in header.stamp"
            raise InputError(ErrorCode.STAMP_INVALID, text)
        self._check_ancestors(parent, child, stamp_ns, static)
        self._make_room(child)
        self._put(_message(parent, child, 0 if static else stamp_ns, np.asarray(T_parent_child, np.float64)), static)

    def _check_ancestors(self, parent: str, child: str, stamp_ns: int, static: bool) -> None:
        parents = self._parents()
        if parents.get(child) == parent:
            return
        ancestors = chain(parent, parents.get)
        if child not in ancestors:
            tree.check_depth(parent, child, ancestors)
            return
        newest_ns = [None if static else self.newest_ns(name) for name in ancestors[: ancestors.index(child)]]
        if not any(ns is not None and abs(ns - stamp_ns) > self._history_s * 1e9 for ns in newest_ns):
            raise tree.loop(parent, child)
        self.clear()

    def _make_room(self, child: str) -> None:
        if self._samples >= tree.MAX_SAMPLES:
            held = _HELD.findall(self._buffer.all_frames_as_yaml())
            self._samples = round(sum(float(rate) * max(float(span_s), _SHORTEST_S) for rate, span_s in held))
        too_many_frames = len(self._parents()) >= tree.MAX_FRAMES and child not in self._parents()
        if too_many_frames and len(self._static) > tree.MAX_FRAMES // 2:
            self._static = dict(list(self._static.items())[: tree.MAX_FRAMES * 2 // 5])
        if too_many_frames or self._samples >= tree.MAX_SAMPLES:
            self.clear()

    def _put(self, message: TransformStamped, static: bool) -> None:
        parent, child = message.header.frame_id, message.child_frame_id
        if static:
            self._static[child] = message
            self._buffer.set_transform_static(message, _AUTHORITY)
        else:
            self._static.pop(child, None)
            self._buffer.set_transform(message, _AUTHORITY)
        self._samples += 1
        if self._parents().setdefault(child, parent) != parent:
            self._parents_read = None  # a late sample does not change the parent

    def lookup(self, target: str, source: str, stamp_ns: int) -> Float64:
        """Return `T_target_source` (4, 4) at a stamp.

        Raises
        ------
        TransformError
            TF_FRAME_UNKNOWN, TF_NOT_CONNECTED or TF_EXTRAPOLATION, with the sentence of tf2.
        """
        target, source = without_slash(target), without_slash(source)
        if stamp_ns <= 0 and target != source and self.newest_common_ns(target, source):
            text = f"stamp {stamp_ns * 1e-9:.3f} s lies before all transforms; the sender must fill in header.stamp"
            raise TransformError(ErrorCode.TF_EXTRAPOLATION, text)
        at = Time(nanoseconds=min(max(stamp_ns, 0), _LAST_NS))
        with self._translated_errors():
            found = self._buffer.lookup_transform(target, source, at).transform
        t, q = found.translation, found.rotation
        return pose_from_quaternion((q.x, q.y, q.z, q.w), (t.x, t.y, t.z))

    def root(self, frame: str | None = None) -> str:
        """Return the topmost frame above `frame`, or the only root there is; errors as `TransformTree.root`."""
        if frame is None:
            return tree.only_root(self._parents())
        self._require(without_slash(frame))
        return chain(without_slash(frame), self._parents().get)[-1]

    def frames(self) -> frozenset[str]:
        """Return the names of all frames seen."""
        parents = self._parents()
        return frozenset(parents) | frozenset(parents.values())

    def newest_ns(self, child: str) -> int | None:
        """Return the stamp of the newest sample that moves `child`; None for static and unknown frames."""
        child = without_slash(child)
        if child not in self._parents():
            return None
        # tf2 takes a frame and itself for the samples of that frame; for static ones it says 0.
        return int(self._buffer.get_latest_common_time(child, child).nanoseconds) or None

    def covers(self, target: str, source: str, stamp_ns: int) -> bool:
        """Return False while a later sample may still answer `lookup`."""
        try:
            newest_ns = self.newest_common_ns(target, source)
        except TransformError:
            return False
        return newest_ns == 0 or newest_ns >= stamp_ns

    def newest_common_ns(self, target: str, source: str) -> int:
        """Return the newest stamp at which every moving link between two frames has a sample; 0 where nothing moves.

        Raises
        ------
        TransformError
            TF_FRAME_UNKNOWN if a frame never appeared, TF_NOT_CONNECTED if the two have no common ancestor.
        """
        target, source = without_slash(target), without_slash(source)
        self._require(source)
        self._require(target)
        if target == source:
            return 0
        with self._translated_errors():
            return int(self._buffer.get_latest_common_time(target, source).nanoseconds)

    def forget_after(self, child: str, stamp_ns: int) -> None:
        """Forget all moving transforms where `child` has samples after a stamp: a buffer cannot forget some alone."""
        newest_ns = self.newest_ns(child)
        if newest_ns is not None and newest_ns > stamp_ns:
            self.clear()

    def moving_links(self, target: str, source: str) -> frozenset[str]:
        """Return the children of all moving links between two frames; none where they are not connected."""
        parents = self._parents()
        between = set(chain(without_slash(source), parents.get)) ^ set(chain(without_slash(target), parents.get))
        return frozenset(name for name in between if name in parents and self.newest_ns(name) is not None)

    def clear(self) -> None:
        """Forget all moving transforms; static ones stay."""
        static, self._static = self._static, {}
        self._parents_read, self._samples = {}, 0
        self._buffer = self._new_buffer()
        for message in static.values():
            self._put(message, static=True)

    def destroy(self) -> None:
        """Close the service."""
        if self._node is not None:
            self._node.destroy_service(self._service)

    def _new_buffer(self) -> Any:
        buffer = self._tf2.Buffer(cache_time=Duration(seconds=self._history_s))
        watch = vars(buffer).pop("jump_handle", None)  # not in Humble; it would keep a replaced buffer alive
        if watch is not None:
            watch.unregister()
        return buffer

    def _parents(self) -> dict[str, str]:
        if self._parents_read is None:
            self._parents_read = dict(_LINK.findall(self._buffer.all_frames_as_yaml()))
        return self._parents_read

    def _require(self, name: str) -> None:
        if name not in self.frames():
            raise tree.unknown_frame(name, self.frames())

    def _tell_frames(self, _: Any, response: Any) -> Any:
        response.frame_yaml = self._buffer.all_frames_as_yaml()
        return response

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except (self._tf2.TransformException, ValueError) as error:  # ValueError: a name that is no C string
            code = ErrorCode.TF_NOT_CONNECTED
            if isinstance(error, self._tf2.ExtrapolationException):
                code = ErrorCode.TF_EXTRAPOLATION
            elif isinstance(error, (self._tf2.LookupException, self._tf2.InvalidArgumentException, ValueError)):
                code = ErrorCode.TF_FRAME_UNKNOWN
            sentence = str(error).strip().rstrip(".")
            if len(sentence) > _LONGEST_SENTENCE:
                sentence = sentence[:_LONGEST_SENTENCE] + "..."
            text = f"tf2: {sentence}; {_NEXT[code]}"
            raise TransformError(code, text) from error


def _message(parent: str, child: str, stamp_ns: int, T_parent_child: Float64) -> TransformStamped:
    """Make the message field by field: `to_message` takes four times as long, and transforms come by the thousand."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(int(stamp_ns), 1_000_000_000)
    to, turn = message.transform.translation, message.transform.rotation
    to.x, to.y, to.z = T_parent_child[:3, 3].tolist()
    turn.x, turn.y, turn.z, turn.w = quat_xyzw(T_parent_child[:3, :3])
    return message
