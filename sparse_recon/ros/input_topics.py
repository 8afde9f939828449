"""What the node subscribes to, by the role that it plays in a frame. No ROS is needed to read this."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InputTopic:
    """Name relative to the camera, message type or types, the parameter that turns it on, and what it carries."""

    name: str
    msgtype: str
    needs: str
    text: str


INPUT_TOPICS = {
    "color": InputTopic(
        "image", "sensor_msgs/msg/Image", "", "Colour or grey; `image/compressed` with `image_transport: compressed`."
    ),
    "depth": InputTopic(
        "depth",
        "sensor_msgs/msg/Image",
        "use_depth",
        "Depth along z (REP 118); `depth/compressedDepth` with `depth_transport: compressedDepth`; an organised "
        "`sensor_msgs/msg/PointCloud2` of the size of colour with `depth_transport: cloud`.",
    ),
    "info": InputTopic("camera_info", "sensor_msgs/msg/CameraInfo", "", "Calibration of colour, and of depth."),
    "depth_info": InputTopic(
        "depth_camera_info",
        "sensor_msgs/msg/CameraInfo",
        "depth_camera_info",
        "Calibration of depth where it is not registered to colour.",
    ),
    "labels": InputTopic(
        "mask", "sensor_msgs/msg/Image", "use_mask", "Label image: 0 background, other values name the objects."
    ),
    "detections": InputTopic(
        "detections",
        "vision_msgs/msg/Detection2DArray",
        "use_detections",
        "Boxes in the image, of the image's stamp; the object is the body within.",
    ),
    "detections_3d": InputTopic(
        "detections_3d", "vision_msgs/msg/Detection3DArray", "use_detections_3d", "Boxes in space, in any frame."
    ),
}
