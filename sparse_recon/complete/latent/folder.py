"""Weights in a folder: one network a folder inside, as diffusers writes them, or the authors' files by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from sparse_recon.complete.latent.keymap import Rule, read, reading
from sparse_recon.complete.latent.layout import Layout, Part, PublishedFile
from sparse_recon.complete.latent.mismatch import WeightsMismatchError
from sparse_recon.complete.latent.shards import is_index, is_shard
from sparse_recon.complete.latent.tensor_files import PICKLES, SAFETENSORS, TensorFile, open_tensors
from sparse_recon.errors import FileError, listed, quoted
from sparse_recon.inputs.files import read_bytes
from sparse_recon.inputs.json_text import NotJson, parse_json

if TYPE_CHECKING:
    from torch import Tensor

# Of the only file of a model, which is named itself, or lies alone in its folder.
_ANY_CHECKPOINT = ("*.ckpt",)
_MODEL_INDEX, _MODEL_INDEX_BYTES = "model_index.json", 1_000_000


def published_files(path: Path, layout: Layout) -> list[tuple[TensorFile, PublishedFile]]:
    """Return the authors' files in a folder, opened; empty if none of them is there.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_INVALID if some are there and others are not, several fit one pattern, or one cannot be read.
    """
    patterns = [published.names or _ANY_CHECKPOINT for published in layout.published]
    fitting = [_fitting(path, accepted) for accepted in patterns]
    if not any(fitting):
        return _refuse_folder_of_folders(path, layout, patterns)
    for number, published in enumerate(layout.published):
        if not fitting[number] and published.elsewhere:
            fitting[number] = _fitting(path / published.elsewhere, patterns[number])
    faults = []
    for accepted, found in zip(patterns, fitting, strict=True):
        if len(found) != 1:
            kind, there = (
                ("missing", "none is") if not found else ("ambiguous", f"{', '.join(p.name for p in found)} are")
            )
            faults.append(f"{kind}: one file named {' or '.join(accepted)} is needed, {there} there")
    if faults:
        raise WeightsMismatchError(path, faults, layout.model, layout.source)
    return [(open_tensors(found[0]), published) for published, found in zip(layout.published, fitting, strict=True)]


def _fitting(path: Path, accepted: Sequence[str]) -> list[Path]:
    """Return the files of a folder, if there is one that may be read, that fit one of these patterns."""
    try:
        entries = list(path.iterdir()) if path.is_dir() else []
    except PermissionError:
        return []
    return sorted(entry for entry in entries if any(fnmatchcase(entry.name, p) for p in accepted))


def _refuse_folder_of_folders(
    path: Path, layout: Layout, patterns: Sequence[Sequence[str]]
) -> list[tuple[TensorFile, PublishedFile]]:
    """Refuse a folder whose folders hold what it should hold itself; else return that it holds none of it."""
    if len(layout.published) < 2:
        return []
    inside = [d.name for d in _fitting(path, ("*",)) if any(_fitting(d, p) for p in patterns)]
    if not inside:
        return []
    faults = [f"missing: it holds folders of weights and none itself; give one of them: {listed(inside, 12)}"]
    raise WeightsMismatchError(path, faults, layout.model, layout.source)


def read_parts(path: Path, layout: Layout) -> dict[str, Tensor]:
    """Return the tensors of a folder of networks in our own names.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_INVALID, see `find_weights`.
    """
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
            tensors |= {prefix + k: v for k, v in read(plan, opened).items()}
    if faults:
        raise WeightsMismatchError(path, faults, layout.model, layout.source, _pipeline(path))
    return tensors


def _part_file(path: Path, part: Part) -> Path | None:
    for folder in part.folders:
        for suffix in SAFETENSORS + PICKLES:
            # Variants such as fp16 and non_ema lie beside the plain file, which sorts by its shorter name.
            whole = _by_length(p for p in (path / folder).glob(f"*{suffix}") if not is_shard(p))
            indices = _by_length(p for p in (path / folder).glob(f"*{suffix}.index*.json") if is_index(p))
            if files := whole + indices:
                return files[0]
        # Shards without an index: opened all the same, to be told what is missing.
        if shards := _by_length(p for p in (path / folder).glob("*") if is_shard(p)):
            return shards[0]
    return None


def _by_length(files: Iterable[Path]) -> list[Path]:
    return sorted(files, key=lambda p: (len(p.name), p.name))


def _pipeline(path: Path) -> str:
    """Return what a folder says of itself, as a guess; empty if it says nothing."""
    try:
        held = parse_json(read_bytes(path / _MODEL_INDEX, "JSON", _MODEL_INDEX_BYTES))
    except (FileError, NotJson):
        return ""
    name = held.get("_class_name") if isinstance(held, dict) else None
    return f"of a {quoted(name)}, as its {_MODEL_INDEX} says" if name else ""
