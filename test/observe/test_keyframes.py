"""The few frames that add most."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scenes import around, recording

from sparse_recon.config.observation_config import KeyframeConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.observe.keyframes import ObjectObservation, most_redundant, select_keyframes, sharpness
from sparse_recon.observe.regions import LabelRegion
from sparse_recon.observe.views import collect_views

CONFIG = KeyframeConfig()
FRAME = recording("ball", 4).frames[0]
UP = np.array([0.0, 0.0, 1.0])


def seen(azimuth_deg: float, visible_voxels=range(100), sharp: float = 1.0) -> ObjectObservation:
    a = np.deg2rad(azimuth_deg)
    direction = np.array([np.cos(a), np.sin(a), 0.0])
    return ObjectObservation(FRAME, FRAME.labels == 1, np.array(visible_voxels, np.int64), direction, sharp)


def test_new_directions_come_before_more_of_the_same():
    frames = [seen(0), seen(2), seen(4), seen(120), seen(240)]
    assert set(select_keyframes(frames, 3, CONFIG)) == {0, 3, 4}


def test_newly_seen_surface_comes_before_known_surface():
    frames = [seen(0, range(100)), seen(60, range(10, 100)), seen(60, range(100, 180))]
    assert select_keyframes(frames, 2, CONFIG) == [0, 2]


def test_not_more_than_max_views():
    assert len(select_keyframes([seen(a) for a in range(0, 360, 40)], 4, CONFIG)) == 4


def test_a_duplicate_adds_nothing_and_ends_the_choice():
    assert select_keyframes([seen(0), seen(0), seen(0)], 8, CONFIG) == [0]


def test_of_two_equal_frames_the_sharp_one_is_taken():
    assert select_keyframes([seen(0, sharp=0.2), seen(0, sharp=1.0)], 8, CONFIG) == [1]


def test_the_first_frame_has_depth():
    nothing = range(0)
    frames = [seen(0, nothing)] + [seen(60 * i, range(20 * i, 20 * i + 20), sharp=0.0) for i in range(1, 6)]
    assert select_keyframes(frames, 1, CONFIG) == [1]
    assert select_keyframes([seen(0, nothing)], 1, CONFIG) == [0]  # nothing better there
    assert select_keyframes([], 3, CONFIG) == []


def test_blur_lowers_sharpness():
    mask = FRAME.labels == 1
    blurred = cv2.GaussianBlur(FRAME.rgb, (0, 0), 3.0)
    assert sharpness(blurred, mask) < 0.5 * sharpness(FRAME.rgb, mask)


def test_sharpness_is_that_of_the_object_alone():
    mask = FRAME.labels == 1
    noisy = FRAME.rgb.copy()
    far = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    noisy[far] = np.random.default_rng(0).integers(0, 255, noisy[far].shape)
    assert sharpness(noisy, mask) == sharpness(FRAME.rgb, mask)
    assert sharpness(FRAME.rgb, np.zeros_like(mask)) == 0.0


@pytest.mark.parametrize(
    ("rows", "columns"),
    [((0, 9), (0, 7)), ((1, 9), (1, 7)), ((21, 30), (33, 40)), ((20, 29), (32, 39)), ((10, 11), (12, 13))],
)
def test_sharpness_is_the_variance_of_the_laplacian_of_the_whole_image_over_the_mask(rows, columns):
    rgb = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    mask = np.zeros((30, 40), bool)
    mask[slice(*rows), slice(*columns)] = True
    laplacian = cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_32F)
    assert sharpness(rgb, mask) == pytest.approx(float(laplacian[mask].var()), rel=1e-5)


def test_a_direction_thirty_degrees_away_is_as_new_as_any_and_a_nearer_one_less():
    for nearer, farther, chosen in ((10, 20, 2), (31, 90, 1), (29, 90, 2), (60, 180, 1)):
        assert select_keyframes([seen(0), seen(nearer), seen(farther)], 2, CONFIG) == [
            0,
            chosen,
        ]


@pytest.mark.parametrize(
    ("new_cells", "sharp", "chosen"), [(10, 1.0, [0, 1]), (1, 1.0, [0]), (3, 0.0, [0]), (5, 0.0, [0, 1])]
)
def test_a_frame_must_add_its_share_of_the_surface_weighted_by_sharpness(new_cells, sharp, chosen):
    # From the same side: of 200 voxels two are min_gain = 0.01, of a blurred frame four.
    rest = [seen(0, range(200 - new_cells)), seen(0, range(200 - new_cells, 200), sharp)]
    assert select_keyframes(rest, 8, CONFIG) == chosen


def test_blurred_duplicate_is_not_chosen_from_real_frames():
    frames = recording("ball", 4).frames
    blurred = [
        replace(f, rgb=cv2.GaussianBlur(f.rgb, (0, 0), 4.0), stamp_ns=f.stamp_ns + 7, labels=f.labels) for f in frames
    ]
    mixed = [frame for pair in zip(blurred, frames, strict=True) for frame in pair]
    region = LabelRegion({(f.camera, f.stamp_ns): {1} for f in mixed})
    views = collect_views("ball", mixed, region, None, UP, SessionConfig(), 4)
    assert {v.frame.stamp_ns for v in views.views} == {f.stamp_ns for f in frames}


def frames_at(poses):
    return [replace(FRAME, T_world_cam=T, stamp_ns=FRAME.stamp_ns + i) for i, T in enumerate(poses)]


def test_least_useful_is_the_older_of_the_most_alike():
    a, b, c = around(3)
    near_b = b.copy()
    near_b[:3, 3] += 0.002
    assert most_redundant(frames_at([a, b, near_b, c])) == 1


def test_least_useful_is_never_the_newest():
    a, b, c = around(3)
    assert most_redundant(frames_at([a, b, c, a])) == 0
    for count in (2, 3, 5):
        assert most_redundant(frames_at([a] * count)) < count - 1


def test_no_depth_is_given_up_for_colour():
    depth = recording("ball", 2).frames[0]
    colour = replace(depth, depth_m=None, stamp_ns=depth.stamp_ns + 1)
    other = recording("ball", 2).frames[1]
    assert most_redundant([depth, colour, replace(colour, stamp_ns=depth.stamp_ns + 2), other]) != 0
