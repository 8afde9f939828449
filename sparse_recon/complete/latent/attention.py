"""How attention is calculated: across to a single token, and so that little networks learn fast on processors."""

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


def attend_in_steps(unet: Any, image_encoder: Any) -> None:
    """Let self-attentions make their matrices of weights from now on, instead of PyTorch's fused attention.

    On processors the gradient of the fused one takes 2 to 10 times as long with few channels a head, in bf16.
    """
    from diffusers.models.attention_processor import AttnProcessor

    processors = unet.attn_processors.items()
    unet.set_attn_processor({name: AttnProcessor() if ".attn1." in name else kept for name, kept in processors})
    if hasattr(image_encoder, "set_attn_implementation"):  # transformers from 4.52
        image_encoder.set_attn_implementation("eager")
