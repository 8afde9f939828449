"""What a search saw and does not list: collected where it is refused, told with place, reason and frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.geometry.cameras import project_points, unproject_depth
from sparse_recon.geometry.clouds import inside_box
from sparse_recon.geometry.near import moved_box
from sparse_recon.geometry.poses import inverse, pose, rotation_to_up, transform_points
from sparse_recon.requests import RejectedCandidate, RejectionReason
from sparse_recon.types import Float32, Float64, Frame, OrientedBox

if TYPE_CHECKING:
    from sparse_recon.observe.segment import SceneClusters

# What has fewer pixels than this share of those that an object needs is noise, and nobody misses it.
WORTH_SHARE = 0.5
# What is listed, or told already, with so large a share of its pixels is not told (again).
KNOWN_SHARE = 0.5
# Of the points of something, so many are looked for in a frame, which shows it with so large a share of them in sight.
CHECKED_POINTS, SIGHT_SHARE = 200, 0.1
SIGHT_M = 0.02


@dataclass(frozen=True, eq=False)
class Refused:
    """Points of the scene that are no object: their indices (K,), and why."""

    members: npt.NDArray[np.intp]
    reason: RejectionReason
    figure: float
    limit: float


def rejected_candidates(
    refused: Iterable[Refused],
    scene: SceneClusters,
    up_world: Float64,
    frames: Sequence[Frame],
    min_points: int,
) -> tuple[RejectedCandidate, ...]:
    """Return what of the refused is worth telling, the largest first.

    Parameters
    ----------
    scene : with the objects that are listed.
    frames : those that were searched.
    min_points : depth pixels that an object needs.
    """
    count, known = scene.count, scene.label >= 0
    middles = [scene.points_world[scene.label == k].mean(axis=0) for k in range(int(scene.label.max(initial=-1)) + 1)]
    told = []
    for item in sorted(refused, key=lambda r: int(count[r.members].sum())):
        pixels = count[item.members]
        if pixels.sum() < max(WORTH_SHARE * min_points, 1) or pixels[known[item.members]].sum() > (
            KNOWN_SHARE * pixels.sum()
        ):
            continue
        known[item.members] = True
        points = scene.points_world[item.members]
        box = box_around(points, up_world)
        told.append(
            RejectedCandidate(
                item.reason, box, int(pixels.sum()), item.figure, item.limit, seen_by(points, frames),
                sum(bool(inside_box(m, box)) for m in middles),
            )
        )  # fmt: skip
    return tuple(sorted(told, key=lambda r: -r.extent_m))


def box_around(points_world: Float32, up_world: Float64) -> OrientedBox:
    """Return the upright box around (K, 3) points."""
    R = rotation_to_up(up_world)
    flat = points_world.astype(np.float64) @ R
    low, high = flat.min(axis=0), flat.max(axis=0)
    return OrientedBox(pose(R, R @ (0.5 * (low + high))), np.maximum(high - low, 1e-3))


def moved_rejections(rejected: Iterable[RejectedCandidate], by_m: Float64) -> tuple[RejectedCandidate, ...]:
    """Return the same in a world moved by (3,) metres."""
    return tuple(r if r.box is None else replace(r, box=moved_box(r.box, by_m)) for r in rejected)


def seen_by(points_world: Float32, frames: Sequence[Frame]) -> tuple[tuple[str, int], ...]:
    """Return camera and stamp of the frames whose depth shows (K, 3) points."""
    some = points_world[:: max(1, len(points_world) // CHECKED_POINTS)].astype(np.float64)
    found = []
    for frame in frames:
        if frame.depth_m is None:
            continue
        points_cam = transform_points(inverse(frame.T_world_cam), some)
        points_cam = points_cam[points_cam[:, 2] > 0]
        u, v = np.rint(project_points(points_cam, frame.intrinsics)).T
        within = (u >= 0) & (v >= 0) & (u < frame.intrinsics.width) & (v < frame.intrinsics.height)
        measured = frame.depth_m[v[within].astype(int), u[within].astype(int)]
        if np.sum(np.abs(measured - points_cam[within, 2]) < SIGHT_M) > SIGHT_SHARE * len(some):
            found.append((frame.camera, frame.stamp_ns))
    return tuple(found)


def nothing_in_box(box: OrientedBox, frames: Sequence[Frame], origin: Float64) -> EvidenceError:
    """Return the error for a box in which no object is; `origin` (3,) is where people count from."""
    c, (sx, sy, sz) = box.T_world_box[:3, 3] + origin, box.size_m
    where = f"in the box at ({c[0]:.3f}, {c[1]:.3f}, {c[2]:.3f}) m of size {sx:.3f} x {sy:.3f} x {sz:.3f} m"
    pixels = 0
    for frame in frames:
        if frame.depth_m is not None:
            points_world = transform_points(frame.T_world_cam, unproject_depth(frame.depth_m, frame.intrinsics))
            pixels += int(inside_box(points_world, box).sum())
    if pixels:
        return EvidenceError(
            ErrorCode.OBJECT_TOO_SMALL,
            f"only {pixels} depth pixel(s) of {len(frames)} frame(s) are {where}, and they are outliers or belong to "
            "the support plane; make the box larger or move closer",
        )
    return EvidenceError(
        ErrorCode.OBJECT_NOT_IN_VIEW,
        f"no depth pixel of {len(frames)} frame(s) is {where}; check the frame and units of the box, and that a camera "
        "looks at it",
    )
