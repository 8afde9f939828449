"""What files a model's weights come in, and strict reading of any of them into the model's own names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse_recon.complete.latent.keymap import Op, Rule
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.inputs.files import what_is_there
from sparse_recon.types import Float64

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Part:
    """One network of a model.

    Attributes
    ----------
    build : makes it, with whatever weights.
    folders : names of its folder where a model is shared as a folder of parts.
    renamed : old names of its tensors in such folders.
    """

    build: Callable[[], Any]
    folders: tuple[str, ...]
    renamed: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class PublishedFile:
    """One of the files in which a model's authors publish its weights.

    Attributes
    ----------
    rules : from its names to our own.
    dropped : patterns of whole names that are no weights of ours.
    averaged : prefixes of a network's tensors in the file and in the module that averages them, with which the authors
        sample; None: there is none.
    names : patterns of its name in a folder, such as `upsrt*.pt`; empty where it is the only one and named itself.
    presumed : values of tensors that the model presumes, such as cameras; other ones are a fault.
    """

    rules: Sequence[Rule]
    dropped: Sequence[str] = ()
    averaged: tuple[str, str] | None = None
    names: tuple[str, ...] = ()
    presumed: Mapping[str, Float64] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """The files that a model's weights are published in.

    Attributes
    ----------
    model : its name.
    parts : networks by name; in our own file their tensors are `part.tensor`.
    published : the authors' files; all of them are needed.
    source : sentence that says where to get them.
    """

    model: str
    parts: Mapping[str, Part]
    published: Sequence[PublishedFile]
    source: str

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all tensors in our own names."""
        return dict(self._shapes)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        import torch

        with torch.device("meta"):
            built = {name: part.build() for name, part in self.parts.items()}
        return {
            f"{name}.{tensor}": tuple(value.shape)
            for name, module in built.items()
            for tensor, value in module.state_dict().items()
        }


@dataclass(frozen=True, eq=False)
class FoundWeights:
    """Tensors of a model in our own names.

    Attributes
    ----------
    kind : what they were read from: converted, published or folder.
    averaged : whether the moving average was read.
    """

    tensors: Mapping[str, Tensor]
    kind: str
    averaged: bool


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
        are there (every fault is named), or some value is no number.
    """
    from sparse_recon.complete.latent import folder, published
    from sparse_recon.complete.latent.mismatch import WeightsMismatchError
    from sparse_recon.complete.latent.tensor_files import open_tensors

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
    broken = [name for name, tensor in found.tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        faults = [f"not a number: values of {name}" for name in broken]
        raise WeightsMismatchError(path, faults, layout.model, layout.source)
    return found


def missing(path: Path | str, layout: Layout) -> ModelError:
    """Return the error that says which file from where goes where."""
    found = f"there is nothing at {path}" if str(path) else "no path is given"
    return ModelError(
        ErrorCode.MODEL_WEIGHTS_MISSING,
        f"the weights of {layout.model} are missing: {found}. {layout.source} Then set {layout.model}.weights to its "
        f"path, or to what `sparse_recon weights convert` makes of it",
    )


def old_attention(prefix: str) -> tuple[Rule, ...]:
    """Return rules for the names of an autoencoder's attention in files of diffusers before 0.17."""
    names = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    return tuple(Rule(f"{prefix}.{a}", f"{prefix}.{b}", Op.SQUEEZED) for a, b in names.items())
