"""A short recording of a small room, in the forms in which recordings come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.geometry.poses import look_at
from sparse_recon.types import CameraIntrinsics, Frame

STAMP_0_NS = 1_700_000_000_000_000_000


@pytest.fixture(scope="session")
def small_frames() -> tuple[Frame, ...]:
    """Twelve frames of 64x48 pixels, 100 ms apart; depth is whole millimetres so that nothing is rounded."""
    camera = CameraIntrinsics(64, 48, np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]]))
    rng = np.random.default_rng(4)
    return tuple(
        Frame(
            rgb=rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
            depth_m=(rng.integers(300, 2900, (48, 64)) * np.float32(1e-3)).astype(np.float32),
            intrinsics=camera,
            T_world_cam=look_at((0.5, 0.05 * k, 0.4), (0.0, 0.0, 0.0)),
            stamp_ns=STAMP_0_NS + k * 100_000_000,
        )
        for k in range(12)
    )


@pytest.fixture(scope="session")
def small_bag(small_frames: tuple[Frame, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MCAP bag of these frames."""
    path = tmp_path_factory.mktemp("bags") / "small"
    write_frames(small_frames, path, world_frame="world")
    return path
