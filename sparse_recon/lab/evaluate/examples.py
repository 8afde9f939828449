"""Answers kept for images: what went in, what came out and what was true, small enough to keep for every case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.files.atomic import whole_file
from sparse_recon.lab.evaluate.cases import LABEL, Case
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.types import Bool, Float32, Float64, Frame, TriangleMesh, UInt8
from sparse_recon.viz.raster import outline
from sparse_recon.viz.sheet import OBJECT_COLORS, fitted

FORMAT = 1
INPUT_PX = 240
MAX_INPUTS = 4
MAX_POINTS = 12_000
MAX_FACES = 20_000
_CROP_MARGIN = 0.15
_STEPS = 2**16 - 1


@dataclass(frozen=True, eq=False)
class Example:
    """One answer and its truth, world frame, metres.

    Attributes
    ----------
    inputs : (INPUT_PX, INPUT_PX, 3) uint8, up to four frames cropped to the object, its mask outlined.
    front_world : (3,) direction from the object to the first camera.
    truth, surface : simplified; `surface` is None where the answer is points.
    points_world : (N, 3) float32, some of the published points.
    inferred : (N,) bool.
    diameter_m : of the true object.
    """

    inputs: UInt8
    front_world: Float64
    truth: TriangleMesh
    surface: TriangleMesh | None
    points_world: Float32
    inferred: Bool
    diameter_m: float


def example_path(folder: Path, name: str, condition: str, views: int, seed: int) -> Path:
    """Return where the example of a case is kept."""
    return Path(folder) / f"{name}-{condition}-{views}-{seed}.npz"


def save_example(folder: Path, case: Case, prediction: Prediction) -> Path:
    """Keep an answer in a folder that holds those of one method; an older one of the same case is replaced.

    Raises
    ------
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE.
    """
    path = example_path(folder, case.name, case.condition, len(case.frames), case.seed)
    keep = np.linspace(0, len(prediction.points_world) - 1, min(MAX_POINTS, len(prediction.points_world))).astype(int)
    arrays = {
        "format": np.array(FORMAT),
        "inputs": _inputs(case),
        "front_world": case.frames[0].T_world_cam[:3, 3] - case.truth.vertices_world.mean(axis=0),
        "points_world": prediction.points_world[keep].astype(np.float32),
        "inferred": prediction.inferred[keep],
        "diameter_m": np.array(case.diameter_m),
        **_packed("truth", case.truth),
        **(_packed("surface", prediction.surface) if prediction.surface is not None else {}),
    }
    with whole_file(path, "the example") as new:
        np.savez_compressed(new, **arrays)
    return path


def load_example(path: Path) -> Example:
    """Read what `save_example` kept.

    Raises
    ------
    FileError
        INPUT_MISSING if the file is missing or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
        if int(found["format"]) != FORMAT:
            raise ValueError(f"format {found['format']}, expected {FORMAT}")
        return Example(
            found["inputs"],
            found["front_world"],
            _unpacked("truth", found),
            _unpacked("surface", found) if "surface_faces" in found else None,
            found["points_world"],
            found["inferred"],
            float(found["diameter_m"]),
        )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{path} holds no example of an evaluation ({error}); run evaluate again"
        ) from error


def _packed(name: str, mesh: TriangleMesh) -> dict[str, np.ndarray]:
    """Return a mesh with few faces, and vertices as 16-bit steps of its box (0.01 mm of half a metre)."""
    small = _simplified(mesh)
    vertices = small.vertices_world.astype(np.float64)
    low, size = (vertices.min(axis=0), np.maximum(np.ptp(vertices, axis=0), 1e-9)) if len(vertices) else np.eye(2, 3)
    steps = np.rint((vertices - low) / size * _STEPS).astype(np.uint16)
    return {f"{name}_steps": steps, f"{name}_box": np.stack([low, size]), f"{name}_faces": small.faces.astype(np.int32)}


def _unpacked(name: str, found: dict[str, np.ndarray]) -> TriangleMesh:
    low, size = found[f"{name}_box"]
    vertices = low + found[f"{name}_steps"] * (size / _STEPS)
    return TriangleMesh(vertices.astype(np.float32), found[f"{name}_faces"])


def _simplified(mesh: TriangleMesh) -> TriangleMesh:
    if len(mesh.faces) <= MAX_FACES:
        return mesh
    import open3d as o3d

    legacy = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices_world.astype(np.float64)),
        o3d.utility.Vector3iVector(mesh.faces.astype(np.int32)),
    )
    small = legacy.simplify_quadric_decimation(MAX_FACES)
    return TriangleMesh(np.asarray(small.vertices, np.float32), np.asarray(small.triangles, np.int32))


def _inputs(case: Case) -> UInt8:
    """Return one tile of the frames: one large, or four small ones."""
    frames = case.frames[:MAX_INPUTS]
    if len(frames) == 1:
        return fitted(_crop(frames[0]), INPUT_PX, INPUT_PX)
    half = INPUT_PX // 2
    tile = np.full((INPUT_PX, INPUT_PX, 3), 255, dtype=np.uint8)
    for i, frame in enumerate(frames):
        top, left = i // 2 * half, i % 2 * half
        tile[top : top + half - 2, left : left + half - 2] = fitted(_crop(frame), half - 2, half - 2)
    return tile


def _crop(frame: Frame) -> UInt8:
    """Return the image around the object, its mask outlined; all of it where there is no mask."""
    image = frame.rgb.copy()
    mask = np.zeros(image.shape[:2], bool) if frame.labels is None else np.asarray(frame.labels == LABEL)
    if not mask.any():
        return image
    image[outline(mask, max(round(frame.intrinsics.width / 640), 1))] = OBJECT_COLORS[1]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    half = 0.5 * max(rows[-1] - rows[0], columns[-1] - columns[0]) * (1 + 2 * _CROP_MARGIN) + 2
    y, x = 0.5 * (rows[0] + rows[-1]), 0.5 * (columns[0] + columns[-1])
    top, left = max(int(y - half), 0), max(int(x - half), 0)
    return image[top : int(y + half) + 1, left : int(x + half) + 1]
