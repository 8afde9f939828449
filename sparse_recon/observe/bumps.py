"""Which frames were taken from elsewhere than their pose says: a camera that was bumped, or a transform gone astray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.evidence.bumped import CameraShift
from sparse_recon.geometry.poses import inverse, rotation_angle
from sparse_recon.types import Float64, Frame

# Poses that differ by less are one again.
SAME_SHIFT_M, SAME_TURN_RAD = 0.008, np.deg2rad(1.0)
# Poses of a camera that moves are off, each for itself. A bump of it is shared by so many frames after each other, and
# so many agreed before; until then they are left out. A moment of wrong poses leaves so large a share of them right.
LASTING_FRAMES, MOST_SHARE = 2, 0.6


@dataclass(frozen=True)
class Bump:
    """A camera that moved without its transform.

    Attributes
    ----------
    stamp_ns : of the first frame after it.
    shift_m, turn_rad : by which all that it sees moved since.
    """

    camera: str
    stamp_ns: int
    shift_m: float
    turn_rad: float

    @property
    def sentence(self) -> str:
        """Say what happened, for people."""
        return (
            f"camera {self.camera} was moved without its transform, or its transforms are late: since the frame of "
            f"{self.stamp_ns * 1e-9:.3f} s all that it sees is shifted together by {1e3 * self.shift_m:.0f} mm and "
            f"turned by {np.rad2deg(self.turn_rad):.1f} deg; publish its right transform, or reset"
        )


def judged(frames: Sequence[Frame], shifts: Sequence[CameraShift | None]) -> tuple[list[Frame], Bump | None]:
    """Tell frames of one camera with wrong poses from the right ones.

    Parameters
    ----------
    frames : of one camera, by stamp.
    shifts : of each frame against the one before it; None where there is none. One within the noise of poses counts
        only after a larger one, which it may undo.

    Returns
    -------
    The frames whose pose neither the first nor the newest ones share; and the bump, where these two differ.
    """
    if all(shift is None for shift in shifts):
        return [], None
    at: list[Float64] = []  # where each frame is, in the world of the first one
    for frame, shift in zip(frames, shifts, strict=True):
        last = at[-1] if at else np.eye(4)
        if shift is not None and not (shift.within_noise and _same(last, np.eye(4), frame)):
            last = last @ shift.T_right_wrong
        at.append(last)
    newest = [_same(T, at[-1], frame) for T, frame in zip(at, frames, strict=True)]
    if any(shift is not None and shift.moved for shift in shifts):
        first = [_same(T, at[0], frame) for T, frame in zip(at, frames, strict=True)]
        before, after = _run(first), _run(newest[::-1])
        if newest[0] and sum(newest) < MOST_SHARE * len(newest):
            return [], None
        if not newest[0] and before < LASTING_FRAMES:
            return [], None
        if not newest[0] and after < LASTING_FRAMES:  # the next frame will tell
            return list(frames[before:]), None
    if not newest or newest[0]:
        return [f for f, right in zip(frames, newest, strict=True) if not right], None
    begun = len(newest) - newest[::-1].index(False) if False in newest else 0
    shift_m, turn_rad = _difference(at[0], at[-1], frames[-1])
    misplaced = [
        f for f, T, right in zip(frames, at, newest, strict=True) if not right and not _same(T, at[0], frames[0])
    ]
    return misplaced, Bump(frames[begun].camera, frames[begun].stamp_ns, shift_m, turn_rad)


def _run(same: Sequence[bool]) -> int:
    """Return how many are True before the first that is not."""
    return next((k for k, one in enumerate(same) if not one), len(same))


def _same(T_a: Float64, T_b: Float64, frame: Frame) -> bool:
    if T_a is T_b:
        return True
    shift_m, turn_rad = _difference(T_a, T_b, frame)
    return shift_m < SAME_SHIFT_M and turn_rad < SAME_TURN_RAD


def _difference(T_a: Float64, T_b: Float64, frame: Frame) -> tuple[float, float]:
    """Return by how much two corrections move what is in the middle of a frame, metres, and turn it, radians."""
    depth_m = 0.5 if frame.depth_m is None else float(np.nanmedian(frame.depth_m))
    middle = frame.T_world_cam @ (0.0, 0.0, depth_m, 1.0)
    T = inverse(T_a) @ T_b
    return float(np.linalg.norm((T @ middle - middle)[:3])), rotation_angle(T)
