"""A node says why it does not list what it sees."""

from __future__ import annotations

from sparse_recon.srv import GetObjects


def test_a_node_that_lists_nothing_says_why_on_diagnostics_and_once_in_the_log(started, recording):
    robot = started(segment__min_score=1.0)
    robot.wait_for_node()
    robot.spin_until(lambda: "objects" in robot.diagnostics, what="the status of the list")
    assert robot.diagnostics["objects"]["message"] == "nobody has asked for a list yet"
    robot.send_until_kept(recording.frames[:2])
    for _ in range(2):
        assert list(robot.ask(GetObjects, "get_objects").candidates) == []
    robot.spin_until(lambda: robot.diagnostics["objects"]["level"] == "1", what="the warning")
    told = robot.diagnostics["objects"]
    assert told["message"].startswith("nothing is listed: a thing of 0.")
    assert "less than segment.min_score, 1" in told["message"]
    assert int(told["not_listed"]) >= 3 and told["listed"] == "0"
    assert told["not_listed 0"].startswith("a thing of ")
    assert robot.process.log.count("not listed:") == 1


def test_candidates_carry_score_and_whether_they_are_cut(robot, recording):
    robot.send_until_kept(recording.frames[:2])
    there = robot.ask(GetObjects, "get_objects").candidates
    assert len(there) == 3
    assert all(0.5 < item.score < 1.0 and not item.cut_by_image for item in there)
    robot.spin_until(lambda: robot.diagnostics["objects"]["message"].startswith("3 listed"), what="the list")
    assert robot.diagnostics["objects"]["level"] == "0"
