"""The boxes of a 3D detector are the objects there are: those that it reports, for as long as it is believed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import rclpy
from scenes import two_objects

from sparse_recon.errors import ErrorCode
from sparse_recon.ros.completions import Completions
from sparse_recon.ros.events import DetectionsArrived
from sparse_recon.ros.node_config import load_node_config
from sparse_recon.ros.outputs import Outputs
from sparse_recon.ros.worker import Job

COARSE = {"evidence.grid": 32, "evidence.fine_grid": 48, "fusion.max_points": 2000, "fusion.max_faces": 1000}
LEFT, RIGHT = -0.08, 0.08


class Detector:
    """What a node does with detections, without the node: its clock is moved by hand."""

    def __init__(self, node: Any) -> None:
        config = load_node_config({**COARSE, "model": "carve", "world_frame": "world", "detections.timeout_s": 1.0})
        self.now_s = 100.0
        self.completions = Completions(config, Outputs(node), now_s=lambda: self.now_s, why_no_frames=lambda: "none")
        for frame in two_objects(3).frames:
            assert self.completions.session.add_frame(frame).accepted

    def report(self, *centres: float) -> None:
        def detection(x: float) -> Any:
            orientation = SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
            center = SimpleNamespace(position=SimpleNamespace(x=x, y=0.0, z=0.045), orientation=orientation)
            return SimpleNamespace(bbox=SimpleNamespace(center=center, size=SimpleNamespace(x=0.12, y=0.12, z=0.1)))

        header = SimpleNamespace(frame_id="world", stamp=SimpleNamespace(sec=1, nanosec=0))
        found = SimpleNamespace(header=header, detections=[detection(x) for x in centres])
        self.completions.post(DetectionsArrived("camera", found))

    def listed(self) -> dict[str, float]:
        """Ask what can be completed, as get_objects does: x of each box by name."""
        ended, outcome = threading.Event(), []

        def done(result: Any, error: Any) -> None:
            outcome.extend([result, error])
            ended.set()

        self.completions.worker.submit(Job("list", self.completions.objects, done), urgent=True)
        assert ended.wait(60.0)
        result, error = outcome
        assert error is None or error.code is not ErrorCode.INTERNAL, error
        return {item.object_id: round(float(item.box.T_world_box[0, 3]), 2) for item in result}


@pytest.fixture
def detector() -> Iterator[Detector]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("detections", context=context, enable_rosout=False)
    made = Detector(node)
    yield made
    assert made.completions.worker.stop(20.0)
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_before_a_detector_speaks_objects_are_searched_for(detector):
    assert set(detector.listed()) == {"object_0", "object_1"}


def test_boxes_are_the_objects_under_names_of_their_own(detector):
    detector.report(LEFT, RIGHT)
    assert detector.listed() == {"detection_0": LEFT, "detection_1": RIGHT}


def test_what_is_no_longer_reported_goes_after_the_timeout_and_not_before(detector):
    detector.report(LEFT, RIGHT)
    assert len(detector.listed()) == 2
    detector.now_s += 0.8
    detector.report(LEFT)
    assert detector.listed() == {"detection_0": LEFT, "detection_1": RIGHT}
    detector.now_s += 0.4
    assert detector.listed() == {"detection_0": LEFT}


def test_a_box_that_was_missed_once_keeps_its_name(detector):
    detector.report(LEFT, RIGHT)
    detector.listed()
    detector.now_s += 0.5
    detector.report(LEFT)
    detector.listed()
    detector.now_s += 0.3
    detector.report(LEFT, RIGHT)
    detector.now_s += 0.9
    assert detector.listed() == {"detection_0": LEFT, "detection_1": RIGHT}


def test_an_empty_array_means_that_nothing_is_there(detector):
    detector.report(LEFT, RIGHT)
    detector.listed()
    detector.now_s += 1.5
    detector.report()
    assert detector.listed() == {}
