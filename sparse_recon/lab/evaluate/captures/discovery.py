"""Which true objects were found, missed, merged or split, and what was found that is none: by pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.types import Bool, Float64, Frame, Int32

FrameKey = tuple[str, int]

# A true object is in view with so many measured pixels in all frames; what shows less need not be found.
MIN_MEASURED_PX = 100
FOUND_IOU, GOOD_IOU = 0.5, 0.75
# A result holds another object as well when so large a share of that one's pixels is in it ...
MERGED_SHARE = 0.3
# ... and is one of several pieces when it has so large a share of its object's pixels.
PIECE_SHARE = 0.2
# Less than so large a share of a result on true objects: it is none.
PHANTOM_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class Discovery:
    """What was found in one capture.

    Attributes
    ----------
    matched : name of the result by that of the true object that it is alone.
    missed, split, hidden : names of true objects; those hidden show too few pixels to count.
    merged, phantoms : names of results.
    iou : of the masks, by true object that is in view, with its best result.
    """

    matched: Mapping[str, str]
    missed: tuple[str, ...]
    split: tuple[str, ...]
    hidden: tuple[str, ...]
    merged: tuple[str, ...]
    phantoms: tuple[str, ...]
    iou: Mapping[str, float]

    @property
    def in_view(self) -> int:
        """How many true objects could be found."""
        return len(self.iou)


def discovery(
    frames: Sequence[Frame],
    true_labels: Sequence[Int32],
    names: Sequence[str],
    found: Mapping[str, Mapping[FrameKey, Bool]],
    complete: bool = True,
) -> Discovery:
    """Compare masks of results with the truth, on measured pixels of all frames together.

    Parameters
    ----------
    true_labels : (H, W) int32 for each frame, n + 1 where the true object n is nearest, else 0.
    names : of the true objects.
    found : masks by frame, by name of the result.
    complete : False where there are more objects than the truth names: what is found elsewhere is no phantom.
    """
    results = list(found)
    overlap = np.zeros((len(results), len(names) + 1))
    visible, size = np.zeros(len(names)), np.zeros(len(results))
    for frame, labels in zip(frames, true_labels, strict=True):
        measured = np.ones(labels.shape, bool) if frame.depth_m is None else frame.depth_m > 0
        counts = np.bincount(labels[measured], minlength=len(names) + 1)
        visible += counts[1:]
        for row, result in enumerate(results):
            mask = found[result].get((frame.camera, frame.stamp_ns))
            if mask is not None:
                overlap[row] += np.bincount(labels[mask & measured], minlength=len(names) + 1)
                size[row] += np.count_nonzero(mask & measured)
    return _judged(overlap[:, 1:], visible, size, names, results, complete)


def _judged(
    overlap: Float64, visible: Float64, size: Float64, names: Sequence[str], results: Sequence[str], complete: bool
) -> Discovery:
    counted = visible >= MIN_MEASURED_PX
    union = visible[None] + size[:, None] - overlap
    iou = overlap / np.maximum(union, 1)
    share_of_true = overlap / np.maximum(visible, 1)[None]
    holds = (share_of_true >= MERGED_SHARE) & counted[None]
    merged = [r for r in range(len(results)) if holds[r].sum() > 1]
    on_true = overlap.sum(axis=1) / np.maximum(size, 1)
    phantoms = [r for r in range(len(results)) if complete and on_true[r] < PHANTOM_SHARE and size[r] > 0]
    matched, missed, split, best = {}, [], [], {}
    for t in np.nonzero(counted)[0].tolist():
        order = np.argsort(-iou[:, t]) if len(results) else np.zeros(0, int)
        best[names[t]] = float(iou[order[0], t]) if len(order) else 0.0
        pieces = [r for r in range(len(results)) if share_of_true[r, t] >= PIECE_SHARE and r not in merged]
        if len(order) and iou[order[0], t] >= FOUND_IOU and order[0] not in merged:
            matched[names[t]] = results[int(order[0])]
        elif not holds[:, t].any() and not pieces:
            missed.append(names[t])
        if len(pieces) > 1:
            split.append(names[t])
    return Discovery(
        matched,
        tuple(missed),
        tuple(split),
        tuple(names[t] for t in np.nonzero(~counted)[0].tolist()),
        tuple(results[r] for r in merged),
        tuple(results[r] for r in phantoms),
        best,
    )
