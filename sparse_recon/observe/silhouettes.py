"""Objects that no depth camera saw: the space that all their masks leave them (Laurentini 1994)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.geometry.cameras import project_points
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.types import Bool, Float32, Float64, Frame

GRID = 48
# Cameras closer together than this leave the distance, and with it the size, unknown.
MIN_ANGLE_DEG = 15.0
REACH = 1.15  # of the cube over the widest silhouette


def silhouette_hull(frames: Sequence[Frame], label: int, checkpoint: Callable[[], None] = lambda: None) -> Float32:
    """Return points on the visual hull of one labelled object, (N, 3) float32, world frame, metres.

    Other labels may hide it.

    Parameters
    ----------
    frames : label images with poses; those that do not show the label are passed over.

    Raises
    ------
    EvidenceError
        OBJECT_NOT_FOUND if the cameras do not stand apart, so that the scale is unknown, or the masks have no common
        space.
    """
    seen = [f for f in frames if f.labels is not None and (f.labels == label).any()]
    rays = [_central_ray(f, np.asarray(f.labels == label)) for f in seen]
    if len(rays) < 2 or _widest_angle_deg([d for _, d, _ in rays]) < MIN_ANGLE_DEG:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_FOUND,
            f"label {label} has no depth, and its {len(rays)} mask(s) were seen from directions less than "
            f"{MIN_ANGLE_DEG:g} degrees apart, so its size is unknown; add a frame with depth, or a mask from "
            "another side",
        )
    # 1. Where the central rays come closest to each other, and how far the silhouettes reach there.
    projectors = [np.eye(3) - np.outer(d, d) for _, d, _ in rays]
    centre = np.linalg.solve(sum(projectors), sum(P @ o for P, (o, _, _) in zip(projectors, rays, strict=True)))
    half_m = REACH * max(float(np.linalg.norm(centre - o)) * spread for o, _, spread in rays)

    # 2. Voxels that every mask holds; what an image does not show may be there.
    grid = VoxelGrid.cube(GRID, half_m)
    points = grid.centres().reshape(-1, 3).astype(np.float64) + centre
    inside = np.ones(len(points), bool)
    for frame in seen:
        checkpoint()
        assert frame.labels is not None
        inside[inside] = _inside_mask(points[inside], frame, np.asarray(frame.labels != 0))
    solid = inside.reshape(grid.shape)
    if not solid.any():
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_FOUND,
            f"label {label}: the viewing cones of its {len(seen)} masks do not intersect; check masks and camera "
            "poses, and that the object did not move",
        )
    padded = np.pad(solid, 1)
    interior = np.logical_and.reduce([np.roll(padded, s, axis=k) for k in range(3) for s in (-1, 1)])[1:-1, 1:-1, 1:-1]
    return points[(solid & ~interior).ravel()].astype(np.float32)


def _central_ray(frame: Frame, mask: Bool) -> tuple[Float64, Float64, float]:
    """Return origin and direction, world frame, of the ray through the middle of a mask, and its spread (tangent)."""
    rows, columns = np.nonzero(mask)
    K = frame.intrinsics
    u, v = 0.5 * (columns.min() + columns.max()), 0.5 * (rows.min() + rows.max())
    direction = frame.T_world_cam[:3, :3] @ np.array([(u - K.cx) / K.fx, (v - K.cy) / K.fy, 1.0])
    spread = 0.5 * max(float(np.ptp(columns)) / K.fx, float(np.ptp(rows)) / K.fy)
    return frame.T_world_cam[:3, 3], direction / np.linalg.norm(direction), spread


def _widest_angle_deg(directions: Sequence[Float64]) -> float:
    cosine = np.clip(np.array(directions) @ np.array(directions).T, -1, 1)
    return float(np.rad2deg(np.arccos(cosine.min())))


def _inside_mask(points_world: Float64, frame: Frame, mask: Bool) -> npt.NDArray[np.bool_]:
    points_cam = transform_points(inverse(frame.T_world_cam), points_world)
    uv = project_points(points_cam, frame.intrinsics)
    height, width = mask.shape
    pixel = np.rint(np.nan_to_num(uv, nan=-1.0, posinf=-1.0, neginf=-1.0)).astype(np.int64)
    in_image = (pixel >= 0).all(axis=1) & (pixel[:, 0] < width) & (pixel[:, 1] < height) & (points_cam[:, 2] > 0)
    inside_mask = points_cam[:, 2] > 0
    inside_mask[in_image] = mask[pixel[in_image, 1], pixel[in_image, 0]]
    return inside_mask
