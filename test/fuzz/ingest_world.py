"""A real ingest over a real session, to which anything may be said, and the messages of a good camera."""

from __future__ import annotations

import itertools
import logging
import math
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from sparse_recon.frames.camera_streams import CameraStreams
from sparse_recon.geometry.transforms import TransformTree
from sparse_recon.machine.resident_memory import resident_bytes
from sparse_recon.ros.events import DetectionsArrived, Event
from sparse_recon.ros.ingest import Ingest
from sparse_recon.ros.memory_budget import MemoryBudget
from sparse_recon.ros.node_config import NodeConfig, load_node_config
from sparse_recon.session.session import CompletionSession

WIDTH, HEIGHT = 32, 24
FOCAL_PX = 30.0
SECOND_NS = 1_000_000_000
T0_NS = 1_700_000_000 * SECOND_NS
ANSWER_S = 2.0  # of processor time
MEGAPIXELS_ANSWER_S = 20.0  # of images that are large, and right
PATIENCE_S = 120.0
_log = logging.getLogger("sparse_recon")
CONFIG = load_node_config({"world_frame": "world", "transform_source": "tree", "use_mask": True})
STREAMS = CameraStreams("camera", labels=True, depth_info=True)


class World:
    """A running ingest; everything that its thread could not use and did not expect is in `mistakes`."""

    def __init__(self, config: NodeConfig = CONFIG, streams: CameraStreams = STREAMS) -> None:
        self.session = CompletionSession(config.session)
        self.mistakes: list[str] = []
        self.events: list[Event] = []
        self._number = itertools.count()
        self._handler = _Mistakes(self.mistakes)
        _log.addHandler(self._handler)
        _log.propagate = False
        tree = TransformTree(history_s=config.assembly.history_s, max_gap_s=config.assembly.max_gap_s)
        self.ingest = Ingest(
            config,
            [streams],
            tree,
            self.session,
            MemoryBudget(config.memory_budget_bytes),
            world_frame=config.world_frame,
            post=self.events.append,
        )

    @property
    def detections(self) -> list[Any]:
        """The messages of 3D detectors that were handed on."""
        return [event.message for event in self.events if isinstance(event, DetectionsArrived)]

    def say(self, role: str, message: Any) -> float:
        """Hand a message over as a callback does, wait until it is used, and return the processor seconds that took."""
        begun_s = time.process_time()
        self.ingest.put("" if role.startswith("tf") else "camera", role, message)
        assert self.ingest.wait_until_used(PATIENCE_S), f"{role}: not used within {PATIENCE_S:g} s"
        return time.process_time() - begun_s

    def say_all(self, messages: Sequence[tuple[str, Any]], within_s: float = ANSWER_S) -> None:
        """Hand messages over; each must be used in time, and none of them may come as a surprise."""
        for role, message in messages:
            seconds = self.say(role, message)
            assert seconds < within_s, f"{role}: {seconds:.1f} s"
            assert not self.mistakes, self.mistakes

    def keeps_good_frames(self) -> bool:
        """Send what a good camera sends, for a minute of its time, and return whether it was understood at last."""
        kept = 0
        for seconds in (100.0, 101.5, 140.0, 141.5):
            before = self.ingest.counts.kept
            self.say_all(good_frame(T0_NS + round(seconds * SECOND_NS), next(self._number)))
            kept = self.ingest.counts.kept - before
        return kept == 1

    def close(self) -> None:
        """End the thread."""
        alive = self.ingest.stop(PATIENCE_S)
        _log.removeHandler(self._handler)
        _log.propagate = True
        assert alive, "the thread did not end"

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Mistakes(logging.Handler):
    def __init__(self, mistakes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._mistakes = mistakes

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._mistakes.append(text)


@contextmanager
def memory_growth() -> Iterator[list[int]]:
    """Note how far the resident memory of this process rises meanwhile above what it was: [bytes]."""
    clear = Path("/proc/self/clear_refs")
    clear.write_text("5")  # forget the peak
    before, growth = resident_bytes(), [0]
    yield growth
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    growth[0] = int(lines["VmHWM"].split()[0]) * 1024 - before


def good_frame(stamp_ns: int, number: int = 0) -> list[tuple[str, Any]]:
    """Return (role, message) of one frame: transforms around its stamp, camera infos, images."""
    messages: list[tuple[str, Any]] = [
        ("tf", good_transform(stamp_ns + offset_ns, number)) for offset_ns in (-20_000_000, 20_000_000)
    ]
    messages += [("info", good_info(stamp_ns)), ("depth_info", good_info(stamp_ns))]
    messages += [
        ("color", good_image(stamp_ns, "rgb8", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))),
        ("depth", good_image(stamp_ns, "16UC1", np.full((HEIGHT, WIDTH), 700 + number % 100, "<u2"))),
        ("labels", good_image(stamp_ns, "mono8", np.ones((HEIGHT, WIDTH), np.uint8))),
    ]
    return messages


def good_image(stamp_ns: int, encoding: str, pixels: np.ndarray) -> Image:
    """Return an image of the camera."""
    height, width = pixels.shape[:2]
    image = Image(height=height, width=width, encoding=encoding, step=pixels[0].nbytes)
    image.data = array("B", pixels.tobytes())
    return stamped(image, stamp_ns)


def good_compressed(stamp_ns: int, role: str = "color", suffix: str = ".png") -> CompressedImage:
    """Return an image of the camera as image_transport sends it."""
    if role == "depth":
        pixels, form, suffix = np.full((HEIGHT, WIDTH), 700, np.uint16), "16UC1; compressedDepth png", ".png"
    else:
        pixels, form = np.full((HEIGHT, WIDTH, 3), 90, np.uint8), f"rgb8; {suffix[1:]} compressed bgr8"
    data = bytes(12) * (role == "depth") + cv2.imencode(suffix, pixels)[1].tobytes()
    return stamped(CompressedImage(format=form, data=array("B", data)), stamp_ns)


def good_info(stamp_ns: int) -> CameraInfo:
    """Return the calibration of the camera."""
    K = [FOCAL_PX, 0.0, WIDTH / 2, 0.0, FOCAL_PX, HEIGHT / 2, 0.0, 0.0, 1.0]
    P = [FOCAL_PX, 0.0, WIDTH / 2, 0.0, 0.0, FOCAL_PX, HEIGHT / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5, k=K, p=P)
    return stamped(info, stamp_ns)


def good_transform(stamp_ns: int, number: int = 0) -> TFMessage:
    """Return the pose of the camera; each number stands somewhere else, looking down on the origin."""
    item = TransformStamped(child_frame_id="camera_optical")
    angle = 0.1 * (number % 63)
    item.transform.translation.x, item.transform.translation.y = 0.3 * math.cos(angle), 0.3 * math.sin(angle)
    item.transform.translation.z = 0.7
    item.transform.rotation.x, item.transform.rotation.w = 1.0, 0.0
    return TFMessage(transforms=[stamped(item, stamp_ns, "world")])


def stamped(message: Any, stamp_ns: int, frame_id: str = "camera_optical") -> Any:
    """Fill in the header."""
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, SECOND_NS)
    return message
