"""A simulated tabletop recording for the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.simulate.recording import Recording, tabletop_recording


@pytest.fixture(scope="session")
def recording() -> Recording:
    """Three frames of two objects."""
    return tabletop_recording(0, objects=2, frames=3, with_labels=False)


@pytest.fixture(scope="session")
def bag(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These frames as a bag whose world frame is `world`."""
    path = tmp_path_factory.mktemp("cli") / "tabletop"
    write_frames(recording.frames, path, world_frame="world")
    return path
