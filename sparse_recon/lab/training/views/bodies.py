"""What pictures are taken of: coloured meshes of unit size, from household shapes, scans and packs of shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.lab.training.views.materials import materials, painted, parts_of
from sparse_recon.types import Float32, Float64, Int32, UInt8

# Faces (N,), barycentric u and v (N, 2) and points (N, 3) on them, to colours (N, 3) in [0, 1].
Colors = Callable[[Int32, Float32, Float64], Float64]


@dataclass(frozen=True, eq=False)
class Body:
    """A mesh whose longest side is 1, with the middle of its bounding box at the origin, z up.

    Attributes
    ----------
    vertices : (V, 3) float64.
    faces : (F, 3) int32.
    colors : what its surface looks like in even light.
    """

    name: str
    vertices: Float64
    faces: Int32
    colors: Colors


def painted_body(name: str, vertices: Float64, faces: Int32, rng: np.random.Generator) -> Body:
    """Give a mesh without colours a material for each of its parts."""
    unit = to_unit(vertices)
    parts = parts_of(unit, faces)
    paints = materials(rng, int(parts.max()) + 1)

    def colors(face: Int32, uv: Float32, points: Float64) -> Float64:
        return painted(paints, parts[face], points)

    return Body(name, unit, faces, colors)


def colored_body(shape: Shape) -> Body:
    """Take a shape with its own vertex colours."""
    return Body(shape.name, to_unit(shape.vertices_obj), shape.faces, VertexColors(shape.faces, shape.colors))


def to_unit(vertices: Float64) -> Float64:
    """Centre vertices (V, 3) by their bounding box and make its longest side 1."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    return (vertices - 0.5 * (low + high)) / float((high - low).max())


def varied(body: Body, rng: np.random.Generator, sigma: float) -> Body:
    """Stretch along the axes by factors of about `exp(sigma)`, turn about z, perhaps mirror: a thing of the same kind.

    Colours stay where they were on the surface.
    """
    stretch = np.exp(np.clip(rng.normal(0, sigma, 3), -2 * sigma, 2 * sigma))
    angle, mirrored = rng.uniform(0, 2 * np.pi), rng.random() < 0.5
    c, s = np.cos(angle), np.sin(angle)
    A = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ np.diag(stretch * ((-1.0 if mirrored else 1.0), 1.0, 1.0))
    moved = body.vertices @ A.T
    low, high = moved.min(axis=0), moved.max(axis=0)
    middle, longest = 0.5 * (low + high), float((high - low).max())
    back = np.linalg.inv(A)

    def colors(face: Int32, uv: Float32, points: Float64) -> Float64:
        return body.colors(face, uv, (points * longest + middle) @ back.T)

    faces = body.faces[:, ::-1].copy() if mirrored else body.faces
    if mirrored:  # the first and third corners have changed places
        own = colors

        def colors_mirrored(face: Int32, uv: Float32, points: Float64) -> Float64:
            return own(face, np.stack([uv[:, 0], 1 - uv.sum(axis=1)], axis=1), points)

        return Body(body.name, (moved - middle) / longest, faces, colors_mirrored)
    return Body(body.name, (moved - middle) / longest, faces, colors)


class VertexColors:
    """Colours (V, 3) uint8 of vertices, interpolated over faces (F, 3)."""

    def __init__(self, faces: Int32, colors: UInt8) -> None:
        self._faces, self._colors = faces, colors.astype(np.float32) / 255.0

    def __call__(self, face: Int32, uv: Float32, points: Float64) -> Float64:
        corner = self._colors[self._faces[face]]
        u, v = uv[:, :1], uv[:, 1:]
        mixed = corner[:, 0] * (1 - u - v) + corner[:, 1] * u + corner[:, 2] * v
        return np.asarray(mixed, np.float64)
