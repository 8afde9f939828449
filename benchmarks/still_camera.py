"""Measure what averaging the depth images of a still camera does: the table of docs/cameras.md.

    python benchmarks/still_camera.py [--sensors d400 azure_kinect realsense] [--images 1 3 16] [--seeds 3 4]
    python benchmarks/still_camera.py --complete 8 --sensors d400 --seeds 20 21 22

Depth of simulated scenes of four objects from one pose, 0.8 m away, against the truth. Objects count 4 px and more
inside their outlines, the table more than 20 px outside; smear is the share of pixels 1 to 8 px outside that are more
than 8 mm nearer than the truth. With `--complete` objects of three are completed from so many images, by their labels,
with each image for itself and with averages.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import ndimage

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.session_config import load_config
from sparse_recon.errors import SparseReconError
from sparse_recon.evidence.depth_filter import without_flying_pixels
from sparse_recon.geometry.poses import look_at
from sparse_recon.lab.evaluate.captures.geometry import geometry_metrics
from sparse_recon.lab.simulate.recording import PERIOD_NS, standing
from sparse_recon.lab.simulate.render import RenderedView, Renderer
from sparse_recon.lab.simulate.scene import tabletop_scene
from sparse_recon.lab.simulate.sensor import SENSORS, exact, sense
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.observe.averaged import averaged
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Float32, Frame

FAULT_M, CLIP_M = 0.008, 0.05
CONFIG = DepthConfig()


def frames_of(view: RenderedView, sensor: str, count: int, seed: int) -> list[Frame]:
    """Return so many images of one pose, as a session keeps them."""
    frames = []
    for i in range(count):
        stays = standing(seed, view.T_world_cam)
        frame = sense(
            view, exact(SENSORS[sensor]), np.random.default_rng((seed, i)), stamp_ns=i * PERIOD_NS, place=stays
        )
        assert frame.depth_m is not None
        frames.append(replace(frame, depth_m=without_flying_pixels(frame.depth_m, CONFIG.edge_jump_m)))
    return frames


def figures(view: RenderedView, depth_m: Float32) -> str:
    """Return a row of the table."""
    error = depth_m - view.depth_m
    inside, outside = (ndimage.distance_transform_edt(m) for m in (view.labels > 0, view.labels == 0))
    there = np.isfinite(view.depth_m)
    rim, ring = (inside > 0) & (inside <= 4), there & (outside > 1) & (outside <= 8)
    rms = [
        1e3 * np.sqrt(np.nanmean(np.clip(error[m], -CLIP_M, CLIP_M) ** 2)) for m in (inside > 4, there & (outside > 20))
    ]
    shares = [
        np.mean(error[ring] < -FAULT_M),
        np.mean(np.abs(error[rim]) > FAULT_M),
        np.isnan(error[inside > 4]).mean(),
    ]
    return " | ".join([f"{value:.1f}" for value in rms] + [f"{100 * share:.1f} %" for share in shares])


def completions(sensor: str, count: int, seed: int) -> Iterator[str]:
    """Yield a row for each object of a scene, without and with averages."""
    scene = tabletop_scene(seed, 3)
    azimuth = np.deg2rad(20 + 37 * seed)
    target = np.array([0.0, 0.0, 0.04])
    eye = target + 0.8 * np.array([0.82 * np.cos(azimuth), 0.82 * np.sin(azimuth), 0.57])
    view = Renderer(scene).render(depth_camera(), look_at(eye, target))
    frames = frames_of(view, sensor, count, seed)
    for average_frames in (1, count):
        session = CompletionSession(load_config({"depth.average_frames": average_frames, "up_world": (0.0, 0.0, 1.0)}))
        for frame in frames:
            session.add_frame(frame)
        for item in scene.objects:
            name = f"| {sensor} | {seed} | {item.name} | {average_frames} | "
            try:
                result = session.complete(CompletionRequest(label=item.label))
            except SparseReconError as error:
                yield f"{name}{error.code.name} |"
                continue
            scores, _ = geometry_metrics(result, item.mesh_world)
            figures = " | ".join(f"{scores[key]:.1f}" for key in ("chamfer_mm", "f_2pct", "size_pct"))
            yield f"{name}{figures} | {result.quality.views_used} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", nargs="+", default=["d400", "azure_kinect", "realsense"])
    parser.add_argument("--images", nargs="+", type=int, default=[1, 3, 16])
    parser.add_argument("--seeds", nargs="+", type=int, default=[3, 4])
    parser.add_argument("--complete", type=int, default=0, metavar="N", help="complete objects from N images")
    args = parser.parse_args()
    if args.complete:
        print("| camera | scene | object | averaged | Chamfer, mm | F(2 %), % | box, % | views |")
        for seed in args.seeds:
            for sensor in args.sensors:
                for row in completions(sensor, args.complete, seed):
                    print(row, flush=True)
        return
    eye = np.array([0.62, 0.22, 0.5])  # 0.8 m from the middle of the table
    print("| camera | scene | images | objects, mm | table, mm | smear | rim inside off | holes in objects | cpu s |")
    for seed in args.seeds:
        view = Renderer(tabletop_scene(seed, 4)).render(depth_camera(), look_at(eye, np.array([0.0, 0.0, 0.04])))
        for sensor in args.sensors:
            frames = frames_of(view, sensor, max(args.images), seed)
            for count in args.images:
                started = time.process_time()
                frame = averaged(frames[:count], CONFIG) if count > 1 else frames[0]
                seconds = time.process_time() - started
                assert frame.depth_m is not None
                print(f"| {sensor} | {seed} | {count} | {figures(view, frame.depth_m)} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
