"""What is wrong with a simulated RGB-D camera, as numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sparse_recon.config.parameters import Checked, doc
from sparse_recon.lab.simulate.time_of_flight import TimeOfFlightFaults
from sparse_recon.lab.simulate.triangulation import TriangulationFaults


@dataclass(frozen=True)
class SensorModel(Checked):
    """Errors of a depth camera; the default has none.

    `faults` are those of a kind of camera, alike over many pixels. Without them depth has errors of single pixels and
    their neighbours: axial noise of `axial_base_m + axial_quadratic (z - 0.4 m)^2` (Nguyen, Izadi, Lovell, 3DIMPVT
    2012) for a camera of the first Kinect's kind, plus `z^2 sigma_d / (f B)` for a stereo camera, and what follows.
    """

    axial_base_m: float = field(
        default=0.0,
        metadata=doc("Standard deviation of the depth noise at a depth of 0.4 m.", unit="m", low=0.0, high=0.1),
    )
    axial_quadratic: float = field(
        default=0.0,
        metadata=doc(
            "Quadratic growth of the depth noise: sigma = axial_base_m + axial_quadratic * (z - 0.4 m)^2.",
            unit="1/m",
            low=0.0,
            high=1.0,
        ),
    )
    baseline_m: float = field(
        default=0.05, metadata=doc("Baseline of the stereo camera.", unit="m", low=0.001, high=1.0)
    )
    disparity_sigma_px: float = field(
        default=0.0, metadata=doc("Standard deviation of the disparity.", unit="px", low=0.0, high=5.0)
    )
    disparity_step_px: float = field(
        default=0.0,
        metadata=doc("Quantisation step of the disparity. 0 does not quantise.", unit="px", low=0.0, high=1.0),
    )
    correlation_px: float = field(
        default=0.0,
        metadata=doc(
            "Standard deviation of the Gaussian over which noise of neighbouring pixels is correlated. 0 "
            "makes pixels independent.",
            unit="px",
            low=0.0,
            high=20.0,
        ),
    )
    edge_px: float = field(
        default=0.0,
        metadata=doc(
            "Standard deviation of the sideways displacement of object outlines in depth.", unit="px", low=0.0, high=5.0
        ),
    )
    flying: float = field(
        default=0.0,
        metadata=doc(
            "Share of edge pixels that become flying pixels between foreground and background.", low=0.0, high=1.0
        ),
    )
    grazing_deg: float = field(
        default=90.0,
        metadata=doc(
            "Largest angle between surface normal and ray at which depth is measured. Surfaces seen more "
            "obliquely are holes.",
            unit="deg",
            low=1.0,
            high=90.0,
        ),
    )
    specular_deg: float = field(
        default=0.0,
        metadata=doc(
            "Largest angle between surface normal and ray within which surfaces of objects reflect the camera's "
            "own light and are holes. 0 makes no such holes.",
            unit="deg",
            low=0.0,
            high=45.0,
        ),
    )
    dropout: float = field(default=0.0, metadata=doc("Share of pixels lost in blobs.", low=0.0, high=0.9))
    near_m: float = field(default=0.0, metadata=doc("Smallest valid depth.", unit="m", low=0.0, high=10.0))
    far_m: float = field(default=100.0, metadata=doc("Largest valid depth.", unit="m", low=0.01, high=1000.0))
    pose_sigma_m: float = field(
        default=0.0,
        metadata=doc("Standard deviation of the camera translation error, per axis.", unit="m", low=0.0, high=0.5),
    )
    pose_sigma_deg: float = field(
        default=0.0,
        metadata=doc("Standard deviation of the camera rotation error, per axis.", unit="deg", low=0.0, high=30.0),
    )
    mask_px: int = field(default=0, metadata=doc("Largest dilation or erosion of a mask.", unit="px", low=0, high=20))
    color_sigma: float = field(
        default=0.0, metadata=doc("Standard deviation of colour noise, in 8-bit levels.", low=0.0, high=50.0)
    )

    faults: TriangulationFaults | TimeOfFlightFaults | None = None

    def axial_m(self, depth_m: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return the standard deviation of the part that does not come from disparity, metres."""
        return self.axial_base_m + self.axial_quadratic * (depth_m - 0.4) ** 2

    def sigma_m(self, depth_m: npt.NDArray[np.floating], focal_px: float) -> npt.NDArray[np.floating]:
        """Return the standard deviation of depth, metres, without quantisation."""
        if self.faults is not None:
            return self.faults.sigma_m(depth_m, focal_px)
        return np.hypot(self.axial_m(depth_m), depth_m**2 * self.disparity_sigma_px / (focal_px * self.baseline_m))
