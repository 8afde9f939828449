"""A simulated robot arm swings its RGB-D camera over a table and publishes what it sees, for `benchmarks/node.py`.

    python benchmarks/camera_stream.py --frames FILE.npz [--hz 30] [--seconds 60] [--robot] [--still N]

Colour (rgb8), depth (16UC1), camera info and the camera's pose on /tf, all of one stamp, which is the time of sending.
With --robot the camera hangs on a robot, whose /tf goes out 50 times a second beside it: the robot's own pose in one
message and 28 joints in another, 30 links in all, two of them between world and camera. With --still the camera visits
N views and stays at the last one. A process that was stopped goes on from where it was, at the same rate.
Prints `ready` when all topics have subscribers, and at the end one JSON object: images sent, and how late the latest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

IMAGE, DEPTH = "/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw"
INFO = "/camera/color/camera_info"
OPTICAL_FRAME, WORLD_FRAME = "camera_color_optical_frame", "world"
ROBOT_FRAME, JOINTS, ROBOT_HZ = "base_link", 28, 50.0
VIEWS = 40
HOLD = 6  # images of each view, so that a sweep of 40 views takes 8 s at 30 Hz
DISCOVERY_S = 30.0
_MARK = 0x5A5A5A5A  # seconds of stamps that are still to be written
_STAMP_AT = 4  # a serialised header begins with its stamp, after 4 bytes of encapsulation


def render(path: Path, seed: int = 7) -> None:
    """Write what the camera sees on a sweep over a table with three objects."""
    from sparse_recon.bags.frames_bag import depth_millimetres
    from sparse_recon.geometry.poses import look_at
    from sparse_recon.lab.simulate.recording import record
    from sparse_recon.lab.simulate.scene import tabletop_scene

    scene = tabletop_scene(seed, 3)
    target = scene.centre_world
    poses = []
    for azimuth, elevation in zip(np.linspace(-1.4, 1.4, VIEWS), 0.65 + 0.15 * np.sin(np.arange(VIEWS)), strict=True):
        ray = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        poses.append(look_at(target + 0.68 * ray, target))
    frames = record(scene, poses, seed=seed, with_labels=False).frames
    np.savez(
        path,
        rgb=np.stack([frame.rgb for frame in frames]),
        depth_mm=np.stack([depth_millimetres(frame.depth_m) for frame in frames]),
        T_world_cam=np.stack([frame.T_world_cam for frame in frames]),
        K=frames[0].intrinsics.K,
    )


def publish(path: Path, hz: float, seconds: float, robot: bool = False, still: int = 0) -> dict[str, Any]:
    """Publish at a steady rate until the time is over; return what was sent."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import CameraInfo, Image
    from tf2_msgs.msg import TFMessage

    rclpy.init(args=[])
    node = rclpy.create_node("camera_stream")
    sensor = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    publishers = {
        "tf": node.create_publisher(TFMessage, "/tf", 100),
        "info": node.create_publisher(CameraInfo, INFO, sensor),
        "image": node.create_publisher(Image, IMAGE, sensor),
        "depth": node.create_publisher(Image, DEPTH, sensor),
    }
    views = serialised_views(path, ROBOT_FRAME if robot else WORLD_FRAME)
    joints = robot_messages() if robot else []
    until = time.monotonic() + DISCOVERY_S
    while not all(publisher.get_subscription_count() for publisher in publishers.values()):
        if time.monotonic() > until:
            sys.exit("nobody subscribed")
        time.sleep(0.05)
    time.sleep(0.5)  # the other side of a match may still come
    print("ready", flush=True)
    late_s, started = 0.0, time.monotonic()
    count = round(seconds * hz)
    clocks = [_Clock(hz), _Clock(ROBOT_HZ)]
    number, seen = 0, stay(views, still) if still else sweep(views)
    while number < count:
        image = not robot or clocks[0].due_s <= clocks[1].due_s
        late_s = max(late_s, clocks[0 if image else 1].wait())
        stamp = struct.pack("<iI", *divmod(time.time_ns(), 10**9))
        if not image:
            for message, stamps_at in joints:
                for at in stamps_at:
                    message[at : at + 8] = stamp
                publishers["tf"].publish(bytes(message))
            continue
        number, view = number + 1, next(seen)
        for name, publisher in publishers.items():
            at = view[f"{name}_stamp_at"]
            view[name][at : at + 8] = stamp
            publisher.publish(bytes(view[name]))
    elapsed_s = time.monotonic() - started
    time.sleep(0.5)  # best-effort messages are on their way
    node.destroy_node()
    rclpy.shutdown()
    return {"sent": count, "elapsed_s": elapsed_s, "late_ms": 1e3 * late_s}


class _Clock:
    """A steady rate; after a pause of more than a second it goes on from there."""

    def __init__(self, hz: float) -> None:
        self._period_s = 1.0 / hz
        self.due_s = time.monotonic()

    def wait(self) -> float:
        """Wait until it is time; return how late it is, in seconds."""
        time.sleep(max(self.due_s - time.monotonic(), 0.0))
        late_s = time.monotonic() - self.due_s
        if late_s > 1.0:
            self.due_s, late_s = time.monotonic(), 0.0
        self.due_s += self._period_s
        return late_s


def robot_messages() -> list[tuple[bytearray, list[int]]]:
    """Return the messages of a robot's /tf beside its camera's, and where the stamps lie in each."""
    from geometry_msgs.msg import TransformStamped
    from rclpy.serialization import serialize_message
    from tf2_msgs.msg import TFMessage

    def link(parent: str, child: str, x_m: float) -> Any:
        item = TransformStamped(child_frame_id=child)
        item.header.frame_id = parent
        item.header.stamp.sec = _MARK
        item.transform.translation.x, item.transform.rotation.w = x_m, 1.0
        return item

    joints = [link(ROBOT_FRAME, f"joint_{k}_link", 0.01 * k) for k in range(JOINTS)]
    messages = []
    for items in ([link(WORLD_FRAME, ROBOT_FRAME, 0.0)], joints):
        data = bytearray(serialize_message(TFMessage(transforms=items)))
        messages.append((data, [found.start() for found in re.finditer(struct.pack("<i", _MARK), data)]))
    return messages


def stay(views: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Yield some views of the sweep, one second each at 30 Hz, and the last of them for ever."""
    chosen = [views[round(k)] for k in np.linspace(0, len(views) - 1, count)]
    for view in chosen[:-1]:
        yield from itertools.repeat(view, 30)
    yield from itertools.repeat(chosen[-1])


def serialised_views(path: Path, parent: str = WORLD_FRAME) -> list[dict[str, Any]]:
    """Return for each view its messages as bytes, and where the stamp lies in each."""
    from geometry_msgs.msg import TransformStamped
    from rclpy.serialization import serialize_message
    from scipy.spatial.transform import Rotation
    from sensor_msgs.msg import CameraInfo, Image
    from tf2_msgs.msg import TFMessage

    from sparse_recon.ros.convert import from_message, to_message

    data = np.load(path)
    height, width = data["depth_mm"].shape[1:]

    def filled(kind: Any, **fields: Any) -> bytearray:
        blank = from_message(kind())
        blank["header"]["frame_id"] = OPTICAL_FRAME
        return bytearray(serialize_message(to_message(kind, {**blank, **fields})))

    size = {"height": height, "width": width}
    P = np.hstack([data["K"], np.zeros((3, 1))])
    views = []
    for rgb, depth_mm, T_world_cam in zip(data["rgb"], data["depth_mm"], data["T_world_cam"], strict=True):
        moved = TransformStamped(child_frame_id=OPTICAL_FRAME)
        moved.header.frame_id = parent
        t, q = moved.transform.translation, moved.transform.rotation
        t.x, t.y, t.z = map(float, T_world_cam[:3, 3])
        q.x, q.y, q.z, q.w = map(float, Rotation.from_matrix(T_world_cam[:3, :3]).as_quat())
        views.append(
            {
                "tf": bytearray(serialize_message(TFMessage(transforms=[moved]))),
                "tf_stamp_at": _STAMP_AT + 4,  # after the number of transforms
                "info": filled(CameraInfo, **size, distortion_model="plumb_bob", d=[0.0] * 5, k=data["K"], p=P),
                "image": filled(Image, **size, encoding="rgb8", step=3 * width, data=rgb),
                "depth": filled(Image, **size, encoding="16UC1", step=2 * width, data=depth_mm.view(np.uint8)),
                **dict.fromkeys(("info_stamp_at", "image_stamp_at", "depth_stamp_at"), _STAMP_AT),
            }
        )
    return views


def sweep(views: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the views forth and back for ever, each several times."""
    there_and_back = [*views, *views[-2:0:-1]]
    for view in itertools.cycle(there_and_back):
        yield from itertools.repeat(view, HOLD)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, required=True, metavar="FILE", help="rendered here if it is missing")
    parser.add_argument("--hz", type=float, default=30.0, help="images a second (default 30)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--robot", action="store_true", help="the camera hangs on a robot of 30 links")
    parser.add_argument("--still", type=int, default=0, metavar="N", help="stay after N views (default: sweep on)")
    args = parser.parse_args()
    if not args.frames.exists():
        render(args.frames)
    print(json.dumps(publish(args.frames, args.hz, args.seconds, args.robot, args.still)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
