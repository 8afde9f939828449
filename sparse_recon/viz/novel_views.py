"""Completed objects from sides that no camera took, as one image for a topic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from sparse_recon.geometry.near import put_near
from sparse_recon.messages.fields import Fields, header_fields
from sparse_recon.types import CompletedObject, Float64, Provenance, UInt8
from sparse_recon.viz.raster import shade_mesh, views_around
from sparse_recon.viz.sheet import INFERRED, SOFT_INK, Sheet

MAX_OBJECTS = 4
# Degrees from the side that cameras saw, counter-clockwise from above; right and left are those of the cameras.
_SIDES = ((105.0, "right"), (155.0, "back, right"), (205.0, "back, left"), (255.0, "left"))
_TILE, _GAP, _MARGIN, _HEADER, _CAPTION, _FOOTER = 160, 8, 12, 34, 26, 24
_TINT = 0.7  # how much of an inferred vertex's colour is orange
_COLOR_POINTS = 20_000


def novel_views(objects: Sequence[CompletedObject]) -> UInt8:
    """Draw up to four objects, a row each, from four sides behind that which cameras saw.

    Measured surface has its own colours; inferred surface is tinted orange. Where the cameras were is told by the
    normals of the measured points, so a side that was seen is shown only where cameras stood all around.

    Returns
    -------
    (H, W, 3) uint8; without objects a sheet that says so.
    """
    shown = objects[:MAX_OBJECTS]
    width = 2 * _MARGIN + len(_SIDES) * _TILE + (len(_SIDES) - 1) * _GAP
    row = _CAPTION + _TILE + 2 * _GAP
    sheet = Sheet(width, _HEADER + max(len(shown), 1) * row + _FOOTER)
    sheet.text(
        (_MARGIN, 10), "Seen from sides that face away from the cameras" if shown else "No completed objects", 17
    )
    for i, completed in enumerate(shown):
        _draw_object(sheet, completed, _HEADER + i * row, width)
    if shown:
        _legend(sheet, _HEADER + len(shown) * row + 3, len(objects))
    return np.asarray(sheet.image)


def novel_view_fields(objects: Sequence[CompletedObject], frame_id: str, stamp_ns: int) -> Fields:
    """Return `novel_views` as the fields of `sensor_msgs/Image`, encoding rgb8."""
    image = novel_views(objects)
    height, width, _ = image.shape
    return {
        "header": header_fields(frame_id, stamp_ns),
        "height": height,
        "width": width,
        "encoding": "rgb8",
        "is_bigendian": 0,
        "step": 3 * width,
        "data": image.reshape(-1),
    }


def _draw_object(sheet: Sheet, completed: CompletedObject, top: int, width: int) -> None:
    completed = put_near(completed, completed.origin_world)  # rays are cast in float32
    quality = completed.quality
    numbers = (
        f"{100 * quality.observed_fraction:.0f} % of the surface observed from {quality.views_used} view(s), "
        f"90 % of the rest expected within {1000 * quality.radius90_m:.1f} mm"
    )
    sheet.card(_MARGIN - 6, top, width - 2 * _MARGIN + 12, _CAPTION + _TILE + _GAP)
    sheet.text((_MARGIN, top + 5), completed.object_id, 15)
    sheet.text((width - _MARGIN, top + 7), numbers, 12, SOFT_INK, anchor="ra")
    if not len(completed.nominal.faces):
        sheet.text((_MARGIN, top + _CAPTION + 5), "has no surface", 13, SOFT_INK)
        return
    views = views_around(
        completed.nominal.vertices_world,
        tuple(azimuth for azimuth, _ in _SIDES),
        _TILE,
        front_world=_seen_side(completed),
        up_world=completed.box.T_world_box[:3, 2],
    )
    images = shade_mesh(completed.nominal, views, _vertex_colors(completed))
    for i, ((_, name), image) in enumerate(zip(_SIDES, images, strict=True)):
        left = _MARGIN + i * (_TILE + _GAP)
        sheet.paste(image, left, top + _CAPTION)
        sheet.text((left + 4, top + _CAPTION + 2), name, 12, SOFT_INK)


def _seen_side(completed: CompletedObject) -> Float64:
    """Return the direction towards the cameras: where the measured surface faces on the whole."""
    facing = completed.normals_world[completed.provenance == Provenance.OBSERVED].sum(axis=0, dtype=np.float64)
    return facing if np.linalg.norm(facing) > 0 else np.array([1.0, 0.0, 0.0])


def _vertex_colors(completed: CompletedObject) -> UInt8:
    """Return (V, 3) uint8: the colour of the nearest completed point, orange where it was inferred."""
    vertices = completed.nominal.vertices_world
    if not len(completed.points_world):
        return np.full((len(vertices), 3), INFERRED, dtype=np.uint8)
    step = -(-len(completed.points_world) // _COLOR_POINTS)
    tree = cKDTree(completed.points_world[::step], balanced_tree=False, compact_nodes=False)
    nearest = step * tree.query(vertices)[1]
    inferred = completed.provenance[nearest, None] == Provenance.INFERRED
    own = completed.colors[nearest]
    return np.where(inferred, (1 - _TINT) * own + _TINT * np.array(INFERRED), own).astype(np.uint8)


def _legend(sheet: Sheet, top: int, count: int) -> None:
    sheet.dot((_MARGIN + 6, top + 8), 6, INFERRED)
    sheet.text((_MARGIN + 18, top), "orange: inferred; own colour: a camera measured it", 12, SOFT_INK)
    if count > MAX_OBJECTS:
        sheet.text((sheet.image.width - _MARGIN, top), f"{MAX_OBJECTS} of {count} objects", 12, SOFT_INK, anchor="ra")
