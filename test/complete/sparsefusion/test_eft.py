"""The epipolar feature transformer: published size, what it may not depend on, and rays that meet what they should."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from sparse_recon.complete.sparsefusion.eft import Context, EpipolarFeatureTransformer  # noqa: E402
from sparse_recon.complete.sparsefusion.eft_backbone import ResNet18  # noqa: E402
from sparse_recon.complete.sparsefusion.eft_rays import (  # noqa: E402
    CameraTensors,
    Rays,
    embedded_line,
    harmonic,
    query_rays,
    sampled,
)
from sparse_recon.complete.sparsefusion.sizes import EftSize  # noqa: E402


def first_camera(cameras: CameraTensors) -> CameraTensors:
    return CameraTensors(cameras.R[:1], cameras.T[:1], cameras.focal[:1], cameras.principal[:1])


def at_origin() -> CameraTensors:
    return CameraTensors(torch.eye(3)[None], torch.zeros(1, 3), torch.tensor([[2.0, 2.0]]), torch.zeros(1, 2))


@pytest.fixture
def rays():
    return query_rays(at_origin(), 4, 32, 3.0, 13.0, 20)


def test_published_size_has_the_published_tensors():
    with torch.device("meta"):
        made = EpipolarFeatureTransformer(EftSize())

    state = made.state_dict()
    counted = {k: sum(p.numel() for p in made.get_submodule(k).parameters()) for k in ("t1", "t2", "t3")}
    assert sum(p.numel() for p in made.parameters()) == 16_810_285
    assert sum(p.numel() for p in made.encoder_model.parameters()) == 11_689_512
    assert counted == {"t1": 1_738_496, "t2": 1_692_160, "t3": 1_688_832}
    assert len(state) == 278 and len(list(made.parameters())) == 218
    assert {name.partition(".")[0] for name in state} == {
        *("encoder_model", "t1", "t2", "t3", "t2_attn", "t3_attn", "color_layer"),
    }
    for name, shape in {
        "encoder_model.layer4.0.downsample.1.running_var": (512,),
        "encoder_model.fc.weight": (1000, 512),
        "t1.pre.0.weight": (256, 606),
        "t2.pre.0.weight": (256, 425),
        "t3.pre.0.weight": (256, 412),
        "t3.encoder.layers.3.self_attn.in_proj_weight": (768, 256),
        "t3.encoder.layers.3.self_attn.out_proj.bias": (256,),
        "color_layer.0.weight": (3, 256),
    }.items():
        assert tuple(state[name].shape) == shape


def test_backbone_without_a_fourth_level_has_no_classifier():
    small = ResNet18((8, 8, 16))
    assert not any(name.startswith(("layer4", "fc")) for name in small.state_dict())
    assert small(torch.rand(2, 3, 32, 32)).shape == (2, 40, 16, 16)
    with pytest.raises(ValueError, match="levels"):
        EftSize(backbone=(8, 8))


def test_harmonics():
    found = harmonic(torch.tensor([0.3]), 6)
    assert found.shape == (13,)
    assert found[[0, 11, 12]].tolist() == pytest.approx([0.295520, -0.984688, 0.3], abs=1e-6)
    assert harmonic(torch.zeros(2, 6), 6).shape == (2, 78)


def test_a_line_is_the_same_from_each_of_its_points():
    origin, direction = torch.tensor([0.3, -1.0, 2.0]), torch.nn.functional.normalize(torch.tensor([1.0, 2, 3]), dim=0)
    assert torch.allclose(
        embedded_line(origin, direction, 6), embedded_line(origin + 1.7 * direction, direction, 6), atol=1e-4
    )


def test_corner_rays_meet_the_corner_pixels(rays):
    points = rays.points()
    assert points.shape == (16, 20, 3)
    edge = 31 / 32
    # Left is positive, up is positive; lengths are along the optical axis.
    assert points[0, 0].tolist() == pytest.approx([3 * edge / 2, 3 * edge / 2, 3.0])
    assert points[3, -1].tolist() == pytest.approx([-13 * edge / 2, 13 * edge / 2, 13.0])


def test_points_of_a_ray_are_seen_where_the_ray_begins(context):
    """A camera's own rays: each point is projected to the pixel, at all depths."""
    cameras = first_camera(context.cameras)
    rays = query_rays(cameras, 8, 32, 2.0, 14.0, 5)
    seen = cameras.projected(rays.points().reshape(-1, 3)).reshape(64, 5, 2)
    edge = 31 / 32
    assert seen[0, :, 0].tolist() == pytest.approx([edge] * 5, abs=1e-5)
    assert seen[7, :, 0].tolist() == pytest.approx([-edge] * 5, abs=1e-5)
    assert seen[63, :, 1].tolist() == pytest.approx([-edge] * 5, abs=1e-5)


def test_colours_along_a_ray_of_the_camera_itself_are_those_of_one_pixel():
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    camera = at_origin()
    # Middles of corner pixels at 1 and -1: column 5 and row 2 of 16.
    place = torch.tensor([1 - 2 * 5 / 15, 1 - 2 * 2 / 15])
    direction = torch.cat([place / 2.0, torch.ones(1)])
    ray = Rays(torch.zeros(1, 3), direction[None], torch.linspace(1.0, 9.0, 7)[None])
    found = sampled(picture, camera.projected(ray.points().reshape(-1, 3)))
    assert torch.allclose(found[0], picture[0, :, 2, 5].expand(7, 3), atol=1e-5)


def test_answer_has_weights_that_sum_to_one(eft, context, rays):
    found = eft(context, rays)
    assert found.rgb.shape == (16, 3) and found.features.shape == (16, 32)
    assert torch.allclose(found.point_weights.sum(2), torch.ones(4, 16), atol=1e-5)
    assert torch.allclose(found.view_weights.sum(0), torch.ones(16), atol=1e-5)
    assert bool(((found.rgb > 0) & (found.rgb < 1)).all()) and float(found.features.std()) > 0.1


@pytest.mark.parametrize("count", [1, 2, 4])
def test_order_of_views_changes_nothing(eft, context, rays, count):
    order = torch.tensor([2, 0, 3, 1])[:count] if count == 4 else torch.arange(count).flip(0)

    def views(rows):
        cameras = context.cameras
        some = CameraTensors(cameras.R[rows], cameras.T[rows], cameras.focal[rows], cameras.principal[rows])
        return Context(context.pictures[rows], context.maps[rows], some)

    some, others = eft(views(torch.arange(count)), rays), eft(views(order), rays)
    assert torch.allclose(some.features, others.features, atol=1e-5)
    assert torch.allclose(some.rgb, others.rgb, atol=1e-5)


def test_chunks_change_nothing(eft, context, rays):
    whole, parts = eft(context, rays), eft.at_rays(context, rays, chunk=3)
    assert torch.allclose(whole.features, parts.features, atol=1e-5)
    assert torch.allclose(whole.point_weights, parts.point_weights, atol=1e-5)


@pytest.mark.parametrize(("views", "at_once"), [(1, 128), (2, 64), (4, 32)])
def test_the_more_views_the_fewer_rays_between_two_checkpoints(eft, context, rays, views, at_once):
    cameras, calls = context.cameras, []
    rows = torch.arange(views)
    some = CameraTensors(cameras.R[rows], cameras.T[rows], cameras.focal[rows], cameras.principal[rows])
    few = Context(context.pictures[rows], context.maps[rows], some)
    chosen = torch.arange(130) % len(rays)
    many = Rays(rays.origins[chosen], rays.directions[chosen], rays.depths[chosen])
    eft.at_rays(few, many, checkpoint=lambda: calls.append(1))
    assert len(calls) == -(-130 // at_once)


def test_default_is_without_chance_and_dropout_follows_its_generator(eft, context, rays):
    def dropped(seed):
        return eft(context, rays, torch.Generator().manual_seed(seed)).features

    state = torch.get_rng_state()
    assert torch.equal(eft(context, rays).features, eft(context, rays).features)
    assert torch.equal(dropped(1), dropped(1)) and not torch.equal(dropped(1), dropped(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_authors_mode_looks_at_the_pictures_at_hand_and_keeps_nothing_of_them(eft, context, rays):
    before = {name: value.clone() for name, value in eft.state_dict().items()}
    eft.authors_mode(True)
    maps = eft.maps(context.pictures)
    alone = eft.maps(context.pictures[:1])

    assert not torch.allclose(maps, context.maps, atol=1e-2)
    assert not torch.allclose(maps[:1], alone, atol=1e-2)  # each picture is seen beside the others
    inside = eft.encoder_model.conv1(context.pictures)
    normal = (inside - inside.mean((0, 2, 3), keepdim=True)) / inside.var((0, 2, 3), False, keepdim=True).add(
        1e-5
    ).sqrt()
    assert torch.allclose(maps[:, :8], normal.relu(), atol=1e-4)
    generator = torch.Generator().manual_seed(0)
    shown = Context(context.pictures, maps, context.cameras)
    assert not torch.equal(eft(shown, rays, generator).features, eft(shown, rays, generator).features)
    assert all(torch.equal(value, before[name]) for name, value in eft.state_dict().items())
    eft.authors_mode(False)
    assert torch.equal(eft.maps(context.pictures), context.maps)


def test_a_point_in_the_plane_of_a_camera_is_no_reason_for_nan(eft, context):
    camera = first_camera(context.cameras)
    centre = camera.centres()
    side = torch.tensor([[0.3, 0.2, 0.0]]) @ camera.R[0].T
    ray = Rays(centre, side, torch.linspace(0.0, 3.0, 20)[None])
    assert bool(eft(context, ray).features.isfinite().all())
