"""What a file of weights probably is, told from a few of its names: for people who took the wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sparse_recon.complete.latent.keymap import Shape

_CONV_IN = "model.diffusion_model.input_blocks.0.0.weight"
_PARTS_CONV_IN = "conv_in.weight"


@dataclass(frozen=True)
class Known:
    """One kind of file.

    Attributes
    ----------
    what : it is, for a sentence.
    marks : beginnings of names; it has one of each.
    inputs : channels that its denoiser takes; None: any.
    model : name of our model that reads it; empty: none.
    """

    what: str
    marks: tuple[str, ...]
    inputs: int | None = None
    model: str = ""


# The first that fits is told: from the special to the general.
KNOWN = (
    Known("SyncDreamer", ("spatial_volume.target_encoder.",), model="syncdreamer"),
    Known("the diffusion model of UpFusion", ("control_model.", "first_stage_model."), 4),
    Known("a ControlNet", ("control_model.",)),
    Known("a ControlNet", ("input_hint_block.", "zero_convs.")),
    Known("UpSRT of UpFusion", ("scene_encoder.", "ray_decoder.")),
    Known("the diffusion model of SparseFusion", ("unets.0.",), model="sparsefusion"),
    Known("EFT of SparseFusion", ("encoder_model.", "t1.encoder."), model="sparsefusion"),
    Known("DUSt3R or a relative of it", ("enc_blocks.", "dec_blocks2.")),
    Known("DynamiCrafter, or ReconX, which is made of it", ("model.diffusion_model.init_attn.",)),
    Known("the denoiser of DynamiCrafter or ReconX", ("init_attn.", "input_blocks.")),
    Known("Zero-1-to-3, or Stable Zero123", ("cc_projection.", "model.diffusion_model."), 8, "zero123"),
    Known("Stable Diffusion XL", ("conditioner.embedders.", "model.diffusion_model.")),
    Known("Stable Diffusion 2", ("cond_stage_model.model.transformer.resblocks.", "model.diffusion_model.")),
    Known("Stable Diffusion 1 for inpainting", ("cond_stage_model.transformer.", "model.diffusion_model."), 9),
    Known("InstructPix2Pix", ("cond_stage_model.transformer.", "model.diffusion_model."), 8),
    Known("Stable Diffusion 1", ("cond_stage_model.transformer.", "model.diffusion_model."), 4),
    Known("Stable Diffusion for image variations", ("cond_stage_model.model.visual.", "model.diffusion_model."), 4),
    Known("a model of the Stable Diffusion family", ("model.diffusion_model.",)),
    Known("a LoRA, which changes a model and is none", ("lora_unet_",)),
    Known("a UNet of diffusers alone", ("down_blocks.", "mid_block.", "time_embedding.")),
    Known("an autoencoder of diffusers alone", ("encoder.down_blocks.", "decoder.up_blocks.")),
    Known("an autoencoder alone", ("encoder.down.", "decoder.up.")),
    Known("an autoencoder alone", ("first_stage_model.",)),
    Known("a CLIP of OpenAI alone", ("visual.transformer.resblocks.",)),
    Known("a CLIP of transformers alone", ("vision_model.encoder.",)),
    Known("DINOv2", ("blocks.0.ls1.", "patch_embed.")),
)


def probably(shapes: Mapping[str, Shape], instead_of: str = "") -> str:
    """Return what a file is in which these names are, such as `Stable Diffusion 1`.

    Empty where that is not known, or where it is what the model `instead_of` reads.
    """
    conv_in = shapes.get(_CONV_IN) or shapes.get(_PARTS_CONV_IN) or ()
    inputs = conv_in[1] if len(conv_in) == 4 else None
    for known in KNOWN:
        if known.inputs not in (None, inputs):
            continue
        if all(any(name.startswith(mark) for name in shapes) for mark in known.marks):
            return known.what if not instead_of or known.model != instead_of else ""
    return ""
