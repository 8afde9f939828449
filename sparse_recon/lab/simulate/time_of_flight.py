"""Depth from the time that light takes: noise by signal, light that took a longer way, pixels that see two surfaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sparse_recon.config.parameters import Checked, doc
from sparse_recon.lab.simulate.registration import gaps, hidden_from
from sparse_recon.lab.simulate.slow_error import Draws, height_of
from sparse_recon.lab.simulate.triangulation import facing_camera
from sparse_recon.types import Bool, Float32

if TYPE_CHECKING:
    from sparse_recon.lab.simulate.render import RenderedView

_BACKDROP_M = 100.0
_JUMP_M = 0.02
_CORNER_PX = 8  # reach of the surfaces between which light goes to and fro
_DEEPEST_CORNER_M = 0.02


@dataclass(frozen=True)
class TimeOfFlightFaults(Checked):
    """Strengths of the errors of time of flight; the defaults are about those of an Azure Kinect.

    The signal is that of a white surface that faces the camera at 1 m, times reflectance and cosine, by depth squared;
    noise goes with 1 / sqrt(signal). Kinds of error as in Hansard, Lee, Choi, Horaud, Time-of-Flight Cameras (2012).
    """

    noise_m: float = field(
        default=0.0012,
        metadata=doc("Standard deviation of the noise at signal 1, new in every frame.", unit="m", low=0.0, high=0.1),
    )
    slow_m: float = field(
        default=0.0012,
        metadata=doc(
            "Standard deviation of the depth error that is alike over many pixels.", unit="m", low=0.0, high=0.1
        ),
    )
    multipath: float = field(
        default=0.8,
        metadata=doc(
            "Error in concave corners, where light takes a longer way, as a share of their depth within 8 pixels.",
            low=0.0,
            high=5.0,
        ),
    )
    mixed_px: float = field(
        default=0.8,
        metadata=doc(
            "Standard deviation of the lens blur that mixes near and far surfaces into flying pixels.",
            unit="px",
            low=0.0,
            high=5.0,
        ),
    )
    edge_holes: float = field(
        default=0.5, metadata=doc("Share of the mixed pixels that the driver drops.", low=0.0, high=1.0)
    )
    dark: float = field(default=0.04, metadata=doc("Signal below which there is no depth.", low=0.0, high=1.0))
    reflectance_spread: float = field(
        default=0.6,
        metadata=doc(
            "Standard deviation of the logarithm by which the reflectance of an object in infrared differs from "
            "its brightness in the colour image.",
            low=0.0,
            high=3.0,
        ),
    )
    color_offset_m: float = field(
        default=0.032,
        metadata=doc(
            "Place of the depth camera along x of the colour camera to whose pixels depth is moved.",
            unit="m",
            low=-0.2,
            high=0.2,
        ),
    )
    stretch: float = field(
        default=1.0,
        metadata=doc(
            "Pixels of the colour image in one pixel of the depth image. The more, the more gaps.", low=1.0, high=3.0
        ),
    )
    gap_share: float = field(
        default=0.0,
        metadata=doc("Share of the gaps of the registration that the driver leaves open.", low=0.0, high=1.0),
    )
    changing: float = field(
        default=0.1,
        metadata=doc(
            "Share of the variance of slow errors and holes that changes between frames of a still camera.",
            low=0.0,
            high=1.0,
        ),
    )

    def sigma_m(self, depth_m: npt.NDArray[np.floating], focal_px: float) -> npt.NDArray[np.floating]:
        """Return the standard deviation of depth on a white surface that faces the camera, metres."""
        return np.asarray(np.hypot(self.noise_m * depth_m, self.slow_m))

    def measured(self, view: RenderedView, rng: np.random.Generator, place: np.random.Generator) -> Float32:
        """Return (H, W) float32 depth, metres, NaN where the signal was too weak; `place` as of `Draws`."""
        import cv2

        draws, shape = Draws(place, rng, self.changing), view.depth_m.shape
        true_m = np.nan_to_num(view.depth_m, nan=_BACKDROP_M)
        # 1. A pixel at an edge sees near and far.
        edges = cv2.morphologyEx(true_m, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > _JUMP_M
        found_m = true_m.copy()
        if self.mixed_px > 0:
            found_m[edges] = cv2.GaussianBlur(true_m, (0, 0), self.mixed_px)[edges]
        # 2. Light that went from one wall of a corner to the other comes late.
        found_m += np.float32(self.multipath) * _corner_depth(true_m, edges)
        # 3. Slow errors of the calibration, then noise by signal.
        found_m += np.float32(self.slow_m) * draws.field(shape, (12.0, 12.0))
        signal = self._signal(view, true_m, draws)
        noise = draws.field(shape, (0.6, 0.6), changing=1.0)
        found_m += np.float32(self.noise_m) / np.sqrt(np.maximum(signal, np.float32(0.01))) * noise
        # 4. Too little light, and what the driver or the move to the colour camera leaves out.
        ragged = draws.field(shape, (1.5, 1.5))
        holes = signal * np.exp(np.float32(0.2) * ragged) < self.dark
        holes |= edges & (ragged > height_of(self.edge_holes))
        holes |= self._unregistered(view, true_m, ragged, rng)
        found_m[holes | ~np.isfinite(view.depth_m)] = np.nan
        return np.asarray(np.rint(found_m * 1000) / np.float32(1000), np.float32)  # drivers send whole millimetres

    def _signal(self, view: RenderedView, true_m: Float32, draws: Draws) -> Float32:
        import cv2

        own = np.random.default_rng(draws.place.integers(2**63))
        spread = np.exp(self.reflectance_spread * own.standard_normal(int(view.labels.max(initial=0)) + 1))
        brightness = cv2.cvtColor(view.rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        reflectance = np.minimum(brightness * spread.astype(np.float32)[view.labels], 1)
        return np.asarray(reflectance * np.maximum(facing_camera(view), 0) / true_m**2)

    def _unregistered(self, view: RenderedView, true_m: Float32, ragged: Float32, rng: np.random.Generator) -> Bool:
        inverse_m = np.asarray(1 / true_m, np.float32)
        lost = hidden_from(inverse_m, view.intrinsics, self.color_offset_m, 90.0, ragged)
        if self.gap_share > 0:
            apart = gaps(inverse_m, view.intrinsics.fx, (self.color_offset_m, 0.0), self.stretch, lines=False)
            apart[apart] = rng.random(int(apart.sum())) < self.gap_share
            lost |= apart
        return lost


def _corner_depth(true_m: Float32, edges: Bool) -> Float32:
    """How much deeper a surface lies than its surroundings; 0 beside jumps, where these are another surface."""
    import cv2

    size, rim = 2 * _CORNER_PX + 1, _CORNER_PX
    beside = cv2.dilate(edges.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    deeper = np.clip(true_m - cv2.blur(true_m, (size, size)), 0, _DEEPEST_CORNER_M)
    deeper[beside] = 0
    deeper[:rim] = deeper[-rim:] = deeper[:, :rim] = deeper[:, -rim:] = 0
    return np.asarray(cv2.GaussianBlur(deeper, (0, 0), rim / 2), np.float32)
