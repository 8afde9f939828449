"""A household shape alone on white: pictures, masks and depth from any camera, a score that is always right."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from sparse_recon.completion import DenoisedPicture, InputView, TargetSchedule
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.evidence.depth_noise import depth_sigma
from sparse_recon.fuse.radiance.rays import square_camera
from sparse_recon.fuse.radiance.viewpoints import random_viewpoints, towards_origin
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.household import make_shape
from sparse_recon.lab.simulate.render import Renderer
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.types import Frame, GeneratedView, ObjectFrame, ObjectView, ObjectViews, TriangleMesh


class Studio:
    def __init__(self, kind: str = "drill") -> None:
        shape = make_shape(kind, np.random.default_rng(5))
        vertices = shape.vertices_obj - 0.5 * (shape.vertices_obj.min(axis=0) + shape.vertices_obj.max(axis=0))
        self.shape = replace(shape, vertices_obj=vertices)
        nothing = Shape("none", np.eye(3) * 1e-6, np.array([[0, 1, 2]], np.int32), np.zeros((3, 3), np.uint8))
        self._renderer = Renderer(replace(scene_of([self.shape], [np.eye(4)]), table=nothing))
        self.unit_m = float(self.shape.size_m.max())
        self.object_frame = ObjectFrame(np.eye(4), 0.625 * self.unit_m)
        self.truth = TriangleMesh(vertices.astype(np.float32), self.shape.faces)

    def shot(self, camera, T_obj_cam):
        seen = self._renderer.render(camera, T_obj_cam, shadows=False)
        mask = seen.labels == 1
        return np.where(mask[..., None], seen.rgb, np.uint8(255)), mask, seen.depth_m

    def generated(self, count: int = 8, size: int = 96) -> tuple[GeneratedView, ...]:
        camera, made = square_camera(size, 1.09 * size), []
        for number in range(count):
            turn, up = 2 * np.pi * number / count, np.deg2rad((30.0, -20.0)[number % 2])
            eye = 2.0 * self.unit_m * np.array([np.cos(turn) * np.cos(up), np.sin(turn) * np.cos(up), np.sin(up)])
            T = look_at(eye, (0, 0, 0))
            rgb, mask, _ = self.shot(camera, T)
            frame = Frame(rgb, None, camera, T, number)
            made.append(GeneratedView(frame, mask, np.full(mask.shape, 0.9, np.float32), "oracle", 0))
        return tuple(made)

    def observed(self) -> ObjectViews:
        camera = square_camera(160, 180.0)
        T = look_at(2.5 * self.unit_m * np.array([0.66, 0.45, 0.6]), (0, 0, 0))
        rgb, mask, depth_m = self.shot(camera, T)
        depth_m = np.where(mask, depth_m, np.float32(np.nan))
        view = ObjectView(
            Frame(rgb, depth_m, camera, T, 0), mask, np.zeros(mask.shape, bool), depth_sigma(depth_m, DepthConfig())
        )
        return ObjectViews("drill", (view,), self.object_frame)


@lru_cache(maxsize=2)
def studio(kind: str = "drill") -> Studio:
    return Studio(kind)


class OracleScore:
    """Answers with the truth, whatever it is shown."""

    def __init__(self, shown: Studio, size: int = 24) -> None:
        self._studio = shown
        self.channels, self.size, self.device = 3, size, "cpu"
        self.focal, self.unit_m = 1.09 * size, shown.unit_m
        self.background = torch.ones(3, size, size)
        self.sigmas = np.geomspace(12.0, 0.1, 50)
        self.radius, self.height = (1.8, 2.2), (-0.5, 2.2)
        self.T_obj_input = look_at((1.5, 0.8, 1.05), (0, 0, 0))
        self.conditioning_image = self.picture(self.T_obj_input)

    def picture(self, T_obj_cam):
        T = pose(T_obj_cam[:3, :3], self.unit_m * T_obj_cam[:3, 3])
        rgb, _, _ = self._studio.shot(square_camera(2 * self.size, 2 * self.focal), T)
        smaller = rgb.astype(np.float32).reshape(self.size, 2, self.size, 2, 3).mean((1, 3)) / 255.0
        return torch.from_numpy(smaller).permute(2, 0, 1)

    def denoised(self, noisy, sigma, T_obj_cam):
        return torch.stack([self.picture(T) for T in T_obj_cam])

    def decoded(self, pictures):
        return pictures


class OracleTarget:
    """Takes every rendering for the truth."""

    def __init__(
        self, shown: Studio, schedule: TargetSchedule, background: float = 1.0, size: int = 24, enlarged: int = 1
    ) -> None:
        self._studio = shown
        self.size, self.enlarged, self.focal = size, enlarged, 1.09 * size
        self.unit_m, self.background, self.device = shown.unit_m, background, "cpu"
        self.schedule, self.perceptual = schedule, None
        eyes = random_viewpoints(40, (1.8, 2.2), (-1.2, 2.2), torch.Generator().manual_seed(0))
        self.cameras = towards_origin(eyes)
        self.inputs = (InputView(*self.shot(self.cameras[0]), self.cameras[0]),)
        self.asked: list[tuple[int, float, tuple[int, ...]]] = []
        self._seen: dict[int, DenoisedPicture] = {}

    def shot(self, T_obj_cam):
        """Colours (3, Q, Q) and mask (Q, Q) of the object on the background."""
        side, T = self.size * self.enlarged, pose(T_obj_cam[:3, :3], self.unit_m * T_obj_cam[:3, 3])
        rgb, mask, _ = self._studio.shot(square_camera(2 * side, 2 * self.focal * self.enlarged), T)
        rgb = np.where(mask[..., None], rgb / 255.0, self.background)
        both = np.dstack([rgb, mask]).astype(np.float32).reshape(side, 2, side, 2, 4).mean((1, 3))
        picture = torch.from_numpy(both).permute(2, 0, 1)
        return picture[:3], picture[3]

    def denoised(self, rgb, camera, level, generator):
        self.asked.append((camera, level, tuple(rgb.shape)))
        if camera not in self._seen:
            rgb, mask = self.shot(self.cameras[camera])
            self._seen[camera] = DenoisedPicture(rgb, 0.5, mask)
        return self._seen[camera]
