"""Draw what the displays of config/rviz/completion.rviz show, from the very messages that the node publishes.

    python benchmarks/rviz_picture.py docs/rviz.png

A simulated tabletop is completed by the default model. Its clouds, markers, footprints and novel views are made as the
node makes them, as fields of messages, and drawn with the colours of the displays. It is not a screenshot of RViz.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from sparse_recon.config.session_config import load_config
from sparse_recon.geometry.poses import transform_points
from sparse_recon.lab.simulate.recording import tabletop_recording
from sparse_recon.messages.fields import completed_cloud_fields, observed_cloud_fields, unpack_cloud, unpack_rgb
from sparse_recon.messages.footprints import footprint_grid_fields
from sparse_recon.messages.markers import BOX, MESH, NAME, marker_array_fields
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import CompletedObject, Float32, Float64, TriangleMesh, UInt8
from sparse_recon.viz.novel_views import novel_view_fields
from sparse_recon.viz.raster import OrthographicView, shade_mesh, splat_cloud, views_around
from sparse_recon.viz.sheet import SOFT_INK, Sheet

SEED = 7  # a carton, a drill and a mug
# Colours of the displays in config/rviz/completion.rviz; points are drawn large enough to close, RViz draws 2 mm.
CONFIDENCE = ((68, 1, 84), (253, 231, 37))
PROVENANCE = ((60, 130, 220), (230, 120, 20))
OBSERVED_COLOR = (110, 118, 130)  # RViz shows them light on its dark ground
COST_COLORS = {0: (228, 230, 234), 70: (150, 156, 166), 100: (30, 34, 40)}
TILE, GAP, MARGIN, CAPTION, COLUMNS, PALETTE = 300, 14, 14, 44, 3, 128
AZIMUTH_DEG, ELEVATION_DEG = 205.0, 28.0


def main() -> None:
    """Complete, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("png", type=Path)
    path = parser.parse_args().png
    sheet = drawn(completed_tabletop())
    sheet.convert("P", palette=Image.Palette.ADAPTIVE, colors=PALETTE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def completed_tabletop() -> tuple[CompletedObject, ...]:
    """Return the objects of the demo's recording, completed."""
    session = CompletionSession(load_config({"seed": SEED, "world_frame": "world", "up_world": [0.0, 0.0, 1.0]}))
    for frame in tabletop_recording(SEED).frames:
        session.add_frame(frame)
    return tuple(session.complete(CompletionRequest(object_id=c.object_id)) for c in session.objects())


def drawn(objects: Sequence[CompletedObject]) -> Image.Image:
    """Return the sheet with a tile a display."""
    frame_id, stamp_ns = objects[0].frame_id, objects[0].stamp_ns
    cloud = unpack_cloud(completed_cloud_fields(objects, frame_id, stamp_ns))
    measured = unpack_cloud(observed_cloud_fields(objects, frame_id, stamp_ns))
    points, measured_points = xyz(cloud), xyz(measured)
    (view,) = views_around(points, (AZIMUTH_DEG,), TILE, elevation_deg=ELEVATION_DEG)
    inferred = (cloud["provenance"] - 1.0).clip(0.0, 1.0)
    tiles = {
        ("Completed: colour", "cloud"): splat_cloud(points, unpack_rgb(cloud["rgb"]), view),
        ("Completed: confidence", "cloud; 0 violet, 1 yellow"): splat_cloud(
            points, between(CONFIDENCE, cloud["confidence"]), view
        ),
        ("Completed: provenance", "cloud; observed blue, inferred orange"): splat_cloud(
            points, between(PROVENANCE, inferred), view
        ),
        ("Observed before completion", "observed_cloud"): splat_cloud(
            measured_points, np.tile(np.uint8(OBSERVED_COLOR), (len(measured_points), 1)), view
        ),
        ("Mesh, box and name", "markers"): markers_picture(marker_array_fields(objects, frame_id, stamp_ns), view),
        ("Footprints for navigation", "footprints; 100 dark, 70 grey"): footprints_picture(
            footprint_grid_fields(objects, frame_id, stamp_ns)
        ),
    }
    image = novel_view_fields(objects, frame_id, stamp_ns)
    novel = Image.fromarray(image["data"].reshape(image["height"], image["width"], 3))
    return laid_out(tiles, novel)


def laid_out(tiles: dict[tuple[str, str], UInt8], novel: Image.Image) -> Image.Image:
    """Put `COLUMNS` tiles in a row, and the image display, which is as tall as both rows, beside them."""
    columns, rows = COLUMNS, -(-len(tiles) // COLUMNS)
    height = rows * (TILE + CAPTION) + (rows - 1) * GAP
    scale = (height - CAPTION) / novel.height
    wide = novel.resize((round(novel.width * scale), height - CAPTION), Image.Resampling.LANCZOS)
    sheet = Sheet(2 * MARGIN + columns * (TILE + GAP) + wide.width, 2 * MARGIN + height)
    for number, ((name, topic), picture) in enumerate(tiles.items()):
        left = MARGIN + (number % columns) * (TILE + GAP)
        top = MARGIN + (number // columns) * (TILE + CAPTION + GAP)
        caption(sheet, left, top, name, topic)
        sheet.paste(picture, left, top + CAPTION)
    left = MARGIN + columns * (TILE + GAP)
    caption(sheet, left, MARGIN, "Views that no camera took", "novel_views")
    sheet.paste(np.asarray(wide), left, MARGIN + CAPTION)
    return sheet.image


def caption(sheet: Sheet, left: int, top: int, name: str, topic: str) -> None:
    """Write the display's name, and its topic below it."""
    sheet.text((left, top), name, 16)
    sheet.text((left, top + 21), f"~/{topic}", 13, SOFT_INK)


def xyz(columns: dict[str, Any]) -> Float32:
    """Return (N, 3) points of an unpacked cloud."""
    return np.stack([columns[name] for name in "xyz"], axis=-1)


def between(ends: tuple[tuple[int, int, int], tuple[int, int, int]], share: Any) -> UInt8:
    """Return (N, 3) colours as RViz mixes the two of an intensity channel."""
    low, high = np.float64(ends)
    return np.rint(low + np.asarray(share, np.float64)[:, None] * (high - low)).astype(np.uint8)


def markers_picture(array: dict[str, Any], view: OrthographicView) -> UInt8:
    """Draw the triangles of a MarkerArray, then its lines and texts above them, as nothing hides those here."""
    meshes = [marker for marker in array["markers"] if marker["ns"] and marker["id"] == MESH]
    corners = np.concatenate([columns_of(marker["points"], "xyz") for marker in meshes]).astype(np.float32)
    colors = np.concatenate([columns_of(marker["colors"], "rgb") for marker in meshes])
    mesh = TriangleMesh(corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))
    (picture,) = shade_mesh(mesh, (view,), np.rint(255 * colors).astype(np.uint8))
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for marker in array["markers"]:
        color = tuple(round(255 * marker["color"][c]) for c in "rgb")
        if marker["ns"] and marker["id"] == BOX:
            ends = pixels(transform_points(pose_matrix(marker["pose"]), columns_of(marker["points"], "xyz")), view)
            for begin, end in ends.reshape(-1, 2, 2):
                draw.line([tuple(begin), tuple(end)], fill=color, width=1)
        elif marker["ns"] and marker["id"] == NAME:
            ((x, y),) = pixels(pose_matrix(marker["pose"])[None, :3, 3], view)
            draw.text(
                (x, y), marker["text"], fill=(40, 40, 40), anchor="mm", stroke_width=2, stroke_fill="white"
            )  # white in RViz, on its dark ground
    return np.asarray(image)


def footprints_picture(grid: dict[str, Any]) -> UInt8:
    """Draw an occupancy grid with its x to the right and its y up."""
    cells = np.asarray(grid["data"]).reshape(grid["info"]["height"], grid["info"]["width"])[::-1]
    page = np.full((TILE, TILE, 3), 255, np.uint8)
    edge = TILE // max(cells.shape)
    colors = np.zeros((*cells.shape, 3), np.uint8)
    for value, color in COST_COLORS.items():
        colors[cells == value] = color
    large = colors.repeat(edge, axis=0).repeat(edge, axis=1)
    top, left = ((TILE - size) // 2 for size in large.shape[:2])
    page[top : top + large.shape[0], left : left + large.shape[1]] = large
    return page


def pixels(points_world: Float64, view: OrthographicView) -> Float64:
    """Return (N, 2) columns and rows of points."""
    local = (np.asarray(points_world, np.float64) - view.centre_world) @ view.R_view_world[:2].T
    return local * view.pixels_per_metre + (view.size_px - 1) / 2


def columns_of(records: Any, names: str) -> Float64:
    """Return the named fields of structured records as (N, len(names))."""
    return np.stack([np.asarray(records[name], np.float64) for name in names], axis=-1)


def pose_matrix(pose: dict[str, Any]) -> Float64:
    """Return the (4, 4) transform of a geometry_msgs/Pose."""
    from scipy.spatial.transform import Rotation

    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat([pose["orientation"][name] for name in "xyzw"]).as_matrix()
    T[:3, 3] = [pose["position"][name] for name in "xyz"]
    return T


if __name__ == "__main__":
    main()
