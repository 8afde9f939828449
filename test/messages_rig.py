"""A small robot that sends messages to a frame assembler."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparse_recon.config.input_config import AssemblyConfig
from sparse_recon.frames.assemble import FrameAssembler
from sparse_recon.frames.camera_streams import CameraStreams
from sparse_recon.frames.images import RawImage
from sparse_recon.frames.rejections import Rejection
from sparse_recon.frames.robot_links import RobotMask
from sparse_recon.frames.undistort import CameraInfo
from sparse_recon.geometry.poses import pose
from sparse_recon.geometry.transforms import TransformSource
from sparse_recon.types import Float64, Frame

W, H = 8, 6
MS = 1_000_000
T0 = 1_700_000_000_000 * MS
INFO = CameraInfo(W, H, [10.0, 0, 3.5, 0, 10.0, 2.5, 0, 0, 1])


def color(value: int = 100) -> RawImage:
    return RawImage("rgb8", W, H, W * 3, False, bytes([value]) * (W * H * 3))


def depth(millimetres: int = 500, width: int = W, height: int = H) -> RawImage:
    return RawImage("16UC1", width, height, width * 2, False, np.full(width * height, millimetres, np.uint16).tobytes())


class Rig:
    """Pushes what a small robot sends, one helper a message.

    `new_transforms` makes the source of poses where none is given; None leaves that to the assembler.
    """

    new_transforms: Callable[[AssemblyConfig], TransformSource] | None = None

    def __init__(
        self,
        *cameras: CameraStreams,
        wanted: Callable[[str, Float64, int], bool] | None = None,
        transforms: TransformSource | None = None,
        robot: RobotMask | None = None,
        **config: float,
    ) -> None:
        assembly = AssemblyConfig(**config)
        if transforms is None and self.new_transforms is not None:
            transforms = self.new_transforms(assembly)
        self.assembler = FrameAssembler(
            cameras or [CameraStreams("cam")], config=assembly, wanted=wanted, transforms=transforms, robot=robot
        )
        self.frames: list[Frame] = []

    def info(self, camera: str = "cam", info: CameraInfo = INFO, stream: str = "color") -> Rejection | None:
        return self._then(self.assembler.push_info(stream, camera, 0, info))

    def tf(self, ms: int, x: float = 0.0, child: str = "cam_optical") -> Rejection | None:
        T = pose(np.eye(3), (x, 0.0, 0.0))
        return self._then(self.assembler.push_transform("world", child, T0 + ms * MS, T))

    def color(self, ms: float, camera: str = "cam", image: RawImage | None = None) -> Rejection | None:
        return self._image("color", ms, camera, image or color())

    def depth(self, ms: float, camera: str = "cam", image: RawImage | None = None) -> Rejection | None:
        return self._image("depth", ms, camera, image or depth())

    def both(self, ms: float, camera: str = "cam") -> None:
        self.color(ms, camera)
        self.depth(ms, camera)

    def _image(self, stream: str, ms: float, camera: str, image: RawImage) -> Rejection | None:
        stamp_ns = T0 + round(ms * MS)
        return self._then(self.assembler.push_image(stream, camera, stamp_ns, f"{camera}_optical", image))

    def _then(self, rejection: Rejection | None) -> Rejection | None:
        while frames := self.assembler.poll():
            self.frames += frames
        return rejection

    def finish(self) -> list[float]:
        while frames := self.assembler.flush():
            self.frames += frames
        return self.stamps_ms()

    def stamps_ms(self) -> list[float]:
        return [(frame.stamp_ns - T0) / MS for frame in self.frames]

    def last(self) -> Rejection:
        return self.assembler.rejections[-1]
