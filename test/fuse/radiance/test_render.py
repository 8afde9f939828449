"""Volume rendering against what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparse_recon.fuse.radiance.field import RadianceField
from sparse_recon.fuse.radiance.rays import Rays, camera_rays, square_camera
from sparse_recon.fuse.radiance.render import BACKGROUND_DEPTH, render
from sparse_recon.geometry.poses import look_at

RAYS = camera_rays(square_camera(32, 34.0), look_at((1.5, 1.0, 0.8), (0, 0, 0)))
RADIUS = 0.5


def centres(grid: int) -> torch.Tensor:
    axis = (torch.arange(grid) + 0.5) * 2 / grid - 1
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)


def ball_field(grid: int = 64, density: float = 8.0, channels: int = 4) -> RadianceField:
    """Return a ball of constant density and constant features 0.25."""
    field = RadianceField(channels, grid)
    with torch.no_grad():
        inside = centres(grid).norm(dim=-1) < RADIUS
        raw = density + float(np.log1p(-np.exp(-density))) + 1.0
        field.raw[0, 0] = torch.where(inside, raw, -raw)  # half way lies the surface
        field.features.fill_(0.25)
    return field


def ball_chords() -> torch.Tensor:
    """Return the length of each ray within the ball."""
    direction = RAYS.directions / RAYS.stretch[:, None]
    along = (RAYS.origins * direction).sum(1)
    return 2 * (RADIUS**2 - (RAYS.origins**2).sum(1) + along**2).clamp_min(0).sqrt()


def middle_depth() -> torch.Tensor:
    """Return the depth at which each ray is nearest to the middle."""
    return -(RAYS.origins * RAYS.directions).sum(1) / RAYS.stretch**2


def test_fog_dims_by_the_law_of_beer_and_lambert():
    near, far = RAYS.span()
    length = (far - near).clamp_min(0) * RAYS.stretch
    rendered = render(RadianceField(1, 64), RAYS)
    exact = 1 - torch.exp(-length * np.log1p(np.exp(-1.0)))  # raw 0 is density softplus(-1)
    # The last sample of a ray stands for up to half a step more or less: 1/128 at density 0.31.
    assert (rendered.opacity - exact).abs().max() < 0.31 / 128 + 1e-4


def test_a_ball_is_as_opaque_as_its_chords_are_long():
    chords = ball_chords()
    rendered = render(ball_field(), RAYS)
    exact = 1 - torch.exp(-8.0 * chords)
    past = (RAYS.origins + RAYS.directions * middle_depth()[:, None]).norm(dim=1)
    clear_of_rim = (past - RADIUS).abs() > 2 / 32
    # The surface of a ball of voxels is known to a voxel, 1/32, at each end of the shortest chord left.
    shortest = 2 * np.sqrt(RADIUS**2 - (RADIUS - 2 / 32) ** 2)
    off = (rendered.opacity - exact)[clear_of_rim].abs()
    assert off.max() < 8.0 * 2 / 32 * np.exp(-8.0 * (shortest - 2 / 32)) and off.mean() < 0.002


def test_the_picture_is_the_features_over_the_background():
    rendered = render(ball_field(), RAYS)
    over = rendered.over(torch.full((len(RAYS), 4), 2.0))
    expected = 0.25 * rendered.opacity + 2.0 * (1 - rendered.opacity)
    # Samples of weight under 1e-4 have no colour; at most 256 of them on a ray.
    assert (over - expected[:, None]).abs().max() < 0.25 * 256e-4
    assert torch.allclose(rendered.depth[rendered.opacity == 0], torch.tensor(BACKGROUND_DEPTH))


def test_the_surface_of_a_solid_is_where_the_ray_meets_it():
    rendered = render(ball_field(density=300.0), RAYS)
    chords = ball_chords()
    exact = middle_depth() - 0.5 * chords / RAYS.stretch
    central = chords > 0.5
    found = rendered.surface_depth()
    assert not torch.isnan(found[central]).any() and torch.isnan(found[chords == 0]).all()
    assert (found - exact)[central].abs().max() < 2 / 64  # a voxel
    assert rendered.depth_spread()[central].max() < 2 / 64


def test_thin_ink_has_its_surface_where_half_of_it_is_passed():
    chords = ball_chords()
    central = chords > 0.9
    field = ball_field()
    with torch.no_grad():
        field.raw[field.raw > 0] = -0.5  # density 0.2
        field.raw[field.raw < -1] = -30.0
    rendered = render(field, RAYS)
    assert torch.isnan(rendered.surface_depth()[central]).all()  # a fifth of the light is lost
    found = rendered.surface_depth(0.1)
    # Nearly evenly lost along the chord, 5 % of it sooner.
    assert (found - middle_depth())[central].abs().max() < 2 / 32


def test_shortcuts_change_neither_picture_nor_gradient():
    field = ball_field(grid=32, density=60.0)
    results = []
    for shortcuts in (None, field.shortcuts()):
        field.zero_grad()
        rendered = render(field, RAYS, shortcuts)
        (rendered.features.square().sum() + 0.1 * rendered.depth.sum()).backward()
        results.append((rendered.features.detach(), rendered.depth.detach(), field.features.grad.clone(), rendered))
    (picture, depth, gradient, whole), (picture_2, depth_2, gradient_2, quick) = results
    assert len(quick.weights) < 0.3 * len(whole.weights)
    # What is skipped holds under 1e-4 of the light, before or behind.
    assert (picture - picture_2).abs().max() < 1e-3 and (depth - depth_2).abs().max() < 2e-2
    assert (gradient - gradient_2).abs().max() < 1e-3 * gradient.abs().max()


def test_gradients_of_density_are_those_of_differences():
    field = RadianceField(2, 16, torch.Generator().manual_seed(3))
    rays = RAYS[500:520]

    def loss() -> torch.Tensor:
        return render(field, rays).features.sum()

    loss().backward()
    index = tuple(torch.nonzero(field.raw.grad.abs() > 0.5 * field.raw.grad.abs().max())[0])
    with torch.no_grad():
        field.raw[index] += 0.05
        up = loss()
        field.raw[index] -= 0.1
        down = loss()
    assert float((up - down) / 0.1) == pytest.approx(float(field.raw.grad[index]), rel=0.02)  # of float32


def test_rays_beside_the_cube_see_nothing():
    aside = Rays(torch.tensor([[0.0, 5.0, -3.0]]), torch.tensor([[0.0, 0.0, 1.0]]))
    rendered = render(RadianceField(3, 16), aside)
    assert float(rendered.opacity) == 0.0 and len(rendered.weights) == 0 and rendered.max_samples == 0


def test_most_samples_is_the_number_on_the_longest_ray():
    rendered = render(RadianceField(1, 16), RAYS)
    longest = int(torch.bincount(rendered.ray).max())
    assert longest <= rendered.max_samples <= longest + 1  # the last one may lie beyond the cube
