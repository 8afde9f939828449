"""Pictures of an object and their cameras belong together, turned and scaled ones too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sparse_recon.complete.sparsefusion.cameras import OBJECT_UNITS, ndc_cameras
from sparse_recon.complete.sparsefusion.eft_rays import CameraTensors, sampled
from sparse_recon.lab.training.views.bodies import painted_body
from sparse_recon.lab.training.views.cameras import POLICIES
from sparse_recon.lab.training.views.posed_views import PosedViews, Scene, _turned
from sparse_recon.lab.training.views.raycast import pictures
from sparse_recon.lab.training.views.shards import view_shards, write_views
from sparse_recon.lab.training.views.sparsefusion import TrueRays, _surface_loss
from sparse_recon.lab.training.views.view_set import ViewSet
from sparse_recon.types import CameraIntrinsics

SIDE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of a small cube off the middle of a large flat one: where a point lies shows in every view."""
    import open3d as o3d

    rng = np.random.default_rng(3)
    large, small = (
        o3d.geometry.TriangleMesh.create_box(1.0, 0.7, 0.1),
        o3d.geometry.TriangleMesh.create_box(0.25, 0.2, 0.3),
    )
    mesh = large + small.translate((0.6, 0.4, 0.1))
    body = painted_body("steps", np.asarray(mesh.vertices), np.asarray(mesh.triangles), rng)
    policy = POLICIES["posed"]
    cameras = policy.draw(rng)
    focal = policy.lenses(cameras, float(np.linalg.norm(body.vertices, axis=1).max()), rng)
    folder = tmp_path_factory.mktemp("posed")
    write_views(folder / "00000.views", [("steps", pictures(body, cameras, SIDE, rng, focal))])
    return folder


@pytest.fixture(scope="module")
def posed(folder: Path) -> PosedViews:
    return PosedViews(ViewSet(view_shards(folder), on_black=True))


def test_cameras_of_the_policy_are_about_equally_far_and_have_lenses_of_their_own(posed: PosedViews) -> None:
    cameras = posed.views.cameras[0]
    assert cameras[:, 2].max() / cameras[:, 2].min() < 2.2
    assert cameras[:, 3].std() > 0.01 * cameras[:, 3].mean()
    # The object takes a good part of every picture, however far away the camera is, wherever it stands.
    inside = posed.views.mask[0, :, 0].float() / 255
    assert inside.amax(dim=(1, 2)).min() == 1
    across = (inside.amax(dim=1) > 0.5).sum(dim=1)
    assert across.min() > 0.2 * SIDE


def test_pictures_on_black_are_those_on_white_without_the_white(folder: Path, posed: PosedViews) -> None:
    white = ViewSet(view_shards(folder))
    beside = posed.views.mask[0] == 0
    assert bool((posed.views.rgb[0] * beside).sum() == 0) and bool(((255 - white.rgb[0]) * beside).sum() == 0)
    inside = posed.views.mask[0].expand(-1, 3, -1, -1) == 255
    torch.testing.assert_close(posed.views.rgb[0][inside], white.rgb[0][inside])


@pytest.mark.parametrize("seed", [None, 0], ids=["as taken", "turned, scaled"])
def test_points_of_the_object_are_seen_where_its_pictures_show_it(posed: PosedViews, seed: int | None) -> None:
    """The corners of the cube, projected by each camera, lie on the object or within a pixel of it."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    scene = posed.scenes(torch.tensor([0]), torch.arange(9)[None], 0.2, generator)[0]
    units = _units(posed, scene)
    # Corners of the large slab, in a unit box around the middle of both: x 1, y 0.7, z 0.4.
    corners = np.array([[x, y, z] for x in (-0.45, 0.45) for y in (-0.3, 0.3) for z in (-0.19, -0.11)])
    points = torch.from_numpy(corners * OBJECT_UNITS * units).float()
    places = CameraTensors.of(scene.cameras).projected(points)
    seen = sampled((scene.pictures.amax(dim=1, keepdim=True) > 0).float(), places)
    assert seen.mean() > 0.97
    # Turned pictures show the object elsewhere: with the cameras as they were, points miss it.
    if generator is not None:
        straight = posed.scenes(torch.tensor([0]), torch.arange(9)[None], 0.0)[0]
        assert not torch.equal(straight.pictures, scene.pictures)
        assert torch.equal(straight.asked, scene.asked)
        places = CameraTensors.of(straight.cameras).projected(points / units)
        missed = sampled((scene.pictures.amax(dim=1, keepdim=True) > 0).float(), places)
        assert missed.mean() < seen.mean() - 0.05


def test_a_turned_picture_has_its_focal_lengths_exchanged() -> None:
    cameras = ndc_cameras([np.eye(4)], [CameraIntrinsics(64, 64, np.array([[90.0, 0, 30], [0, 60, 34], [0, 0, 1]]))])
    points = torch.tensor([[0.1, 0.05, 1.0], [-0.2, 0.1, 1.5]])
    straight = CameraTensors.of(cameras).projected(points)[0]
    turned = CameraTensors.of(_turned(cameras, torch.tensor([1]))).projected(points)[0]
    torch.testing.assert_close(turned, torch.stack([straight[:, 1], -straight[:, 0]], dim=1))


def test_rays_have_the_colours_that_the_asked_picture_shows(posed: PosedViews) -> None:
    scene = posed.scenes(torch.tensor([0]), torch.arange(4)[None], 0.0)[0]
    rays = scene.rays(16, SIDE, 8)
    colors, inside = scene.ray_colors(16)
    own = CameraTensors.of(scene.query.relative_to(scene.query))
    places = own.projected(rays.points()[:, 3])
    shown = sampled(scene.asked[None], places)[0]
    assert inside.any() and not inside.all()
    assert (shown - colors).abs().mean() < 0.03
    assert (shown.flip(0) - colors).abs().mean() > 0.05


@pytest.mark.parametrize("seed", [None, 0], ids=["as taken", "turned, scaled"])
def test_where_rays_meet_the_object_is_seen_by_other_cameras(posed: PosedViews, seed: int | None) -> None:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    scene = posed.scenes(torch.tensor([0]), torch.arange(9)[None], 0.2, generator)[0]
    rays, depths = scene.rays(16, SIDE, 8), scene.ray_depths(16)
    met = depths.isfinite()
    assert (met == scene.ray_colors(16)[1]).float().mean() > 0.9
    surface = rays.origins[met] + depths[met, None] * rays.directions[met]
    others = CameraTensors.of(scene.cameras.relative_to(scene.query))
    seen = sampled((scene.pictures.amax(dim=1, keepdim=True) > 0).float(), others.projected(surface))
    assert seen.mean() > 0.97
    moved = sampled((scene.pictures.amax(dim=1, keepdim=True) > 0).float(), others.projected(1.2 * surface))
    assert moved.mean() < seen.mean() - 0.1


def test_points_next_to_the_surface_are_to_be_looked_at() -> None:
    place = torch.tensor([2.25, float("inf"), 0.5])
    best = torch.zeros(1, 3, 6)
    best[0, 0, 2], best[0, 0, 3] = 0.75, 0.25
    best[0, 2, 0] = best[0, 2, 1] = 0.5
    best[0, 1] = 1 / 6
    along = TrueRays(torch.zeros(3, 3), place)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25) + np.log(0.5)) / 2
    assert float(_surface_loss(best, along)) == pytest.approx(entropy, abs=1e-3)
    elsewhere = best.clone()
    elsewhere[0, 1] = torch.tensor([1.0, 0, 0, 0, 0, 0])  # a ray that meets nothing may look anywhere
    assert _surface_loss(elsewhere, along) == _surface_loss(best, along)
    assert _surface_loss(torch.full((1, 3, 6), 1 / 6), along) > 1.3 * entropy
    assert float(_surface_loss(best[:, 1:2], TrueRays(torch.zeros(1, 3), place[1:2]))) == 0.0


def _units(posed: PosedViews, scene: Scene) -> float:
    """Return by how much a scene is larger than told."""
    straight = posed.scenes(torch.tensor([0]), torch.arange(9)[None], 0.0)[0]
    return float(np.linalg.norm(scene.query.T) / np.linalg.norm(straight.query.T))
