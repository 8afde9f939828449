"""Key maps from the layout of latent-diffusion, in which this family is published, to diffusers' and transformers'.

Each function returns the rules for one network of a given size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize, VaeSize
from sparse_recon.complete.latent.keymap import Op, Rule

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_VAE_RESNET = {name: name for name in ("norm1", "conv1", "norm2", "conv2")} | {"nin_shortcut": "conv_shortcut"}
_VAE_ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def unet_rules(size: UNetSize) -> list[Rule]:
    """Rules of `model.diffusion_model`; blocks are numbered through all levels there."""
    levels, layers = len(size.multipliers), size.layers
    rules = [
        Rule("time_embed.0", "time_embedding.linear_1"),
        Rule("time_embed.2", "time_embedding.linear_2"),
        Rule("input_blocks.0.0", "conv_in"),
        Rule("out.0", "conv_norm_out"),
        Rule("out.2", "conv_out"),
        *_renamed("middle_block.0", "mid_block.resnets.0", _RESNET),
        Rule("middle_block.1", "mid_block.attentions.0"),
        *_renamed("middle_block.2", "mid_block.resnets.1", _RESNET),
    ]
    for level in range(levels):
        for slot in range(layers):
            source, block = f"input_blocks.{1 + level * (layers + 1) + slot}", f"down_blocks.{level}"
            rules += _renamed(f"{source}.0", f"{block}.resnets.{slot}", _RESNET)
            if level < levels - 1:
                rules.append(Rule(f"{source}.1", f"{block}.attentions.{slot}"))
        if level < levels - 1:
            rules.append(
                Rule(f"input_blocks.{(level + 1) * (layers + 1)}.0.op", f"down_blocks.{level}.downsamplers.0.conv")
            )
    for level in range(levels):
        for slot in range(layers + 1):
            source, block = f"output_blocks.{level * (layers + 1) + slot}", f"up_blocks.{level}"
            rules += _renamed(f"{source}.0", f"{block}.resnets.{slot}", _RESNET)
            if level > 0:
                rules.append(Rule(f"{source}.1", f"{block}.attentions.{slot}"))
            if level < levels - 1 and slot == layers:
                rules.append(Rule(f"{source}.{2 if level > 0 else 1}.conv", f"{block}.upsamplers.0.conv"))
    return rules


def vae_rules(size: VaeSize) -> list[Rule]:
    """Rules of `first_stage_model`; its decoder counts levels from the finest, diffusers from the coarsest."""
    levels = len(size.multipliers)
    rules = [Rule(name, name) for name in ("quant_conv", "post_quant_conv")]
    for half in ("encoder", "decoder"):
        rules += [Rule(f"{half}.{end}", f"{half}.{end}") for end in ("conv_in", "conv_out")]
        rules += [
            Rule(f"{half}.norm_out", f"{half}.conv_norm_out"),
            *_renamed(f"{half}.mid.block_1", f"{half}.mid_block.resnets.0", _VAE_RESNET),
            *_renamed(f"{half}.mid.block_2", f"{half}.mid_block.resnets.1", _VAE_RESNET),
            Rule(f"{half}.mid.attn_1.norm", f"{half}.mid_block.attentions.0.group_norm"),
            *_renamed(f"{half}.mid.attn_1", f"{half}.mid_block.attentions.0", _VAE_ATTENTION, Op.SQUEEZED),
        ]
    for level in range(levels):
        down, up = f"encoder.down_blocks.{level}", f"decoder.up_blocks.{levels - 1 - level}"
        for slot in range(size.layers):
            rules += _renamed(f"encoder.down.{level}.block.{slot}", f"{down}.resnets.{slot}", _VAE_RESNET)
        for slot in range(size.layers + 1):
            rules += _renamed(f"decoder.up.{level}.block.{slot}", f"{up}.resnets.{slot}", _VAE_RESNET)
        rules.append(Rule(f"encoder.down.{level}.downsample.conv", f"{down}.downsamplers.0.conv"))
        rules.append(Rule(f"decoder.up.{level}.upsample.conv", f"{up}.upsamplers.0.conv"))
    return rules


def clip_rules(size: ClipSize) -> list[Rule]:
    """Rules of CLIP's `visual` as OpenAI names it."""
    inner = "vision_model"
    rules = [
        Rule("conv1", f"{inner}.embeddings.patch_embedding"),
        Rule("class_embedding", f"{inner}.embeddings.class_embedding"),
        Rule("positional_embedding", f"{inner}.embeddings.position_embedding.weight"),
        Rule("ln_pre", f"{inner}.pre_layrnorm"),
        Rule("ln_post", f"{inner}.post_layernorm"),
        Rule("proj", "visual_projection.weight", Op.TRANSPOSED),
    ]
    for k in range(size.layers):
        source, target = f"transformer.resblocks.{k}", f"{inner}.encoder.layers.{k}"
        rules += _renamed(source, target, _CLIP_LAYER)
        for kind in ("weight", "bias"):
            parts = tuple(f"{target}.self_attn.{part}_proj.{kind}" for part in "qkv")
            rules.append(Rule(f"{source}.attn.in_proj_{kind}", parts, Op.SPLIT))
    return rules


def averaged_names(prefix: str, names: Iterable[str]) -> dict[str, str]:
    """Return the name of each tensor's moving average in a checkpoint.

    The authors write averages under names without dots, from which the true ones cannot be told: they are looked up.

    Parameters
    ----------
    prefix : of the averaged module within the one that averages, such as `diffusion_model.`.
    names : of the module's tensors.

    Raises
    ------
    ValueError
        If two names are the same without dots.
    """
    found = {name: "model_ema." + (prefix + name).replace(".", "") for name in names}
    if len(set(found.values())) != len(found):
        raise ValueError("two tensors have the same name without dots")
    return found


def _renamed(source: str, target: str, names: Mapping[str, str], op: Op = Op.SAME) -> list[Rule]:
    return [Rule(f"{source}.{a}", f"{target}.{b}", op) for a, b in names.items()]
