"""Recordings in which single stamps are far ahead: they cost their own message, and it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edited_bags import edited

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag, FrameReader

LAST_S = 2**31 - 1


@pytest.mark.parametrize("topic", ["/tf", "/camera/color/image_raw", "/camera/color/camera_info"])
def test_one_stamp_far_ahead_costs_one_frame_at_most(small_frames, tmp_path: Path, topic: str):
    write_frames(small_frames, tmp_path / "source", world_frame="world")
    seen: dict[str, int] = {}

    def edit(name: str, message: Any) -> list[tuple[str, Any]]:
        seen[name] = seen.get(name, 0) + 1
        if name == topic and seen[name] == 3:
            header = message.transforms[0].header if name == "/tf" else message.header
            header.stamp.sec = LAST_S
        return [(name, message)]

    with Bag(edited(tmp_path / "source", tmp_path / "bag", edit)) as bag:
        reader = FrameReader(bag)
        frames = list(reader)
    kept = [frame.stamp_ns for frame in frames]
    assert reader.restarts == 0 and len(kept) >= len(small_frames) - 1
    assert set(kept) <= {frame.stamp_ns for frame in small_frames}
    told = [*reader.warnings, *(rejection.message for rejection in reader.rejections)]
    assert any("ahead" in text for text in told) == (topic != "/camera/color/camera_info"), told
    for frame in frames:
        (same,) = (other for other in small_frames if other.stamp_ns == frame.stamp_ns)
        np.testing.assert_allclose(
            frame.T_world_cam, same.T_world_cam, atol=5e-3 if topic == "/tf" else 1e-6
        )  # interpolated over what is left out
