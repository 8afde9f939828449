"""Weights as their authors publish them, in one file or several, or as we convert them: read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse_recon.complete.latent.keymap import Reading, Rule, Shape, differing_copies, read, reading
from sparse_recon.complete.latent.known_files import probably
from sparse_recon.complete.latent.layout import FoundWeights, Layout, PublishedFile
from sparse_recon.complete.latent.ldm import averaged_names
from sparse_recon.complete.latent.mismatch import WeightsMismatchError
from sparse_recon.complete.latent.tensor_files import TensorFile
from sparse_recon.errors import clipped, quoted
from sparse_recon.inputs.json_text import parse_json

if TYPE_CHECKING:
    from torch import Tensor


def read_file(file: TensorFile, layout: Layout, averaged: bool) -> FoundWeights:
    """Read a file of our own, or the only one that the authors publish; see `find_weights`."""
    wanted = layout.shapes()
    # The projection has one name in both layouts.
    if 2 * len(set(file.shapes) & set(wanted)) > len(wanted):
        return _read_converted(file, layout)
    if len(layout.published) > 1:
        files = ", ".join(" or ".join(published.names) for published in layout.published)
        faults = [
            f"missing: {layout.model} is published as {len(layout.published)} files; give the folder with {files}"
        ]
        raise WeightsMismatchError(file.path, faults, layout.model, layout.source, probably(file.shapes, layout.model))
    return read_published(file.path, [(file, layout.published[0])], layout, averaged)


def read_published(
    path: Path, files: Sequence[tuple[TensorFile, PublishedFile]], layout: Layout, averaged: bool
) -> FoundWeights:
    """Read all files that the authors publish; see `find_weights`."""
    wanted = layout.shapes()
    tensors: dict[str, Tensor] = {}
    misshaped, unknown, averages = [], [], False
    sources: dict[str, str] = {}
    plans: list[tuple[Reading, _Renamed]] = []
    wrong: list[TensorFile] = []
    for file, published in files:
        shapes, view = _known(file, published, layout, averaged)
        plan = reading(shapes, published.rules, wanted)
        twice = sorted(sources.keys() & plan.pieces.keys())
        misshaped += [f"misshaped: {sentence}" for sentence in plan.misshaped]
        misshaped += [f"misshaped: {target} is both in {sources[target]} and {file.path.name}" for target in twice]
        unknown += [f"unknown: {name}" for name in plan.unknown]
        sources |= dict.fromkeys(plan.pieces, file.path.name)
        wrong += [file] if plan.misshaped or plan.unknown else []
        plans.append((plan, view))
        averages |= bool(view.names)
    lacking = [f"missing: {name}" for name in sorted(wanted.keys() - sources.keys())]
    told = wrong or [file for file, _ in files]
    instead = " and ".join(dict.fromkeys(what for file in told if (what := probably(file.shapes, layout.model))))
    if faults := [*misshaped, *unknown, *lacking]:
        raise WeightsMismatchError(path, faults, layout.model, layout.source, instead)
    differing: list[str] = []
    for plan, view in plans:
        differing += [f"differs: {sentence}" for sentence in differing_copies(plan, view)]
        tensors |= read(plan, view)
    if differing := [*_other_runs(files), *differing]:
        raise WeightsMismatchError(path, differing, layout.model, layout.source)
    return FoundWeights(tensors, "published", averages)


def _other_runs(files: Sequence[tuple[TensorFile, PublishedFile]]) -> list[str]:
    """Return a fault if files are of different training runs, as far as they tell."""
    told = [(file.path.name, f"{one.run} {file.about[one.run]}") for file, one in files if one.run in file.about]
    if len({run for _, run in told}) < 2:
        return []
    each = ", ".join(f"{name} at {run}" for name, run in told)
    return [f"mixed: {each}; these files are saved together: take them from one folder"]


class _Renamed(Mapping[str, Any]):
    """A file of which some tensors are read under the names of others."""

    def __init__(self, file: TensorFile, names: Mapping[str, str]) -> None:
        self.names, self._file = names, file

    def __getitem__(self, name: str) -> Tensor:
        return self._file[self.names.get(name, name)]

    def __iter__(self) -> Any:
        return iter(self._file.shapes)

    def __len__(self) -> int:
        return len(self._file.shapes)


def _read_converted(file: TensorFile, layout: Layout) -> FoundWeights:
    try:
        about = dict(parse_json(file.about.get("about", "{}")))
    except (ValueError, TypeError) as error:
        faults = [f"its metadata: {clipped(str(error))}"]
        raise WeightsMismatchError(file.path, faults, layout.model, layout.source) from error
    plan = reading(file.shapes, [Rule(name, name) for name in layout.parts], layout.shapes())
    if plan.faults:
        other = about.get("model", layout.model)
        what = f"weights of {quoted(other)}, converted" if other != layout.model else ""
        raise WeightsMismatchError(file.path, plan.faults, layout.model, layout.source, what)
    return FoundWeights(read(plan, _Renamed(file, {})), "converted", bool(about.get("averaged", False)))


def _known(
    file: TensorFile, published: PublishedFile, layout: Layout, averaged: bool
) -> tuple[dict[str, Shape], _Renamed]:
    """Return the tensors of a file that rules are to name, with the moving average in the place of what it averages."""
    drop = re.compile("|".join(f"(?:{pattern})" for pattern in published.dropped) or "$.")
    shapes = {name: shape for name, shape in file.shapes.items() if not drop.fullmatch(name)}
    if not published.averaged:
        return shapes, _Renamed(file, {})
    raw, inner = published.averaged
    inside = [name[len(raw) :] for name in shapes if name.startswith(raw)]
    names = {raw + name: average for name, average in averaged_names(inner, inside).items()}
    present = {name: average for name, average in names.items() if average in shapes}
    averages = {average: shapes.pop(average) for average in present.values()}
    if not averaged or not present:
        return shapes, _Renamed(file, {})
    if lacking := sorted(names.keys() - present.keys()):
        faults = [f"missing: the moving average of {name}" for name in lacking]
        raise WeightsMismatchError(file.path, faults, layout.model, layout.source)
    return shapes | {name: averages[average] for name, average in present.items()}, _Renamed(file, present)
