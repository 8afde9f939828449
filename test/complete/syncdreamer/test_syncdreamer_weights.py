"""Weights of SyncDreamer from its authors' checkpoint: strict, and for the cameras that the networks are built for."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from published_syncdreamer import TINY, published, write_checkpoint  # noqa: E402

from sparse_recon.cli.main import main  # noqa: E402
from sparse_recon.complete.latent.converted import convert, summary  # noqa: E402
from sparse_recon.complete.latent.keymap import written  # noqa: E402
from sparse_recon.complete.latent.mismatch import WeightsMismatchError  # noqa: E402
from sparse_recon.complete.latent.weights import find_weights  # noqa: E402
from sparse_recon.complete.registry import PUBLISHED  # noqa: E402
from sparse_recon.complete.syncdreamer.cameras import T_cam_obj, view_poses  # noqa: E402
from sparse_recon.complete.syncdreamer.weights import layout  # noqa: E402
from sparse_recon.errors import ErrorCode  # noqa: E402

LAYOUT = layout(TINY)


def test_checkpoint_of_published_size_has_the_published_tensors():
    full = layout()
    shapes = {name: torch.empty(shape, device="meta") for name, shape in full.shapes().items()}
    theirs = {name: tuple(t.shape) for name, t in written(full.published[0].rules, shapes).items()}

    def count(prefix):
        return sum(name.startswith(prefix) for name in theirs)

    # 1,618 of the authors' module but for seven tables of noise and six left-overs of CLIP's text side.
    assert len(theirs) == 1618 - 7 - 6
    assert count("model.diffusion_model.") == 856
    assert count("spatial_volume.target_encoder.") == 42
    assert count("spatial_volume.spatial_volume_feats.") == 80
    assert count("spatial_volume.frustum_volume_feats.") == 74
    assert (count("first_stage_model."), count("clip_image_encoder.model.visual.")) == (248, 296)
    assert theirs["spatial_volume.spatial_volume_feats.init_conv.weight"] == (64, 256, 3, 3, 3)
    assert theirs["spatial_volume.spatial_volume_feats.conv7.conv.weight"] == (512, 256, 3, 3, 3)
    assert theirs["spatial_volume.target_encoder.out_conv0.view_embed.weight"] == (16, 4, 1, 1)
    assert theirs["model.diffusion_model.output_conditions.2.depth_attn.to_k.weight"] == (256, 128, 1, 1, 1)
    assert theirs["model.diffusion_model.middle_conditions.depth_attn.to_out.weight"] == (1024, 1024, 1, 1)
    assert theirs["model.diffusion_model.output_conditions.8.proj_out.5.weight"] == (320, 128, 3, 3)
    assert (theirs["poses"], theirs["Ks"], theirs["azimuth"]) == ((16, 3, 4), (16, 3, 3), (16,))


def test_checkpoint_is_read_whole(checkpoint):
    found = find_weights(checkpoint, LAYOUT)
    state = published()

    assert found.kind == "published" and not found.averaged
    assert found.tensors.keys() == LAYOUT.shapes().keys()
    key = state["model.diffusion_model.output_conditions.4.depth_attn.to_k.weight"]
    assert torch.equal(found.tensors["depth_attention.decoder.4.to_k.weight"], key[:, :, 0, 0, 0])
    time = state["spatial_volume.frustum_volume_feats.conv4.t_conv.weight"]
    assert torch.equal(found.tensors["frustum_volume.net.down.1.1.time.weight"], time[:, :, 0, 0, 0])


@pytest.mark.parametrize("lost", ["poses", "spatial_volume.target_encoder.out_conv1.conv.3.bias"])
def test_missing_tensor_is_named(tmp_path, lost):
    state = published()
    del state[lost]
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")

    with pytest.raises(WeightsMismatchError, match="1 faults: missing") as caught:
        find_weights(tmp_path / "a.ckpt", LAYOUT)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID


def test_other_cameras_are_refused_by_name(tmp_path):
    poses = view_poses()
    poses[3] = T_cam_obj(np.deg2rad(67.5), np.deg2rad(20.0))[:3]
    path = write_checkpoint(tmp_path / "a.ckpt", poses=torch.from_numpy(poses))

    with pytest.raises(WeightsMismatchError) as caught:
        find_weights(path, LAYOUT)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID
    assert caught.value.faults == (
        "other cameras: poses[3] looks from azimuth 67.5, elevation 20.0 degrees, distance 1.50; accepted are 16 "
        "views, 22.5 degrees apart, at an elevation of 30 degrees and a distance of 1.5",
    )


def test_other_lens_and_other_azimuths_are_refused_by_name(tmp_path):
    state = published()
    state["Ks"][5, 0, 0] = 300.0
    azimuth = state["azimuth"] + 0.1
    path = write_checkpoint(tmp_path / "a.ckpt", Ks=state["Ks"], azimuth=azimuth)

    with pytest.raises(WeightsMismatchError) as caught:
        find_weights(path, LAYOUT)
    assert len(caught.value.faults) == 17
    assert "azimuth[0] is 5.7 degrees" in caught.value.faults[0]
    assert "Ks[5] has focal length 300.0" in caught.value.faults[5]


def test_half_turn_may_have_either_sign(tmp_path):
    azimuth = published()["azimuth"]
    azimuth[8] = np.pi
    assert find_weights(write_checkpoint(tmp_path / "a.ckpt", azimuth=azimuth), LAYOUT).kind == "published"


def test_another_number_of_views_is_refused(tmp_path):
    state = published()
    path = write_checkpoint(tmp_path / "a.ckpt", poses=state["poses"][:8], azimuth=state["azimuth"][:8])
    with pytest.raises(WeightsMismatchError, match=r"poses has shape \(8, 3, 4\)"):
        find_weights(path, LAYOUT)


def test_converted_file_holds_the_same(checkpoint, tmp_path):
    made = convert(checkpoint, tmp_path / "out.safetensors", LAYOUT, "bf16")
    again = find_weights(tmp_path / "out.safetensors", LAYOUT)

    assert again.kind == "converted" and made.tensors == summary(checkpoint, LAYOUT).tensors
    original = find_weights(checkpoint, LAYOUT).tensors
    assert all(torch.allclose(again.tensors[k].float(), original[k], rtol=2**-8, atol=1e-6) for k in original)


def test_weights_check_knows_it(checkpoint, monkeypatch, capsys):
    monkeypatch.setitem(PUBLISHED, "syncdreamer", "published_syncdreamer:tiny_layout")

    assert main(["weights", "check", str(checkpoint), "--model", "syncdreamer", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["tensors"]["depth_attention"], told["tensors"]["cameras"]) == ("syncdreamer", 170, 3)
