"""Posed frames into a ROS 2 bag: the messages a calibrated RGB-D driver and a robot's TF would have published."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.files.atomic import whole_folder
from sparse_recon.geometry.poses import inverse, pose
from sparse_recon.types import CameraIntrinsics, Float32, Float64, Frame

# REP 103: x of the camera link looks forward, z of its optical frame does.
T_LINK_OPTICAL = pose(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.zeros(3))
BASE_FRAME = "base_link"
_STEP_NS = 1_000  # keeps messages of one stamp in the order they are written


def write_frames(
    frames: Iterable[Frame],
    path: Path,
    *,
    world_frame: str,
    compressed: bool = False,
    storage: Literal["mcap", "sqlite3"] = "mcap",
    T_world_base: Float64 | None = None,
) -> None:
    """Write frames as colour, depth, camera info and transforms.

    Topics of a frame whose camera is `camera`: `/camera/color/image_raw` (rgb8), `/camera/color/camera_info`,
    `/camera/aligned_depth_to_color/image_raw` (16UC1, millimetres, 0 invalid: REP 118), `/camera/labels/image_raw`
    (32SC1) where it has labels, `/tf` with the moving `camera_link`, `/tf_static` with
    world -> base_link and camera_link -> camera_color_optical_frame.

    Parameters
    ----------
    frames : in any number, stamps not falling; consumed one by one.
    path : folder of the bag; an older bag there is replaced only once the new one is complete.
    world_frame : name of the frame that `Frame.T_world_cam` maps into.
    compressed : colour as jpeg and depth as compressedDepth png, on the sub-topics of image_transport.
    storage : storage plugin of the bag.
    T_world_base : (4, 4), where `base_link` stands; None for the world's origin.

    Raises
    ------
    InputError
        If there is no frame, a stamp is not positive, or stamps fall.
    FileError
        If the folder cannot be written, holds something that is not a bag, or the disk is full.
    """
    path = Path(path)
    if path.exists() and not (path / "metadata.yaml").is_file():
        raise FileError(ErrorCode.OUTPUT_UNWRITABLE, f"{path} exists and is not a bag; name another output folder")
    with whole_folder(path, "the bag") as new:
        new.rmdir()  # the rosbags writer wants to make it
        _write(frames, new, world_frame, compressed, storage, np.eye(4) if T_world_base is None else T_world_base)


def _write(
    frames: Iterable[Frame], path: Path, world_frame: str, compressed: bool, storage: str, T_world_base: Float64
) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        channels = _Channels(writer)
        T_base_world = inverse(T_world_base)
        cameras: set[str] = set()
        last_ns = 0
        for frame in frames:
            if frame.stamp_ns <= 0 or frame.stamp_ns < last_ns:
                raise InputError(
                    ErrorCode.STAMP_ORDER,
                    f"{frame.camera}: stamp {frame.stamp_ns} ns after {last_ns} ns; stamps in a bag must be "
                    "positive and must not decrease: sort the frames by stamp",
                )
            if not last_ns and world_frame != BASE_FRAME:
                channels.transform(frame.stamp_ns, world_frame, BASE_FRAME, T_world_base, static=True)
            last_ns = frame.stamp_ns
            link, optical = f"{frame.camera}_link", f"{frame.camera}_color_optical_frame"
            if frame.camera not in cameras:
                cameras.add(frame.camera)
                channels.transform(frame.stamp_ns, link, optical, T_LINK_OPTICAL, static=True)
            T_base_link = T_base_world @ frame.T_world_cam @ inverse(T_LINK_OPTICAL)
            channels.transform(frame.stamp_ns, BASE_FRAME, link, T_base_link)
            channels.images(frame, optical, compressed)
        if not cameras:
            raise InputError(ErrorCode.NO_FRAMES, f"no frames were given for {path.name}; a bag needs at least one")


class _Channels:
    """Connections of one writer, made when first used."""

    def __init__(self, writer: Any) -> None:
        from rosbags.typesys import Stores, get_typestore

        self._writer = writer
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Any] = {}
        self._log_ns = 0

    def transform(self, stamp_ns: int, parent: str, child: str, T_parent_child: Float64, static: bool = False) -> None:
        x, y, z = (float(v) for v in T_parent_child[:3, 3])
        quat_xyzw = (float(v) for v in Rotation.from_matrix(T_parent_child[:3, :3]).as_quat())
        moved = self._new(
            "geometry_msgs/msg/Transform",
            self._new("geometry_msgs/msg/Vector3", x, y, z),
            self._new("geometry_msgs/msg/Quaternion", *quat_xyzw),
        )
        stamped = self._new("geometry_msgs/msg/TransformStamped", self._header(stamp_ns, parent), child, moved)
        self._send("/tf_static" if static else "/tf", stamp_ns, self._new("tf2_msgs/msg/TFMessage", [stamped]))

    def images(self, frame: Frame, optical: str, compressed: bool) -> None:
        stamp_ns, topic = frame.stamp_ns, f"/{frame.camera}"
        header = self._header(stamp_ns, optical)
        self._send(f"{topic}/color/camera_info", stamp_ns, self._camera_info(header, frame.intrinsics))
        depth_topic = f"{topic}/aligned_depth_to_color/image_raw"
        if compressed:
            jpeg = _encoded(".jpg", frame.rgb[..., ::-1])
            message = self._new("sensor_msgs/msg/CompressedImage", header, "rgb8; jpeg compressed bgr8", jpeg)
            self._send(f"{topic}/color/image_raw/compressed", stamp_ns, message)
        else:
            self._send(f"{topic}/color/image_raw", stamp_ns, self._image(header, "rgb8", frame.rgb))
        if frame.depth_m is not None and compressed:
            # 12-byte ConfigHeader of compressed_depth_image_transport: format 0 and two floats unused for 16UC1.
            data = np.frombuffer(struct.pack("<iff", 0, 0.0, 0.0), np.uint8)
            data = np.concatenate([data, _encoded(".png", depth_millimetres(frame.depth_m))])
            message = self._new("sensor_msgs/msg/CompressedImage", header, "16UC1; compressedDepth png", data)
            self._send(f"{depth_topic}/compressedDepth", stamp_ns, message)
        elif frame.depth_m is not None:
            self._send(depth_topic, stamp_ns, self._image(header, "16UC1", depth_millimetres(frame.depth_m)))
        if frame.labels is not None:
            self._send(f"{topic}/labels/image_raw", stamp_ns, self._image(header, "32SC1", frame.labels))

    def _camera_info(self, header: Any, camera: CameraIntrinsics) -> Any:
        P = np.hstack([camera.K, np.zeros((3, 1))])
        roi = self._new("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
        distortion = ("plumb_bob", np.zeros(5))
        rows = (camera.K.ravel(), np.eye(3).ravel(), P.ravel())
        return self._new(
            "sensor_msgs/msg/CameraInfo", header, camera.height, camera.width, *distortion, *rows, 0, 0, roi
        )

    def _image(self, header: Any, encoding: str, image: np.ndarray) -> Any:
        image = np.ascontiguousarray(image.astype(image.dtype.newbyteorder("<"), copy=False))
        height, width = image.shape[:2]
        data = image.reshape(-1).view(np.uint8)
        return self._new("sensor_msgs/msg/Image", header, height, width, encoding, 0, len(data) // height, data)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        stamp = self._new("builtin_interfaces/msg/Time", *divmod(stamp_ns, 10**9))
        return self._new("std_msgs/msg/Header", stamp, frame_id)

    def _new(self, name: str, *values: Any) -> Any:
        return self._store.types[name](*values)

    def _send(self, topic: str, stamp_ns: int, message: Any) -> None:
        if topic not in self._connections:
            qos = [transient_local()] if topic == "/tf_static" else []
            self._connections[topic] = self._writer.add_connection(
                topic, message.__msgtype__, typestore=self._store, offered_qos_profiles=qos
            )
        self._log_ns = max(self._log_ns + _STEP_NS, stamp_ns)
        data = self._store.serialize_cdr(message, message.__msgtype__)
        self._writer.write(self._connections[topic], self._log_ns, data)


def depth_millimetres(depth_m: Float32) -> np.ndarray:
    """Return (H, W) uint16 millimetres, 0 where depth is invalid or beyond 65.535 m (REP 118)."""
    millimetres = np.round(np.nan_to_num(depth_m, nan=0.0, posinf=0.0, neginf=0.0) * 1000.0)
    return np.where((millimetres > 0) & (millimetres <= 65535), millimetres, 0).astype(np.uint16)


def _encoded(suffix: str, image: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.imencode(suffix, np.ascontiguousarray(image))[1].reshape(-1)


def transient_local() -> Any:
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    forever = QosTime(9223372036, 854775807)
    return Qos(
        QosHistory.KEEP_LAST,
        1,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL,
        forever,
        forever,
        QosLiveliness.AUTOMATIC,
        forever,
        False,
    )
