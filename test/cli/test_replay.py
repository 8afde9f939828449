"""Replay of a recording: results, refusals, damage, and Ctrl-C in a real process."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edited_bags import edited
from transform_messages import serialised, store

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.bags.writer import OBJECTS_TOPIC
from sparse_recon.cli.main import main
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.frames.transform_bytes import TransformBytes
from sparse_recon.lab.simulate.recording import Recording
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Frame

FAST = ["--set", "evidence.grid=32", "--set", "evidence.fine_grid=48"]


def replay(bag: Path, out: Path, *arguments: str) -> int:
    return main(["replay", str(bag), "--out", str(out), *FAST, "--no-picture", *arguments])


def error_of(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)["error"]


def looped(source: Path, target: Path, passes: int) -> Path:
    """Record a bag that was played several times in a row: log times grow, stamps begin anew."""
    from rosbags.rosbag2 import Reader, StoragePlugin, Writer

    with Reader(source) as reader, Writer(target, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            c.id: writer.add_connection(c.topic, c.msgtype, msgdef=c.msgdef.data, rihs01=c.digest)
            for c in reader.connections
        }
        for k in range(passes):
            for connection, log_ns, data in reader.messages():
                writer.write(connections[connection.id], log_ns + k * 100 * 10**9, data)
    return target


def comparable(out: Path) -> dict[str, object]:
    files: dict[str, object] = {}
    for path in sorted(p for p in out.glob("object_*/**/*") if p.is_file()):
        name = str(path.relative_to(out))
        files[name] = path.read_bytes()
        if path.name == "quality.json":
            record = json.loads(path.read_text())
            del record["run"]
            files[name] = record
    return files


@pytest.fixture(scope="module")
def done(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("done")
    assert main(["replay", str(bag), "--out", str(out), *FAST]) == 0
    return out


def test_objects_and_bag_are_written(done: Path):
    objects = sorted(p.parent.name for p in done.glob("*/quality.json"))
    assert objects == ["object_0", "object_1"]
    assert all((done / name / "collision" / "conservative.stl").is_file() for name in objects)
    assert json.loads((done / "object_0" / "quality.json").read_text())["frame_id"] == "world"
    with Bag(done / "completed_bag") as bag:
        ((_, _, array),) = bag.messages([OBJECTS_TOPIC])
    assert [completed.object_id for completed in array.objects] == objects


def test_another_process_writes_the_same_bytes(bag: Path, done: Path, tmp_path: Path):
    command = [sys.executable, "-m", "sparse_recon.cli.main", "replay", str(bag), "--out", str(tmp_path / "out")]
    result = subprocess.run([*command, *FAST, "--no-picture"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "" and "object_0" in result.stderr
    assert comparable(tmp_path / "out") == comparable(done)


def test_json_has_the_numbers_of_the_files(bag: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replay(bag, tmp_path, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["exit_code"], report["frames_read"], report["frames_kept"]) == (0, 3, 3)
    stored = json.loads((done / "object_0" / "quality.json").read_text())
    assert report["objects"][0]["input_hash"] == stored["input_hash"]
    assert report["up_world"] == [0, 0, 1] and report["picture"] is None


def test_json_lists_every_file(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["replay", str(bag), "--out", str(tmp_path), "--json", "--max-objects", "1", *FAST]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["files"] == sorted(str(p) for p in tmp_path.rglob("*") if p.is_file())
    assert Path(report["picture"]).name == "overview.png" and len(report["objects"]) == 1


def test_earlier_results_are_kept_unless_told(bag: Path, done: Path, capsys: pytest.CaptureFixture[str]):
    before = comparable(done)
    assert replay(bag, done, "--json") == 2
    assert "--overwrite" in error_of(capsys)["message"]
    assert comparable(done) == before


@pytest.mark.parametrize("name", ["object_0/notes.txt", "box_0/notes.txt", "completed_bag/metadata.yaml"])
def test_folders_that_are_not_ours_are_kept_unless_told(
    bag: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
):
    place = tmp_path / name
    place.parent.mkdir()
    place.write_text("mine")
    assert replay(bag, tmp_path, "--json") == 2
    message = error_of(capsys)["message"]
    assert place.parent.name in message and "--overwrite" in message
    assert place.read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_overwrite_replaces_all_objects_of_the_earlier_run(bag: Path, done: Path, tmp_path: Path):
    shutil.copytree(done, tmp_path / "out")
    (tmp_path / "out" / "notes").mkdir()
    assert replay(bag, tmp_path / "out", "--overwrite", "--max-objects", "1") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "completed_bag",
        "notes",
        "object_0",
        "overview.png",
    ]
    assert (tmp_path / "out" / "object_0" / "mesh.ply").read_bytes() == (done / "object_0" / "mesh.ply").read_bytes()


def test_transforms_of_the_recording_are_in_the_result_bag(bag: Path, done: Path):
    with Bag(bag) as source, Bag(done / "completed_bag") as result:
        tf = ["/tf", "/tf_static"]
        assert sorted(result.serialised(tf)) == sorted(source.serialised(tf))


@pytest.fixture
def with_table_label(recording: Recording, tmp_path: Path) -> Path:
    """A recording whose segmentation took the table for an object."""
    frames = [replace(f, labels=np.where(f.labels == 0, 99, f.labels).astype(np.int32)) for f in recording.frames]
    write_frames(frames, tmp_path / "labelled", world_frame="world")
    return tmp_path / "labelled"


def test_a_refused_object_does_not_stop_the_others(
    with_table_label: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert replay(with_table_label, tmp_path / "out", "--json") == 0
    captured = capsys.readouterr()
    codes = {o["object_id"]: o["code"] for o in json.loads(captured.out)["objects"]}
    assert sorted(codes.values()) == ["OBJECT_TOO_LARGE", "OK", "OK"]
    assert captured.err.count("OBJECT_TOO_LARGE") == 1 and "Traceback" not in captured.err


def test_all_refused_is_said_in_one_line(with_table_label: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replay(with_table_label, tmp_path / "out", "--json", "--set", "segment.max_size_m=0.05") == 3
    captured = capsys.readouterr()
    assert "3 objects refused (OBJECT_TOO_LARGE): object_0, object_1, object_2" in captured.err
    assert len(json.loads(captured.out)["objects"]) == 3 and not (tmp_path / "out" / "completed_bag").exists()


@pytest.mark.parametrize(("words", "up"), [([], [0, 0, 0]), (["--up", "0", "0", "1"], [0, 0, 1])])
def test_up_is_unknown_where_the_world_is_a_camera(
    unlabelled: list[Frame], tmp_path: Path, words: list[str], up: list[float], capsys: pytest.CaptureFixture[str]
):
    write_frames(unlabelled, tmp_path / "bag", world_frame="first_optical_frame")
    assert replay(tmp_path / "bag", tmp_path / "out", "--json", "--max-objects", "1", *words) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["up_world"] == up
    assert ("first_optical_frame is a camera's optical frame" in captured.err) == (up == [0, 0, 0])


def test_world_frame_that_is_the_camera_itself(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    frame = ["--world-frame", "camera_color_optical_frame", "--max-frames", "1", "--max-objects", "1"]
    assert replay(bag, tmp_path, "--json", *frame) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["world_frame"], report["up_world"]) == ("camera_color_optical_frame", [0, 0, 0])


def test_box_in_the_frame_of_the_robot(bag: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    record = json.loads((done / "object_0" / "quality.json").read_text())
    centre = np.array(record["box"]["T_world_box"])[:3, 3]
    box = [f"{v:.4f}" for v in (*centre, *[1.2 * max(record["box"]["size_m"])] * 3)]
    assert replay(bag, tmp_path / "world", "--json", "--box", *box) == 0
    near = json.loads(capsys.readouterr().out)["objects"][0]["box"]["T_world_box"]
    assert np.linalg.norm(np.array(near)[:3, 3] - centre) < 0.05
    assert replay(bag, tmp_path / "base", "--json", "--box", *box, "--box-frame", "no_such_frame") == 1
    assert error_of(capsys)["name"] == "TF_FRAME_UNKNOWN"


def test_box_where_nothing_is_is_refused(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replay(bag, tmp_path, "--json", "--box", "0", "0", "9", "0.1", "0.1", "0.1") == 3
    (refused,) = json.loads(capsys.readouterr().out)["objects"]
    assert refused["code"].startswith("OBJECT_") and refused["message"]
    assert list(tmp_path.iterdir()) == []


def test_max_frames(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replay(bag, tmp_path, "--json", "--max-frames", "2") == 0
    assert json.loads(capsys.readouterr().out)["frames_read"] == 2


def test_unknown_topic(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replay(bag, tmp_path, "--json", "--topics", "color=/camera/color/image_rav") == 2
    error = error_of(capsys)
    assert error["name"] == "TOPIC_UNKNOWN" and "/camera/color/image_raw" in error["message"]


def test_missing_bag(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replay(tmp_path / "nothing", tmp_path / "out", "--json") == 2
    assert error_of(capsys)["name"] == "INPUT_MISSING"
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "out").write_text("a file")
    assert replay(bag, tmp_path / "out", "--json") == 1
    assert error_of(capsys)["name"] == "OUTPUT_UNWRITABLE"


def test_cut_recording_gives_objects_and_exit_code_1(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    whole = next(bag.glob("*.mcap")).read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: int(len(whole) * 0.8)])
    assert replay(tmp_path / "cut.mcap", tmp_path / "out", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["frames_read"] == 2 and "is damaged" in report["damage"]
    assert (tmp_path / "out" / "object_0" / "mesh.ply").is_file()


def test_looped_recording_uses_the_last_pass_only(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = looped(bag, tmp_path / "looped", passes=2)
    words = ["--max-objects", "1", "--set", "assembly.jump_back_s=0.05"]  # three frames last less than a second
    assert replay(path, tmp_path / "out", "--json", *words) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["restarts"], report["frames_read"], report["frames_kept"]) == (1, 6, 3)
    assert captured.err.count("time jumped back (1 x)") == 1


def test_frames_that_show_nothing_new_are_left_unread(
    unlabelled: list[Frame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    frames = [
        replace(f, stamp_ns=10**9 * (10 * (k + 1)) + step * 10**8)  # the camera rests at each pose for 1.4 s
        for k, f in enumerate(unlabelled)
        for step in range(15)
    ]
    write_frames(frames, tmp_path / "bag", world_frame="world")
    assert replay(tmp_path / "bag", tmp_path / "out", "--json", "--max-objects", "1") == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    kept = 2 * len(unlabelled)  # once on arrival, and again a second later
    assert (report["frames_read"], report["frames_kept"]) == (kept, kept)
    assert report["frames_unneeded"] == len(frames) - kept and "left unread" in captured.err


def test_depth_without_a_valid_pixel(unlabelled: list[Frame], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    frames = [replace(f, depth_m=np.full_like(f.depth_m, np.nan)) for f in unlabelled]
    write_frames(frames, tmp_path / "bag", world_frame="world")
    assert replay(tmp_path / "bag", tmp_path / "out", "--json") == 3
    error = error_of(capsys)
    assert error["name"] == "NO_FRAMES" and "3 x DEPTH_EMPTY" in error["message"]


def hear_interrupts() -> None:
    """Undo what nohup and background shells do: a child inherits that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started_replay(bag: Path, out: Path, *words: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "sparse_recon.cli.main",
        "replay",
        str(bag),
        "--out",
        str(out),
        "--json",
        *FAST,
        "--no-picture",
        *words,
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


def wait_for(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not happened() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [("reading", signal.SIGINT, 130), ("completing", signal.SIGINT, 130), ("completing", signal.SIGTERM, 143)],
)
def test_interrupt_ends_cleanly_and_keeps_what_is_finished(
    bag: Path, tmp_path: Path, moment: str, number: signal.Signals, code: int
):
    out = tmp_path / "out"
    process = started_replay(bag, out)
    wait_for(process, (out if moment == "reading" else out / "object_0" / "quality.json").exists)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr and "what was finished stays" in stderr
    assert json.loads(stdout)["error"]["name"] == "CANCELLED"
    left = sorted(p.name for p in out.iterdir())
    assert left == ([] if moment == "reading" else ["completed_bag", "object_0"])
    if moment == "completing":
        assert (out / "object_0" / "mesh.glb").stat().st_size > 1000
        with Bag(out / "completed_bag") as written:
            ((_, _, array),) = written.messages([OBJECTS_TOPIC])
        assert [completed.object_id for completed in array.objects] == ["object_0"]


def test_interrupt_leaves_an_older_whole_bag_alone_and_other_runs_wait_for_the_end(
    bag: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    older = {path.name: path.read_bytes() for path in (out / "completed_bag").iterdir()}
    before_ns = (out / "object_0" / "quality.json").stat().st_mtime_ns
    process = started_replay(bag, out, "--overwrite")
    wait_for(process, lambda: (out / "object_0" / "quality.json").stat().st_mtime_ns != before_ns)
    process.send_signal(signal.SIGSTOP)
    assert replay(bag, out, "--overwrite", "--json") == 1
    error = error_of(capsys)
    assert error["name"] == "BUSY" and "another run writes results into" in error["message"]
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 130 and "is still that of an earlier run" in stderr
    assert {path.name: path.read_bytes() for path in (out / "completed_bag").iterdir()} == older
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in done.iterdir())


def test_what_was_not_read_or_used_is_in_every_result(
    bag: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The same recording beside the transforms of another robot, and with a link of two clocks."""
    from rosbags.rosbag2 import Reader, StoragePlugin, Writer

    still = np.eye(4)
    with Reader(bag) as reader, Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            c.id: writer.add_connection(c.topic, c.msgtype, msgdef=c.msgdef.data, rihs01=c.digest)
            for c in reader.connections
        }
        (tf,) = (connections[c.id] for c in reader.connections if c.topic == "/tf")
        other = writer.add_connection("/robot2/tf", tf.msgtype, typestore=store())
        children = set()
        for connection, log_ns, data in reader.messages():
            writer.write(connections[connection.id], log_ns, data)
            if connection.topic == "/tf":
                children |= {child.decode() for _, child, *_ in TransformBytes(bytes(data))}
                for stamp_ns in (log_ns, 5):
                    writer.write(tf, log_ns, serialised([("world", "marker", stamp_ns, still)]))
        writer.write(other, log_ns, serialised([("elsewhere", child, log_ns, still) for child in children]))
    assert replay(tmp_path / "bag", tmp_path / "out") == 0
    told = capsys.readouterr().err
    for name in ("object_0", "object_1"):
        record = json.loads((tmp_path / "out" / name / "quality.json").read_text())
        before = json.loads((done / name / "quality.json").read_text())
        assert record["box"] == before["box"]
        assert any("/robot2/tf were not read" in warning for warning in record["warnings"])
        assert any("world -> marker" in warning and "older" in warning for warning in record["warnings"])
    assert "/robot2/tf were not read" in told


DEPTH = "/camera/aligned_depth_to_color/image_raw"


def beside_colour(topic: str, message: object) -> list[tuple[str, object]]:
    if topic == DEPTH:
        message.header.frame_id = "camera_depth_optical_frame"  # type: ignore[attr-defined]
    return [(topic, message)]


def test_depth_of_another_frame_without_its_camera_info_is_refused(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    edited(bag, tmp_path / "bag", beside_colour)
    assert replay(tmp_path / "bag", tmp_path / "out", "--json") == 3
    message = error_of(capsys)["message"]
    assert "INTRINSICS_INVALID" in message and "camera_color_optical_frame" in message
    assert "camera_depth_optical_frame" in message and "assembly.depth_is_registered" in message
    said = ("--set", "assembly.depth_is_registered=true", "--max-objects", "1")
    assert replay(tmp_path / "bag", tmp_path / "out", "--json", *said) == 0


def box_of(folder: Path) -> np.ndarray:
    """Return centre and size in metres of a result."""
    box = json.loads((folder / "quality.json").read_text())["box"]
    return np.array([*np.array(box["T_world_box"])[:3, 3], *box["size_m"]])


def in_unit(unit_m: float, encoding: str) -> Callable[[str, object], list[tuple[str, object]]]:
    """Return an edit that gives depth in another unit."""

    def edit(topic: str, message: object) -> list[tuple[str, object]]:
        if topic == DEPTH:
            millimetres = np.frombuffer(message.data, "<u2")  # type: ignore[attr-defined]
            dtype = "<u2" if encoding == "16UC1" else "<f4"
            data = np.round(millimetres * (0.001 / unit_m)).astype(dtype)
            message.encoding, message.data = encoding, data.view(np.uint8)  # type: ignore[attr-defined]
            message.step = len(message.data) // message.height  # type: ignore[attr-defined]
        return [(topic, message)]

    return edit


@pytest.mark.parametrize(("unit_m", "encoding"), [(0.00025, "16UC1"), (0.0001, "16UC1"), (0.001, "32FC1")])
def test_depth_of_another_unit_is_told_and_read_with_the_parameter(
    bag: Path, done: Path, tmp_path: Path, unit_m: float, encoding: str, capsys: pytest.CaptureFixture[str]
):
    edited(bag, tmp_path / "bag", in_unit(unit_m, encoding))
    assert replay(tmp_path / "bag", tmp_path / "out", "--json", "--set", "depth.far_m=4.0") == 3
    message = error_of(capsys)["message"]
    assert "depth.unit_m" in message and "median" in message and encoding in message
    assert replay(tmp_path / "bag", tmp_path / "out", "--set", f"depth.unit_m={unit_m}") == 0
    for name in ("object_0", "object_1"):
        read, true = (box_of(out / name) for out in (tmp_path / "out", done))
        np.testing.assert_allclose(read, true, atol=1e-3)  # half a count of rounding moves nothing by a millimetre


def test_topics_that_were_recorded_without_a_message_are_passed_over(bag: Path, tmp_path: Path):
    images = "sensor_msgs/msg/Image"
    packed = tmp_path / "packed"
    with Bag(bag) as source:
        write_frames(FrameReader(source), packed, world_frame="world", compressed=True)
    raw = {"/camera/color/image_raw": images, DEPTH: images}
    edited(packed, tmp_path / "bag", lambda topic, message: [(topic, message)], empty=raw)
    assert replay(tmp_path / "bag", tmp_path / "out", "--max-objects", "1") == 0


def test_a_camera_that_moves_while_its_driver_alone_has_transforms_is_told(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Depth of a table that a camera turns about looks alike from all sides; the images do not."""
    rng = np.random.default_rng(0)
    still = recording.frames[0].T_world_cam
    wall = rng.integers(0, 256, (240, 420, 3), dtype=np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    carried = [
        replace(
            frame,
            rgb=wall[:240, 20 * k : 20 * k + 320],
            labels=None,
            T_world_cam=still,
            depth_m=np.full((240, 320), 0.7, np.float32),
        )
        for k, frame in enumerate([recording.frames[0]] * 3)
    ]
    carried = [replace(frame, stamp_ns=frame.stamp_ns + 10**10 * k) for k, frame in enumerate(carried)]
    write_frames(carried, tmp_path / "bag", world_frame="world")
    assert replay(tmp_path / "bag", tmp_path / "out", "--json") == 3
    message = error_of(capsys)["message"]
    assert "3 frames have one pose" in message and "odometry" in message


def test_what_is_not_listed_is_told_and_in_every_result(
    bag: Path, unlabelled: list[Frame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    session = CompletionSession(SessionConfig(world_frame="world"))
    for frame in unlabelled:
        session.add_frame(frame)
    smaller, larger = sorted(float(item.box.size_m.max()) for item in session.objects())
    limit = f"segment.max_size_m={0.5 * (smaller + larger):.3f}"
    assert replay(bag, tmp_path, "--json", "--set", limit) == 0
    out, err = capsys.readouterr()
    (told,) = (item for item in json.loads(out)["not_listed"] if item["reason"] == "too_large")
    assert f"not listed: {told['sentence']}" in err
    assert told["figure"] > told["limit"] and max(told["box"]["size_m"]) == pytest.approx(larger, abs=0.02)
    (record,) = (json.loads(path.read_text()) for path in tmp_path.glob("*/quality.json"))
    assert told in record["rejected"] and 0.5 < record["score"] <= 1.0 and record["cut_by_image"] is False


def test_where_nothing_is_listed_it_is_said_why(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replay(bag, tmp_path, "--json", "--set", "segment.min_score=1.0") == 3
    message = error_of(capsys)["message"]
    assert "a thing of 0." in message and "less than segment.min_score, 1" in message


def test_objects_beyond_the_largest_number_are_counted(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replay(bag, tmp_path, "--json", "--max-objects", "1") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["not_completed"] == 1
    assert "not completed: 1 more objects than max_objects, 1" in err
