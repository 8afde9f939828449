"""Is the way from generated views to geometry good? Measured with the truth in the place of the network.

    python benchmarks/oracle_views.py [--model syncdreamer] [--objects ../shared/data/objects]
        [--object ycb_035_power_drill ...] [--views 1] [--jitter 0] [--scale 1] [--set fit.iterations=300 ...]
        [--json FILE]

`model: syncdreamer` or `sparsefusion`, but what it draws are renderings of the scanned object from the cameras that it
asks for: SyncDreamer's sixteen, turned to the camera that is shown, the object's longest side one unit; SparseFusion's
ring, on black. So the network would draw them if it were always right. All else is as on a robot: a simulated camera
with depth, the session, placing of the set, the radiance field, evidence and fusion. Seconds are from the request to
the result, of the clock and of processors; libraries are loaded before. F-scores are those of the nominal mesh, not
aligned, at 2 % (1 %) of the diagonal of the object's box; "held_out_db" is the PSNR of pictures of the coloured mesh
from cameras between those of SyncDreamer, beside true ones. `--jitter` makes each picture one from a camera some
degrees off, `--scale` draws the object that much larger than it is; both are SyncDreamer's.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from sparse_recon.complete.latent.cameras import IMAGE_SIDE, SphericalCamera, model_intrinsics
from sparse_recon.complete.latent.conditioning_image import ConditioningImage, object_extent
from sparse_recon.complete.registry import COMPLETERS
from sparse_recon.complete.sparsefusion.cameras import OBJECT_UNITS, NdcCameras
from sparse_recon.complete.sparsefusion.completer import SparseFusionCompleter
from sparse_recon.complete.syncdreamer.cameras import view_cameras
from sparse_recon.complete.syncdreamer.completer import SyncDreamerCompleter
from sparse_recon.config.session_config import load_config
from sparse_recon.geometry.poses import pose
from sparse_recon.lab.evaluate.cases import LABEL, Case, make_case
from sparse_recon.lab.evaluate.metrics.surface import Surface, surface_distances
from sparse_recon.lab.evaluate.objects import folder_objects
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.simulate.render import Renderer
from sparse_recon.lab.simulate.scene import Scene
from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.lab.training.views.bodies import Body, VertexColors
from sparse_recon.lab.training.views.raycast import pictures
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import CameraIntrinsics, CompletedObject, Float64, TriangleMesh, UInt8

SUPERSAMPLING = 2


class Oracle:
    """Draws the first object of a scene, in the place of `SetSampler`.

    Parameters
    ----------
    centre_world : (3,) of the camera whose frame is shown.
    jitter_deg : deviation of the true cameras from those that are asked for.
    scale : of the drawn object to the true one.
    """

    def __init__(
        self,
        scene: Scene,
        centre_world: Float64,
        jitter_deg: float = 0.0,
        scale: float = 1.0,
        side: int = IMAGE_SIDE,
    ) -> None:
        nothing = Shape("none", np.eye(3) * 1e-6, np.array([[0, 1, 2]], np.int32), np.zeros((3, 3), np.uint8))
        self._renderer = Renderer(replace(scene, objects=scene.objects[:1], table=nothing))
        vertices = scene.objects[0].vertices_world
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        self._middle, self._unit_m = 0.5 * (low + high), float((high - low).max()) / scale
        self._azimuth = SphericalCamera.at(centre_world - self._middle).azimuth_rad
        self._jitter, self._side = np.deg2rad(jitter_deg), side

    def pictures(self, clean: Any, checkpoint: Any) -> UInt8:
        """Return no picture of what is seen on the way: the truth takes no steps."""
        return np.full((len(clean), self._side, self._side, 3), 255, np.uint8)

    def generate(self, image: ConditioningImage, seed: int, config: Any, on_step: Any, checkpoint: Any) -> UInt8:
        """Return what `SetSampler.generate` returns, drawn by the truth."""
        rng = np.random.default_rng(seed)
        drawn = []
        for k, camera in enumerate(view_cameras(self._azimuth)):
            checkpoint()
            polar, azimuth = rng.normal(0, self._jitter, 2)
            off = SphericalCamera(camera.polar_rad + polar, camera.azimuth_rad + azimuth, camera.radius)
            drawn.append(self.picture(self._about_middle(off), model_intrinsics(SUPERSAMPLING * self._side)))
            on_step(k + 1, 16, np.zeros((1, 16, 1)))
        return np.stack(drawn)

    def picture(self, T_world_cam: Float64, fine: CameraIntrinsics, background: int = 255) -> UInt8:
        """Return the true picture (P, P, 3), of a camera with so many times the pixels."""
        seen = self._renderer.render(fine, T_world_cam, shadows=False)
        rgb = np.where((seen.labels == 1)[..., None], seen.rgb, np.uint8(background)).astype(np.float32)
        shape = (fine.height // SUPERSAMPLING, SUPERSAMPLING, fine.width // SUPERSAMPLING, SUPERSAMPLING, 3)
        return np.asarray(rgb.reshape(shape).mean(axis=(1, 3)).round(), np.uint8)

    def held_out_db(self, result: CompletedObject) -> float:
        """Return the PSNR of pictures of a result's coloured mesh, from eight cameras at 20 degrees."""
        vertices = result.nominal.vertices_world.astype(np.float64)
        faces = result.nominal.faces
        colors = VertexColors(faces, result.colors[cKDTree(result.points_world).query(vertices)[1]])
        cameras = [SphericalCamera(np.deg2rad(70.0), self._azimuth + np.deg2rad(11.25 + 45 * k), 1.5) for k in range(8)]
        body = Body("result", (vertices - self._middle) / self._unit_m, faces, colors)
        ours = pictures(body, cameras, self._side).rgb.astype(np.float64)
        fine = model_intrinsics(SUPERSAMPLING * self._side)
        theirs = np.stack([self.picture(self._about_middle(camera), fine) for camera in cameras])
        return float(np.mean(-10 * np.log10((((ours - theirs) / 255) ** 2).mean(axis=(1, 2, 3)))))

    def _about_middle(self, camera: SphericalCamera) -> Float64:
        T = camera.T_obj_cam(self._unit_m)
        return pose(T[:3, :3], T[:3, 3] + self._middle)


class RingOracle:
    """Draws the same in the place of SparseFusion's `ViewSampler`.

    Parameters
    ----------
    T_world_centre : (4, 4), where the model's scene lies.
    scene_m : size of its unit.
    """

    def __init__(self, truth: Oracle, T_world_centre: Float64, scene_m: float) -> None:
        self._truth, self._T_world_centre, self._scene_m = truth, T_world_centre, scene_m

    def generate(
        self, shown: Any, cameras: Any, queries: NdcCameras, seeds: Any, config: Any, on_step: Any, checkpoint: Any
    ) -> UInt8:
        """Return what `ViewSampler.generate` returns, drawn by the truth."""
        drawn = []
        side = SUPERSAMPLING * IMAGE_SIDE
        for T, lens in zip(queries.T_scene_cam(self._scene_m), queries.pixels(side, side), strict=True):
            checkpoint()
            drawn.append(self._truth.picture(self._T_world_centre @ T, lens, background=0))
        return np.stack(drawn)


class OracleCompleter(SyncDreamerCompleter):
    """SyncDreamer whose network is the truth."""

    oracle: Oracle | None = None

    def load(self, config: Any, on_progress: Any) -> None:
        """Read nothing."""
        import torch.optim.adam
        from diffusers import UNet2DConditionModel  # noqa: F401, as when a network is loaded

        torch.optim.Adam([torch.zeros(1, requires_grad=True)])
        self._model = argparse.Namespace(device="none", dtype="none")

    def complete(self, task: Any) -> Any:
        """See `SyncDreamerCompleter.complete`."""
        self._sampler = OracleCompleter.oracle  # type: ignore[assignment]
        completion = super().complete(task)
        print("  " + ", ".join(f"{k} {v:.4g}" for k, v in completion.diagnostics.items() if isinstance(v, float)))
        return completion


class RingOracleCompleter(SparseFusionCompleter):
    """SparseFusion whose networks are the truth."""

    def load(self, config: Any, on_progress: Any) -> None:
        """Read nothing."""
        eft = argparse.Namespace(authors_mode=lambda on: None)
        self._model = argparse.Namespace(device="none", dtype="none", eft=eft)
        self._sampler = Any  # set for every object

    def complete(self, task: Any) -> Any:
        """See `SparseFusionCompleter.complete`."""
        middle_obj, unit_m = object_extent(task.prior, task.evidence)
        T_world_obj = task.views.object_frame.T_world_obj
        T_world_centre = T_world_obj @ pose(np.eye(3), middle_obj)
        assert OracleCompleter.oracle is not None
        self._sampler = RingOracle(OracleCompleter.oracle, T_world_centre, unit_m / OBJECT_UNITS)  # type: ignore[assignment]
        return super().complete(task)


ORACLES = {"syncdreamer": OracleCompleter, "sparsefusion": RingOracleCompleter}


def completed(
    case: Case, model: str, views: int, values: dict[str, Any], jitter_deg: float = 0.0, scale: float = 1.0
) -> tuple[CompletedObject, dict[str, float]]:
    """Return what a session makes of a case, and the seconds that it took, of the clock and of processors."""
    COMPLETERS[model] = f"{ORACLES[model].__module__}:{ORACLES[model].__name__}"
    case = case.seen_from(views)
    OracleCompleter.oracle = Oracle(case.scene, case.frames[0].T_world_cam[:3, 3], jitter_deg, scale)
    session = CompletionSession(load_config({"model": model, **values}))
    for frame in case.frames:
        session.add_frame(frame)
    session.load()
    started, processor = time.perf_counter(), time.process_time()
    result = session.complete(CompletionRequest(label=LABEL))
    took = {"seconds": time.perf_counter() - started, "processor_s": time.process_time() - processor}
    return result, took | {"held_out_db": OracleCompleter.oracle.held_out_db(result)}


def figures(result: CompletedObject, truth: TriangleMesh) -> dict[str, float]:
    """Return F-scores and the Chamfer distance of a result's mesh."""
    found = surface_distances(Surface.of_mesh(result.nominal, 20_000, 0), Surface.of_mesh(truth, 20_000, 0))
    diagonal_m = float(np.linalg.norm(np.ptp(truth.vertices_world, axis=0)))
    f_2pct, f_1pct = (found.f_score(share * diagonal_m) for share in (0.02, 0.01))
    return {"f_2pct": f_2pct, "f_1pct": f_1pct, "chamfer_mm": 1e3 * found.chamfer_m}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=ORACLES, default="syncdreamer", help="default syncdreamer")
    parser.add_argument("--objects", type=Path, default=Path("../shared/data/objects"), help="folder of scans")
    parser.add_argument("--object", nargs="*", default=["ycb_035_power_drill", "ycb_006_mustard_bottle"])
    parser.add_argument("--views", type=int, default=1, help="measured views (default 1)")
    parser.add_argument("--jitter", type=float, default=0.0, help="degrees that cameras are off (default 0)")
    parser.add_argument("--scale", type=float, default=1.0, help="of what is drawn (default 1)")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters of the session")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    if args.model != "syncdreamer" and (args.jitter, args.scale) != (0.0, 1.0):
        parser.error("--jitter and --scale are of syncdreamer")
    values: dict[str, Any] = {name: json.loads(value) for name, _, value in (text.partition("=") for text in args.set)}
    found = {}
    for scored in folder_objects(args.objects):
        if scored.name in args.object:
            case = make_case(scored, "clean", 0, Protocol())
            result, took = completed(case, args.model, args.views, values, args.jitter, args.scale)
            found[scored.name] = figures(result, case.truth) | took
            print(scored.name, {name: round(value, 3) for name, value in found[scored.name].items()}, flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
