"""Weights of SparseFusion from its authors' files: two of a category and an autoencoder, read strictly."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="pip install .[models]")

from published_sparsefusion import EFT, VAE, VLDM, published, tiny_layout, write_files  # noqa: E402

from sparse_recon.cli.main import main  # noqa: E402
from sparse_recon.complete.latent.converted import convert, summary  # noqa: E402
from sparse_recon.complete.latent.keymap import written  # noqa: E402
from sparse_recon.complete.latent.mismatch import WeightsMismatchError  # noqa: E402
from sparse_recon.complete.latent.weights import find_weights  # noqa: E402
from sparse_recon.complete.registry import PUBLISHED  # noqa: E402
from sparse_recon.complete.sparsefusion.weights import COUNTERS, layout  # noqa: E402
from sparse_recon.errors import ErrorCode, ModelError  # noqa: E402

LAYOUT = tiny_layout()


def refused(path) -> WeightsMismatchError:
    with pytest.raises(WeightsMismatchError) as caught:
        find_weights(path, LAYOUT)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID
    return caught.value


def test_files_of_published_size_have_the_published_tensors():
    full = layout()

    def theirs(number):
        part = list(full.parts)[number]
        shapes = {k: torch.empty(s, device="meta") for k, s in full.shapes().items() if k.startswith(f"{part}.")}
        return {name: tuple(t.shape) for name, t in written(full.published[number].rules, shapes).items()}

    eft, vldm, vae = (theirs(number) for number in (EFT, VLDM, VAE))
    # 278 in the file; 20 of them count pictures that norms have seen.
    assert (len(eft), len(vldm), len(vae)) == (278 - 20, 477, 248)
    assert all(name.startswith("unets.0.") for name in vldm)
    assert all(name.startswith("first_stage_model.") for name in vae)
    for name, shape in {
        "unets.0.null_conditional_embed": (1, 256, 256),
        "unets.0.to_time_hiddens.0.weights": (8,),
        "unets.0.to_time_hiddens.1.weight": (1024, 17),
        "unets.0.to_time_tokens.0.weight": (512, 1024),
        "unets.0.downs.0.1.time_mlp.1.weight": (512, 1024),
        "unets.0.downs.2.2.1.gca.net.2.weight": (512, 256, 1, 1),
        "unets.0.downs.2.4.weight": (1024, 512, 4, 4),
        "unets.0.downs.3.3.layers.0.0.fn.to_context.1.weight": (128, 256),
        "unets.0.downs.3.4.fns.1.weight": (1024, 1024, 1, 1),
        "unets.0.mid_block1.cross_attn.fn.to_kv.weight": (1024, 256),
        "unets.0.mid_attn.fn.fn.null_kv": (2, 64),
        "unets.0.ups.0.2.layers.0.1.3.g": (1, 2048, 1, 1),
        "unets.0.ups.1.0.res_conv.weight": (1024, 1536, 1, 1),
        "unets.0.ups.2.3.net.0.weight": (1024, 512, 1, 1),
        "unets.0.ups.3.1.1.block1.project.weight": (256, 512, 3, 3),
        "unets.0.final_conv.weight": (4, 256, 3, 3),
    }.items():
        assert vldm[name] == shape
    with torch.device("meta"):
        state = full.parts["eft"].build().state_dict()
    assert sum(bool(re.fullmatch(COUNTERS, name)) for name in state) == 20


@pytest.mark.parametrize("shared", [False, True])
def test_files_are_read_whole(tmp_path, shared):
    folder = tmp_path / "sf" / "hydrant"
    found = find_weights(write_files(folder, vae=tmp_path / "sd" if shared else None), LAYOUT)

    assert found.kind == "published" and not found.averaged
    assert found.tensors.keys() == LAYOUT.shapes().keys()
    same = {
        "vldm.down.1.attention.attention.to_q.weight": (VLDM, "unets.0.downs.1.3.layers.0.0.fn.to_q.weight"),
        "vldm.up.0.blocks.0.gate.weight.bias": (VLDM, "unets.0.ups.0.1.0.gca.to_k.bias"),
        "eft.encoder_model.layer2.0.downsample.1.running_var": (
            EFT,
            "encoder_model.layer2.0.downsample.1.running_var",
        ),
        "eft.t2_attn.weight": (EFT, "t2_attn.weight"),
        "vae.quant_conv.weight": (VAE, "first_stage_model.quant_conv.weight"),
    }
    for ours, (number, theirs) in same.items():
        assert torch.equal(found.tensors[ours], published(number)[theirs])


def test_three_files_become_one(tmp_path):
    folder = write_files(tmp_path / "hydrant")
    made = convert(folder, tmp_path / "hydrant.safetensors", LAYOUT, "bf16")
    again = find_weights(tmp_path / "hydrant.safetensors", LAYOUT)

    assert again.kind == "converted"
    assert made.tensors == summary(folder, LAYOUT).tensors == summary(tmp_path / "hydrant.safetensors", LAYOUT).tensors
    original = find_weights(folder, LAYOUT).tensors
    assert all(torch.allclose(again.tensors[k].float(), original[k], rtol=2**-8, atol=1e-6) for k in original)


def test_folder_of_all_categories_is_told_from_one(tmp_path):
    for category in ("hydrant", "teddybear"):
        write_files(tmp_path / "sf" / category, vae=tmp_path / "sd")

    assert refused(tmp_path / "sf").faults == (
        "missing: it holds folders of weights and none itself; give one of them: hydrant, teddybear",
    )
    assert "ckpt_latest_eft.pt is needed, none is there" in refused(tmp_path / "sd").faults[0]


def test_a_folder_that_may_not_be_read_is_as_an_empty_one(tmp_path, monkeypatch):
    write_files(tmp_path / "sf" / "hydrant", vae=tmp_path / "sd")
    locked = tmp_path / "sf" / "locked"
    locked.mkdir()
    listed = Path.iterdir

    def iterdir(path):  # permissions do not hold for root, who runs tests in containers
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert refused(tmp_path / "sf").faults[0].endswith("give one of them: hydrant")
    with pytest.raises(ModelError) as caught:
        find_weights(locked, LAYOUT)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID


def test_files_of_two_categories_are_told_by_their_steps(tmp_path):
    write_files(tmp_path / "hydrant", step=100_000)
    write_files(tmp_path / "donut", step=85_000)
    (tmp_path / "donut" / "ckpt_latest.pt").replace(tmp_path / "hydrant" / "ckpt_latest.pt")

    assert refused(tmp_path / "hydrant").faults == (
        "mixed: ckpt_latest_eft.pt at step 100000, ckpt_latest.pt at step 85000; these files are saved together: take "
        "them from one folder",
    )


def test_exchanged_files_are_named(tmp_path):
    folder = write_files(tmp_path / "hydrant")
    (folder / "ckpt_latest.pt").rename(tmp_path / "other.pt")
    (folder / "ckpt_latest_eft.pt").rename(folder / "ckpt_latest.pt")
    (tmp_path / "other.pt").rename(folder / "ckpt_latest_eft.pt")

    told = str(refused(folder))
    assert "unknown: unets" in told and "unknown: encoder_model" in told and "missing: vldm" in told


def test_one_of_the_files_alone_and_a_lost_autoencoder(tmp_path):
    folder = write_files(tmp_path / "hydrant")
    assert "published as 3 files; give the folder" in refused(folder / "ckpt_latest.pt").faults[0]
    (folder / "sd-v1-3-vae.ckpt").unlink()
    assert refused(folder).faults == (
        "missing: one file named sd-v1-*.ckpt or sd-v1-*.safetensors is needed, none is there",
    )


def test_a_denoiser_conditioned_on_text_is_refused_by_name(tmp_path):
    folder = write_files(tmp_path / "hydrant")
    state = published(VLDM) | {"unets.0.conditional_to_cond.weight": torch.zeros(16, 16)}
    del state["unets.0.mid_attn.fn.fn.null_kv"]
    torch.save({"step": 100_000, "model_state_dict": state}, folder / "ckpt_latest.pt")

    assert refused(folder).faults == (
        "unknown: unets.0.conditional_to_cond.weight",
        "missing: vldm.middle_attention.null_kv",
    )


def test_weights_check_and_convert_know_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PUBLISHED, "sparsefusion", "published_sparsefusion:tiny_layout")
    folder, out = write_files(tmp_path / "hydrant"), tmp_path / "hydrant.safetensors"

    assert main(["weights", "check", str(folder), "--model", "sparsefusion", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (
        told["model"] == "sparsefusion"
        and told["kind"] == "published"
        and set(told["tensors"]) == {"eft", "vldm", "vae"}
    )
    assert main(["weights", "convert", str(folder), str(out), "--model", "sparsefusion", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"] == told["tensors"] and out.is_file()
    (folder / "ckpt_latest.pt").unlink()
    assert main(["weights", "check", str(folder), "--model", "sparsefusion"]) == 1
    assert "ckpt_latest.pt is needed" in capsys.readouterr().err
