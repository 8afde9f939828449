"""Depth of a simulated time-of-flight camera is late in corners, mixed at edges, and missing where light is."""

from dataclasses import replace

import numpy as np
import pytest
from tabletop import box_on_table, outside_px, wall

from sparse_recon.lab.simulate.render import RenderedView
from sparse_recon.lab.simulate.sensor import SENSORS
from sparse_recon.lab.simulate.time_of_flight import TimeOfFlightFaults

NONE = TimeOfFlightFaults(
    noise_m=0.0,
    slow_m=0.0,
    multipath=0.0,
    mixed_px=0.0,
    edge_holes=0.0,
    dark=0.0,
    reflectance_spread=0.0,
    color_offset_m=0.0,
)


def measured(view: RenderedView, faults: TimeOfFlightFaults, seed: int = 0, place: int = 0) -> np.ndarray:
    return faults.measured(view, np.random.default_rng(seed), np.random.default_rng((place, 1)))


def test_without_strengths_depth_is_true_to_the_millimetre() -> None:
    view = box_on_table()
    np.testing.assert_allclose(measured(view, NONE), view.depth_m, atol=0.00051)


def test_noise_grows_with_depth_and_darkness() -> None:
    faults = replace(NONE, noise_m=0.002)
    # Reflectance is 1 in white, and noise goes with 1 / sqrt(signal); rays at the corners meet the wall at 30 degrees.
    sigma_m = {
        (z, grey): np.std(measured(wall(z, grey=grey), faults)[200:280, 260:380])
        for z in (1.0, 2.0)
        for grey in (255, 64)
    }
    assert sigma_m[1.0, 255] == pytest.approx(0.002, rel=0.07)
    assert sigma_m[2.0, 255] == pytest.approx(0.004, rel=0.07)
    assert sigma_m[1.0, 64] == pytest.approx(0.004, rel=0.07)
    assert faults.sigma_m(np.array(2.0), 600.0) == pytest.approx(0.004)


def test_corner_between_box_and_table_is_measured_too_far() -> None:
    view = box_on_table()
    error_m = measured(view, replace(NONE, multipath=1.0)) - view.depth_m
    v, u = np.nonzero(view.labels > 0)
    foot = error_m[v.max() - 3 : v.max() + 4, int(u.mean()) - 10 : int(u.mean()) + 10]
    assert 0.002 < foot.mean() < 0.02
    assert np.abs(error_m[(outside_px(view) > 40) & (view.depth_m < 1.0)]).max() < 0.0011  # a plane has no corners


def test_flying_pixels_hang_between_near_and_far_at_edges_alone() -> None:
    view = wall(1.5)
    view.depth_m[:, 300:] = 1.0
    depth_m = measured(view, replace(NONE, mixed_px=0.8))
    between = (depth_m > 1.01) & (depth_m < 1.49)
    assert set(np.nonzero(between.any(axis=0))[0]) <= set(range(297, 303)) and between.any()
    dropped = np.isnan(measured(view, replace(NONE, mixed_px=0.8, edge_holes=0.5)))
    assert dropped[:, 299:301].mean() == pytest.approx(0.5, abs=0.1)
    assert not dropped[:, :297].any()


def test_dark_and_grazing_surfaces_give_no_depth() -> None:
    faults = replace(NONE, dark=0.05)
    assert np.isfinite(measured(wall(grey=128), faults)).all()
    assert np.isnan(measured(wall(grey=3), faults)).all()
    view = wall(grey=128)
    tilt = np.deg2rad(89.0)
    view.normals_world[..., 0], view.normals_world[..., 2] = np.sin(tilt), -np.cos(tilt)
    assert np.isnan(measured(view, faults)[235:245, 315:325]).all()


def test_objects_of_one_colour_differ_in_infrared() -> None:
    view = wall(grey=40)
    view.labels[:] = np.arange(640) // 64 + 1
    lost = np.isnan(measured(view, replace(NONE, dark=0.15, reflectance_spread=1.2)))
    shares = [lost[:, a : a + 64].mean() for a in range(0, 640, 64)]
    assert min(shares) < 0.1 and max(shares) > 0.7


def test_slow_error_stays_while_the_camera_stands_still() -> None:
    faults = replace(NONE, slow_m=0.002)
    error = [measured(wall(), faults, seed, place).ravel() - 0.85 for seed, place in ((0, 0), (1, 0), (2, 1))]
    assert np.std(error[0]) == pytest.approx(0.002, rel=0.2)
    assert np.corrcoef(error[0], error[1])[0, 1] == pytest.approx(1 - faults.changing, abs=0.05)
    assert abs(np.corrcoef(error[0], error[2])[0, 1]) < 0.25


@pytest.mark.parametrize("name", ["azure_kinect", "kinect_v2", "l515"])
def test_profiles_lose_the_shadow_beside_the_box(name: str) -> None:
    faults = SENSORS[name].faults
    assert isinstance(faults, TimeOfFlightFaults)
    view = wall(1.2, grey=200)
    view.depth_m[100:300, 300:400] = 0.6
    lost = np.isnan(measured(view, replace(faults, gap_share=0.0)))[105:295]
    shadow_px = faults.color_offset_m * view.intrinsics.fx * (1 / 0.6 - 1 / 1.2)
    assert lost[:, int(300 - shadow_px) + 4 : 299].mean() > 0.9
    assert lost[:, 405:].mean() < 0.02
