"""The files that weights of SparseFusion come in: two of a category, and the autoencoder of Stable Diffusion 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sparse_recon.complete.latent.architectures import vae
from sparse_recon.complete.latent.keymap import Rule, into, under
from sparse_recon.complete.latent.layout import Layout, Part, PublishedFile, old_attention
from sparse_recon.complete.latent.ldm import vae_rules
from sparse_recon.complete.latent.mini import mini_path, mini_weights
from sparse_recon.complete.sparsefusion.sizes import MODEL, EftSize, SparseFusionSize, VldmSize

if TYPE_CHECKING:
    from torch import Tensor

EFT_FILE, VLDM_FILE, VAE_FILES = "ckpt_latest_eft.pt", "ckpt_latest.pt", ("sd-v1-*.ckpt", "sd-v1-*.safetensors")
CATEGORIES = ("donut", "apple", "hydrant", "vase", "cake", "ball", "bench", "suitcase", "teddybear", "plant")
SOURCE = (
    f"Get the folder of a category ({', '.join(CATEGORIES)}) from the authors (github.com/zhizdev/sparsefusion, "
    f"section on pretrained weights of its README) with {EFT_FILE} and {VLDM_FILE}, and put sd-v1-3-vae.ckpt into it, "
    "which is Stable Diffusion 1.3 by another name; or leave that where the authors put it, in ../../sd."
)
MINI_FILE = "sparsefusion-mini.safetensors"
# Relative to the folder of a category, where the authors put what all categories share.
SHARED_FOLDER = "../../sd"
_VLDM, _VAE = "unets.0.", "first_stage_model."
# How many pictures a norm has seen is no weight.
COUNTERS = r"encoder_model\..*\.num_batches_tracked"
# Of Stable Diffusion only the autoencoder is read; of that, not what its training compared pictures with.
BESIDE_THE_VAE = (
    r"(?!first_stage_model\.).*",
    r"first_stage_model\.loss\..*",
)
_RESIDUAL = {
    "time_mlp.1": "time",
    "block1.groupnorm": "norm1",
    "block1.project": "conv1",
    "cross_attn.fn": "attention",
    "block2.groupnorm": "norm2",
    "block2.project": "conv2",
    "gca.to_k": "gate.weight",
    "gca.net.0": "gate.conv1",
    "gca.net.2": "gate.conv2",
    "res_conv": "shortcut",
}
_TRANSFORMER = {"0.fn": "attention", "1.0": "norm1", "1.1": "conv1", "1.3": "norm2", "1.4": "conv2"}


def layout(size: SparseFusionSize | None = None) -> Layout:
    """Return the files that weights of these sizes come in."""
    size = size or SparseFusionSize()
    attention = "mid_block.attentions.0"
    parts = {
        "eft": Part(lambda: _networks().EpipolarFeatureTransformer(size.eft), ("eft",)),
        "vldm": Part(lambda: _denoiser().ViewDenoiser(size.vldm), ("vldm",)),
        "vae": Part(
            lambda: vae(size.vae),
            ("vae",),
            (*old_attention(f"encoder.{attention}"), *old_attention(f"decoder.{attention}")),
        ),
    }
    published = (
        PublishedFile(
            into("eft", (Rule(name, name) for name in EFT_NAMES)), (COUNTERS,), names=(EFT_FILE,), run="step"
        ),
        PublishedFile(into("vldm", under(_VLDM, vldm_rules(size.vldm))), names=(VLDM_FILE,), run="step"),
        PublishedFile(
            into("vae", under(_VAE, vae_rules(size.vae))),
            BESIDE_THE_VAE,
            names=VAE_FILES,
            elsewhere=SHARED_FOLDER,
        ),
    )
    return Layout(MODEL, parts, published, SOURCE, mini=MINI_FILE)


def mini() -> tuple[SparseFusionSize, Mapping[str, Tensor]]:
    """Return the sizes and tensors of the mini weights.

    Raises
    ------
    ModelError
        See `mini_weights`.
    """
    told = {"eft": EftSize, "vldm": VldmSize}
    found = mini_weights(mini_path(MINI_FILE), told, lambda s: layout(SparseFusionSize(**s, negative=True)))
    return SparseFusionSize(**found.sizes, negative=True), found.tensors


EFT_NAMES = ("encoder_model", "t1", "t2", "t2_attn", "t3", "t3_attn", "color_layer")


def vldm_rules(size: VldmSize) -> list[Rule]:
    """Rules of the denoiser, whose blocks and layers its authors number."""
    levels = len(size.multipliers)
    rules = [
        Rule("init_conv", "conv_in"),
        Rule("to_time_hiddens.0", "frequencies"),
        Rule("to_time_hiddens.1", "time_in"),
        Rule("to_time_cond.0", "time_out"),
        Rule("to_time_tokens.0", "time_tokens"),
        Rule("norm_cond", "norm_tokens"),
        Rule("null_conditional_embed", "no_text_tokens"),
        Rule("null_conditional_hidden", "no_text"),
        *_renamed("mid_block1", "middle1", _RESIDUAL),
        Rule("mid_attn.fn.fn", "middle_attention"),
        *_renamed("mid_block2", "middle2", _RESIDUAL),
        *_renamed("final_res_block", "last", _RESIDUAL),
        Rule("final_conv", "conv_out"),
    ]
    for k in range(levels):
        # A list of five at each level on the way down, of which the first is empty, and of four on the way up.
        for half, first in (("down", 1), ("up", 0)):
            source, target = f"{half}s.{k}", f"{half}.{k}"
            rules += _renamed(f"{source}.{first}", f"{target}.first", _RESIDUAL)
            for i in range(size.blocks):
                rules += _renamed(f"{source}.{first + 1}.{i}", f"{target}.blocks.{i}", _RESIDUAL)
            coarsest = k == (levels - 1 if half == "down" else 0)
            if coarsest:
                rules += _renamed(f"{source}.{first + 2}.layers.0", f"{target}.attention", _TRANSFORMER)
        if k == levels - 1:
            rules += _renamed(f"downs.{k}.4.fns", f"down.{k}.out", {"0": "wide", "1": "narrow"})
        else:
            rules.append(Rule(f"downs.{k}.4", f"down.{k}.out"))
            rules.append(Rule(f"ups.{k}.3.net.0", f"up.{k}.out.conv"))
    return rules


def _renamed(source: str, target: str, names: dict[str, str]) -> Iterable[Rule]:
    return (Rule(f"{source}.{a}", f"{target}.{b}") for a, b in names.items())


def _networks() -> Any:
    from sparse_recon.complete.sparsefusion import eft

    return eft


def _denoiser() -> Any:
    from sparse_recon.complete.sparsefusion import vldm

    return vldm
