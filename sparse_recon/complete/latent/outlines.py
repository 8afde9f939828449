"""The outlines of the generated views: how far points lie within them, one by one and all together."""

from __future__ import annotations

import numpy as np

from sparse_recon.types import Bool, CameraIntrinsics, Float64

# So many views may cut away what all others show: outlines of drawn views are not exact.
MAY_DISAGREE = 1


class Outlines:
    """Signed distances to the outlines of pictures with known cameras; those that show nothing have no say.

    Parameters
    ----------
    masks : (V, H, W) of the object; at least one shows it.
    T_cam_obj : (V, 4, 4).
    intrinsics : of all pictures.
    """

    def __init__(self, masks: Bool, T_cam_obj: Float64, intrinsics: CameraIntrinsics) -> None:
        from scipy.ndimage import distance_transform_edt

        shown = masks.any(axis=(1, 2))
        self._T_cam_obj, self._K = T_cam_obj[shown], intrinsics.K
        # Half a pixel: the outline runs between pixels.
        self._signed_px = np.stack(
            [
                np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask))
                for mask in masks[shown]
            ]
        ).astype(np.float32)

    def __len__(self) -> int:
        return len(self._signed_px)

    def depth_within(self, points_obj: Float64, may_disagree: int = MAY_DISAGREE) -> Float64:
        """Return (N,) how deep points (N, 3) lie in the solid that all outlines allow; negative outside.

        In the unit of the points, measured across the rays of the views.
        """
        signed = np.stack([self._within(k, points_obj) for k in range(len(self))])
        rank = min(may_disagree, len(self) - 1)
        return np.asarray(np.partition(signed, rank, axis=0)[rank])

    def _within(self, view: int, points_obj: Float64) -> Float64:
        from scipy.ndimage import map_coordinates

        T = self._T_cam_obj[view]
        seen = points_obj @ T[:3, :3].T + T[:3, 3]
        z = np.maximum(seen[:, 2], 1e-6)
        u = self._K[0, 0] * seen[:, 0] / z + self._K[0, 2]
        v = self._K[1, 1] * seen[:, 1] / z + self._K[1, 2]
        signed = map_coordinates(self._signed_px[view], np.stack([v, u]), order=1, mode="nearest")
        # Beyond the border of the picture the distance to it is added.
        height, width = self._signed_px[view].shape
        beyond = np.hypot(u - np.clip(u, 0, width - 1), v - np.clip(v, 0, height - 1))
        return np.asarray((signed - beyond) * z / self._K[0, 0], np.float64)
