"""Pictures of objects with the cameras that took them, as models of posed views are shown them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sparse_recon.complete.latent.cameras import SphericalCamera, square_lens
from sparse_recon.complete.sparsefusion.cameras import OBJECT_UNITS, NdcCameras, depth_range, ndc_cameras
from sparse_recon.complete.sparsefusion.eft import Context
from sparse_recon.complete.sparsefusion.eft_rays import CameraTensors, Rays, query_rays
from sparse_recon.lab.training.views.view_set import ViewSet
from sparse_recon.types import Float64

# Share of the shown pictures that were taken with the camera turned about its axis by quarters of a turn.
TURNED = 0.5
# By a quarter of a turn, counterclockwise as pictures are looked at; rows, x left, y up.
_QUARTER = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, eq=False)
class Scene:
    """Some pictures of an object that are shown, and one that is asked for.

    Attributes
    ----------
    pictures : (N, 3, P, P) float32 in [0, 1], on black.
    cameras : N that took them.
    query : the one that took `asked`.
    asked : (3, P, P) float32 in [0, 1], on black.
    inside : (1, P, P) bool, where it shows the object.
    depth : (P, P) float32, along its optical axis, scene units, infinite beside the object.
    """

    pictures: Tensor
    cameras: NdcCameras
    query: NdcCameras
    asked: Tensor
    inside: Tensor
    depth: Tensor

    def context(self, pictures: Tensor, maps: Tensor) -> Context:
        """Return what the transformer is shown: pictures, their maps, and their cameras relative to the asked one."""
        return Context(pictures, maps, CameraTensors.of(self.cameras.relative_to(self.query), pictures.device))

    def rays(self, side: int, image_side: int, points: int) -> Rays:
        """Return the rays of the asked camera, a map of `side` pixels row by row."""
        own = CameraTensors.of(self.query.relative_to(self.query))
        return query_rays(own, side, image_side, *depth_range(self.cameras), points)

    def ray_colors(self, side: int) -> tuple[Tensor, Tensor]:
        """Return the colours (side^2, 3) that those rays are to have, and which of them (side^2,) meet the object."""
        # Rays go from corner pixel to corner pixel; a ray stands for about as many pixels as lie between two.
        across = 2 * (self.asked.shape[-1] // side // 2) + 1
        smooth = functional.avg_pool2d(self.asked, across, 1, across // 2, count_include_pad=False)
        both = torch.cat([smooth, self.inside.float()])
        at_rays = functional.interpolate(both[None], side, mode="bilinear", align_corners=True)[0].flatten(1).T
        return at_rays[:, :3], at_rays[:, 3] > 0.5

    def ray_depths(self, side: int) -> Tensor:
        """Return at which depth (side^2,) along the optical axis those rays meet the object; infinite: they do not."""
        nearest = torch.linspace(0, self.depth.shape[-1] - 1, side).round().long()
        return self.depth[nearest][:, nearest].flatten()

    def nearest(self) -> int:
        """Return which of the shown cameras looks from the direction nearest to that of the asked one."""
        centres = self.cameras.centres()
        towards = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        return int((towards @ self.query.centres()[0] / np.linalg.norm(self.query.centres())).argmax())


class PosedViews:
    """The pictures of a set, on black, with cameras in scene units."""

    def __init__(self, views: ViewSet) -> None:
        self.views = views
        rows = views.cameras.reshape(-1, 4).double().numpy()
        side = views.rgb.shape[-1]
        T_obj_cam = [SphericalCamera(*(float(v) for v in row[:3])).T_obj_cam() for row in rows]
        lenses = [square_lens(side, float(row[3]) * side) for row in rows]
        self._cameras = ndc_cameras(T_obj_cam, lenses, 1.0 / OBJECT_UNITS)

    def scenes(
        self, objects: Tensor, order: Tensor, scale: float, generator: torch.Generator | None = None
    ) -> list[Scene]:
        """Return a scene of each object.

        Parameters
        ----------
        objects : (B,) numbers.
        order : (B, N + 1) views of it: those that are shown, and the one that is asked for.
        scale : largest share by which objects are larger or smaller than told.
        generator : draws scales, and turns of the shown cameras about their axes; None: none.
        """
        found = []
        for number, views in zip(objects.tolist(), order.tolist(), strict=True):
            cameras = self._cameras[[number * self.views.count + view for view in views]]
            pictures = self.views.rgb[number, views].float() / 255
            units = 1.0
            if generator is not None:
                units = np.exp(float(torch.rand((), generator=generator) * 2 - 1) * np.log1p(scale))
                quarters = torch.randint(1, 4, (len(views),), generator=generator)
                turned = torch.rand(len(views), generator=generator) < TURNED
                quarters[~turned] = 0
                quarters[-1] = 0
                cameras = _turned(NdcCameras(cameras.R, units * cameras.T, cameras.focal, cameras.principal), quarters)
                pictures = torch.stack(
                    [torch.rot90(x, int(q), (-2, -1)) for x, q in zip(pictures, quarters, strict=True)]
                )
            inside = self.views.mask[number, views[-1]] > 127
            depth = self.views.depth[number, views[-1]].float() * (OBJECT_UNITS * units)
            found.append(Scene(pictures[:-1], cameras[:-1], cameras[len(views) - 1 :], pictures[-1], inside, depth))
        return found


def _turned(cameras: NdcCameras, quarters: Tensor) -> NdcCameras:
    """Return cameras whose square pictures are turned counterclockwise, about the middle, by quarters of a turn."""
    turns: Float64 = np.stack([np.linalg.matrix_power(_QUARTER, int(q)) for q in quarters])
    return NdcCameras(
        cameras.R @ turns,
        np.einsum("nj,njk->nk", cameras.T, turns),
        np.where((quarters.numpy() % 2 == 1)[:, None], cameras.focal[:, ::-1], cameras.focal),
        np.einsum("nj,njk->nk", cameras.principal, turns[:, :2, :2]),
    )
