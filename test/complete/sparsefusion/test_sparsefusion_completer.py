"""SparseFusion as a session asks it, with tiny random weights: what it draws is noise, all else is as on a robot."""

from __future__ import annotations

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="pip install .[models]")
pytest.importorskip("transformers", reason="pip install .[models]")

from published_sparsefusion import TINY, tiny_layout, write_files  # noqa: E402
from scenes import recording  # noqa: E402
from sessions import digest, session_of  # noqa: E402

from sparse_recon.complete.latent.cameras import WIDEST_RAD  # noqa: E402
from sparse_recon.complete.latent.weights import find_weights  # noqa: E402
from sparse_recon.complete.registry import COMPLETERS  # noqa: E402
from sparse_recon.complete.sparsefusion.cameras import OBJECT_UNITS, ndc_cameras  # noqa: E402
from sparse_recon.complete.sparsefusion.completer import _warnings  # noqa: E402
from sparse_recon.complete.sparsefusion.model import SparseFusionModel  # noqa: E402
from sparse_recon.complete.sparsefusion.parameters import SparseFusionConfig  # noqa: E402
from sparse_recon.complete.sparsefusion.ring import FILL, camera_ring, least_turn_rad, ring_lens  # noqa: E402
from sparse_recon.complete.sparsefusion.sampling import ViewSampler  # noqa: E402
from sparse_recon.config.session_config import load_config  # noqa: E402
from sparse_recon.errors import CancelledError, ErrorCode, ModelError  # noqa: E402
from sparse_recon.files.results import quality_record  # noqa: E402
from sparse_recon.geometry.cameras import project_points  # noqa: E402
from sparse_recon.geometry.poses import inverse, look_at, transform_points  # noqa: E402
from sparse_recon.machine.processor import torch_threads  # noqa: E402
from sparse_recon.requests import CompletionRequest  # noqa: E402
from sparse_recon.types import Provenance  # noqa: E402

SMALL = {
    "model": "sparsefusion",
    "evidence.grid": 40,
    "evidence.fine_voxel_m": 0.0025,
    "sparsefusion.precision": "fp32",
    "sparsefusion.views": 6,
    "sparsefusion.steps": 2,
    "sparsefusion.device": "cpu",
    "fit.iterations": 10,
    "fit.rays": 400,
    "fit.grid": 32,
    "fit.views": 4,
}
CENTRES = np.array([(2.0, 0.0, 1.0), (0.0, 2.0, 1.0), (-1.5, -1.5, 0.8)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("weights") / "hydrant")


@pytest.fixture
def model(folder):
    return SparseFusionModel(find_weights(folder, tiny_layout()).tensors, TINY, "cpu", torch.float32)


@pytest.fixture
def session_for(folder, monkeypatch):
    monkeypatch.setitem(COMPLETERS, "sparsefusion", "published_sparsefusion:TinySparseFusion")

    def made(views=3, **values):
        config = load_config({**SMALL, "sparsefusion.weights": str(folder), **values})
        return session_of(recording(views=views, turn_deg=200).frames, config)

    return made


def asked(side=TINY.image_side, count=6):
    """Pictures of noise, cameras that took them, and those of a ring."""
    ring = camera_ring(CENTRES, count)
    lens = ring_lens(ring[0].radius, 0.75, side)
    cameras = ndc_cameras([look_at(c, (0, 0, 0)) for c in CENTRES], [lens] * 3, 1 / OBJECT_UNITS)
    queries = ndc_cameras([camera.T_obj_cam() for camera in ring], [lens] * count, 1 / OBJECT_UNITS)
    return torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(1)), cameras, queries


def test_a_session_completes_with_all_its_views(session_for):
    session = session_for()
    session.load()
    seen, times = [], []

    def cancel() -> bool:
        times.append(time.thread_time())
        return False

    with torch_threads(1):
        result = session.complete(CompletionRequest(seed=3), on_progress=seen.append, cancel=cancel)
        again, other = (session.complete(CompletionRequest(seed=seed)) for seed in (3, 4))

    assert result.model == "sparsefusion"
    assert result.quality.nominal_watertight and result.quality.free_space_violation == 0
    assert {Provenance.OBSERVED, Provenance.INFERRED} == set(result.provenance.tolist())
    told = quality_record(result)["model_figures"]
    assert told["context_views"] == result.quality.views_used == 3
    assert 0.05 <= told["agreement"] <= 0.9 and told["precision"] == "float32"
    assert not any("only bound" in warning for warning in result.quality.warnings)
    shares = [p.fraction for p in seen]
    assert shares == sorted(shares) and any(p.preview is not None for p in seen)
    # Whoever wants to stop is asked often enough; time of this thread, for the machine may be busy.
    assert max(np.diff(times)) < 0.5
    observed = result.points_world[result.provenance == Provenance.OBSERVED]
    assert np.abs(np.linalg.norm(observed - (0, 0, 0.04), axis=1) - 0.04).mean() < 0.002
    assert digest(result) == digest(again) != digest(other)


def test_one_view_is_a_guess_and_fewer_than_there_are_may_be_asked_for(session_for):
    result = session_for(1, **{"sparsefusion.generator": "eft"}).complete(CompletionRequest())
    assert any("single view" in warning for warning in result.quality.warnings)

    session = session_for(3, **{"sparsefusion.generator": "eft", "sparsefusion.context_views": 2})
    result = session.complete(CompletionRequest())
    assert any("2 of 3 views" in warning for warning in result.quality.warnings)
    assert quality_record(result)["model_figures"]["context_views"] == 2


def test_cancelled_within_a_pass_of_the_denoiser(session_for):
    session = session_for()
    session.load()
    passes = []
    network = session._completers["sparsefusion"]._model.vldm
    network.conv_in.register_forward_hook(lambda *_: passes.append(0))
    network.conv_out.register_forward_hook(lambda *_: passes.append(1))

    with pytest.raises(CancelledError):
        session.complete(CompletionRequest(), cancel=lambda: bool(passes))
    assert passes == [0]  # begun, and not done


def test_without_weights_it_says_which_files_go_where(session_for):
    session = session_for(**{"sparsefusion.weights": ""})
    with pytest.raises(ModelError, match=r"no path is given.*ckpt_latest_eft\.pt.*sd-v1-3-vae\.ckpt") as caught:
        session.complete(CompletionRequest())
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_MISSING


@pytest.mark.parametrize("values", [{}, {"generator": "eft"}, {"sampler": "multistep"}, {"guidance": 2.0}])
def test_pictures_do_not_depend_on_batches_and_do_on_what_is_asked(model, values):
    config = SparseFusionConfig(steps=2, at_once=6, **values)
    steps = []

    def drawn(at_once):
        sampler = ViewSampler(model, SparseFusionConfig(**{**vars(config), "at_once": at_once}))
        return sampler.generate(
            *asked(), range(6), SparseFusionConfig(**{**vars(config), "at_once": at_once}), _told(steps)
        )

    whole, parts = drawn(6), drawn(2)
    assert whole.shape == (6, 32, 32, 3) and whole.dtype == np.uint8
    assert np.abs(whole.astype(int) - parts).max() <= 1
    assert whole[0].std() > 0 and not np.array_equal(whole[0], whole[1])
    # Six views told of, then the steps of one batch or of three.
    drawing = 0 if config.generator == "eft" else 2
    counts = [6 + drawing, 6 + 3 * drawing]
    assert [step for step, _ in steps] == [*range(1, counts[0] + 1), *range(1, counts[1] + 1)]
    assert {count for _, count in steps[-1:]} == {counts[1]}


def _told(steps):
    return lambda step, count, clean: steps.append((step, count))


def test_features_do_not_know_order_of_views_nor_where_the_world_is(model):
    pictures, cameras, queries = asked()
    depths = (3.0, 13.0)
    found = model.told(model.shown(pictures, cameras), queries[:1], depths, 0)

    order = [2, 0, 1]
    other = model.told(model.shown(pictures[order], cameras[order]), queries[:1], depths, 0)
    assert torch.allclose(found.features, other.features, atol=1e-4)

    away, scale = look_at((3.0, -2.0, 1.0), (0.5, 0.2, 0.0)), 1 / OBJECT_UNITS
    lens = queries.pixels(32, 32)[0]
    moved = ndc_cameras([away @ T for T in cameras.T_scene_cam(scale)], [lens] * 3, scale)
    asks = ndc_cameras([away @ queries.T_scene_cam(scale)[0]], [lens], scale)
    other = model.told(model.shown(pictures, moved), asks, depths, 0)
    assert torch.allclose(found.features, other.features, atol=1e-4)
    assert torch.allclose(found.rgb, other.rgb, atol=1e-4)


def test_authors_mode_is_by_chance_and_follows_the_seed(model):
    pictures, cameras, queries = asked()
    model.eft.authors_mode(True)
    shown = model.shown(pictures, cameras)

    def told(seed):
        return model.told(shown, queries[:1], (3.0, 13.0), seed).features

    assert torch.equal(told(1), told(1)) and not torch.allclose(told(1), told(2), atol=1e-3)


def test_ring_is_around_the_object_and_shows_all_of_it():
    ring = camera_ring(CENTRES, 6)
    first = np.arctan2(CENTRES[0, 1], CENTRES[0, 0])
    turns = np.unwrap([camera.azimuth_rad for camera in ring]) - first
    assert np.allclose(turns, np.arange(6) * np.pi / 3)
    assert ring[0].radius == pytest.approx(np.linalg.norm(CENTRES, axis=1).mean())
    heights = [camera.elevation_rad for camera in ring]
    assert heights[0] == heights[2] == pytest.approx(heights[1] - 0.34)


@pytest.mark.parametrize("distance", [1.3, 3.0, 9.0])
def test_lens_of_the_ring_shows_all_of_a_cube(distance):
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    lens = ring_lens(distance, float(np.linalg.norm(corners[0])), 64)
    for camera in camera_ring(distance * CENTRES / np.linalg.norm(CENTRES, axis=1, keepdims=True), 6):
        pixels = project_points(transform_points(inverse(camera.T_obj_cam()), corners), lens)
        across = np.ptp(pixels, axis=0).max()
        assert across > 0.5 * FILL * 64 and pixels.min() > -0.5 and pixels.max() < 63.5


def test_lens_of_the_ring_within_the_object_is_no_wider_than_there_are():
    lens = ring_lens(0.5, 0.8, 64)
    assert np.arctan(32 / lens.fx) < np.arctan(np.tan(WIDEST_RAD) / FILL) + 1e-9


def test_cameras_far_above_are_told_that_the_ring_is_lower():
    above = np.array([(0.3, 0.0, 2.0), (-0.3, 0.0, 2.0)])
    assert any("81 degrees" in text and "60 degrees" in text for text in _warnings(2, [], above))
    assert not any("degrees above" in text for text in _warnings(2, [], CENTRES))
    assert np.mean([camera.elevation_rad for camera in camera_ring(above, 6)]) == pytest.approx(np.deg2rad(60))


def test_views_without_overlap_are_told_apart_from_others():
    assert least_turn_rad(CENTRES[:1]) == 0.0
    assert np.rad2deg(least_turn_rad(np.array([(1.0, 0, 0), (0, 1.0, 0), (-1.0, 0, 0)]))) == pytest.approx(90)
    assert np.rad2deg(least_turn_rad(np.array([(1.0, 0, 0), (0.9, 0.1, 0), (-1.0, 0, 0)]))) > 150
