"""One image of a whole result: what went in, what came out of it, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from sparse_recon.geometry.near import moved_frame, put_near
from sparse_recon.types import CompletedObject, Float64, Frame, Provenance, UInt8
from sparse_recon.viz.raster import OrthographicView, outline, shade_mesh, silhouettes, splat_cloud, views_around
from sparse_recon.viz.sheet import (
    INFERRED,
    INK,
    OBJECT_COLORS,
    OBSERVED,
    SOFT_INK,
    WARNING,
    Sheet,
    confidence_colors,
    fitted,
    save_png,
)

_MARGIN, _GAP, _HEADER, _CAPTION = 28, 16, 84, 34
_PANEL, _NUMBERS = 380, 300
_SIDES = ((0.0, "front"), (90.0, "right"), (180.0, "back"), (270.0, "left"))
_CLOUD_AZIMUTH_DEG = 110.0  # half of what the cameras saw, half of what they did not
_SMALL = (_PANEL - 6) // 2
_MAX_THUMBNAILS = 6
_SPLAT_POINTS = 60_000
_MAX_ROWS = 16


def overview(
    frames: Sequence[Frame],
    objects: Sequence[CompletedObject],
    path: Path,
    *,
    title: str = "",
    up_world: npt.ArrayLike | None = None,
    notes: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Write one PNG by which a person can judge a result at a glance.

    Top row: input frames, objects outlined by their label image, else by their completed surface as this camera
    would see it. One row an object: observed cloud, completed cloud by provenance and by confidence, mesh from
    four sides, key numbers. All panels of a row share scale and framing.

    Parameters
    ----------
    frames : input, in order of time; at most six, evenly chosen, are shown. May be empty.
    objects : results; may be empty. At most 16 are shown, in their order.
    up_world : (3,) up direction in the images; None for +z of each object's box.
    notes : further lines for the numbers, by object id: label -> value.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    origin = objects[0].origin_world if objects else np.zeros(3)  # rays are cast in float32
    frames, objects = [moved_frame(f, -origin) for f in frames], [put_near(o, origin) for o in objects]
    width = 2 * _MARGIN + 4 * _PANEL + 4 * _GAP + _NUMBERS
    shown = [frames[i] for i in _evenly(len(frames), _MAX_THUMBNAILS)]
    thumbnails = [fitted(_outlined(f, objects), *_thumbnail_size(f, len(shown), width)) for f in shown]
    frames_height = max((t.shape[0] for t in thumbnails), default=-_GAP - _CAPTION) + _GAP + _CAPTION
    row_height = _CAPTION + _PANEL + _GAP + 16
    rows = objects[:_MAX_ROWS]
    sheet = Sheet(width, _HEADER + frames_height + len(rows) * (row_height + _GAP) + _MARGIN)

    sheet.text((_MARGIN, 22), title or "Completed objects", 28)
    sheet.text((_MARGIN, 56), _subtitle(frames, objects), 15, SOFT_INK)
    top = _HEADER
    _draw_frames(sheet, shown, thumbnails, top)
    top += frames_height
    for i, completed in enumerate(rows):
        sheet.card(_MARGIN - 12, top, width - 2 * _MARGIN + 24, row_height)
        _draw_object(sheet, completed, i, frames, up_world, top + 8, (notes or {}).get(completed.object_id, {}))
        top += row_height + _GAP
    save_png(sheet.image, path)


def _draw_frames(sheet: Sheet, frames: Sequence[Frame], thumbnails: Sequence[UInt8], top: int) -> None:
    left = _MARGIN
    for i, (frame, thumbnail) in enumerate(zip(frames, thumbnails, strict=True)):
        sheet.paste(thumbnail, left, top)
        seconds = (frame.stamp_ns - frames[0].stamp_ns) * 1e-9
        caption = f"{frame.camera}  +{seconds:.2f} s" if i else f"{frame.camera}  first frame"
        sheet.text((left, top + thumbnail.shape[0] + 6), caption, 14, SOFT_INK)
        left += thumbnail.shape[1] + _GAP


def _draw_object(
    sheet: Sheet,
    completed: CompletedObject,
    index: int,
    frames: Sequence[Frame],
    up_world: npt.ArrayLike | None,
    top: int,
    notes: Mapping[str, str],
) -> None:
    front = _towards_cameras(completed, frames)
    up_world = completed.box.T_world_box[:3, 2] if up_world is None else up_world
    extent = np.concatenate([completed.nominal.vertices_world, completed.points_world])
    clouds = views_around(extent, (_CLOUD_AZIMUTH_DEG,), _PANEL, front_world=front, up_world=up_world)
    sides = views_around(extent, tuple(a for a, _ in _SIDES), _SMALL, front_world=front, up_world=up_world)
    step = _PANEL + _GAP
    panels = (
        ("Observed cloud", _observed_panel(completed, clouds[0])),
        ("Completed: where points come from", _provenance_panel(completed, clouds[0])),
        ("Completed: confidence", _confidence_panel(completed, clouds[0])),
    )
    for i, (caption, image) in enumerate(panels):
        sheet.text((_MARGIN + i * step, top + 6), caption, 16)
        sheet.paste(image, _MARGIN + i * step, top + _CAPTION)
    bottom = top + _CAPTION + _PANEL + 4
    _scale_bar(sheet, clouds[0], _MARGIN, bottom)
    _provenance_legend(sheet, completed, _MARGIN + step, bottom)
    _confidence_legend(sheet, _MARGIN + 2 * step, bottom)
    left = _MARGIN + 3 * step
    sheet.text((left, top + 6), "Mesh from four sides", 16)
    for i, ((_, name), image) in enumerate(zip(_SIDES, shade_mesh(completed.nominal, sides), strict=True)):
        at = (left + (i % 2) * (_SMALL + 6), top + _CAPTION + (i // 2) * (_SMALL + 6))
        sheet.paste(image, *at)
        sheet.text((at[0] + 4, at[1] + 2), name, 13, SOFT_INK)
    _draw_numbers(sheet, completed, index, _MARGIN + 4 * step + 8, top + 4, notes)


def _draw_numbers(
    sheet: Sheet, completed: CompletedObject, index: int, left: int, top: int, notes: Mapping[str, str]
) -> None:
    color = OBJECT_COLORS[index % len(OBJECT_COLORS)]
    sheet.dot((left + 7, top + 13), 7, color)
    sheet.text((left + 22, top), completed.object_id, 22)
    sheet.text((left, top + 32), f"model {completed.model}, seed {completed.seed}", 14, SOFT_INK)
    line, width = top + 60, _NUMBERS - 20
    for label, value, good in _numbers(completed, notes):
        sheet.text((left, line), label, 15, SOFT_INK)
        sheet.text((left + width, line), value, 16, INK if good else WARNING, anchor="ra")
        sheet.rule(left, line + 22, width)
        line += 29
    room = (top + _CAPTION + _PANEL - line) // 17
    for text in _wrapped(sheet, " ".join(_sentence(w) for w in completed.quality.warnings), 13, width)[: max(room, 1)]:
        sheet.text((left, line), text, 13, WARNING)
        line += 17


def _numbers(completed: CompletedObject, notes: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    q = completed.quality
    size = " x ".join(f"{1000 * s:.0f}" for s in completed.box.size_m)
    closed = q.nominal_watertight and q.conservative_watertight
    return [
        ("views used", str(q.views_used), True),
        ("points", f"{len(completed.points_world):,}", True),
        ("box", f"{size} mm", True),
        ("observed surface", f"{100 * q.observed_fraction:.0f} %", True),
        ("mean confidence", f"{q.mean_confidence:.2f}", True),
        ("90 % within", f"{1000 * q.radius90_m:.1f} mm", True),
        ("in free space", f"{100 * q.free_space_violation:.2f} %", q.free_space_violation < 0.005),
        ("watertight", "yes" if closed else "no", closed),
        ("time", f"{sum(q.timings_s.values()):.2f} s", True),
        *((label, value, True) for label, value in notes.items()),
    ]


def _observed_panel(completed: CompletedObject, view: OrthographicView) -> UInt8:
    points = completed.observed_points_world
    points = points[_evenly(len(points), _SPLAT_POINTS)]
    seen = completed.provenance == Provenance.OBSERVED
    if not seen.any() or len(points) == 0:
        return splat_cloud(points, np.full((len(points), 3), OBSERVED, np.uint8), view)
    _, nearest = cKDTree(completed.points_world[seen]).query(points, workers=-1)
    return splat_cloud(points, completed.colors[seen][nearest], view)


def _provenance_panel(completed: CompletedObject, view: OrthographicView) -> UInt8:
    observed = completed.provenance[:, None] == Provenance.OBSERVED
    return splat_cloud(completed.points_world, np.where(observed, OBSERVED, INFERRED).astype(np.uint8), view)


def _confidence_panel(completed: CompletedObject, view: OrthographicView) -> UInt8:
    return splat_cloud(completed.points_world, confidence_colors(completed.confidence), view)


def _scale_bar(sheet: Sheet, view: OrthographicView, left: int, top: int) -> None:
    wished_mm = 0.3 * _PANEL / view.pixels_per_metre * 1000
    length_mm = max((m for m in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if m <= wished_mm), default=1)
    width = round(length_mm / 1000 * view.pixels_per_metre)
    sheet.rule(left, top + 7, width, INK, 3)
    sheet.text((left + width + 8, top), f"{length_mm} mm", 14, SOFT_INK)


def _provenance_legend(sheet: Sheet, completed: CompletedObject, left: int, top: int) -> None:
    share = float((completed.provenance == Provenance.OBSERVED).mean())
    for color, text in ((OBSERVED, f"observed {100 * share:.0f} %"), (INFERRED, f"inferred {100 - 100 * share:.0f} %")):
        sheet.dot((left + 6, top + 9), 6, color)
        sheet.text((left + 18, top), text, 14, SOFT_INK)
        left += 150


def _confidence_legend(sheet: Sheet, left: int, top: int) -> None:
    sheet.text((left, top), "0", 14, SOFT_INK)
    ramp = confidence_colors(np.tile(np.linspace(0, 1, 180), (12, 1)))
    sheet.paste(ramp, left + 14, top + 3)
    sheet.text((left + 200, top), "1   chance to be within 5 mm", 14, SOFT_INK)


def _outlined(frame: Frame, objects: Sequence[CompletedObject]) -> UInt8:
    labels = frame.labels
    if labels is None and objects:
        labels = silhouettes([o.nominal for o in objects], frame)
    image = frame.rgb.copy()
    if labels is None:
        return image
    thick = max(round(frame.intrinsics.width / 280), 1)
    for i, label in enumerate(np.unique(labels[labels > 0])):
        number = i if frame.labels is not None else int(label) - 1
        image[outline(labels == label, thick)] = OBJECT_COLORS[number % len(OBJECT_COLORS)]
    return image


def _thumbnail_size(frame: Frame, count: int, width: int) -> tuple[int, int]:
    """Fill the page's width, but not with frames higher than 280 px."""
    camera = frame.intrinsics
    wide = (width - 2 * _MARGIN - (count - 1) * _GAP) // count
    wide = min(wide, 280 * camera.width // camera.height)
    return wide, max(wide * camera.height // camera.width, 1)


def _subtitle(frames: Sequence[Frame], objects: Sequence[CompletedObject]) -> str:
    frame_ids = sorted({o.frame_id for o in objects if o.frame_id})
    where = f", in frame {', '.join(frame_ids)}" if frame_ids else ""
    kinds = "completed surface" if any(f.labels is None for f in frames) else "given masks"
    outlines = f"   |   outlines: {kinds}" if frames and objects else ""
    shown = f" (the first {_MAX_ROWS} are shown)" if len(objects) > _MAX_ROWS else ""
    return f"{_counted(len(frames), 'frame')} in, {_counted(len(objects), 'object')} out{shown}{where}{outlines}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _towards_cameras(completed: CompletedObject, frames: Sequence[Frame]) -> Float64:
    """Mean direction from the object to the cameras; x of the world without frames."""
    centre = completed.box.T_world_box[:3, 3]
    rays = np.array([f.T_world_cam[:3, 3] - centre for f in frames]).reshape(-1, 3)
    return rays.mean(axis=0) if len(rays) else np.array([1.0, 0.0, 0.0])


def _evenly(count: int, most: int) -> npt.NDArray[np.int64]:
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).astype(np.int64)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _wrapped(sheet: Sheet, text: str, size: int, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and sheet.text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
