"""Painted surfaces: seeded patterns in the coordinates of an object, so that colour says something, but not all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparse_recon.types import Float64

Paint = Callable[[Float64], Float64]  # (N, 3) metres -> (N, 3) sRGB in [0, 1]

_WAVES = 6
_GREY_SHARE, _DARK_SHARE = 0.3, 0.15


def object_paint(rng: np.random.Generator, size_m: float) -> Paint:
    """Return how an object is painted: plain, striped, printed like a package, spotted or cloudy."""
    palette = _palette(rng, int(rng.integers(2, 6)))
    kind = rng.choice(["plain", "bands", "print", "spots", "cloudy"], p=[0.3, 0.2, 0.25, 0.1, 0.15])
    if kind == "plain":
        return _Cloudy(palette[:1], _waves(rng, size_m * rng.uniform(0.3, 2.0)), 0.02)
    if kind == "bands":
        axis = _axis(rng)
        return _Bands(palette, axis, float(size_m * rng.uniform(0.1, 0.6)), float(rng.uniform(0, 1)))
    if kind == "print":
        return _Print(
            palette, float(size_m * rng.uniform(0.08, 0.5)), int(rng.integers(1 << 30)), rng.uniform(0.3, 1, 3)
        )
    if kind == "spots":
        return _Spots(palette[:2], _waves(rng, size_m * rng.uniform(0.05, 0.4)), float(rng.uniform(-0.5, 0.8)))
    return _Cloudy(palette, _waves(rng, size_m * rng.uniform(0.2, 1.0)), 0.25)


def ground_paint(rng: np.random.Generator) -> Paint:
    """Return how tables, boards and walls are painted: plain, wooden, speckled, tiled or patterned cloth."""
    kind = rng.choice(["plain", "wood", "speckled", "tiles", "cloth"], p=[0.4, 0.32, 0.1, 0.08, 0.1])
    palette = _palette(rng, 3, wild=kind == "cloth")
    palette = palette[0] + rng.uniform(0.1, 0.7) * (palette - palette[0])
    if kind == "plain":
        return _Cloudy(palette[:1], _waves(rng, rng.uniform(0.2, 1.0)), 0.03)
    if kind == "wood":
        wood = np.array([[0.62, 0.47, 0.33], [0.45, 0.32, 0.22], [0.78, 0.64, 0.47]]) * rng.uniform(0.5, 1.15)
        return _Wood(
            wood[rng.permutation(3)], float(rng.uniform(0, np.pi)), float(rng.uniform(0.05, 0.2)), rng.uniform(0, 9, 6)
        )
    if kind == "speckled":
        return _Spots(palette[:2], _waves(rng, rng.uniform(0.004, 0.03)), float(rng.uniform(0.2, 1.2)))
    if kind == "tiles":
        return _Print(palette[:2], float(rng.uniform(0.03, 0.15)), int(rng.integers(1 << 30)), np.ones(3))
    return _Bands(palette, _axis(rng), float(rng.uniform(0.02, 0.1)), float(rng.uniform(0, 1)))


def _palette(rng: np.random.Generator, count: int, wild: bool = True) -> Float64:
    import colorsys

    colors = []
    for _ in range(count):
        value = rng.uniform(0.05, 0.3) if rng.random() < _DARK_SHARE else rng.uniform(0.3, 1.0)
        saturation = rng.uniform(0, 0.1) if rng.random() < _GREY_SHARE else rng.uniform(0.1, 1.0 if wild else 0.5)
        colors.append(colorsys.hsv_to_rgb(rng.random(), saturation, value))
    return np.array(colors)


def _axis(rng: np.random.Generator) -> Float64:
    if rng.random() < 0.7:
        return np.eye(3)[int(rng.integers(3))]
    axis = rng.standard_normal(3)
    return axis / np.linalg.norm(axis)


def _waves(rng: np.random.Generator, length_m: float) -> tuple[Float64, Float64]:
    """Return wave vectors (W, 3) of about this wavelength, and phases (W,)."""
    direction = rng.standard_normal((_WAVES, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * (2 * np.pi / (length_m * rng.uniform(0.6, 1.8, (_WAVES, 1)))), rng.uniform(0, 2 * np.pi, _WAVES)


def _noise(points: Float64, waves: tuple[Float64, Float64]) -> Float64:
    """Return a smooth pattern (N,) of about unit variance."""
    return np.sin(points @ waves[0].T + waves[1]).sum(axis=1) * np.sqrt(2.0 / len(waves[1]))


@dataclass(frozen=True)
class _Cloudy:
    palette: Float64
    waves: tuple[Float64, Float64]
    strength: float

    def __call__(self, points: Float64) -> Float64:
        noise = _noise(points, self.waves)
        if len(self.palette) == 1:
            return self.palette[0] * (1.0 + self.strength * noise[:, None])
        share = 1.0 / (1.0 + np.exp(-3.0 * noise))[:, None]
        return self.palette[0] * share + self.palette[1] * (1.0 - share)


@dataclass(frozen=True)
class _Bands:
    palette: Float64
    axis: Float64
    width_m: float
    phase: float

    def __call__(self, points: Float64) -> Float64:
        band = np.floor(points @ self.axis / self.width_m + self.phase).astype(np.int64)
        return self.palette[band % len(self.palette)]


@dataclass(frozen=True)
class _Print:
    """Cells of a palette, with lines like text in some of them."""

    palette: Float64
    cell_m: float
    seed: int
    stretch: Float64

    def __call__(self, points: Float64) -> Float64:
        cell = np.floor(points / (self.cell_m * self.stretch)).astype(np.int64)
        mixed = cell[:, 0] * 73856093 ^ cell[:, 1] * 19349663 ^ cell[:, 2] * 83492791 ^ self.seed
        number = (mixed ^ (mixed >> 13)) * 1274126177 >> 7
        color = self.palette[number % len(self.palette)]
        line = np.sin(points @ (np.array([300.0, 250.0, 700.0]))) + np.sin(points @ np.array([900.0, -700.0, 60.0]))
        written = (number % 5 == 0) & (line > 0.6)
        return np.where(written[:, None], self.palette[(number + 1) % len(self.palette)], color)


@dataclass(frozen=True)
class _Spots:
    palette: Float64
    waves: tuple[Float64, Float64]
    above: float

    def __call__(self, points: Float64) -> Float64:
        return self.palette[(_noise(points, self.waves) > self.above).astype(np.int64) % len(self.palette)]


@dataclass(frozen=True)
class _Wood:
    palette: Float64
    angle: float
    plank_m: float
    phases: Float64

    def __call__(self, points: Float64) -> Float64:
        c, s = np.cos(self.angle), np.sin(self.angle)
        along, across = points[:, 0] * c + points[:, 1] * s + points[:, 2], -points[:, 0] * s + points[:, 1] * c
        plank = np.floor(across / self.plank_m).astype(np.int64)
        shift = np.sin(plank * 12.9898 + self.phases[0]) * 3.0
        grain = np.sin(across * 420 + 2.5 * np.sin(along * 11 + shift) + shift) + np.sin(
            across * 160 + along * 5 + shift
        )
        shade = 1.0 + 0.06 * grain + 0.1 * np.sin(plank * 7.7 + self.phases[1])
        seam = np.abs(across / self.plank_m - plank) < 0.02
        return self.palette[0] * np.where(seam, 0.45, shade)[:, None]
