"""The files that weights of SyncDreamer come in: one checkpoint, with the cameras that it was trained for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize, clip_vision, unet, vae
from sparse_recon.complete.latent.keymap import Op, Rule, into, under
from sparse_recon.complete.latent.layout import Layout, Part, PublishedFile, old_attention
from sparse_recon.complete.latent.ldm import clip_rules, unet_rules, vae_rules
from sparse_recon.complete.latent.mini import mini_path, mini_weights
from sparse_recon.complete.syncdreamer.cameras import (
    DISTANCE,
    ELEVATION_RAD,
    azimuths,
    network_intrinsics,
    view_poses,
)
from sparse_recon.complete.syncdreamer.sizes import MODEL, SyncDreamerSize, VolumeSize
from sparse_recon.types import Float64

if TYPE_CHECKING:
    from torch import Tensor

_UNET, _VAE, _CLIP = "model.diffusion_model.", "first_stage_model.", "clip_image_encoder.model.visual."
MINI_FILE = "syncdreamer-mini.safetensors"
SOURCE = (
    "Get syncdreamer-pretrain.ckpt from the authors (github.com/liuyuan-pal/SyncDreamer, section Inference of its "
    "README; about 5.6 GB), or a safetensors copy of it."
)
# Left-overs of CLIP's text side, and schedules, which are computed anew.
DROPPED = (
    r"clip_image_encoder\.model\.(positional_embedding|text_projection|logit_scale|token_embedding\.weight|ln_final\..*)",
    r"clip_image_encoder\.(mean|std)",
    r"betas|alphas|alphas_cumprod(_prev)?|sqrt_.*|posterior_.*",
)
# Of poses and azimuths in a file, and of intrinsics in shares of the focal length.
TOLERANCE = 1e-4


def layout(size: SyncDreamerSize | None = None) -> Layout:
    """Return the files that weights of these sizes come in."""
    size = size or SyncDreamerSize()
    attention = "mid_block.attentions.0"
    parts = {
        "unet": Part(lambda: unet(size.unet), ("unet",)),
        "depth_attention": Part(lambda: _networks().DepthAttentions(size.unet, size.volume), ("depth_attention",)),
        "spatial_volume": Part(
            lambda: _networks().SpatialVolume(size.volume, size.vae.latent_channels, size.unet.sample),
            ("spatial_volume",),
        ),
        "frustum_volume": Part(lambda: _networks().FrustumVolume(size.volume, size.unet.sample), ("frustum_volume",)),
        "time_embed": Part(lambda: _networks().time_layers(size), ("time_embed",)),
        "cc_projection": Part(lambda: _networks().projection(size), ("cc_projection",)),
        "vae": Part(
            lambda: vae(size.vae),
            ("vae",),
            (*old_attention(f"encoder.{attention}"), *old_attention(f"decoder.{attention}")),
        ),
        "image_encoder": Part(lambda: clip_vision(size.clip), ("image_encoder",)),
        "cameras": Part(lambda: cameras(size), ("cameras",)),
    }
    levels = len(size.volume.widths)
    published = [
        *into("unet", under(_UNET, unet_rules(size.unet))),
        *into("depth_attention", under(_UNET, depth_rules(levels, size.unet.layers))),
        *into("spatial_volume", under("spatial_volume.", spatial_rules(levels))),
        *into("frustum_volume", under("spatial_volume.frustum_volume_feats.", frustum_rules(levels))),
        *into("vae", under(_VAE, vae_rules(size.vae))),
        *into("image_encoder", under(_CLIP, clip_rules(size.clip))),
        *(Rule(name, name) for name in ("time_embed", "cc_projection")),
        *(Rule(name, f"cameras.{name}") for name in ("poses", "Ks", "azimuth")),
    ]
    file = PublishedFile(published, DROPPED)
    return Layout(MODEL, parts, (file,), SOURCE, lambda tensors: camera_faults(tensors, size), MINI_FILE)


def depth_rules(levels: int, layers: int) -> list[Rule]:
    """Rules of the attention to depth, which the authors keep within the denoiser."""
    names = {
        "proj_in.0": ("conv_in", Op.SAME),
        "proj_in.1": ("norm_in", Op.SAME),
        "proj_context.0": ("context", Op.SQUEEZED_3D),
        "proj_context.1": ("norm_context", Op.SAME),
        "depth_attn.to_q": ("to_q", Op.SQUEEZED),
        "depth_attn.to_k": ("to_k", Op.SQUEEZED_3D),
        "depth_attn.to_v": ("to_v", Op.SQUEEZED_3D),
        "depth_attn.to_out": ("to_out", Op.SQUEEZED),
        "proj_out.0": ("norm1", Op.SAME),
        "proj_out.2": ("conv1", Op.SAME),
        "proj_out.3": ("norm2", Op.SAME),
        "proj_out.5": ("conv2", Op.SAME),
    }
    modules = {"middle_conditions": "middle"}
    modules |= {f"output_conditions.{k}": f"decoder.{k}" for k in range((levels - 1) * (layers + 1))}
    return [
        Rule(f"{theirs}.{a}", f"{ours}.{b}", op) for theirs, ours in modules.items() for a, (b, op) in names.items()
    ]


def spatial_rules(levels: int) -> list[Rule]:
    """Rules of the encoder of noisy views and of the network over the volume that they share."""
    encoder, net = "target_encoder", "spatial_volume_feats"
    rules = [
        Rule(f"{encoder}.init_conv", "encoder.conv_in"),
        Rule(f"{encoder}.final_out.0", "encoder.norm_out"),
        Rule(f"{encoder}.final_out.2", "encoder.conv_out"),
        Rule(f"{net}.init_conv", "net.conv_in"),
        *_told(f"{net}.conv0", "net.first.0"),
    ]
    inner = {"conv.0": "norm1", "conv.2": "conv1", "conv.3": "norm2", "conv.5": "conv2"}
    for k in range(3):
        source, target = f"{encoder}.out_conv{k}", f"encoder.blocks.{k}"
        rules += [Rule(f"{source}.{name}_embed", f"{target}.{name}", Op.SQUEEZED) for name in ("time", "view")]
        rules += [Rule(f"{source}.{a}", f"{target}.{b}") for a, b in inner.items()]
    for k in range(levels - 1):
        number = 2 * k + 1
        rules += _told(f"{net}.conv{number}", f"net.down.{k}.0")
        rules += _told(f"{net}.conv{number + 1}_0", f"net.down.{k}.1")
        rules += _told(f"{net}.conv{number + 1}_1", f"net.down.{k}.2")
        rules += _told(f"{net}.conv{2 * levels - 1 + k}", f"net.up.{k}", norm="norm")
    return rules


def frustum_rules(levels: int) -> list[Rule]:
    """Rules of the network over the volume before a view."""
    rules = [Rule("conv0", "net.conv_in")]
    for k in range(levels - 1):
        rules += _told(f"conv{2 * k + 1}", f"net.down.{k}.0")
        rules += _told(f"conv{2 * k + 2}", f"net.down.{k}.1")
        rules += _told(f"up{k}", f"net.up.{k}", norm="norm")
    return rules


def camera_faults(tensors: Mapping[str, Tensor], size: SyncDreamerSize) -> list[str]:
    """Return what is wrong with the cameras in a file: the volumes are built for those of `cameras`, and no others.

    As exact as the numbers of the file are: half precision keeps angles to half a degree.
    """
    import torch

    views = size.volume.views
    kept = {name: tensors[f"cameras.{name}"] for name in ("poses", "Ks", "azimuth")}
    poses, Ks, turns = (np.asarray(value.double()) for value in kept.values())
    rounding = max(torch.finfo(value.dtype).eps for value in kept.values())
    wanted, K = view_poses(views), network_intrinsics(size.image_side)
    known = (
        f"accepted are {views} views, {360 / views:g} degrees apart, at an elevation of {np.rad2deg(ELEVATION_RAD):g} "
        f"degrees and a distance of {DISTANCE:g}"
    )
    faults = []
    for k in range(views):
        if not np.allclose(poses[k], wanted[k], rtol=rounding, atol=TOLERANCE):
            faults.append(f"other cameras: poses[{k}] looks from {_seen_from(poses[k])}; {known}")
        if not np.allclose(Ks[k], K, rtol=rounding, atol=TOLERANCE * K[0, 0]):
            faults.append(
                f"other cameras: Ks[{k}] has focal length {Ks[k, 0, 0]:.1f} and centre {Ks[k, 0, 2]:.1f}, "
                f"{Ks[k, 1, 2]:.1f}; accepted are {K[0, 0]:g} and {K[0, 2]:g}, {K[1, 2]:g}"
            )
        turned = abs(np.angle(np.exp(1j * (turns[k] - azimuths(views)[k]))))
        if turned > TOLERANCE + np.pi * rounding:
            faults.append(f"other cameras: azimuth[{k}] is {np.rad2deg(turns[k]):.1f} degrees; {known}")
    return faults


def _seen_from(pose: Float64) -> str:
    """Say where a camera with extrinsics (3, 4) stands."""
    x, y, z = -pose[:, :3].T @ pose[:, 3]
    across = np.hypot(x, y)
    azimuth, elevation = np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arctan2(z, across))
    return f"azimuth {azimuth:.1f}, elevation {elevation:.1f} degrees, distance {np.hypot(across, z):.2f}"


def _told(source: str, target: str, norm: str = "bn") -> Iterable[Rule]:
    return (
        Rule(f"{source}.t_conv", f"{target}.time", Op.SQUEEZED_3D),
        Rule(f"{source}.v_conv", f"{target}.view", Op.SQUEEZED_3D),
        Rule(f"{source}.{norm}", f"{target}.norm"),
        Rule(f"{source}.conv", f"{target}.conv"),
    )


def _networks() -> Any:
    from sparse_recon.complete.syncdreamer import network

    return network


def cameras(size: SyncDreamerSize) -> Any:
    """Return a module that holds the cameras as the authors' does."""
    import torch

    views = size.volume.views
    made = torch.nn.Module()
    Ks = np.repeat(network_intrinsics(size.image_side)[None], views, axis=0)
    for name, value in (("poses", view_poses(views)), ("Ks", Ks), ("azimuth", azimuths(views).astype(np.float32))):
        made.register_buffer(name, torch.from_numpy(value))
    return made


def mini() -> tuple[SyncDreamerSize, Mapping[str, Tensor]]:
    """Return the sizes and tensors of the mini weights.

    Raises
    ------
    ModelError
        See `mini_weights`.
    """
    told = {"unet": UNetSize, "clip": ClipSize, "volume": VolumeSize}
    found = mini_weights(mini_path(MINI_FILE), told, lambda sizes: layout(SyncDreamerSize(**sizes)))
    return SyncDreamerSize(**found.sizes), found.tensors
