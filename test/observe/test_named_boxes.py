"""Names of boxes last while boxes move a little, come and go."""

from __future__ import annotations

import numpy as np

from sparse_recon.geometry.poses import pose
from sparse_recon.observe.named_boxes import MAX_NAMES, NamedBoxes
from sparse_recon.types import OrientedBox


def box(x: float, edge_m: float = 0.1) -> OrientedBox:
    return OrientedBox(pose(np.eye(3), (x, 0, 0)), np.array([edge_m, 0.05, 0.05]))


def test_this_very_box_keeps_its_name_and_a_near_one_gets_another():
    boxes = NamedBoxes("box")
    assert [boxes.name(b) for b in (box(0), box(1), box(0), box(0.001))] == ["box_0", "box_1", "box_0", "box_2"]


def test_what_is_this_very_box_does_not_depend_on_where_it_is():
    boxes = NamedBoxes("box")
    assert [boxes.name(b) for b in (box(900), box(900.001), box(900))] == ["box_0", "box_1", "box_0"]


def test_near_boxes_keep_their_names_in_any_order():
    boxes = NamedBoxes("box")
    assert boxes.names([box(0), box(1), box(2)]) == ["box_0", "box_1", "box_2"]
    assert boxes.names([box(2.04), box(0.04), box(0.96)]) == ["box_2", "box_0", "box_1"]
    assert boxes.get("box_2").T_world_box[0, 3] == 2.04


def test_half_of_the_smaller_box_is_the_limit():
    boxes = NamedBoxes("box")
    boxes.names([box(0)])
    assert boxes.names([box(0.04, edge_m=0.06)]) == ["box_1"]


def test_nearest_box_gets_the_name_when_two_compete():
    boxes = NamedBoxes("box")
    boxes.names([box(0)])
    assert boxes.names([box(0.03), box(0.01)]) == ["box_1", "box_0"]


def test_moving_on_in_small_steps_keeps_the_name():
    boxes = NamedBoxes("box")
    names = {boxes.names([box(0.04 * step)])[0] for step in range(10)}
    assert names == {"box_0"}


def test_names_unused_for_longest_are_forgotten_and_never_given_again():
    boxes = NamedBoxes("box")
    for i in range(MAX_NAMES):
        boxes.name(box(i))
    boxes.name(box(0))  # used again
    assert boxes.name(box(-1)) == f"box_{MAX_NAMES}"
    assert boxes.get("box_1") is None and boxes.get("box_0") is not None
    assert boxes.name(box(1)) == f"box_{MAX_NAMES + 1}"
