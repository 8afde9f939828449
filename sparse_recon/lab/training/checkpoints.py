"""The state of a run in one safetensors file, replaced as a whole; and the weights that leave it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparse_recon.complete.compact.network import Architecture
from sparse_recon.complete.compact.parameter_names import file_name
from sparse_recon.errors import ErrorCode, FileError

STATE_FILE, MODEL_FILE = "state.safetensors", "model.safetensors"


def write_state(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and what JSON can hold beside them; a killed writer leaves the former file as it was.

    Raises
    ------
    FileError
        OUTPUT_UNWRITABLE.
    """
    from safetensors.torch import save

    data = save({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, {"about": json.dumps(about)})
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise FileError(ErrorCode.OUTPUT_UNWRITABLE, f"{path} cannot be written: {error.strerror or error}") from error


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and what was written beside them.

    Raises
    ------
    FileError
        INPUT_MISSING if there is no such file, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{path} is not a checkpoint ({error}); leave out --resume to start a new run"
        ) from error


def write_model(path: Path, weights: Mapping[str, Tensor], size: Architecture, about: Mapping[str, Any]) -> None:
    """Write weights as they ship: half precision, with the architecture that they are of."""
    half = {file_name(name): t.to(torch.float16) for name, t in weights.items()}
    write_state(path, half, {**about, "architecture": size.to_dict()})
