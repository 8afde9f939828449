"""Weights of the network, from a file that says which architecture they are of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from sparse_recon.complete.compact.calibration import Calibration
from sparse_recon.complete.compact.conditioning import INPUTS
from sparse_recon.complete.compact.network import Architecture, CompactNet
from sparse_recon.complete.compact.parameter_names import file_name, parameter_name
from sparse_recon.complete.compact.volumes import GRID
from sparse_recon.errors import ErrorCode, ModelError, clipped
from sparse_recon.inputs.files import check_file, shown
from sparse_recon.inputs.json_text import parse_json
from sparse_recon.machine.safetensors_file import check_header, read_weights

# Far beyond what is shipped: a file cannot make the network fill memory.
MOST = {"fine_width": 256, "middle_width": 512, "width": 2048, "blocks": 48, "fine_blocks": 8}


@dataclass(frozen=True, eq=False)
class LoadedWeights:
    """A network in single precision on the CPU, ready to be asked, and how far its claims are to be stretched."""

    net: CompactNet
    calibration: Calibration


def load_weights(path: Path, sha256: str = "") -> LoadedWeights:
    """Return the network of a weights file and its calibration.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING if there is no such file; MODEL_WEIGHTS_INVALID if it is damaged, has another hash, is of
        another architecture, or holds values that are no numbers.
    """
    path = Path(path)
    what = "a weights file; put one there, set compact.weights to its path, or set model to carve"
    check_file(path, what, lambda text: ModelError(ErrorCode.MODEL_WEIGHTS_MISSING, f"no weights: {text}"))
    size, calibration = _described(path)
    with torch.device("meta"):
        net = CompactNet(size)
    weights = read_weights(path, {file_name(name): tuple(t.shape) for name, t in net.state_dict().items()}, sha256)
    tensors = {parameter_name(name): torch.from_numpy(array).float() for name, array in weights.items()}
    broken = [name for name, t in tensors.items() if not torch.isfinite(t).all()]
    if broken:
        raise _invalid(path, f"tensor {broken[0]} holds NaN or infinite values")
    net.load_state_dict(tensors, assign=True)
    return LoadedWeights(net.eval().requires_grad_(False), calibration)


def _described(path: Path) -> tuple[Architecture, Calibration]:
    from safetensors import SafetensorError, safe_open

    try:
        check_header(path)
        with safe_open(path, framework="np") as file:
            about: dict[str, Any] = parse_json((file.metadata() or {})["about"])
        sizes = {f.name: int(about["architecture"][f.name]) for f in fields(Architecture)}
        calibration = Calibration.of(about)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _invalid(path, f"its metadata does not describe the architecture ({clipped(str(error))})") from error
    wrong = [f"{name} {sizes[name]}" for name, most in MOST.items() if not 1 <= sizes[name] <= most]
    if sizes["inputs"] != INPUTS or sizes["grid"] != GRID:
        wrong.append(f"{sizes['inputs']} inputs on {sizes['grid']} voxels")
    if wrong:
        raise _invalid(path, f"its architecture ({', '.join(wrong)}) is not supported by this version")
    return Architecture(**sizes), calibration


def _invalid(path: Path, found: str) -> ModelError:
    return ModelError(
        ErrorCode.MODEL_WEIGHTS_INVALID, f"the weights at {shown(path)} cannot be used: {found}; install the file again"
    )
