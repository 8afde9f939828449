"""Of many frames, the few that add most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.config.observation_config import KeyframeConfig
from sparse_recon.types import Bool, Float64, Frame

# A camera this much further round the object sees it anew.
NEW_DIRECTION_RAD = np.deg2rad(30.0)


@dataclass(frozen=True, eq=False)
class ObjectObservation:
    """What one frame shows of an object.

    Attributes
    ----------
    visible_voxels : (K,) int64 sorted keys of the object's voxels that the frame sees.
    direction_world : (3,) unit vector from the object to the camera.
    sharpness : relative sharpness of the colour image, 0 to 1.
    """

    frame: Frame
    mask: Bool
    visible_voxels: npt.NDArray[np.int64]
    direction_world: Float64
    sharpness: float


def select_keyframes(
    seen: Sequence[ObjectObservation],
    max_views: int,
    config: KeyframeConfig,
    checkpoint: Callable[[], None] = lambda: None,
) -> list[int]:
    """Return the indices of the frames to use, best first: greedily by newly seen surface and view direction.

    The gain of a frame is the share of the whole seen surface that it adds, plus how far round the object it moves,
    both weighted by sharpness; choosing ends when a further frame adds less than `min_gain`. A frame without depth is
    never the first where another has depth: without it the object's size and place are unknown.
    """
    total_voxels = len(np.unique(np.concatenate([s.visible_voxels for s in seen]))) if seen else 0
    chosen: list[int] = []
    covered = np.zeros(0, np.int64)
    while len(chosen) < min(max_views, len(seen)):
        checkpoint()
        gains = [
            -1.0 if i in chosen else _gain(s, covered, total_voxels, [seen[c].direction_world for c in chosen])
            for i, s in enumerate(seen)
        ]
        if not chosen and total_voxels:
            gains = [g if len(s.visible_voxels) else -1.0 for g, s in zip(gains, seen, strict=True)]
        best = int(np.argmax(gains))
        if gains[best] < (config.min_gain if chosen else 0.0):
            break
        chosen.append(best)
        covered = np.union1d(covered, seen[best].visible_voxels)
    return chosen


def _gain(
    s: ObjectObservation, covered: npt.NDArray[np.int64], total_voxels: int, directions: Sequence[Float64]
) -> float:
    new = len(np.setdiff1d(s.visible_voxels, covered, assume_unique=True)) / max(total_voxels, 1)
    angle = min((float(np.arccos(np.clip(s.direction_world @ d, -1, 1))) for d in directions), default=np.pi)
    return (0.5 + 0.5 * s.sharpness) * (new + 0.25 * min(angle / NEW_DIRECTION_RAD, 1.0))


def sharpness(rgb: npt.NDArray[np.uint8], mask: Bool) -> float:
    """Return the variance of the Laplacian of brightness over the masked pixels (Pech-Pacheco 2000)."""
    import cv2

    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    if width == 0:
        return 0.0
    window = (slice(max(top - 1, 0), top + height + 1), slice(max(left - 1, 0), left + width + 1))
    laplacian = cv2.Laplacian(cv2.cvtColor(rgb[window], cv2.COLOR_RGB2GRAY), cv2.CV_32F)
    return float(laplacian[mask[window]].var())


def is_near_stored_pose(T_world_cam: Float64, frames: Sequence[Frame], config: KeyframeConfig) -> bool:
    """Return whether a camera stands within `min_move_m` and `min_turn_deg` of where one of the frames was taken."""
    if not frames:
        return False
    T = np.stack([f.T_world_cam for f in frames])
    move_m = np.linalg.norm(T[:, :3, 3] - T_world_cam[:3, 3], axis=-1)
    cosine = np.einsum("iab,ab->i", T[:, :3, :3], T_world_cam[:3, :3]) / 2 - 0.5
    turn_deg = np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))
    return bool(np.any((move_m < config.min_move_m) & (turn_deg < config.min_turn_deg)))


def most_redundant(frames: Sequence[Frame]) -> int:
    """Return the index of the frame to drop first: the older of the two that look from the most similar pose.

    One metre of translation weighs as much as one radian of rotation. The newest frame is never dropped.
    """
    T = np.stack([f.T_world_cam for f in frames])
    move = np.linalg.norm(T[:, None, :3, 3] - T[None, :, :3, 3], axis=-1)
    cosine = np.clip(np.einsum("iab,jab->ij", T[:, :3, :3], T[:, :3, :3]) / 2 - 0.5, -1, 1)
    difference = move + np.arccos(cosine)
    measured = np.array([f.depth_m is not None for f in frames])
    difference[measured[:, None] & ~measured[None, :]] = np.inf  # a colour image is no substitute for depth
    np.fill_diagonal(difference, np.inf)
    difference[-1] = np.inf
    return int(np.argmin(difference.min(axis=1)))
