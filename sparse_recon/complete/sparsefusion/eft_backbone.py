"""ResNet-18 (He et al., CVPR 2016), with the names that torchvision gives its tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparse_recon.complete.sparsefusion.sizes import LEVELS_USED

CLASSES = 1000
BLOCKS_OF_A_LEVEL = 2


class ResNet18(nn.Module):
    """Stem and levels of two residual blocks each.

    Parameters
    ----------
    widths : channels of three levels, or of four: then with the classifier of ImageNet, which with its level is held
        for the files that hold it, and never run.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = _Norm(widths[0])
        before = widths[0]
        for k, width in enumerate(widths):
            blocks = [_Block(before, width, stride=1 if k == 0 else 2)]
            blocks += [_Block(width, width) for _ in range(BLOCKS_OF_A_LEVEL - 1)]
            self.add_module(f"layer{k + 1}", nn.Sequential(*blocks))
            before = width
        if len(widths) > LEVELS_USED:
            self.fc = nn.Linear(before, CLASSES)

    def use_batch_statistics(self, on: bool) -> None:
        """Normalise with the averages of the pictures at hand from now on, or with those of training."""
        for module in self.modules():
            if isinstance(module, _Norm):
                module.of_the_batch = on

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the maps (N, C, P / 2, P / 2) of stem and levels, coarser ones enlarged, of pictures (N, 3, P, P)."""
        x = functional.relu(self.bn1(self.conv1(pictures)))
        maps = [x]
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for k in range(LEVELS_USED):
            x = self.get_submodule(f"layer{k + 1}")(x)
            maps.append(x)
        side = maps[0].shape[-2:]
        return torch.cat([functional.interpolate(m, side, mode="bilinear", align_corners=True) for m in maps], dim=1)


class _Norm(nn.BatchNorm2d):
    """Normalises with the averages of training, or with those of the pictures at hand; then it keeps none of them."""

    of_the_batch = False

    def forward(self, x: Tensor) -> Tensor:
        if self.of_the_batch:
            return functional.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        return super().forward(x)


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = _Norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = _Norm(width)
        if stride > 1 or before != width:
            self.downsample = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), _Norm(width))
        else:
            self.downsample = nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.downsample(x))
