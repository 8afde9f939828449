"""Distances of two pictures by features of a network, as people see differences rather than pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sparse_recon.complete.latent.architectures import vae
from sparse_recon.complete.latent.mini import AUTOENCODER_FILE, mini_path, read_mini
from sparse_recon.complete.latent.networks import load_network
from sparse_recon.complete.latent.tensor_files import open_tensors
from sparse_recon.errors import ErrorCode, ModelError

# Returns the distance of pictures (1, 3, P, P) in [0, 1], a scalar, differentiable in both.
Perceptual = Callable[[Tensor, Tensor], Tensor]

# LPIPS (Zhang et al., CVPR 2018) version 0.1 on VGG-16: files as published, and where in them what lies.
VGG_FILE, LPIPS_FILE = "vgg16-397923af.pth", "vgg.pth"
# Convolutions of torchvision's VGG-16 by their place; a level ends before each pooling.
_LEVELS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_WIDTHS = (64, 128, 256, 512, 512)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_LEAST = 1e-10


def own_distance(device: str) -> Perceptual:
    """Return a distance by the levels of the autoencoder that ships with the package, which was trained here.

    Features of a pixel are brought to unit length, as in LPIPS; all of them count alike.
    """
    found = read_mini(mini_path(AUTOENCODER_FILE))
    net: Any = load_network(
        lambda: vae(found.sizes["vae"]), "vae", found.tensors, device, torch.float32, of_images=True
    )

    def levels(picture: Tensor) -> list[Tensor]:
        x = net.encoder.conv_in(picture * 2 - 1)
        seen = [x]
        for block in net.encoder.down_blocks:
            x = block(x)
            seen.append(x)
        return seen

    def distance(picture: Tensor, other: Tensor) -> Tensor:
        both = zip(levels(picture), levels(other), strict=True)
        return torch.stack([(_unit(a) - _unit(b)).square().sum(1).mean() for a, b in both]).mean()

    return distance


def lpips_distance(folder: Path, device: str) -> Perceptual:
    """Return the published distance, from a folder with the two published files.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING or MODEL_WEIGHTS_INVALID.
    """
    vgg, heads = (_read(folder / name) for name in (VGG_FILE, LPIPS_FILE))
    layers, before = {}, 3
    for places, width in zip(_LEVELS, _WIDTHS, strict=True):
        for k in places:
            weight = _of(vgg, f"features.{k}.weight", (width, before, 3, 3), folder)
            layers[k] = weight.to(device), _of(vgg, f"features.{k}.bias", (width,), folder).to(device)
            before = width
    weights = [
        _of(heads, f"lin{k}.model.1.weight", (1, width, 1, 1), folder).to(device) for k, width in enumerate(_WIDTHS)
    ]
    shift, scale = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (_SHIFT, _SCALE))

    def levels(picture: Tensor) -> list[Tensor]:
        x, seen = (picture * 2 - 1 - shift) / scale, []
        for number, level in enumerate(_LEVELS):
            if number:
                x = functional.max_pool2d(x, 2)
            for k in level:
                x = functional.relu(functional.conv2d(x, *layers[k], padding=1))
            seen.append(x)
        return seen

    def distance(picture: Tensor, other: Tensor) -> Tensor:
        both = zip(levels(picture), levels(other), weights, strict=True)
        terms = [functional.conv2d((_unit(a) - _unit(b)).square(), w).mean() for a, b, w in both]
        return torch.stack(terms).sum()

    return distance


def _unit(features: Tensor) -> Tensor:
    # The root has no slope at 0: what is nothing in all channels stays nothing.
    return features / (features.square().sum(1, keepdim=True) + _LEAST).sqrt()


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.exists():
        raise ModelError(
            ErrorCode.MODEL_WEIGHTS_MISSING,
            f"{path} is not there; LPIPS needs {VGG_FILE} of torchvision and {LPIPS_FILE} of version 0.1 of LPIPS in "
            "one folder; leave the parameter empty for the distance that ships with the package",
        )
    return open_tensors(path)


def _of(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...], folder: Path) -> Tensor:
    found = tensors.get(name)
    if found is None or tuple(found.shape) != shape or not bool(torch.isfinite(found).all()):
        what = "missing" if found is None else f"of shape {tuple(found.shape)} instead of {shape}, or not finite"
        raise ModelError(
            ErrorCode.MODEL_WEIGHTS_INVALID,
            f"{folder}: {name} is {what}; accepted are {VGG_FILE} of torchvision and {LPIPS_FILE} of LPIPS 0.1",
        )
    return found.float()
