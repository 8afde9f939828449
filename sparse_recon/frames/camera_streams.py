"""What one camera sends: its streams, their messages, and its calibrations over time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sparse_recon.config.input_config import AssemblyConfig
from sparse_recon.errors import InputError
from sparse_recon.frames.matching import StampMatcher
from sparse_recon.frames.undistort import CameraInfo, PinholeCamera


@dataclass(frozen=True)
class CameraStreams:
    """Which streams a camera has.

    Attributes
    ----------
    name : of the camera, as `Frame.camera`.
    depth, labels : a frame needs such an image.
    depth_info : the depth camera has a camera info of its own; else it shares that of the colour camera.
    rectified, depth_rectified : images are rectified already, so that `P` of the camera info holds.
    """

    name: str
    depth: bool = True
    labels: bool = False
    depth_info: bool = False
    rectified: bool = False
    depth_rectified: bool = False


class Calibration:
    """The camera infos of one stream; maps are kept as long as the calibration stays the same."""

    def __init__(self, rectified: bool) -> None:
        self._rectified = rectified
        self._known: deque[tuple[int, CameraInfo, PinholeCamera]] = deque(maxlen=4)
        self.problem = "no camera info has arrived"

    def put(self, stamp_ns: int, info: CameraInfo, name: str) -> None:
        """Take a camera info; raises InputError as `PinholeCamera` does."""
        if self._known and self._known[-1][1].same_as(info):
            return
        try:
            self._known.append((stamp_ns, info, PinholeCamera(info, name, rectified=self._rectified)))
        except InputError as error:
            self.problem = error.message
            raise

    @property
    def known(self) -> bool:
        """Whether a usable camera info has come."""
        return bool(self._known)

    def at(self, stamp_ns: int) -> PinholeCamera | None:
        """Return the camera in force at a stamp: the newest one before it, else the first one after it."""
        before = [camera for since_ns, _, camera in self._known if since_ns <= stamp_ns]
        return before[-1] if before else self._known[0][2] if self._known else None

    def restart(self) -> None:
        """Keep the last calibration, for a time that begins anew."""
        self._known = deque(((0, info, camera) for _, info, camera in list(self._known)[-1:]), maxlen=4)


class CameraInput:
    """The messages of one camera that are not yet frames."""

    def __init__(self, streams: CameraStreams, config: AssemblyConfig) -> None:
        self.streams = streams
        self._config = config
        self.color = Calibration(streams.rectified)
        self.depth = Calibration(streams.depth_rectified) if streams.depth_info else self.color
        self.frame_id = ""  # of the newest colour image
        self.restart()

    @property
    def calibrated(self) -> bool:
        """Whether a usable camera info has come for each of its images."""
        return self.color.known and self.depth.known

    def restart(self) -> None:
        """Forget all messages; calibrations stay."""
        names = ["color", *(["depth"] * self.streams.depth), *(["labels"] * self.streams.labels)]
        self.matcher = StampMatcher(names, round(self._config.stamp_tolerance_s * 1e9), self._config.queue_size)
        self.color.restart()
        self.depth.restart()
