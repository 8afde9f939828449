"""The network: a small U-Net that says of each pixel whether it is a thing, and where that thing's centre is.

Centres and offsets as in Panoptic-DeepLab (Cheng et al., CVPR 2020), without classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_recon.observe.segmenter.layout import CHANNELS, OUTPUTS, Widths


def block(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return convolution, batch normalisation and ReLU."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class SegmenterNet(nn.Module):
    """(B, 10, H, W) features to (B, 4, H, W): logits of thing and of its centre, offset to that in `OFFSET_PX`."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        w = widths
        self.widths = widths
        self.enter = nn.Sequential(block(CHANNELS, w.half, 2), block(w.half, w.half))
        self.down4 = nn.Sequential(block(w.half, w.quarter, 2), block(w.quarter, w.quarter))
        self.down8 = nn.Sequential(block(w.quarter, w.eighth, 2), block(w.eighth, w.eighth))
        self.down16 = nn.Sequential(
            block(w.eighth, w.sixteenth, 2),
            block(w.sixteenth, w.sixteenth),
            block(w.sixteenth, w.sixteenth, dilation=2),
            block(w.sixteenth, w.sixteenth, dilation=4),
        )
        self.up8 = nn.Sequential(block(w.sixteenth + w.eighth, w.eighth), block(w.eighth, w.eighth))
        self.up4 = nn.Sequential(block(w.eighth + w.quarter, w.quarter), block(w.quarter, w.quarter))
        self.up2 = nn.Sequential(block(w.quarter + w.half, w.half), block(w.half, w.half))
        self.spread = nn.Conv2d(w.half, 4 * w.full, 1)
        self.full = nn.Sequential(block(w.full + CHANNELS, w.full), nn.Conv2d(w.full, OUTPUTS, 3, 1, 1))
        last = self.full[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        with torch.no_grad():
            last.bias.copy_(torch.tensor([-1.5, -4.0, 0.0, 0.0]))  # things are rare, their centres more so

    def forward(self, x: Tensor) -> Tensor:
        x2 = self.enter(x)
        x4 = self.down4(x2)
        x8 = self.down8(x4)
        y = self.down16(x8)
        for step, skip in ((self.up8, x8), (self.up4, x4), (self.up2, x2)):
            y = step(torch.cat([_doubled(y), skip], dim=1))
        return self.full(torch.cat([F.pixel_shuffle(self.spread(y), 2), x], dim=1))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
