"""Files of SparseFusion in the layout that its authors publish, of any size, with weights that names decide."""

from __future__ import annotations

from pathlib import Path

import torch
from published_zero123 import value_of
from torch import Tensor

from sparse_recon.complete.latent.architectures import VaeSize
from sparse_recon.complete.latent.keymap import written
from sparse_recon.complete.latent.layout import Layout
from sparse_recon.complete.sparsefusion.completer import SparseFusionCompleter
from sparse_recon.complete.sparsefusion.sizes import EftSize, SparseFusionSize, VldmSize
from sparse_recon.complete.sparsefusion.weights import layout

# Few channels; the backbone with its fourth level and its classifier, as files hold them.
TINY = SparseFusionSize(
    EftSize(backbone=(8, 8, 8, 8), width=32, layers=2),
    VldmSize(side=8, features=32, width=16, multipliers=(1, 2), blocks=1, heads=2, head_width=8, null_tokens=2),
    VaeSize(width=32, multipliers=(1, 1, 1), layers=1),
)
EFT, VLDM, VAE = range(3)


def published(number: int, size: SparseFusionSize = TINY) -> dict[str, Tensor]:
    """Return the tensors of one of the three files with the authors' names, with what stands beside the weights."""
    found = layout(size)
    part = list(found.parts)[number]
    shapes = {
        name: torch.empty(shape, device="meta") for name, shape in found.shapes().items() if name.startswith(f"{part}.")
    }
    rules = found.published[number].rules
    tensors = {name: value_of(name, tuple(t.shape)) for name, t in written(rules, shapes).items()}
    if number == EFT:
        for name in [name for name in tensors if name.endswith("running_var")]:
            tensors[name] = tensors[name].abs() + 0.5
            counter = name.replace("running_var", "num_batches_tracked")
            tensors[counter] = torch.tensor(7)
    if number == VAE:
        tensors |= {
            "first_stage_model.loss.logvar": torch.zeros(()),
            "model.diffusion_model.time_embed.0.weight": torch.zeros(4, 4),
            "betas": torch.zeros(1000),
        }
    return tensors


def write_files(folder: Path, size: SparseFusionSize = TINY, vae: Path | None = None, step: int = 100_000) -> Path:
    """Write the three files as the authors' training does; the autoencoder into another folder if one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    (vae or folder).mkdir(parents=True, exist_ok=True)
    torch.save({"step": step, "model_state_dict": published(EFT, size)}, folder / "ckpt_latest_eft.pt")
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 5e-5, "params": [0]}]}
    torch.save(
        {
            "step": step,
            "model_state_dict": published(VLDM, size),
            "optimizer_state_dict": optimizer,
            "scheduler_state_dict": {"step_size": 50000, "last_epoch": step},
        },
        folder / "ckpt_latest.pt",
    )
    torch.save({"global_step": 470000, "state_dict": published(VAE, size)}, (vae or folder) / "sd-v1-3-vae.ckpt")
    return folder


def tiny_layout() -> Layout:
    """Return the files that tiny weights come in."""
    return layout(TINY)


class TinySparseFusion(SparseFusionCompleter):
    """The completer for tiny weights."""

    def __init__(self) -> None:
        super().__init__(TINY)
