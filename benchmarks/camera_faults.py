"""Draw what simulated cameras make of a table with a block, a ball and a mug: docs/cameras.png.

    python benchmarks/camera_faults.py docs/cameras.png

Heights above the table, blue -3 cm, white 0, red 3 cm, black where there is no depth. Each camera has the strengths
that `sparse_recon/lab/simulate/profiles.py` lists; only d400 was fitted to a real one (docs/cameras.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.household import make_shape
from sparse_recon.lab.simulate.render import RenderedView, Renderer
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact, sense
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import Float32, UInt8

SHOWN = ("mild", "d400", "zed", "orbbec", "f200", "l515", "azure_kinect", "kinect_v2")
PLACES = ((-0.16, 0.0, 0.0), (0.0, 0.05, 0.0), (0.15, -0.02, 0.0))
FULL_M = 0.03
COLUMNS = 4


def view() -> RenderedView:
    """Return what an ideal camera sees from 0.85 m."""
    rng = np.random.default_rng(3)
    scene = scene_of([make_shape(kind, rng) for kind in ("box", "mug", "can")], [pose(np.eye(3), p) for p in PLACES])
    return Renderer(scene).render(depth_camera(640, 480), look_at((0.0, -0.55, 0.65), (0.0, 0.0, 0.03)))


def heights_picture(view: RenderedView, depth_m: Float32) -> UInt8:
    """Return (H, W, 3) colours of heights above the plane z = 0."""
    T = view.T_world_cam
    height_m = depth_m * (pixel_rays(view.intrinsics) @ T[2, :3].astype(np.float32)) + T[2, 3]
    share = np.clip(height_m / FULL_M, -1, 1)[..., None]
    colour = np.where(share > 0, 1 - share * (0.1, 0.9, 0.9), 1 + share * (0.9, 0.7, 0.1))
    return (255 * np.nan_to_num(colour, nan=0.0)).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("png", type=Path)
    path, seen, tiles = parser.parse_args().png, view(), []
    for name in SHOWN:
        depth_m = sense(seen, exact(SENSORS[name]), np.random.default_rng(1), stamp_ns=1).depth_m
        assert depth_m is not None
        tile = Image.fromarray(heights_picture(seen, depth_m)[60:390, 90:550])
        ImageDraw.Draw(tile).text((10, 6), name, fill=(0, 90, 0), font_size=26)
        tiles.append(np.asarray(tile))
    rows = [np.concatenate(tiles[k : k + COLUMNS], axis=1) for k in range(0, len(tiles), COLUMNS)]
    sheet = Image.fromarray(np.concatenate(rows))
    sheet = sheet.resize((sheet.width * 3 // 5, sheet.height * 3 // 5), Image.Resampling.BOX)
    sheet.convert("P", palette=Image.Palette.ADAPTIVE, colors=16).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
