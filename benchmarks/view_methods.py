"""Ways from shown pictures of an object to views of it, by name: trivial ones, and mini weights of published models."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from scipy.spatial import cKDTree

from sparse_recon.complete.latent.cameras import SphericalCamera, model_intrinsics
from sparse_recon.complete.latent.conditioning_image import ConditioningImage
from sparse_recon.complete.latent.generated_views import on_white
from sparse_recon.complete.sparsefusion.cameras import OBJECT_UNITS, NdcCameras, ndc_cameras
from sparse_recon.config.session_config import load_config
from sparse_recon.lab.training.views.bodies import Body, VertexColors
from sparse_recon.lab.training.views.raycast import Pictures, pictures
from sparse_recon.lab.training.views.view_set import from_white_to_black
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Frame, UInt8

VIEWS = 16
UNIT_M = 0.2
FINER = 4


@dataclass(frozen=True, eq=False)
class Seen:
    """One picture (P, P, 3) of an object, on white, with mask, depth in longest sides, and camera."""

    rgb: UInt8
    mask: UInt8
    depth: np.ndarray
    camera: SphericalCamera


@dataclass(frozen=True, eq=False)
class Shown:
    """One object.

    Attributes
    ----------
    shown : pictures that are shown; methods that know one image take the first.
    truth : the 16 views that are asked for, from the azimuth of the first on.
    asked : numbers of those at whose azimuth nothing is ever shown.
    """

    name: str
    shown: list[Seen]
    truth: list[Seen]
    asked: list[int]

    @property
    def cameras(self) -> list[SphericalCamera]:
        return [view.camera for view in self.truth]

    def of(self, count: int) -> Shown:
        """Return the same with the first pictures alone."""
        return Shown(self.name, self.shown[:count], self.truth, self.asked)


T = TypeVar("T")
# Returns 16 pictures on white; and those on black of which they were made, where black may be the object. The number is
# a seed.
Method = Callable[[Shown, int], tuple[UInt8, UInt8 | None]]


def shown_object(seen: Pictures, name: str, number: int, most: int) -> Shown:
    """Choose `most` views of an object to be shown, and turn the others so that the first is at the first's azimuth."""
    rng = np.random.default_rng([7, number])
    first = int(rng.integers(VIEWS))
    others = rng.permutation([k for k in range(VIEWS) if k != first])
    azimuths = [first, *(int(k) for k in others[: most - 1])]
    order = [(first + k) % VIEWS for k in range(VIEWS)]

    def view(k: int) -> Seen:
        camera = SphericalCamera(*(float(v) for v in seen.cameras[k, :3]))
        return Seen(seen.rgb[k], seen.mask[k], seen.depth[k].astype(np.float32), camera)

    asked = [k for k, place in enumerate(order) if place not in azimuths]
    return Shown(name, [view(VIEWS + k) for k in azimuths], [view(k) for k in order], asked)


def nearest(args: argparse.Namespace) -> Method:
    """Return the shown picture whose camera looks from the nearest direction, for every view."""

    def draw(o: Shown, number: int) -> tuple[UInt8, UInt8 | None]:
        towards = np.stack([view.camera.centre() / view.camera.radius for view in o.shown])
        best = [int((towards @ camera.centre()).argmax()) for camera in o.cameras]
        return np.stack([o.shown[k].rgb for k in best]), None

    return draw


def hull(args: argparse.Namespace) -> Method:
    """Return nothing: what the shown masks allow is measured apart."""
    return lambda o, number: (np.stack([np.full_like(view.rgb, 255) for view in o.truth]), None)


def carve(args: argparse.Namespace) -> Method:
    """Return views of the coloured mesh that carving makes of the shown pictures with their depth."""
    return lambda o, number: (carved(o, number), None)


def carved(o: Shown, number: int) -> UInt8:
    session = CompletionSession(load_config({"model": "carve", "evidence.grid": 48}))
    # Every pixel four times along both edges: as many points as a camera's image would have.
    side = len(o.shown[0].rgb)
    intrinsics = model_intrinsics(FINER * side)
    for stamp, view in enumerate(o.shown, start=1):
        inside = view.mask > 127
        depth_m = np.where(inside & np.isfinite(view.depth), view.depth * UNIT_M, np.nan).astype(np.float32)
        pixels = (finer(view.rgb), finer(depth_m), intrinsics, view.camera.T_obj_cam(UNIT_M))
        session.add_frame(Frame(*pixels, stamp, finer(inside.astype(np.int32))))
    try:
        done = session.complete(CompletionRequest(label=1))
    except Exception as error:  # whatever it refuses an object with, which then counts as an empty picture
        print(f"carve refuses {o.name}: {error}")
        return np.stack([np.full_like(view.rgb, 255) for view in o.truth])
    vertices = done.nominal.vertices_world.astype(np.float64)
    colors = VertexColors(done.nominal.faces, done.colors[cKDTree(done.points_world).query(vertices)[1]])
    return pictures(Body(o.name, vertices / UNIT_M, done.nominal.faces, colors), o.cameras, side).rgb


def finer(image: T) -> T:
    """Return an image with every pixel repeated along both edges."""
    return image.repeat(FINER, 0).repeat(FINER, 1)  # type: ignore[attr-defined]


def zero123(args: argparse.Namespace) -> Method:
    """Return the mini of Zero-1-to-3: each view alone."""
    from sparse_recon.complete.zero123.model import Zero123Model
    from sparse_recon.complete.zero123.parameters import Zero123Config
    from sparse_recon.complete.zero123.sampling import ViewSampler
    from sparse_recon.complete.zero123.weights import mini

    size, tensors = mini()
    config = Zero123Config(steps=args.steps, guidance=args.guidance, sampler="ddim", draws=args.draws, at_once=VIEWS)
    sampler = ViewSampler(Zero123Model(tensors, size, "cpu", torch.float32), config)

    def draw(o: Shown, number: int) -> tuple[UInt8, UInt8 | None]:
        seeds = [number * 1000 + k for k in range(VIEWS)]
        return sampler.generate(conditioning(o), o.cameras, seeds, config, lambda *step: None), None

    return draw


def syncdreamer(args: argparse.Namespace) -> Method:
    """Return the mini of SyncDreamer: all views together."""
    from sparse_recon.complete.syncdreamer.model import SyncDreamerModel
    from sparse_recon.complete.syncdreamer.parameters import SyncDreamerConfig
    from sparse_recon.complete.syncdreamer.sampling import SetSampler
    from sparse_recon.complete.syncdreamer.weights import mini

    size, tensors = mini()
    config = SyncDreamerConfig(steps=args.steps, guidance=args.guidance, draws=args.draws, at_once=VIEWS)
    sampler = SetSampler(SyncDreamerModel(tensors, size, "cpu", torch.float32), config)
    return lambda o, number: (sampler.generate(conditioning(o), number, config, lambda *step: None), None)


def eft(args: argparse.Namespace) -> Method:
    """Return the mini of SparseFusion's feature transformer, which draws blurred colours."""
    return _posed(args, "eft")


def sparsefusion(args: argparse.Namespace) -> Method:
    """Return the mini of SparseFusion: each view alone, of all shown pictures."""
    return _posed(args, "vldm")


def _posed(args: argparse.Namespace, generator: str) -> Method:
    from sparse_recon.complete.sparsefusion.model import SparseFusionModel
    from sparse_recon.complete.sparsefusion.parameters import SparseFusionConfig
    from sparse_recon.complete.sparsefusion.sampling import ViewSampler
    from sparse_recon.complete.sparsefusion.weights import mini

    size, tensors = mini()
    config = SparseFusionConfig(steps=args.posed_steps, generator=generator, at_once=VIEWS)
    sampler = ViewSampler(SparseFusionModel(tensors, size, "cpu", torch.float32), config)

    def ndc(cameras: list[SphericalCamera]) -> NdcCameras:
        lenses = [model_intrinsics(size.image_side)] * len(cameras)
        return ndc_cameras([camera.T_obj_cam() for camera in cameras], lenses, 1.0 / OBJECT_UNITS)

    def draw(o: Shown, number: int) -> tuple[UInt8, UInt8 | None]:
        dark = [from_white_to_black(view.rgb, view.mask[..., None]) for view in o.shown]
        shown = torch.from_numpy(np.stack(dark)).permute(0, 3, 1, 2).float() / 255
        seeds = [number * 1000 + k for k in range(VIEWS)]
        cameras = ndc([view.camera for view in o.shown])
        drawn = sampler.generate(shown, cameras, ndc(o.cameras), seeds, config, lambda *step: None)
        return np.stack([on_white(picture, generator == "eft")[0] for picture in drawn]), drawn

    return draw


def conditioning(o: Shown) -> ConditioningImage:
    """Return the shown picture as models take it."""
    rgb, mask = (image.astype(np.float32) / np.float32(255) for image in (o.shown[0].rgb, o.shown[0].mask))
    return ConditioningImage(rgb, mask, o.shown[0].camera, ())


METHODS: dict[str, Callable[[argparse.Namespace], Method]] = {
    "input": nearest,
    "hull": hull,
    "carve": carve,
    "zero123": zero123,
    "syncdreamer": syncdreamer,
    "eft": eft,
    "sparsefusion": sparsefusion,
}
