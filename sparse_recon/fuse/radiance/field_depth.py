"""What one camera sees of a radiance field."""

from __future__ import annotations

from dataclasses import dataclass

from sparse_recon.types import Bool, CameraIntrinsics, Float32, Float64


@dataclass(frozen=True, eq=False)
class FieldDepth:
    """What one camera sees of a field; metres in the object frame.

    Attributes
    ----------
    depth_m : (H, W) float32 along optical z, at which half of the light that is lost is lost; NaN beside the object.
    spread_m : (H, W) float32, standard deviation of the depths at which the light ends.
    picture : (H, W, C) float32, features over a background of ones.
    """

    intrinsics: CameraIntrinsics
    T_obj_cam: Float64
    depth_m: Float32
    spread_m: Float32
    picture: Float32

    @property
    def mask(self) -> Bool:
        return self.depth_m > 0
