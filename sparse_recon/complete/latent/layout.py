"""What files a model's weights come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sparse_recon.complete.latent.keymap import Op, Rule

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
    names : patterns of its name in a folder, such as `upsrt*.pt`; empty for the only one: any `.ckpt`.
    elsewhere : a folder, relative to that of the others, in which it may lie instead.
    run : name of a number in it that is the same in all files of one training run, such as `step`; empty: there is
        none.
    """

    rules: Sequence[Rule]
    dropped: Sequence[str] = ()
    averaged: tuple[str, str] | None = None
    names: tuple[str, ...] = ()
    elsewhere: str = ""
    run: str = ""


@dataclass(frozen=True)
class Layout:
    """The files that a model's weights are published in.

    Attributes
    ----------
    model : its name.
    parts : networks by name; in our own file their tensors are `part.tensor`.
    published : the authors' files; all of them are needed.
    source : sentence that says where to get them.
    faults : returns what is wrong with values of the tensors in our own names, a sentence each; None: nothing can be.
    mini : name of the file of mini weights that ships with the package; empty: there is none.
    """

    model: str
    parts: Mapping[str, Part]
    published: Sequence[PublishedFile]
    source: str
    faults: Callable[[Mapping[str, Tensor]], list[str]] | None = None
    mini: str = ""

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
            if value.is_floating_point()  # counters are no weights
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


def old_attention(prefix: str) -> tuple[Rule, ...]:
    """Return rules for the names of an autoencoder's attention in files of diffusers before 0.17."""
    names = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    return tuple(Rule(f"{prefix}.{a}", f"{prefix}.{b}", Op.SQUEEZED) for a, b in names.items())
