"""From messages to frames in the session, in a thread of its own: callbacks only put messages here."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparse_recon.errors import ErrorCode, InputError, TransformError
from sparse_recon.frames.assemble import FrameAssembler
from sparse_recon.frames.camera_streams import CameraStreams
from sparse_recon.frames.incoming import camera_info_of, image_of, labels_of, stamp_ns_of, transforms_of
from sparse_recon.frames.rejections import Rejection
from sparse_recon.frames.robot_links import RobotMask
from sparse_recon.frames.transform_bytes import Unreadable
from sparse_recon.geometry.transforms import TransformSource
from sparse_recon.ros.cv_door import CvDoor
from sparse_recon.ros.events import DetectionsArrived, Event, FrameKept, TimeJumped
from sparse_recon.ros.losses import Losses
from sparse_recon.ros.memory_budget import MemoryBudget
from sparse_recon.ros.message_queue import WAITING_SHARE, MessageQueue
from sparse_recon.ros.node_config import NodeConfig
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Float64, Frame

log = logging.getLogger(__name__)

_IDLE_S = 0.5  # after this long without input, stamps that are near each other are matched with what there is
_LOG_EVERY_S = 5.0
_WORKING_COPIES = 4  # of a frame, while its depth is filtered
_HELD_SHARE = 0.2  # of it, for images that wait for others or for their poses
_KEPT_REJECTIONS = 256


@dataclass
class IngestCounts:
    """What became of the input so far.

    Attributes
    ----------
    dropped : messages that were pushed out of a full queue.
    kept, new_views : frames in the session, and those of them from new sides.
    lost : frames that were wanted and could not be kept.
    unneeded : frames that would have added nothing and were not decoded.
    waiting : frames that wait for a transform, a camera info or an earlier frame.
    rejected : inputs that gave no frame, by code.
    rejections : the newest of these.
    last_rejection : by camera, the newest input that gave no frame, until a frame was made after it; those of inputs
        that belong to no camera under an empty name.
    last_frame_s : by camera, steady clock when the last frame was made or found to add nothing.
    losses : what was dropped, rejected or not kept lately.
    restarts : jumps back in time.
    cpu_s : processor time of the thread.
    """

    dropped: int = 0
    kept: int = 0
    new_views: int = 0
    lost: int = 0
    unneeded: int = 0
    waiting: int = 0
    rejected: Counter[ErrorCode] = field(default_factory=Counter)
    rejections: deque[Rejection] = field(default_factory=lambda: deque(maxlen=_KEPT_REJECTIONS))
    last_rejection: dict[str, Rejection] = field(default_factory=dict)
    last_frame_s: dict[str, float] = field(default_factory=dict)
    losses: Losses = field(default_factory=Losses)
    restarts: int = 0
    cpu_s: float = 0.0


class Ingest:
    """Owns the assembler, its transforms and the world frame; adds frames to the session while the worker completes.

    Whoever needs a pose asks `world_frame`, `T_world_frame` and `missing_pose`; what happens goes to `post` as events.

    Parameters
    ----------
    session : takes the frames, and is emptied where time jumps back; frames that it holds already must not be of the
        future.
    world_frame : frame of the frames in the session; empty where there are none and nobody named one.
    post : takes events, in this thread.
    """

    def __init__(
        self,
        config: NodeConfig,
        cameras: Sequence[CameraStreams],
        transforms: TransformSource,
        session: CompletionSession,
        memory: MemoryBudget,
        *,
        world_frame: str,
        post: Callable[[Event], None],
    ) -> None:
        self._config, self._session, self._memory, self._post = config, session, memory, post
        robot = RobotMask.of(config.robot)
        for problem in robot.problems:
            log.warning(problem)
        self._lock = threading.RLock()  # held while the assembler and its transforms are used
        self._assembler = FrameAssembler(
            cameras,
            world_frame=config.world_frame,
            depth=config.depth,
            config=config.assembly,
            transforms=transforms,
            wanted=self._wanted,
            convert=CvDoor(),
            make_room=lambda needed_bytes, what: memory.require_for_frame(session, needed_bytes, what),
            held_bytes=_HELD_SHARE * config.memory_budget_bytes,
            robot=robot,
        )
        self._assembler.world_frame = world_frame
        self.counts = IngestCounts(last_frame_s={camera.name: time.monotonic() for camera in cameras})
        self._keeping = threading.Lock()  # held while a frame goes into the session
        self._generation = 0  # of frames; those of an earlier one are not kept
        self._future_ns = max((frame.stamp_ns for frame in session.frames), default=0)
        self._rejected = 0
        self._not_kept: Counter[ErrorCode] = Counter()
        self._logged: dict[ErrorCode, tuple[float, int]] = {}
        self._queue = MessageQueue(
            config.assembly.queue_size, WAITING_SHARE * config.memory_budget_bytes, self._note_dropped
        )
        self._thread = threading.Thread(target=self._work, name="ingest", daemon=True)
        self._thread.start()

    def put(self, camera: str, role: str, message: Any) -> None:
        """Take a message without waiting; where too many of its kind wait, the oldest of them is dropped."""
        self._queue.put(camera, role, message)

    def put_transforms(self, messages: list[bytes], static: bool) -> None:
        """Take serialised TFMessages."""
        self.put("", "tf_static" if static else "tf", messages)

    def wait_until_used(self, timeout_s: float) -> bool:
        """Wait until all that was put before this call has been used; False if that took too long."""
        used = threading.Event()
        return not self._queue.put("", "mark", used) or used.wait(timeout_s)

    @property
    def world_frame(self) -> str:
        """Frame of all frames in the session; empty before it is known."""
        return self._assembler.world_frame

    @property
    def transform_frames(self) -> list[str]:
        """Names of the frames between which there are transforms, sorted."""
        with self._lock:
            return sorted(self._assembler.transforms.frames())

    @property
    def frames_held(self) -> int:
        """Frames in the session."""
        return len(self._session.frames)

    @property
    def cameras_move(self) -> bool:
        """Whether a moving transform lies between the world and any camera."""
        with self._lock:
            return self._assembler.cameras_move

    def transform_notes(self, within_s: float = float("inf")) -> list[str]:
        """Return what was told of transforms that are not used as they came, all or within so many seconds till now."""
        return self._assembler.transform_notes(within_s)

    def T_world_frame(self, frame_id: str, stamp_ns: int) -> Float64:
        """Return the (4, 4) pose of a frame in the world frame at a stamp; 0 takes the newest transform.

        Raises
        ------
        TransformError
            If there is none yet.
        """
        with self._lock:
            transforms, world = self._assembler.transforms, self._assembler.world_frame
            return transforms.lookup(world, frame_id, stamp_ns or transforms.newest_common_ns(world, frame_id))

    def missing_pose(self, frame_id: str, stamp_ns: int) -> TransformError | None:
        """Return why a camera has no pose at a stamp; None where it has one."""
        with self._lock:
            transforms, world = self._assembler.transforms, self._assembler.world_frame
            try:
                transforms.lookup(world or transforms.root(frame_id), frame_id, stamp_ns)
            except TransformError as error:
                return error
        return None

    def configure(self, config: NodeConfig) -> None:
        """Take the parameters that a running input takes."""
        with self._lock:
            self._assembler.depth = config.depth

    def restart(self) -> int:
        """Forget all messages, moving transforms and frames, those of the session too; return how many it held."""
        self._forget_items()
        with self._lock:
            self._assembler.restart()
            self.counts.restarts = self._assembler.restarts
            return self._empty_session()

    def clock_jumped(self, now_ns: int) -> None:
        """Begin anew if the clock went back behind what was used; a loop's first messages may overtake it."""
        with self._lock:
            newest_ns = self._assembler.newest_ns
        if newest_ns > now_ns + self._config.assembly.jump_back_s * 1e9:
            self._post(TimeJumped(self.restart()))

    def _empty_session(self) -> int:
        """Empty the session, and keep no frame that is on its way to it."""
        with self._keeping:
            self._generation += 1
            self._future_ns = 0
            return self._session.reset()

    def stop(self, timeout_s: float) -> bool:
        """End the thread; False if it has not ended in time."""
        self._queue.close()
        self._forget_items()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _forget_items(self) -> None:
        """Forget what waits, and let nobody wait for it."""
        for _, role, content in self._queue.clear():
            if role == "mark":
                content.set()

    def _work(self) -> None:
        settled = True
        while True:
            item = self._queue.take(None if settled and not self._assembler.pending else _IDLE_S)
            settled = item is None
            if self._queue.closed:
                if item is not None and item[1] == "mark":
                    item[2].set()
                return
            try:
                self._use(item)
            except Exception as error:  # nothing in a message may end this thread
                camera, role, message = item or ("", "frame", None)
                self._refuse(error, role, camera, _stamp_ns(message))
            finally:
                if item is not None and item[1] == "mark":
                    item[2].set()
            self.counts.cpu_s = time.thread_time()

    def _use(self, item: tuple[str, str, Any] | None) -> None:
        if item is not None:
            with self._lock:
                self._assembler.arrived(time.monotonic_ns())
                more = self._push(*item)
                self._note_restart()
                self._note_rejections()
            if not more:
                return
        else:
            with self._lock:
                self._assembler.arrived(time.monotonic_ns())
        while frames := self._poll(settle=item is None):
            for frame, generation in frames:
                try:
                    self._keep(frame, generation)
                except Exception as error:  # a mistake costs this frame alone
                    self.counts.lost += 1
                    self._refuse(error, "frame", frame.camera, frame.stamp_ns)

    def _poll(self, settle: bool) -> list[tuple[Frame, int]]:
        with self._lock:
            frames = self._assembler.poll(settle=settle)
            self._note_restart()  # the world frame may have got a parent
            self._note_rejections()  # one frame at most is made at a time, after all that was rejected
            for frame in frames:
                self._note_success(frame.camera)
            self.counts.waiting, self.counts.unneeded = self._assembler.pending, self._assembler.unneeded
            return [(frame, self._generation) for frame in frames]

    def _wanted(self, camera: str, T_world_cam: Float64, stamp_ns: int) -> bool:
        """Answer the assembler; a frame that adds nothing is as good as one that is kept."""
        wanted = self._session.wants(camera, T_world_cam, stamp_ns)
        if not wanted:
            self._note_success(camera)
        return wanted

    def _note_success(self, camera: str) -> None:
        self.counts.last_frame_s[camera] = time.monotonic()
        self.counts.last_rejection.pop(camera, None)
        self.counts.last_rejection.pop("", None)

    def _push(self, camera: str, role: str, message: Any) -> bool:
        """Use a message; return whether frames may have become complete by it."""
        if role in ("tf", "tf_static"):
            batch = message if isinstance(message, list) else [message]
            more = [self._push_transforms(item, role == "tf_static") for item in batch]
            return any(more)
        if role in ("info", "depth_info"):
            stream = "color" if role == "info" else "depth"
            self._assembler.push_info(stream, camera, stamp_ns_of(message), camera_info_of(message))  # type: ignore[arg-type]
        elif role == "detections_3d":
            self._post(DetectionsArrived(camera, message))
        elif role != "mark":
            content, stream = (labels_of, "labels") if role == "detections" else (image_of, role)
            frame_id = message.header.frame_id
            if stamp_ns_of(message) < self._future_ns - self._config.assembly.jump_back_s * 1e9:
                self._assembler.restart()  # time went back while nobody listened
            self._assembler.push_image(stream, camera, stamp_ns_of(message), frame_id, content(message))  # type: ignore[arg-type]
        return True

    def _push_transforms(self, message: Any, static: bool) -> bool:
        """Use a TFMessage, serialised or not; return whether frames may have become complete by it."""
        if isinstance(message, bytes):
            try:
                return self._assembler.push_transform_message(message, static)
            except Unreadable as unreadable:  # another encoding of the middleware
                try:
                    message = _deserialised(message)
                except Exception:  # nor that
                    text = f"a message of transforms cannot be read: {unreadable}"
                    self._assembler.refuse(InputError(ErrorCode.FRAME_INVALID, text), "tf", "", 0)
                    return False
        for parent, child, stamp_ns, T_parent_child in transforms_of(message):
            self._assembler.push_transform(parent, child, stamp_ns, T_parent_child, static)
        return True

    def _keep(self, frame: Frame, generation: int) -> None:
        self._memory.make_room(self._session, _WORKING_COPIES * frame.nbytes)
        try:
            with self._keeping:
                if generation != self._generation:
                    return
                report = self._session.add_frame(frame)
        except MemoryError as error:
            self.counts.lost += 1
            self._not_kept[ErrorCode.MEMORY_BUDGET] += 1
            self._reject(Rejection(ErrorCode.MEMORY_BUDGET, str(error), frame.camera, frame.stamp_ns))
            return
        if not report.accepted:
            self._not_kept[report.code] += 1
            self._reject(Rejection(report.code, report.reason, frame.camera, frame.stamp_ns))
            return
        self.counts.kept += 1
        self.counts.new_views += report.new_view
        self._post(FrameKept(report.new_view))

    def _note_restart(self) -> None:
        if self._assembler.restarts != self.counts.restarts:
            self.counts.restarts = self._assembler.restarts
            self._post(TimeJumped(self._empty_session()))

    def _note_dropped(self, camera: str, role: str, full: bool) -> None:
        self.counts.dropped += 1
        what = f"{role} of {camera}" if camera else f"transforms ({role})"
        if full:
            why = (
                f"messages that wait hold more than {100 * WAITING_SHARE:g} % of memory_budget_bytes: raise it, or "
                "send smaller images"
            )
            self.counts.losses.add(f"dropped message, {what}", ErrorCode.MEMORY_BUDGET, why)
        else:
            why = "messages come faster than they are used: lower rate or resolution, or raise assembly.queue_size"
            self.counts.losses.add(f"dropped message, {what}", ErrorCode.BUSY, why)

    def _refuse(self, error: Exception, what: str, camera: str, stamp_ns: int) -> None:
        with self._lock:
            self._assembler.refuse(error, what, camera, stamp_ns)
            self._note_rejections()

    def _note_rejections(self) -> None:
        count = sum(self._assembler.counts.values())
        new = min(count - self._rejected, len(self._assembler.rejections))
        self._rejected = count
        self.counts.rejected = self._assembler.counts + self._not_kept
        for rejection in list(self._assembler.rejections)[len(self._assembler.rejections) - new :]:
            self._reject(rejection)

    def _reject(self, rejection: Rejection) -> None:
        """Keep why an input gave no frame, and log it at most every few seconds for each code, with a count."""
        self.counts.rejections.append(rejection)
        if rejection.code is ErrorCode.STAMP_UNMATCHED and self._partner_was_refused(rejection):
            return  # why it was tells more
        self.counts.last_rejection[rejection.camera] = rejection
        stalled_s = time.monotonic() - self.counts.last_frame_s.get(rejection.camera, 0.0)
        if rejection.code is ErrorCode.STAMP_UNMATCHED and stalled_s < self._config.watchdog_s:
            return  # colour at 30 Hz beside depth or masks at 2 Hz is in order
        what = f"of {rejection.camera}" if rejection.camera else "transform or message of no camera"
        self.counts.losses.add(f"rejected {what}", rejection.code, rejection.message)
        last_s, repeats = self._logged.get(rejection.code, (-_LOG_EVERY_S, 0))
        now_s = time.monotonic()
        if now_s - last_s < _LOG_EVERY_S:
            self._logged[rejection.code] = (last_s, repeats + 1)
            return
        more = f" (and {repeats} more like it)" if repeats else ""
        log.warning("[%d %s] %s%s", rejection.code, rejection.code.name, rejection.message, more)
        self._logged[rejection.code] = (now_s, 0)

    def _partner_was_refused(self, unmatched: Rejection) -> bool:
        before = self.counts.last_rejection.get(unmatched.camera)
        if before is None or before.code is ErrorCode.STAMP_UNMATCHED:
            return False
        return before.stamp_ns >= unmatched.stamp_ns - self._config.assembly.stamp_tolerance_s * 1e9


def _stamp_ns(message: Any) -> int:
    """Return the stamp of a message, 0 where it has none."""
    try:
        return stamp_ns_of(message)
    except AttributeError:
        return 0


def _deserialised(data: bytes) -> Any:
    from rclpy.serialization import deserialize_message
    from tf2_msgs.msg import TFMessage

    return deserialize_message(data, TFMessage)
