"""What is said of answers whose rounding guidance multiplies."""

from __future__ import annotations

import pytest

from sparse_recon.complete.latent.generated_views import rounding_warnings


@pytest.mark.parametrize(
    ("dtype", "guidance", "said"),
    [("torch.bfloat16", 20.0, 1), ("torch.bfloat16", 3.0, 0), ("torch.float32", 20.0, 0), ("torch.float16", 20.0, 0)],
)
def test_large_guidance_in_bf16_alone_is_warned_of(dtype, guidance, said):
    found = rounding_warnings("syncdreamer", dtype, guidance)
    assert len(found) == said and all("syncdreamer.precision" in text for text in found)
