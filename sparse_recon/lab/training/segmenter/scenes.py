"""True views of simulated clutter, made once and kept: colour, depth, labels and the plane of the table."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.lab.simulate.clutter import PaintedRenderer, clutter_cameras, draw_clutter, package, stretched
from sparse_recon.lab.simulate.household import KINDS, make_shape
from sparse_recon.lab.simulate.shapes import Shape, scanned_shape
from sparse_recon.lab.training.scans import SUFFIXES

WIDTH, HEIGHT = 320, 240
SCENES, VIEWS = 40, 3  # of a shard, and of a scene
STORED_M = 1e-4  # unit of stored depth
PACKAGE_SHARE, HOUSEHOLD_SHARE = 0.25, 0.12
MIN_PIXELS = 12  # of a thing in a view: fewer are none
_MOST, _FEWEST = 16, 1


@dataclass(frozen=True, eq=False)
class TrueView:
    """One view.

    Attributes
    ----------
    rgb : (H, W, 3) uint8.
    depth_m : (H, W) float32, NaN where nothing is.
    labels : (H, W) uint8, 0 for all that is no thing.
    plane_cam : (4,) unit normal, up, and height of the table's top in the optical frame: n @ p = h.
    K : (4,) fx, fy, cx, cy.
    """

    rgb: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    plane_cam: npt.NDArray[np.float32]
    K: npt.NDArray[np.float32]


_DTYPE = np.dtype(
    [
        ("rgb", np.uint8, (HEIGHT, WIDTH, 3)),
        ("depth", np.uint16, (HEIGHT, WIDTH)),
        ("labels", np.uint8, (HEIGHT, WIDTH)),
        ("plane_cam", np.float32, 4),
        ("K", np.float32, 4),
    ]
)


def generate(
    folder: Path,
    meshes: Sequence[Path],
    shards: int,
    seed: int,
    on_shard: Callable[[int], None] = lambda number: None,
    scenes: int = SCENES,
) -> None:
    """Write the shards of so many scenes that are missing; each is drawn from its own number alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(shards):
        path = folder / f"{number:05d}.npy"
        if not path.exists():
            views = np.concatenate([_scene(np.random.default_rng((seed, number, k)), meshes) for k in range(scenes)])
            part = path.with_suffix(f".{os.getpid()}.part")
            with part.open("wb") as file:
                np.save(file, views)
            part.replace(path)
        on_shard(number)


def shard_views(path: Path) -> npt.NDArray[np.void]:
    """Return the views of a shard, mapped into memory.

    Raises
    ------
    FileError
        INPUT_MISSING if it is not one.
    """
    views = np.load(path, mmap_mode="r", allow_pickle=False)
    if views.dtype != _DTYPE:
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} holds no views of clutter; make them anew")
    return views


def read_view(stored: np.void) -> TrueView:
    """Return a stored view."""
    depth_m = stored["depth"].astype(np.float32) * np.float32(STORED_M)
    depth_m[depth_m == 0] = np.nan
    return TrueView(stored["rgb"], depth_m, stored["labels"], stored["plane_cam"], stored["K"])


def draw_shapes(rng: np.random.Generator, meshes: Sequence[Path]) -> list[Shape]:
    """Return the things of a scene: packages, household shapes and meshes of a folder."""
    count = int(rng.integers(_FEWEST, _MOST))
    shapes = []
    for _ in range(count):
        kind = rng.random()
        if kind < PACKAGE_SHARE or (not meshes and kind < 0.6):
            shapes.append(package(rng))
        elif kind < PACKAGE_SHARE + HOUSEHOLD_SHARE or not meshes:
            shapes.append(_household(int(rng.integers(120))))
        else:
            shapes.append(stretched(_mesh(meshes[int(rng.integers(len(meshes)))]), rng))
    return shapes


def _scene(rng: np.random.Generator, meshes: Sequence[Path]) -> npt.NDArray[np.void]:
    clutter = draw_clutter(draw_shapes(rng, meshes), rng)
    renderer = PaintedRenderer(clutter)
    views = np.zeros(VIEWS, _DTYPE)
    for view, (intrinsics, T_world_cam) in zip(views, clutter_cameras(clutter, VIEWS, rng, WIDTH, HEIGHT), strict=True):
        true = renderer.render(intrinsics, T_world_cam, shadows=rng.random() < 0.6)
        view["rgb"], view["labels"] = true.rgb, true.labels
        counts = np.bincount(true.labels.ravel(), minlength=256)
        view["labels"][counts[true.labels] < MIN_PIXELS] = 0
        view["depth"] = np.nan_to_num(np.rint(true.depth_m / STORED_M), nan=0.0).clip(0, 65535)
        up = T_world_cam[2, :3]
        view["plane_cam"] = [*up, -T_world_cam[2, 3]]
        view["K"] = intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy
    return views


@lru_cache(maxsize=4096)
def _mesh(path: Path) -> Shape:
    return scanned_shape(path, path.stem)


@lru_cache(maxsize=256)
def _household(number: int) -> Shape:
    rng = np.random.default_rng((77, number))
    return make_shape(str(rng.choice(KINDS)), rng)


def mesh_files(folder: Path) -> list[Path]:
    """Return the meshes of a folder."""
    return sorted(p for p in Path(folder).iterdir() if p.suffix in SUFFIXES)
