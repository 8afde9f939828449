"""The hash of a completion's inputs: the same for the same, another for whatever else decides the result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analytic import ball_views
from solids import turn

from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.geometry.poses import pose
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.run import input_hash
from sparse_recon.types import CameraIntrinsics, ObjectViews, OrientedBox

VIEWS, REQUEST, CONFIG = ball_views(2), CompletionRequest(), SessionConfig()
CENTRE_WORLD = VIEWS.object_frame.T_world_obj[:3, 3]
BOX = OrientedBox(pose(np.eye(3), CENTRE_WORLD), np.array([0.1, 0.1, 0.1]))


def other_frame(**changes) -> ObjectViews:
    last = VIEWS.views[-1]
    return replace(VIEWS, views=(VIEWS.views[0], replace(last, frame=replace(last.frame, **changes))))


def other_view(**changes) -> ObjectViews:
    return replace(VIEWS, views=(VIEWS.views[0], replace(VIEWS.views[-1], **changes)))


def other_cube(**changes) -> ObjectViews:
    return replace(VIEWS, object_frame=replace(VIEWS.object_frame, **changes))


def touched(array: np.ndarray) -> np.ndarray:
    """Return a copy with one element changed."""
    middle = tuple(n // 2 for n in array.shape)
    copy = array.copy()
    copy[middle] = not copy[middle] if copy.dtype == bool else 1 - copy[middle]
    return copy


def shifted_by_a_micrometre(T: np.ndarray) -> np.ndarray:
    return pose(np.eye(3), (1e-6, 0, 0)) @ T


FRAME, VIEW = VIEWS.views[-1].frame, VIEWS.views[-1]
K = np.array([[100.5, 0, 46.0], [0, 110.0, 37.0], [0, 0, 1]])


@pytest.mark.parametrize(
    "changed",
    [
        {"views": other_frame(T_world_cam=shifted_by_a_micrometre(FRAME.T_world_cam))},
        {"views": other_frame(intrinsics=CameraIntrinsics(96, 72, K))},
        {"views": other_frame(rgb=touched(FRAME.rgb))},
        {"views": other_frame(depth_m=touched(FRAME.depth_m))},
        {"views": other_frame(depth_m=None)},
        {"views": other_frame(stamp_ns=FRAME.stamp_ns + 1)},
        {"views": other_frame(camera="wrist")},
        {"views": other_view(mask=touched(VIEW.mask))},
        {"views": other_view(occluder=np.zeros_like(VIEW.occluder))},
        {"views": replace(VIEWS, views=VIEWS.views[::-1])},
        {"views": replace(VIEWS, views=VIEWS.views[:1])},
        {"views": replace(VIEWS, object_id="cup")},
        {"views": other_cube(T_world_obj=shifted_by_a_micrometre(VIEWS.object_frame.T_world_obj))},
        {"views": other_cube(half_side_m=0.0701)},
        {"views": other_cube(support_z_m=None)},
        {"request": replace(REQUEST, model="carve")},
        {"request": replace(REQUEST, seed=1)},
        {"request": replace(REQUEST, max_views=1)},
        {"request": replace(REQUEST, deadline_s=5.0)},
        {"request": replace(REQUEST, box=BOX)},
        {"config": load_config({"evidence.slack_sigma": 2.0})},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_whatever_decides_a_completion_changes_its_hash(changed):
    given = {"views": VIEWS, "request": REQUEST, "config": CONFIG} | changed
    assert input_hash(given["views"], given["request"], given["config"]) != input_hash(VIEWS, REQUEST, CONFIG)


def test_where_and_how_large_a_box_is_decides_too():
    boxes = [BOX, replace(BOX, T_world_box=turn(1)), replace(BOX, size_m=np.array([0.1, 0.1, 0.2]))]
    assert len({input_hash(VIEWS, replace(REQUEST, box=box), CONFIG) for box in boxes}) == 3


def test_equal_inputs_have_the_same_hash_however_their_arrays_lie_in_memory():
    strided = other_frame(rgb=np.asfortranarray(FRAME.rgb), depth_m=FRAME.depth_m.copy())
    assert input_hash(strided, CompletionRequest(), SessionConfig()) == input_hash(VIEWS, REQUEST, CONFIG)
