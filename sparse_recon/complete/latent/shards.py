"""Weights that are cut into several files with an index, as diffusers and transformers write large ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse_recon.errors import ErrorCode, ModelError, clipped, quoted
from sparse_recon.inputs.files import read_bytes, shown
from sparse_recon.inputs.json_text import NotJson, parse_json

if TYPE_CHECKING:
    from sparse_recon.complete.latent.tensor_files import TensorFile

_INDEX = ".index.json"
# Names of a hundred thousand tensors.
MAX_INDEX_BYTES = 16_000_000
MAX_SHARDS = 1000
MAX_NAME_BYTES = 255  # what file systems take
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.")
# Diffusers names a variant such as fp16 within the name of its index.
_IS_INDEX = re.compile(r"\.index(\.[\w-]+)?\.json$")


def is_shard(path: Path) -> bool:
    """Return whether a file is by its name one of several."""
    return bool(_SHARD.search(path.name))


def is_index(path: Path) -> bool:
    """Return whether a file is by its name the index of several."""
    return bool(_IS_INDEX.search(path.name))


def index_of(shard: Path) -> Path:
    """Return where the index of a shard ought to be.

    That of `model.fp16-00001-of-00002.safetensors`, formerly `model-00001-of-00002.fp16.safetensors`, is
    `model.safetensors.index.fp16.json`, unless there is a `model.fp16.safetensors.index.json`: what follows a dot in a
    name may be no variant.
    """
    before, after = _SHARD.split(shard.name, maxsplit=1)
    name, _, variant = before.partition(".")
    earlier, _, suffix = after.rpartition(".")
    plain = shard.with_name(f"{before}.{suffix}{_INDEX}")
    if not earlier and plain.is_file():
        return plain
    variant = variant or earlier
    return shard.with_name(f"{name}.{suffix}.index.{variant}.json") if variant else plain


def open_shards(index: Path, open_one: Callable[[Path], TensorFile]) -> dict[str, TensorFile]:
    """Return the file of each tensor that an index lists.

    Parameters
    ----------
    open_one : opens a file of tensors.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING if there is no index; MODEL_WEIGHTS_INVALID if it is none, names a file outside of its
        folder or one that is not there, or a file lacks what the index says it holds or holds what it does not say.
    """
    files = _listed(index)
    opened: dict[str, TensorFile] = {}
    for name in sorted(set(files.values())):
        path = index.parent / name
        if not path.is_file():
            raise _invalid(index, f"it is cut into files, and lists {name}, which is not beside it")
        opened[name] = open_one(path)
    held = {name: tensors.shapes.keys() for name, tensors in opened.items()}
    lacking = [name for name, file in files.items() if name not in held[file]]
    beyond = [name for file, names in held.items() for name in names if files.get(name) != file]
    if lacking:
        raise _invalid(index, f"{files[lacking[0]]} lacks {clipped(lacking[0])}, which the index says it holds")
    if beyond:
        raise _invalid(index, f"a file holds {clipped(beyond[0])}, of which the index says something else")
    return {name: opened[file] for name, file in files.items()}


def _listed(index: Path) -> dict[str, str]:
    def missing(sentence: str) -> ModelError:
        return ModelError(
            ErrorCode.MODEL_WEIGHTS_MISSING, f"no weights, or one of several files without their index: {sentence}"
        )

    try:
        held: Any = parse_json(
            read_bytes(index, "the index of weights that are cut into files", MAX_INDEX_BYTES, missing)
        )
    except NotJson as error:
        raise _invalid(index, f"it is no index ({error})") from error
    files = held.get("weight_map") if isinstance(held, dict) else None
    if not isinstance(files, dict) or not files or not all(isinstance(v, str) for v in files.values()):
        raise _invalid(index, "it is no index: weight_map, which names the file of each tensor, is missing")
    names = set(files.values())
    if len(names) > MAX_SHARDS:
        raise _invalid(index, f"it lists {len(names)} files, accepted are {MAX_SHARDS}")
    for name in names:
        if Path(name).name != name or is_index(Path(name)) or len(name.encode(errors="replace")) > MAX_NAME_BYTES:
            raise _invalid(index, f"it lists {quoted(name)}, which is no file beside it")
    return files


def _invalid(path: Path, found: str) -> ModelError:
    return ModelError(
        ErrorCode.MODEL_WEIGHTS_INVALID,
        f"the weights at {shown(path)} cannot be used: {found}; download the files again",
    )
