"""Names of tensors in one layout from those in another, by rules on prefixes; strict, and the same rules both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]

# No tensor has a longer one; a file may hold a name of megabytes, all of dots.
LONGEST_NAME = 1000


class Op(Enum):
    """What happens to a tensor on its way into our layout."""

    SAME = "same"
    TRANSPOSED = "transposed"
    # A 1 x 1 convolution is a linear layer, and so is one of 1 x 1 x 1.
    SQUEEZED = "squeezed"
    SQUEEZED_3D = "squeezed 3d"
    # One tensor that holds several, stacked along its first axis.
    SPLIT = "split"
    # A second copy of a tensor that another rule brings: compared with it, and not kept. A file may lack it.
    SAME_AS = "same as"


# Axes of size 1 behind those of a linear layer.
_POINTWISE = {Op.SQUEEZED: (None, None), Op.SQUEEZED_3D: (None, None, None)}


@dataclass(frozen=True)
class Rule:
    """Tensors `source` and `source.*` of a file are `target` and `target.*` of a module, several after a split."""

    source: str
    target: str | tuple[str, ...]
    op: Op = Op.SAME

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,) if isinstance(self.target, str) else self.target


@dataclass(frozen=True)
class Piece:
    """Where a tensor of a module comes from: a tensor of the file, and its part where that is split."""

    source: str
    op: Op
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Reading:
    """How a module's tensors are read from a file, and all that stands in the way.

    Attributes
    ----------
    pieces : source of each tensor of the module.
    copies : tensors of the file that must equal tensors of the module.
    unknown : tensors of the file that no rule names.
    missing : tensors of the module that the file lacks.
    misshaped : sentences, one a tensor.
    """

    pieces: Mapping[str, Piece]
    copies: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]
    misshaped: tuple[str, ...]

    @property
    def faults(self) -> list[str]:
        """Every fault, one a line, the most telling first; empty: exact."""
        return [
            *(f"misshaped: {sentence}" for sentence in self.misshaped),
            *(f"unknown: {name}" for name in self.unknown),
            *(f"missing: {name}" for name in self.missing),
        ]


def reading(found: Mapping[str, Shape], rules: Sequence[Rule], wanted: Mapping[str, Shape]) -> Reading:
    """Plan how the tensors of a file become those of a module.

    Parameters
    ----------
    found : shapes in the file by name.
    rules : of names; the longest source that fits decides.
    wanted : shapes in the module by name.
    """
    by_source = {rule.source: rule for rule in rules}
    pieces: dict[str, Piece] = {}
    copies, unknown, misshaped = [], [], []
    for name, shape in found.items():
        rule = _longest(name, by_source)
        rest = name[len(rule.source) :] if rule else ""
        targets = [target + rest for target in rule.targets] if rule else []
        if rule is None or not set(targets) & wanted.keys():
            unknown.append(name)
            continue
        for part, target in enumerate(targets):
            piece = Piece(name, rule.op, part, len(targets))
            if target not in wanted:
                unknown.append(f"{name} (would be {target})")
            elif rule.op is Op.SAME_AS:
                if shape != wanted[target]:
                    misshaped.append(f"{name} has shape {shape}, {target} needs {wanted[target]}")
                copies.append((name, target))
            elif target in pieces:
                misshaped.append(f"{name} and {pieces[target].source} would both be {target}")
            elif _shape(shape, piece) != wanted[target]:
                misshaped.append(f"{name} has shape {shape}, {target} needs {wanted[target]}")
                pieces[target] = piece
            else:
                pieces[target] = piece
    missing = tuple(sorted(wanted.keys() - pieces.keys()))
    return Reading(pieces, tuple(copies), tuple(unknown), missing, tuple(misshaped))


def read(plan: Reading, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a module's tensors from those of a file."""
    return {target: _taken(tensors[piece.source], piece) for target, piece in plan.pieces.items()}


def differing_copies(plan: Reading, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return a sentence for each tensor of a file that is no copy of what it should be one of."""
    import torch

    return [
        f"{name} is not the same as {plan.pieces[target].source}"
        for name, target in plan.copies
        if target in plan.pieces
        and not torch.equal(tensors[name], _taken(tensors[plan.pieces[target].source], plan.pieces[target]))
    ]


def written(rules: Sequence[Rule], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a module as a file of the other layout holds them: the rules the other way round.

    Raises
    ------
    KeyError
        If no rule names a tensor of the module.
    """
    import torch

    by_target = {target: rule for rule in rules if rule.op is not Op.SAME_AS for target in rule.targets}
    copied = {target: rule for rule in rules if rule.op is Op.SAME_AS for target in rule.targets}
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        prefix = _longest_prefix(name, by_target)
        if prefix is None:
            raise KeyError(name)
        rule, rest = by_target[prefix], name[len(prefix) :]
        if rule.op is Op.SPLIT:
            out[rule.source + rest] = torch.cat([tensors[target + rest] for target in rule.targets])
        elif rule.op is Op.TRANSPOSED:
            out[rule.source + rest] = tensor.t()
        elif rule.op in _POINTWISE and tensor.ndim == 2:
            out[rule.source + rest] = tensor[(...,) + _POINTWISE[rule.op]]
        else:
            out[rule.source + rest] = tensor
        if (copy := _longest_prefix(name, copied)) is not None:
            out[copied[copy].source + name[len(copy) :]] = tensor
    return out


def under(prefix: str, rules: Iterable[Rule]) -> list[Rule]:
    """Return rules whose sources lie under a prefix of the file."""
    return [Rule(prefix + rule.source, rule.target, rule.op) for rule in rules]


def into(part: str, rules: Iterable[Rule]) -> list[Rule]:
    """Return rules whose targets lie in a part of a model."""
    moved = []
    for rule in rules:
        targets = tuple(f"{part}.{target}" for target in rule.targets)
        moved.append(Rule(rule.source, targets if len(targets) > 1 else targets[0], rule.op))
    return moved


def _longest(name: str, by_source: Mapping[str, Rule]) -> Rule | None:
    prefix = _longest_prefix(name, by_source)
    return None if prefix is None else by_source[prefix]


def _longest_prefix(name: str, prefixes: Mapping[str, Rule]) -> str | None:
    end = len(name) if len(name) <= LONGEST_NAME else 0
    while end > 0:
        if name[:end] in prefixes:
            return name[:end]
        end = name.rfind(".", 0, end)
    return None


def _shape(shape: Shape, piece: Piece) -> Shape:
    if piece.op is Op.TRANSPOSED:
        return shape[::-1]
    if piece.op in _POINTWISE and shape[2:] == (1,) * len(_POINTWISE[piece.op]):
        return shape[:2]
    if piece.op is Op.SPLIT and shape and shape[0] % piece.parts == 0:
        return (shape[0] // piece.parts, *shape[1:])
    return shape


def _taken(tensor: Tensor, piece: Piece) -> Tensor:
    if piece.op is Op.TRANSPOSED:
        return tensor.t()
    if piece.op in _POINTWISE:
        return tensor.flatten(1) if tensor.ndim > 2 else tensor
    if piece.op is Op.SPLIT:
        return tensor.chunk(piece.parts)[piece.part]
    return tensor
