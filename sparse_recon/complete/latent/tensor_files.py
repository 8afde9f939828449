"""Files of tensors, read by name: safetensors, and pickles of PyTorch of which nothing but tensors is believed."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse_recon.complete.latent.keymap import Shape
from sparse_recon.complete.latent.pickle_scan import named_classes
from sparse_recon.errors import ErrorCode, MemoryBudgetError, ModelError, clipped, quoted
from sparse_recon.inputs.files import shown
from sparse_recon.machine.safetensors_file import check_header, check_weights_file

if TYPE_CHECKING:
    from torch import Tensor

SAFETENSORS, PICKLES = (".safetensors",), (".ckpt", ".bin", ".pt", ".pth")
# Names beyond these are given to nothing: an optimiser's state or a callback is read as an empty shell.
_SAFE_MODULES = ("torch", "collections", "numpy")


class TensorFile:
    """Shapes of the tensors of a file by name; tensors themselves are read when they are asked for."""

    def __init__(self, path: Path, tensors: Mapping[str, Any], shapes: Mapping[str, Shape], about: Mapping[str, str]):
        self.path, self.shapes, self.about = path, dict(shapes), dict(about)
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        found = self._tensors[name]
        return found() if callable(found) and not hasattr(found, "shape") else found


def open_tensors(path: Path) -> TensorFile:
    """Open a file by its ending: .safetensors, or .ckpt, .bin, .pt and .pth.

    Of a training checkpoint only `state_dict` is looked at.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING if there is no such file; MODEL_WEIGHTS_INVALID if it is damaged, or no file of tensors.
    """
    path = Path(path)
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
    return TensorFile(path, {name: _later(file, name) for name in names}, shapes, about)


def _later(file: Any, name: str) -> Any:
    return lambda: file.get_tensor(name)


def _pickle(path: Path) -> TensorFile:
    import torch

    try:
        foreign = {(module, name) for module, name in named_classes(path) if module.split(".")[0] not in _SAFE_MODULES}
    except (ValueError, OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _invalid(path, clipped(str(error).partition("\n")[0])) from error
    try:
        with _placeholder_classes(foreign):
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except MemoryError as error:
        raise MemoryBudgetError(
            "reading weights", clipped(str(error)) or "the file asks for more than there is"
        ) from error
    except Exception as error:  # whatever a damaged or hostile file makes the reader say
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _invalid(path, f"torch.load cannot read it ({clipped(reason)})") from error
    if isinstance(held, dict) and isinstance(held.get("state_dict"), dict):
        held = held["state_dict"]
    if not isinstance(held, dict):
        raise _invalid(path, f"it holds a {type(held).__name__}, expected is a dictionary of tensors by name")
    tensors = {str(name): value for name, value in held.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise _invalid(path, "it holds no named tensors")
    return TensorFile(path, tensors, {name: tuple(t.shape) for name, t in tensors.items()}, {})


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
