"""Weights of the segmenter, from a file that says which widths they are of."""

from __future__ import annotations

import logging
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sparse_recon.errors import ErrorCode, ModelError, clipped
from sparse_recon.inputs.files import check_file, shown
from sparse_recon.inputs.json_text import parse_json
from sparse_recon.machine.safetensors_file import check_header, read_weights
from sparse_recon.machine.share import share_folder
from sparse_recon.observe.segmenter.layout import Widths

if TYPE_CHECKING:
    from sparse_recon.observe.segmenter.network import SegmenterNet
    from sparse_recon.observe.segmenter.segmenter import Segmenter

log = logging.getLogger(__name__)

WEIGHTS_FILE = "segmenter.safetensors"
WEIGHTS_SHA256 = "7ac2592f7289c66fb1c237df571db9a37bf9ed260e03ff72d5e5e47f752e05be"
MOST_CHANNELS = 512  # far beyond what is shipped: a file cannot make the network fill memory


@lru_cache(maxsize=1)
def shipped_segmenter() -> Segmenter | None:
    """Return the segmenter with the weights that ship with the package, read once; None where torch is missing.

    Raises
    ------
    FileError, ModelError
        If the weights are missing or cannot be used.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        log.warning("torch is missing: things are told apart by gaps alone, as with segment.instances = clusters")
        return None
    from sparse_recon.observe.segmenter.segmenter import Segmenter

    return Segmenter(load_segmenter_net(share_folder("models") / WEIGHTS_FILE, WEIGHTS_SHA256))


def load_segmenter_net(path: Path, sha256: str = "") -> SegmenterNet:
    """Return the network of a weights file, on the CPU, ready to be asked.

    Raises
    ------
    ModelError
        MODEL_WEIGHTS_MISSING if there is no such file; MODEL_WEIGHTS_INVALID if it is damaged, has another hash, is of
        another network, or holds values that are no numbers.
    """
    import torch

    from sparse_recon.observe.segmenter.network import SegmenterNet

    path = Path(path)
    what = "the weights of the segmenter; put them there, or set segment.instances to clusters"
    check_file(path, what, lambda text: ModelError(ErrorCode.MODEL_WEIGHTS_MISSING, f"no weights: {text}"))
    with torch.device("meta"):
        net = SegmenterNet(_widths(path))
    state = net.state_dict()
    kept = {name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")}
    arrays = read_weights(path, kept, sha256)
    tensors = {name: torch.from_numpy(array).float() for name, array in arrays.items()}
    if broken := [name for name, t in tensors.items() if not torch.isfinite(t).all()]:
        raise ModelError(
            ErrorCode.MODEL_WEIGHTS_INVALID,
            f"{shown(path)}: tensor {broken[0]} holds NaN or infinite values; install it again",
        )
    counters = {name: torch.zeros((), dtype=torch.long) for name in state.keys() - kept.keys()}
    net.load_state_dict({**tensors, **counters}, assign=True)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack it
    return net.eval().requires_grad_(False)


def _widths(path: Path) -> Widths:
    from safetensors import SafetensorError, safe_open

    try:
        check_header(path)
        with safe_open(path, framework="np") as file:
            sizes = parse_json((file.metadata() or {})["about"])["widths"]
        widths = Widths(**{f.name: int(sizes[f.name]) for f in fields(Widths)})
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            ErrorCode.MODEL_WEIGHTS_INVALID,
            f"{shown(path)} holds no segmenter ({clipped(str(error))}); install the file again",
        ) from error
    if not all(1 <= getattr(widths, f.name) <= MOST_CHANNELS for f in fields(Widths)):
        raise ModelError(
            ErrorCode.MODEL_WEIGHTS_INVALID,
            f"{shown(path)}: channels of {widths} are not supported; install the file again",
        )
    return widths
