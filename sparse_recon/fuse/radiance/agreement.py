"""How far to trust depth read from a radiance field: what views and pictures say of its points, as a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.fuse.confidence import CORRECT_WITHIN_M
from sparse_recon.fuse.radiance.field_depth import FieldDepth
from sparse_recon.geometry.cameras import project_points, unproject_depth
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.types import Bool, CameraIntrinsics, Float32, Float64, GeneratedView

Int64 = npt.NDArray[np.int64]

# Depth agrees within this many voxels.
TOLERANCE_VOXELS = 1.5
# Taken where fewer than two pictures see a point.
UNLIKE_ALONE = 0.25
NAMES = ("spread", "coarse", "grazing", "unseen", "contradicted", "outside", "unlike")
# Constant and coefficients, in the order of NAMES, of the logistic regression of "within 5 mm" on the reasons: 100 000
# pixels of fields fitted to 8 pictures of each of 12 scans, whose cameras were right, 2 and 5 degrees off
# (`benchmarks/distillation.py --what calibrate`). Error of calibration on the half not fitted to: 0.033 with and 0.037
# without pictures.
WITH_PICTURES = (2.44, 0.65, 0.79, 0.12, 1.26, 0.82, 0.84, 0.51)
WITHOUT_PICTURES = (2.42, 0.65, 0.79, 0.13, 1.33, 0.95, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class AgreementFeatures:
    """Reasons against each pixel of a depth image, (H, W) float32 each; more is worse.

    Attributes
    ----------
    spread : deviation of the depths at which light ends, over 5 mm, at most 4.
    coarse : voxel over 5 mm, at most 4.
    grazing : tangent of the angle between surface and image plane, at most 8.
    unseen : 1 / (1 + number of other cameras that have the same surface at this point).
    contradicted : share of other depth cameras that look through the point, of all that are not behind something.
    outside : share of the pictures that have the point beside the object.
    unlike : deviation of its colours among the pictures that see it, in [0, 1]; 0.25 where fewer than two do.
    """

    spread: Float32
    coarse: Float32
    grazing: Float32
    unseen: Float32
    contradicted: Float32
    outside: Float32
    unlike: Float32

    def columns(self, pixels: Bool) -> Float64:
        """Return the reasons at some pixels, (P, 7) in the order of `NAMES`."""
        return np.stack([getattr(self, name)[pixels] for name in NAMES], axis=1).astype(np.float64)


def agreement_features(
    seen: FieldDepth, others: Sequence[FieldDepth], pictured: Sequence[tuple[GeneratedView, FieldDepth]], voxel_m: float
) -> AgreementFeatures:
    """Ask all other depth cameras and the pictures about each point that one depth camera has.

    Parameters
    ----------
    others : depth cameras of the same field; the one asked about may be among them.
    pictured : pictures that the field was fitted to, each with the field's depth from its camera, smaller or not; none
        for a distilled field.
    voxel_m : edge of a voxel of the field.
    """
    mask = seen.mask
    points = transform_points(seen.T_obj_cam, unproject_depth(seen.depth_m, seen.intrinsics, mask))
    tolerance_m = TOLERANCE_VOXELS * voxel_m
    same, through = np.zeros((2, len(points)), np.float32)
    for other in others:
        if other is not seen:
            excess = _excess_m(points, other)
            with np.errstate(invalid="ignore"):
                same += np.abs(excess) <= tolerance_m
                through += excess > tolerance_m
    outside, unlike = _pictured(points, pictured, tolerance_m)

    def image(values: Float32) -> Float32:
        full = np.zeros(mask.shape, np.float32)
        full[mask] = values
        return full

    return AgreementFeatures(
        spread=np.minimum(np.nan_to_num(seen.spread_m) / CORRECT_WITHIN_M, 4.0).astype(np.float32),
        coarse=np.full(mask.shape, min(voxel_m / CORRECT_WITHIN_M, 4.0), np.float32),
        grazing=_grazing(seen),
        unseen=image(1.0 / (1.0 + same)),
        contradicted=image(through / np.maximum(same + through, 1.0)),
        outside=image(outside),
        unlike=image(unlike),
    )


def confidence_of(features: AgreementFeatures, with_pictures: bool) -> Float32:
    """Return P(|error| < 5 mm), (H, W) float32 in [0, 1]; it falls with every feature."""
    coefficients = WITH_PICTURES if with_pictures else WITHOUT_PICTURES
    logit = np.full(features.spread.shape, coefficients[0], np.float64)
    for name, coefficient in zip(NAMES, coefficients[1:], strict=True):
        logit -= coefficient * getattr(features, name)
    return (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)


def _pictured(
    points_obj: Float32, pictured: Sequence[tuple[GeneratedView, FieldDepth]], tolerance_m: float
) -> tuple[Float32, Float32]:
    """Return for each point the share of pictures that have it outside, and how unlike its colours are in the rest."""
    outside, count = np.zeros((2, len(points_obj)), np.float32)
    total, squares = np.zeros((2, len(points_obj), 3), np.float32)
    for picture, depth in pictured:
        frame = picture.frame
        # In the metres of the object frame, whatever the size of the picture.
        uv, inside = _pixels(points_obj, frame.intrinsics, inverse(depth.T_obj_cam))
        u, v = uv[inside].T
        held = np.zeros(len(points_obj), bool)
        held[inside] = picture.mask[v, u]
        outside[inside] += ~picture.mask[v, u]
        with np.errstate(invalid="ignore"):
            held &= np.abs(_excess_m(points_obj, depth)) <= tolerance_m
        color = np.zeros((len(points_obj), 3), np.float32)
        color[inside] = frame.rgb[v, u] / np.float32(255.0)
        total += held[:, None] * color
        squares += held[:, None] * color**2
        count += held
    several = np.maximum(count, 1.0)[:, None]
    variance = np.maximum(squares / several - (total / several) ** 2, 0.0).mean(axis=1)
    unlike = np.where(count >= 2, np.sqrt(variance), np.float32(UNLIKE_ALONE))
    return (outside / np.float32(max(len(pictured), 1))).astype(np.float32), unlike.astype(np.float32)


def _excess_m(points_obj: Float32, other: FieldDepth) -> Float32:
    """Return by how much a depth camera sees beyond each of (N, 3) points; inf where it sees nothing, NaN outside."""
    T_cam_obj = inverse(other.T_obj_cam)
    uv, inside = _pixels(points_obj, other.intrinsics, T_cam_obj)
    u, v = uv[inside].T
    z = transform_points(T_cam_obj, points_obj)[:, 2]
    excess = np.full(len(points_obj), np.nan, np.float32)
    excess[inside] = np.nan_to_num(other.depth_m[v, u], nan=np.float32(np.inf)) - z[inside]
    return excess


def _pixels(points_obj: Float32, intrinsics: CameraIntrinsics, T_cam_obj: Float64) -> tuple[Int64, Bool]:
    """Return the pixel (N, 2) of each point, and whether the image has it, (N,)."""
    projected = project_points(transform_points(T_cam_obj, points_obj), intrinsics)
    uv = np.rint(np.nan_to_num(projected, nan=-1.0)).astype(np.int64)
    inside = np.all((uv >= 0) & (uv < (intrinsics.width, intrinsics.height)), axis=1)
    return uv, inside


def _grazing(seen: FieldDepth) -> Float32:
    """Return how steeply depth changes, (H, W): the tangent of the angle to the image plane, at most 8; 8 at rims."""
    depth = seen.depth_m.astype(np.float64)
    rows, columns = np.gradient(depth)
    slope = np.hypot(rows * seen.intrinsics.fy, columns * seen.intrinsics.fx) / depth
    return np.minimum(np.nan_to_num(slope, nan=8.0), 8.0).astype(np.float32)
