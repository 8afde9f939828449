"""Depth images of a still camera are averaged where nothing changed, and what flickers or moved is no part of it."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from scenes import around, block
from tabletop import box_on_table, outside_px, wall

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.geometry.poses import pose
from sparse_recon.lab.simulate.render import Renderer
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact, sense
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.observe.averaged import StillFrames, averaged
from sparse_recon.types import Frame, Superseded

CONFIG = DepthConfig()


def looked_at(view, sensor: str, count: int, first: int = 0, seed: int = 0) -> list[Frame]:
    """Return `count` images of a camera that stands still before a scene that does."""
    return [
        sense(
            view,
            exact(SENSORS[sensor]),
            np.random.default_rng((seed, i)),
            stamp_ns=1 + i,
            place=np.random.default_rng(seed),
        )
        for i in range(first, first + count)
    ]


def flat(depth_m: float, stamp_ns: int, **pixels: float) -> Frame:
    """Return a wall across a small image, with other depths at pixels named by row and column, as `r3c4`."""
    view = wall(size=(32, 24))
    depth = np.full((24, 32), depth_m, np.float32)
    for name, value in pixels.items():
        row, column = name[1:].split("c")
        depth[int(row), int(column)] = value
    return Frame(view.rgb, depth, view.intrinsics, np.eye(4), stamp_ns)


def block_at(x_m: float):
    scene = scene_of([block()], [pose(np.eye(3), (x_m, 0.0, 0.0))])
    return Renderer(scene).render(depth_camera(320, 240), around(1, distance_m=0.65, first_deg=70.0)[0])


@pytest.mark.parametrize(("sensor", "left"), [("d400", 0.95), ("azure_kinect", 0.8), ("realsense", 0.5)])
def test_an_average_errs_less_than_one_image(sensor: str, left: float) -> None:
    view = box_on_table()
    frames = looked_at(view, sensor, 8)
    table = outside_px(view) > 20

    def rms_m(frame: Frame) -> float:
        error = (frame.depth_m - view.depth_m)[table & np.isfinite(view.depth_m)]
        return float(np.sqrt(np.nanmean(np.clip(error, -0.05, 0.05) ** 2)))

    # What stays with the pose, 85 % of the variance of a stereo camera's lumps, no average takes away.
    assert rms_m(averaged(frames, CONFIG)) < left * np.mean([rms_m(f) for f in frames])


def test_smear_that_flickers_around_an_outline_is_dropped() -> None:
    view = box_on_table()
    frames = looked_at(view, "d400", 8)
    ring = (outside_px(view) > 0) & (outside_px(view) <= 8)

    def smear(frame: Frame) -> int:
        return int(np.count_nonzero(frame.depth_m[ring] < view.depth_m[ring] - 0.008))

    mean = averaged(frames, CONFIG)
    assert smear(mean) < 0.9 * np.mean([smear(f) for f in frames])
    inside = view.labels > 0
    assert np.isfinite(mean.depth_m[inside]).mean() > np.mean([np.isfinite(f.depth_m[inside]).mean() for f in frames])


def test_a_thing_that_moved_between_images_leaves_no_ghost() -> None:
    before, after = block_at(-0.02), block_at(0.02)
    moved = looked_at(before, "clean", 5) + looked_at(after, "clean", 3, first=5)
    depth = averaged(moved, CONFIG).depth_m
    known = np.isfinite(depth) & np.isfinite(after.depth_m)
    np.testing.assert_allclose(depth[known], after.depth_m[known], atol=1e-6)
    changed = np.abs(before.depth_m - after.depth_m) > 0.01
    assert np.count_nonzero(changed) > 500 and np.isfinite(depth[changed]).mean() > 0.95

    noisy = looked_at(before, "d400", 5) + looked_at(after, "d400", 3, first=5)
    ghost = averaged(noisy, CONFIG).depth_m
    where_it_stood = changed & (after.labels == 0) & (outside_px(after) > 8)
    # Three images of the table alone: nothing stands where the block was.
    assert np.count_nonzero(ghost[where_it_stood] < after.depth_m[where_it_stood] - 0.02) == 0


def test_a_thing_of_the_depth_of_its_surroundings_is_told_by_its_colour() -> None:
    frames = [flat(0.8 + 0.002 * (i < 3), i) for i in range(6)]
    painted = frames[0].rgb.copy()
    painted[6:18, 8:20] = (200, 40, 40)
    frames[:3] = [replace(f, rgb=painted) for f in frames[:3]]
    depth = averaged(frames, CONFIG).depth_m
    np.testing.assert_allclose(depth[8:16, 10:18], 0.8, atol=1e-6)
    np.testing.assert_allclose(depth[0, 0], 0.801, atol=1e-6)


def test_what_few_images_have_and_what_jumps_is_dropped() -> None:
    nan = float("nan")
    near_or_far = [0.8, 0.9, 0.8, 0.9, 0.8, 0.9]
    holes = [nan, nan, nan, nan, nan, 0.8]
    once = [0.8, 0.8, 0.7, 0.8, nan, 0.8]
    frames = [
        flat(0.8, i, r4c4=a, r4c20=b, r18c10=c)
        for i, (a, b, c) in enumerate(zip(near_or_far, holes, once, strict=True))
    ]
    depth = averaged(frames, CONFIG).depth_m
    assert np.isnan(depth[4, 4]) and np.isnan(depth[4, 20])
    assert depth[18, 10] == pytest.approx(0.8)
    assert np.isfinite(depth).sum() == depth.size - 2


def test_what_newer_images_contradict_lends_nothing_and_is_kept() -> None:
    old = flat(0.8, 1)
    gone, filled = np.full((24, 32), np.nan, np.float32), np.full((24, 32), np.inf, np.float32)
    filled[:, :16] = 0.7
    old = replace(old, superseded=Superseded(gone, filled))
    new = flat(0.802, 2)
    given = StillFrames().of((old, new), CONFIG)
    assert given[0] is old and len(given) == 2
    np.testing.assert_allclose(given[1].depth_m[:, 8], 0.802, atol=1e-6)
    np.testing.assert_allclose(given[1].depth_m[:, 28], 0.801, atol=1e-6)


def test_only_one_pose_is_averaged_and_so_many_images_at_a_time() -> None:
    frames = [flat(0.8, i) for i in range(5)]
    elsewhere = replace(flat(0.8, 9), T_world_cam=pose(np.eye(3), (0.01, 0, 0)))
    other_camera, colour_alone = replace(flat(0.8, 10), camera="other"), replace(flat(0.8, 11), depth_m=None)
    still = StillFrames()
    given = still.of((*frames, elsewhere, other_camera, colour_alone), CONFIG)
    assert [f.stamp_ns for f in given] == [4, 9, 10, 11]
    assert given[1:] == (elsewhere, other_camera, colour_alone)
    assert still.of((*frames, elsewhere), CONFIG)[0] is given[0]
    assert len(still.of(frames, replace(CONFIG, average_frames=3))) == 2
    assert still.of(frames, replace(CONFIG, average_frames=1)) == tuple(frames)


def labelled(frame: Frame, rows: slice, columns: slice) -> Frame:
    labels = np.zeros(frame.depth_m.shape, np.int32)
    labels[rows, columns] = 1
    return replace(frame, labels=labels)


def test_what_the_newest_image_does_not_show_is_not_lost() -> None:
    thing = (slice(6, 18), slice(8, 20))
    frames = [labelled(flat(0.8, i), *thing) for i in range(5)]
    nothing = labelled(flat(0.8, 5), slice(0, 0), slice(0, 0))
    missed = StillFrames().of((*frames, nothing), CONFIG)
    assert any((f.labels == 1).sum() == 144 for f in missed)
    without = StillFrames().of((*frames, flat(0.8, 5)), CONFIG)
    assert any(f.labels is not None and (f.labels == 1).sum() == 144 for f in without)
    covered = flat(0.8, 5)
    covered.depth_m[4:20, 6:22] = np.nan  # nearer than any depth that is read
    covered.rgb[4:20, 6:22] = 255
    hidden = StillFrames().of((*(flat(0.8, i) for i in range(5)), covered), CONFIG)
    assert any(np.isfinite(f.depth_m[thing]).all() for f in hidden)


def test_dark_surfaces_of_which_each_image_measures_a_part_stay() -> None:
    rng = np.random.default_rng(3)
    frames = [flat(0.8, i) for i in range(16)]
    for frame in frames:
        dark = frame.depth_m[8:13, 8:13]
        dark[rng.random(dark.shape) > 0.4] = np.nan
    given = StillFrames().of(frames, CONFIG)
    assert len(given) == 1 and np.isfinite(given[0].depth_m[8:13, 8:13]).mean() > 0.55  # a third above one image
    sparse = [flat(0.8, i) for i in range(4)]
    for frame in sparse:
        frame.depth_m[rng.random(frame.depth_m.shape) > 0.4] = np.nan
    assert StillFrames().of(sparse, CONFIG) == tuple(sparse)


def test_other_parameters_give_other_averages_and_dropped_frames_are_let_go() -> None:
    frames = looked_at(box_on_table(), "d400", 4)
    still, other = StillFrames(), replace(CONFIG, sigma_base_m=0.02)
    still.of(frames, CONFIG)
    fresh = StillFrames().of(frames, other)[0].depth_m
    np.testing.assert_array_equal(still.of(frames, other)[0].depth_m, fresh)
    held = [weakref.ref(frame) for frame in frames]
    newest = frames[-1]
    del frames
    gc.collect()
    assert [ref() for ref in held[:-1]] == [None] * 3 and held[-1]() is newest


def test_a_large_surface_that_moved_a_little_is_where_it_is_now() -> None:
    rng = np.random.default_rng(1)
    frames = [flat(2.0 + 0.02 * (i < 8), i) for i in range(16)]
    for frame in frames:
        frame.depth_m[:] += rng.normal(0, 0.001, frame.depth_m.shape).astype(np.float32)
    assert np.abs(np.nanmedian(StillFrames().of(frames, CONFIG)[-1].depth_m) - 2.0) < 0.001
