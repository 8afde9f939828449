"""The epipolar feature transformer: what posed pictures say of any ray, as a colour and as features (paper, 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from sparse_recon.complete.sparsefusion.eft_backbone import ResNet18
from sparse_recon.complete.sparsefusion.eft_layers import Stack
from sparse_recon.complete.sparsefusion.eft_rays import (
    CameraTensors,
    Rays,
    embedded_line,
    harmonic,
    harmonic_width,
    sampled,
)
from sparse_recon.complete.sparsefusion.sizes import EftSize

# Pairs of a ray and a view that go through the transformers at once: what is called between them comes often enough.
PAIRS, FEWEST_RAYS = 128, 8


@dataclass(frozen=True, eq=False)
class Context:
    """What is known of an object: N pictures, their maps, and their cameras.

    Attributes
    ----------
    pictures : (N, 3, P, P) in [0, 1], on black.
    maps : (N, C, P / 2, P / 2).
    """

    pictures: Tensor
    maps: Tensor
    cameras: CameraTensors


@dataclass(frozen=True, eq=False)
class EftAnswer:
    """What is seen along R rays.

    Attributes
    ----------
    rgb : (R, 3) in [0, 1].
    features : (R, width).
    point_weights : (N, R, D) of each point on a ray, sums of 1 over D: where a view finds the surface.
    view_weights : (N, R) of each view, sums of 1 over N.
    """

    rgb: Tensor
    features: Tensor
    point_weights: Tensor
    view_weights: Tensor


class EpipolarFeatureTransformer(nn.Module):
    """Pictures with cameras and a ray to its colour and features.

    All is relative to the camera that the rays are of: it stands at the origin and looks along +z.

    Its authors run it as in training: with averages of the pictures at hand in place of the trained ones, and with
    dropout. That is `authors_mode`; it needs a source of chance in each call, and is off by default.
    """

    def __init__(self, size: EftSize) -> None:
        super().__init__()
        self.size = size
        self.in_authors_mode = False
        width, line, depth = size.width, harmonic_width(6, size.octaves), harmonic_width(1, size.octaves)
        self.encoder_model = ResNet18(size.backbone)
        self.t1 = Stack(line + depth + size.map_channels + 3, width, size.layers)
        self.t2 = Stack(2 * line + depth + width, width, size.layers)
        self.t2_attn = nn.Linear(width, 1)
        self.t3 = Stack(2 * line + width, width, size.layers)
        self.t3_attn = nn.Linear(width, 1)
        self.color_layer = nn.Sequential(nn.Linear(width, 3), nn.Sigmoid())

    def authors_mode(self, on: bool) -> None:
        """Run as the authors do from now on, or without chance and with the averages of training."""
        self.in_authors_mode = on
        self.encoder_model.use_batch_statistics(on)

    def maps(self, pictures: Tensor) -> Tensor:
        """Return the maps (N, C, P / 2, P / 2) of pictures (N, 3, P, P)."""
        return self.encoder_model(pictures)

    def forward(self, context: Context, rays: Rays, dropout: Generator | None = None) -> EftAnswer:
        """Return what is seen along rays.

        Parameters
        ----------
        dropout : draws what is dropped in the authors' mode, or in training; None: nothing is.
        """
        assert dropout is not None or not self.in_authors_mode, "the authors' mode drops by chance"
        octaves, cameras = self.size.octaves, context.cameras
        points = rays.points()  # (R, D, 3)
        count, depths = points.shape[:2]

        # 1. What each view shows at each point, and the line on which it does.
        places = cameras.projected(points.reshape(-1, 3))  # (N, R * D, 2)
        shown = torch.cat([sampled(context.maps, places), sampled(context.pictures, places)], dim=-1)
        shown = shown.unflatten(1, (count, depths))  # (N, R, D, C + 3)
        views = len(shown)
        centres = cameras.centres()[:, None, None].expand(views, count, depths, 3)
        towards = torch.nn.functional.normalize(points - centres, dim=-1)
        reference = embedded_line(centres, towards, octaves)  # (N, R, D, line)
        depth = harmonic(rays.depths[..., None], octaves).expand(views, -1, -1, -1)
        query = embedded_line(rays.origins, torch.nn.functional.normalize(rays.directions, dim=-1), octaves)
        query = query[None, :, None].expand(views, count, depths, -1)

        # 2. Views talk to each other at each point.
        told = torch.cat([reference, depth, shown], dim=-1).permute(1, 2, 0, 3).flatten(0, 1)  # (R * D, N, .)
        found = self.t1(told, dropout).unflatten(0, (count, depths)).permute(2, 0, 1, 3)  # (N, R, D, width)

        # 3. The points of a ray talk to each other in each view, and become one.
        told = torch.cat([query, reference, depth, found], dim=-1).flatten(0, 1)  # (N * R, D, .)
        found = self.t2(told, dropout).unflatten(0, (views, count))
        point_weights = self.t2_attn(found).softmax(dim=2)
        found = (found * point_weights).sum(dim=2)  # (N, R, width)

        # 4. Views talk to each other of the ray, and become one.
        told = torch.cat([query[:, :, 0], reference[:, :, depths // 2], found], dim=-1).transpose(0, 1)
        found = self.t3(told, dropout).transpose(0, 1)
        view_weights = self.t3_attn(found).softmax(dim=0)
        features = (found * view_weights).sum(dim=0)  # (R, width)
        return EftAnswer(self.color_layer(features), features, point_weights[..., 0], view_weights[..., 0])

    def at_rays(
        self,
        context: Context,
        rays: Rays,
        dropout: Generator | None = None,
        checkpoint: Callable[[], None] = lambda: None,
        chunk: int | None = None,
    ) -> EftAnswer:
        """Return what is seen along any number of rays, some of them at once, which changes nothing but dropout.

        Parameters
        ----------
        checkpoint : called between chunks; may raise.
        chunk : rays at once; None: fewer, the more views there are.
        """
        chunk = chunk or max(FEWEST_RAYS, PAIRS // len(context.pictures))
        answers = []
        for first in range(0, len(rays), chunk):
            checkpoint()
            answers.append(self(context, rays[first : first + chunk], dropout))
        return EftAnswer(
            torch.cat([a.rgb for a in answers]),
            torch.cat([a.features for a in answers]),
            torch.cat([a.point_weights for a in answers], dim=1),
            torch.cat([a.view_weights for a in answers], dim=1),
        )
