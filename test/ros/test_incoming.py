"""Messages as records; detections have the fields of vision_msgs 4, which is not installed everywhere."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import Pose, TransformStamped, Vector3
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.frames.images import label_image
from sparse_recon.frames.incoming import boxes_of, camera_info_of, image_of, labels_of, transforms_of


def detected_2d(*rectangles):
    def item(x, y, size_x, size_y):
        centre = SimpleNamespace(position=SimpleNamespace(x=x, y=y), theta=0.0)
        return SimpleNamespace(bbox=SimpleNamespace(center=centre, size_x=size_x, size_y=size_y))

    return SimpleNamespace(detections=[item(*rectangle) for rectangle in rectangles])


def test_detected_rectangles_become_labels_and_smaller_ones_lie_on_top():
    labels = label_image(labels_of(detected_2d((4.0, 3.0, 4.0, 4.0), (4.0, 3.0, 2.0, 2.0))), (10, 8))
    assert labels.shape == (8, 10)
    assert np.array_equal(np.unique(labels), [0, 1, 2])
    assert (labels == 2).sum() == 4
    assert (labels > 0).sum() == 16


@pytest.mark.parametrize("bad", [(math.nan, 1.0, 2.0, 2.0), (1.0, 1.0, math.inf, 2.0), (1.0, 1.0, -2.0, 2.0)])
def test_impossible_rectangles_are_left_out(bad):
    assert not label_image(labels_of(detected_2d(bad)), (4, 4)).any()


def test_rectangles_that_leave_the_image_are_cut():
    labels = label_image(labels_of(detected_2d((0.0, 0.0, 4.0, 4.0), (1e300, 0.0, 1.0, 1.0))), (4, 4))
    assert (labels == 1).sum() == 4


def test_rectangles_are_drawn_in_an_image_of_known_size_only():
    with pytest.raises(InputError, match="size None") as error:
        label_image(labels_of(detected_2d((1.0, 1.0, 1.0, 1.0))))
    assert error.value.code == ErrorCode.SIZE_MISMATCH


def test_detected_boxes_keep_pose_and_size_and_unusable_ones_are_left_out():
    pose = Pose()
    pose.position.x, pose.orientation.w = 0.5, 1.0
    good = SimpleNamespace(bbox=SimpleNamespace(center=pose, size=Vector3(x=0.1, y=0.2, z=0.3)))
    flat = SimpleNamespace(bbox=SimpleNamespace(center=pose, size=Vector3(x=0.0, y=0.2, z=0.3)))
    boxes = boxes_of(SimpleNamespace(detections=[good, flat]))
    assert len(boxes) == 1
    assert boxes[0].T_world_box[0, 3] == 0.5
    assert boxes[0].size_m.tolist() == [0.1, 0.2, 0.3]


def test_images_share_their_bytes_with_the_message():
    raw = Image(height=1, width=2, encoding="mono8", step=2, data=b"\x01\x02")
    assert image_of(raw).data is raw.data
    packed = CompressedImage(format="png", data=b"\x01")
    assert image_of(packed).format == "png"


def test_camera_info_is_copied_with_binning_and_region():
    info = CameraInfo(width=640, height=480, distortion_model="plumb_bob", binning_x=2)
    info.k = np.arange(9.0)
    info.roi.width = 100
    record = camera_info_of(info)
    assert (record.width, record.height, record.binning, record.roi) == (640, 480, (2, 0), (0, 0, 100, 0))
    assert list(record.K) == list(range(9))


def test_transforms_that_are_no_transforms_are_left_out():
    good, bad = TransformStamped(child_frame_id="camera"), TransformStamped(child_frame_id="nowhere")
    good.header.frame_id = "world"
    good.header.stamp.sec = 3
    bad.transform.rotation.w = 0.0
    found = transforms_of(TFMessage(transforms=[bad, good]))
    assert [(parent, child, stamp_ns) for parent, child, stamp_ns, _ in found] == [("world", "camera", 3_000_000_000)]
