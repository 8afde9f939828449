"""Weights in our own layout: one safetensors file that says what it was made of."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_recon.complete.latent.layout import FoundWeights, Layout
from sparse_recon.complete.latent.weights import find_weights
from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.machine.safetensors_file import sha256_of

DTYPES = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class WeightsSummary:
    """What `sparse_recon weights check` says of a file.

    Attributes
    ----------
    kind : converted, published or folder.
    averaged : whether the moving average was read.
    tensors, parameters : counts by part.
    """

    model: str
    path: Path
    kind: str
    averaged: bool
    tensors: dict[str, int]
    parameters: dict[str, int]


def summary(path: Path, layout: Layout, averaged: bool = True) -> WeightsSummary:
    """Read weights strictly and count them; see `find_weights` for the errors."""
    return _summary(path, layout, find_weights(path, layout, averaged))


def convert(path: Path, out: Path, layout: Layout, dtype: str = "fp32", averaged: bool = True) -> WeightsSummary:
    """Write weights of any accepted layout as one safetensors file, with the sha256 and name of what they came from.

    Raises
    ------
    ModelError
        See `find_weights`.
    FileError
        OUTPUT_UNWRITABLE.
    """
    import torch
    from safetensors.torch import save_file

    found = find_weights(path, layout, averaged)
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    about: dict[str, Any] = {
        "model": layout.model,
        "source": Path(path).name,
        "source_kind": found.kind,
        "source_sha256": "" if Path(path).is_dir() else sha256_of(Path(path)),
        "averaged": found.averaged,
        "dtype": dtype,
    }
    partial = Path(f"{out}.partial{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: t.to(kind).contiguous().clone() for name, t in found.tensors.items()}
        save_file(tensors, partial, {"about": json.dumps(about)})
        partial.replace(out)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise FileError(ErrorCode.OUTPUT_UNWRITABLE, f"{out} cannot be written: {error.strerror or error}") from error
    return _summary(out, layout, found)


def _summary(path: Path, layout: Layout, found: FoundWeights) -> WeightsSummary:
    by_part = {
        name: [t.numel() for tensor, t in found.tensors.items() if tensor.startswith(f"{name}.")]
        for name in layout.parts
    }
    counts = {name: len(sizes) for name, sizes in by_part.items()}
    return WeightsSummary(
        layout.model, Path(path), found.kind, found.averaged, counts, {name: sum(s) for name, s in by_part.items()}
    )
