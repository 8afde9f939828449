"""What the cameras of a protocol see of an object: frames as delivered, and the truth beside them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from sparse_recon.geometry.poses import pose
from sparse_recon.lab.evaluate.objects import ScoredObject
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.simulate.household import make_shape
from sparse_recon.lab.simulate.recording import FIRST_STAMP_NS, PERIOD_NS
from sparse_recon.lab.simulate.render import RenderedView, Renderer
from sparse_recon.lab.simulate.scene import Scene, scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, SensorModel, exact, sense
from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.lab.simulate.virtual_cameras import camera_ring, depth_camera
from sparse_recon.types import CameraIntrinsics, Float64, Frame, TriangleMesh

LABEL = 1  # of the scored object; another object has the next one
NEAREST_DIAMETERS = 1.2
CAMERAS = {"clean": "clean", "mild": "mild"}  # a simulated camera by condition
REAL_CAMERA = "d400"  # of all others
OCCLUDED_SHARE = (0.15, 0.5)  # of the outline in the first view
_OCCLUDER_TRIES = 24


@dataclass(frozen=True, eq=False)
class Case:
    """One object, seen by the cameras of one condition.

    Attributes
    ----------
    frames : as the cameras delivered them, in the order in which they are used; pixels of the object have the label
        `LABEL`.
    ideal : the same images without any error, with the true poses; those of `frames` first, then novel views.
    truth : the true surface, world frame.
    diameter_m : largest distance between two points of the object.
    sigmas_m : depth noise (1 standard deviation) of each frame at the distance of the object.
    """

    name: str
    condition: str
    seed: int
    frames: tuple[Frame, ...]
    ideal: tuple[RenderedView, ...]
    scene: Scene
    truth: TriangleMesh
    diameter_m: float
    sigmas_m: tuple[float, ...]

    def seen_from(self, views: int) -> Case:
        """Return the case of the first `views` cameras."""
        novel = self.ideal[len(self.frames) :]
        return replace(
            self,
            frames=self.frames[:views],
            ideal=(*self.ideal[:views], *novel),
            sigmas_m=self.sigmas_m[:views],
        )

    @property
    def observed_ideal(self) -> tuple[RenderedView, ...]:
        return self.ideal[: len(self.frames)]

    @property
    def novel_ideal(self) -> tuple[RenderedView, ...]:
        return self.ideal[len(self.frames) :]


def make_case(scored: ScoredObject, condition: str, seed: int, protocol: Protocol) -> Case:
    """Render an object from all cameras of a protocol.

    Everything random is drawn from the object's name, the seed and the condition; turn and cameras are the same in all
    conditions.
    """
    shape = scored.load()
    diameter_m = diameter(shape.vertices_obj)
    rng = _generator(scored.name, seed)
    # A turn about the vertical, so that no object shows its front to the first camera by the habits of its scanner.
    R = Rotation.from_euler("z", rng.uniform(0.0, 360.0), degrees=True).as_matrix()
    T_world_obj = pose(R, (0.0, 0.0, 0.0))
    scene = scene_of([shape], [T_world_obj])
    poses, novel = _cameras(scene, diameter_m, protocol, rng)
    distances_m = np.linalg.norm([T[:3, 3] - scene.centre_world for T in poses], axis=1)
    if condition == "occluded":
        scene = _with_occluder(scene, poses[0], protocol, _generator(scored.name, seed, condition))
    renderer, intrinsics = Renderer(scene), _intrinsics(protocol)
    ideal = tuple(renderer.render(intrinsics, T) for T in (*poses, *novel))
    sensor = _sensor(condition, protocol)
    frames = tuple(
        _delivered(view, sensor, i, _generator(scored.name, seed, condition, i), condition, protocol)
        for i, view in enumerate(ideal[: len(poses)])
    )
    sigmas_m = tuple(sensor.sigma_m(distances_m, intrinsics.fx).tolist())
    truth = scene.objects[0].mesh_world
    return Case(scored.name, condition, seed, frames, ideal, scene, truth, diameter_m, sigmas_m)


def diameter(vertices: Float64) -> float:
    """Return the largest distance between two of (V, 3) points, metres."""
    from scipy.spatial import ConvexHull, QhullError
    from scipy.spatial.distance import pdist

    try:
        corners = vertices[ConvexHull(vertices).vertices]
    except QhullError:  # of a flat sheet
        corners = np.unique(vertices, axis=0)
    if len(corners) > 4000:  # of a ball; every so many of them lie closer than sampling errors
        corners = corners[:: len(corners) // 4000 + 1]
    return float(pdist(corners).max())


def _generator(*parts: object) -> np.random.Generator:
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _intrinsics(protocol: Protocol) -> CameraIntrinsics:
    return depth_camera(protocol.width_px, protocol.height_px, protocol.horizontal_fov_deg)


def _cameras(
    scene: Scene, diameter_m: float, protocol: Protocol, rng: np.random.Generator
) -> tuple[list[Float64], list[Float64]]:
    """Return poses `T_world_cam` of the observing cameras, opposite ones first, and of novel ones between them."""
    count = max(protocol.views)
    near_m = max(protocol.distance_near_m, NEAREST_DIAMETERS * diameter_m)

    def ring(size: int, start_deg: float) -> tuple[Float64, ...]:
        return camera_ring(
            size,
            rng,
            scene.centre_world,
            distance_m=(near_m, max(near_m, protocol.distance_far_m)),
            elevation_deg=(protocol.elevation_low_deg, protocol.elevation_high_deg),
            azimuth_deg=(start_deg, start_deg + 360.0),
        )

    start_deg = float(rng.uniform(0.0, 360.0))
    poses = ring(count, start_deg)
    novel = ring(max(protocol.novel_views, 1), start_deg + 180.0 / count)
    order = sorted(range(count), key=_bit_reversed)
    return [poses[i] for i in order], list(novel[: protocol.novel_views])


def _bit_reversed(i: int) -> int:
    """Order in which any first few of a ring lie far apart (van der Corput)."""
    return int(f"{i:08b}"[::-1], 2)


def _sensor(condition: str, protocol: Protocol) -> SensorModel:
    camera = exact(SENSORS[CAMERAS.get(condition, REAL_CAMERA)])
    return replace(camera, mask_px=protocol.mask_error_px) if condition == "mask" else camera


def _delivered(
    view: RenderedView, sensor: SensorModel, i: int, rng: np.random.Generator, condition: str, protocol: Protocol
) -> Frame:
    frame = sense(view, sensor, rng, stamp_ns=FIRST_STAMP_NS + i * PERIOD_NS)
    if condition != "pose":
        return frame
    direction, axis = rng.standard_normal((2, 3))
    shift_m = rng.uniform(0.0, protocol.pose_error_m) * direction / np.linalg.norm(direction)
    turn_rad = np.deg2rad(rng.uniform(0.0, protocol.pose_error_deg)) * axis / np.linalg.norm(axis)
    T = frame.T_world_cam.copy()
    T[:3, :3] = T[:3, :3] @ Rotation.from_rotvec(turn_rad).as_matrix()
    T[:3, 3] += shift_m
    return replace(frame, T_world_cam=T)


def _with_occluder(scene: Scene, T_world_cam: Float64, protocol: Protocol, rng: np.random.Generator) -> Scene:
    """Stand a can or a box between the first camera and the object, as high as it takes to hide a part of it."""
    scored = scene.objects[0]
    towards = T_world_cam[:3, 3] - scene.centre_world
    azimuth, slope = float(np.arctan2(towards[1], towards[0])), float(towards[2] / np.linalg.norm(towards[:2]))
    intrinsics, middle = _intrinsics(protocol), 0.5 * sum(OCCLUDED_SHARE)
    best: tuple[float, Scene] = (np.inf, scene)
    higher_m = 0.5 * float(scored.shape.size_m[2])  # than where the sight line to the object's middle passes
    for _ in range(_OCCLUDER_TRIES):
        other = _slim(make_shape(str(rng.choice(["can", "box"])), rng), scored.shape)
        angle = azimuth + rng.uniform(-0.3, 0.3)
        away_m = scored.shape.footprint_radius_m + other.footprint_radius_m + rng.uniform(0.005, 0.03)
        height_m = float(np.clip(away_m * slope + higher_m, 0.03, 0.5))
        other = replace(other, vertices_obj=other.vertices_obj * (1.0, 1.0, height_m / other.size_m[2]))
        at = pose(np.eye(3), (away_m * np.cos(angle), away_m * np.sin(angle), 0.0))
        tried = scene_of([scored.shape, other], [scored.T_world_obj, at])
        hidden = hidden_share(tried, intrinsics, T_world_cam)
        if abs(hidden - middle) < best[0]:
            best = (abs(hidden - middle), tried)
        if OCCLUDED_SHARE[0] <= hidden <= OCCLUDED_SHARE[1]:
            return tried
        higher_m += 0.02 if hidden < middle else -0.015
    return best[1]


def hidden_share(scene: Scene, intrinsics: CameraIntrinsics, T_world_cam: Float64) -> float:
    """Return how much of the outline of the scored object other objects hide from a camera, in [0, 1]."""
    renderer = Renderer(scene)
    labels = renderer.render(intrinsics, T_world_cam, shadows=False).labels
    return 1.0 - renderer.visibility(intrinsics, T_world_cam, labels)[LABEL]


def _slim(other: Shape, scored: Shape) -> Shape:
    """Make an occluder about half as wide as what it stands before, at least 2 cm."""
    wanted_m = max(0.02, 0.5 * scored.footprint_radius_m)
    return replace(other, vertices_obj=other.vertices_obj * (wanted_m / other.footprint_radius_m))
