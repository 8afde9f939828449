"""What a study of captures leaves behind: tables for people and programs, and a sheet of pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.lab.evaluate.captures.study import CaptureScore, Exhibit, summary
from sparse_recon.lab.evaluate.json_files import write_text
from sparse_recon.lab.evaluate.markdown import aligned
from sparse_recon.types import UInt8
from sparse_recon.viz.raster import outline, shade_mesh, views_around
from sparse_recon.viz.sheet import OBJECT_COLORS, SOFT_INK, Sheet, fitted, save_png

TABLE, SCORES = "captures.md", "captures.json"
_COLUMNS = (
    "f_2pct",
    "chamfer_mm",
    "size_pct",
    "floor_pct",
    "observed_right_pct",
    "within_radius90_pct",
    "confidence",
    "score",
)
_TILE, _MESH, _GAP, _MARGIN, _HEADER, _PER_ROW = 400, 150, 10, 24, 44, 8


def write_tables(scores: Sequence[CaptureScore], out: Path) -> str:
    """Write `captures.md` and `captures.json`; return the Markdown.

    Raises
    ------
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE.
    """
    total = summary(list(scores))
    parts = ["# Captures\n", _discoveries(scores), "", _objects(scores), "", "All together:", "", _totals(total), ""]
    text = "\n".join(parts)
    write_text(out / TABLE, text, "the table of captures")
    record = {"summary": total, "captures": [_record(s) for s in scores]}
    write_text(out / SCORES, json.dumps(_without_nan(record), indent=1), "the scores of captures")
    return text


def _discoveries(scores: Sequence[CaptureScore]) -> str:
    header = ("capture", "frames", "in view", "alone", "IoU >= 0.75", "missed", "merged", "split", "phantoms", "list s")
    rows = []
    for s in scores:
        d = s.discovery
        counts: list[Any] = [s.frames, *["-"] * 7]
        if d is not None:
            good = sum(v >= 0.75 for v in d.iou.values())
            counts = [s.frames, d.in_view, len(d.matched), good]
            counts += [len(d.missed), len(d.merged), len(d.split), len(d.phantoms)]
        rows.append((s.name, *map(str, counts), f"{s.find_s:.2f}"))
    return aligned(header, rows)


def _objects(scores: Sequence[CaptureScore]) -> str:
    rows = []
    for s in scores:
        for o in s.objects:
            values = [f"{o.metrics[c]:.2f}" if c in o.metrics else "-" for c in _COLUMNS]
            rows.append((s.name, o.object_id, o.true_object or "-", *values, o.code or "-"))
        for name in s.discovery.missed if s.discovery is not None else ():
            rows.append((s.name, "missed", name, *["-"] * len(_COLUMNS), "-"))
    return aligned(("capture", "result", "is", *_COLUMNS, "refused"), rows, left=3)


def _totals(total: dict[str, Any]) -> str:
    rows = [(k, str(v) if isinstance(v, int) else f"{v:.3g}") for k, v in total.items()]
    return aligned(("figure", "value"), rows)


def _record(score: CaptureScore) -> dict[str, Any]:
    found = None if score.discovery is None else asdict(score.discovery)
    objects = [{**asdict(o), "metrics": dict(o.metrics)} for o in score.objects]
    return {"name": score.name, "frames": score.frames, "discovery": found, "objects": objects, "find_s": score.find_s}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def write_sheet(exhibit: Exhibit, path: Path) -> None:
    """Draw one capture: its middle frame with the true and the found outlines, and each answer from two sides.

    Raises
    ------
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE.
    """
    answers = list(exhibit.answers.items())
    rows = -(-len(answers) // _PER_ROW)
    width = 2 * _MARGIN + max(2 * (_TILE + _GAP), _PER_ROW * (_MESH + _GAP))
    sheet = Sheet(width, _HEADER + 300 + 3 * _GAP + rows * (2 * _MESH + 60) + _MARGIN)
    sheet.text((_MARGIN, 12), f"{exhibit.score.name}: {len(exhibit.score.objects)} found", 20)
    true_masks = (
        [] if exhibit.true_labels is None else [exhibit.true_labels == i for i in np.unique(exhibit.true_labels) if i]
    )
    for column, masks in enumerate((list(exhibit.masks.values()), true_masks)):
        image = _outlined(exhibit.frame.rgb, masks)
        sheet.paste(fitted(image, _TILE, 300), _MARGIN + column * (_TILE + _GAP), _HEADER)
    alone = {o.object_id: o for o in exhibit.score.objects}
    up = next((a.box.T_world_box[:3, 2] for _, a in answers), np.array([0.0, 0.0, 1.0]))
    for i, (name, answer) in enumerate(answers):
        left = _MARGIN + (i % _PER_ROW) * (_MESH + _GAP)
        top = _HEADER + 300 + 2 * _GAP + (i // _PER_ROW) * (2 * _MESH + 60)
        front = exhibit.frame.T_world_cam[:3, 3] - answer.box.T_world_box[:3, 3]
        if len(answer.nominal.faces):
            views = views_around(answer.nominal.vertices_world, (0.0, 120.0), _MESH, front_world=front, up_world=up)
            for k, image in enumerate(shade_mesh(answer.nominal, views)):
                sheet.paste(image, left, top + 36 + k * _MESH)
        sheet.text((left, top), f"{name} {alone[name].true_object}"[:22], 12)
        sheet.text((left, top + 16), f"confidence {answer.quality.mean_confidence:.2f}", 12, SOFT_INK)
    save_png(sheet.image, path)


def _outlined(rgb: UInt8, masks: Sequence[Any]) -> UInt8:
    image = rgb.copy()
    for i, mask in enumerate(masks):
        image[outline(mask)] = OBJECT_COLORS[i % len(OBJECT_COLORS)]
    return image
