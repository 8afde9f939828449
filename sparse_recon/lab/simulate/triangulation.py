"""Depth of two cameras, or of camera and projector: errors of disparity, of the window that is matched, and shadows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparse_recon.config.parameters import Checked, doc
from sparse_recon.lab.simulate.registration import gaps, hidden_from
from sparse_recon.lab.simulate.slow_error import Draws, height_of
from sparse_recon.types import Bool, Float32, Float64

if TYPE_CHECKING:
    from sparse_recon.lab.simulate.render import RenderedView

_BACKDROP_M = 100.0  # where the ideal camera sees nothing, a window sees something far
_PLAIN_LEVELS = 8  # grey levels between the darkest and the brightest pixel of a window without texture
_STEP_PX = 0.5  # of disparity between neighbouring pixels: more is an edge


@dataclass(frozen=True)
class TriangulationFaults(Checked):
    """Strengths of the errors of stereo and structured light; the defaults are those of a RealSense D415 at 640x480.

    They were fitted to three real frames of objects on a wooden table (`benchmarks/real_depth.py`).
    """

    baseline_m: float = field(
        default=0.055,
        metadata=doc("Distance of the two cameras, or of camera and projector.", unit="m", low=0.01, high=1.0),
    )
    color_offset_m: float = field(
        default=0.037,
        metadata=doc(
            "Place of the first depth camera along x of the colour camera to whose pixels depth is moved. The second "
            "one lies farther by the baseline, so shadows become wider.",
            unit="m",
            low=0.0,
            high=0.2,
        ),
    )
    color_rise_m: float = field(
        default=-0.015,
        metadata=doc(
            "Parallax of depth and colour camera along y that the lines of gaps on real surfaces show.",
            unit="m",
            low=-0.2,
            high=0.2,
        ),
    )
    half_fov_deg: float = field(
        default=25.5,
        metadata=doc(
            "Half of the horizontal field of view of the depth cameras. What the second one does not see is a band "
            "of holes at the side of the image. 90 makes no band.",
            unit="deg",
            low=10.0,
            high=90.0,
        ),
    )
    slow_px: float = field(
        default=0.144,
        metadata=doc(
            "Standard deviation of the disparity error that is alike over many pixels.", unit="px", low=0.0, high=5.0
        ),
    )
    slow_object_gain: float = field(
        default=1.85, metadata=doc("Factor of the slow disparity error on objects.", low=0.0, high=10.0)
    )
    noise_px: float = field(
        default=0.02,
        metadata=doc(
            "Standard deviation of the disparity noise that is new in every frame.", unit="px", low=0.0, high=5.0
        ),
    )
    step_px: float = field(
        default=1 / 32,
        metadata=doc("Quantisation step of the disparity. 0 does not quantise.", unit="px", low=0.0, high=1.0),
    )
    window_px: float = field(
        default=1.6,
        metadata=doc(
            "Standard deviation of the window over which disparity is averaged.", unit="px", low=0.0, high=20.0
        ),
    )
    fattening_px: float = field(
        default=0.4,
        metadata=doc("Width by which what is nearer grows over what is farther.", unit="px", low=0.0, high=10.0),
    )
    wander_px: float = field(
        default=2.5,
        metadata=doc("Standard deviation of the sideways displacement of outlines.", unit="px", low=0.0, high=10.0),
    )
    wave_px: float = field(
        default=9.0,
        metadata=doc(
            "Standard deviation of the Gaussian over which outlines wander alike.", unit="px", low=1.0, high=50.0
        ),
    )
    edge_holes: float = field(
        default=0.1, metadata=doc("Share of the pixels at depth edges that are not matched.", low=0.0, high=1.0)
    )
    plain_holes: float = field(
        default=0.01,
        metadata=doc("Share of surface without texture that is lost in blobs, anywhere.", low=0.0, high=1.0),
    )
    object_holes: float = field(
        default=0.02,
        metadata=doc(
            "Mean share of the surface of objects that is lost in blobs, as on metal and gloss. Most objects lose "
            "less, few much more.",
            low=0.0,
            high=1.0,
        ),
    )
    grazing_deg: float = field(
        default=84.0,
        metadata=doc("Largest angle between surface normal and ray that is matched.", unit="deg", low=1.0, high=90.0),
    )
    stretch: float = field(
        default=1.0,
        metadata=doc(
            "Pixels of the colour image in one pixel of the depth image; the rest are gaps.", low=1.0, high=3.0
        ),
    )
    gap_lines: bool = field(
        default=True, metadata=doc("Whether gaps of the registration are lines. false leaves a grid of single pixels.")
    )
    gap_share: float = field(
        default=0.25, metadata=doc("Share of the gaps that the driver leaves open.", low=0.0, high=1.0)
    )
    changing: float = field(
        default=0.15,
        metadata=doc(
            "Share of the variance of slow errors, outlines and blobs that changes between frames of a still camera.",
            low=0.0,
            high=1.0,
        ),
    )

    def sigma_m(self, depth_m: npt.NDArray[np.floating], focal_px: float) -> npt.NDArray[np.floating]:
        """Return the standard deviation of depth on an object, metres, far from edges."""
        spread_px = np.hypot(self.slow_px * self.slow_object_gain, self.noise_px)
        return np.asarray(depth_m**2 * spread_px / (focal_px * self.baseline_m))

    def measured(self, view: RenderedView, rng: np.random.Generator, place: np.random.Generator) -> Float32:
        """Return (H, W) float32 depth, metres, NaN where nothing was matched; `place` as of `Draws`."""
        draws = Draws(place, rng, self.changing)
        shape, intrinsics = view.depth_m.shape, view.intrinsics
        per_m = np.float32(intrinsics.fx * self.baseline_m)
        # 1. What a window sees: outlines that wander and grow, then a ramp.
        matched = self._matched(per_m / np.nan_to_num(view.depth_m, nan=_BACKDROP_M), draws)
        # 2. What only one of the two sees, or what looks like nothing else, is not matched.
        ragged = draws.field(shape, (1.5, 1.5), changing=1.0)  # such ends flicker
        offset_m = self.baseline_m + self.color_offset_m
        holes = hidden_from(matched / per_m, intrinsics, offset_m, self.half_fov_deg, 1.5 * ragged)
        holes |= self._unmatched(view, matched, ragged, draws)
        # 3. Disparity is off in lumps, a little in every frame anew, and comes in steps.
        lumps = 0.8 * draws.field(shape, (4.5, 6.5)) + 0.6 * draws.field(shape, (10.0, 14.0))
        strength = np.where(view.labels > 0, self.slow_px * self.slow_object_gain, self.slow_px).astype(np.float32)
        found = np.asarray(matched + strength * lumps, np.float32)
        if self.noise_px > 0:
            found += np.float32(self.noise_px) * draws.field(shape, (1.0, 1.0), changing=1.0)
        if self.step_px > 0:
            found = np.asarray(np.rint(found / np.float32(self.step_px)) * np.float32(self.step_px), np.float32)
        depth_m = per_m / np.where(~holes & (found > 2 * per_m / _BACKDROP_M), found, np.float32(np.nan))
        return np.asarray(np.rint(depth_m * 1000) / np.float32(1000), np.float32)  # drivers send whole millimetres

    def _matched(self, true_px: Float32, draws: Draws) -> Float32:
        import cv2

        disparity_px: Any = true_px
        if self.wander_px > 0:
            # Most outlines are off by little, some by much: a field of variance 1 with a cube has a kurtosis of 11.
            reach_px = 2 * int(3 * self.wander_px) + 1
            near = cv2.dilate(_edges(disparity_px), np.ones((reach_px, reach_px), np.uint8)).astype(np.float32)
            near = np.float32(self.wander_px) * cv2.blur(near, (5, 5))
            du, dv = (draws.field(disparity_px.shape, (self.wave_px, self.wave_px)) for _ in "uv")
            at_v, at_u = (np.arange(n, dtype=np.float32) for n in disparity_px.shape)
            at_u = near * du * (np.float32(0.6) + np.float32(0.12) * du**2) + at_u
            at_v = near * dv * (np.float32(0.6) + np.float32(0.12) * dv**2) + at_v[:, None]
            disparity_px = cv2.remap(disparity_px, at_u, at_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if self.fattening_px > 0:
            disparity_px = _grown(disparity_px, self.fattening_px)
        if self.window_px > 0:
            # Disparity of a plane is affine in the pixels, so a window changes edges and curves alone.
            disparity_px = cv2.GaussianBlur(disparity_px, (0, 0), self.window_px, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(disparity_px, np.float32)

    def _unmatched(self, view: RenderedView, matched_px: Float32, ragged: Float32, draws: Draws) -> Bool:
        import cv2

        focal_px = view.intrinsics.fx
        grey = cv2.cvtColor(view.rgb, cv2.COLOR_RGB2GRAY)
        plain = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((9, 9), np.uint8)) < _PLAIN_LEVELS
        lost_from = height_of(_lost_shares(view, self.object_holes, draws.place))[view.labels]
        lost_from = np.where(plain, np.minimum(lost_from, height_of(self.plain_holes)), lost_from)
        holes = draws.field(matched_px.shape, (7.0, 7.0)) > lost_from
        holes |= (_edges(matched_px) > 0) & (ragged > height_of(self.edge_holes))
        holes |= facing_camera(view) < np.float32(np.cos(np.deg2rad(self.grazing_deg))) + np.float32(0.03) * ragged
        inverse_m = matched_px / np.float32(focal_px * self.baseline_m)
        apart = gaps(inverse_m, focal_px, (self.color_offset_m, self.color_rise_m), self.stretch, self.gap_lines)
        apart[apart] = draws.frame.random(int(apart.sum())) < self.gap_share
        return np.asarray(holes | apart)


def facing_camera(view: RenderedView) -> Float32:
    """Return (H, W) float32 cosine between surface normal and the way to the camera; 1 where nothing is."""
    K = view.intrinsics
    nx, ny, nz = view.T_world_cam[:3, :3].T.astype(np.float32) @ view.normals_world.reshape(-1, 3).T
    x = ((np.arange(K.width) - K.cx) / K.fx).astype(np.float32)
    y = ((np.arange(K.height) - K.cy) / K.fy).astype(np.float32)[:, None]
    shape = view.depth_m.shape
    towards = -(nx.reshape(shape) * x + ny.reshape(shape) * y + nz.reshape(shape)) / np.sqrt(x**2 + y**2 + 1)
    return np.where(np.isfinite(view.depth_m), towards, np.float32(1))


def _edges(disparity_px: Float32) -> npt.NDArray[np.uint8]:
    import cv2

    return np.asarray(
        cv2.morphologyEx(disparity_px, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 2 * _STEP_PX, np.uint8
    )


def _lost_shares(view: RenderedView, mean_share: float, rng: np.random.Generator) -> Float64:
    """Share of its pixels that each label loses: an exponential variable squared, so few objects lose much."""
    own = np.random.default_rng(rng.integers(2**63))  # so that what is drawn next does not depend on how many there are
    shares = mean_share / 2 * own.exponential(size=int(view.labels.max(initial=0)) + 1) ** 2
    shares[0] = 0.0
    return np.minimum(shares, 0.8)


def _grown(disparity_px: Float32, by_px: float) -> Float32:
    """Largest of a disc, between whole radii in proportion."""
    import cv2

    low = int(by_px)
    inner = cv2.dilate(disparity_px, _disc(low)) if low else disparity_px
    if by_px == low:
        return np.asarray(inner)
    return np.asarray(inner + np.float32(by_px - low) * (cv2.dilate(disparity_px, _disc(low + 1)) - inner))


def _disc(radius_px: int) -> npt.NDArray[np.uint8]:
    offset = np.arange(-radius_px, radius_px + 1)
    return (offset[:, None] ** 2 + offset**2 <= (radius_px + 0.5) ** 2).astype(np.uint8)
