"""From decoded messages of any number of cameras to `Frame`s in stamp order, with bounded memory."""

from __future__ import annotations

from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Literal

import numpy as np

from sparse_recon.config.input_config import AssemblyConfig, DepthConfig
from sparse_recon.errors import ErrorCode, InputError, TransformError, quoted
from sparse_recon.frames.ahead import AheadMessage, AheadMessages
from sparse_recon.frames.camera_streams import CameraInput, CameraStreams
from sparse_recon.frames.candidates import Candidate, drop_beyond
from sparse_recon.frames.decode import FrameDecoder, MakeRoom, PosedMessages
from sparse_recon.frames.images import Image, LabelBoxes, RawImage, Stream
from sparse_recon.frames.matching import Stamped, Unmatched
from sparse_recon.frames.registration import pose_of_depth
from sparse_recon.frames.rejections import Rejection, Rejections
from sparse_recon.frames.robot_links import RobotMask
from sparse_recon.frames.transform_intake import TransformIntake
from sparse_recon.frames.undistort import CameraInfo
from sparse_recon.geometry.transforms import MAX_NAME_LENGTH, TransformSource, TransformTree
from sparse_recon.types import Float64, Frame

_HELD_BYTES = 1e9
# A picture that runs ahead is used after so long a silence of its camera.
AHEAD_WAIT_NS = 2_000_000_000
_RETRYABLE_CODES = {ErrorCode.TF_FRAME_UNKNOWN, ErrorCode.TF_NOT_CONNECTED, ErrorCode.TF_EXTRAPOLATION}


class FrameAssembler:
    """Matches images, camera infos and transforms; what cannot become a frame is counted with its reason.

    `push_*` take messages as they come and return a `Rejection` or None; `poll` returns the frames that became
    complete, in stamp order. Neither raises for anything that is in a message, nor for a mistake of ours: whatever
    happens on the way of a frame costs that frame. After a jump back in time everything starts anew and `restarts`
    grows.

    Parameters
    ----------
    cameras : what each camera sends.
    world_frame : frame of `Frame.T_world_cam`; empty for the root above the first camera.
    depth : range of valid depth.
    config : tolerance, patience and queue sizes.
    transforms : where poses come from; a tree of its own by default.
    wanted : asked with camera, `T_world_cam` and stamp in ns before anything of a frame is decoded; a frame that is not
        wanted is dropped and counted in `unneeded`, which is no rejection.
    convert : makes a raw image of an encoding that `images` does not read into one that it reads, or raises InputError.
    make_room : told the bytes that a frame will take, and what frame that is, before anything of it is decoded; raises
        an error of code MEMORY_BUDGET where there is no room for them.
    held_bytes : of images that wait for their partners, transforms or camera infos; the oldest of more go.
    robot : is taken out of the frames.

    Attributes
    ----------
    frames_lost : images that could not become frames although they were needed, by code.
    """

    def __init__(
        self,
        cameras: Sequence[CameraStreams],
        *,
        world_frame: str = "",
        depth: DepthConfig | None = None,
        config: AssemblyConfig | None = None,
        transforms: TransformSource | None = None,
        wanted: Callable[[str, Float64, int], bool] | None = None,
        convert: Callable[[Stream, RawImage], RawImage] | None = None,
        make_room: MakeRoom | None = None,
        held_bytes: float = _HELD_BYTES,
        robot: RobotMask | None = None,
    ) -> None:
        self._config = config or AssemblyConfig()
        self._robot = robot or RobotMask((), 0.0)
        self._decoder = FrameDecoder(depth or DepthConfig(), convert, make_room, self._robot)
        self._held_bytes = held_bytes
        self._cameras = {streams.name: CameraInput(streams, self._config) for streams in cameras}
        self._configured_world = world_frame
        self._rejections = Rejections()
        source = transforms or TransformTree(history_s=self._config.history_s, max_gap_s=self._config.max_gap_s)
        self._ahead = AheadMessages(self._config.max_ahead_s)
        self._intake = TransformIntake(source, self._rejections, self._config.jump_back_s, self._ahead, self._jump_back)
        self._wanted = wanted
        self.world_frame = world_frame
        self.frames_made = 0
        self.frames_lost: Counter[ErrorCode] = Counter()
        self.unneeded = 0
        self.restarts = 0
        self._waiting: list[Candidate] = []
        self._newest_ns = 0
        self._last_emitted_ns = 0
        self._number = 0

    @property
    def transforms(self) -> TransformSource:
        """What answers for poses."""
        return self._intake.transforms

    @property
    def rejections(self) -> deque[Rejection]:
        """The newest inputs that gave no frame; `counts` counts all by code."""
        return self._rejections.newest

    @property
    def counts(self) -> Counter[ErrorCode]:
        return self._rejections.counts

    @property
    def depth(self) -> DepthConfig:
        """The range of valid depth."""
        return self._decoder.depth

    @depth.setter
    def depth(self, depth: DepthConfig) -> None:
        self._decoder.depth = depth

    @property
    def depth_encoding(self) -> str:
        """Encoding of the last depth image that was decoded; empty before there is one."""
        return self._decoder.depth_encoding

    def arrived(self, at_ns: int) -> None:
        """Say when the messages that are pushed from now on arrived: by any clock that goes on while none comes."""
        self._ahead.arrived_ns = at_ns

    def transform_notes(self, within_s: float = float("inf")) -> list[str]:
        """Return what was told of transforms that are not used as they came, all or within so many seconds till now."""
        return self._intake.notes.sentences(within_s)

    def push_image(
        self, stream: Stream, camera: str, stamp_ns: int, frame_id: str, image: Image | LabelBoxes
    ) -> Rejection | None:
        """Take a colour, depth or label image; it is decoded only when its frame is complete."""
        if camera not in self._cameras:
            known = ", ".join(self._cameras)
            return self._reject(
                ErrorCode.USAGE, f"no camera is named {quoted(camera)}; accepted are {known}", camera, stamp_ns
            )
        if stamp_ns <= 0:
            text = f"{camera}: {stream} image has the stamp {stamp_ns} ns; the driver must fill in header.stamp"
            return self._reject(ErrorCode.STAMP_INVALID, text, camera, stamp_ns)
        if not 0 < len(frame_id) <= MAX_NAME_LENGTH:
            what = f"header.frame_id of {len(frame_id)} characters" if frame_id else "empty header.frame_id"
            text = f"{camera}: {stream} image has an {what}; the driver must name the optical frame"
            return self._reject(ErrorCode.FRAME_INVALID, text, camera, stamp_ns)
        if self._runs_ahead(stream, camera, stamp_ns):
            self._put_ahead(stream, camera, stamp_ns, frame_id, image)
            return None
        self._ahead.in_time(_source(stream, camera))
        return self._take_image(stream, camera, stamp_ns, frame_id, image)

    def _runs_ahead(self, stream: Stream, camera: str, stamp_ns: int) -> bool:
        last_ns = self._cameras[camera].matcher.newest_ns
        return self._ahead.is_ahead(
            stamp_ns, lambda: last_ns(stream), lambda: self._intake.transforms.latest_beside_ns("")
        )

    def _put_ahead(self, stream: Stream, camera: str, stamp_ns: int, frame_id: str, image: Image | LabelBoxes) -> None:
        lead_s = (stamp_ns - max(self._ahead.image_now_ns, self._intake.transforms.latest_beside_ns(""))) * 1e-9
        text = (
            f"{camera}: {stream} image at {stamp_ns * 1e-9:.6f} s runs {lead_s:.3f} s ahead of all other messages and "
            "is left out; check the clock of the driver"
        )
        item = AheadMessage(
            _source(stream, camera),
            camera,
            stamp_ns,
            self._ahead.arrived_ns,
            partial(self._take_image, stream, camera, stamp_ns, frame_id, image),
            partial(self._reject, ErrorCode.STAMP_ORDER, text, camera, stamp_ns),
        )
        self._ahead.put(item, by_itself=True)

    def _take_image(
        self, stream: Stream, camera: str, stamp_ns: int, frame_id: str, image: Image | LabelBoxes
    ) -> Rejection | None:
        last_ns = self._cameras[camera].matcher.newest_ns(stream)
        if last_ns is not None and stamp_ns <= last_ns:
            behind_s = (last_ns - stamp_ns) * 1e-9
            if behind_s <= self._config.jump_back_s:
                what = "repeats the stamp" if stamp_ns == last_ns else f"is {behind_s:.6f} s older than the one"
                text = f"{camera}: {stream} image at {stamp_ns * 1e-9:.6f} s {what} before it; stamps must increase"
                return self._reject(ErrorCode.STAMP_ORDER, text, camera, stamp_ns)
            self.restart()
        self._newest_ns = max(self._newest_ns, stamp_ns)
        self._ahead.note_image(stamp_ns)
        self._cameras[camera].frame_id = frame_id if stream == "color" else self._cameras[camera].frame_id
        self._cameras[camera].matcher.push(stream, Stamped(stamp_ns, frame_id, image))
        for name, lost_ns, text in drop_beyond(self._held_bytes, self._cameras.values(), self._waiting):
            self._lose(self._reject(ErrorCode.MEMORY_BUDGET, text, name, lost_ns))
        return None

    def push_info(
        self, stream: Literal["color", "depth"], camera: str, stamp_ns: int, info: CameraInfo
    ) -> Rejection | None:
        """Take a camera info; an equal one costs nothing."""
        try:
            entry = self._cameras[camera]
            (entry.color if stream == "color" else entry.depth).put(stamp_ns, info, camera)
        except KeyError:
            known = ", ".join(self._cameras)
            return self._reject(
                ErrorCode.USAGE, f"no camera is named {quoted(camera)}; accepted are {known}", camera, stamp_ns
            )
        except Exception as error:
            return self.refuse(error, "camera info", camera, stamp_ns)
        return None

    def push_transform(
        self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64, static: bool = False
    ) -> Rejection | None:
        """Take one transform of /tf or, with `static`, of /tf_static."""
        return self._intake.push(parent, child, stamp_ns, T_parent_child, static, self._newest_ns)

    def push_transform_message(self, data: bytes, static: bool) -> bool:
        """Take a serialised TFMessage; return whether frames that wait may go on.

        Raises
        ------
        Unreadable
            If the bytes are none; what was read before has been used.
        """
        return self._intake.push_message(data, static, self._newest_ns)

    def refuse(self, error: Exception, what: str, camera: str, stamp_ns: int) -> Rejection:
        """Count an input that an exception cost, the caller's or one of here."""
        return self._rejections.add_error(error, what, camera, stamp_ns)

    @property
    def cameras_move(self) -> bool:
        """Whether a moving transform lies between the world and any camera."""
        return any(self._moving_links())

    def _jump_back(self, late: Set[str]) -> bool:
        """Begin anew where all moving links between the world and a camera, two at least, are late; True if so."""
        jumped = any(len(links) > 1 and links <= late for links in self._moving_links())
        if jumped:
            self.restart()
        return jumped

    def _moving_links(self) -> Iterator[frozenset[str]]:
        """Yield, for each camera whose frame is known, the moving links between it and the world."""
        for camera in self._cameras.values():
            if self.world_frame and camera.frame_id:
                yield self.transforms.moving_links(self.world_frame, camera.frame_id)

    def poll(self, settle: bool = False) -> list[Frame]:
        """Return frames that are complete now.

        With `wanted` it is one at most, so that `wanted` can know of it before it is asked about the next: poll again
        until the list is empty. With `settle` no later image is waited for, as when none came for a while; frames still
        wait for their transforms and camera infos.
        """
        if settle:
            self._ahead.use_waited(self._cameras, AHEAD_WAIT_NS)
        return self._limited(self._complete(settle=settle))

    def flush(self) -> list[Frame]:
        """Return frames that can be made without any further message, one at most with `wanted`; reject the others."""
        frames = self._limited(self._complete(settle=True, finish=True))
        if not frames and self._ahead.use_rest(self._cameras):
            frames = self._limited(self._complete(settle=True, finish=True))
        return frames

    def restart(self) -> None:
        """Begin anew as after a jump back in time; static transforms and calibrations stay."""
        self.restarts += 1
        self._collect(settle=True)
        for lost in self._waiting:
            text = (
                f"{lost.camera}: frame at {lost.stamp_ns * 1e-9:.6f} s was still waiting for its transform or camera "
                "info when time jumped back; a looping recording loses such a frame at its end"
            )
            self._reject(ErrorCode.STAMP_ORDER, text, lost.camera, lost.stamp_ns)
        self._waiting.clear()
        self._newest_ns = self._last_emitted_ns = 0
        self._ahead.restart()
        self._intake.restart()
        for camera in self._cameras.values():
            camera.restart()

    @property
    def pending(self) -> int:
        """Frames that wait for a transform, a camera info or an earlier frame."""
        return len(self._waiting)

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest image since the last restart; 0 before there is one."""
        return self._newest_ns

    def _limited(self, frames: Iterator[Frame]) -> list[Frame]:
        return list(frames if self._wanted is None else islice(frames, 1))

    def _complete(self, settle: bool, finish: bool = False) -> Iterator[Frame]:
        self._collect(settle)
        while self._waiting:
            candidate = self._next_candidate()
            late = finish or self._overdue(candidate)
            if not late and not settle and self._earlier_may_come(candidate.stamp_ns):
                return
            frame: Frame | None = None
            try:
                posed = self._posed(candidate, self._cameras[candidate.camera], late, settle)
                if posed is None:
                    return
                if self._wanted is None or self._wanted(candidate.camera, posed.T_world_cam, candidate.stamp_ns):
                    T_world_links = self._link_poses(candidate.stamp_ns, late or settle)
                    if T_world_links is None:
                        return
                    frame = self._decoder.frame(replace(posed, T_world_links=T_world_links))
                else:
                    self.unneeded += 1
            except Exception as error:
                self._lose(self.refuse(error, "frame", candidate.camera, candidate.stamp_ns))
            self._waiting.remove(candidate)
            if frame is not None:
                self.frames_made += 1
                self._last_emitted_ns = frame.stamp_ns
                yield frame

    def _next_candidate(self) -> Candidate:
        """Return the oldest frame; a camera without calibration does not hold up the others."""
        oldest = self._waiting[0]
        if self._overdue(oldest) or self._cameras[oldest.camera].calibrated:
            return oldest
        return next((c for c in self._waiting if self._cameras[c.camera].calibrated), oldest)

    def _overdue(self, candidate: Candidate) -> bool:
        waited_s = (self._newest_ns - candidate.stamp_ns) * 1e-9
        return len(self._waiting) > self._config.queue_size or waited_s > self._config.tf_timeout_s

    def _collect(self, settle: bool) -> None:
        for name, camera in self._cameras.items():
            for match in camera.matcher.matched(finish=settle):
                if isinstance(match, Unmatched):
                    stamp_ns = match.message.stamp_ns
                    text = (
                        f"{name}: no {match.stream} image within {self._config.stamp_tolerance_s:g} s of the colour "
                        f"image at {stamp_ns * 1e-9:.6f} s; check that both are published and share a clock, "
                        "or raise assembly.stamp_tolerance_s"
                    )
                    self._reject(ErrorCode.STAMP_UNMATCHED, text, name, stamp_ns)
                elif match["color"].stamp_ns < self._last_emitted_ns:
                    stamp_ns = match["color"].stamp_ns
                    text = (
                        f"{name}: frame at {stamp_ns * 1e-9:.6f} s came after a newer one of another camera was "
                        "used; check that the cameras share a clock"
                    )
                    self._reject(ErrorCode.STAMP_ORDER, text, name, stamp_ns)
                else:
                    self._number += 1
                    insort(self._waiting, Candidate(match["color"].stamp_ns, name, self._number, match))

    def _earlier_may_come(self, stamp_ns: int) -> bool:
        if self._newest_ns - stamp_ns > self._config.order_timeout_s * 1e9:
            return False
        newest = [camera.matcher.newest_ns("color") for camera in self._cameras.values()]
        return any(ns is not None and ns < stamp_ns for ns in newest)

    def _posed(self, candidate: Candidate, camera: CameraInput, late: bool, settle: bool) -> PosedMessages | None:
        """Return the cameras and poses of a frame, or None while waiting may help."""
        color = candidate.parts["color"]
        pinhole, depth_pinhole = camera.color.at(color.stamp_ns), camera.depth.at(color.stamp_ns)
        if pinhole is None or depth_pinhole is None:
            if late:
                problem = (camera.depth if pinhole else camera.color).problem
                raise InputError(ErrorCode.INTRINSICS_INVALID, f"{candidate.camera}: no usable camera info: {problem}")
            return None
        depth = candidate.parts.get("depth")
        T_color_depth: Float64 | None = np.eye(4)

        def may_wait(error: TransformError) -> bool:
            return not (late or error.code not in _RETRYABLE_CODES or self._is_permanent(color, error))

        try:
            self._find_world(color, late, settle)
            T_world_cam = self.transforms.lookup(self.world_frame, color.frame_id, color.stamp_ns)
        except TransformError as error:
            if not may_wait(error):
                raise
            return None
        if depth is not None and not self._config.depth_is_registered:
            calibrated = camera.streams.depth_info
            T_color_depth = pose_of_depth(
                self.transforms, candidate.camera, color, depth, calibrated=calibrated, may_wait=may_wait
            )
        if T_color_depth is None:
            return None
        return PosedMessages(candidate.camera, candidate.parts, pinhole, depth_pinhole, T_world_cam, T_color_depth)

    def _link_poses(self, stamp_ns: int, late: bool) -> dict[str, Float64] | None:
        """Return the poses of the robot's links that are known, or None while waiting may help."""
        found: dict[str, Float64] = {}
        for link in self._robot.links:
            try:
                found[link] = self.transforms.lookup(self.world_frame, link, stamp_ns)
            except TransformError as error:
                known = error.code is ErrorCode.TF_EXTRAPOLATION
                if known and not late and not self.transforms.covers(self.world_frame, link, stamp_ns):
                    return None
                self._intake.notes.add("robot", link, partial(_left_in, link, error.message))
        return found

    def _find_world(self, color: Stamped, late: bool, settle: bool) -> None:
        """Find the root of the transforms where nobody named a world frame, and notice when it gets a parent.

        Static transforms come first at the start and after a jump: a root above nothing that moves is believed only
        after a moment without anything above it.
        """
        if self._configured_world:
            return
        if self.world_frame and late and self.world_frame not in self.transforms.frames():
            self._move_world("")
        top = self.transforms.root(self.world_frame or color.frame_id)
        if self.world_frame:
            if top != self.world_frame:
                self._move_world(top)
            return
        waited_s = (self._newest_ns - color.stamp_ns) * 1e-9
        moves = self.transforms.newest_common_ns(top, color.frame_id) > 0
        if not (moves or late or settle or waited_s > self._config.order_timeout_s):
            text = (
                f"only static transforms connect {color.frame_id} to {top} so far; publish the moving ones, or set "
                f"world_frame to {top} if there are none"
            )
            raise TransformError(ErrorCode.TF_FRAME_UNKNOWN, text)
        self.world_frame = top

    def _move_world(self, world_frame: str) -> None:
        """Go on in another world frame: frames that were made before belong to another pass."""
        self.world_frame = world_frame
        self.restarts += 1

    def _is_permanent(self, color: Stamped, error: TransformError) -> bool:
        """Return whether the stamp lies before the transforms, where nothing newer helps."""
        covered = self.transforms.covers(self.world_frame, color.frame_id, color.stamp_ns)
        return error.code is ErrorCode.TF_EXTRAPOLATION and covered

    def _lose(self, rejection: Rejection) -> None:
        self.frames_lost[rejection.code] += 1

    def _reject(self, code: ErrorCode, message: str, camera: str, stamp_ns: int) -> Rejection:
        return self._rejections.add(code, message, camera, stamp_ns)


def _source(stream: Stream, camera: str) -> str:
    return f"{stream} image of {camera}"


def _left_in(link: str, why: str, count: int) -> str:
    return f"link {link} of the robot stays in {count} frame(s): {why}"
