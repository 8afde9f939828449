"""Pictures as SparseFusion is shown them: the object's box with some context, as CO3D is cut, on black."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.complete.latent.conditioning_image import MIN_PIXELS, touches_border
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.types import Bool, CameraIntrinsics, Float32, Float64, ObjectView

# By how much of its sides the box of an object is enlarged (CO3D, v2).
CONTEXT = 0.3


@dataclass(frozen=True, eq=False)
class CroppedPicture:
    """A picture of the object.

    Attributes
    ----------
    rgb : (P, P, 3) float32 in [0, 1], on black.
    valid : (P, P) bool, where the image is; the rest is beyond its border.
    intrinsics : of the P x P pixels.
    T_world_cam : (4, 4) of the camera.
    warnings : sentences for people.
    """

    rgb: Float32
    valid: Bool
    intrinsics: CameraIntrinsics
    T_world_cam: Float64
    warnings: tuple[str, ...] = ()


def cropped(view: ObjectView, side: int) -> CroppedPicture:
    """Return the object of a view, its box enlarged by `CONTEXT`, cut at the image and put into a square's left top.

    Raises
    ------
    EvidenceError
        OBJECT_TOO_SMALL if the mask holds hardly a pixel.
    """
    import cv2

    frame, mask = view.frame, view.mask
    if int(mask.sum()) < MIN_PIXELS:
        raise EvidenceError(
            ErrorCode.OBJECT_TOO_SMALL,
            f"{frame.camera}: the object covers {int(mask.sum())} pixels, sparsefusion needs {MIN_PIXELS}; move the "
            "camera nearer",
        )
    left, top, right, bottom = crop_box(mask)
    scale = side / max(right - left, bottom - top)
    width, height = (max(1, int(scale * length)) for length in (right - left, bottom - top))
    # Black before it is shrunk, so that the background does not bleed into the outline.
    black = (frame.rgb * mask[..., None])[top:bottom, left:right].astype(np.float32) / 255.0
    smoothing = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    rgb = np.zeros((side, side, 3), np.float32)
    rgb[:height, :width] = np.clip(cv2.resize(black, (width, height), interpolation=smoothing), 0.0, 1.0)
    valid = np.zeros((side, side), bool)
    valid[:height, :width] = True

    # Pixel centres are at integers: the border of the box is half a pixel before its first.
    sx, sy = width / (right - left), height / (bottom - top)
    K = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1.0]]) @ frame.intrinsics.K
    K[:2, 2] -= sx * left, sy * top
    said = []
    if touches_border(mask):
        said.append(f"{frame.camera}: the object is cut off at the image border; sparsefusion sees only a part of it")
    return CroppedPicture(rgb, valid, CameraIntrinsics(side, side, K), frame.T_world_cam, tuple(said))


def crop_box(mask: Bool) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of what is cut out, the last two exclusive, within the image."""
    height, width = mask.shape
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    edges = []
    for seen, length in ((columns, width), (rows, height)):
        first, count = int(seen[0]), int(seen[-1]) + 1 - int(seen[0])
        low = first - 0.5 * CONTEXT * count
        # One more, as released: its upper bound is taken for inclusive.
        high = low + (1 + CONTEXT) * count + 1
        edges.append((round(float(np.clip(low, 0, length))), round(float(np.clip(high, 0, length)))))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def chosen_views(views: Sequence[ObjectView], middle_world: Float64, most: int) -> list[ObjectView]:
    """Return up to `most` views that show the object, the largest first and then whichever is farthest around from it.

    Those in which it covers hardly a pixel, or that have it behind the camera, are left out.

    Parameters
    ----------
    middle_world : (3,) of the object.

    Raises
    ------
    EvidenceError
        OBJECT_TOO_SMALL, OBJECT_NOT_IN_VIEW if no view is left.
    """
    large = [view for view in views if int(view.mask.sum()) >= MIN_PIXELS]
    if not large:
        most_seen = max((int(view.mask.sum()) for view in views), default=0)
        raise EvidenceError(
            ErrorCode.OBJECT_TOO_SMALL,
            f"the object covers at most {most_seen} pixels in {len(views)} views, sparsefusion needs {MIN_PIXELS}; "
            "move the cameras nearer",
        )
    before = [view for view in large if float((middle_world - view.frame.T_world_cam[:3, 3]) @ _axis(view)) > 0]
    if not before:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_IN_VIEW,
            f"the object's middle lies behind all of {len(large)} cameras; check the camera poses",
        )
    towards = [_unit(view.frame.T_world_cam[:3, 3] - middle_world) for view in before]
    chosen = [max(range(len(before)), key=lambda k: int(before[k].mask.sum()))]
    while len(chosen) < min(most, len(before)):
        nearest = [max(float(towards[k] @ towards[c]) for c in chosen) for k in range(len(before))]
        chosen.append(min((k for k in range(len(before)) if k not in chosen), key=lambda k: nearest[k]))
    return [before[k] for k in sorted(chosen)]


def _axis(view: ObjectView) -> Float64:
    return view.frame.T_world_cam[:3, 2]


def _unit(v: Float64) -> Float64:
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-9))
