"""The example client of the documentation, against a node that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "docs" / "examples" / "complete_all.py"


def test_client_waits_for_frames_and_completes_all(started, recording):
    robot = started()
    environment = {**os.environ, "ROS_DOMAIN_ID": str(robot.domain), "PYTHONUNBUFFERED": "1"}
    client = subprocess.Popen(
        [sys.executable, str(CLIENT), "--frames", "3"], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        robot.wait_for_node()
        robot.send_until_kept(recording.frames[:3])
        robot.spin_until(lambda: client.poll() is not None, 120, "the end of the client")
        output = client.communicate()[0]
    finally:
        client.kill()
    assert client.returncode == 0, output
    assert "node: ok, code 10 OK: active" in output
    assert "get_objects: 3 objects in frame 'world'" in output
    assert output.count("code 10: ") == 3 and "% of them inferred" in output
