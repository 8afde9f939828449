"""Places behind the blocks of a diffusers UNet, at which a model may put modules of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparse_recon.complete.latent.architectures import UNetSize

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Place:
    """Behind one block of the decoder.

    Attributes
    ----------
    name : of the module of the UNet whose answer it is.
    channels : of that answer.
    level : of its side: the side of the latents over 2^level.
    """

    name: str
    channels: int
    level: int


def decoder_places(size: UNetSize) -> list[Place]:
    """Return the places behind all blocks of the decoder but the coarsest level's, in their order.

    What latent-diffusion calls an output block ends with the upsampling, where there is one.
    """
    levels = len(size.multipliers)
    places = []
    for step in range(1, levels):
        level = levels - 1 - step
        channels = size.width * size.multipliers[level]
        for slot in range(size.layers + 1):
            if slot == size.layers and level > 0:
                places.append(Place(f"up_blocks.{step}.upsamplers.0", channels, level - 1))
            else:
                places.append(Place(f"up_blocks.{step}.attentions.{slot}", channels, level))
    return places


def put_behind(unet: Any, name: str, then: Callable[[Tensor], Tensor]) -> None:
    """Let the answer of a module of the UNet pass through `then` from now on; its tensors' names stay."""

    def hook(module: Any, inputs: Any, answer: Any) -> Any:
        return (then(answer[0]), *answer[1:]) if isinstance(answer, tuple) else then(answer)

    unet.get_submodule(name).register_forward_hook(hook)
