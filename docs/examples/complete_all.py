#!/usr/bin/env python3
"""A client of `completion_node`: say what its diagnostics say, list the objects once there are any, complete each.

    source ws/env.sh                        # on a robot: source install/setup.bash
    python docs/examples/complete_all.py [--node /completion_node] [--frames 5]

Ends with 0 when every object was completed.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionClient
from rclpy.node import Node
from sparse_recon.action import CompleteObject
from sparse_recon.srv import GetObjects

from sparse_recon.messages.fields import unpack_cloud
from sparse_recon.ros.convert import from_message

LEVELS = {b"\x00": "ok", b"\x01": "WARN", b"\x02": "ERROR", b"\x03": "STALE"}
WAIT_S = 300.0


class Client(Node):
    """What a robot's behaviour asks of the node, and what the node says of itself."""

    def __init__(self, name: str) -> None:
        super().__init__("complete_all")
        self.began_s = time.monotonic()
        self._owner, self._said = name.lstrip("/"), dict[str, str]()
        self._last_percent, self._frames = -1, 0
        self._objects = self.create_client(GetObjects, f"{name}/get_objects")
        self._complete = ActionClient(self, CompleteObject, f"{name}/complete")
        self.create_subscription(DiagnosticArray, "/diagnostics", self._note_diagnostics, 10)

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"{time.monotonic() - self.began_s:6.1f} s  {text}", flush=True)

    def _note_diagnostics(self, array: DiagnosticArray) -> None:
        """Print each part of the node whose state has changed; `worker` and `memory` change all the time."""
        for status in array.status:
            owner, _, part = status.name.partition(": ")
            if owner != self._owner or part in ("worker", "memory"):
                continue
            values = {item.key: item.value for item in status.values}
            self._frames = int(values.get("keyframes_kept", self._frames))
            text = f"{part}: {LEVELS[status.level]}, code {values['code']}: {status.message}"
            if self._said.get(part) != text:
                self._said[part] = text
                self.say(text)

    def wait(self, future: Any) -> Any:
        """Return the result of a call."""
        rclpy.spin_until_future_complete(self, future, timeout_sec=WAIT_S)
        if not future.done():
            raise SystemExit(f"no answer within {WAIT_S:g} s: is the node running, in the same ROS_DOMAIN_ID?")
        return future.result()

    def objects(self, frames: int) -> GetObjects.Response:
        """List the objects once so many frames are kept: the more sides they show, the less has to be inferred."""
        until_s = time.monotonic() + WAIT_S
        while time.monotonic() < until_s:
            if self._frames >= frames and self._objects.wait_for_service(0.0):
                answer = self.wait(self._objects.call_async(GetObjects.Request()))
                if answer.success and answer.candidates:
                    return answer
            rclpy.spin_once(self, timeout_sec=0.5)
        raise SystemExit(f"no object within {WAIT_S:g} s; the lines above say why")

    def complete(self, object_id: str) -> CompleteObject.Result:
        """Complete one object and print the progress in steps of 25 %."""
        self._last_percent = -1
        goal = CompleteObject.Goal(select_by=CompleteObject.Goal.SELECT_BY_ID, object_id=object_id, with_geometry=True)
        handle = self.wait(self._complete.send_goal_async(goal, self._note_feedback))
        return self.wait(handle.get_result_async()).result

    def _note_feedback(self, message: Any) -> None:
        feedback = message.feedback
        percent = int(25 * (feedback.fraction // 0.25))
        if percent > self._last_percent:
            self._last_percent = percent
            self.say(f"  {100 * feedback.fraction:3.0f} %, {feedback.stage}")


def main() -> int:
    """Run it against a node that runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node", default="/completion_node", help="its name with its namespace")
    parser.add_argument("--frames", type=int, default=5, help="wait until so many frames are kept")
    given = parser.parse_args()
    rclpy.init()
    client = Client(given.node)
    answer = client.objects(given.frames)
    client.say(f"get_objects: {len(answer.candidates)} objects in frame {answer.header.frame_id!r}")
    for candidate in answer.candidates:
        p, s = candidate.pose.position, candidate.size_m
        client.say(
            f"  {candidate.object_id}: centre ({p.x:.2f}, {p.y:.2f}, {p.z:.2f}) m, "
            f"box {s.x:.2f} x {s.y:.2f} x {s.z:.2f} m, {candidate.points} depth pixels"
        )
    failed = 0
    for candidate in answer.candidates:
        client.say(f"complete {candidate.object_id}")
        result = client.complete(candidate.object_id)
        refused = result.code != CompleteObject.Result.OK
        failed += refused
        client.say(f"  code {result.code}: {result.message if refused else describe(result.object)}")
    client.destroy_node()
    rclpy.try_shutdown()
    return int(failed > 0)


def describe(completed: Any) -> str:
    """Say in a line what came back, and how far to trust it."""
    provenance = unpack_cloud(from_message(completed.cloud))["provenance"]
    inferred = (provenance == completed.PROVENANCE_INFERRED).mean()
    quality = completed.quality
    return (
        f"{len(provenance)} points, {100 * inferred:.0f} % of them inferred, "
        f"{len(completed.nominal_mesh.triangles)} triangles, mean confidence {quality.mean_confidence:.2f}, "
        f"90 % of the inferred surface within {1e3 * quality.radius90_m:.1f} mm, {quality.views_used} views"
    )


if __name__ == "__main__":
    sys.exit(main())
