"""Which pixels and rays of a frame a forgotten box takes: against points along each ray, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.geometry.clouds import inside_box
from sparse_recon.geometry.poses import pose, transform_points
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.observe.forgotten import ForgottenPlace, ForgottenPlaces
from sparse_recon.types import Frame, OrientedBox, Superseded

WALL_M = 2.0
NEWER_NS = 100


def wall(width: int = 64, height: int = 48, **changes: object) -> Frame:
    """A frame of a camera in the world's origin that looks along z at a wall."""
    intrinsics = depth_camera(width, height)
    fields = {
        "rgb": np.zeros((height, width, 3), np.uint8),
        "depth_m": np.full((height, width), WALL_M, np.float32),
        "intrinsics": intrinsics,
        "T_world_cam": np.eye(4),
        "stamp_ns": 10,
    }
    return Frame(**{**fields, **changes})


def box(centre, size_m, rotation=None) -> OrientedBox:
    return OrientedBox(pose(np.eye(3) if rotation is None else rotation, centre), np.array(size_m, float))


def forgotten(frame: Frame, *boxes: OrientedBox) -> Frame:
    places = ForgottenPlaces()
    places.add([ForgottenPlace(item, NEWER_NS) for item in boxes], [frame])
    (left,) = places.of([frame], [frame])
    return left


def sampled_entry_m(frame: Frame, item: OrientedBox, step_m: float = 0.002) -> np.ndarray:
    """Walk along every ray until it is in the box."""
    rays, entry = pixel_rays(frame.intrinsics).astype(np.float64), np.full(frame.rgb.shape[:2], np.inf)
    for z in np.arange(step_m, 3.0, step_m):
        inside = inside_box(transform_points(frame.T_world_cam, rays * z), item)
        entry[inside & np.isinf(entry)] = z
    return entry


@pytest.mark.parametrize("seed", range(4))
def test_rays_end_where_they_enter_a_box(seed):
    rng = np.random.default_rng(seed)
    camera = pose(Rotation.random(random_state=seed).as_matrix(), rng.normal(size=3))
    frame = wall(T_world_cam=camera)
    ahead = transform_points(camera, np.array([[0.1, -0.05, 1.0]]))[0]
    item = box(ahead, rng.uniform(0.1, 0.5, 3), Rotation.random(random_state=seed + 10).as_matrix())
    limit_m, expected = forgotten(frame, item).superseded.filled_m, sampled_entry_m(frame, item)
    both = np.isfinite(limit_m) & np.isfinite(expected)
    assert both.sum() > 50
    assert (np.isfinite(limit_m) != np.isfinite(expected)).sum() <= 0.05 * both.sum()  # rays that graze an edge
    np.testing.assert_allclose(limit_m[both], expected[both], atol=0.0021)  # one step of the walk


def test_surface_in_a_box_goes_and_what_is_behind_it_stays():
    frame = wall()
    before = forgotten(frame, box((0, 0, 1.0), (0.2, 0.2, 0.2)))
    np.testing.assert_array_equal(before.depth_m, frame.depth_m)
    assert np.nanmin(before.superseded.filled_m) == pytest.approx(0.9)
    at = forgotten(frame, box((0, 0, WALL_M), (0.2, 0.2, 0.2)))
    gone = np.isnan(at.depth_m)
    points = transform_points(frame.T_world_cam, pixel_rays(frame.intrinsics) * WALL_M)
    np.testing.assert_array_equal(gone, np.abs(points[..., :2]).max(axis=-1) <= 0.1)
    np.testing.assert_array_equal(at.superseded.gone_m[gone], frame.depth_m[gone])
    assert gone.any() and not gone.all()


def test_a_camera_within_the_box_has_seen_nothing():
    left = forgotten(wall(), box((0, 0, 0), (9, 9, 9)))
    assert np.isnan(left.depth_m).all() and (left.superseded.filled_m == 0).all()


def test_a_box_that_no_ray_meets_leaves_the_frame_as_it_is():
    frame = wall()
    for item in (box((0, 0, -1.0), (0.5, 0.5, 0.5)), box((9.0, 0, 1.0), (0.5, 0.5, 0.5))):
        assert forgotten(frame, item) is frame


def test_newer_frames_are_left_as_they_are():
    places, frame = ForgottenPlaces(), wall(stamp_ns=NEWER_NS)
    older = wall(stamp_ns=NEWER_NS - 1)
    places.add([ForgottenPlace(box((0, 0, WALL_M), (1, 1, 1)), NEWER_NS)], [older])
    left = places.of([older, frame], [older, frame])
    assert left[0] is not older and left[1] is frame


def test_several_places_add_up_and_so_does_what_newer_frames_contradict():
    frame = wall()
    gone = np.where(np.arange(64) < 5, np.float32(1.5), np.float32(np.nan))[None].repeat(48, axis=0)
    filled = np.where(np.arange(64) < 10, np.float32(0.3), np.float32(np.inf))[None].repeat(48, axis=0)
    present = wall(superseded=Superseded(gone, filled))
    places = ForgottenPlaces()
    places.add([ForgottenPlace(box((0, 0, 1.0), (0.2, 0.2, 0.2)), NEWER_NS)], [frame])
    places.add([ForgottenPlace(box((0.0, 0.0, WALL_M), (0.4, 0.4, 0.1)), NEWER_NS)], [frame])
    (left,) = places.of([frame], [present])
    assert (left.superseded.filled_m[:, :10] <= 0.3).all()
    assert np.nanmin(left.superseded.filled_m[:, 10:]) == pytest.approx(0.9)
    assert (left.superseded.gone_m[:, :5] == 1.5).all() and np.isnan(left.depth_m).any()


def test_the_same_frame_gives_the_same_answer_until_something_changes():
    places, frame, present = ForgottenPlaces(), wall(), wall()
    places.add([ForgottenPlace(box((0, 0, WALL_M), (0.4, 0.4, 0.1)), NEWER_NS)], [frame])
    first = places.of([frame], [present])[0]
    assert places.of([frame], [present])[0] is first
    assert places.of([frame], [wall()])[0] is not first


def test_a_huge_frame_needs_little_more_memory_than_its_own_images():
    import tracemalloc

    frame = wall(4640, 3472)
    tracemalloc.start()
    forgotten(frame, box((0, 0, WALL_M), (9, 9, 9)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Noted: 5 bytes a pixel; given: depth, what is gone and how far rays count, 12; and what is at work meanwhile.
    assert peak < 35 * frame.depth_m.size, f"{peak / frame.depth_m.size:.1f} bytes a pixel"
