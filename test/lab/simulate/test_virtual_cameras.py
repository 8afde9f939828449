"""Simulated cameras stand where a ring says, whatever angle it begins with."""

from __future__ import annotations

import numpy as np

from sparse_recon.lab.simulate.virtual_cameras import camera_ring


def test_a_whole_turn_is_divided_evenly_from_any_start():
    for start in np.random.default_rng(0).uniform(0.0, 360.0, 50):
        ring = {"azimuth_deg": (start, start + 360.0), "jitter_deg": 0.0, "target_jitter_m": 0.0}
        a, b = camera_ring(2, np.random.default_rng(0), (0.0, 0.0, 0.0), **ring)
        towards = [T[:2, 3] / np.linalg.norm(T[:2, 3]) for T in (a, b)]
        assert np.dot(*towards) < -0.999
