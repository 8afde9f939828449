"""`play` through the command line: what it takes, what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from domains import new_domain

from sparse_recon.cli.main import main
from sparse_recon.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE

WITHOUT_ROS = """
import sys
sys.modules["rclpy"] = None
from sparse_recon.cli.main import main
sys.exit(main(["play", sys.argv[1], "--json"]))
"""


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")
    pytest.importorskip("tf2_msgs.msg", reason="the workspace is not built or not sourced: make test")
    monkeypatch.setenv("ROS_DOMAIN_ID", str(new_domain()))


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "0"], "--rate: takes a number above 0, got '0'"),
        (["--rate", "nan"], "--rate: takes a number above 0"),
        (["--clock", "-1"], "--clock: takes a number above 0"),
        (["--loop", "-1"], "--loop: takes a whole number of at least 0"),
        (["--duration", "-2"], "--duration: takes a number from 0 on"),
        (["--pause-between", "soon"], "--pause-between: takes a number from 0 on"),
    ],
)
def test_numbers_are_checked_by_the_parser(words: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["play", "bag", *words])
    assert ended.value.code == EXIT_USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("text", ["/a", "/a:=b", "a:=/b", ":=/b", "/a:="])
def test_remap_takes_two_absolute_names(text: str, capsys: pytest.CaptureFixture[str]):
    assert main(["play", "bag", "--remap", text, "--json"]) == EXIT_USAGE
    assert "FROM:=TO" in last_json(capsys)["error"]["message"]


def test_missing_recording_is_bad_usage(ros: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["play", str(tmp_path / "none"), "--json"]) == EXIT_USAGE
    assert last_json(capsys)["error"]["name"] == "INPUT_MISSING"


@pytest.mark.parametrize("option", [["--topics", "/camera/colour/image_raw"], ["--remap", "/camera/x:=/y"]])
def test_unknown_topics_are_named_with_those_there_are(
    ros: None, bag: Path, option: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(["play", str(bag), *option, "--json"]) == EXIT_USAGE
    error = last_json(capsys)["error"]
    assert error["name"] == "TOPIC_UNKNOWN" and "/camera/color/image_raw" in error["message"]


def test_nothing_in_the_wanted_part_is_bad_usage(ros: None, bag: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--topics", "/tf", "--start-offset", "100", "--duration", "1", "--wait-for-subscribers", "0"]
    assert main(["play", str(bag), *words, "--json"]) == EXIT_USAGE
    assert "no message of 1 topics lies between 100 s and 101 s" in last_json(capsys)["error"]["message"]


def test_recording_without_messages_is_unreadable(ros: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/text", "std_msgs/msg/String", msgdef="string data\n", rihs01="RIHS01_" + "0" * 64)
    assert main(["play", str(tmp_path / "bag"), "--json"]) == EXIT_FAILED
    assert "holds no message" in last_json(capsys)["error"]["message"]


def test_unheard_images_are_named(ros: None, bag: Path, capsys: pytest.CaptureFixture[str], caplog: Any):
    words = ["--topics", "/camera/color/image_raw", "/tf", "--rate", "100", "--wait-for-subscribers", "0.1", "--json"]
    assert main(["play", str(bag), *words]) == EXIT_DONE
    assert [r.getMessage() for r in caplog.records] == ["/camera/color/image_raw has no subscriber (waited 0.1 s)"]
    report = last_json(capsys)
    assert report["messages"] == {"/camera/color/image_raw": 3, "/tf": 3}
    assert report["without_subscribers"] == ["/camera/color/image_raw", "/tf"]


def test_static_transforms_alone_can_be_kept_up(ros: None, bag: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--topics", "/tf_static", "--loop", "3", "--wait-for-subscribers", "0", "--json"]
    assert main(["play", str(bag), *words]) == EXIT_DONE
    report = last_json(capsys)
    assert report["messages"] == {"/tf_static": 3}
    assert report["seconds"] >= 0.3  # a recording of one instant must not fill the network


def test_without_ros_it_says_what_to_install(bag: Path):
    done = subprocess.run([sys.executable, "-c", WITHOUT_ROS, str(bag)], capture_output=True, text=True, timeout=600)
    assert done.returncode == EXIT_FAILED
    assert json.loads(done.stdout)["error"]["name"] == "DEPENDENCY_MISSING"
    assert "rclpy is needed" in done.stderr and "setup.bash" in done.stderr
