"""The study of a folder of captures: each is given to a session as `sparse_recon complete` would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import SparseReconError
from sparse_recon.lab.evaluate.captures.discovery import Discovery, discovery
from sparse_recon.lab.evaluate.captures.folder import Capture, capture_names, read_capture
from sparse_recon.lab.evaluate.captures.geometry import geometry_metrics
from sparse_recon.lab.evaluate.metrics.calibration import expected_calibration_error
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Bool, CompletedObject, Float64, Frame, Int32
from sparse_recon.viz.raster import silhouettes


@dataclass(frozen=True, eq=False)
class ObjectScore:
    """One result: the true object that it is alone, if any, its figures, or the code that refused it."""

    object_id: str
    true_object: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    code: str = ""


@dataclass(frozen=True, eq=False)
class CaptureScore:
    """What came of one capture.

    Attributes
    ----------
    discovery : None where nobody says what stands there.
    objects : the results, in the order of the list.
    reliability : (bins, 3) of all scored objects together.
    find_s : seconds that the list took.
    """

    name: str
    frames: int
    discovery: Discovery | None
    objects: tuple[ObjectScore, ...]
    reliability: Float64
    find_s: float


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What pictures are drawn from: one frame with the true and the found masks, and the answers."""

    capture: Capture
    frame: Frame
    true_labels: Int32 | None
    masks: Mapping[str, Bool]
    answers: Mapping[str, CompletedObject]
    score: CaptureScore


def study(
    folder: Path, config: SessionConfig, on_capture: Callable[[CaptureScore], None] = lambda score: None
) -> Iterator[Exhibit]:
    """Give each capture of a folder to a session of its own, and score what comes.

    Raises
    ------
    FileError, InputError
        If there are no captures, or one cannot be read.
    """
    for name in capture_names(folder):
        exhibit = examined(read_capture(folder, name, config.depth), config)
        on_capture(exhibit.score)
        yield exhibit


def examined(capture: Capture, config: SessionConfig) -> Exhibit:
    """Score one capture: all that is listed is completed, nothing is named."""
    session = CompletionSession(config)
    for frame in capture.frames:
        session.add_frame(frame)
    session.load()
    started = time.perf_counter()
    listed = session.objects()
    find_s = time.perf_counter() - started
    masks = {found.object_id: session.masks(found.object_id) for found in listed}
    kept = session.frames
    true_labels, found = None, None
    if capture.objects is not None:
        meshes = [o.mesh for o in capture.objects]
        true_labels = [silhouettes(meshes, f) if meshes else np.zeros(f.rgb.shape[:2], np.int32) for f in kept]
        found = discovery(kept, true_labels, [o.name for o in capture.objects], masks, capture.complete)
    scores, answers, table = [], {}, np.zeros((1, 3))
    alone = {} if found is None else {result: name for name, result in found.matched.items()}
    meshes_of = {o.name: o.mesh for o in capture.objects or ()}
    for candidate in listed:
        name = candidate.object_id
        metrics: dict[str, float] = {}
        try:
            answers[name] = answer = session.complete(CompletionRequest(object_id=name))
        except SparseReconError as error:
            scores.append(ObjectScore(name, alone.get(name, ""), code=error.code.name))
            continue
        if name in alone:
            metrics, bins = geometry_metrics(answer, meshes_of[alone[name]])
            table = table + bins if len(table) == len(bins) else bins
        metrics |= {"seconds": sum(answer.quality.timings_s.values())}
        metrics |= {"confidence": answer.quality.mean_confidence, "score": candidate.score}
        scores.append(ObjectScore(name, alone.get(name, ""), metrics))
    score = CaptureScore(capture.name, len(kept), found, tuple(scores), table, find_s)
    middle = len(kept) // 2
    key = (kept[middle].camera, kept[middle].stamp_ns)
    shown = {name: mask[key] for name, mask in masks.items() if key in mask}
    labels = None if true_labels is None else true_labels[middle]
    return Exhibit(capture, kept[middle], labels, shown, answers, score)


def summary(scores: list[CaptureScore]) -> dict[str, Any]:
    """Return totals of discovery, and medians and means over the objects that were found alone."""
    known = [s.discovery for s in scores if s.discovery is not None]
    iou = [v for d in known for v in d.iou.values()]
    total: dict[str, Any] = {
        "captures": len(scores),
        "in_view": sum(d.in_view for d in known),
        "found_alone": sum(len(d.matched) for d in known),
        "well_found": sum(v >= 0.75 for v in iou),
        "missed": sum(len(d.missed) for d in known),
        "merged": sum(len(d.merged) for d in known),
        "split": sum(len(d.split) for d in known),
        "phantoms": sum(len(d.phantoms) for d in known),
        "refused": sum(bool(o.code) for s in scores for o in s.objects),
        "find_s": float(np.mean([s.find_s for s in scores])) if scores else float("nan"),
    }
    objects = [o for s in scores for o in s.objects if o.true_object and not o.code]
    for name in sorted({name for o in objects for name in o.metrics}):
        values = [o.metrics[name] for o in objects if name in o.metrics]
        total[f"{name} median"], total[f"{name} mean"] = float(np.nanmedian(values)), float(np.nanmean(values))
    tables = [s.reliability for s in scores if len(s.reliability) > 1]
    total["ece"] = expected_calibration_error(np.sum(tables, axis=0)) if tables else float("nan")
    return total
