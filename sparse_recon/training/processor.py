"""What the processor at hand can do."""

from __future__ import annotations

import torch

from sparse_recon.errors import ConfigError


def chosen_device(name: str) -> str:
    """Return `cuda` or `cpu` for auto, cuda or cpu.

    Raises
    ------
    ConfigError
        If cuda is asked for and not there.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("device is cuda, and PyTorch finds no CUDA device here; take auto or cpu")
    return "cuda" if available and name != "cpu" else "cpu"


def multiplies_bf16(device: str) -> bool:
    """Return whether bf16 products are faster than fp32 ones there: with AMX or AVX-512 BF16, and on GPUs.

    Without them oneDNN emulates bf16, 80 times slower than fp32 on AVX2.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
