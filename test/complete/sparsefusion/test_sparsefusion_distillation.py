"""Distillation as published: what SparseFusion takes renderings for, with tiny random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="pip install .[models]")
pytest.importorskip("transformers", reason="pip install .[models]")

from published_sparsefusion import TINY, tiny_layout, write_files  # noqa: E402
from scenes import recording  # noqa: E402
from sessions import session_of  # noqa: E402

from sparse_recon.complete.latent.weights import find_weights  # noqa: E402
from sparse_recon.complete.registry import COMPLETERS  # noqa: E402
from sparse_recon.complete.sparsefusion.cameras import OBJECT_UNITS, ndc_cameras  # noqa: E402
from sparse_recon.complete.sparsefusion.model import SparseFusionModel  # noqa: E402
from sparse_recon.complete.sparsefusion.target import (  # noqa: E402
    RING,
    SEEN,
    SparseFusionTarget,
    input_view,
    schedule,
)
from sparse_recon.complete.sparsefusion.vldm_schedule import log_snr  # noqa: E402
from sparse_recon.config.session_config import load_config  # noqa: E402
from sparse_recon.errors import CancelledError, ErrorCode, ModelError  # noqa: E402
from sparse_recon.fuse.radiance.distill_target import TargetDistillation  # noqa: E402
from sparse_recon.geometry.cameras import project_points  # noqa: E402
from sparse_recon.geometry.poses import inverse, look_at, transform_points  # noqa: E402
from sparse_recon.requests import CompletionRequest  # noqa: E402
from sparse_recon.types import CameraIntrinsics, Frame, ObjectView  # noqa: E402

UNIT_M = 0.08
MIDDLE = np.array([0.0, 0.0, 0.04])
LENS = CameraIntrinsics(160, 120, np.array([[150.0, 0, 70.0], [0, 155.0, 66.0], [0, 0, 1]]))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_files(tmp_path_factory.mktemp("weights") / "hydrant")
    return SparseFusionModel(find_weights(folder, tiny_layout()).tensors, TINY, "cpu", torch.float32)


def shown(frame: Frame, mask: np.ndarray) -> ObjectView:
    return ObjectView(frame, mask, np.zeros(mask.shape, bool), np.zeros(mask.shape, np.float32))


def view_from(eye, beside=(0.01, 0.02, 0.0)) -> ObjectView:
    """A view of a ball around `MIDDLE`, red where x > 0, by a camera that looks a little beside it."""
    T_world_cam = look_at(np.asarray(eye, float), MIDDLE + beside)
    u, v = np.meshgrid(np.arange(LENS.width), np.arange(LENS.height))
    rays = np.stack([(u - LENS.cx) / LENS.fx, (v - LENS.cy) / LENS.fy, np.ones_like(u, float)], -1)
    rays = rays @ T_world_cam[:3, :3].T / np.linalg.norm(rays, axis=-1, keepdims=True)
    to_middle = MIDDLE - T_world_cam[:3, 3]
    along = rays @ to_middle
    behind = (0.5 * UNIT_M) ** 2 - (to_middle @ to_middle - along**2)
    mask = behind > 0
    surface = T_world_cam[:3, 3] + (along - np.sqrt(np.maximum(behind, 0)))[..., None] * rays
    rgb = np.where(surface[..., :1] > 0, (255, 60, 60), (60, 60, 255))
    frame = Frame(rgb.astype(np.uint8), None, LENS, T_world_cam, 1, camera="wrist")
    return shown(frame, mask)


VIEWS = [view_from(eye) for eye in ((0.3, 0.1, 0.25), (-0.1, 0.35, 0.2))]


def target_of(model, plan=None, checkpoint=lambda: None) -> SparseFusionTarget:
    T_world_centre = np.eye(4)
    T_world_centre[:3, 3] = MIDDLE
    scene_m = UNIT_M / OBJECT_UNITS
    cameras = ndc_cameras([inverse(T_world_centre) @ v.frame.T_world_cam for v in VIEWS], [LENS] * len(VIEWS), scene_m)
    pictures = torch.rand(2, 3, TINY.image_side, TINY.image_side, generator=torch.Generator().manual_seed(0))
    return SparseFusionTarget(
        model,
        model.shown(pictures, cameras),
        VIEWS,
        T_world_centre,
        UNIT_M,
        0.5 * UNIT_M,
        scene_m,
        plan or schedule(30, 24),
        lambda a, b: (a - b).square().mean(),
        0,
        checkpoint,
    )


def denoised(target, camera=0, level=0.3, seed=0):
    rgb = torch.rand(3, TINY.image_side, TINY.image_side, generator=torch.Generator().manual_seed(5))
    return target.denoised(rgb, camera, level, torch.Generator().manual_seed(seed))


def test_terms_and_weights_are_those_of_the_paper():
    plan = schedule(3000, 64)
    first, then = plan.phases
    assert (first.until, then.until) == (1000, 3000) and plan.inputs_apart
    assert (first.difference, first.color, first.mask, first.weighted, first.perceptual) == ("huber", 1, 1, False, 0)
    assert (then.difference, then.weighted, then.perceptual, then.opacity) == ("l1", True, 0.1, 1e-3)
    assert (plan.input_difference, plan.input_color, plan.input_mask, plan.input_opacity) == ("huber", 1, 1, 1e-3)
    assert schedule(2, 24).iterations == 2


def test_the_feature_network_leads_at_first_and_is_asked_once_a_camera(model, monkeypatch):
    calls, plain = [], model.told
    monkeypatch.setattr(model, "told", lambda *given: calls.append(0) or plain(*given))
    target = target_of(model)

    led = denoised(target, 7, 0.0)
    assert led.rgb.shape == (3, TINY.image_side, TINY.image_side) and led.weight == 1.0
    assert torch.equal(led.mask, (led.rgb.mean(0) > SEEN).float())
    assert torch.equal(led.rgb, target.denoised(torch.zeros_like(led.rgb), 7, 0.0, torch.Generator()).rgb)
    denoised(target, 7, 0.6)
    assert len(calls) == 1


def test_answers_depend_on_the_noise_and_count_by_it(model):
    target = target_of(model)
    one, again, other = (denoised(target, 3, 0.6, seed) for seed in (1, 1, 2))
    assert torch.equal(one.rgb, again.rgb) and not torch.equal(one.rgb, other.rgb)
    assert one.mask is None and one.rgb.min() >= 0 and one.rgb.max() <= 1
    assert one.weight == pytest.approx(1 - float(torch.sigmoid(log_snr(torch.tensor(0.6)))))
    assert denoised(target, 3, 1.0).weight == denoised(target, 3, 0.99).weight > one.weight


def test_it_is_asked_from_where_pictures_were_taken_and_from_a_ring(model):
    target = target_of(model)
    assert target.cameras.shape == (2 + RING, 4, 4) and len(target.inputs) == 2
    for view, camera in zip(VIEWS, target.cameras, strict=False):
        np.testing.assert_allclose(camera[:3, 3] * UNIT_M + MIDDLE, view.frame.T_world_cam[:3, 3], atol=1e-9)
    middle = np.concatenate([transform_points(inverse(T), np.zeros((1, 3))) for T in target.cameras])
    np.testing.assert_allclose(middle[:, :2], 0.0, atol=1e-9)
    # The ball is in every picture, as large as it gets in the nearest one.
    share = [float(v.mask.mean()) for v in target.inputs]
    assert all(0.3 < s < np.pi / 4 for s in share)


def test_input_views_are_what_a_turned_camera_takes(model):
    target = target_of(model)
    lens = CameraIntrinsics(
        target.size,
        target.size,
        np.array([[target.focal, 0, 0.5 * target.size - 0.5], [0, target.focal, 0.5 * target.size - 0.5], [0, 0, 1.0]]),
    )
    wrong = []
    for given, camera in zip(target.inputs, target.cameras, strict=False):
        points = np.random.default_rng(0).normal(size=(400, 3))
        points *= 0.5 / np.linalg.norm(points, axis=1, keepdims=True)
        towards = camera[:3, 3] / np.linalg.norm(camera[:3, 3])
        points = points[(points @ towards > 0.35) & (np.abs(points[:, 0]) > 0.1)]
        pixels = np.rint(project_points(transform_points(inverse(camera), points), lens)).astype(int)
        seen = given.rgb[:, pixels[:, 1], pixels[:, 0]].numpy().T
        wrong.append(np.mean((seen[:, 0] > seen[:, 2]) != (points[:, 0] > 0)))
        assert float(given.mask[pixels[:, 1], pixels[:, 0]].min()) > 0.9
    assert max(wrong) < 0.02


def test_a_pixel_lands_where_the_turned_camera_sees_it():
    view = VIEWS[0]
    T_world_cam = look_at(view.frame.T_world_cam[:3, 3], MIDDLE)
    lens = CameraIntrinsics(64, 64, np.array([[120.0, 0, 31.5], [0, 120.0, 31.5], [0, 0, 1]]))
    rgb = np.zeros_like(view.frame.rgb)
    row, column = np.argwhere(view.mask)[len(np.argwhere(view.mask)) // 3]
    rgb[row - 1 : row + 2, column - 1 : column + 2] = 255
    marked = shown(Frame(rgb, None, LENS, view.frame.T_world_cam, 1), view.mask)
    ray = np.linalg.inv(LENS.K) @ (column, row, 1.0)
    expected = project_points(transform_points(inverse(T_world_cam) @ view.frame.T_world_cam, 0.3 * ray[None]), lens)[0]
    found = input_view(marked, T_world_cam, lens, np.eye(4), "cpu").rgb.mean(0).numpy()
    v, u = np.indices(found.shape)
    np.testing.assert_allclose(((u * found).sum() / found.sum(), (v * found).sum() / found.sum()), expected, atol=0.15)


def test_a_field_learns_from_it(model):
    distillation = TargetDistillation(target_of(model), 0)
    led, then = (distillation.iterate(number) for number in (0, 20))
    assert {"input_color", "input_mask", "input_opacity", "color", "mask"} == led.keys()
    assert {"input_color", "input_mask", "input_opacity", "color", "perceptual", "opacity"} == then.keys()
    assert all(np.isfinite(v) for v in (*led.values(), *then.values()))


def test_it_can_be_stopped_within_the_networks(model):
    asked = []

    def stop() -> None:
        asked.append(0)
        if len(asked) > 3:
            raise CancelledError(ErrorCode.CANCELLED, "cancelled")

    target = target_of(model, checkpoint=stop)
    target._told[0] = model.told(target._shown, target._queries[:1], target._depths, 0)
    with pytest.raises(CancelledError):
        denoised(target)
    assert len(asked) == 4 and model.checkpoint() is None


def test_a_session_distils(tmp_path, monkeypatch):
    monkeypatch.setitem(COMPLETERS, "sparsefusion", "published_sparsefusion:TinySparseFusion")
    values = {
        "model": "sparsefusion",
        "evidence.grid": 40,
        "evidence.fine_voxel_m": 0.0025,
        "sparsefusion.weights": str(write_files(Path(tmp_path) / "hydrant")),
        "sparsefusion.precision": "fp32",
        "sparsefusion.device": "cpu",
        "sparsefusion.geometry": "distill",
        "sparsefusion.iterations": 60,
        "distill.grid": 24,
        "distill.views": 4,
    }
    session = session_of(recording(views=3, turn_deg=200).frames, load_config(values))
    steps = []
    result = session.complete(CompletionRequest(), on_progress=lambda told: steps.append(told.fraction))
    assert result.quality.nominal_watertight and steps == sorted(steps) and len(steps) > 60
    assert result.quality.model_figures["context_views"] == 3


def test_lpips_that_is_not_there_is_told_when_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setitem(COMPLETERS, "sparsefusion", "published_sparsefusion:TinySparseFusion")
    values = {
        "model": "sparsefusion",
        "sparsefusion.weights": str(write_files(Path(tmp_path) / "hydrant")),
        "sparsefusion.geometry": "distill",
        "sparsefusion.lpips": str(tmp_path),
    }
    with pytest.raises(ModelError, match=r"vgg16-397923af\.pth.*vgg\.pth") as caught:
        session_of((), load_config(values)).load()
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_MISSING
