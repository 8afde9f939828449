"""The sources of poses that frames are assembled with."""

from __future__ import annotations

import pytest
from messages_rig import Rig


@pytest.fixture(params=["tree", "tf2_ros"])
def transform_source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let robots without transforms of their own use this source; return its name."""
    if request.param == "tf2_ros":
        pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")
        pytest.importorskip("tf2_ros", reason="tf2_ros is not on pip; this runs beside the ROS of a robot")
        from sparse_recon.ros.tf2_transforms import Tf2Transforms

        monkeypatch.setattr(Rig, "new_transforms", Tf2Transforms)
    return request.param
