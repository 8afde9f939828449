"""Real depth images beside the simulator's camera on the very same scenes: how far off, how smeared, how holey.

python benchmarks/real_depth.py CAPTURES_DIR [--sensor d400] [--draws 41] [--pictures DIR] [--json FILE]

CAPTURES_DIR holds truth.json, {"frames": {FRAME: [{"mesh": PATH, "T_cam_mesh": 4x4}, ...]}} with metres and
p_cam = T_cam_mesh p_mesh, and per frame a folder FRAME with *.color.png, *.depth.png (16 bit, mm) and intrinsics.K.txt.
The table is the plane of most pixels far from the objects. The simulated frames see the posed meshes on that plane;
each draw has strengths and errors of its own, and the median over draws of the mean over frames is compared. Heights
are above the table, shares are of all pixels, holes among them.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.lab.simulate.profiles import SENSORS, varied
from sparse_recon.lab.simulate.render import RenderedView, Renderer
from sparse_recon.lab.simulate.scene import Scene, SceneObject
from sparse_recon.lab.simulate.sensor import exact, sense
from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.types import Bool, CameraIntrinsics, Float32, Float64

FAR_PX = 25  # from every outline: nothing there is smeared or shaded by an object
WRONG_M = 0.008
FAR_END_M = 1.2  # of the table that is looked at
RINGS_PX = {"0-2": (0, 1.5), "2-4": (1.5, 3.5), "4-6": (3.5, 6.5), "6-10": (6.5, 10.5)}  # between pixel centres
PICTURED_M = 0.03
PICTURED_DRAWS = 2


@dataclass(frozen=True, eq=False)
class Capture:
    """A real frame and what an ideal camera would have seen.

    Attributes
    ----------
    depth_m : (H, W) float32 as measured, NaN where there is none.
    ideal : posed meshes on the table's plane, seen without error, in the camera's frame; its colours are the real ones.
    plane : unit normal towards the camera and offset: `normal @ p_cam + offset_m` is the height above the table.
    """

    name: str
    depth_m: Float32
    ideal: RenderedView
    plane: tuple[Float64, float]


def read_capture(folder: Path, name: str, posed: list[dict]) -> Capture:
    """Read one frame and render its truth."""
    rgb = np.asarray(Image.open(next((folder / name).glob("*.color.png"))).convert("RGB"))
    millimetres = np.asarray(Image.open(next((folder / name).glob("*.depth.png"))), dtype=np.float32)
    depth_m = np.where(millimetres > 0, millimetres / 1000, np.float32(np.nan))
    K = np.loadtxt(folder / name / "intrinsics.K.txt").reshape(3, 3)
    intrinsics = CameraIntrinsics(rgb.shape[1], rgb.shape[0], K)
    objects = tuple(_object(folder, label, entry) for label, entry in enumerate(posed, start=1))
    alone = Renderer(Scene(objects, _sheet(np.array([0, 0, -1.0]), -50.0))).render(intrinsics, np.eye(4), lit=False)
    bare = (ndimage.distance_transform_edt(alone.labels == 0) > FAR_PX) & (depth_m < FAR_END_M)
    plane = _fitted_plane((pixel_rays(intrinsics) * depth_m[..., None])[bare].astype(np.float64))
    ideal = Renderer(Scene(objects, _sheet(*plane))).render(intrinsics, np.eye(4), lit=False)
    return Capture(name, depth_m, replace(ideal, rgb=rgb), plane)


def _object(folder: Path, label: int, entry: dict) -> SceneObject:
    import trimesh

    mesh = trimesh.load(folder / entry["mesh"], process=False)
    vertices = np.asarray(mesh.vertices, np.float64)
    grey = np.full((len(vertices), 3), 128, np.uint8)
    shape = Shape(Path(entry["mesh"]).stem, vertices, np.asarray(mesh.faces, np.int32), grey)
    return SceneObject(shape.name, label, shape, np.array(entry["T_cam_mesh"], np.float64))


def _sheet(normal: Float64, offset_m: float) -> Shape:
    """Four metres of the plane `normal @ p + offset_m = 0` around the point nearest to the origin."""
    x = np.linalg.svd(normal[None])[2][1]
    y = np.cross(normal, x)
    corners = [-offset_m * normal + a * x + b * y for a, b in ((-2, -2), (2, -2), (2, 2), (-2, 2))]
    return Shape("table", np.array(corners), np.array([[0, 1, 2], [0, 2, 3]], np.int32), np.full((4, 3), 128, np.uint8))


def _fitted_plane(points_cam: Float64, near_m: float = 0.006) -> tuple[Float64, float]:
    """The plane with most points within `near_m`, then least squares of these (RANSAC; Fischler and Bolles 1981)."""
    rng = np.random.default_rng(0)
    few = points_cam[rng.choice(len(points_cam), min(20_000, len(points_cam)), replace=False)]
    best, normal, point = 0, np.zeros(3), np.zeros(3)
    for a, b, c in few[rng.integers(len(few), size=(300, 3))]:
        n = np.cross(b - a, c - a)
        n /= max(float(np.linalg.norm(n)), 1e-12)
        if (near := int((np.abs((few - a) @ n) < near_m).sum())) > best:
            best, normal, point = near, n, a
    for _ in range(4):
        near_points = few[np.abs((few - point) @ normal) < near_m]
        point = near_points.mean(axis=0)
        normal = np.linalg.svd(near_points - point, full_matrices=False)[2][2]
    normal = normal * -np.sign(normal @ point)
    return normal, float(-normal @ point)


def heights(capture: Capture, depth_m: Float32) -> Float32:
    """(H, W) metres above the table; NaN in holes."""
    normal, offset_m = capture.plane
    return depth_m * (pixel_rays(capture.ideal.intrinsics) @ normal.astype(np.float32)) + np.float32(offset_m)


def faults(capture: Capture, depth_m: Float32) -> dict[str, float]:
    """Return how wrong a depth image of a capture is, by name: millimetres, and shares of pixels."""
    true_m, seen = capture.ideal.depth_m, np.isfinite(depth_m)
    objects = capture.ideal.labels > 0
    table = ~objects & (true_m < FAR_END_M)
    outside_px, inside_px = (ndimage.distance_transform_edt(m) for m in (~objects, objects))
    error_m, height_m = depth_m - true_m, heights(capture, depth_m)
    with np.errstate(invalid="ignore"):
        bare = table & (outside_px > FAR_PX)
        flat = bare & (np.abs(height_m) < 0.025)
        slow = _smooth(height_m, flat, 8.0, at_least=0.9)
        found = {
            "table: error, std, mm": 1e3 * float(height_m[flat].std()),
            "table: slow part, std, mm": 1e3 * float(np.nanstd(slow)),
            "table: slow part, 99th percentile, mm": 1e3 * float(np.nanpercentile(np.abs(slow), 99)),
            "table: slow part, largest, mm": 1e3 * float(np.nanmax(np.abs(slow))),
            "table: holes": 1 - float(seen[bare].mean()),
        }
        for name, (low, high) in RINGS_PX.items():
            ring = table & (outside_px > low) & (outside_px <= high)
            found[f"{name} px outside: stands > 8 mm high"] = float((height_m[ring] > WRONG_M).mean())
        for name, (low, high) in RINGS_PX.items():
            ring = table & (outside_px > low) & (outside_px <= high)
            found[f"{name} px outside: holes"] = 1 - float(seen[ring].mean())
        for name, (low, high) in list(RINGS_PX.items())[:3]:
            ring = objects & (inside_px > low) & (inside_px <= high)
            found[f"{name} px inside: off by > 8 mm"] = float((np.abs(error_m[ring]) > WRONG_M).mean())
        deep = objects & (inside_px > 8)
        within = np.clip(1e3 * error_m[deep & seen], -20, 20)
        found["objects: error, std, mm"] = float(within.std())
        slow = _smooth(error_m, deep & seen, 4.0, at_least=0.0)[deep]
        found["objects: slow part, std, mm"] = float(np.nanstd(np.clip(1e3 * slow, -20, 20)))
        found["objects: holes"] = 1 - float(seen[deep].mean())
    return found


def _smooth(values: Float32, where: Bool, sigma_px: float, at_least: float) -> Float32:
    """Gaussian mean over the pixels `where`; NaN where they are fewer than `at_least` of all."""
    weight = ndimage.gaussian_filter(where.astype(np.float32), sigma_px)
    total = ndimage.gaussian_filter(np.where(where, values, np.float32(0)), sigma_px)
    return np.where(weight > max(at_least, 1e-3), total / np.maximum(weight, 1e-3), np.float32(np.nan))


def picture(capture: Capture, images: list[Float32]) -> Image.Image:
    """Heights above the table of several depth images side by side: blue -3 cm, white 0, red 3 cm, black a hole."""
    panels = []
    for depth_m in images:
        t = np.clip(heights(capture, depth_m) / PICTURED_M, -1, 1)[..., None]
        colour = np.where(t > 0, 1 - t * np.array([0.1, 0.9, 0.9]), 1 + t * np.array([0.9, 0.7, 0.1]))
        panels.append((255 * np.nan_to_num(colour, nan=0.0)).astype(np.uint8))
    return Image.fromarray(np.concatenate(panels, axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path, metavar="CAPTURES_DIR")
    parser.add_argument("--sensor", choices=sorted(SENSORS), default="d400")
    parser.add_argument("--draws", type=int, default=41, help="simulated cameras, each with strengths of its own")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write one picture a frame: real | simulated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    truth = json.loads((args.captures / "truth.json").read_text())["frames"]
    captures = [read_capture(args.captures, name, posed) for name, posed in sorted(truth.items())]
    real = _mean([faults(c, c.depth_m) for c in captures])
    drawn, taken_s = [], []
    for draw in range(args.draws):
        camera = exact(varied(SENSORS[args.sensor], np.random.default_rng((draw, 0))))
        images = []
        for i, c in enumerate(captures):
            begun_s = time.thread_time()
            images.append(sense(c.ideal, camera, np.random.default_rng((draw, 1, i)), stamp_ns=1).depth_m)
            taken_s.append(time.thread_time() - begun_s)
        drawn.append(_mean([faults(c, depth_m) for c, depth_m in zip(captures, images, strict=True)]))
        if args.pictures and draw < PICTURED_DRAWS:
            args.pictures.mkdir(parents=True, exist_ok=True)
            for c, depth_m in zip(captures, images, strict=True):
                picture(c, [c.depth_m, depth_m]).save(args.pictures / f"{args.sensor}_{c.name}_{draw}.png")
    simulated = {row: [d[row] for d in drawn] for row in real}
    print(f"{'':44}{'real':>8}{args.sensor:>10}{'low':>8}{'high':>8}{'ratio':>8}")
    for row, value in real.items():
        middle = float(np.median(simulated[row]))
        ratio = middle / value if value else float("nan")
        print(
            f"{row:44}{value:8.3f}{middle:10.3f}{min(simulated[row]):8.3f}{max(simulated[row]):8.3f}{ratio:8.2f}"
            f"{'' if 1 / 1.3 <= ratio <= 1.3 else '  beyond 1.3'}"
        )
    print(
        f"{1e3 * np.median(taken_s):.0f} ms of one core a frame, colour noise included; least {1e3 * min(taken_s):.0f}"
    )
    if args.json:
        args.json.write_text(json.dumps({"sensor": args.sensor, "real": real, "simulated": simulated}, indent=1))


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


if __name__ == "__main__":
    main()
