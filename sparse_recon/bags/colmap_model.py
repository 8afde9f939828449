"""Sparse models of COLMAP, as text or binary: cameras, posed images, points (Schoenberger and Frahm 2016)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from sparse_recon.bags.posed_files import content
from sparse_recon.errors import ErrorCode, InputError, clipped
from sparse_recon.geometry.poses import pose
from sparse_recon.types import Float64

FILES = ("cameras", "images")
_Found = TypeVar("_Found")
# Names and numbers of parameters, by the number that binary files have for a model.
_MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    12: ("SIMPLE_DIVISION", 4),
    13: ("DIVISION", 5),
    14: ("SIMPLE_FISHEYE", 3),
    15: ("FISHEYE", 4),
    16: ("EUCM", 6),
    17: ("EQUIRECTANGULAR", 2),
}


@dataclass(frozen=True)
class ColmapCamera:
    """A camera: the name of its model, its size in pixels, and its parameters in COLMAP's order."""

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class ColmapImage:
    """An image that was registered.

    Attributes
    ----------
    name : of the file, below the folder of images.
    T_cam_world : (4, 4), maps points of the model, in its unit, into the optical frame.
    pixels : (N, 2) where its points were found; the centre of the first pixel is (0.5, 0.5).
    point_ids : (N,) int64, -1 where a pixel has no point.
    """

    name: str
    camera_id: int
    T_cam_world: Float64
    pixels: Float64
    point_ids: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ColmapModel:
    """Cameras by number, images, and points: (P,) ids that grow, and (P, 3) positions in the unit of the model."""

    cameras: Mapping[int, ColmapCamera]
    images: tuple[ColmapImage, ...]
    point_ids: npt.NDArray[np.int64]
    points_world: Float64


def has_model(folder: Path) -> bool:
    """Return whether a model lies in a folder."""
    return any(all((folder / f"{name}{suffix}").is_file() for name in FILES) for suffix in (".bin", ".txt"))


def read_model(folder: Path) -> ColmapModel:
    """Read a model; where it is there as text and binary, the binary one, as COLMAP does. Points may be missing.

    Raises
    ------
    FileError
        INPUT_MISSING if a file is missing.
    InputError
        FRAME_INVALID if one is cut or is no such file, DISTORTION_UNSUPPORTED for numbers of unknown camera models.
    """
    binary = all((folder / f"{name}.bin").is_file() for name in FILES)
    suffix = ".bin" if binary else ".txt"
    cameras, images, points = (folder / f"{name}{suffix}" for name in (*FILES, "points3D"))
    ids, positions = np.zeros(0, np.int64), np.zeros((0, 3))
    found = (
        _parsed(cameras, _binary_cameras if binary else _cameras, "cameras"),
        _parsed(images, _binary_images if binary else _images, "images"),
    )
    if points.is_file():
        ids, positions = _parsed(points, _binary_points if binary else _points, "points")
    order = np.argsort(ids, kind="stable")
    return ColmapModel(*found, ids[order], positions[order])


def _parsed(path: Path, reader: Callable[[bytes], _Found], what: str) -> _Found:
    try:
        return reader(content(path, f"the {what} of COLMAP"))
    except (ValueError, IndexError, struct.error, OverflowError) as error:
        raise InputError(
            ErrorCode.FRAME_INVALID, f"{path} is cut, or is not what COLMAP writes: {clipped(str(error))}"
        ) from None


def _lines(data: bytes) -> Iterator[str]:
    yield from (line for line in data.decode("utf-8").splitlines() if not line.lstrip().startswith("#"))


def _cameras(data: bytes) -> dict[int, ColmapCamera]:
    out = {}
    for line in _lines(data):
        if line.strip():
            number, model, width, height, *parameters = line.split()
            out[int(number)] = ColmapCamera(model, int(width), int(height), tuple(map(float, parameters)))
    return out


def _images(data: bytes) -> tuple[ColmapImage, ...]:
    lines, out = _lines(data), []
    for line in lines:
        if not line.strip():
            continue
        _, *numbers, camera_id, name = line.split(maxsplit=9)
        rows = np.array(next(lines, "").split(), np.float64).reshape(-1, 3)  # may be empty: no points
        out.append(_image(name.strip(), int(camera_id), [float(n) for n in numbers], rows[:, :2], rows[:, 2]))
    return tuple(out)


def _points(data: bytes) -> tuple[npt.NDArray[np.int64], Float64]:
    rows = np.array([line.split(maxsplit=4)[:4] for line in _lines(data) if line.strip()], np.float64).reshape(-1, 4)
    return rows[:, 0].astype(np.int64), rows[:, 1:]


def _binary_cameras(data: bytes) -> dict[int, ColmapCamera]:
    (count,), at, out = struct.unpack_from("<Q", data), 8, {}
    for _ in range(count):
        number, model, width, height = struct.unpack_from("<iiQQ", data, at)
        if model not in _MODELS:
            known = ", ".join(f"{n} {name}" for n, (name, _) in _MODELS.items())
            raise InputError(ErrorCode.DISTORTION_UNSUPPORTED, f"cameras.bin: camera model {model}; known are {known}")
        name, parameters = _MODELS[model]
        out[number] = ColmapCamera(name, width, height, struct.unpack_from(f"<{parameters}d", data, at + 24))
        at += 24 + 8 * parameters
    return out


def _binary_images(data: bytes) -> tuple[ColmapImage, ...]:
    (count,), at, out = struct.unpack_from("<Q", data), 8, []
    pixel = np.dtype([("pixel", "<f8", 2), ("point", "<i8")])
    for _ in range(count):
        _, *numbers, camera_id = struct.unpack_from("<i7di", data, at)
        end = data.index(b"\0", at + 64)
        name = data[at + 64 : end].decode("utf-8")
        (found,) = struct.unpack_from("<Q", data, end + 1)
        rows = np.frombuffer(data, pixel, found, end + 9)
        at = end + 9 + rows.nbytes
        out.append(_image(name, camera_id, numbers, rows["pixel"], rows["point"]))
    return tuple(out)


def _binary_points(data: bytes) -> tuple[npt.NDArray[np.int64], Float64]:
    (count,), at = struct.unpack_from("<Q", data), 8
    ids, positions = [], []
    for _ in range(count):
        number, *position, _, _, _, _, track = struct.unpack_from("<q3d3BdQ", data, at)
        ids.append(number)
        positions.append(position)
        at += 51 + 8 * track
    return np.array(ids, np.int64), np.array(positions, np.float64).reshape(-1, 3)


def _image(
    name: str, camera_id: int, numbers: list[float], pixels: Float64, point_ids: npt.NDArray[np.generic]
) -> ColmapImage:
    qw, qx, qy, qz = numbers[:4]
    if not abs(np.linalg.norm(numbers[:4]) - 1.0) < 1e-2:
        raise ValueError(f"{clipped(name)}: qw qx qy qz = {numbers[:4]} is no unit quaternion")
    T_cam_world = pose(Rotation.from_quat([qx, qy, qz, qw]).as_matrix(), numbers[4:7])
    return ColmapImage(name, camera_id, T_cam_world, np.array(pixels, np.float64), point_ids.astype(np.int64))
