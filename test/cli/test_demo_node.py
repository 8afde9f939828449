"""The second half of the demo: the node as a process, the player as another, compared with the replay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from domains import new_domain

from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.cli.demo_node import run_node
from sparse_recon.cli.main import main
from sparse_recon.config.session_config import load_config
from sparse_recon.errors import EXIT_DONE, ErrorCode, SparseReconError
from sparse_recon.ros.play.live import run_live, why_not_here

PATIENCE_S = 120.0  # enough for a busy machine; it is never used up where all goes well
COARSE = {"evidence.grid": 32, "evidence.fine_grid": 48, "fusion.max_points": 4000}

RUN_LIVE = """
import sys
from pathlib import Path
from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.ros.play.live import run_live
with Bag(Path(sys.argv[1])) as bag:
    reader = FrameReader(bag)
    frames = list(reader)
run_live(Path(sys.argv[1]), reader.cameras[0], SessionConfig(), [], 1)
"""


@pytest.fixture
def ros() -> None:
    if missing := why_not_here():
        pytest.skip(missing)


@pytest.mark.usefixtures("ros")
def test_node_and_replay_give_the_same_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = [word for name, value in COARSE.items() for word in ("--set", f"{name}={value}")]
    assert main(["demo", "--out", str(tmp_path), "--no-picture", "--json", *words]) == EXIT_DONE
    captured = capsys.readouterr()
    live = json.loads(captured.out)["live"]
    assert live["frames"] == 5 and "problem" not in live
    assert live["same_points"] == {f"object_{k}": True for k in range(3)}
    assert [goal["code"] for goal in live["goals"]] == [ErrorCode.OK] * 3
    topics = {item["topic"].rpartition("/")[2]: item for item in live["topics"]}
    assert topics["objects"]["messages"] >= 3
    assert topics["objects"]["points"] == topics["cloud"]["points"] > 1000
    assert topics["observed_cloud"]["points"] > 1000 and topics["markers"]["size_bytes"] > 10_000
    assert "/completion_node/cloud" in captured.err and "the same points as in the replay" in captured.err


def test_without_ros_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "rclpy", None)
    outcome: Any = None  # not looked at
    skipped = run_node(Path("bag"), outcome, outcome)["skipped"]
    assert "rclpy cannot be imported" in skipped and "make setup && source ws/env.sh" in skipped
    assert capsys.readouterr().err == f"the node was not started: {skipped}\n"


@pytest.mark.usefixtures("ros")
def test_a_process_that_fails_ends_the_wait_with_its_words(bag: Path, tmp_path: Path):
    with Bag(bag) as opened:
        camera = FrameReader(opened).cameras[0]
    with pytest.raises(SparseReconError, match=r"the player ended with 2.*does not exist") as error:
        run_live(tmp_path / "none", camera, load_config({}), ["object_0"], 1)
    assert error.value.code.name == "INTERNAL"
    assert children() == []


@pytest.mark.usefixtures("ros")
def test_a_step_in_which_nothing_changes_any_more_is_named_with_what_the_node_says(bag: Path):
    with Bag(bag) as opened:
        camera = replace(FrameReader(opened).cameras[0], color="/nobody/sends/this")
    with pytest.raises(
        SparseReconError, match=r"waited for .*last frame.* until for 3 s nothing had changed: .*active"
    ) as error:
        run_live(bag, camera, load_config({}), ["object_0"], 1, patience_s=3.0)
    assert error.value.code.name == "DEADLINE"
    assert children() == []


@pytest.mark.usefixtures("ros")
def test_a_step_may_take_long_while_the_node_gets_on():
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    from sparse_recon.ros.play.live_client import Client
    from sparse_recon.ros.play.player import ros_node

    begun_s, kept = time.monotonic(), 0

    def note_one_more_frame() -> None:
        nonlocal kept
        kept += 1
        values = [KeyValue(key="keyframes_kept", value=str(kept))]
        client._note_health(DiagnosticArray(status=[DiagnosticStatus(name="completion_node: ingest", values=values)]))

    def done_after_three_times_the_patience() -> bool:
        note_one_more_frame()
        return time.monotonic() - begun_s > 3.0

    def never_done() -> bool:
        return False

    with ros_node("a_client", new_domain()) as node:
        client = Client(node, {}, patience_s=1.0)
        client._spin_until(done_after_three_times_the_patience, "the last of many frames")
        with pytest.raises(
            SparseReconError, match=r"more frame until for 1 s nothing had changed: .* node says ingest"
        ):
            client._spin_until(never_done, "one more frame")


@pytest.mark.usefixtures("ros")
def test_a_step_may_take_long_while_the_recording_plays():
    """Slowly, on a busy machine: its time goes on though the node says nothing, until it stands still."""
    from rosgraph_msgs.msg import Clock

    from sparse_recon.ros.play.live_client import Client
    from sparse_recon.ros.play.player import ros_node

    domain, begun_s = new_domain(), []
    with ros_node("a_player", domain) as player, ros_node("a_client", domain) as node:
        publisher = player.create_publisher(Clock, "/clock", 10)
        client, message = Client(node, {}, patience_s=1.0), Clock()

        def played() -> bool:
            if publisher.get_subscription_count():
                begun_s.append(time.monotonic())
                message.clock.nanosec += 1000
            publisher.publish(message)
            return bool(begun_s) and begun_s[-1] - begun_s[0] > 3.0

        def stands_still() -> bool:
            publisher.publish(message)
            return False

        client._spin_until(played, "the end of a recording", PATIENCE_S)
        assert client._clock > (0, 0)
        with pytest.raises(SparseReconError, match="waited for one more second until for 1 s nothing had changed"):
            client._spin_until(stands_still, "one more second")


@pytest.mark.usefixtures("ros")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_running_when_it_is_stopped(bag: Path, number: signal.Signals):
    process = subprocess.Popen([sys.executable, "-c", RUN_LIVE, str(bag)], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + PATIENCE_S
        while len(started := children(process.pid)) < 2:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        time.sleep(1.0)  # both are loading, or further; it must not matter
        process.send_signal(number)
        process.wait(PATIENCE_S)
    finally:
        process.kill()
    until = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{pid}/cmdline").exists() and command(pid) for pid in started):
        assert time.monotonic() < until, [command(pid) for pid in started]
        time.sleep(0.05)


def children(pid: int | None = None) -> list[int]:
    """Return the processes that a process started and that run a module of ours."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == (pid or os.getpid()) and "sparse_recon." in command(int(stat.parent.name)):
            found.append(int(stat.parent.name))
    return found


def command(pid: int) -> str:
    """Return the command line of a process, empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
