"""Data sets that name what is not theirs, state sizes that no camera has, or more than there can be."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

from bags import layouts
from bags.test_foxglove import Writer
from fuzz.bag_bytes import MEGABYTE, good_frames
from fuzz.bounded import ANSWER_S
from fuzz.ingest_world import memory_growth
from processor_time import processor_time_below

from sparse_recon.bags.folders import open_folder
from sparse_recon.bags.reader import Bag
from sparse_recon.cli.output_folder import BAG_NAME, foreign_content
from sparse_recon.cli.simulate import is_sample
from sparse_recon.errors import ErrorCode, InputError

OUTSIDE = ("../secret.png", "images/../../secret.png", "/etc/secret.png")


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["rgb.txt", "depth.txt", "file_path", "depth_file_path", "colmap"])
def test_files_outside_of_the_data_set_are_refused_by_name(tmp_path: Path, kind: str, name: str):
    frames = good_frames()[:2]
    if kind.endswith(".txt"):
        layouts.tum(tmp_path, frames)
        replaced(tmp_path / kind, f"{kind[:-4]}/1305031102", f"{name} ")
    elif kind == "colmap":
        layouts.colmap(tmp_path, frames)
        replaced(tmp_path / "sparse/0/images.txt", "view_1.png", name)
    else:
        layouts.nerfstudio(tmp_path, frames)
        replaced(tmp_path / "transforms.json", f'"{kind}": "', f'"{kind}": "{name}", "was": "')
    with pytest.raises(InputError, match=f"names '{name}', which lies outside of ") as caught:
        open_folder(tmp_path)
    assert caught.value.code is ErrorCode.FRAME_INVALID


def test_roundabout_whole_and_linked_names_inside_are_read(tmp_path: Path):
    folder = layouts.nerfstudio(tmp_path / "set", good_frames()[:2])
    replaced(folder / "transforms.json", "images/f_0.png", "./depths/../images/f_0.png")
    replaced(folder / "transforms.json", '"images/f_1.png', f'"{folder}/images/f_1.png')
    (folder / "images").rename(tmp_path / "elsewhere")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    assert len(list(open_folder(folder))) == 2


def test_a_name_that_one_suffix_makes_too_long_costs_its_frame(tmp_path: Path):
    frames = good_frames()[:2]
    folder = layouts.colmap(tmp_path / "colmap", frames)
    replaced(folder / "sparse/0/images.txt", "view_1.png", "v" * 300 + ".png")
    read = open_folder(folder)
    assert len(list(read)) == 1 and read.counts == {ErrorCode.INPUT_MISSING: 1}
    ours = layouts.seven_scenes(tmp_path / "scenes", frames)
    for path in sorted(ours.glob("frame-000001.*")):
        path.rename(ours / path.name.replace("frame-000001", "f" * (255 - len(".color.png"))))
    assert len(list(open_folder(ours, layout="3dmatch"))) == 2  # .labels.png would be a character too much


@pytest.mark.parametrize("size", ["64000000 48000010", f"64 {10**400}", "900000 900000"])
def test_a_camera_of_another_size_than_its_images_takes_no_memory(tmp_path: Path, size: str):
    folder = layouts.colmap(tmp_path, good_frames()[:2], points=0)
    replaced(folder / "sparse/0/cameras.txt", "64 48", size)
    with processor_time_below(ANSWER_S), memory_growth() as growth, pytest.raises(InputError):
        list(open_folder(folder))
    assert growth[0] < 100 * MEGABYTE


def test_object_ids_beyond_labels_are_told(tmp_path: Path):
    labels = np.ones((48, 64), np.int32)
    folder = layouts.bop(tmp_path, [replace(frame, labels=labels) for frame in good_frames()[:2]])
    truth = json.loads((folder / "scene_gt.json").read_text())
    next(items for items in truth.values() if items)[0]["obj_id"] = 10**12
    (folder / "scene_gt.json").write_text(json.dumps(truth))
    read = open_folder(folder)
    assert all(frame.labels is None for frame in read) and any("obj_id is larger" in note for note in read.notes)


@pytest.mark.parametrize("text", ['{"0": {}, "0": {}}', '{"0": {"depth_scale": NaN}}', "[" * 100_000])
def test_json_of_scenes_is_that_of_the_standard(tmp_path: Path, text: str):
    folder = layouts.bop(tmp_path, good_frames()[:1])
    (folder / "scene_camera.json").write_text(text)
    with pytest.raises(InputError, match="is not what BOP writes"):
        open_folder(folder)


@pytest.mark.parametrize(
    ("encoding", "schema", "data"),
    [
        ("protobuf", "FrameTransforms", b"\x0a\x00" * 2_000_000),
        ("protobuf", "CameraCalibration", b"\x32\x80\x80\x80\x04" + bytes(1 << 23)),
        ("json", "FrameTransforms", b'{"transforms":[' + b"[]," * 2_000_000 + b"[]]}"),
        ("json", "FrameTransforms", b'{"transforms":[' + b"[" * 100_000),
    ],
    ids=["empty transforms", "numbers", "empty lists", "deep lists"],
)
def test_messages_that_grow_are_left_out(
    tmp_path: Path, encoding: str, schema: str, data: bytes, caplog: pytest.LogCaptureFixture
):
    writer = Writer(tmp_path / "fox.mcap", encoding)
    for k in range(20):
        writer.put_bytes("/x", schema, 10 + k, data if k in (0, 1) else b"\xff")
    writer.close()
    caplog.set_level(logging.WARNING)
    with processor_time_below(2 * ANSWER_S), memory_growth() as growth, Bag(tmp_path / "fox.mcap") as bag:
        assert list(bag.serialised(bag.types)) == []
    assert growth[0] < 100 * MEGABYTE
    assert 1 <= len(caplog.records) <= 3  # of 20 or 40 that cannot be read


def test_pipes_beside_older_results_are_not_waited_for(tmp_path: Path):
    bag = tmp_path / BAG_NAME
    bag.mkdir()
    os.mkfifo(bag / "metadata.yaml")
    assert not is_sample(bag)
    assert foreign_content(tmp_path) == [bag]
