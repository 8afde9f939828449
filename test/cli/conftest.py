"""A simulated tabletop recording for the commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.lab.simulate.recording import Recording, record
from sparse_recon.lab.simulate.scene import tabletop_scene
from sparse_recon.lab.simulate.virtual_cameras import camera_ring, depth_camera
from sparse_recon.types import Frame


@pytest.fixture(scope="session")
def recording() -> Recording:
    """Three frames of 320x240 pixels of two objects."""
    scene = tabletop_scene(0, 2)
    poses = camera_ring(3, np.random.default_rng((0, 1)), scene.centre_world, azimuth_deg=(-75.0, 75.0))
    return record(scene, poses, intrinsics=depth_camera(320, 240), with_labels=True)


@pytest.fixture(scope="session")
def unlabelled(recording: Recording) -> list[Frame]:
    """The same frames as a camera alone gives them."""
    return [replace(frame, labels=None) for frame in recording.frames]


@pytest.fixture(scope="session")
def bag(unlabelled: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These frames as a bag whose world frame is `world`."""
    path = tmp_path_factory.mktemp("cli") / "tabletop"
    write_frames(unlabelled, path, world_frame="world")
    return path
