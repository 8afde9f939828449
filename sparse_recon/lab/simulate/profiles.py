"""Simulated cameras by name, and cameras of a kind whose errors are stronger or weaker."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from sparse_recon.lab.simulate.sensor_model import SensorModel
from sparse_recon.lab.simulate.time_of_flight import TimeOfFlightFaults
from sparse_recon.lab.simulate.triangulation import TriangulationFaults

SENSORS: dict[str, SensorModel] = {
    "clean": SensorModel(),
    "realsense": SensorModel(
        disparity_sigma_px=0.07,
        disparity_step_px=1 / 32,
        correlation_px=1.6,
        edge_px=0.9,
        flying=0.35,
        grazing_deg=80.0,
        dropout=0.008,
        near_m=0.2,
        far_m=3.0,
        pose_sigma_m=0.0007,
        pose_sigma_deg=0.06,
        mask_px=1,
        color_sigma=1.5,
    ),
    "kinect": SensorModel(
        axial_base_m=0.0012,
        axial_quadratic=0.0019,
        correlation_px=1.0,
        edge_px=1.2,
        flying=0.2,
        grazing_deg=75.0,
        dropout=0.015,
        near_m=0.4,
        far_m=4.5,
        pose_sigma_m=0.0007,
        pose_sigma_deg=0.06,
        mask_px=2,
        color_sigma=2.0,
    ),
}
SENSORS["mild"] = replace(SENSORS["realsense"], specular_deg=4.0)  # the `noisy` of evaluation

_SEATED = SensorModel(pose_sigma_m=0.0007, pose_sigma_deg=0.06, mask_px=1, color_sigma=1.5)

# Only `d400` was fitted to frames of a real camera. The others are what their principle, baseline and drivers suggest.
SENSORS |= {
    "d400": replace(_SEATED, near_m=0.2, far_m=3.0, faults=TriangulationFaults()),
    "zed": replace(
        _SEATED,
        near_m=0.3,
        far_m=10.0,
        faults=TriangulationFaults(  # no projector: plain surface is guessed or lost, windows are wide
            baseline_m=0.12,
            color_offset_m=0.0,
            color_rise_m=0.0,
            half_fov_deg=52.0,
            slow_px=0.25,
            window_px=3.5,
            fattening_px=1.5,
            wander_px=3.0,
            edge_holes=0.1,
            plain_holes=0.08,
            gap_share=0.0,
        ),
    ),
    "f200": replace(
        _SEATED,
        near_m=0.2,
        far_m=1.2,
        faults=TriangulationFaults(
            baseline_m=0.047,
            color_offset_m=0.025,
            color_rise_m=0.0,
            half_fov_deg=36.0,
            slow_px=0.06,
            noise_px=0.03,
            step_px=1 / 16,
            window_px=1.0,
            fattening_px=0.3,
            wander_px=0.8,
            edge_holes=0.25,
            object_holes=0.06,
            stretch=1.3,
            gap_lines=False,
            gap_share=0.9,
        ),
    ),
    "orbbec": replace(
        _SEATED,
        near_m=0.4,
        far_m=4.0,
        faults=TriangulationFaults(  # Astra: a dot pattern, windows of about 9 pixels
            baseline_m=0.075,
            color_offset_m=0.025,
            color_rise_m=0.0,
            half_fov_deg=30.0,
            slow_px=0.1,
            step_px=1 / 8,
            window_px=1.5,
            fattening_px=0.8,
            wander_px=1.5,
            edge_holes=0.2,
            object_holes=0.05,
            stretch=1.08,
            gap_lines=False,
            gap_share=0.9,
        ),
    ),
    "azure_kinect": replace(_SEATED, near_m=0.3, far_m=3.8, faults=TimeOfFlightFaults()),
    "kinect_v2": replace(
        _SEATED,
        near_m=0.5,
        far_m=4.5,
        faults=TimeOfFlightFaults(
            noise_m=0.0018,
            slow_m=0.002,
            multipath=1.0,
            mixed_px=1.2,
            edge_holes=0.3,
            color_offset_m=0.052,
            stretch=1.6,
            gap_share=0.3,
        ),
    ),
    "l515": replace(
        _SEATED,
        near_m=0.25,
        far_m=6.0,
        faults=TimeOfFlightFaults(  # a laser that scans: little light goes around corners
            noise_m=0.0015, slow_m=0.001, multipath=0.15, mixed_px=0.5, edge_holes=0.3, dark=0.06, color_offset_m=0.014
        ),
    ),
}

# Standard deviation of the logarithm of each strength from camera to camera and scene to scene.
_SPREAD = {
    "half_fov_deg": 0.1,
    "slow_px": 0.35,
    "slow_object_gain": 0.2,
    "noise_px": 0.4,
    "window_px": 0.25,
    "fattening_px": 0.4,
    "wander_px": 0.3,
    "edge_holes": 0.5,
    "plain_holes": 1.0,
    "object_holes": 0.7,
    "gap_share": 0.5,
    "noise_m": 0.4,
    "slow_m": 0.5,
    "multipath": 0.5,
    "mixed_px": 0.3,
    "dark": 0.5,
    "changing": 0.4,
}


def varied(model: SensorModel, rng: np.random.Generator) -> SensorModel:
    """Return a camera of the same kind whose faults are stronger or weaker, each by a factor of its own.

    Factors are log-normal with median 1, values stay within their ranges. A model without `faults` is returned as is.
    """
    faults = model.faults
    if faults is None:
        return model
    drawn: dict[str, Any] = {}
    for f in fields(faults):
        if f.name in _SPREAD:
            strength = getattr(faults, f.name) * np.exp(_SPREAD[f.name] * rng.standard_normal())
            drawn[f.name] = float(np.clip(strength, f.metadata["low"], f.metadata["high"]))
    return replace(model, faults=replace(faults, **drawn))
