"""Captures on disk: folders of posed frames, and a `truth.json` that says what truly stands there.

```
DIR/truth.json            {"captures": {"NAME": [{"object": "mug", "mesh": "meshes/mug.ply", "T_world_mesh": [[...]]}]}}
DIR/NAME/                 posed frames in any layout that `sparse_recon complete` reads
```

`T_world_mesh` (4, 4) puts the mesh (metres; path relative to `truth.json`) into the world frame of the poses,
`T_cam_mesh` into the optical frame of the first frame. `captures` may be called `frames`. A capture that is not named
has no truth: what is found in it is drawn and counted, not scored. With "complete": false beside "captures" there is
more than is named, and what is found elsewhere is no phantom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.bags.folders import open_folder
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError, clipped, quoted
from sparse_recon.geometry.poses import transform_points
from sparse_recon.inputs.files import read_bytes, shown
from sparse_recon.inputs.json_text import parse_json
from sparse_recon.lab.simulate.shapes import scanned_surface
from sparse_recon.types import Float32, Float64, Frame, TriangleMesh, check_pose

TRUTH = "truth.json"
MAX_TRUTH_BYTES = 50_000_000


@dataclass(frozen=True, eq=False)
class TrueObject:
    """One thing that stands in a capture: its name and its surface in the world frame."""

    name: str
    mesh: TriangleMesh


@dataclass(frozen=True, eq=False)
class Capture:
    """Frames of one scene.

    Attributes
    ----------
    objects : what stands there; None where nobody says.
    complete : nothing else does.
    """

    name: str
    frames: tuple[Frame, ...]
    objects: tuple[TrueObject, ...] | None
    complete: bool = True


def capture_names(folder: Path) -> list[str]:
    """Return the captures of a folder: its subfolders of frames, or "" for the folder itself.

    Raises
    ------
    FileError
        INPUT_MISSING if there are none.
    """
    if not folder.is_dir():
        raise FileError(ErrorCode.INPUT_MISSING, f"no folder of captures at {folder}; name one that is there")
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and _holds_frames(p))
    if names:
        return names
    if _holds_frames(folder):
        return [""]
    raise FileError(
        ErrorCode.INPUT_MISSING,
        f"{folder} holds no captures: neither it nor a folder in it has frames that `sparse_recon complete` reads",
    )


def read_capture(folder: Path, name: str, depth: DepthConfig) -> Capture:
    """Return one capture with its truth.

    Raises
    ------
    FileError, InputError
        If its frames or its truth cannot be read.
    """
    frames = tuple(open_folder(folder / name, depth))
    if not frames:
        raise FileError(ErrorCode.INPUT_MISSING, f"{folder / name} holds no frame that can be read")
    for path in (folder / name / TRUTH, folder / TRUTH):
        if path.is_file():
            truth = _read_truth(path)
            named = truth["captures"].get(name or folder.resolve().name)
            if named is not None:
                return Capture(name or folder.resolve().name, frames, _objects(named, path, frames), truth["complete"])
    return Capture(name or folder.resolve().name, frames, None)


def _holds_frames(folder: Path) -> bool:
    try:
        return len(open_folder(folder)) > 0
    except (FileError, InputError):
        return False


def _read_truth(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_bytes(path, "the truth of captures", MAX_TRUTH_BYTES))
        captures = content.get("captures", content.get("frames"))
        if not isinstance(captures, dict) or not all(isinstance(v, list) for v in captures.values()):
            raise ValueError("it has no object `captures` of lists")
    except (ValueError, AttributeError) as error:
        raise _invalid(path, str(error)) from None
    return {"captures": captures, "complete": content.get("complete", True) is not False}


def _objects(named: Sequence[Any], path: Path, frames: Sequence[Frame]) -> tuple[TrueObject, ...]:
    found = []
    for number, item in enumerate(named):
        try:
            name, (vertices, faces, _) = str(item["object"]), scanned_surface(path.parent / str(item["mesh"]))
            T = np.asarray(item.get("T_world_mesh", item.get("T_cam_mesh")), np.float64)
            if "T_world_mesh" not in item:
                T = frames[0].T_world_cam @ T
            found.append(TrueObject(name, TriangleMesh(_posed(vertices, T, name), faces)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _invalid(
                path, f"object {number} needs object, mesh and T_world_mesh or T_cam_mesh ({error})"
            ) from None
    return tuple(found)


def _posed(vertices_mesh: Float64, T_world_mesh: Float64, name: str) -> Float32:
    T = T_world_mesh.copy()
    if T.shape == (4, 4):
        U, _, V = np.linalg.svd(T[:3, :3])  # six digits in a file are no exact rotation
        T[:3, :3] = U @ V if np.abs(U @ V - T[:3, :3]).max() < 1e-3 else T[:3, :3]
    check_pose(T, f"the pose of {quoted(name)}")
    return transform_points(T, vertices_mesh).astype(np.float32)


def _invalid(path: Path, why: str) -> FileError:
    return FileError(
        ErrorCode.INPUT_MISSING, f"{shown(path)} is no truth of captures: {clipped(why)}; docs/evaluation.md shows one"
    )
