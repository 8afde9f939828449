"""Discovery is judged by pixels: found, missed, merged, split, phantom and hidden, each in a scene of its own."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.lab.evaluate.captures.discovery import discovery
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import Frame

NAMES = ("mug", "can")


def frame(stamp_ns: int = 1) -> Frame:
    rgb, depth_m = np.zeros((60, 80, 3), np.uint8), np.full((60, 80), 0.8, np.float32)
    return Frame(rgb, depth_m, depth_camera(80, 60), np.eye(4), stamp_ns)


def painted(*rectangles: tuple[int, int, int, int, int]) -> np.ndarray:
    labels = np.zeros((60, 80), np.int32)
    for value, top, left, height, width in rectangles:
        labels[top : top + height, left : left + width] = value
    return labels


TRUE = painted((1, 10, 10, 20, 20), (2, 10, 40, 20, 20))


def found(**masks: np.ndarray):
    return discovery([frame()], [TRUE], NAMES, {name: {("camera", 1): mask > 0} for name, mask in masks.items()})


def test_results_that_cover_one_object_each_are_matched():
    seen = found(a=painted((1, 11, 10, 19, 20)), b=painted((1, 10, 40, 20, 20)))
    assert seen.matched == {"mug": "a", "can": "b"}
    assert seen.iou == {"mug": pytest.approx(0.95), "can": 1.0}
    assert (seen.missed, seen.split, seen.merged, seen.phantoms, seen.hidden) == ((), (), (), (), ())


def test_one_result_over_both_is_merged_and_neither_found_nor_missed():
    seen = found(both=painted((1, 10, 10, 20, 50)))
    assert seen.merged == ("both",)
    assert seen.matched == {} and seen.missed == ()


def test_an_object_that_no_result_has_is_missed_and_a_result_on_none_is_a_phantom():
    seen = found(a=painted((1, 10, 10, 20, 20)), bump=painted((1, 45, 40, 10, 20)))
    assert seen.missed == ("can",) and seen.phantoms == ("bump",)
    assert seen.in_view == 2


def test_two_halves_are_a_split_object_that_is_not_found():
    seen = found(left=painted((1, 10, 10, 20, 9)), right=painted((1, 10, 19, 20, 9)), b=painted((1, 10, 40, 20, 20)))
    assert seen.split == ("mug",) and "mug" not in seen.matched and seen.missed == ()


def test_where_more_stands_than_is_named_nothing_is_a_phantom():
    mask = {"bump": {("camera", 1): painted((1, 45, 40, 10, 20)) > 0}}
    assert discovery([frame()], [TRUE], NAMES, mask, complete=False).phantoms == ()


def test_pixels_without_depth_count_for_nobody_and_an_object_of_few_is_hidden():
    dark = frame()
    dark.depth_m[:, 35:] = np.nan
    seen = discovery([dark], [TRUE], NAMES, {"a": {("camera", 1): TRUE == 1}})
    assert seen.hidden == ("can",) and seen.in_view == 1 and seen.matched == {"mug": "a"}


def test_frames_count_together():
    frames = [frame(1), frame(2)]
    masks = {"a": {("camera", 1): TRUE == 1}}  # not seen to be there in the second frame
    seen = discovery(frames, [TRUE, TRUE], NAMES, masks)
    assert seen.iou["mug"] == pytest.approx(0.5)
