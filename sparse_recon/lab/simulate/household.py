"""Household-like shapes with seeded variation: mug, bottle, box, bowl, can and a drill-like tool."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sparse_recon.errors import ErrorCode, InputError, quoted
from sparse_recon.lab.simulate.shapes import Shape, layered, load_manifold, painted_shape
from sparse_recon.types import Bool, Float64

if TYPE_CHECKING:
    from manifold3d import Manifold

SEGMENTS = 128
Inside = Callable[[Float64], Bool]
Colour = tuple[float, float, float]

_PALETTE: tuple[Colour, ...] = (
    (0.80, 0.25, 0.20),
    (0.16, 0.42, 0.62),
    (0.93, 0.68, 0.20),
    (0.24, 0.52, 0.38),
    (0.45, 0.33, 0.58),
    (0.87, 0.45, 0.27),
    (0.13, 0.55, 0.56),
)
_CREAM: Colour = (0.94, 0.91, 0.84)
_WHITE: Colour = (0.95, 0.95, 0.94)
_INK: Colour = (0.16, 0.17, 0.20)
_STEEL: Colour = (0.70, 0.71, 0.73)


def make_shape(kind: str, rng: np.random.Generator) -> Shape:
    """Return a shape of one of the `KINDS`, its sizes and colours drawn from `rng`.

    Raises
    ------
    InputError
        If the kind is unknown.
    DependencyError
        If manifold3d cannot be imported.
    """
    if kind not in _MAKERS:
        raise InputError(ErrorCode.USAGE, f"unknown shape {quoted(kind)}; accepted are {', '.join(KINDS)}")
    return _MAKERS[kind](rng)


def mug(rng: np.random.Generator) -> Shape:
    """Mug with an open inside, walls of 3 to 4 mm and a handle that a finger fits through."""
    radius, height, wall = rng.uniform(0.036, 0.044), rng.uniform(0.085, 0.105), rng.uniform(0.003, 0.004)
    ring, grip = rng.uniform(0.022, 0.026), rng.uniform(0.0045, 0.006)
    outer = _lathe([(0, 0), (radius * 0.92, 0), (radius, 0.012), (radius, height), (0, height)])
    inner = _lathe(
        [
            (0, wall * 1.6),
            (radius * 0.92 - wall, wall * 1.6),
            (radius - wall, 0.016),
            (radius - wall, height * 2),
            (0, height * 2),
        ]
    )
    handle = _torus(ring, grip).scale((1.0, 1.25, 1.0)).rotate((90, 0, 0))
    body = outer + handle.translate((radius + 0.25 * ring, 0, height * 0.5)) - inner
    color = _pick(rng)
    band = _band(height * 0.32, height * 0.68)
    glaze = layered(color, (_both(band, _radially(radius * 0.985, radius * 1.02)), _CREAM), (_inner(radius), _WHITE))
    return painted_shape("mug", body, glaze)


def bottle(rng: np.random.Generator) -> Shape:
    """Closed bottle: a surface of revolution with shoulder, neck and cap."""
    radius, height = rng.uniform(0.030, 0.037), rng.uniform(0.185, 0.225)
    neck, cap = rng.uniform(0.011, 0.013), rng.uniform(0.0145, 0.0165)
    shoulder = height * rng.uniform(0.58, 0.66)
    t = np.linspace(0.0, 1.0, 14)
    curve = neck + (radius - neck) * (0.5 + 0.5 * np.cos(np.pi * t))
    profile = [(0.0, 0.0), (radius * 0.9, 0.0), (radius, 0.008)]
    profile += list(zip(curve, shoulder + t * (height * 0.86 - shoulder), strict=True))
    profile += [(neck, height * 0.89), (cap, height * 0.89), (cap, height - 0.002), (cap - 0.002, height), (0, height)]
    color, label = _pick(rng), rng.uniform(-np.pi, np.pi)
    low, high = shoulder * 0.22, shoulder * 0.88
    facing = _sector(label, 1.25)
    paint = layered(
        color,
        (_both(_band(low, high), facing), _CREAM),
        (_both(_band(low + 0.62 * (high - low), low + 0.86 * (high - low)), _sector(label, 1.0)), _pick(rng)),
        (_both(_stripes(low + 0.012, low + 0.55 * (high - low), 0.009), _sector(label, 0.9)), _INK),
        (_band(height * 0.885, np.inf), _WHITE),
    )
    return painted_shape("bottle", _lathe(profile), paint)


def box(rng: np.random.Generator) -> Shape:
    """Carton with rounded edges, printed on its faces."""
    size = np.array([rng.uniform(0.055, 0.075), rng.uniform(0.095, 0.125), rng.uniform(0.14, 0.18)])
    color, accent = _pick(rng), _pick(rng)
    half, height = size / 2, size[2]
    front, centre = _front(half[0] - 0.003), 0.62 * height
    paint = layered(
        color,
        (_band(0.0, 0.22 * height), accent),
        (_band(0.22 * height, 0.25 * height), _CREAM),
        (_both(front, _disc(centre, 0.27 * size[1])), _CREAM),
        (_both(front, _disc(centre, 0.16 * size[1])), accent),
        (_both(front, _stripes(0.06 * height, 0.19 * height, 0.008), _beside(0.32 * size[1])), _CREAM),
    )
    return painted_shape("box", _rounded_box(size, 0.004), paint)


def bowl(rng: np.random.Generator) -> Shape:
    """Open bowl with a foot ring and walls of 3 to 4 mm."""
    radius, height, wall = rng.uniform(0.062, 0.078), rng.uniform(0.048, 0.060), rng.uniform(0.003, 0.004)
    foot = radius * 0.45
    t = np.linspace(0.0, 1.0, 20)
    rise = np.stack([foot + (radius - foot) * np.sin(t * np.pi / 2) ** 0.9, 0.006 + (height - 0.006) * t**1.5], axis=1)
    step = np.gradient(rise, axis=0)
    inward = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.linalg.norm(step, axis=1, keepdims=True)
    inside = rise + wall * inward
    inside[0, 0], inside[-1, 1] = min(inside[0, 0], foot), height
    profile = [(0.0, 0.003), (foot - 0.004, 0.003), (foot - 0.004, 0.0), (foot, 0.0), *map(tuple, rise)]
    profile += [*map(tuple, inside[::-1]), (0.0, inside[0, 1])]
    color = _pick(rng)
    paint = layered(color, (_band(height - 0.010, height - 0.006), _CREAM), (_band(height - 0.004, np.inf), _CREAM))
    return painted_shape("bowl", _lathe(profile), paint)


def can(rng: np.random.Generator) -> Shape:
    """Tin can with raised rims at both ends."""
    radius, height = rng.uniform(0.032, 0.040), rng.uniform(0.095, 0.125)
    rim = 0.0015
    lid = [(radius + rim, height - 0.004), (radius + rim, height), (radius - 0.002, height)]
    lid += [(radius - 0.002, height - 0.003), (0.0, height - 0.003)]
    base = [(0.0, 0.003), (radius - 0.002, 0.003), (radius - 0.002, 0.0), (radius + rim, 0.0), (radius + rim, 0.004)]
    color, accent, label = _pick(rng), _pick(rng), rng.uniform(-np.pi, np.pi)
    paper = _both(_band(0.0065, height - 0.0065), _radially(radius - 0.0005, 1.0))
    paint = layered(
        _STEEL,
        (paper, color),
        (_both(paper, _band(0.40 * height, 0.74 * height)), _CREAM),
        (_both(paper, _band(0.45 * height, 0.69 * height), _sector(label, 0.55)), accent),
        (_both(paper, _stripes(0.47 * height, 0.67 * height, 0.008), _sector(label + np.pi, 0.7)), _INK),
        (_both(paper, _band(0.12 * height, 0.16 * height)), accent),
    )
    return painted_shape("can", _lathe([*base, (radius, 0.006), (radius, height - 0.006), *lid]), paint)


def drill(rng: np.random.Generator) -> Shape:
    """Drill-like tool that stands on its battery: no symmetry, overhangs and a gap behind the trigger."""
    solid = load_manifold()
    length, radius, height = rng.uniform(0.115, 0.135), rng.uniform(0.024, 0.028), rng.uniform(0.15, 0.17)
    barrel = solid.cylinder(length, radius, radius * 0.94, 64).rotate((0, 90, 0)).translate((-0.055, 0, height))
    nose = solid.cylinder(0.030, 0.017, 0.009, 48).rotate((0, 90, 0)).translate((length - 0.056, 0, height))
    bit = solid.cylinder(0.045, 0.0042, 0.0038, 24).rotate((0, 90, 0)).translate((length - 0.027, 0, height))
    grip = _rounded_box(np.array([0.036, 0.030, height - 0.01]), 0.010).rotate((0, -7, 0)).translate((0.006, 0, 0.012))
    battery = _rounded_box(np.array([0.098, 0.066, 0.040]), 0.007).translate((0.008, 0, 0))
    trigger = _rounded_box(np.array([0.022, 0.014, 0.030]), 0.005).translate((0.018, 0, height - 0.062))
    color = _pick(rng)
    paint = layered(
        color,
        (_band(0.0, 0.0405), _INK),
        (_both(_band(0.018, 0.024), lambda p: np.abs(p[:, 1]) > 0.0325), color),
        (lambda p: p[:, 0] > length - 0.054, _INK),
        (lambda p: p[:, 0] > length - 0.0265, _STEEL),
        (_both(_band(height - 0.064, height - 0.03), lambda p: p[:, 0] > 0.0215), _INK),
        (_both(_band(height - 0.004, height + 0.004), lambda p: p[:, 0] < length - 0.075), _CREAM),
    )
    return painted_shape("drill", barrel + nose + bit + grip + battery + trigger, paint)


_MAKERS: dict[str, Callable[[np.random.Generator], Shape]] = {
    "mug": mug,
    "bottle": bottle,
    "box": box,
    "bowl": bowl,
    "can": can,
    "drill": drill,
}
KINDS = tuple(_MAKERS)


def _lathe(profile_rz: list[tuple[float, float]]) -> Manifold:
    """Turn a closed counter-clockwise outline of (radius, height) metres about z."""
    load_manifold()
    from manifold3d import CrossSection, FillRule

    section = CrossSection([[(float(r), float(z)) for r, z in profile_rz]], FillRule.NonZero)
    return section.revolve(SEGMENTS)


def _torus(radius_m: float, tube_m: float) -> Manifold:
    from manifold3d import CrossSection

    return CrossSection.circle(tube_m, 32).translate((radius_m, 0.0)).revolve(64)


def _rounded_box(size_m: Float64, radius_m: float) -> Manifold:
    """Box centred in x and y that stands on z = 0."""
    solid = load_manifold()
    corner = solid.sphere(radius_m, 32)
    signs = np.array(np.meshgrid((-1, 1), (-1, 1), (-1, 1))).reshape(3, -1).T
    centres = signs * (size_m / 2 - radius_m) + (0, 0, size_m[2] / 2)
    return solid.batch_hull([corner.translate(tuple(c)) for c in centres.tolist()])


def _pick(rng: np.random.Generator) -> Colour:
    return _PALETTE[rng.integers(len(_PALETTE))]


def _both(*tests: Inside) -> Inside:
    return lambda p: np.logical_and.reduce([test(p) for test in tests])


def _band(low_m: float, high_m: float) -> Inside:
    return lambda p: (p[:, 2] >= low_m) & (p[:, 2] <= high_m)


def _stripes(low_m: float, high_m: float, period_m: float) -> Inside:
    return lambda p: (p[:, 2] >= low_m) & (p[:, 2] <= high_m) & ((p[:, 2] - low_m) % period_m < 0.45 * period_m)


def _sector(centre_rad: float, half_rad: float) -> Inside:
    return lambda p: np.cos(np.arctan2(p[:, 1], p[:, 0]) - centre_rad) > np.cos(half_rad)


def _radially(low_m: float, high_m: float) -> Inside:
    return lambda p: (np.hypot(p[:, 0], p[:, 1]) >= low_m) & (np.hypot(p[:, 0], p[:, 1]) <= high_m)


def _inner(radius_m: float) -> Inside:
    return lambda p: (np.hypot(p[:, 0], p[:, 1]) < radius_m - 0.0025) & (p[:, 2] > 0.004)


def _beside(half_m: float) -> Inside:
    return lambda p: np.abs(p[:, 1]) < half_m


def _front(depth_m: float) -> Inside:
    return lambda p: np.abs(p[:, 0]) > depth_m


def _disc(height_m: float, radius_m: float) -> Inside:
    return lambda p: np.hypot(p[:, 1], p[:, 2] - height_m) < radius_m
