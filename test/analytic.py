"""Depth views in closed form: a ball over a table, seen from anywhere, in a world that is turned and shifted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from solids import turn

from sparse_recon.config.geometry_config import EvidenceConfig
from sparse_recon.evidence import Evidence
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import look_at
from sparse_recon.types import CameraIntrinsics, Frame, ObjectFrame, ObjectView, ObjectViews

RADIUS_M, HALF_M, TABLE_Z_M = 0.04, 0.07, -0.04
SIGMA_M = 0.0005
# No axis of the object is an axis of the world, and its origin is far from the world's.
T_WORLD_OBJ = turn(3)
OBJECT_FRAME = ObjectFrame(T_WORLD_OBJ, HALF_M, TABLE_Z_M)
GRID = VoxelGrid.cube(40, HALF_M)
# Width, height and both focal lengths differ, so that no axis of the image can stand for the other.
CAMERA = CameraIntrinsics(96, 72, np.array([[100.0, 0, 46.0], [0, 110.0, 37.0], [0, 0, 1]]))
EYES = tuple(0.4 * np.array([np.cos(a) * 0.8, np.sin(a) * 0.8, 0.6]) for a in np.deg2rad([20, 110, 200, 290]))


def ball_view(
    eye_obj=EYES[0],
    target_obj=(0.0, 0.0, 0.0),
    *,
    radius_m: float = RADIUS_M,
    table_z_m: float | None = TABLE_Z_M,
    object_frame: ObjectFrame = OBJECT_FRAME,
    stamp_ns: int = 1,
    camera: CameraIntrinsics = CAMERA,
) -> ObjectView:
    """Return what a perfect camera at `eye_obj` sees of a ball about the object's origin and of the table below it."""
    T_obj_cam = look_at(eye_obj, target_obj)
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    rays, eye = rays @ T_obj_cam[:3, :3].T, T_obj_cam[:3, 3]
    a, b, c = np.sum(rays**2, axis=-1), rays @ eye, eye @ eye - radius_m**2
    with np.errstate(invalid="ignore", divide="ignore"):
        ball = (-b - np.sqrt(b**2 - a * c)) / a
        table = np.full(u.shape, np.nan) if table_z_m is None else (table_z_m - eye[2]) / rays[..., 2]
    ball[~(ball > 0)], table[~(table > 0)] = np.nan, np.nan
    mask = np.isfinite(ball) & ~(table < ball)
    depth_m = np.where(mask, ball, table).astype(np.float32)
    rgb = np.where(mask[..., None], np.uint8((200, 90, 40)), np.uint8((30, 60, 120)))
    frame = Frame(
        rgb, depth_m, camera, object_frame.T_world_obj @ T_obj_cam, stamp_ns, np.where(mask, 1, 0).astype(np.int32)
    )
    return ObjectView(frame, mask, ~mask & (depth_m > 0), np.full(mask.shape, SIGMA_M, np.float32))


def ball_views(count: int, object_frame: ObjectFrame = OBJECT_FRAME, **kwargs) -> ObjectViews:
    views = (ball_view(eye, object_frame=object_frame, stamp_ns=i + 1, **kwargs) for i, eye in enumerate(EYES[:count]))
    return ObjectViews("ball", tuple(views), object_frame)


def with_depth(view: ObjectView, depth_m) -> ObjectView:
    return replace(view, frame=replace(view.frame, depth_m=None if depth_m is None else depth_m.astype(np.float32)))


def evidence_of(views, grid: VoxelGrid = GRID, object_frame: ObjectFrame = OBJECT_FRAME, **config) -> Evidence:
    views = views if isinstance(views, ObjectViews) else ObjectViews("ball", tuple(views), object_frame)
    return Evidence.of(views, grid, EvidenceConfig(**config))


def moved_view(view: ObjectView, T: np.ndarray) -> ObjectView:
    """Return the view of a camera that stands elsewhere; with the object frame moved alike nothing changes."""
    return replace(view, frame=replace(view.frame, T_world_cam=T @ view.frame.T_world_cam))


def true_sdf(grid: VoxelGrid = GRID, radius_m: float = RADIUS_M) -> np.ndarray:
    return np.linalg.norm(grid.centres(), axis=-1) - radius_m
