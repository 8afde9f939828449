"""The terms of the fit, each on a ray or a voxel for which it can be worked out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse_recon.config.model_config import FitConfig
from sparse_recon.fuse.radiance.field import RadianceField
from sparse_recon.fuse.radiance.fit import depth_loss, fit_loss, total_variation
from sparse_recon.fuse.radiance.pixels import Pixels
from sparse_recon.fuse.radiance.rays import Rays
from sparse_recon.fuse.radiance.render import Rendered

STEP = 0.01
CONFIG = FitConfig(color_weight=2.0, mask_weight=3.0, depth_weight=0.0)


def seen(opacity: float, depth: float = 1.0, color=(0.2, 0.4, 0.6)) -> Rendered:
    """Return one ray that loses its light in one sample."""
    o, one = torch.tensor([opacity]), torch.ones(1)
    return Rendered(
        o[:, None] * torch.tensor([color]),
        depth * one,
        o,
        o,
        depth * one,
        torch.zeros(1, dtype=torch.long),
        1,
        one.double(),
        one.double(),
        STEP * one,
    )


def pixel(inside: float, depth: float = float("nan"), trust: float = 1.0, color=(0.2, 0.4, 0.6)) -> Pixels:
    ray = Rays(torch.zeros(1, 3), torch.ones(1, 3))
    one = torch.ones(1)
    return Pixels(ray, torch.tensor([color]), inside * one, depth * one, trust * one, torch.tensor([0, 1]))


BACKGROUND = torch.tensor([[0.9, 0.1, 0.3]])


@pytest.mark.parametrize(("inside", "opacity"), [(1.0, 0.8), (0.0, 0.3)])
def test_misfit_is_that_of_colour_and_of_opacity_by_their_weights_and_trust(inside, opacity):
    rendered = opacity * np.array([0.2, 0.4, 0.6]) + (1 - opacity) * BACKGROUND.numpy()[0]
    wanted = inside * np.array([0.2, 0.4, 0.6]) + (1 - inside) * BACKGROUND.numpy()[0]
    off = np.abs(rendered - wanted)
    color = np.where(off < 0.1, 0.5 * off**2 / 0.1, off - 0.05).sum()  # Huber's, straight beyond 0.1
    mask = -np.log(opacity if inside else 1 - opacity)
    got = fit_loss(seen(opacity), pixel(inside, trust=0.5), BACKGROUND, CONFIG)
    assert float(got) == pytest.approx(0.5 * (2.0 * color + 3.0 * mask), rel=1e-5)


def test_a_pixel_that_something_else_may_hide_costs_nothing():
    assert float(fit_loss(seen(0.7), pixel(float("nan")), BACKGROUND, CONFIG)) == 0.0


@pytest.mark.parametrize(
    ("inside", "ends", "measured", "cost"),
    [
        (1.0, 1.0, 1.0, 0.0),
        (1.0, 1.009, 1.0, 0.0),  # a step is free
        (1.0, 1.06, 1.0, 0.05 / 0.25),
        (1.0, 0.94, 1.0, 0.05 / 0.25),
        (1.0, 2.0, 1.0, 1.0),  # no more than the reach
        (0.0, 0.9, 1.0, 0.08 / 0.25),  # beside the object light must pass, but for two steps
        (0.0, 1.2, 1.0, 0.0),
        (1.0, 1.5, float("nan"), 0.0),
    ],
)
def test_light_that_ends_off_the_measured_depth_costs_by_its_distance(inside, ends, measured, cost):
    rendered, pixels = seen(0.5, ends), pixel(inside, measured)
    assert float(depth_loss(rendered, pixels)) == pytest.approx(0.5 * cost, abs=1e-5)
    with_depth = replace(CONFIG, depth_weight=4.0)
    more = fit_loss(rendered, pixels, BACKGROUND, with_depth) - fit_loss(rendered, pixels, BACKGROUND, CONFIG)
    assert float(more) == pytest.approx(2.0 * cost, abs=1e-4)


@pytest.mark.parametrize("axis", range(3))
def test_roughness_of_a_surface_across_the_cube_is_its_step_in_opacity(axis):
    field = RadianceField(3, 8)
    with torch.no_grad():
        field.raw.fill_(-30.0)
        field.raw[0, 0].movedim(axis, 0)[4:] = 5.0
    density = np.log1p(np.exp(4.0))
    expected = 1 - np.exp(-density * 2 / 8)  # of a voxel, two steps thick
    assert float(total_variation(field)) == pytest.approx(expected, rel=1e-5)
