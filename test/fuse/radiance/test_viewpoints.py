"""Where cameras of a field stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparse_recon.fuse.radiance.viewpoints import golden_angle_eyes, nearby_viewpoint, random_viewpoints, towards_origin


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_drawn_places_keep_to_the_ranges_of_distance_and_height_and_fill_them():
    eyes = random_viewpoints(2000, (1.5, 2.0), (-0.3, 1.2), seeded())
    distance = np.linalg.norm(eyes, axis=1)
    assert eyes.shape == (2000, 3)
    assert 1.5 <= distance.min() < 1.52 and 1.98 < distance.max() <= 2.0
    assert -0.3 < eyes[:, 2].min() < -0.28 and 1.18 < eyes[:, 2].max() < 1.2
    azimuth = np.histogram(np.arctan2(eyes[:, 1], eyes[:, 0]), 8)[0]
    assert azimuth.min() > 190  # 250 are expected, with a deviation of 15


def test_a_near_place_is_as_far_as_asked_in_any_direction():
    generator = seeded()
    eye = np.array([1.0, -2.0, 0.5])
    away = np.stack([nearby_viewpoint(eye, 0.2, generator) for _ in range(50)]) - eye
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 0.2)
    assert np.all(away.min(axis=0) < 0) and np.all(away.max(axis=0) > 0)


@pytest.mark.parametrize("count", [4, 8, 20])
def test_spread_places_lie_on_the_sphere_within_the_heights_and_apart(count):
    eyes = golden_angle_eyes(count, 2.0, (-1.0, 1.5))
    np.testing.assert_allclose(np.linalg.norm(eyes, axis=1), 2.0)
    np.testing.assert_allclose(np.diff(eyes[:, 2]), 2.5 / count)
    assert eyes[0, 2] == pytest.approx(-1.0 + 1.25 / count)
    cosine = eyes @ eyes.T / 4.0 - 2.0 * np.eye(count)
    # As many caps cover the zone of 2.5 / 4 of the sphere: neighbours are no nearer than 0.7 of their spacing.
    assert np.arccos(cosine.max()) > 0.7 * np.sqrt(4 * np.pi * 2.5 / 4 / count)


def test_spread_places_never_stand_on_the_axis():
    eyes = golden_angle_eyes(50, 1.0, (-5.0, 5.0))
    assert np.abs(eyes[:, 2]).max() < 0.98


def test_cameras_look_at_the_origin():
    eyes = golden_angle_eyes(5, 2.0, (-1.0, 1.5))
    poses = towards_origin(eyes)
    np.testing.assert_allclose(poses[:, :3, 3], eyes)
    np.testing.assert_allclose(poses[:, :3, 2], -eyes / 2.0)
