"""Weights from the files they are published in: strict, and nothing of a pickle is run."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="pip install .[models]")
pytest.importorskip("transformers", reason="pip install .[models]")

from published_zero123 import RAW, TINY, published, write_checkpoint  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from sparse_recon.cli.main import main  # noqa: E402
from sparse_recon.complete.latent.converted import convert, summary  # noqa: E402
from sparse_recon.complete.latent.mismatch import WeightsMismatchError  # noqa: E402
from sparse_recon.complete.latent.tensor_files import open_tensors  # noqa: E402
from sparse_recon.complete.latent.weights import find_weights  # noqa: E402
from sparse_recon.complete.zero123.weights import layout  # noqa: E402
from sparse_recon.errors import ErrorCode, ModelError  # noqa: E402
from sparse_recon.machine.safetensors_file import sha256_of  # noqa: E402

LAYOUT = layout(TINY)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "105000.ckpt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, checkpoint):
    """A folder of parts as people share it: names of today but for the autoencoder's old ones."""
    path = tmp_path_factory.mktemp("diffusers")
    tensors = find_weights(checkpoint, LAYOUT).tensors
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for part in LAYOUT.parts:
        inside = {k[len(part) + 1 :]: v.contiguous() for k, v in tensors.items() if k.startswith(f"{part}.")}
        if part == "vae":
            for new, name in old.items():
                inside = {k.replace(f"attentions.0.{new}", f"attentions.0.{name}"): v for k, v in inside.items()}
        if part == "cc_projection":
            inside = {f"projection.{k}": v for k, v in inside.items()}
        if part == "image_encoder":
            inside["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
        (path / part).mkdir()
        if part == "unet":
            torch.save(inside, path / part / "diffusion_pytorch_model.bin")
        else:
            save_file(inside, path / part / "model.safetensors")
    return path


def test_moving_average_is_taken_unless_raw_weights_are_asked_for(checkpoint):
    averaged, raw = find_weights(checkpoint, LAYOUT), find_weights(checkpoint, LAYOUT, averaged=False)
    state = published()

    assert (averaged.averaged, raw.averaged) == (True, False)
    name = "unet.conv_in.weight"
    assert torch.equal(averaged.tensors[name], state["model_ema.diffusion_modelinput_blocks00weight"])
    assert torch.equal(raw.tensors[name], state[RAW + "input_blocks.0.0.weight"])
    assert torch.equal(averaged.tensors["vae.quant_conv.weight"], raw.tensors["vae.quant_conv.weight"])


def test_checkpoint_without_averages_gives_its_raw_weights(tmp_path):
    found = find_weights(write_checkpoint(tmp_path / "a.ckpt", averages=False), LAYOUT)

    assert not found.averaged


def test_copy_as_safetensors_is_the_same(checkpoint, tmp_path):
    save_file({k: v.contiguous() for k, v in published().items()}, tmp_path / "copy.safetensors")

    ours, copy = find_weights(checkpoint, LAYOUT).tensors, find_weights(tmp_path / "copy.safetensors", LAYOUT).tensors

    assert ours.keys() == copy.keys() and all(torch.equal(ours[k], copy[k]) for k in ours)


def test_folder_that_holds_the_file_is_the_same(checkpoint):
    assert find_weights(checkpoint.parent, LAYOUT).kind == "published"


def test_folder_of_parts_is_the_same(checkpoint, folder):
    ours, parts = find_weights(checkpoint, LAYOUT).tensors, find_weights(folder, LAYOUT)

    assert parts.kind == "folder"
    assert ours.keys() == parts.tensors.keys() and all(torch.equal(ours[k], parts.tensors[k]) for k in ours)


def test_folder_that_lacks_a_part(folder, tmp_path):
    (tmp_path / "unet").symlink_to(folder / "unet")

    with pytest.raises(WeightsMismatchError) as caught:
        find_weights(tmp_path, LAYOUT)

    assert len(caught.value.faults) == 3
    assert "cc_projection or clip_camera_projection" in caught.value.message


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 0.0), ("bf16", 2**-8), ("fp16", 2**-11)])
def test_converted_file_holds_the_same_and_says_of_what(checkpoint, tmp_path, dtype, tolerance):
    made = convert(checkpoint, tmp_path / "out.safetensors", LAYOUT, dtype)
    again = find_weights(tmp_path / "out.safetensors", LAYOUT)

    original = find_weights(checkpoint, LAYOUT).tensors
    assert all(
        torch.allclose(again.tensors[k].float(), original[k], rtol=tolerance, atol=1e-6 if tolerance else 0)
        for k in original
    )
    about = json.loads(open_tensors(tmp_path / "out.safetensors").about["about"])
    assert about == {
        "model": "zero123",
        "source": "105000.ckpt",
        "source_kind": "published",
        "source_sha256": sha256_of(checkpoint),
        "averaged": True,
        "dtype": dtype,
    }
    assert made.tensors == summary(checkpoint, LAYOUT).tensors
    assert again.kind == "converted" and again.averaged


def test_every_fault_stands_in_one_error(tmp_path):
    state = published(averages=False)
    del state[RAW + "out.2.bias"]
    state["cc_projection.weight"] = torch.zeros(3, 3)
    state["control_model.zero"] = torch.zeros(1)
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")

    with pytest.raises(WeightsMismatchError, match="3 faults") as caught:
        find_weights(tmp_path / "a.ckpt", LAYOUT)

    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID
    assert set(caught.value.faults) == {
        "missing: unet.conv_out.bias",
        "unknown: control_model.zero",
        "misshaped: cc_projection.weight has shape (3, 3), cc_projection.weight needs (48, 52)",
    }
    assert all(fault in caught.value.message for fault in caught.value.faults)
    assert "105000.ckpt" in caught.value.message


def test_missing_average_is_named(tmp_path):
    state = published()
    del state["model_ema.diffusion_modelout2bias"]
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")

    with pytest.raises(WeightsMismatchError) as caught:
        find_weights(tmp_path / "a.ckpt", LAYOUT)
    assert caught.value.faults == ("missing: the moving average of model.diffusion_model.out.2.bias",)


def test_checkpoint_of_another_model_is_folded_and_nothing_is_loaded(checkpoint):
    other = layout(dataclasses.replace(TINY, unet=dataclasses.replace(TINY.unet, in_channels=4, layers=2)))

    with pytest.raises(WeightsMismatchError, match="nothing was loaded") as caught:
        find_weights(checkpoint, other)

    assert len(caught.value.faults) > 40
    assert "model.diffusion_model.* (" in caught.value.message and len(caught.value.message) < 2000
    assert any("input_blocks.0.0.weight has shape (32, 8, 3, 3)" in fault for fault in caught.value.faults)


def test_values_that_are_no_numbers(tmp_path):
    state = published(averages=False)
    state["first_stage_model.quant_conv.bias"][2] = float("nan")
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")

    with pytest.raises(WeightsMismatchError) as caught:
        find_weights(tmp_path / "a.ckpt", LAYOUT)
    assert caught.value.faults == ("not a number: values of vae.quant_conv.bias",)


class Callback:
    """What a training framework writes beside the weights."""

    def __init__(self) -> None:
        self.best = 3


class Evil:
    def __reduce__(self):
        import os

        return (os.system, ("touch SHOULD_NOT_EXIST",))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda t: t.to(torch.int8), "is of int8"),
        (lambda t: t.to(torch.complex64), "is of complex64"),
        (lambda t: t.to(torch.float8_e4m3fn), "is of float8_e4m3fn"),
        (lambda t: t.to_sparse(), "torch.sparse_coo"),
        (lambda t: t.to("meta"), "on meta"),
    ],
)
def test_values_of_types_that_weights_do_not_have(tmp_path, made, said):
    name = "first_stage_model.quant_conv.bias"
    state = published(averages=False)
    state[name] = made(state[name])
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")

    with pytest.raises(ModelError, match=r"not readable: vae\.quant_conv\.bias is of") as caught:
        find_weights(tmp_path / "a.ckpt", LAYOUT)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID and said in str(caught.value)


def test_foreign_objects_are_read_as_shells(tmp_path):
    torch.save({"state_dict": published(), "callbacks": {"x": Callback()}}, tmp_path / "a.ckpt")

    assert find_weights(tmp_path / "a.ckpt", LAYOUT).averaged


class Eval:
    def __reduce__(self):
        return (eval, ("1",))


class Popen:
    def __reduce__(self):
        import os

        return (os.popen, ("touch SHOULD_NOT_EXIST",))


class Download:
    def __reduce__(self):
        return (torch.hub.load_state_dict_from_url, ("http://localhost/none",))


class Named:
    """Names a function of a library that weights are made with, which PyTorch's reader does not know."""

    def __reduce__(self):
        return (torch.set_num_threads, (1,))


HOSTILE = [
    *((Evil, protocol, r"holds (posix|nt)\.system, a program") for protocol in (0, 1, 2, 3, 4, 5)),
    *((Eval, protocol, r"holds builtins\.eval, a program") for protocol in (0, 2, 4)),
    *((Popen, protocol, r"holds os\.popen, a program") for protocol in (2, 4)),
    *((Download, protocol, r"holds torch\.hub\.load_state_dict_from_url, a program") for protocol in (2, 4)),
    (Named, 2, r"holds torch\.set_num_threads, which is no part of weights"),
    (Named, 4, "nothing of it was run"),
]


def test_classes_of_a_training_script_are_no_programs(tmp_path):
    from pathlib import PurePosixPath

    kept = {"path": PurePosixPath("a/b"), "found": slice(1), "name": getattr, "steps": range(3)}
    torch.save({"state_dict": published(), "callbacks": kept}, tmp_path / "a.ckpt")

    assert find_weights(tmp_path / "a.ckpt", LAYOUT).averaged


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize(("kind", "protocol", "said"), HOSTILE)
def test_a_hostile_pickle_is_refused_by_what_it_holds(tmp_path, monkeypatch, kind, protocol, said, archived):
    """PyTorch advises to switch its protection off; whoever reads our message must not."""
    monkeypatch.chdir(tmp_path)
    held = {"state_dict": {"a": torch.zeros(1)}, "callbacks": kind()}
    if archived:
        torch.save(held, tmp_path / "a.ckpt", pickle_protocol=protocol)
    else:
        del held["state_dict"]
        (tmp_path / "a.ckpt").write_bytes(pickle.dumps(held, protocol))

    with pytest.raises(ModelError, match=said) as caught:
        open_tensors(tmp_path / "a.ckpt")

    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID
    for advice in ("weights_only", "arbitrary code", "add_safe_globals", "trust"):
        assert advice not in caught.value.message and advice not in str(caught.value.__cause__)
    assert not (tmp_path / "SHOULD_NOT_EXIST").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("cut.ckpt", None), ("empty.safetensors", b""), ("text.ckpt", b"not a checkpoint"), ("a.onnx", b"")],
)
def test_files_that_hold_no_tensors(tmp_path, checkpoint, name, content):
    (tmp_path / name).write_bytes(checkpoint.read_bytes()[:5000] if content is None else content)

    with pytest.raises(ModelError) as caught:
        find_weights(tmp_path / name, LAYOUT)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID
    assert name in caught.value.message


def test_nothing_there_says_what_goes_where(tmp_path):
    with pytest.raises(ModelError, match=r"zero123-xl\.ckpt.*zero123\.weights") as caught:
        find_weights(tmp_path / "none.ckpt", LAYOUT)
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_MISSING


def test_commands(checkpoint, tmp_path, monkeypatch, capsys):
    from sparse_recon.complete import registry

    monkeypatch.setitem(registry.PUBLISHED, "zero123", "published_zero123:tiny_layout")
    out = tmp_path / "out.safetensors"

    assert main(["weights", "convert", str(checkpoint), str(out), "--dtype", "bf16"]) == 0
    assert main(["weights", "check", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["averaged"], said["tensors"]["unet"]) == ("converted", True, 440)
    assert main(["weights", "convert", str(checkpoint), str(out)]) == 1
    assert main(["weights", "convert", str(checkpoint)]) == 2
    monkeypatch.undo()
    capsys.readouterr()
    assert main(["weights", "check", str(checkpoint)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("misshaped: ") and len(said) < 40
    assert any(line.startswith("misshaped: cc_projection.weight") for line in said)
    assert "not the weights of zero123" in said[-1]  # nothing else it could be: its own, of another size
