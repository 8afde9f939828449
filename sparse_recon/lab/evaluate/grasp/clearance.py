"""Whether the open hand gets to a grasp: the table below it, and points of the object on its way."""

from __future__ import annotations

import numpy as np

from sparse_recon.lab.evaluate.grasp.gripper import PALM_BACK_Z_M, PALM_FRONT_Z_M, finger_boxes, hand_boxes, palm_box
from sparse_recon.types import Bool, Float32

APPROACH_M = 0.10  # straight way from the pre-grasp pose
TABLE_CLEARANCE_M = 0.003
MAX_BACK_OFF_M = 0.006  # contacts stay at least 3 mm inside the end of the pads
POINT_CLEARANCE_M = 0.001
_STEEP = -0.3
_FEW = 300


def backed_off(rotation: Float32, origin: Float32, opening_m: Float32, table_z_m: float) -> tuple[Float32, Bool]:
    """Draw hands back along their approach until they clear the table, at most 6 mm.

    Parameters
    ----------
    rotation, origin, opening_m : (G, 3, 3), (G, 3) and (G,) float32.

    Returns
    -------
    How far (G,), metres, and which hands then clear the table there and all the way from the pre-grasp pose, (G,) bool.
    """
    up = rotation[:, 2].astype(np.float64)  # world z in the grasp frame
    lowest = np.full(len(origin), np.inf)
    for closed, left in zip(hand_boxes(0.0), (0.0, 0.5, 0.5, -0.5, -0.5), strict=True):
        centre, half = (closed.low + closed.high) / 2, (closed.high - closed.low) / 2
        reach = up @ centre + left * opening_m * up[:, 1] - np.abs(up) @ half
        lowest = np.minimum(lowest, reach)
    missing = table_z_m + TABLE_CLEARANCE_M - (origin[:, 2] + lowest)
    rise = -up[:, 2]  # per metre of drawing back
    back = np.where(missing > 0, missing / np.maximum(rise, 1e-6), 0.0)
    clear = (missing <= 0) | ((up[:, 2] <= _STEEP) & (back <= MAX_BACK_OFF_M))
    clear &= missing - APPROACH_M * rise <= 0  # the pre-grasp pose may be the lower one
    return np.where(clear, back, 0.0).astype(np.float32), clear


def reachable(obstacles: Float32, rotation: Float32, origin: Float32, opening_m: Float32) -> Bool:
    """Return which open hands (G,) get to their grasps along the approach without a point (M, 3) in their way.

    Parameters
    ----------
    rotation, origin, opening_m : (G, 3, 3), (G, 3) and (G,) float32.
    """
    free = np.ones(len(origin), bool)
    few = obstacles[:: max(len(obstacles) // _FEW, 1)]
    for points, block in ((few, 256), (obstacles, 16)):  # most collisions show at a few points
        left = np.flatnonzero(free)
        for start in range(0, len(left), block):
            some = left[start : start + block]
            free[some] = ~_touched(points, rotation[some], origin[some], opening_m[some])
    return free


def _touched(points: Float32, rotation: Float32, origin: Float32, opening_m: Float32) -> Bool:
    """Return whether any point is in the volume that a hand sweeps; fingers are alike on both sides."""
    local = points @ rotation.transpose(1, 0, 2).reshape(3, -1)  # (M, G * 3)
    local = local.reshape(len(points), -1, 3) - np.einsum("gk,gkc->gc", origin, rotation)
    x, y, z = np.abs(local[..., 0]), np.abs(local[..., 1]), local[..., 2]
    from_pad = y - opening_m / 2
    touched = (
        (z <= PALM_FRONT_Z_M + POINT_CLEARANCE_M) & _within(x, palm_box().high[0]) & _within(y, palm_box().high[1])
    )
    for box in finger_boxes():
        touched |= (
            (z <= box.high[2] + POINT_CLEARANCE_M)
            & _within(x, box.high[0])
            & (from_pad >= box.low[1] - POINT_CLEARANCE_M)
            & _within(from_pad, box.high[1])
        )
    # Behind the pre-grasp pose of the hand nothing moves.
    return np.asarray((touched & (z >= PALM_BACK_Z_M - APPROACH_M)).any(axis=0))


def _within(values: Float32, limit: float) -> Bool:
    return np.asarray(values <= np.float32(limit + POINT_CLEARANCE_M))
