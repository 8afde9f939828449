"""Distances of pictures as people see them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="pip install .[models]")

from sparse_recon.complete.latent.perceptual import LPIPS_FILE, VGG_FILE, lpips_distance, own_distance  # noqa: E402
from sparse_recon.errors import ErrorCode, ModelError  # noqa: E402

CHANNELS = (64, 128, 256, 512, 512)
PLACES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))


def write_published(folder, **changed):
    """Write random weights with the names and shapes of torchvision's VGG-16 and of LPIPS 0.1."""
    generator = torch.Generator().manual_seed(0)
    vgg, before = {}, 3
    for width, places in zip(CHANNELS, PLACES, strict=True):
        for place in places:
            scale = (2 / (9 * before)) ** 0.5
            vgg[f"features.{place}.weight"] = torch.randn(width, before, 3, 3, generator=generator) * scale
            vgg[f"features.{place}.bias"] = torch.zeros(width)
            before = width
    vgg["classifier.6.bias"] = torch.zeros(1000)
    heads = {
        f"lin{k}.model.1.weight": torch.rand(1, width, 1, 1, generator=generator) for k, width in enumerate(CHANNELS)
    }
    torch.save(vgg, folder / VGG_FILE)
    torch.save(heads | changed, folder / LPIPS_FILE)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return lpips_distance(write_published(tmp_path_factory.mktemp("lpips")), "cpu")


def pictures():
    """A picture of blots, and the same more and more blurred."""
    blots = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    sharp = torch.nn.functional.interpolate(blots, 64, mode="nearest")
    return sharp, *(
        torch.nn.functional.avg_pool2d(sharp, side, 1, side // 2, count_include_pad=False) for side in (3, 7, 15)
    )


@pytest.mark.parametrize("kind", ["own", "published"])
def test_the_more_is_lost_the_farther(kind, request):
    distance = own_distance("cpu") if kind == "own" else request.getfixturevalue("published")
    sharp, *blurred = pictures()
    found = [float(distance(sharp, picture)) for picture in (sharp, *blurred)]
    assert found[0] == 0 and found == sorted(found) and len(set(found)) == 4
    assert float(distance(blurred[0], sharp)) == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("kind", ["own", "published"])
def test_it_has_a_gradient_even_where_pictures_are_equal_or_black(kind, request):
    distance = own_distance("cpu") if kind == "own" else request.getfixturevalue("published")
    for picture, other in ((torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)), pictures()[:2]):
        moved = picture.clone().requires_grad_(True)
        distance(moved, other).backward()
        assert bool(moved.grad.isfinite().all())
    assert float(moved.grad.abs().max()) > 0


def test_one_level_by_hand(tmp_path):
    heads = {f"lin{k}.model.1.weight": torch.zeros(1, width, 1, 1) for k, width in enumerate(CHANNELS)}
    heads["lin0.model.1.weight"] = torch.ones(1, 64, 1, 1)
    folder = write_published(tmp_path, **heads)
    vgg = torch.load(folder / VGG_FILE, weights_only=True)
    a, b = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(1))

    def features(picture):
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # of ImageNet
        x = (picture - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
        for place in (0, 2):
            x = torch.conv2d(x, vgg[f"features.{place}.weight"], vgg[f"features.{place}.bias"], padding=1).relu()
        return x / x.norm(dim=1, keepdim=True).clamp(min=1e-5)

    expected = (features(a) - features(b)).square().sum(1).mean()
    assert float(lpips_distance(folder, "cpu")(a, b)) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("shape", [(7,), (1, 256, 1, 1)])
def test_other_files_are_refused(tmp_path, shape):
    folder = write_published(tmp_path, **{"lin3.model.1.weight": torch.zeros(shape)})
    with pytest.raises(
        ModelError, match=r"lin3\.model\.1\.weight is of shape .* instead of \(1, 512, 1, 1\)"
    ) as caught:
        lpips_distance(folder, "cpu")
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID
