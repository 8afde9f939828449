"""Files of tensors, read by name: safetensors, and pickles of PyTorch of which nothing but tensors is believed."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse_recon.complete.latent.keymap import Shape
from sparse_recon.complete.latent.pickle_scan import named_classes
from sparse_recon.complete.latent.shards import index_of, is_index, is_shard, open_shards
from sparse_recon.errors import ErrorCode, MemoryBudgetError, ModelError, clipped, listed, quoted
from sparse_recon.inputs.files import shown
from sparse_recon.machine.safetensors_file import check_header, check_weights_file

if TYPE_CHECKING:
    from torch import Tensor

_NAMED_AT_MOST = 5
_WORD = re.compile(r"[A-Za-z_][\w.]*\w")
SAFETENSORS, PICKLES = (".safetensors",), (".ckpt", ".bin", ".pt", ".pth")
# Names beyond these are given to nothing: an optimiser's state or a callback is read as an empty shell.
_SAFE_MODULES = ("torch", "collections", "numpy")
# What no training run leaves behind: who reads such a file with plain pickle runs somebody's program. Whole modules,
# and functions of modules that a checkpoint may name otherwise.
_HOSTILE = (
    *(
        "posix",
        "nt",
        "subprocess",
        "pty",
        "runpy",
        "ctypes",
        "socket",
        "shutil",
        "webbrowser",
        "bdb",
        "pdb",
        "torch.hub",
    ),
    *(f"os.{name}" for name in ("system", "popen", "execl", "execv", "execve", "spawnl", "spawnv", "remove", "unlink")),
    *(f"builtins.{name}" for name in ("eval", "exec", "compile", "open", "__import__")),
    *(f"importlib.{name}" for name in ("import_module", "__import__")),
)
# Where a checkpoint keeps its tensors: the first of these that holds some, else the checkpoint itself.
ROOTS = ("state_dict", "model_state_dict", "model")
# Numbers beside them that say where a training run stood.
RUN_NUMBERS = ("step", "global_step", "epoch")


class TensorFile(Mapping[str, "Tensor"]):
    """Shapes of the tensors of a file by name; tensors themselves are read when they are asked for."""

    def __init__(self, path: Path, tensors: Mapping[str, Any], shapes: Mapping[str, Shape], about: Mapping[str, str]):
        self.path, self.shapes, self.about = path, dict(shapes), dict(about)
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        found = self._tensors[name]
        return found() if callable(found) and not hasattr(found, "shape") else found

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def open_tensors(path: Path) -> TensorFile:
    """Open a file by its ending: .safetensors, or .ckpt, .bin, .pt and .pth; or the index of several files.

    Of a training checkpoint only the tensors under one of `ROOTS` are looked at.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING if there is no such file; MODEL_WEIGHTS_INVALID if it is damaged, or no file of tensors.
    """
    path = Path(path)
    if is_shard(path):
        path = index_of(path)
    if is_index(path):
        files = open_shards(path, _open_one)
        shapes = {name: file.shapes[name] for name, file in files.items()}
        return TensorFile(path, {name: partial(file.__getitem__, name) for name, file in files.items()}, shapes, {})
    return _open_one(path)


def _open_one(path: Path) -> TensorFile:
    check_weights_file(path)
    if path.suffix in SAFETENSORS:
        return _safetensors(path)
    if path.suffix in PICKLES:
        return _pickle(path)
    raise _invalid(path, f"its name ends with {quoted(path.suffix)}, accepted are {', '.join(SAFETENSORS + PICKLES)}")


def _safetensors(path: Path) -> TensorFile:
    from safetensors import SafetensorError, safe_open

    try:
        check_header(path)
        file = safe_open(path, framework="pt")
        names = list(file.keys())
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        about = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _invalid(path, f"it is not a complete safetensors file ({clipped(str(error))})") from error
    return TensorFile(path, {name: partial(file.get_tensor, name) for name in names}, shapes, about)


def _pickle(path: Path) -> TensorFile:
    import torch

    try:
        named = named_classes(path)
    except (ValueError, OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _invalid(path, clipped(str(error).partition("\n")[0])) from error
    if hostile := sorted(".".join(name) for name in named if _is_hostile(".".join(name))):
        raise _hostile(path, hostile)
    foreign = {(module, name) for module, name in named if module.split(".")[0] not in _SAFE_MODULES}
    try:
        with _placeholder_classes(foreign):
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except MemoryError as error:
        raise MemoryBudgetError(
            "reading weights", clipped(str(error)) or "the file asks for more than there is"
        ) from error
    except Exception as error:  # whatever a damaged file makes the reader say
        if type(error).__name__ == "UnpicklingError":  # of the module that none of ours imports
            # Not what PyTorch says: it advises how to switch its protection off.
            raise _refused(path, str(error), named) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _invalid(path, f"torch.load cannot read it ({clipped(reason)})") from error
    tensors = _tensors(path, held)
    about = {name: str(held[name]) for name in RUN_NUMBERS if type(held.get(name)) is int}
    return TensorFile(path, tensors, {name: tuple(t.shape) for name, t in tensors.items()}, about)


def _tensors(path: Path, held: Any) -> dict[str, Tensor]:
    """Return the named tensors of a checkpoint, from under the first root that has some."""
    import torch

    if not isinstance(held, dict):
        raise _invalid(path, f"it holds a {type(held).__name__}, expected is a dictionary of tensors by name")
    for inside in (*(held.get(root) for root in ROOTS), held):
        if isinstance(inside, dict):
            tensors = {str(name): value for name, value in inside.items() if isinstance(value, torch.Tensor)}
            if tensors:
                return tensors
    raise _invalid(path, "it holds no named tensors")


def _is_hostile(name: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in _HOSTILE)


def _hostile(path: Path, names: Sequence[str]) -> ModelError:
    return ModelError(
        ErrorCode.MODEL_WEIGHTS_INVALID,
        f"the weights at {shown(path)} are refused: the file holds {listed(names, _NAMED_AT_MOST)}, a program and no "
        "weights; nothing of it was run. Do not open it with other tools; get the file from those who published it",
    )


def _refused(path: Path, said: str, named: set[tuple[str, str]]) -> ModelError:
    """Return the error of a pickle that PyTorch's careful reader stops at, with the name that it stopped at."""
    known = {".".join(name) for name in named}
    at = next((word for word in _WORD.findall(said) if word in known), "")
    found = f"it holds {clipped(at)}, which is no part of weights" if at else "its pickle does more than hold tensors"
    return _invalid(path, f"{found}; nothing of it was run")


@contextmanager
def _placeholder_classes(names: set[tuple[str, str]]) -> Iterator[None]:
    """Let PyTorch's reader make an empty object wherever a checkpoint names one of these classes.

    Training frameworks write their callbacks beside the weights. Nothing of that name is imported or run.
    """
    import torch

    placeholders: list[Any] = [
        type(name, (_Placeholder,), {"__module__": module, "__qualname__": name}) for module, name in names
    ]
    with torch.serialization.safe_globals(placeholders):
        yield


class _Placeholder(dict):
    """Stands for an object of a class that is not to be known."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass


def _invalid(path: Path, found: str) -> ModelError:
    return ModelError(
        ErrorCode.MODEL_WEIGHTS_INVALID,
        f"the weights at {shown(path)} cannot be used: {found}; download the file again",
    )
