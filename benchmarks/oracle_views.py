"""Is the way from generated views to geometry good? Measured with the truth in the place of the network.

    python benchmarks/oracle_views.py [--objects ../shared/data/objects] [--object ycb_035_power_drill ...]
        [--views 1] [--jitter 0] [--scale 1] [--set fit.iterations=300 ...] [--json FILE]

`model: syncdreamer`, but what it draws are renderings of the scanned object from its sixteen cameras: turned to the
camera that is shown, the object's longest side one unit, as the network would draw them if it were always right. All
else is as on a robot: a simulated camera with depth, the session, placing of the set, the radiance field, evidence and
fusion. Seconds are from the request to the result, of the clock and of processors; libraries are loaded before.
F-scores are those of the nominal mesh, not aligned, at 2 % (1 %) of the diagonal of the object's box. `--jitter` makes
each picture one from a camera some degrees off, `--scale` draws the object that much larger than it is.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.complete.latent.cameras import IMAGE_SIDE, SphericalCamera, model_intrinsics
from sparse_recon.complete.latent.conditioning_image import ConditioningImage
from sparse_recon.complete.registry import COMPLETERS
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
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import CompletedObject, Float64, TriangleMesh, UInt8

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
        pictures = []
        for k, camera in enumerate(view_cameras(self._azimuth)):
            checkpoint()
            polar, azimuth = rng.normal(0, self._jitter, 2)
            off = SphericalCamera(camera.polar_rad + polar, camera.azimuth_rad + azimuth, camera.radius)
            T = off.T_obj_cam(self._unit_m)
            T_world_cam = pose(T[:3, :3], T[:3, 3] + self._middle)
            side = SUPERSAMPLING * self._side
            seen = self._renderer.render(model_intrinsics(side), T_world_cam, shadows=False)
            rgb = np.where((seen.labels == 1)[..., None], seen.rgb, np.uint8(255)).astype(np.float32)
            shape = (self._side, SUPERSAMPLING, self._side, SUPERSAMPLING, 3)
            pictures.append(rgb.reshape(shape).mean(axis=(1, 3)).round().astype(np.uint8))
            on_step(k + 1, 16, np.zeros((1, 16, 1)))
        return np.stack(pictures)


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


def completed(
    case: Case, views: int, values: dict[str, Any], jitter_deg: float = 0.0, scale: float = 1.0
) -> tuple[CompletedObject, dict[str, float]]:
    """Return what a session makes of a case, and the seconds that it took, of the clock and of processors."""
    COMPLETERS["syncdreamer"] = f"{OracleCompleter.__module__}:{OracleCompleter.__name__}"
    case = case.seen_from(views)
    OracleCompleter.oracle = Oracle(case.scene, case.frames[0].T_world_cam[:3, 3], jitter_deg, scale)
    session = CompletionSession(load_config({"model": "syncdreamer", **values}))
    for frame in case.frames:
        session.add_frame(frame)
    session.load()
    started, processor = time.perf_counter(), time.process_time()
    result = session.complete(CompletionRequest(label=LABEL))
    took = {"seconds": time.perf_counter() - started, "processor_s": time.process_time() - processor}
    return result, took


def figures(result: CompletedObject, truth: TriangleMesh) -> dict[str, float]:
    """Return F-scores and the Chamfer distance of a result's mesh."""
    found = surface_distances(Surface.of_mesh(result.nominal, 20_000, 0), Surface.of_mesh(truth, 20_000, 0))
    diagonal_m = float(np.linalg.norm(np.ptp(truth.vertices_world, axis=0)))
    f_2pct, f_1pct = (found.f_score(share * diagonal_m) for share in (0.02, 0.01))
    return {"f_2pct": f_2pct, "f_1pct": f_1pct, "chamfer_mm": 1e3 * found.chamfer_m}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, default=Path("../shared/data/objects"), help="folder of scans")
    parser.add_argument("--object", nargs="*", default=["ycb_035_power_drill", "ycb_006_mustard_bottle"])
    parser.add_argument("--views", type=int, default=1, help="measured views (default 1)")
    parser.add_argument("--jitter", type=float, default=0.0, help="degrees that cameras are off (default 0)")
    parser.add_argument("--scale", type=float, default=1.0, help="of what is drawn (default 1)")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters of the session")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    values: dict[str, Any] = {name: json.loads(value) for name, _, value in (text.partition("=") for text in args.set)}
    found = {}
    for scored in folder_objects(args.objects):
        if scored.name in args.object:
            case = make_case(scored, "clean", 0, Protocol())
            result, took = completed(case, args.views, values, args.jitter, args.scale)
            found[scored.name] = figures(result, case.truth) | took
            print(scored.name, {name: round(value, 3) for name, value in found[scored.name].items()}, flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
