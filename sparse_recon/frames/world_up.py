"""Which way is up where the world is a camera's own frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sparse_recon.config.session_config import SessionConfig
from sparse_recon.types import Frame

Z_IS_UP, UP_IS_UNKNOWN = (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)


def is_optical(frame_id: str) -> bool:
    """Whether a frame is a camera's optical frame by its name (REP 103): z looks forward, and up may be anywhere."""
    return frame_id.endswith("optical_frame")


def is_camera(world_frame: str, frames: Sequence[Frame]) -> bool:
    """Whether the world is a camera's own frame, by its name or because a camera stands there."""
    return is_optical(world_frame) or any(np.array_equal(f.T_world_cam, np.eye(4)) for f in frames)


def with_unknown_up(config: SessionConfig) -> SessionConfig:
    """Return parameters that leave up to be found, unless another up than z is given."""
    return replace(config, up_world=UP_IS_UNKNOWN) if tuple(config.up_world) == Z_IS_UP else config
