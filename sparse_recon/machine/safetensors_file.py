"""Weights of models, read from safetensors files only: sizes are checked before anything is allocated."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, ModelError, clipped, quoted
from sparse_recon.inputs.files import check_file, shown

Weights = dict[str, npt.NDArray[np.generic]]

_HEADER_BYTES = 8  # length of the header, little endian
# Thousands of tensors are named in one megabyte.
MAX_HEADER_BYTES = 16_000_000
# What NumPy has a type for, by the names of the format.
DTYPES = ("BOOL", "U8", "I8", "U16", "I16", "F16", "U32", "I32", "F32", "U64", "I64", "F64")
_NAMED_AT_MOST = 5
_READ_BYTES = 1 << 20


def read_weights(path: Path, shapes: Mapping[str, tuple[int, ...]], sha256: str = "") -> Weights:
    """Return the tensors of a safetensors file, exactly those that are expected.

    Parameters
    ----------
    path : the file.
    shapes : shape of each tensor by its name.
    sha256 : of the whole file, hexadecimal; empty: not compared.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING if there is no such file; MODEL_WEIGHTS_INVALID if it cannot be read, is damaged, has
        another hash, or holds other names, shapes or types.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    check_weights_file(path)
    try:
        check_header(path)
        _check_hash(path, sha256)
        with safe_open(path, framework="np") as file:
            _check_tensors(path, {name: file.get_slice(name) for name in file.keys()}, shapes)  # noqa: SIM118
            return {name: file.get_tensor(name) for name in shapes}
    except SafetensorError as error:
        raise _invalid(path, f"it is not a complete safetensors file ({clipped(str(error))})") from error
    except OSError as error:
        raise _invalid(path, f"it cannot be read ({error})") from error


def check_weights_file(path: Path) -> None:
    """Raise ModelError MODEL_WEIGHTS_MISSING where no regular file is."""
    what = "a weights file; check the path, or choose another model"
    check_file(path, what, lambda text: ModelError(ErrorCode.MODEL_WEIGHTS_MISSING, f"no weights: {text}"))


def check_header(path: Path) -> None:
    """Refuse a file that cannot hold the header it claims, before a parser believes it; ModelError or OSError."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        claimed_bytes = int.from_bytes(file.read(_HEADER_BYTES), "little")
    most_bytes = min(size_bytes - _HEADER_BYTES, MAX_HEADER_BYTES)
    if not 2 <= claimed_bytes <= most_bytes:
        raise _invalid(
            path,
            f"its header claims {claimed_bytes} bytes, and the file has {size_bytes}: it is truncated or not a "
            "safetensors file",
        )


def _check_hash(path: Path, sha256: str) -> None:
    if not sha256:
        return
    found = sha256_of(path)
    if found != sha256.lower():
        raise _invalid(path, f"its sha256 is {found}, expected is {sha256.lower()}")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _check_tensors(path: Path, found: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]) -> None:
    missing, foreign = sorted(shapes.keys() - found.keys()), sorted(found.keys() - shapes.keys())
    if missing or foreign:
        lacks = f"lacks {_some(missing)}" if missing else ""
        holds = f"holds {_some(foreign)}, which the model does not have" if foreign else ""
        raise _invalid(path, f"it {' and '.join(part for part in (lacks, holds) if part)}")
    for name, shape in shapes.items():
        tensor = found[name]
        has, dtype = tuple(tensor.get_shape()), tensor.get_dtype()  # type: ignore[attr-defined]
        if has != tuple(shape):
            raise _invalid(path, f"tensor {name} has shape {quoted(has)}, expected is {tuple(shape)}")
        if dtype not in DTYPES:
            raise _invalid(path, f"tensor {name} has type {dtype}, accepted are {', '.join(DTYPES)}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(map(clipped, names[:_NAMED_AT_MOST])) + more


def _invalid(path: Path, found: str) -> ModelError:
    return ModelError(
        ErrorCode.MODEL_WEIGHTS_INVALID, f"the weights at {shown(path)} cannot be used: {found}; install the file again"
    )
