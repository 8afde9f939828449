"""What the processor at hand can do."""

from __future__ import annotations

import logging

import torch

from sparse_recon.errors import ConfigError

log = logging.getLogger(__name__)
_said: set[str] = set()


def chosen_device(name: str) -> str:
    """Return `cuda` or `cpu` for auto, cuda or cpu.

    Raises
    ------
    ConfigError
        If cuda is asked for and not there.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("device is cuda, but PyTorch finds no CUDA device; set it to auto or cpu")
    return "cuda" if available and name != "cpu" else "cpu"


def chosen_dtype(precision: str, device: str, amplified: bool = False) -> torch.dtype:
    """Return the type of the network's products for auto, fp32, bf16 or fp16; where auto falls to fp32 says so once.

    Parameters
    ----------
    amplified : whether small differences of answers are multiplied, as guidance of 100 does. bf16 keeps too few digits
        for that: auto takes fp16 on a GPU, and fp32 on a processor.

    Raises
    ------
    ConfigError
        If fp16 is asked for on a processor, which does not multiply it, or bf16 where differences are amplified.
    """
    if amplified and precision == "bf16":
        raise ConfigError(
            "precision is bf16, whose rounding becomes most of the answer where guidance of 100 multiplies it; set it "
            "to auto, fp32 or on a GPU fp16"
        )
    if amplified and precision == "auto":
        return torch.float16 if device == "cuda" else torch.float32
    if precision == "fp16":
        if device == "cpu":
            raise ConfigError("precision is fp16, which the CPU does not compute; set it to auto, bf16 or fp32")
        return torch.float16
    if precision == "bf16" or (precision == "auto" and multiplies_bf16(device)):
        return torch.bfloat16
    if precision == "auto" and device not in _said:
        _said.add(device)
        log.info("this %s does not compute bf16 natively: fp32 is used, several times slower", device)
    return torch.float32


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
