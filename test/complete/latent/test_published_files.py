"""Weights in several files, under several roots, cut into shards; and what a wrong file probably is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from sparse_recon.complete.latent.converted import convert  # noqa: E402
from sparse_recon.complete.latent.keymap import Op, Rule  # noqa: E402
from sparse_recon.complete.latent.known_files import probably  # noqa: E402
from sparse_recon.complete.latent.layout import Layout, Part, PublishedFile  # noqa: E402
from sparse_recon.complete.latent.mismatch import WeightsMismatchError  # noqa: E402
from sparse_recon.complete.latent.tensor_files import open_tensors  # noqa: E402
from sparse_recon.complete.latent.weights import find_weights  # noqa: E402
from sparse_recon.errors import ErrorCode, ModelError  # noqa: E402

ANGLES = np.linspace(0.0, 3.0, 4)


def angle_faults(tensors) -> list[str]:
    off = np.abs(tensors["far.angles"].numpy() - ANGLES).max()
    return [] if off < 1e-4 else [f"differs: far.angles by up to {off:.3g}"]


def far() -> torch.nn.Module:
    made = torch.nn.Linear(2, 4)
    made.register_buffer("angles", torch.zeros(4))
    return made


PARTS = {"near": Part(lambda: torch.nn.Linear(3, 2), ("near",)), "far": Part(far, ("far", "distant"))}
TWO = Layout(
    "pair",
    PARTS,
    (
        PublishedFile([Rule("n", "near"), Rule("n2", "near", Op.SAME_AS)], names=("near*.pt",)),
        PublishedFile([Rule("f", "far")], ("step",), names=("far.pt", "far.safetensors")),
    ),
    "Get near.pt and far.pt.",
    angle_faults,
)
NEAR = {"n.weight": torch.arange(6.0).reshape(2, 3), "n.bias": torch.zeros(2), "n2.bias": torch.zeros(2)}
FAR = {"f.weight": torch.ones(4, 2), "f.bias": torch.ones(4), "f.angles": torch.from_numpy(ANGLES).float()}


def write_pair(folder: Path, near=NEAR, far=FAR, root="model_state_dict") -> Path:
    torch.save({root: near, "optimizer": {"lr": 1.0}}, folder / "near_01.pt")
    torch.save({"step": 3, root: far}, folder / "far.pt")
    return folder


@pytest.mark.parametrize("root", ["state_dict", "model_state_dict", "model"])
def test_two_files_of_one_model_under_any_root(tmp_path: Path, root: str):
    found = find_weights(write_pair(tmp_path, root=root), TWO)

    assert found.kind == "published"
    assert torch.equal(found.tensors["near.weight"], NEAR["n.weight"])
    assert torch.equal(found.tensors["far.bias"], FAR["f.bias"])


def test_a_root_without_tensors_is_passed_over(tmp_path: Path):
    torch.save({"state_dict": {"epoch": 3}, "model": {"n.bias": torch.zeros(2)}}, tmp_path / "a.pt")

    assert open_tensors(tmp_path / "a.pt").shapes == {"n.bias": (2,)}


def test_two_files_become_one(tmp_path: Path):
    convert(write_pair(tmp_path), tmp_path / "out" / "pair.safetensors", TWO)

    again = find_weights(tmp_path / "out" / "pair.safetensors", TWO)
    assert again.kind == "converted" and torch.equal(again.tensors["near.weight"], NEAR["n.weight"])


def faults(path: Path, layout: Layout = TWO) -> tuple[str, ...]:
    with pytest.raises(WeightsMismatchError) as caught:
        find_weights(path, layout)
    return caught.value.faults


def test_faults_of_all_files_stand_in_one_error(tmp_path: Path):
    near = {"n.weight": torch.zeros(9, 9), "n.bias": torch.zeros(2)}
    far = {"f.weight": FAR["f.weight"], "f.angles": FAR["f.angles"], "what": torch.zeros(1)}

    assert faults(write_pair(tmp_path, near, far)) == (
        "misshaped: n.weight has shape (9, 9), near.weight needs (2, 3)",
        "unknown: what",
        "missing: far.bias",
    )


def test_a_copy_that_differs_and_values_that_the_model_cannot_take(tmp_path: Path):
    assert faults(write_pair(tmp_path, near={**NEAR, "n2.bias": torch.ones(2)})) == (
        "differs: n2.bias is not the same as n.bias",
    )
    assert faults(write_pair(tmp_path, far={**FAR, "f.angles": FAR["f.angles"] + 0.5})) == (
        "differs: far.angles by up to 0.5",
    )


def test_a_file_that_is_missing_or_there_twice(tmp_path: Path):
    (write_pair(tmp_path) / "far.pt").unlink()
    assert faults(tmp_path) == ("missing: one file named far.pt or far.safetensors is needed, none is there",)
    save_file(FAR, tmp_path / "far.safetensors")
    assert find_weights(tmp_path, TWO).kind == "published"
    torch.save({"model": FAR}, tmp_path / "far.pt")
    assert "far.pt, far.safetensors are there" in faults(tmp_path)[0]


def test_one_of_two_files_is_not_enough(tmp_path: Path):
    assert "published as 2 files; give the folder with near*.pt, far.pt" in faults(write_pair(tmp_path) / "far.pt")[0]


PLAIN = "{name}-{shard}.safetensors"


def in_shards(folder: Path, tensors: dict, name: str = "diffusion_pytorch_model", pattern: str = PLAIN) -> Path:
    folder.mkdir(parents=True)
    count = len(tensors)
    files = {key: pattern.format(name=name, shard=f"{k + 1:05d}-of-{count:05d}") for k, key in enumerate(tensors)}
    for key, file in files.items():
        save_file({key: tensors[key].contiguous()}, folder / file)
    index = folder / f"{name}.safetensors.index{'' if pattern == PLAIN else '.fp16'}.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}))
    return index


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    in_shards(tmp_path / "near", {k.removeprefix("n."): v for k, v in NEAR.items() if k.startswith("n.")})
    in_shards(tmp_path / "distant", {k.removeprefix("f."): v for k, v in FAR.items()}, "model")
    return tmp_path


def test_a_folder_whose_networks_are_cut_into_files(sharded: Path):
    found = find_weights(sharded, TWO)

    assert found.kind == "folder"
    assert torch.equal(found.tensors["near.weight"], NEAR["n.weight"])
    assert torch.equal(found.tensors["far.weight"], FAR["f.weight"])


def test_an_index_is_a_file_of_tensors_and_a_shard_leads_to_it(sharded: Path):
    index = sharded / "near" / "diffusion_pytorch_model.safetensors.index.json"
    shard = sharded / "near" / "diffusion_pytorch_model-00001-of-00002.safetensors"

    assert open_tensors(index).shapes == open_tensors(shard).shapes == {"weight": (2, 3), "bias": (2,)}


@pytest.mark.parametrize("pattern", ["{name}.fp16-{shard}.safetensors", "{name}-{shard}.fp16.safetensors"])
def test_shards_of_a_variant(tmp_path: Path, pattern: str):
    in_shards(tmp_path / "near", {k.removeprefix("n."): v for k, v in NEAR.items() if k.startswith("n.")}, "a", pattern)
    in_shards(tmp_path / "distant", {k.removeprefix("f."): v for k, v in FAR.items()}, "model")

    assert torch.equal(find_weights(tmp_path, TWO).tensors["near.weight"], NEAR["n.weight"])
    shard = tmp_path / "near" / pattern.format(name="a", shard="00002-of-00002")
    assert open_tensors(shard).shapes == {"weight": (2, 3), "bias": (2,)}


def test_a_dot_in_the_name_of_shards_is_no_variant_where_their_index_says_so(tmp_path: Path):
    shard = tmp_path / "sd-v1.5-00001-of-00001.safetensors"
    save_file({"a": torch.ones(2)}, shard)
    index = tmp_path / "sd-v1.5.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": shard.name}}))

    assert open_tensors(shard).shapes == {"a": (2,)}
    index.rename(tmp_path / "sd-v1.safetensors.index.5.json")
    assert open_tensors(shard).shapes == {"a": (2,)}


def test_shards_of_pickles(tmp_path: Path):
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model-00001-of-00001.bin")
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}))

    assert torch.equal(open_tensors(index)["a"], torch.ones(1))


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_tensors(path)
    assert len(caught.value.message) < 600
    return caught.value.message


def test_shards_that_are_not_whole(sharded: Path):
    folder = sharded / "near"
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    shard = folder / "diffusion_pytorch_model-00002-of-00002.safetensors"
    save_file({"other": torch.zeros(1)}, shard)
    assert "lacks bias" in refused(index)
    save_file({"bias": torch.zeros(2), "other": torch.zeros(1)}, shard)
    assert "holds other" in refused(index)
    shard.unlink()
    assert f"lists {shard.name}, which is not beside it" in refused(index)
    index.unlink()
    with pytest.raises(ModelError, match="one of several files without their index") as caught:
        find_weights(sharded, TWO)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_MISSING


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[1]", "weight_map"),
        ("{", "no index"),
        ('{"weight_map": {}}', "weight_map"),
        ('{"weight_map": {"a": 3}}', "weight_map"),
        ('{"weight_map": {"a": "../b.safetensors"}}', "no file beside it"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "no file beside it"),
        (json.dumps({"weight_map": {"a": "b" * 300}}), "no file beside it"),
        ('{"weight_map": {"a": "m.safetensors.index.json"}}', "no file beside it"),
        (json.dumps({"weight_map": {f"a{k}": f"{k}.safetensors" for k in range(1001)}}), "1001 files"),
    ],
)
def test_an_index_that_is_none(tmp_path: Path, text: str, word: str):
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(text)

    assert word in refused(index)


def test_a_folder_says_of_which_pipeline_it_is(tmp_path: Path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')

    with pytest.raises(WeightsMismatchError) as caught:
        find_weights(tmp_path, TWO)
    assert "probably of a 'StableDiffusionPipeline', as its model_index.json says." in caught.value.message


UNET = "model.diffusion_model."
TOLD = {
    "Zero-1-to-3, or Stable Zero123": {"cc_projection.weight": (768, 772)},
    "SyncDreamer": {"spatial_volume.target_encoder.init_conv.weight": (16, 4, 3, 3)},
    "Stable Diffusion 1": {"cond_stage_model.transformer.text_model.x": (1,), "in": (320, 4, 3, 3)},
    "Stable Diffusion 1 for inpainting": {"cond_stage_model.transformer.text_model.x": (1,), "in": (320, 9, 3, 3)},
    "Stable Diffusion 2": {"cond_stage_model.model.transformer.resblocks.0.x": (1,), "in": (320, 4, 3, 3)},
    "Stable Diffusion XL": {"conditioner.embedders.0.x": (1,), "in": (320, 4, 3, 3)},
    "the diffusion model of UpFusion": {
        "control_model.input_hint_block.0.weight": (1,),
        "first_stage_model.quant_conv.bias": (8,),
        "in": (320, 4, 3, 3),
    },
    "DynamiCrafter, or ReconX, which is made of it": {UNET + "init_attn.0.norm.weight": (320,)},
}
ALONE = {
    "the diffusion model of SparseFusion": ("unets.0.init_conv.convs.0.weight",),
    "EFT of SparseFusion": ("encoder_model.conv1.weight", "t1.encoder.layers.0.norm1.weight"),
    "UpSRT of UpFusion": ("scene_encoder.transformer_encoder.x", "ray_decoder.rgb_mlp.0.weight"),
    "DUSt3R or a relative of it": ("enc_blocks.0.norm1.weight", "dec_blocks2.0.norm1.weight"),
    "DINOv2": ("blocks.0.ls1.gamma", "patch_embed.proj.weight"),
    "": ("a", "b"),
}


@pytest.mark.parametrize("what", TOLD)
def test_what_a_whole_checkpoint_probably_is(what: str):
    names = dict(TOLD[what])
    names[UNET + "input_blocks.0.0.weight"] = names.pop("in", (320, 8, 3, 3))

    assert probably(names) == what


@pytest.mark.parametrize("what", ALONE)
def test_what_a_network_alone_probably_is(what: str):
    assert probably(dict.fromkeys(ALONE[what], (1,))) == what


def test_a_wrong_file_is_told_in_the_last_sentence(tmp_path: Path):
    names = {UNET + f"input_blocks.{k}.0.weight": torch.zeros(8, 8, 1, 1) for k in range(1400)}
    torch.save({"state_dict": {**names, "cc_projection.weight": torch.zeros(1)}}, tmp_path / "near_1.pt")
    torch.save({"state_dict": FAR}, tmp_path / "far.pt")

    with pytest.raises(WeightsMismatchError) as caught:
        find_weights(tmp_path, TWO)

    assert caught.value.message.endswith("This is probably Zero-1-to-3, or Stable Zero123.")
    assert len(caught.value.faults) > 1400 and len(caught.value.listed) < 10
    assert len(caught.value.message) < 600


def test_many_faults_are_counted_and_what_is_alone_stays_whole():
    faults = [
        "misshaped: unet.conv_in.weight has shape (1, 4), unet.conv_in.weight needs (1, 8)",
        *(f"misshaped: vae.decoder.{k} has shape (1,), vae.decoder.{k} needs (2,)" for k in range(20)),
        *(f"unknown: enc_blocks.{k}.norm.weight" for k in range(24)),
        "missing: cc_projection.bias",
    ]
    error = WeightsMismatchError(Path("a.ckpt"), faults, "pair", "Get it.")

    assert error.faults == tuple(faults)
    assert error.listed == (
        faults[0],
        "misshaped: vae.decoder.* (20, such as vae.decoder.0 has shape (1,), vae.decoder.0 needs (2,))",
        "unknown: enc_blocks.* (24)",
        "missing: cc_projection.bias",
    )


def test_no_file_makes_the_list_of_faults_long(tmp_path: Path):
    names = {f"k{k}" + "x" * 500: torch.zeros(1) for k in range(1000)} | {"\x1b[2J": torch.zeros(1)}
    torch.save({"model": names}, tmp_path / "near_1.pt")
    torch.save({"model": FAR}, tmp_path / "far.pt")

    with pytest.raises(WeightsMismatchError) as caught:
        find_weights(tmp_path, TWO)
    assert len(caught.value.faults) > 1000 and len(caught.value.message) < 41 * 230
    assert "other kinds" in caught.value.message and "\x1b" not in caught.value.message
