"""How far a measured depth may be off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.types import Float32


def depth_sigma(depth_m: Float32, config: DepthConfig) -> Float32:
    """Return the standard deviation of depth, (H, W) float32 metres: sensor noise and pose noise in quadrature."""
    with np.errstate(invalid="ignore"):
        sensor = config.sigma_base_m + config.sigma_quadratic * (depth_m - 0.4) ** 2
        return np.sqrt(sensor**2 + config.pose_sigma_m**2).astype(np.float32)


def robust_sigma(values: npt.NDArray[np.floating]) -> float:
    """Return the standard deviation of normal errors (N,) about 0 that has their median absolute value."""
    return 1.4826 * float(np.median(np.abs(values)))
