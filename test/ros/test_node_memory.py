"""The memory budget against what real messages would unfold to."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
import pytest
from rig import BEST_EFFORT, messages_of, set_stamp
from sensor_msgs.msg import CameraInfo, CompressedImage

from sparse_recon.errors import ErrorCode

BUDGET_BYTES = 1_200_000_000


def packed(form: str, data: bytes, stamp_ns: int) -> CompressedImage:
    made = CompressedImage(format=form, data=array("B", data))
    made.header.frame_id = "camera_optical"
    set_stamp(made.header.stamp, stamp_ns)
    return made


def frame_of(width: int, height: int) -> tuple[bytes, bytes]:
    """Return a JPEG and a compressedDepth of so many pixels, which are small files."""
    depth = np.full((height, width), 700, np.uint16)
    png = cv2.imencode(".png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    return cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))[1].tobytes(), bytes(12) + png


@pytest.mark.parametrize(("width", "height", "fits"), [(9000, 7000, False), (3000, 2000, True)])
def test_what_images_unfold_to_counts_before_it_is_unfolded(started, recording, width: int, height: int, fits: bool):
    transports = {"image_transport": "compressed", "depth_transport": "compressedDepth"}
    robot = started(memory_budget_bytes=BUDGET_BYTES, world_frame="world", **transports)
    image = robot.node.create_publisher(CompressedImage, "image/compressed", BEST_EFFORT)
    depth = robot.node.create_publisher(CompressedImage, "depth/compressedDepth", BEST_EFFORT)
    robot.spin_until(lambda: image.get_subscription_count() and depth.get_subscription_count(), what="match")
    robot.wait_for_node(("info",))
    frame, (jpeg, png) = recording.frames[0], frame_of(width, height)
    stamps = iter(range(frame.stamp_ns, frame.stamp_ns + 100 * 10**9, 10**9))

    def send() -> None:
        stamp_ns = next(stamps)
        info: CameraInfo = messages_of(frame, stamp_ns)["info"]
        info.width, info.height = width, height
        K = np.array([[width, 0.0, width / 2], [0.0, width, height / 2], [0.0, 0.0, 1.0]])
        info.k, info.p = K.ravel(), np.hstack([K, np.zeros((3, 1))]).ravel()
        robot.send_transform(frame, stamp_ns)
        robot.info.publish(info)
        image.publish(packed("jpeg", jpeg, stamp_ns))
        depth.publish(packed("16UC1; compressedDepth png", png, stamp_ns))

    def decided() -> bool:
        return robot.figure("ingest", "rejected MEMORY_BUDGET") > 0 or robot.figure("ingest", "keyframes_kept") > 0

    while not decided():
        send()
        robot.spin_while(lambda: not decided(), 2.0)
    robot.spin_through_diagnostics(3)
    assert (robot.figure("ingest", "keyframes_kept") > 0) == fits
    assert 0 < robot.figure("memory", "rss_bytes") <= robot.figure("memory", "rss_peak_bytes") < BUDGET_BYTES
    assert robot.figure("memory", "memory_budget_bytes") == BUDGET_BYTES
    assert "at most" in robot.diagnostics["memory"]["message"] and robot.diagnostics["memory"]["level"] == "0"
    if not fits:
        told = robot.diagnostics["inputs camera"]
        assert (
            told["code"] == f"{int(ErrorCode.MEMORY_BUDGET)} MEMORY_BUDGET" and f"{width}x{height}" in told["message"]
        )
        assert (
            robot.diagnostics["ingest"]["level"] == "1"
            and f"{width}x{height}" in robot.diagnostics["ingest"]["message"]
        )
