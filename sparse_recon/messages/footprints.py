"""Completed objects seen from above, as the fields of `nav_msgs/OccupancyGrid` for 2D navigation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sparse_recon.config.parameters import Checked, doc
from sparse_recon.errors import MeshError
from sparse_recon.geometry.poses import pose, rotation_to_up
from sparse_recon.messages.fields import Fields, header_fields, pose_fields
from sparse_recon.types import Bool, CompletedObject, Float64, Provenance

log = logging.getLogger(__name__)

# nav2's static layer takes 100 as lethal whatever its settings: lethal_cost_threshold is 100 at most.
OBSERVED_CELL, INFERRED_CELL, FREE_CELL = 100, 70, 0
# Cells smaller than this would fall between the points of one surface; it is also what `confidence` is about.
OBSERVED_REACH_M = 0.005
_TOUCH_M = 1e-6  # what reaches no farther into a cell only touches it: vertices are rounded to float32
_PAIRS = 200_000  # pairs of triangle and row looked at together


@dataclass(frozen=True)
class FootprintConfig(Checked):
    """The grid in which 2D navigation sees the objects."""

    resolution_m: float = field(
        default=0.01, metadata=doc("Edge of a cell of the footprint grid.", unit="m", low=0.001, high=1.0)
    )
    margin_m: float = field(
        default=0.1,
        metadata=doc(
            "Width of the free border around the objects in the footprint grid.", unit="m", low=0.0, high=10.0
        ),
    )
    max_cells: int = field(
        default=1_000_000,
        metadata=doc(
            "Largest number of cells of the footprint grid. The cell edge is doubled until the grid stays within it.",
            low=100,
            high=100_000_000,
        ),
    )


@dataclass(frozen=True, eq=False)
class _Lattice:
    """Cells in the plane across `up`: `R_world_grid` has the grid's x, y and up as columns."""

    R_world_grid: Float64
    low: Float64  # (2,) corner of cell 0 in the grid's axes
    resolution_m: float
    width: int
    height: int


def footprint_grid_fields(
    objects: Sequence[CompletedObject],
    frame_id: str,
    stamp_ns: int,
    config: FootprintConfig | None = None,
    up_world: npt.ArrayLike | None = None,
) -> Fields:
    """Return the shadows that objects cast along the up direction, all in one grid.

    A cell that the conservative mesh of some object overlaps holds `OBSERVED_CELL` (100) where also measured surface
    projects, and `INFERRED_CELL` (70) where surface was only inferred. All others hold `FREE_CELL` (0), which says that
    no completed object stands there, nothing more.

    As a static layer of a rolling nav2 costmap with `use_maximum: true`: 0 leaves what other layers say, where
    -1 would come out as unknown or as free depending on nav2's version and `track_unknown_space`. Inferred surface is
    avoided by price with `trinary_costmap: false`, and is as lethal as observed with `lethal_cost_threshold: 70`; with
    nav2's defaults for both it would be free. nav2 refuses maps without cells, so no objects give one free cell.

    The grid's corners are multiples of the resolution, so that a grid of the same objects stays where it was.

    Parameters
    ----------
    objects : in the frame `frame_id`; those without a collision surface cast no shadow.
    up_world : (3,) direction along which is projected; None for +z of the first object's box. Where it is +z of the
        frame the grid's axes are those of the frame, which nav2 needs, as it does not read the orientation.

    Returns
    -------
    Fields of `nav_msgs/OccupancyGrid`; the origin lies at the height of the lowest object's lower end.

    Raises
    ------
    MeshError
        If a collision mesh has vertices that are not finite.
    """
    config = config or FootprintConfig()
    solid = [obj for obj in objects if len(obj.conservative.faces)]
    if not solid:
        lattice = _Lattice(np.eye(3), np.zeros(2), config.resolution_m, 1, 1)
        return _fields(lattice, np.full((1, 1), FREE_CELL, np.int8), 0.0, frame_id, stamp_ns)
    R = _axes(solid[0].box.T_world_box[:3, 2] if up_world is None else up_world)
    vertices = [_finite(obj) @ R for obj in solid]  # (V, 3) each, in the grid's axes
    lattice = _lattice(R, np.concatenate(vertices)[:, :2], config)
    corners = [v[obj.conservative.faces][..., :2] for v, obj in zip(vertices, solid, strict=True)]
    shadow = _shadow(lattice, np.concatenate(corners))
    observed = _observed(lattice, solid)
    cells = np.where(shadow, np.where(observed, OBSERVED_CELL, INFERRED_CELL), FREE_CELL).astype(np.int8)
    support_m = min(float((obj.nominal.vertices_world @ R[:, 2]).min(initial=np.inf)) for obj in solid)
    if not np.isfinite(support_m):
        support_m = min(float(v[:, 2].min()) for v in vertices)
    return _fields(lattice, cells, support_m, frame_id, stamp_ns)


def _fields(lattice: _Lattice, cells: npt.NDArray[np.int8], support_m: float, frame_id: str, stamp_ns: int) -> Fields:
    header = header_fields(frame_id, stamp_ns)
    origin = lattice.R_world_grid @ np.array([*lattice.low, support_m])
    return {
        "header": header,
        "info": {
            "map_load_time": header["stamp"],
            "resolution": lattice.resolution_m,
            "width": lattice.width,
            "height": lattice.height,
            "origin": pose_fields(pose(lattice.R_world_grid, origin)),
        },
        "data": cells.ravel(),
    }


def _axes(up_world: npt.ArrayLike) -> Float64:
    R = rotation_to_up(up_world)
    return np.eye(3) if np.allclose(R, np.eye(3), rtol=0.0, atol=1e-6) else R


def _finite(obj: CompletedObject) -> Float64:
    vertices = obj.conservative.vertices_world.astype(np.float64)
    if not np.isfinite(vertices).all():
        raise MeshError(
            f"{obj.object_id}: the collision mesh has vertices that are not finite, so it has no footprint; "
            "complete it again"
        )
    return vertices


def _lattice(R: Float64, points: Float64, config: FootprintConfig) -> _Lattice:
    """Choose the cells; their number is bounded before any are made."""
    low, high = points.min(axis=0) - config.margin_m, points.max(axis=0) + config.margin_m
    resolution = config.resolution_m
    while True:
        first = np.floor((low + _TOUCH_M) / resolution)
        width, height = np.maximum(np.ceil((high - _TOUCH_M) / resolution) - first, 1.0).tolist()
        if width * height <= config.max_cells:
            break
        resolution *= 2.0
    if resolution > config.resolution_m:
        log.warning(
            "footprints cover %.1f x %.1f m: cells are %g m instead of footprints.resolution_m = %g m to stay within "
            "footprints.max_cells = %d",
            *(high - low),
            resolution,
            config.resolution_m,
            config.max_cells,
        )
    return _Lattice(R, first * resolution, resolution, int(width), int(height))


def _shadow(lattice: _Lattice, corners: Float64) -> Bool:
    """Return (height, width), whether a triangle of `corners` (T, 3, 2) overlaps the cell, exactly.

    What a triangle covers of a row of cells is one span, so that each pair of triangle and row adds a start and an end.
    """
    corners, touch = (corners - lattice.low) / lattice.resolution_m, _TOUCH_M / lattice.resolution_m
    first, last = _cells(corners[..., 1].min(axis=1), corners[..., 1].max(axis=1), lattice.height, touch)
    ends = np.cumsum(last - first + 1)
    changes = np.zeros((lattice.height, lattice.width + 1), dtype=np.int32)
    for begin in range(0, int(ends[-1]), _PAIRS):
        pair = np.arange(begin, min(begin + _PAIRS, int(ends[-1])))
        triangle = np.searchsorted(ends, pair, side="right")
        row: Any = last[triangle] - (ends[triangle] - 1 - pair)
        left, right = _cells(*_span(corners[triangle], row, touch), lattice.width, touch)
        np.add.at(changes, (row, left), 1)
        np.add.at(changes, (row, right + 1), -1)
    return np.cumsum(changes, axis=1)[:, :-1] > 0


def _cells(
    low: Float64, high: Float64, count: int, touch: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first and last of `count` cells that intervals overlap; last < first for one that only touches."""
    first: Any = np.clip(np.floor(low + touch), 0, count)
    last: Any = np.clip(np.ceil(high - touch) - 1, first - 1, count - 1)
    return first.astype(np.int64), last.astype(np.int64)


def _span(corners: Float64, row: npt.NDArray[np.int64], touch: float) -> tuple[Float64, Float64]:
    """Return the range of x that triangles (P, 3, 2) have between y = row and row + 1."""
    along = np.roll(corners, -1, axis=1) - corners
    x, y = corners[..., 0], corners[..., 1]  # (P, 3) where each edge begins
    low, high = (row - touch)[:, None], (row + 1 + touch)[:, None]
    level = along[..., 1] == 0
    slope = np.where(level, 1.0, along[..., 1])
    t = np.sort(np.stack([(low - y) / slope, (high - y) / slope]), axis=0)  # (2, P, 3) share of the edge
    t[:, level] = np.array([[0.0], [1.0]])
    inside = np.where(level, (y >= low) & (y <= high), (t[0] <= 1) & (t[1] >= 0))
    x = x + np.clip(t, 0.0, 1.0) * along[..., 0]
    left = np.where(inside, x.min(axis=0), np.inf).min(axis=1)
    return left, np.where(inside, x.max(axis=0), -np.inf).max(axis=1)


def _observed(lattice: _Lattice, objects: Sequence[CompletedObject]) -> Bool:
    """Return (height, width), whether a measured point projects into the cell, or near it where cells are small."""
    from scipy import ndimage

    measured = [obj.observed_points_world for obj in objects]
    measured += [obj.points_world[obj.provenance == Provenance.OBSERVED] for obj in objects]
    points = np.concatenate(measured).astype(np.float64) @ lattice.R_world_grid[:, :2]
    at: npt.NDArray[Any] = np.floor((points - lattice.low) / lattice.resolution_m)
    inside = ((at >= 0) & (at < (lattice.width, lattice.height))).all(axis=1)
    column, row = at[inside].astype(np.int64).T
    seen = np.zeros((lattice.height, lattice.width), dtype=bool)
    seen[row, column] = True
    reach = int(OBSERVED_REACH_M / lattice.resolution_m)
    return ndimage.binary_dilation(seen, iterations=reach) if reach else seen
