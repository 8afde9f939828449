"""Commands given pipes, devices, endless links and names that no file has: a code and a sentence, and nothing waits."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pytest
from fuzz.bag_bytes import good_frames
from fuzz.bounded import ANSWER_S
from inputs.test_files import WORDS, special
from processor_time import processor_time_below

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.bags.storage import natural_order
from sparse_recon.cli.main import main

COMMANDS = {
    "replay": ["replay", "{}", "--out", "out"],
    "complete": ["complete", "{}", "--out", "out"],
    "bag-from-frames": ["bag-from-frames", "{}", "out.mcap"],
    "view": ["view", "{}", "--png"],
    "evaluate": ["evaluate", "--objects", "{}", "--out", "out"],
    "compare": ["evaluate", "--compare", "{}", "{}"],
    "against": ["evaluate", "--made-up", "1", "--against", "{}", "--out", "out"],
    "config": ["replay", "bag", "--out", "out", "--config", "{}"],
    "weights": ["weights", "check", "{}"],
    "play": ["play", "{}"],
}


@pytest.mark.parametrize("kind", [kind for kind in WORDS if kind != "folder"])
@pytest.mark.parametrize("command", COMMANDS)
def test_paths_that_lead_to_no_file_end_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, kind: str
):
    if command == "play":
        pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")
    monkeypatch.chdir(tmp_path)
    path = str(special(tmp_path, kind))
    with processor_time_below(10 * ANSWER_S):  # the first one imports what the command needs
        code = main([word.format(path) if "{" in word else word for word in COMMANDS[command]])
    err = capsys.readouterr().err
    assert code in (1, 2) and "Traceback" not in err
    assert any(line.startswith("sparse_recon: ") for line in err.splitlines()), err
    assert WORDS[kind] in err or "is missing" in err or "missing:" in err or "no folder" in err, err


def test_device_and_pipe_in_a_recording_cost_only_themselves(tmp_path: Path):
    write_frames(good_frames(), tmp_path / "bag", world_frame="world")
    os.mkfifo(tmp_path / "bag" / "bag_1.mcap")
    (tmp_path / "bag" / "bag_2.db3").symlink_to("/dev/zero")
    (tmp_path / "bag" / "bag_3.mcap").symlink_to("bag_3.mcap")
    (tmp_path / "bag" / "metadata.yaml").unlink()
    os.mkfifo(tmp_path / "bag" / "metadata.yaml")
    with Bag(tmp_path / "bag") as bag:
        assert len(list(bag.serialised(bag.types))) == 14
        assert "named pipe" in bag.damage and "device" in bag.damage and "leads to itself" in bag.damage
        assert "metadata.yaml" in bag.note


def test_more_files_than_a_process_may_open_are_read(tmp_path: Path):
    write_frames(good_frames(1), tmp_path / "one", world_frame="world")
    (tmp_path / "bag").mkdir()
    for k in range(150):
        shutil.copy(tmp_path / "one" / "one.mcap", tmp_path / "bag" / f"bag_{k}.mcap")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, hard))
    try:
        with Bag(tmp_path / "bag") as bag:
            assert bag.counts["/camera/color/image_raw"] == 150
            assert len(list(bag.serialised(["/camera/color/image_raw"]))) == 150
            assert not bag.damage
            FrameReader(bag)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("name", ["bag_²", "²", "٣", "1²3", "x", "", "10" * 100])
def test_any_name_has_its_place(name: str):
    assert sorted([Path("bag_10"), Path(name), Path("bag_9")], key=natural_order).index(Path("bag_9")) < 2
