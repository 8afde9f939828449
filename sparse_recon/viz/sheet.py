"""The look of our pictures: fonts, colours, captions, and writing a PNG whole or not at all."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sparse_recon.files.atomic import whole_file
from sparse_recon.types import UInt8

PAPER, CARD, LINE = (244, 245, 247), (255, 255, 255), (220, 223, 228)
INK, SOFT_INK, WARNING = (28, 32, 38), (108, 116, 128), (176, 92, 0)
OBSERVED, INFERRED = (47, 110, 186), (236, 140, 52)
OBJECT_COLORS = ((0, 160, 120), (200, 60, 140), (230, 150, 0), (70, 110, 220), (150, 90, 200), (210, 70, 50))

# Perceptually even from dark violet to yellow, readable in grey and with colour-blind eyes.
_CONFIDENCE = np.array(
    [
        *((68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142)),
        *((31, 158, 137), (53, 183, 121), (110, 206, 88), (181, 222, 43), (253, 231, 37)),
    ],
    dtype=np.float64,
)

Anchor = Literal["la", "ma", "ra", "lm", "mm", "rm"]


class Sheet:
    """A white page of fixed size on which cards, pictures and text are put; all positions in pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def card(self, left: int, top: int, width: int, height: int) -> None:
        self._draw.rounded_rectangle((left, top, left + width - 1, top + height - 1), 10, fill=CARD, outline=LINE)

    def paste(self, picture: UInt8, left: int, top: int) -> None:
        self.image.paste(Image.fromarray(picture), (left, top))

    def text(self, at: tuple[float, float], text: str, size: int = 16, color: Any = INK, anchor: Anchor = "la") -> None:
        self._draw.text(at, text, fill=color, font=_font(size), anchor=anchor)

    def text_width(self, text: str, size: int) -> float:
        return float(_font(size).getlength(text))

    def rule(self, left: int, top: int, width: int, color: Any = LINE, thickness: int = 1) -> None:
        self._draw.rectangle((left, top, left + width - 1, top + thickness - 1), fill=color)

    def dot(self, centre: tuple[float, float], radius: float, color: Any) -> None:
        x, y = centre
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def confidence_colors(confidence: npt.NDArray[np.floating]) -> UInt8:
    """Map confidence in [0, 1], any shape, to (..., 3) uint8 colours, dark violet to yellow."""
    at = np.clip(confidence, 0.0, 1.0) * (len(_CONFIDENCE) - 1)
    positions = np.arange(len(_CONFIDENCE))
    channels = [np.interp(at, positions, _CONFIDENCE[:, c]) for c in range(3)]
    return (np.stack(channels, axis=-1) + 0.5).astype(np.uint8)


def fitted(picture: UInt8, width: int, height: int) -> UInt8:
    """Resize a picture to fit inside a box, keeping its shape and centring it on white."""
    image = Image.fromarray(picture)
    scale = min(width / image.width, height / image.height)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    page = Image.new("RGB", (width, height), CARD)
    page.paste(image.resize(size, Image.Resampling.LANCZOS), ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(page)


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG through a temporary file, so that an older picture is replaced whole or not at all.

    Raises
    ------
    FileError
        If the folder cannot be written or the disk is full.
    """
    with whole_file(Path(path), "the image") as new:
        image.save(new, format="PNG", compress_level=4)


@lru_cache(maxsize=16)
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
