"""A voxel field: what it holds between voxels and what rendering may skip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter, minimum_filter

from sparse_recon.fuse.radiance.field import RadianceField, sums_before

N = 8


def random_field(channels: int = 4) -> RadianceField:
    generator = torch.Generator().manual_seed(0)
    field = RadianceField(channels, N, generator)
    with torch.no_grad():
        field.raw.copy_(3 * torch.randn(field.raw.shape, generator=generator))
    return field


def centre(x: int, y: int, z: int) -> torch.Tensor:
    return (torch.tensor([x, y, z]) + 0.5) * 2 / N - 1


def test_density_is_that_of_the_voxel_at_its_centre_and_the_border_holds_beyond():
    field = random_field()
    points = torch.stack([centre(1, 2, 5), centre(7, 0, 3), centre(7, 0, 3) + torch.tensor([5.0, 0, 0])])
    raw = field.raw[0, 0, [1, 7, 7], [2, 0, 0], [5, 3, 3]]
    expected = torch.log1p(torch.exp(raw * torch.exp(field.scale) - 1.0))
    torch.testing.assert_close(field.density(points), expected)
    torch.testing.assert_close(field.voxel_density()[1, 2, 5], expected[0])


def test_features_are_interpolated_and_colours_go_through_a_sigmoid():
    latents, colors = random_field(4), random_field(3)
    between = 0.5 * (centre(1, 2, 5) + centre(1, 2, 6))[None]
    mean = [0.5 * (f.features[0, :, 1, 2, 5] + f.features[0, :, 1, 2, 6]) for f in (latents, colors)]
    torch.testing.assert_close(latents.features_at(between)[0], mean[0])
    torch.testing.assert_close(colors.features_at(between)[0], torch.sigmoid(mean[1]))


def test_a_finer_field_looks_alike():
    field = RadianceField(3, N)
    line = torch.linspace(-1.0, 1.0, N)
    with torch.no_grad():
        field.raw[0, 0] = line[:, None, None] + 2 * line[None, :, None] - line
        field.features[0, 1] = 3 * line[:, None]
    fine = field.resampled(2 * N)
    points = torch.rand((50, 3), generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    assert fine.grid == 2 * N
    torch.testing.assert_close(fine.density(points), field.density(points))
    torch.testing.assert_close(fine.features_at(points), field.features_at(points))
    torch.testing.assert_close(fine.resampled(N).raw[..., 1:-1, 1:-1, 1:-1], field.raw[..., 1:-1, 1:-1, 1:-1])


def test_shortcuts_bound_the_density_of_a_voxel_and_its_neighbours():
    field = random_field()
    shortcuts, density = field.shortcuts(), field.voxel_density().detach().numpy()
    shape = (N, N, N)
    np.testing.assert_allclose(shortcuts.most.reshape(shape), maximum_filter(density, 3, mode="nearest"), rtol=1e-6)
    np.testing.assert_allclose(shortcuts.least.reshape(shape), minimum_filter(density, 3, mode="nearest"), rtol=1e-6)


def test_the_box_of_shortcuts_holds_what_is_not_empty_with_a_voxel_around():
    field = RadianceField(3, N)
    with torch.no_grad():
        field.raw.fill_(-30.0)
    assert torch.equal(field.shortcuts().low, field.shortcuts().high)  # nothing: a point
    with torch.no_grad():
        field.raw[0, 0, 2, 3:5, 6] = 5.0
    shortcuts = field.shortcuts()
    torch.testing.assert_close(shortcuts.low, torch.tensor([1.0, 2.0, 5.0]) * 2 / N - 1)
    torch.testing.assert_close(shortcuts.high, torch.tensor([4.0, 6.0, 8.0]) * 2 / N - 1)


def test_samples_that_are_empty_or_hidden_are_not_needed():
    field = RadianceField(3, N)
    with torch.no_grad():
        field.raw.fill_(-30.0)
        field.raw[0, 0, 5:] = 300.0
    x = (torch.arange(N) + 0.5) * 2 / N - 1
    points = torch.stack([x, torch.full((N,), 0.1), torch.full((N,), 0.1)], dim=1)
    rays = torch.zeros(N, dtype=torch.long)
    needed = field.shortcuts().needed(points, rays, field.step)
    # Beside the solid a voxel may hold some of it; what one wholly opaque voxel hides is not looked at.
    assert needed.tolist() == [False] * 4 + [True, True, True, False]


@pytest.mark.parametrize("lengths", [[4], [1, 3, 2], [2, 0, 5]])
def test_sums_before_begin_anew_on_each_ray(lengths):
    ray = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    values = torch.arange(1.0, len(ray) + 1).double()
    expected = [float(values[(ray == r) & (torch.arange(len(ray)) < i)].sum()) for i, r in enumerate(ray)]
    assert sums_before(values, ray).tolist() == expected
