"""The node with the model that ships."""

from __future__ import annotations

from sparse_recon.action import CompleteObject
from sparse_recon.srv import GetObjects

from sparse_recon.errors import ErrorCode

Goal = CompleteObject.Goal


def test_the_default_model_completes_says_where_it_is_and_can_be_cancelled(started, recording):
    robot = started(model="compact")
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:2])
    names = [item.object_id for item in robot.ask(GetObjects, "get_objects").candidates]
    result = robot.start(select_by=Goal.SELECT_BY_ID, object_id=names[0]).result()
    assert result.code == ErrorCode.OK
    assert result.object.model == "compact"
    assert result.object.quality.free_space_violation_fraction == 0
    assert any(feedback.stage == "complete" and feedback.step == 1 for feedback in robot.feedback)
    call = robot.start(select_by=Goal.SELECT_BY_ID, object_id=names[1])
    seen = len(robot.feedback)
    robot.spin_until(lambda: len(robot.feedback) > seen, what="progress")
    assert call.cancel() < 1.0
