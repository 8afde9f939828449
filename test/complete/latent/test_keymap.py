"""Names of tensors between layouts."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize, VaeSize  # noqa: E402
from sparse_recon.complete.latent.keymap import Op, Rule, differing_copies, read, reading, written  # noqa: E402
from sparse_recon.complete.latent.ldm import averaged_names, clip_rules, unet_rules, vae_rules  # noqa: E402

RULES = [
    Rule("a", "x"),
    Rule("a.deep", "y"),
    Rule("in_proj", ("q", "k", "v"), Op.SPLIT),
    Rule("proj", "p.weight", Op.TRANSPOSED),
    Rule("conv", "linear", Op.SQUEEZED),
]
THERE = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "a.deep.weight": torch.ones(4),
    "in_proj": torch.arange(12.0).reshape(6, 2),
    "proj": torch.arange(6.0).reshape(2, 3),
    "conv.weight": torch.arange(4.0).reshape(2, 2, 1, 1),
    "conv.bias": torch.ones(2),
}
HERE = {
    "x.weight": (2, 3),
    "y.weight": (4,),
    "q": (2, 2),
    "k": (2, 2),
    "v": (2, 2),
    "p.weight": (3, 2),
    "linear.weight": (2, 2),
    "linear.bias": (2,),
}


def shapes(tensors):
    return {name: tuple(t.shape) for name, t in tensors.items()}


def test_longest_prefix_decides_and_tensors_are_split_turned_and_squeezed():
    plan = reading(shapes(THERE), RULES, HERE)

    assert plan.faults == []
    ours = read(plan, THERE)
    assert shapes(ours) == HERE
    assert torch.equal(ours["k"], THERE["in_proj"][2:4])
    assert torch.equal(ours["p.weight"], THERE["proj"].T)
    assert torch.equal(ours["y.weight"], THERE["a.deep.weight"])


def test_same_rules_lead_back():
    back = written(RULES, read(reading(shapes(THERE), RULES, HERE), THERE))

    assert back.keys() == THERE.keys()
    assert all(torch.equal(back[name], THERE[name]) for name in THERE)


def test_every_fault_is_named():
    there = dict(shapes(THERE))
    del there["a.weight"]
    there |= {"stranger": (1,), "a.deep.weight": (5,), "in_proj": (4, 2)}

    plan = reading(there, RULES, HERE)

    assert plan.missing == ("x.weight",)
    assert plan.unknown == ("stranger",)
    assert len(plan.misshaped) == 4  # y.weight, and the three parts of in_proj
    assert any("a.deep.weight has shape (5,), y.weight needs (4,)" in fault for fault in plan.faults)


def test_two_tensors_cannot_be_one():
    plan = reading({"a.w": (1,), "b.w": (1,)}, [Rule("a", "x"), Rule("b", "x")], {"x.w": (1,)})

    assert len(plan.misshaped) == 1 and "would both be x.w" in plan.misshaped[0]


# Counts of Stable Diffusion 1 with eight input channels, its autoencoder, and CLIP ViT-L/14.
@pytest.mark.parametrize(
    ("network", "tensors", "parameters"),
    [("unet", 686, 859_532_484), ("vae", 248, 83_653_863), ("clip_vision", 392, 303_966_208)],
)
def test_maps_of_the_published_sizes_are_exact_both_ways(network, tensors, parameters):
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    from sparse_recon.complete.latent import architectures

    size, rules = {
        "unet": (UNetSize(), unet_rules(UNetSize())),
        "vae": (VaeSize(), vae_rules(VaeSize())),
        "clip_vision": (ClipSize(), clip_rules(ClipSize())),
    }[network]
    with torch.device("meta"):
        ours = getattr(architectures, network)(size).state_dict()
    theirs = written(rules, ours)

    plan = reading(shapes(theirs), rules, shapes(ours))

    assert plan.faults == []
    assert sum(t.numel() for t in ours.values()) == sum(t.numel() for t in theirs.values()) == parameters
    assert len(ours) == tensors


def test_averages_are_found_by_names_without_dots():
    found = averaged_names("diffusion_model.", ["input_blocks.0.0.weight", "out.2.bias"])

    assert found["input_blocks.0.0.weight"] == "model_ema.diffusion_modelinput_blocks00weight"
    with pytest.raises(ValueError, match="same name"):
        averaged_names("", ["a.1.1", "a.11"])


COPIES = [Rule("a", "x"), Rule("b", "x", Op.SAME_AS)]


def test_a_second_copy_is_compared_and_not_kept():
    there = {"a.w": torch.ones(2), "b.w": torch.ones(2)}

    plan = reading(shapes(there), COPIES, {"x.w": (2,)})

    assert plan.faults == [] and differing_copies(plan, there) == []
    assert read(plan, there).keys() == {"x.w"}
    assert differing_copies(plan, {**there, "b.w": torch.zeros(2)}) == ["b.w is not the same as a.w"]
    assert written(COPIES, read(plan, there)).keys() == there.keys()


def test_a_second_copy_may_be_missing_but_is_no_first_one():
    assert reading({"a.w": (2,)}, COPIES, {"x.w": (2,)}).faults == []
    assert reading({"b.w": (2,)}, COPIES, {"x.w": (2,)}).faults == ["missing: x.w"]
    assert reading({"a.w": (2,), "b.w": (3,)}, COPIES, {"x.w": (2,)}).faults == [
        "misshaped: b.w has shape (3,), x.w needs (2,)"
    ]


def test_a_name_of_megabytes_is_unknown_at_once():
    name = "a" + "." * 8_000_000  # prefix by prefix it would take hours
    plan = reading({name: (1,)}, [Rule("b", "b")], {"b.weight": (1,)})
    assert plan.unknown == (name,) and plan.missing == ("b.weight",)
