"""A simulated robot looks at a table from a few sides: frames, and the truth to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.lab.simulate.render import Renderer
from sparse_recon.lab.simulate.scene import Scene, tabletop_scene
from sparse_recon.lab.simulate.sensor import SENSORS, SensorModel, sense
from sparse_recon.lab.simulate.virtual_cameras import Range, camera_ring, depth_camera
from sparse_recon.types import CameraIntrinsics, Float64, Frame

FIRST_STAMP_NS = 1_700_000_000_000_000_000
PERIOD_NS = 500_000_000


@dataclass(frozen=True, eq=False)
class Recording:
    """Frames as a camera delivered them, and the scene that they show."""

    scene: Scene
    frames: tuple[Frame, ...]


def record(
    scene: Scene,
    poses: Sequence[Float64],
    *,
    sensor: SensorModel | None = None,
    seed: int = 0,
    intrinsics: CameraIntrinsics | None = None,
    with_labels: bool = True,
) -> Recording:
    """Look at a scene from given cameras.

    Parameters
    ----------
    poses : true `T_world_cam` (4, 4).
    sensor : errors of the camera; None for the `realsense` of `SENSORS`.
    seed : of the errors; every frame draws from its own generator, so a frame does not depend on those before it. What
        stays while a camera stands still is drawn by its pose.
    intrinsics : None for a 640x480 camera.
    with_labels : whether frames carry a label image.
    """
    sensor = SENSORS["realsense"] if sensor is None else sensor
    intrinsics = depth_camera() if intrinsics is None else intrinsics
    renderer = Renderer(scene)
    frames = []
    for i, T_world_cam in enumerate(poses):
        view = renderer.render(intrinsics, T_world_cam)
        rng = np.random.default_rng((seed, i))
        stamp_ns = FIRST_STAMP_NS + i * PERIOD_NS
        stays = standing(seed, T_world_cam)
        frames.append(sense(view, sensor, rng, stamp_ns=stamp_ns, with_labels=with_labels, place=stays))
    return Recording(scene, tuple(frames))


def standing(seed: int, T_world_cam: Float64) -> np.random.Generator:
    """Return the generator of what stays in the images of a camera while it stands at a pose (4, 4)."""
    return np.random.default_rng((seed, *np.array(T_world_cam, np.float64).ravel().view(np.uint32).tolist()))


def tabletop_recording(
    seed: int,
    *,
    objects: int = 3,
    frames: int = 5,
    sensor: SensorModel | None = None,
    azimuth_deg: Range = (-75.0, 75.0),
    with_labels: bool = False,
) -> Recording:
    """Return what a robot arm records of a seeded tabletop scene while it swings its camera through `azimuth_deg`."""
    scene = tabletop_scene(seed, objects)
    rng = np.random.default_rng((seed, 1))
    poses = camera_ring(frames, rng, scene.centre_world, azimuth_deg=azimuth_deg)
    return record(scene, poses, sensor=sensor, seed=seed, with_labels=with_labels)
