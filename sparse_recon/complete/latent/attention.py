"""Cross-attention to a single token, without the work that a single token makes pointless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class OneTokenAttention:
    """A diffusers attention processor: the softmax over one key is 1, so that every pixel gets the token's value.

    Exact but for rounding; queries, keys and a projection of every pixel are saved.
    """

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: Any) -> Tensor:
        added: Tensor = attn.to_out[0](attn.to_v(encoder_hidden_states))
        return added.expand(-1, hidden_states.shape[1], -1)


def attend_to_one_token(unet: Any) -> None:
    """Let the cross-attentions of a UNet expect contexts (B, 1, C) from now on."""
    processors = {
        name: OneTokenAttention() if ".attn2." in name else processor
        for name, processor in unet.attn_processors.items()
    }
    unet.set_attn_processor(processors)
