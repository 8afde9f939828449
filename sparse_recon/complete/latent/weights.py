"""Strict reading of a model's weights, whatever they come in, into the model's own names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sparse_recon.complete.latent import folder, published
from sparse_recon.complete.latent.architectures import require_libraries
from sparse_recon.complete.latent.layout import FoundWeights, Layout
from sparse_recon.complete.latent.mini import MINI
from sparse_recon.complete.latent.mismatch import WeightsMismatchError
from sparse_recon.complete.latent.tensor_files import open_tensors
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.inputs.files import expanded, what_is_there

if TYPE_CHECKING:
    from torch import Tensor


S = TypeVar("S")


def find_weights(path: Path, layout: Layout, averaged: bool = True) -> FoundWeights:
    """Read a model's weights from the authors' files, copies as safetensors, a folder of parts, or our own file.

    Where the authors publish several files, `path` is the folder that holds them.

    Parameters
    ----------
    averaged : whether the moving average is taken where the file holds one, as the authors do.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING if there is nothing at `path`; MODEL_WEIGHTS_INVALID if not exactly the model's tensors
        are there (every fault is named), one is of a type that is none of weights, or some value is no number.
    """
    path = Path(path)
    if what_is_there(path) == "is a folder":
        there = folder.published_files(path, layout)
        if there:
            found = published.read_published(path, there, layout, averaged)
        else:
            found = FoundWeights(folder.read_parts(path, layout), "folder", False)
    else:
        try:
            file = open_tensors(path)
        except ModelError as error:
            if error.code is not ErrorCode.MODEL_WEIGHTS_MISSING:
                raise
            raise missing(path, layout) from error
        found = published.read_file(file, layout, averaged)
    if faults := _faults(found.tensors):
        raise WeightsMismatchError(path, faults, layout.model, layout.source)
    if layout.faults and (faults := layout.faults(found.tensors)):
        raise WeightsMismatchError(path, faults, layout.model, layout.source)
    return found


def check_given(weights: str, layout: Layout) -> None:
    """Check that weights are named, and that the libraries of their networks are there.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING if none are named.
    DependencyError
        If a library is missing.
    """
    if not weights:
        raise missing("", layout)
    require_libraries(layout.model)


def read_given(
    weights: str,
    size: S,
    layout: Layout,
    on_progress: Callable[[float, str], None],
    mini: Callable[[], tuple[S, Mapping[str, Tensor]]] | None = None,
    averaged: bool = True,
) -> tuple[S, Mapping[str, Tensor]]:
    """Return the sizes of a model and the weights that its parameter names, see `find_weights`.

    Parameters
    ----------
    weights : a path, or `MINI` where `mini` reads such.
    size : of the published model.
    on_progress : takes the share that is done, and a sentence.
    """
    on_progress(0.1, "libraries are there")
    if mini is not None and weights == MINI:
        found = mini()
    else:
        found = size, find_weights(expanded(weights), layout, averaged).tensors
    on_progress(0.6, "weights read")
    return found


def _faults(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return which tensors hold no weights: those of other types, such as quantised ones, need what is not in them."""
    import torch

    types = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    other = [
        f"not readable: {name} is of {str(tensor.dtype).removeprefix('torch.')}, {tensor.layout}, on {tensor.device}; "
        "accepted are dense float32, float16, bfloat16 and float64"
        for name, tensor in tensors.items()
        if tensor.dtype not in types or tensor.layout is not torch.strided or tensor.device.type != "cpu"
    ]
    return other or [
        f"not a number: values of {name}" for name, tensor in tensors.items() if not bool(tensor.isfinite().all())
    ]


def missing(path: Path | str, layout: Layout) -> ModelError:
    """Return the error that says which file from where goes where."""
    found = f"there is nothing at {path}" if str(path) else "no path is given"
    small = (
        f". Without them, {layout.model}.weights: mini takes a small network that ships with the package, to see "
        "it run; its answers are blurred"
        if layout.mini
        else ""
    )
    return ModelError(
        ErrorCode.MODEL_WEIGHTS_MISSING,
        f"the weights of {layout.model} are missing: {found}. {layout.source} Then set {layout.model}.weights to its "
        f"path, or to what `sparse_recon weights convert` makes of it{small}",
    )
