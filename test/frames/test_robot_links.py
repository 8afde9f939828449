"""The robot's own links are taken out of frames: by its description and its transforms, or by its label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from messages_rig import MS, T0, Rig
from scenes import around, block
from scipy.spatial.transform import Rotation

from sparse_recon.config.input_config import RobotConfig
from sparse_recon.config.session_config import load_config
from sparse_recon.errors import ConfigError, SparseReconError
from sparse_recon.frames.robot_links import RobotMask, link_boxes
from sparse_recon.geometry.cameras import unproject_depth
from sparse_recon.geometry.poses import pose, transform_points
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact
from sparse_recon.lab.simulate.virtual_cameras import depth_camera

HAND = pose(Rotation.from_euler("z", 30, degrees=True).as_matrix(), (0.02, 0.2, 0.0))
URDF = """<robot name="arm">
  <link name="hand">
    <collision><origin xyz="0 0 0.05" rpy="0 0 0"/><geometry><box size="0.08 0.06 0.1"/></geometry></collision>
  </link>
  <link name="eye"><visual><geometry><sphere radius="1"/></geometry></visual></link>
</robot>"""


def frame():
    """A block that is the robot's hand, as `hand` of URDF, and another one."""
    return record(
        scene_of([block(), block()], [HAND, pose(np.eye(3), (0.0, 0.0, 0.0))]),
        around(1, distance_m=0.75, first_deg=-60.0),
        sensor=exact(SENSORS["clean"]),
        intrinsics=depth_camera(320, 240),
    ).frames[0]


def mask(urdf: str = URDF, **config) -> RobotMask:
    return RobotMask.of(RobotConfig(description=urdf, **config))


def pixels(labels, value: int, depth_m) -> int:
    return int(np.count_nonzero((labels == value) & (depth_m > 0)))


def test_what_is_in_a_links_box_is_neither_measured_nor_labelled():
    seen = frame()
    out = mask().taken_out(seen, {"hand": HAND})
    assert pixels(seen.labels, 1, seen.depth_m) > 200
    assert pixels(seen.labels, 1, out.depth_m) == 0 and not (out.labels == 1).any()
    assert pixels(seen.labels, 2, out.depth_m) == pixels(seen.labels, 2, seen.depth_m)
    # Of the table only what is beside the hand: within the padding of the box.
    gone = np.isfinite(seen.depth_m) & np.isnan(out.depth_m) & (seen.labels == 0)
    points = transform_points(seen.T_world_cam, unproject_depth(seen.depth_m, seen.intrinsics, gone))
    in_hand = np.linalg.inv(HAND) @ np.c_[points, np.ones(len(points))].T
    assert np.all(np.abs(in_hand[:3].T - (0, 0, 0.05)) <= np.array([0.04, 0.03, 0.05]) + 0.0201)


def test_what_stands_before_or_behind_a_link_is_measured():
    seen = frame()
    nearer = replace(seen, depth_m=np.where(seen.labels == 1, seen.depth_m - np.float32(0.15), seen.depth_m))
    out = mask().taken_out(nearer, {"hand": HAND})
    assert pixels(seen.labels, 1, out.depth_m) == pixels(seen.labels, 1, nearer.depth_m)


def test_a_link_without_pose_and_one_that_is_left_in_stay():
    seen = frame()
    assert mask().taken_out(seen, {}) is seen
    assert not mask(left_in=("hand",))


def test_the_robots_label_is_taken_out():
    seen = frame()
    out = RobotMask.of(RobotConfig(label=1)).taken_out(seen, {})
    assert pixels(seen.labels, 1, out.depth_m) == 0 and not (out.labels == 1).any() and (out.labels == 2).any()


def test_every_shape_has_its_box(tmp_path: Path):
    trimesh.creation.box((0.1, 0.2, 0.3)).apply_translation((1.0, 0.0, 0.0)).export(tmp_path / "part.stl")
    shapes = {
        '<box size="1 2 3"/>': (1, 2, 3),
        '<sphere radius="0.5"/>': (1, 1, 1),
        '<cylinder radius="0.1" length="0.7"/>': (0.2, 0.2, 0.7),
        f'<mesh filename="file://{tmp_path}/part.stl" scale="1 1 2"/>': (0.1, 0.2, 0.6),
    }
    for shape, size_m in shapes.items():
        origin = '<origin xyz="0 0 1" rpy="1.5707963267948966 0 0"/>'
        text = f'<robot><link name="a"><collision>{origin}<geometry>{shape}</geometry></collision></link></robot>'
        (found,) = link_boxes(text)
        assert not isinstance(found, str)
        np.testing.assert_allclose(found.size_m, size_m, atol=1e-6)
        offset = (1.0, 0.0, 0.0) if "mesh" in shape else (0.0, 0.0, 0.0)
        np.testing.assert_allclose(found.T_link_box[:3, 3], np.add(offset, (0, 0, 1)), atol=1e-6)
        np.testing.assert_allclose(found.T_link_box[:3, :3] @ (0, 1, 0), (0, 0, 1), atol=1e-6)


def test_a_mesh_of_a_package_is_found(tmp_path: Path, monkeypatch):
    folder = tmp_path / "share" / "arm_description" / "meshes"
    folder.mkdir(parents=True)
    trimesh.creation.box((0.1, 0.2, 0.3)).export(folder / "part.stl")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path}")
    mesh = '<mesh filename="package://arm_description/meshes/part.stl"/>'
    (found,) = link_boxes(f'<robot><link name="a"><collision><geometry>{mesh}</geometry></collision></link></robot>')
    assert not isinstance(found, str)
    np.testing.assert_allclose(found.size_m, (0.1, 0.2, 0.3), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ('<mesh filename="package://nobody/part.stl"/>', "no package of AMENT_PREFIX_PATH"),
        ('<mesh filename="http://example.org/part.stl"/>', "not a file"),
        ('<box size="1 2"/>', "not 3 numbers"),
        ('<box size="1 2 -3"/>', "size"),
        ("<sphere/>", "size"),
        ('<cone radius="1"/>', "cone"),
        ("", "no geometry"),
    ],
)
def test_a_shape_without_a_box_is_told_and_the_others_count(shape, said):
    text = f"""<robot><link name="odd"><collision><geometry>{shape}</geometry></collision></link>
      <link name="good"><collision><geometry><sphere radius="0.1"/></geometry></collision></link></robot>"""
    found = mask(text)
    assert found.links == ("good",)
    (problem,) = found.problems
    assert "link odd" in problem and said in problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<robot>", "not XML"),
        ("<sdf/>", "root element"),
        ('<!DOCTYPE r [<!ENTITY a "b">]><robot/>', "entities"),
        ("/nowhere/robot.urdf", "names no file"),
        ("<robot>" + " " * 5_000_001, "characters"),
    ],
)
def test_what_is_no_description_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        mask(text)


def test_a_description_may_be_a_file(tmp_path: Path):
    (tmp_path / "arm.urdf").write_text(URDF)
    assert mask(str(tmp_path / "arm.urdf")).links == ("hand",)


def push(rig: Rig, ms: int, x: float) -> None:
    rig.assembler.push_transform("world", "hand", T0 + ms * MS, pose(np.eye(3), (x, 0.0, 0.0)))


def sphere() -> RobotMask:
    shape = '<collision><geometry><sphere radius="0.2"/></geometry></collision>'
    return mask(f'<robot><link name="hand">{shape}</link></robot>', padding_m=0.0)


def test_a_frame_waits_for_the_pose_of_a_link_at_its_stamp():
    rig = Rig(robot=sphere())
    rig.info()
    for ms in (0, 200):
        rig.tf(ms)
    push(rig, 0, 0.0)
    rig.both(100)
    rig.both(150)
    assert rig.frames == []
    push(rig, 200, 0.0)
    rig.both(180)
    assert rig.stamps_ms()[0] == 100


def test_frames_do_not_wait_for_links_that_nobody_moves_and_it_is_told():
    rig = Rig(robot=sphere())
    rig.info()
    for ms in (0, 200):
        rig.tf(ms)
    rig.both(100)
    rig.both(150)
    rig.finish()
    assert rig.stamps_ms() == [100, 150]
    (note,) = rig.assembler.transform_notes()
    assert "link hand of the robot stays in 2 frame(s)" in note and "hand" in note


def test_parameters_name_the_description():
    assert load_config({"robot.description": URDF, "robot.padding_m": 0.01}).robot.padding_m == 0.01
    with pytest.raises(SparseReconError):
        load_config({"robot.padding_m": -1.0})
