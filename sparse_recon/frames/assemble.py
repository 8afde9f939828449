"""From decoded messages of any number of cameras to `Frame`s in stamp order, with bounded memory."""

from __future__ import annotations

from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np

from sparse_recon.config.session_config import AssemblyConfig, DepthConfig
from sparse_recon.errors import ErrorCode, InputError, SparseReconError, TransformError, quoted
from sparse_recon.frames.camera_streams import CameraInput, CameraStreams
from sparse_recon.frames.images import (
    RAW_ENCODINGS,
    Image,
    LabelBoxes,
    RawImage,
    Stream,
    color_image,
    depth_image,
    label_image,
)
from sparse_recon.frames.late_transforms import LateTransform, LateTransforms
from sparse_recon.frames.matching import Stamped, Unmatched
from sparse_recon.frames.undistort import CameraInfo, PinholeCamera, registered_depth, resampled
from sparse_recon.geometry.transforms import MAX_NAME_LENGTH, TransformSource, TransformTree
from sparse_recon.types import Float32, Float64, Frame, Int32

_MAX_MESSAGE_LENGTH = 1000  # of a rejection: messages quote what they were given
_RETRYABLE_CODES = {ErrorCode.TF_FRAME_UNKNOWN, ErrorCode.TF_NOT_CONNECTED, ErrorCode.TF_EXTRAPOLATION}


@dataclass(frozen=True)
class Rejection:
    """An input that gave no frame, and why."""

    code: ErrorCode
    message: str
    camera: str
    stamp_ns: int


@dataclass(frozen=True, order=True)
class _Candidate:
    stamp_ns: int
    camera: str
    number: int
    parts: dict[str, Stamped]


@dataclass(frozen=True, eq=False)
class _PosedCandidate:
    """A candidate with all that is needed to decode it."""

    color: PinholeCamera
    depth: PinholeCamera
    T_world_cam: Float64
    T_color_depth: Float64


class FrameAssembler:
    """Matches images, camera infos and transforms; what cannot become a frame is counted with its reason.

    `push_*` take messages as they come and return a `Rejection` or None; `poll` returns the frames that became
    complete, in stamp order. Neither raises for anything that is in a message. After a jump back in time everything
    starts anew and `restarts` grows.

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
    ) -> None:
        self._config = config or AssemblyConfig()
        self.depth = depth or DepthConfig()
        self._cameras = {streams.name: CameraInput(streams, self._config) for streams in cameras}
        self._configured_world = world_frame
        self.transforms: TransformSource = transforms or TransformTree(
            history_s=self._config.history_s, max_gap_s=self._config.max_gap_s
        )
        self._wanted = wanted
        self._convert = convert
        self.world_frame = world_frame
        self.rejections: deque[Rejection] = deque(maxlen=256)
        self.counts: Counter[ErrorCode] = Counter()
        self.frames_made = 0
        self.unneeded = 0
        self.restarts = 0
        self._late = LateTransforms()
        self._waiting: list[_Candidate] = []
        self._newest_ns = 0
        self._last_emitted_ns = 0
        self._number = 0

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
        last_ns = self._cameras[camera].matcher.newest_ns(stream)
        if last_ns is not None and stamp_ns <= last_ns:
            behind_s = (last_ns - stamp_ns) * 1e-9
            if behind_s <= self._config.jump_back_s:
                what = "repeats the stamp" if stamp_ns == last_ns else f"is {behind_s:.6f} s older than the one"
                text = f"{camera}: {stream} image at {stamp_ns * 1e-9:.6f} s {what} before it; stamps must increase"
                return self._reject(ErrorCode.STAMP_ORDER, text, camera, stamp_ns)
            self.restart()
        self._newest_ns = max(self._newest_ns, stamp_ns)
        self._cameras[camera].frame_id = frame_id if stream == "color" else self._cameras[camera].frame_id
        self._cameras[camera].matcher.push(stream, Stamped(stamp_ns, frame_id, image))
        return None

    def push_info(
        self, stream: Literal["color", "depth"], camera: str, stamp_ns: int, info: CameraInfo
    ) -> Rejection | None:
        """Take a camera info; an equal one costs nothing."""
        try:
            entry = self._cameras[camera]
            (entry.color if stream == "color" else entry.depth).put(stamp_ns, info, camera)
        except InputError as error:
            return self._reject(error.code, error.message, camera, stamp_ns)
        except KeyError:
            return self._reject(
                ErrorCode.USAGE,
                f"no camera is named {quoted(camera)}; accepted are {', '.join(self._cameras)}",
                camera,
                stamp_ns,
            )
        return None

    def push_transform(
        self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64, static: bool = False
    ) -> Rejection | None:
        """Take one transform of /tf or, with `static`, of /tf_static."""
        try:
            newest_ns = self.transforms.newest_ns(child)
            if static or newest_ns is None or newest_ns - stamp_ns <= self._config.jump_back_s * 1e9:
                self.transforms.add(parent, child, stamp_ns, T_parent_child, static)
                self._late.forget(child)
                return None
        except SparseReconError as error:
            return self._reject(error.code, error.message, "", stamp_ns)
        return self._push_late(LateTransform(parent, child, stamp_ns, T_parent_child), newest_ns)

    def _push_late(self, late: LateTransform, newest_ns: int) -> Rejection | None:
        """Set a transform from long ago aside: a stray of its link, unless time jumps back.

        Time jumps back where images say so, or where all moving links between the world and a camera, two at least, do.
        What was set aside then belongs to the new pass.
        """
        self._late.add(late)
        if any(len(links) > 1 and links <= self._late.children for links in self._moving_links()):
            self.restart()
            return None
        return self._reject(ErrorCode.STAMP_ORDER, late.refusal(newest_ns), "", late.stamp_ns)

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
        return self._limited(self._complete(settle=settle))

    def flush(self) -> list[Frame]:
        """Return frames that can be made without any further message, one at most with `wanted`; reject the others."""
        return self._limited(self._complete(settle=True, finish=True))

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
        self.transforms.clear()
        for item in self._late.take():
            with suppress(SparseReconError):  # it was counted when it came
                self.transforms.add(item.parent, item.child, item.stamp_ns, item.T_parent_child)
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
                    frame = self._decoded(candidate, posed)
                else:
                    self.unneeded += 1
            except (InputError, TransformError) as error:
                self._reject(error.code, error.message, candidate.camera, candidate.stamp_ns)
            self._waiting.remove(candidate)
            if frame is not None:
                self.frames_made += 1
                self._last_emitted_ns = frame.stamp_ns
                yield frame

    def _next_candidate(self) -> _Candidate:
        """Return the oldest frame; a camera without calibration does not hold up the others."""
        oldest = self._waiting[0]
        if self._overdue(oldest) or self._cameras[oldest.camera].calibrated:
            return oldest
        return next((c for c in self._waiting if self._cameras[c.camera].calibrated), oldest)

    def _overdue(self, candidate: _Candidate) -> bool:
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
                    insort(self._waiting, _Candidate(match["color"].stamp_ns, name, self._number, match))

    def _earlier_may_come(self, stamp_ns: int) -> bool:
        if self._newest_ns - stamp_ns > self._config.order_timeout_s * 1e9:
            return False
        newest = [camera.matcher.newest_ns("color") for camera in self._cameras.values()]
        return any(ns is not None and ns < stamp_ns for ns in newest)

    def _posed(self, candidate: _Candidate, camera: CameraInput, late: bool, settle: bool) -> _PosedCandidate | None:
        """Return the cameras and poses of a frame, or None while waiting may help."""
        color = candidate.parts["color"]
        pinhole, depth_pinhole = camera.color.at(color.stamp_ns), camera.depth.at(color.stamp_ns)
        if pinhole is None or depth_pinhole is None:
            if late:
                problem = (camera.depth if pinhole else camera.color).problem
                raise InputError(ErrorCode.INTRINSICS_INVALID, f"{candidate.camera}: no usable camera info: {problem}")
            return None
        depth = candidate.parts.get("depth")
        T_color_depth = np.eye(4)
        try:
            self._find_world(color, late, settle)
            T_world_cam = self.transforms.lookup(self.world_frame, color.frame_id, color.stamp_ns)
            if depth is not None and camera.streams.depth_info and depth.frame_id != color.frame_id:
                T_color_depth = self.transforms.lookup(color.frame_id, depth.frame_id, depth.stamp_ns)
        except TransformError as error:
            if late or error.code not in _RETRYABLE_CODES or self._is_permanent(color, error):
                raise
            return None
        return _PosedCandidate(pinhole, depth_pinhole, T_world_cam, T_color_depth)

    def _decoded(self, candidate: _Candidate, posed: _PosedCandidate) -> Frame:
        color, depth = candidate.parts["color"], candidate.parts.get("depth")
        size = posed.color.size
        rgb = posed.color.undistorted(color_image(self._readable("color", color.content), size), smooth=True)
        labels: Int32 | None = None
        if "labels" in candidate.parts:
            content = self._readable("labels", candidate.parts["labels"].content)
            labels = posed.color.undistorted(label_image(content, size), smooth=False)
        depth_m = None
        if depth is not None:
            depth_m = self._depth_on_color(depth, posed.depth, posed.color, posed.T_color_depth)
        return Frame(rgb, depth_m, posed.color.intrinsics, posed.T_world_cam, color.stamp_ns, labels, candidate.camera)

    def _readable(self, stream: Stream, image: Any) -> Any:
        if self._convert is None or not isinstance(image, RawImage) or image.encoding in RAW_ENCODINGS[stream]:
            return image
        return self._convert(stream, image)

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

    def _depth_on_color(
        self, depth: Stamped, camera: PinholeCamera, color: PinholeCamera, T_color_depth: Float64
    ) -> Float32:
        content = self._readable("depth", depth.content)
        decoded_m = depth_image(content, self.depth.near_m, self.depth.far_m, camera.size)
        depth_m = camera.undistorted(decoded_m, smooth=False)
        if not np.any(np.isfinite(depth_m)):
            raise InputError(
                ErrorCode.DEPTH_EMPTY,
                f"{color.name}: depth image at {depth.stamp_ns * 1e-9:.6f} s has no pixel within "
                f"{self.depth.near_m:g} to {self.depth.far_m:g} m; check the sensor, depth.near_m and depth.far_m",
            )
        same_view = np.allclose(T_color_depth, np.eye(4), atol=1e-9)
        if not same_view:
            return registered_depth(depth_m, camera.intrinsics, color.intrinsics, T_color_depth)
        if depth_m.shape != (color.intrinsics.height, color.intrinsics.width) or not np.allclose(
            camera.intrinsics.K, color.intrinsics.K, rtol=1e-6
        ):
            return resampled(depth_m, camera.intrinsics, color.intrinsics)
        return depth_m

    def _reject(self, code: ErrorCode, message: str, camera: str, stamp_ns: int) -> Rejection:
        text = message if len(message) <= _MAX_MESSAGE_LENGTH else f"{message[:_MAX_MESSAGE_LENGTH]} ..."
        rejection = Rejection(code, text, camera, stamp_ns)
        self.rejections.append(rejection)
        self.counts[code] += 1
        return rejection
