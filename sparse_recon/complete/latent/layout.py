"""What files a model's weights come in, and strict reading of any of them into the model's own names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse_recon.complete.latent.keymap import Op, Reading, Rule, read, reading
from sparse_recon.complete.latent.ldm import averaged_names
from sparse_recon.complete.latent.tensor_files import PICKLES, SAFETENSORS, TensorFile, open_tensors
from sparse_recon.errors import ErrorCode, ModelError, clipped
from sparse_recon.inputs.files import what_is_there
from sparse_recon.inputs.json_text import parse_json

if TYPE_CHECKING:
    from torch import Tensor

# More faults than this are folded in the message of the error; all of them are in its list.
_LISTED_AT_MOST = 40


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
class Layout:
    """The files that a model's weights are published in.

    Attributes
    ----------
    model : its name.
    parts : networks by name; in our own file their tensors are `part.tensor`.
    published : rules from the authors' file to our own names.
    dropped : patterns of whole names in the authors' file that are no weights of ours.
    averaged : part whose moving average the authors sample with, and the prefixes of its tensors in the file and in
        the averaging module; None: there is none.
    source : sentence that says where to get the file.
    faults : returns what is wrong with values of the tensors in our own names, a sentence each; None: nothing can be.
    """

    model: str
    parts: Mapping[str, Part]
    published: Sequence[Rule]
    dropped: Sequence[str]
    averaged: tuple[str, str] | None
    source: str
    faults: Callable[[Mapping[str, Tensor]], list[str]] | None = None

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
    """Read a model's weights from the authors' file, a copy of it as safetensors, a folder of parts, or our own file.

    Parameters
    ----------
    averaged : whether the moving average is taken where the file holds one, as the authors do.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING if there is nothing at `path`; MODEL_WEIGHTS_INVALID if not exactly the model's tensors
        are there (every fault is named), or some value is no number.
    """
    path = Path(path)
    if what_is_there(path) == "is a folder":
        found = FoundWeights(_from_folder(path, layout), "folder", False)
    else:
        try:
            file = open_tensors(path)
        except ModelError as error:
            if error.code is not ErrorCode.MODEL_WEIGHTS_MISSING:
                raise
            raise missing(path, layout) from error
        found = _from_file(file, layout, averaged)
    broken = [name for name, tensor in found.tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise WeightsMismatchError(path, [f"not a number: values of {name}" for name in broken], layout)
    if layout.faults and (faults := layout.faults(found.tensors)):
        raise WeightsMismatchError(path, faults, layout)
    return found


def missing(path: Path | str, layout: Layout) -> ModelError:
    """Return the error that says which file from where goes where."""
    found = f"there is nothing at {path}" if str(path) else "no path is given"
    return ModelError(
        ErrorCode.MODEL_WEIGHTS_MISSING,
        f"the weights of {layout.model} are missing: {found}. {layout.source} Then set {layout.model}.weights to its "
        f"path, or to what `sparse_recon weights convert` makes of it",
    )


def _from_file(file: TensorFile, layout: Layout, averaged: bool) -> FoundWeights:
    wanted = layout.shapes()
    own = [Rule(name, name) for name in layout.parts]
    # The projection has one name in both layouts.
    if 2 * len(set(file.shapes) & set(wanted)) > len(wanted):
        try:
            about = dict(parse_json(file.about.get("about", "{}")))
        except (ValueError, TypeError) as error:
            raise WeightsMismatchError(file.path, [f"its metadata: {clipped(str(error))}"], layout) from error
        tensors = _exact(file, file.shapes, own, wanted, layout)
        return FoundWeights(tensors, "converted", bool(about.get("averaged", False)))
    drop = re.compile("|".join(f"(?:{pattern})" for pattern in layout.dropped) or "$.")
    shapes = {name: shape for name, shape in file.shapes.items() if not drop.fullmatch(name)}
    renamed: dict[str, str] = {}
    if layout.averaged:
        raw, inner = layout.averaged
        inside = [name[len(raw) :] for name in shapes if name.startswith(raw)]
        names = {raw + name: average for name, average in averaged_names(inner, inside).items()}
        present = {name: average for name, average in names.items() if average in shapes}
        averages = {average: shapes.pop(average) for average in present.values()}
        if averaged and present:
            renamed = present
            shapes |= {name: averages[average] for name, average in present.items()}
            if lacking := sorted(names.keys() - present.keys()):
                faults = [f"missing: the moving average of {name}" for name in lacking]
                raise WeightsMismatchError(file.path, faults, layout)
    view = _Renamed(file, renamed)
    return FoundWeights(_exact(view, shapes, layout.published, wanted, layout), "published", bool(renamed))


class _Renamed:
    """A file of which some tensors are read under the names of others."""

    def __init__(self, file: TensorFile, names: Mapping[str, str]) -> None:
        self.path, self._file, self._names = file.path, file, names

    def __getitem__(self, name: str) -> Tensor:
        return self._file[self._names.get(name, name)]


def _from_folder(path: Path, layout: Layout) -> dict[str, Tensor]:
    wanted = layout.shapes()
    tensors: dict[str, Tensor] = {}
    faults: list[str] = []
    for name, part in layout.parts.items():
        file = _part_file(path, part)
        prefix = f"{name}."
        inner = {k[len(prefix) :]: shape for k, shape in wanted.items() if k.startswith(prefix)}
        if file is None:
            faults.append(f"missing: {' or '.join(part.folders)}, a folder with safetensors or bin")
            continue
        opened = open_tensors(file)
        rules = [*(Rule(k, k) for k in inner), *part.renamed]
        shapes = {k: s for k, s in opened.shapes.items() if not k.endswith("position_ids")}
        plan = reading(shapes, rules, inner)
        faults += [f"{name}: {fault}" for fault in plan.faults]
        if not plan.faults:
            tensors |= {prefix + k: v for k, v in read(plan, opened).items()}  # type: ignore[arg-type]
    if faults:
        raise WeightsMismatchError(path, faults, layout)
    return tensors


def _part_file(path: Path, part: Part) -> Path | None:
    for folder in part.folders:
        for suffix in SAFETENSORS + PICKLES:
            # Variants such as fp16 and non_ema lie beside the plain file, which sorts by its shorter name.
            files = sorted((path / folder).glob(f"*{suffix}"), key=lambda p: (len(p.name), p.name))
            if files:
                return files[0]
    return None


def _exact(
    file: Any, shapes: Mapping[str, Any], rules: Sequence[Rule], wanted: Mapping[str, Any], layout: Layout
) -> dict[str, Tensor]:
    plan: Reading = reading(shapes, rules, wanted)
    if plan.faults:
        raise WeightsMismatchError(file.path, plan.faults, layout)
    return read(plan, file)


class WeightsMismatchError(ModelError):
    """MODEL_WEIGHTS_INVALID, with every fault on a line of its own in `faults`; many are counted in the message."""

    def __init__(self, path: Path, faults: Sequence[str], layout: Layout) -> None:
        self.faults = tuple(faults)
        listed = faults if len(faults) <= _LISTED_AT_MOST else _folded(faults)
        super().__init__(
            ErrorCode.MODEL_WEIGHTS_INVALID,
            f"the weights at {path} are not those of {layout.model}, nothing was loaded; {len(faults)} faults: "
            f"{'; '.join(listed)}. {layout.source}",
        )


def _folded(faults: Sequence[str]) -> list[str]:
    """Return faults counted by kind and network, such as `unknown: model.diffusion_model.* (686)`."""
    counts = Counter(".".join(fault.split(" has ")[0].split(".")[:2]) for fault in faults)
    return [f"{head}.* ({count})" if count > 1 else head for head, count in counts.items()]


def old_attention(prefix: str) -> tuple[Rule, ...]:
    """Return rules for the names of an autoencoder's attention in files of diffusers before 0.17."""
    names = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    return tuple(Rule(f"{prefix}.{a}", f"{prefix}.{b}", Op.SQUEEZED) for a, b in names.items())
