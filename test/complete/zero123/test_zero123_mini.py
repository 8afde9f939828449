"""The mini weights that ship: a session completes with them, and files that do not fit together are refused."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from scenes import recording  # noqa: E402
from sessions import session_of  # noqa: E402

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize  # noqa: E402
from sparse_recon.complete.latent.mini import AUTOENCODER_FILE, mini_path, mini_weights, read_mini  # noqa: E402
from sparse_recon.complete.zero123.weights import MINI_FILE, Zero123Size, layout  # noqa: E402
from sparse_recon.config.session_config import load_config  # noqa: E402
from sparse_recon.errors import ErrorCode, ModelError  # noqa: E402
from sparse_recon.requests import CompletionRequest  # noqa: E402
from sparse_recon.types import Provenance  # noqa: E402

SMALL = {
    "model": "zero123",
    "zero123.weights": "mini",
    "evidence.grid": 40,
    "evidence.fine_voxel_m": 0.0025,
    "fit.iterations": 10,
    "fit.rays": 400,
    "fit.grid": 32,
    "fit.views": 4,
    "zero123.views": 3,
    "zero123.steps": 3,
    "zero123.device": "cpu",
}
SIZES = {"unet": UNetSize, "clip": ClipSize}


def layout_of(sizes):
    return layout(Zero123Size(**sizes))


def changed(tmp_path, tensors=lambda t: t, about=lambda a: a):
    """Return the path of the shipped file with some of it replaced."""
    with safe_open(mini_path(MINI_FILE), framework="pt") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = json.loads(file.metadata()["about"])
    path = tmp_path / MINI_FILE
    save_file(tensors(held), path, {"about": json.dumps(about(told))})
    return path


def test_sizes_that_make_no_network_are_refused(tmp_path):
    def odd(about):
        about["sizes"]["unet"]["groups"] = 7
        return about

    with pytest.raises(ModelError, match="no networks") as caught:
        mini_weights(changed(tmp_path, about=odd), SIZES, layout_of)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID


def test_a_session_completes_with_them_and_says_what_they_are():
    result = session_of(recording().frames, load_config(SMALL)).complete(CompletionRequest())

    assert result.model == "zero123" and result.quality.free_space_violation == 0
    assert {Provenance.OBSERVED, Provenance.INFERRED} == set(result.provenance.tolist())
    assert any("mini" in warning for warning in result.quality.warnings)


def test_without_weights_the_error_names_them():
    with pytest.raises(ModelError, match=r"zero123\.weights: mini") as caught:
        session_of(recording().frames, load_config({**SMALL, "zero123.weights": ""})).complete(CompletionRequest())
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_MISSING and "105000.ckpt" in str(caught.value)


def test_both_files_are_small_and_tell_what_they_were_trained_on():
    for name in (MINI_FILE, AUTOENCODER_FILE):
        assert mini_path(name).stat().st_size < 15_000_000
        about = read_mini(mini_path(name)).about
        assert about["licence"] == "Apache-2.0" and about["held_out"]["objects"] >= 24
        assert set(about["training"]["data"]["scans"]) and about["training"]["data"]["held_out_every"] > 1
    assert read_mini(mini_path(AUTOENCODER_FILE)).about["held_out"]["psnr_db"] > 27


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"about": lambda a: {**a, "autoencoder": "0" * 64}}, "another autoencoder"),
        ({"about": lambda a: {**a, "sizes": {**a["sizes"], "unet": {**a["sizes"]["unet"], "width": 10**9}}}}, "up to"),
        ({"about": lambda a: {k: v for k, v in a.items() if k != "sizes"}}, "do not tell the sizes"),
        ({"tensors": lambda t: {k: v for k, v in t.items() if k != "unet.conv_in.bias"}}, "missing: unet.conv_in.bias"),
        ({"tensors": lambda t: {**t, "unet.conv_in.bias": t["unet.conv_in.bias"] * torch.nan}}, "not a number"),
    ],
)
def test_files_that_do_not_fit_are_refused(change, why, tmp_path):
    path = changed(tmp_path, **change)
    with pytest.raises(ModelError, match=why) as caught:
        mini_weights(path, SIZES, layout_of)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID
