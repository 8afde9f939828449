"""The network at work: one RGB-D frame and the plane under it in, its things out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparse_recon.observe.segment import SupportPlane
from sparse_recon.observe.segmenter.decoding import Instances, decoded, enlarged
from sparse_recon.types import Float32, Frame

if TYPE_CHECKING:
    from sparse_recon.observe.segmenter.network import SegmenterNet

WIDTH_PX = 320  # of the image that the network sees, about


class Segmenter:
    """Tells things apart in single frames."""

    def __init__(self, net: SegmenterNet) -> None:
        self._net = net

    def segment(self, frame: Frame, plane: SupportPlane) -> Instances:
        """Return the things of a frame with depth, in its own resolution.

        Parameters
        ----------
        plane : what carries them; heights are measured from it.
        """
        found = decoded(self.maps(frame, plane))
        return enlarged(found, frame.intrinsics.height, frame.intrinsics.width)

    def maps(self, frame: Frame, plane: SupportPlane) -> Float32:
        """Return the network's answer, (4, h, w) float32, for an image about `WIDTH_PX` wide."""
        import cv2
        import torch

        from sparse_recon.observe.segmenter.features import features
        from sparse_recon.observe.segmenter.layout import STRIDE

        assert frame.depth_m is not None
        step = max(1, round(frame.intrinsics.width / WIDTH_PX))
        depth_m = np.ascontiguousarray(frame.depth_m[::step, ::step])
        height, width = depth_m.shape
        rgb = cv2.resize(frame.rgb, (width, height), interpolation=cv2.INTER_AREA)
        K = np.array([frame.intrinsics.fx, frame.intrinsics.fy, frame.intrinsics.cx, frame.intrinsics.cy]) / step
        up_cam = frame.T_world_cam[:3, :3].T @ plane.up_world
        height_m = plane.height_m - float(plane.up_world @ frame.T_world_cam[:3, 3])
        arrays = (rgb, depth_m, np.array([*up_cam, height_m], np.float32), K.astype(np.float32))
        with torch.inference_mode():
            x = features(*(torch.from_numpy(a)[None] for a in arrays))
            x = torch.nn.functional.pad(x, (0, -width % STRIDE, 0, -height % STRIDE))
            y = self._net(x.contiguous(memory_format=torch.channels_last))
        return np.asarray(y[0, :, :height, :width].numpy(), np.float32)
