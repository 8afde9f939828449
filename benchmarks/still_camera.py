"""Measure what averaging the depth images of a still camera does: the table of docs/cameras.md.

    python benchmarks/still_camera.py [--sensors d400 azure_kinect realsense] [--images 1 3 16] [--seeds 3 4]

Depth of simulated scenes of four objects from one pose, 0.8 m away, against the truth. Objects count 4 px and more
inside their outlines, the table more than 20 px outside; smear is the share of pixels 1 to 8 px outside that are more
than 8 mm nearer than the truth.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from scipy import ndimage

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.evidence.depth_filter import without_flying_pixels
from sparse_recon.geometry.poses import look_at
from sparse_recon.lab.simulate.recording import standing
from sparse_recon.lab.simulate.render import RenderedView, Renderer
from sparse_recon.lab.simulate.scene import tabletop_scene
from sparse_recon.lab.simulate.sensor import SENSORS, exact, sense
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.observe.averaged import averaged
from sparse_recon.types import Float32, Frame

FAULT_M, CLIP_M = 0.008, 0.05
CONFIG = DepthConfig()


def frames_of(view: RenderedView, sensor: str, count: int, seed: int) -> list[Frame]:
    """Return so many images of one pose, as a session keeps them."""
    frames = []
    for i in range(count):
        stays = standing(seed, view.T_world_cam)
        frame = sense(view, exact(SENSORS[sensor]), np.random.default_rng((seed, i)), stamp_ns=i, place=stays)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", nargs="+", default=["d400", "azure_kinect", "realsense"])
    parser.add_argument("--images", nargs="+", type=int, default=[1, 3, 16])
    parser.add_argument("--seeds", nargs="+", type=int, default=[3, 4])
    args = parser.parse_args()
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
