"""The files that weights of Zero-1-to-3 come in, and the sizes of its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize, VaeSize, clip_vision, unet, vae
from sparse_recon.complete.latent.keymap import Rule, into, under
from sparse_recon.complete.latent.layout import Layout, Part, PublishedFile, old_attention
from sparse_recon.complete.latent.ldm import clip_rules, unet_rules, vae_rules
from sparse_recon.complete.latent.mini import mini_path, mini_weights

if TYPE_CHECKING:
    from torch import Tensor

POSE_NUMBERS = 4
_UNET, _VAE, _CLIP = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model.visual."
MINI_FILE = "zero123-mini.safetensors"
SOURCE = (
    "Get 105000.ckpt from huggingface.co/cvlab/zero123-weights, or zero123-xl.ckpt from "
    "zero123.cs.columbia.edu/assets (about 15 GB each), a safetensors copy of either, or a folder in the layout of "
    "diffusers (unet, vae, image_encoder, cc_projection)."
)
# Left-overs of CLIP's text side, and schedules, which are computed anew.
DROPPED = (
    r"model_ema\.(decay|num_updates)",
    r"cond_stage_model\.model\.(positional_embedding|text_projection|logit_scale|token_embedding\.weight|ln_final\..*)",
    r"cond_stage_model\.(mean|std)",
    r"betas|alphas_cumprod(_prev)?|(sqrt|log)_.*|posterior_.*|lvlb_weights|logvar",
)


@dataclass(frozen=True)
class Zero123Size:
    """Sizes of the networks; the defaults are the published ones."""

    unet: UNetSize = field(default_factory=UNetSize)
    vae: VaeSize = field(default_factory=VaeSize)
    clip: ClipSize = field(default_factory=ClipSize)

    @property
    def image_side(self) -> int:
        """P, pixels along a side of the images."""
        return self.unet.sample * self.vae.factor

    def projection(self) -> Any:
        """Return the linear layer from an image's token and a pose to the context."""
        import torch

        return torch.nn.Linear(self.clip.projection + POSE_NUMBERS, self.unet.context)


def layout(size: Zero123Size | None = None) -> Layout:
    """Return the files that weights of these sizes come in."""
    size = size or Zero123Size()
    parts = {
        "unet": Part(lambda: unet(size.unet), ("unet",)),
        "vae": Part(
            lambda: vae(size.vae),
            ("vae",),
            (*old_attention("encoder.mid_block.attentions.0"), *old_attention("decoder.mid_block.attentions.0")),
        ),
        "image_encoder": Part(lambda: clip_vision(size.clip), ("image_encoder",)),
        "cc_projection": Part(
            size.projection,
            ("cc_projection", "clip_camera_projection"),
            tuple(Rule(f"{name}.{kind}", kind) for name in ("projection", "proj") for kind in ("weight", "bias")),
        ),
    }
    published = [
        *into("unet", under(_UNET, unet_rules(size.unet))),
        *into("vae", under(_VAE, vae_rules(size.vae))),
        *into("image_encoder", under(_CLIP, clip_rules(size.clip))),
        Rule("cc_projection", "cc_projection"),
    ]
    file = PublishedFile(published, DROPPED, (_UNET, "diffusion_model."))
    return Layout("zero123", parts, (file,), SOURCE, mini=MINI_FILE)


def mini() -> tuple[Zero123Size, Mapping[str, Tensor]]:
    """Return the sizes and tensors of the mini weights.

    Raises
    ------
    ModelError
        See `mini_weights`.
    """
    found = mini_weights(mini_path(MINI_FILE), {"unet": UNetSize, "clip": ClipSize}, lambda s: layout(Zero123Size(**s)))
    return Zero123Size(**found.sizes), found.tensors
