"""Sizes and units that the network, its input and what reads its answer share."""

from __future__ import annotations

from dataclasses import dataclass

CHANNELS = 10  # of the input
OUTPUTS = 4  # thing, centre, offset in u and v
OFFSET_PX = 16.0  # of an offset of 1
STRIDE = 16  # the size of an image must be a multiple of it


@dataclass(frozen=True)
class Widths:
    """Channels of the five resolutions, from a half to a sixteenth of the image, and of the whole."""

    half: int = 24
    quarter: int = 48
    eighth: int = 80
    sixteenth: int = 128
    full: int = 8
