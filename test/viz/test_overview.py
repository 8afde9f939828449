"""The overview is written whole, the same for the same input, and shows every object."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.geometry.near import moved_frame, put_into_world
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import CompletedObject, Frame, OrientedBox, QualityRecord, TriangleMesh
from sparse_recon.viz.overview import overview
from sparse_recon.viz.sheet import OBJECT_COLORS, confidence_colors

FRAME = Frame(
    np.full((120, 160, 3), 128, np.uint8), None, depth_camera(160, 120), look_at((0.5, 0, 0.3), (0, 0, 0)), 10**9
)


def completed(name: str = "object_0", x_m: float = 0.0, warnings: tuple[str, ...] = ()) -> CompletedObject:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.06)
    points = (ball.vertices + np.array((x_m, 0.0, 0.0))).astype(np.float32)
    mesh = TriangleMesh(points, ball.faces.astype(np.int32), watertight=True)
    provenance = np.where(ball.vertices[:, 0] > 0, 1, 2).astype(np.uint8)
    quality = QualityRecord(
        *(1, 0.5, 0.0, 0.7, 0.004, True, True, False), {"fuse": 0.5}, 10**8, "hash", warnings=warnings
    )
    return CompletedObject(
        *(name, "map", 10**9, "carve", 0, points, ball.vertices.astype(np.float32)),
        *(np.full((len(points), 3), 90, np.uint8), np.linspace(0, 1, len(points), dtype=np.float32), provenance),
        *(points[provenance == 1], mesh, mesh, np.ones(len(points), np.float32)),
        *(OrientedBox(pose(np.eye(3), (x_m, 0, 0)), np.full(3, 0.12)), quality),
    )


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def near(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(image - color).max(axis=2) <= 2).sum())


def test_every_object_adds_one_row_with_both_provenances(tmp_path: Path) -> None:
    for count in (1, 2):
        overview([FRAME], [completed(f"object_{i}", 0.2 * i) for i in range(count)], tmp_path / f"{count}.png")
    one, two = picture(tmp_path / "1.png"), picture(tmp_path / "2.png")
    assert one.shape[1] == two.shape[1] and two.shape[0] - one.shape[0] > 380
    for color in ((47, 110, 186), (236, 140, 52)):
        assert near(two, color) > 1.5 * near(one, color) > 1000


def test_frame_without_labels_is_outlined_by_the_completed_surface(tmp_path: Path) -> None:
    overview([FRAME], [completed()], tmp_path / "surface.png")
    overview([FRAME], [], tmp_path / "none.png")
    assert near(picture(tmp_path / "surface.png")[:360], OBJECT_COLORS[0]) > 20  # the thumbnail is blurred
    assert near(picture(tmp_path / "none.png")[:360], OBJECT_COLORS[0]) == 0


def test_frame_with_labels_is_outlined_by_them(tmp_path: Path) -> None:
    labels = np.zeros((120, 160), np.int32)
    labels[20:60, 30:90] = 4
    overview([dataclasses.replace(FRAME, labels=labels)], [completed()], tmp_path / "labels.png")
    rows, columns = np.nonzero(np.abs(picture(tmp_path / "labels.png")[:350] - OBJECT_COLORS[0]).max(axis=2) < 30)
    # Thumbnail of 160x120 at 373x280 pixels from (28, 84).
    assert abs(rows.min() - (84 + 20 * 280 / 120)) < 6 and abs(columns.max() - (28 + 90 * 373 / 160)) < 6


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        overview([FRAME], [completed(warnings=("a rather long warning " * 8,))], tmp_path / name, title="Two runs")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_picture_far_from_the_origin_is_the_same(tmp_path: Path) -> None:
    far_m = np.array([99_000.0, -60_000.0, 412.0])
    overview([FRAME], [completed()], tmp_path / "near.png")
    overview([moved_frame(FRAME, far_m)], [put_into_world(completed(), far_m)], tmp_path / "far.png")
    assert (tmp_path / "far.png").read_bytes() == (tmp_path / "near.png").read_bytes()


def test_result_without_frames_and_without_observed_points_is_drawn(tmp_path: Path) -> None:
    alone = dataclasses.replace(completed(), observed_points_world=np.zeros((0, 3), np.float32))
    overview([], [alone], tmp_path / "alone.png", notes={"object_0": {"Chamfer": "1.2 mm"}})
    assert picture(tmp_path / "alone.png").std() > 5


def test_unwritable_folder_is_an_error_with_a_code(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match="cannot be written") as caught:
        overview([FRAME], [], tmp_path / "file" / "overview.png")
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE


def test_nothing_but_the_picture_is_left_behind(tmp_path: Path) -> None:
    overview([FRAME], [], tmp_path / "overview.png")
    assert [p.name for p in tmp_path.iterdir()] == ["overview.png"]


def test_confidence_colours_rise_in_brightness() -> None:
    brightness = confidence_colors(np.linspace(0, 1, 30)).astype(float) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(brightness) > 0).all()
