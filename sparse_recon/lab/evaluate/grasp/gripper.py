"""The parallel-jaw hand of all grasps, as boxes, and the frame in which a grasp is written down.

Dimensions follow the Franka Hand (franka_description, `franka_hand.xacro`: finger joints at 58.4 mm of the flange, tool
centre point at 103.4 mm, tips of 17.5 x 15.2 x 18.5 mm, stroke 2 x 40 mm), with each finger above its tip as one box.

Frame of a grasp: origin between the middles of the two pads, z the approach (from the palm to the object), y from pad
to pad, x across the fingers (right-handed). `T_world_grasp` maps points of that frame into the world.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparse_recon.types import Float64

MAX_OPENING_M = 0.080
PAD_HALF_X_M, PAD_HALF_Z_M = 0.00875, 0.00925
TIP_THICKNESS_M = 0.0152
STEM_HALF_X_M, STEM_NEAR_Y_M, STEM_FAR_Y_M = 0.011, 0.007, 0.026
STEM_TOP_Z_M = -0.045  # where the finger is mounted, of the tool centre point
PALM_HALF_X_M, PALM_HALF_Y_M = 0.0315, 0.102
PALM_FRONT_Z_M, PALM_BACK_Z_M = -0.0375, -0.1034


class Box(NamedTuple):
    """A box along the axes of the grasp frame: lower and upper corner (3,), metres."""

    low: Float64
    high: Float64


def palm_box() -> Box:
    """Return the body of the hand."""
    return Box(
        np.array([-PALM_HALF_X_M, -PALM_HALF_Y_M, PALM_BACK_Z_M]),
        np.array([PALM_HALF_X_M, PALM_HALF_Y_M, PALM_FRONT_Z_M]),
    )


def finger_boxes() -> tuple[Box, Box]:
    """Return tip and stem of the finger on the side of +y when the jaw is closed: its pad at y = 0."""
    tip = Box(
        np.array([-PAD_HALF_X_M, 0.0, -PAD_HALF_Z_M]),
        np.array([PAD_HALF_X_M, TIP_THICKNESS_M, PAD_HALF_Z_M]),
    )
    stem = Box(
        np.array([-STEM_HALF_X_M, STEM_NEAR_Y_M, STEM_TOP_Z_M]),
        np.array([STEM_HALF_X_M, STEM_FAR_Y_M, -PAD_HALF_Z_M]),
    )
    return tip, stem


def hand_boxes(opening_m: float) -> tuple[Box, ...]:
    """Return palm, and tip and stem of both fingers, with the pads `opening_m` apart."""
    shift = np.array([0.0, 0.5 * opening_m, 0.0])
    left = [Box(box.low + shift, box.high + shift) for box in finger_boxes()]
    flip = np.array([1.0, -1.0, 1.0])
    right = [Box(np.minimum(b.low * flip, b.high * flip), np.maximum(b.low * flip, b.high * flip)) for b in left]
    return (palm_box(), *left, *right)


def corners(box: Box) -> Float64:
    """Return the (8, 3) corners of a box."""
    pick = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    return np.where(pick == 0, box.low, box.high)
