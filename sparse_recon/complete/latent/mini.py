"""Mini weights: the networks of a published system in small, trained by this package and shipped with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize, VaeSize
from sparse_recon.complete.latent.keymap import Rule, reading
from sparse_recon.complete.latent.layout import Layout
from sparse_recon.complete.latent.mismatch import WeightsMismatchError
from sparse_recon.complete.latent.tensor_files import open_tensors
from sparse_recon.errors import ErrorCode, ModelError, clipped
from sparse_recon.inputs.files import shown
from sparse_recon.inputs.json_text import parse_json
from sparse_recon.machine.safetensors_file import sha256_of
from sparse_recon.machine.share import share_folder

if TYPE_CHECKING:
    from torch import Tensor

# What `zero123.weights` and the like name instead of a path.
MINI = "mini"
AUTOENCODER_FILE = "mini-autoencoder.safetensors"
SIZES: dict[str, type] = {"unet": UNetSize, "vae": VaeSize, "clip": ClipSize}
# Far beyond what is shipped: a file cannot make a network fill memory.
_MOST = 4096
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class MiniFile:
    """Tensors of a file in our own names, the sizes of their networks, and what else it says of itself."""

    tensors: Mapping[str, Tensor]
    sizes: Mapping[str, Any]
    about: Mapping[str, Any]


def mini_warning(model: str) -> str:
    """Return the sentence that goes with every answer of mini weights."""
    return f"the mini weights of {model} draw blurred views of 64 pixels that show how it works and no more"


def mini_path(name: str) -> Path:
    """Return where a file of mini weights lies.

    Raises
    ------
    FileError
        INPUT_MISSING if the installation has no `models` folder.
    """
    return share_folder("models") / name


def read_mini(path: Path, sizes: Mapping[str, type] = SIZES) -> MiniFile:
    """Read a file of mini weights as single-precision tensors.

    Parameters
    ----------
    sizes : dataclasses of the sizes that it may tell, by name.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING if there is no such file; MODEL_WEIGHTS_INVALID if it is damaged, or does not tell sizes
        that can be.
    """
    file = open_tensors(path)
    try:
        about = dict(parse_json(file.about["about"]))
        told: dict[str, Any] = {name: size_of(sizes[name], values) for name, values in about["sizes"].items()}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            ErrorCode.MODEL_WEIGHTS_INVALID,
            f"the weights at {shown(path)} do not tell the sizes of their networks ({clipped(str(error))}); install "
            "the file again",
        ) from error
    return MiniFile({name: file[name].float() for name in file.shapes}, told, about)


def mini_weights(path: Path, sizes: Mapping[str, type], layout_of: Callable[[Mapping[str, Any]], Layout]) -> MiniFile:
    """Return a model's mini weights together with those of the autoencoder that all minis share, checked strictly.

    Parameters
    ----------
    path : of the model's own file; the autoencoder's ships with the package.
    sizes : dataclasses of the sizes that the file tells.
    layout_of : returns the layout of a model of these sizes.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING if a file is not there; MODEL_WEIGHTS_INVALID if it is damaged, has other tensors than its
        sizes ask for, values that are no numbers, or was trained with another autoencoder.
    """
    own, shared = read_mini(path, sizes), read_mini(mini_path(AUTOENCODER_FILE))
    if own.about.get("autoencoder") != sha256_of(mini_path(AUTOENCODER_FILE)):
        raise ModelError(
            ErrorCode.MODEL_WEIGHTS_INVALID,
            f"the weights at {shown(path)} were trained with another autoencoder than {AUTOENCODER_FILE} of this "
            "package; install both of one version, or train them again",
        )
    found = MiniFile({**own.tensors, **shared.tensors}, {**own.sizes, **shared.sizes}, own.about)
    try:
        layout = layout_of(found.sizes)
        wanted = layout.shapes()
    except (TypeError, ValueError) as error:
        raise ModelError(
            ErrorCode.MODEL_WEIGHTS_INVALID,
            f"the weights at {shown(path)} tell sizes that make no networks ({clipped(str(error))}); install the file "
            "again",
        ) from error
    shapes = {name: tuple(tensor.shape) for name, tensor in found.tensors.items()}
    faults = reading(shapes, [Rule(name, name) for name in layout.parts], wanted).faults
    if not faults and layout.faults:
        faults += layout.faults(found.tensors)
    faults += [f"not a number: values of {name}" for name, t in found.tensors.items() if not bool(t.isfinite().all())]
    if faults:
        raise WeightsMismatchError(path, faults, layout.model, "Install the file again.")
    return found


def size_of(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return sizes from what JSON holds of them.

    Raises
    ------
    ValueError
        For a number that no network of ours has.
    TypeError
        If names differ.
    """
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    if missing := {f.name for f in fields(kind)} - plain.keys():  # type: ignore[arg-type]
        raise TypeError(f"missing {', '.join(sorted(missing))}")
    for name, value in plain.items():
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, (int, float)) or not 0 < number <= _MOST:
                raise ValueError(f"{name} is {value}, accepted are numbers above 0 and up to {_MOST}")
    return kind(**plain)
