"""Procedural objects: families of solids that span what stands on tables, drawn from a generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sparse_recon.lab.training.fields import (
    Field,
    bent,
    box,
    bumpy,
    capsule,
    cone,
    extrusion,
    mirrored,
    placed,
    repeated,
    revolution,
    shell,
    superquadric,
    torus,
    tube,
    union,
    without,
)


@dataclass(frozen=True)
class ProceduralObject:
    """A solid within about one unit of the origin, z up as it would stand.

    Attributes
    ----------
    family : name of the family that it was drawn from.
    field : negative inside.
    size_m : longest edge of its bounding box.
    """

    family: str
    field: Field
    size_m: float


Family = Callable[[np.random.Generator, float], Field]


def draw_object(rng: np.random.Generator) -> ProceduralObject:
    """Draw an object; its longest edge is 4 to 46 cm."""
    name = str(rng.choice(list(FAMILIES), p=[share for share, _ in FAMILIES.values()]))
    size_m = float(np.exp(rng.uniform(np.log(0.045), np.log(0.45))))
    per_mm = 2e-3 / size_m  # units
    field = FAMILIES[name][1](rng, per_mm)
    if rng.random() < 0.12:
        field = bent(field, rng.normal(0, 0.25), rng.normal(0, 0.12), rng.uniform(-0.25, 0.25))
    if rng.random() < 0.12:
        waves = rng.normal(0, 1, (6, 3)) * rng.uniform(3, 14)
        field = bumpy(field, rng.uniform(1, 4) * per_mm, waves, rng.uniform(0, 6.28, 6))
    if rng.random() < 0.08:
        field = _cut(field, rng)
    return ProceduralObject(name, field, size_m)


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _turn(rng: np.random.Generator) -> np.ndarray:
    """Return a random rotation (3, 3); a third of them only exchange axes, another third turn about z."""
    from scipy.spatial.transform import Rotation

    kind = rng.random()
    if kind < 1 / 3:
        R = np.eye(3)[rng.permutation(3)]
        return R * np.sign(np.linalg.det(R))
    if kind < 2 / 3:
        return Rotation.from_euler("z", rng.uniform(0, 2 * np.pi)).as_matrix()
    return Rotation.random(random_state=rng).as_matrix()


def _cut(field: Field, rng: np.random.Generator) -> Field:
    size = [_u(rng, 0.1, 0.4) for _ in range(3)]
    cut = box(size, 0.02) if rng.random() < 0.6 else cone(size[0], size[0], 1.5)
    return without(field, placed(cut, _turn(rng), rng.uniform(-0.8, 0.8, 3).tolist()))


def _primitive(rng: np.random.Generator, size: np.ndarray) -> Field:
    """Return a box, cylinder, cone, superquadric or capsule with half extents (3,)."""
    kind = rng.random()
    if kind < 0.36:
        return box(size.tolist(), float(size.min()) * rng.choice([0.02, 0.1, 0.3, 0.6]))
    if kind < 0.6:
        r = float(min(size[0], size[1]))
        return cone(r, r, float(size[2]), min(r, float(size[2])) * rng.choice([0.02, 0.1, 0.4]))
    if kind < 0.7:
        r = float(min(size[0], size[1]))
        return cone(r, r * _u(rng, 0.1, 0.9), float(size[2]), 0.05 * r)
    if kind < 0.92:
        return superquadric(size.tolist(), _u(rng, 0.15, 1.3), _u(rng, 0.15, 1.3))
    r = float(min(size[0], size[1]))
    reach = max(float(size[2]) - r, 0.05)
    return capsule((0, 0, -reach), (0, 0, reach), r, r * _u(rng, 0.5, 1.0))


def _solid(rng: np.random.Generator, per_mm: float) -> Field:
    """One simple body: what packages, cans, balls and fruit are."""
    if rng.random() < 0.5:
        size = np.array([_u(rng, 0.12, 1.0), _u(rng, 0.25, 1.0), _u(rng, 0.12, 1.0)])
        size /= size.max()
        if rng.random() < 0.35:
            size[1] = size[0]
        return _primitive(rng, np.maximum(size, 3 * per_mm))
    kind = rng.random()
    if kind < 0.4:  # packages
        size = np.sort(rng.uniform(0.1, 1, 3))[rng.permutation(3)]
        return box((size / size.max()).tolist(), rng.choice([0.0, 1.0, 3.0, 8.0]) * per_mm)
    if kind < 0.75:  # cans, rolls, discs
        r, h = _u(rng, 0.25, 1.0), _u(rng, 0.1, 1.0)
        scale = max(r, h)
        body = cone(r / scale, r / scale, h / scale, rng.choice([0.3, 2.0, 5.0]) * per_mm)
        if rng.random() < 0.25:
            bore = r / scale * _u(rng, 0.3, 0.9)
            return without(body, cone(bore, bore, 2.0))
        return body
    half = [1.0, _u(rng, 0.75, 1.0), _u(rng, 0.7, 1.0)]
    if rng.random() < 0.5:
        half = [1.0, 1.0, 1.0]
    return superquadric(half, _u(rng, 0.85, 1.1), _u(rng, 0.9, 1.05))


def _profile(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return heights and radii (K,) of a vessel or a turned body."""
    from scipy.interpolate import PchipInterpolator

    knots = int(rng.integers(2, 7))
    aspect = np.exp(_u(rng, np.log(0.25), np.log(3.5)))  # height over width
    half = min(1.0, aspect)
    z = np.linspace(-half, half, knots)
    z[1:-1] += rng.uniform(-0.3, 0.3, knots - 2) * (z[1] - z[0])
    r = np.clip(rng.uniform(0.35, 1.0, knots) + np.linspace(rng.normal(0, 0.3), 0, knots), 0.15, None)
    if rng.random() < 0.25:  # necks
        r[-1] = r[-2] = _u(rng, 0.2, 0.5)
    r = r / r.max() * half / aspect
    heights = np.linspace(-half, half, 64)
    smooth = PchipInterpolator(z, r)(heights) if rng.random() < 0.8 else np.interp(heights, z, r)
    return heights, np.asarray(smooth)


def _turned(rng: np.random.Generator, per_mm: float) -> Field:
    """Cups, bowls, plates, bottles, vases: most are open shells, some have handles or spouts."""
    heights, radii = _profile(rng)
    hollow = rng.random() < 0.6
    wall = max(_u(rng, 2, 6) * per_mm, 0.032) if hollow else 0.0
    body = revolution(heights, radii, wall, wall * _u(rng, 1, 2.5))
    parts = [body]
    handles = int(rng.choice([0, 1, 2], p=[0.6, 0.33, 0.07]))
    flat = _u(rng, 0.8, 2.5)
    thick = max(_u(rng, 2.5, 7) * per_mm, 0.034)
    for k in range(handles):
        handle = without(tube(_handle_path(rng, heights, radii), thick, flat), _filled(heights, radii, wall))
        parts.append(placed(handle, _about_z(np.pi * k)))
    if rng.random() < 0.12:
        angle = _u(rng, 0, 2 * np.pi)
        z = _u(rng, 0.0, 0.8) * heights[-1]
        r = float(np.interp(z, heights, radii))
        start, end = (0.6 * r, 0, z), (r + _u(rng, 0.15, 0.5), 0, z + _u(rng, 0.1, 0.5))
        spout = without(capsule(start, end, _u(rng, 0.06, 0.15), 0.05), _filled(heights, radii, wall))
        parts.append(placed(spout, _about_z(angle)))
    return union(parts, _u(rng, 0, 3) * per_mm)


def _filled(heights: np.ndarray, radii: np.ndarray, wall: float) -> Field:
    return revolution(heights, np.maximum(radii - 0.8 * wall, 1e-3))


def _handle_path(rng: np.random.Generator, heights: np.ndarray, radii: np.ndarray) -> np.ndarray:
    span = heights[-1] - heights[0]
    low = heights[0] + span * _u(rng, 0.1, 0.35)
    high = heights[0] + span * _u(rng, 0.6, 0.95)
    out = _u(rng, 0.2, 0.55) * max(float(radii.max()), 0.3 * span)
    s = np.linspace(0, np.pi, 9)
    z = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(s)
    base = np.interp(z, heights, radii)
    shape = np.sin(s) ** _u(rng, 0.35, 1.0)
    return np.stack([base - 0.02 + out * shape, np.zeros(9), z], axis=1)


def _about_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def _prism(rng: np.random.Generator, per_mm: float) -> Field:
    """Extruded outlines: stars, letters, brackets, trays, organic plates."""
    count = int(rng.integers(4, 13))
    kind = rng.random()
    angle = np.sort(rng.uniform(0, 2 * np.pi, count)) if kind < 0.4 else np.arange(count) * 2 * np.pi / count
    radius = rng.uniform(0.35, 1.0, count) if kind < 0.7 else np.where(np.arange(count) % 2, 1.0, _u(rng, 0.3, 1.0))
    corners = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    corners[:, 1] *= _u(rng, 0.3, 1.0)
    if rng.random() < 0.35:  # smooth outlines
        t, fine = np.arange(count + 1), np.linspace(0, count, 24, endpoint=False)
        from scipy.interpolate import CubicSpline

        corners = CubicSpline(t, np.vstack([corners, corners[:1]]), bc_type="periodic")(fine)
    height = np.exp(_u(rng, np.log(max(0.05, 3 * per_mm)), np.log(1.0)))
    rounding = rng.choice([0.0, 1.0, 3.0]) * per_mm
    solid = extrusion(corners, height, min(rounding, 0.4 * height), rng.choice([0.0, 0.0, 0.2, 0.5]))
    if rng.random() < 0.25:
        wall = max(_u(rng, 2, 5) * per_mm, 0.034)
        inner = placed(extrusion(corners * (1 - 2 * wall), height), t=(0, 0, 2 * wall))
        solid = without(solid, inner)
    return placed(solid, _turn(rng)) if rng.random() < 0.5 else solid


def _assembly(rng: np.random.Generator, per_mm: float) -> Field:
    """Several primitives grown together, often mirrored or repeated: figures, toys, machines."""
    count = int(rng.integers(2, 8))
    parts, places = [], [np.zeros(3)]
    for _ in range(count):
        size = np.maximum(np.exp(rng.uniform(np.log(0.08), np.log(0.6), 3)), 2.5 * per_mm)
        at = places[int(rng.integers(len(places)))] + rng.normal(0, 0.35, 3)
        places.append(np.clip(at, -0.8, 0.8))
        parts.append(placed(_primitive(rng, size), _turn(rng), places[-1].tolist()))
    solid = union(parts, rng.choice([0.0, 0.05, 0.15]))
    kind = rng.random()
    if kind < 0.5:
        return mirrored(solid, int(rng.integers(2)))
    if kind < 0.62:
        return repeated(placed(solid, t=(_u(rng, 0.2, 0.6), 0, 0)), int(rng.integers(2, 7)))
    return solid


def _tool(rng: np.random.Generator, per_mm: float) -> Field:
    """A handle with a head: hammers, screwdrivers, brushes, spatulas, pans, drills, scissors."""
    thick = max(_u(rng, 3, 14) * per_mm, 0.035)
    reach = _u(rng, 0.4, 0.9)
    if rng.random() < 0.5:
        z = np.linspace(-reach, reach, 12)
        r = thick * np.clip(1 + np.cumsum(rng.normal(0, 0.18, 12)), 0.5, 2.2)
        handle = revolution(z, r)
    else:
        handle = box((thick, thick * _u(rng, 0.4, 1.5), reach), 0.4 * thick)
    parts = [handle]
    kind = rng.random()
    head = np.maximum(np.exp(rng.uniform(np.log(0.06), np.log(0.45), 3)), 2 * per_mm)
    if kind < 0.4:
        parts.append(placed(_primitive(rng, head), _turn(rng), (_u(rng, -0.1, 0.1), 0, reach)))
    elif kind < 0.6:  # blade, spatula, spoon
        flat = box((max(0.8 * per_mm, 0.02), _u(rng, 0.1, 0.35), _u(rng, 0.2, 0.5)), 0.01)
        parts.append(placed(bent(flat, bend=_u(rng, 0, 0.8)), t=(0, 0, reach + 0.2)))
    elif kind < 0.75:  # ring
        ring = torus(_u(rng, 0.15, 0.4), thick * _u(rng, 0.5, 1), _u(rng, 0.6, 1.5))
        parts.append(placed(ring, np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]]), (0, 0, reach + 0.25)))
    elif kind < 0.88:  # pan
        heights = np.array([-0.12, 0.0, 0.12]) * _u(rng, 0.5, 1.5)
        pan = revolution(heights, np.array([0.38, 0.43, 0.45]), max(2.5 * per_mm, 0.034), 0.03)
        parts.append(placed(pan, np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]]), (0, 0, reach + 0.4)))
    else:  # a second arm: clamps, pistols, pliers
        tip = rng.uniform(-0.7, 0.7, 3)
        parts.append(capsule((0, 0, reach * 0.8), (tip[0], 0.1 * tip[1], tip[2]), thick, thick * _u(rng, 0.5, 1.2)))
        if rng.random() < 0.5:
            parts.append(capsule((tip[0], 0, tip[2]), (tip[0] * 0.5, 0, tip[2] - 0.5), thick, thick))
    return placed(union(parts, _u(rng, 0, 0.1)), _turn(rng))


def _frame(rng: np.random.Generator, per_mm: float) -> Field:
    """Thin bars and walls: racks, stands, trays, open boxes."""
    if rng.random() < 0.5:  # open boxes and trays
        size = np.exp(rng.uniform(np.log(0.2), 0, 3))
        size /= size.max()
        wall = max(_u(rng, 2, 5) * per_mm, 0.032)
        outer = box(size.tolist(), rng.choice([0.5, 3.0, 8.0]) * per_mm)
        body = shell(outer, wall)
        opening = box((size[0] - wall, size[1] - wall, size[2]), 0.0)
        return without(body, placed(opening, t=(0, 0, 2 * wall)))
    thick = max(_u(rng, 2, 6) * per_mm, 0.034)
    corners = rng.uniform(-1, 1, (int(rng.integers(3, 7)), 3)) * np.array([0.9, 0.6, 0.9])
    bars: list[Field] = [capsule(a.tolist(), b.tolist(), thick, thick) for a, b in pairwise(corners)]
    if rng.random() < 0.6:
        bars.append(placed(box((0.7, 0.5, thick), 0.3 * thick), t=(0, 0, float(corners[:, 2].min()))))
    solid = union(bars, 0.5 * thick)
    return mirrored(solid) if rng.random() < 0.6 else solid


# Family: share of all objects, and how to draw one. Boxes and cylinders must not starve: they are what carving alone
# completes best, and a model must not lose them.
FAMILIES: dict[str, tuple[float, Family]] = {
    "solid": (0.32, _solid),
    "turned": (0.23, _turned),
    "prism": (0.11, _prism),
    "assembly": (0.18, _assembly),
    "tool": (0.10, _tool),
    "frame": (0.06, _frame),
}
