"""One frame from the messages that belong to it: decoded, undistorted, and never larger than there is room for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.frames.decoded_size import working_bytes
from sparse_recon.frames.depth_images import depth_image, empty_depth, encoding_of
from sparse_recon.frames.images import RAW_ENCODINGS, RawImage, Stream, color_image, label_image
from sparse_recon.frames.matching import Stamped
from sparse_recon.frames.robot_links import RobotMask
from sparse_recon.frames.undistort import PinholeCamera, registered_depth, resampled
from sparse_recon.types import Float32, Float64, Frame, Int32

MakeRoom = Callable[[int, str], None]


@dataclass(frozen=True, eq=False)
class PosedMessages:
    """The messages of one frame, with all that is needed to decode them.

    Attributes
    ----------
    parts : by stream; color is one of them.
    color, depth : the cameras.
    T_world_cam : (4, 4) pose of the colour camera.
    T_color_depth : (4, 4), maps points of the depth camera into the colour camera.
    T_world_links : (4, 4) poses of the robot's links by name.
    """

    camera: str
    parts: Mapping[str, Stamped]
    color: PinholeCamera
    depth: PinholeCamera
    T_world_cam: Float64
    T_color_depth: Float64
    T_world_links: Mapping[str, Float64] = field(default_factory=dict)

    @property
    def same_view(self) -> bool:
        """Whether depth was taken from where colour was."""
        return bool(np.allclose(self.T_color_depth, np.eye(4), atol=1e-9))


class FrameDecoder:
    """Makes frames, one at a time.

    Parameters
    ----------
    depth : range of valid depth; may be exchanged.
    convert : makes a raw image of an encoding that `images` does not read into one that it reads, or raises InputError.
    make_room : told how many bytes it takes to decode a frame and look at it, and what frame that is, before anything
        of it is decoded; raises an error of code MEMORY_BUDGET where there is no room.
    robot : is taken out of the frames.

    Attributes
    ----------
    depth_encoding : of the last depth image; empty before there is one.
    """

    def __init__(
        self,
        depth: DepthConfig,
        convert: Callable[[Stream, RawImage], RawImage] | None,
        make_room: MakeRoom | None,
        robot: RobotMask | None = None,
    ) -> None:
        self.depth = depth
        self.depth_encoding = ""
        self._robot = robot
        self._convert = convert
        self._make_room = make_room

    def frame(self, posed: PosedMessages) -> Frame:
        """Decode.

        Raises
        ------
        SparseReconError
            If an image cannot be used, or there is no room for it.
        """
        parts, color = posed.parts, posed.color
        if self._make_room is not None:
            needed_bytes = working_bytes(parts, color, posed.depth, moved_depth=not posed.same_view)
            self._make_room(needed_bytes, f"{posed.camera}: a frame of {color.size[0]}x{color.size[1]} pixels")
        rgb = color.undistorted(color_image(self._readable("color", parts["color"].content), color.size), smooth=True)
        labels: Int32 | None = None
        if "labels" in parts:
            content = self._readable("labels", parts["labels"].content)
            labels = color.undistorted(label_image(content, color.size), smooth=False)
        depth_m = self._depth_on_color(posed, parts["depth"]) if "depth" in parts else None
        stamp_ns = parts["color"].stamp_ns
        frame = Frame(rgb, depth_m, color.intrinsics, posed.T_world_cam, stamp_ns, labels, posed.camera)
        return self._robot.taken_out(frame, posed.T_world_links) if self._robot else frame

    def _readable(self, stream: Stream, image: Any) -> Any:
        if self._convert is None or not isinstance(image, RawImage) or image.encoding in RAW_ENCODINGS[stream]:
            return image
        return self._convert(stream, image)

    def _depth_on_color(self, posed: PosedMessages, depth: Stamped) -> Float32:
        camera, color = posed.depth, posed.color
        content = self._readable("depth", depth.content)
        self.depth_encoding = encoding_of(content)
        wanted = self.depth
        decoded_m = depth_image(content, wanted.near_m, wanted.far_m, camera.size, wanted.unit_m)
        depth_m = camera.undistorted(decoded_m, smooth=False)
        if not np.any(np.isfinite(depth_m)):
            raise empty_depth(content, f"{color.name}: depth image at {depth.stamp_ns * 1e-9:.6f} s", wanted)
        if not posed.same_view:
            return registered_depth(depth_m, camera.intrinsics, color.intrinsics, posed.T_color_depth)
        if depth_m.shape != (color.intrinsics.height, color.intrinsics.width) or not np.allclose(
            camera.intrinsics.K, color.intrinsics.K, rtol=1e-6
        ):
            return resampled(depth_m, camera.intrinsics, color.intrinsics)
        return depth_m
