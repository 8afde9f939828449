"""Objects standing on a support plane, found in the points of all frames together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sparse_recon.config.observation_config import SegmentConfig
from sparse_recon.geometry.clouds import inside_box
from sparse_recon.geometry.clusters import density_clusters
from sparse_recon.geometry.poses import rotation_to_up
from sparse_recon.observe.containers import contained_objects, is_on_plane, standing_heights
from sparse_recon.observe.divide import divided
from sparse_recon.observe.object_score import TOP, ObjectCues, object_score, support_noise_m
from sparse_recon.observe.refused import Refused
from sparse_recon.observe.scene_cloud import SceneCloud
from sparse_recon.requests import RejectionReason
from sparse_recon.types import Bool, Float32, Float64, Frame, OrientedBox

RANSAC_ITERATIONS, RANSAC_POINTS = 1500, 4000
MIN_PLANE_POINTS, MIN_PLANE_SHARE = 50, 0.05
# Where nobody says where up is: cameras look at things from the side or from above, straight down at most, and are
# seldom mounted on their side. A plane that faces a level camera is seldom a table: it counts by this share.
CAMERA_TILT_DEG, STEEP_DEG, STEEP_SHARE = 60.0, 60.0, 0.4
# Inside a box or mask, clusters with fewer pixels than this share of the largest one's are not the object.
CLUSTER_SHARE = 0.2
# What has so large a share of the support plane under it in view hangs in the air, also where cameras look down so
# steeply (cosine) that it need not show a side.
BENEATH_SHARE, STEEP_LOOK = 0.5, 0.87


@dataclass(frozen=True, eq=False)
class SupportPlane:
    """Plane `up_world @ p = height_m` with the unit normal pointing away from what it carries weight for."""

    up_world: Float64
    height_m: float

    def heights(self, points_world: Float32) -> Float32:
        """Return how far (..., 3) points are above the plane, metres."""
        return (points_world @ self.up_world.astype(np.float32) - np.float32(self.height_m)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class SceneClusters:
    """Points of the scene on a coarse grid, each with the number of its object.

    Attributes
    ----------
    points_world : (N, 3) float32, one mean point per occupied voxel.
    label : (N,) int32, >= 0 object, -1 support plane, -2 anything else.
    count : (N,) int64, depth pixels in the voxel.
    plane : the support plane; None where there is none.
    from_above : all cameras look down on it so steeply that things may show no side.
    wall : (N,) bool, points of the walls of what is too large to be an object; None where nobody looked for any.
    refused : what stands out and is no object.
    cues : what speaks for each object, by its number.
    """

    points_world: Float32
    label: npt.NDArray[np.int32]
    count: npt.NDArray[np.int64]
    plane: SupportPlane | None
    from_above: bool = False
    wall: Bool | None = None
    refused: tuple[Refused, ...] = ()
    cues: tuple[ObjectCues, ...] = ()


def find_support_plane(
    points_world: Float32,
    up_world: Float64,
    tilt_deg: float,
    config: SegmentConfig,
    generator: np.random.Generator,
    image_up_world: Float64 | None = None,
    eyes_world: Float64 | None = None,
) -> SupportPlane | None:
    """Return the plane within `tilt_deg` of level that carries the scene, or None.

    Where up is only guessed, `image_up_world` is what points up in the images: steep planes there count less.
    `eyes_world` (C, 3) is where cameras stand: what most of them would see from below is no support.

    RANSAC (Fischler and Bolles 1981) with all hypotheses at once and our own generator: Open3D's draws from several
    threads and finds another plane once in a few runs. The plane wins that has many points on it, few less than
    `max_height_m` below it, and few more than that above it: a lid has its table below, a floor has the table above.
    """
    if len(points_world) < MIN_PLANE_POINTS:
        return None
    sample = points_world[generator.choice(len(points_world), min(RANSAC_POINTS, len(points_world)), replace=False)]
    vertices = sample[generator.integers(0, len(sample), (RANSAC_ITERATIONS, 3))].astype(np.float64)
    normal = np.cross(vertices[:, 1] - vertices[:, 0], vertices[:, 2] - vertices[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    normal *= np.where(normal @ up_world < 0, -1.0, 1.0)[:, None]
    level = normal @ up_world >= np.cos(np.deg2rad(tilt_deg))
    if eyes_world is not None:
        above_eyes = normal @ eyes_world.T < np.einsum("hd,hd->h", normal, vertices[:, 0])[:, None]  # (hypotheses, C)
        level &= above_eyes.mean(axis=1) <= 0.5
    if not level.any():
        return None
    normal, vertices = normal[level].astype(np.float32), vertices[level, 0].astype(np.float32)
    height = normal @ sample.T - np.einsum("hd,hd->h", normal, vertices)[:, None]  # (hypotheses, points)
    inlier_share = np.mean(np.abs(height) <= config.plane_tolerance_m, axis=1)
    below = np.mean((height < -2 * config.plane_tolerance_m) & (height > -config.max_height_m), axis=1)
    above = np.mean(height > config.max_height_m, axis=1)
    score = inlier_share * (1.0 - 1.5 * below) * (1.0 - above)
    if image_up_world is not None:
        score = np.where(normal @ image_up_world < np.cos(np.deg2rad(STEEP_DEG)), STEEP_SHARE * score, score)
    best = int(np.argmax(score))
    plane = SupportPlane(normal[best].astype(np.float64), float(normal[best] @ vertices[best]))
    for _ in range(2):
        inliers = points_world[np.abs(plane.heights(points_world)) <= config.plane_tolerance_m]
        if len(inliers) < max(MIN_PLANE_POINTS, MIN_PLANE_SHARE * len(points_world)):
            return None
        plane = _refined(inliers, up_world)
    return plane


def upright_in_images(frames: Sequence[Frame]) -> Float64:
    """Return the (3,) unit world direction that points up in the images on average."""
    up = -np.mean([f.T_world_cam[:3, 1] for f in frames], axis=0)
    norm = float(np.linalg.norm(up))
    return up / norm if norm > 1e-6 else np.array([0.0, 0.0, 1.0])


def upright_by_cameras(frames: Sequence[Frame]) -> Float64:
    """Return the (3,) unit world direction between up in the images and back to the cameras, on average.

    A camera that looks down by any angle, level to straight down, has up within 45 degrees of it.
    """
    up = -np.mean([f.T_world_cam[:3, 1] + f.T_world_cam[:3, 2] for f in frames], axis=0)
    norm = float(np.linalg.norm(up))
    return up / norm if norm > 1e-6 else upright_in_images(frames)


def survey(
    frames: Sequence[Frame],
    cloud: SceneCloud,
    up_world: Float64 | None,
    config: SegmentConfig,
    seed: int,
    checkpoint: Callable[[], None] = lambda: None,
) -> SceneClusters:
    """Collect the points of the scene and find its support plane; nothing is an object yet.

    With `up_world` None the plane's normal is the up direction, among planes that look level in the images.
    `checkpoint` is called between the long steps and may raise to cancel; so it is everywhere in this module.
    """
    points, count = cloud.points(frames, checkpoint)
    label = np.full(len(points), -2, np.int32)
    if len(points) == 0:
        return SceneClusters(points, label, count, None)
    generator = np.random.default_rng(seed)
    eyes = np.array([f.T_world_cam[:3, 3] for f in frames])
    if up_world is None:
        guess = upright_by_cameras(frames)
        plane = find_support_plane(points, guess, CAMERA_TILT_DEG, config, generator, upright_in_images(frames), eyes)
    else:
        plane = find_support_plane(points, up_world, config.plane_tilt_deg, config, generator, eyes_world=eyes)
    if plane is not None:
        label[np.abs(plane.heights(points)) <= config.plane_tolerance_m] = -1
    steep = plane is not None and all(f.T_world_cam[:3, 2] @ plane.up_world < -STEEP_LOOK for f in frames)
    return SceneClusters(points, label, count, plane, steep)


def cluster_scene(
    scene: SceneClusters,
    config: SegmentConfig,
    seed: int,
    within: OrientedBox | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> SceneClusters:
    """Find what stands on the support plane of a surveyed scene: density clusters of the points above it.

    Objects are numbered from the largest to the smallest. Clusters outside the size limits are no objects, but what is
    in a too large one may be, see `contained_objects`, or its parts, see `divided`. Points outside the box `within` are
    of no object.
    """
    points, plane, label = scene.points_world, scene.plane, scene.label.copy()
    above = np.ones(len(points), bool)
    if plane is not None:
        height = plane.heights(points)
        above = (height > config.plane_tolerance_m) & (height < config.max_height_m)
        above &= _over_plane(points, plane, label == -1, config.cluster_gap_m)
    if within is not None:
        above &= inside_box(points, within)
    candidates = np.nonzero(above)[0]
    if len(candidates) == 0:
        return scene
    cluster = density_clusters(points[candidates], config.cluster_gap_m, checkpoint=checkpoint)
    wall = np.zeros(len(points), bool)
    refused: list[Refused] = []
    if plane is not None:
        on_plane = points[label == -1] if scene.from_above else None
        cluster, wall[candidates], fallen = _standing(
            cluster, points[candidates], on_plane, plane, config, np.random.default_rng(seed), checkpoint
        )
        refused += [replace(item, members=candidates[item.members]) for item in fallen]
    pieces = [candidates[cluster == k] for k in np.unique(cluster[cluster >= 0])]
    up_world = np.array([0.0, 0.0, 1.0]) if plane is None else plane.up_world
    numbered = number_pieces(label, pieces, scene, up_world, config, gap_cues(scene))
    return replace(scene, label=label, wall=wall, refused=(*refused, *numbered.refused), cues=numbered.cues)


def cluster_box(
    scene: SceneClusters, box: OrientedBox, config: SegmentConfig, checkpoint: Callable[[], None] = lambda: None
) -> SceneClusters:
    """Take what is inside a box, and not its support plane, for one object, number 0.

    Stray pixels and whatever reaches into the box by a corner are left out: clusters much smaller than the largest.
    """
    points = scene.points_world
    inside = inside_box(points, box)
    if scene.plane is not None:
        inside &= scene.plane.heights(points) > config.plane_tolerance_m
    label = np.where(inside, largest_clusters(points, scene.count, inside, config, checkpoint), -2).astype(np.int32)
    return replace(scene, label=label)


def largest_clusters(
    points_world: Float32,
    count: npt.NDArray[np.int64],
    among: npt.NDArray[np.bool_],
    config: SegmentConfig,
    checkpoint: Callable[[], None] = lambda: None,
) -> npt.NDArray[np.int32]:
    """Return (N,) int32: 0 for points of the largest cluster and of those hardly smaller, -2 for all others.

    `count` weighs the points, `among` says which take part.
    """
    label = np.full(len(points_world), -2, np.int32)
    members = np.nonzero(among)[0]
    if len(members):
        cluster = density_clusters(points_world[members], config.cluster_gap_m, checkpoint=checkpoint)
        pixels = np.bincount(cluster[cluster >= 0], weights=count[members][cluster >= 0], minlength=1)
        kept = np.nonzero(pixels >= CLUSTER_SHARE * pixels.max())[0]
        label[members[np.isin(cluster, kept)]] = 0
    return label


def _standing(
    cluster: npt.NDArray[np.integer],
    points: Float32,
    on_plane: Float32 | None,
    plane: SupportPlane,
    config: SegmentConfig,
    generator: np.random.Generator,
    checkpoint: Callable[[], None],
) -> tuple[npt.NDArray[np.integer], Bool, list[Refused]]:
    """Return the clusters without those that hang in the air, and with containers replaced by what is in them.

    The second array says which points are of the walls of containers; the list is of what hangs, and of the containers.

    What is seen from above alone, where the points `on_plane` are given, may show no side: it hangs only where the
    plane is in view under it.
    """
    standing, wall = np.full(len(points), -1, np.int64), np.zeros(len(points), bool)
    refused: list[Refused] = []
    height = plane.heights(points)
    for k in range(int(cluster.max(initial=-1)) + 1):
        own = np.nonzero(cluster == k)[0]
        part: npt.NDArray[np.integer] = np.zeros(len(own), np.int64)
        extent = float(np.ptp(points[own], axis=0).max())
        bodies = divided(points[own], plane.up_world, config) if extent > config.max_size_m else []
        if bodies:
            for number, body in enumerate(bodies):
                if is_on_plane(height[own[body]], config.cluster_gap_m):
                    part[body] = number
                else:
                    part[body] = -1
                    refused.append(_hanging(own[body], height, config))
        elif extent > config.max_size_m:
            part, wall[own], hanging = contained_objects(
                points[own], height[own], plane.up_world, config, generator, checkpoint
            )
            refused += [Refused(own, RejectionReason.TOO_LARGE, extent, config.max_size_m)]
            refused += [_hanging(own[members], height, config) for members in hanging]
        elif not is_on_plane(height[own], config.cluster_gap_m) and (
            on_plane is None or _seen_beneath(points[own], on_plane, plane, config)
        ):
            refused.append(_hanging(own, height, config))
            continue
        standing[own] = np.where(part >= 0, part + standing.max(initial=-1) + 1, -1)
    return standing, wall, refused


def _hanging(members: npt.NDArray[np.intp], height_m: Float32, config: SegmentConfig) -> Refused:
    low, allowed = standing_heights(height_m[members], config.cluster_gap_m)
    return Refused(members, RejectionReason.HANGS, abs(low), config.cluster_gap_m if low < 0 else allowed)


def _seen_beneath(points: Float32, on_plane: Float32, plane: SupportPlane, config: SegmentConfig) -> bool:
    """Return whether the support plane is in view under most of a cluster."""
    R = rotation_to_up(plane.up_world)[:, :2].astype(np.float32)
    edge_m = 2.0 * config.voxel_size_m
    footprint, seen = (np.unique(np.floor(p @ R / edge_m).astype(np.int64), axis=0) for p in (points, on_plane))
    shared = len(footprint) + len(seen) - len(np.unique(np.concatenate([footprint, seen]), axis=0))
    return shared > BENEATH_SHARE * len(footprint)


@dataclass(frozen=True, eq=False)
class Numbered:
    """What became of pieces: the cues of the objects, by number, and what is none."""

    cues: tuple[ObjectCues, ...]
    refused: tuple[Refused, ...]


def number_pieces(
    label: npt.NDArray[np.int32],
    pieces: Iterable[npt.NDArray[np.intp]],
    scene: SceneClusters,
    up_world: Float64,
    config: SegmentConfig,
    cues_of: Callable[[npt.NDArray[np.intp]], ObjectCues],
) -> Numbered:
    """Give the pieces that are objects numbers in `label`, the one of most pixels 0; they hold indices.

    Objects are within the limits of size and pixels and have `min_score`, which without a support plane cannot be told;
    too large pieces are divided first.
    """
    accepted: list[tuple[int, int, npt.NDArray[np.intp], ObjectCues]] = []
    refused: list[Refused] = []
    left = [members for members in pieces if len(members)]
    while left:
        members = left.pop()
        points = scene.points_world[members]
        pixels, extent = int(scene.count[members].sum()), float(np.ptp(points, axis=0).max())
        if extent > config.max_size_m:
            parts = divided(points, up_world, config)
            left += [members[part] for part in parts]
            if not parts:
                refused.append(Refused(members, RejectionReason.TOO_LARGE, extent, config.max_size_m))
        elif pixels < config.min_points:
            refused.append(Refused(members, RejectionReason.TOO_FEW_PIXELS, pixels, config.min_points))
        elif extent < config.min_size_m:
            refused.append(Refused(members, RejectionReason.TOO_SMALL, extent, config.min_size_m))
        elif (score := object_score(cues := cues_of(members))) < config.min_score and cues.relief is not None:
            refused.append(Refused(members, RejectionReason.NO_OBJECT, score, config.min_score))
        else:
            accepted.append((-pixels, int(members[0]), members, cues))
    accepted.sort(key=lambda a: a[:2])
    for number, (_, _, members, _) in enumerate(accepted):
        label[members] = number
    return Numbered(tuple(cues for *_, cues in accepted), tuple(refused))


def gap_cues(scene: SceneClusters) -> Callable[[npt.NDArray[np.intp]], ObjectCues]:
    """Return what tells of points of a scene, by their indices, what speaks for them where no network was asked."""
    height_m = None if scene.plane is None else scene.plane.heights(scene.points_world)
    noise_m = 0.0 if height_m is None else support_noise_m(height_m, scene.label == -1)

    def cues_of(members: npt.NDArray[np.intp]) -> ObjectCues:
        relief = None if height_m is None else float(np.quantile(height_m[members], TOP)) / noise_m
        return ObjectCues(None, None, relief, int(scene.count[members].sum()))

    return cues_of


def _over_plane(
    points: Float32, plane: SupportPlane, on_plane: npt.NDArray[np.bool_], reach_m: float
) -> npt.NDArray[np.bool_]:
    """Return which points are over the seen part of the plane: walls and floor beside the table are not."""
    import cv2

    R = rotation_to_up(plane.up_world)[:, :2].astype(np.float32)
    flat = points @ R
    hull = cv2.convexHull(np.ascontiguousarray(flat[on_plane], np.float32))[:, 0].astype(np.float64)
    if len(hull) < 3:
        return np.ones(len(points), bool)
    edge = np.roll(hull, -1, axis=0) - hull
    normal = np.stack([edge[:, 1], -edge[:, 0]], axis=1) / np.maximum(np.linalg.norm(edge, axis=1), 1e-9)[:, None]
    if np.sum(normal * (hull - hull.mean(axis=0))) < 0:
        normal = -normal
    return np.all(flat @ normal.T - np.sum(normal * hull, axis=1) < reach_m, axis=1)


def _refined(inliers: Float32, up_world: Float64) -> SupportPlane:
    """Least squares plane of the inliers, with its normal turned up."""
    centre = inliers.mean(axis=0, dtype=np.float64)
    normal = np.linalg.svd((inliers - centre).astype(np.float64), full_matrices=False)[2][2]
    if normal @ up_world < 0:
        normal = -normal
    return SupportPlane(normal, float(normal @ centre))
