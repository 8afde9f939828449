"""The objects that are scored: scanned ones by a fixed list, seeded made-up ones, or anybody's folder of meshes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sparse_recon.errors import ErrorCode, FileError, InputError, listed
from sparse_recon.inputs.files import check_folder, read_bytes
from sparse_recon.lab.simulate.household import KINDS, make_shape
from sparse_recon.lab.simulate.shapes import MAX_MESH_BYTES, Shape, scanned_shape

# Scored scans of YCB and Google Scanned Objects: never train on them. Variants of a product are on the same side.
SCORED: tuple[str, ...] = (
    "ycb_003_cracker_box",
    "ycb_005_tomato_soup_can",
    "ycb_006_mustard_bottle",
    "ycb_011_banana",
    "ycb_013_apple",
    "ycb_019_pitcher_base",
    "ycb_024_bowl",
    "ycb_033_spatula",
    "ycb_035_power_drill",
    "ycb_040_large_marker",
    "ycb_050_medium_clamp",
    "ycb_051_large_clamp",
    "ycb_052_extra_large_clamp",
    "ycb_053_mini_soccer_ball",
    "ycb_054_softball",
    "ycb_061_foam_brick",
    "ycb_072-a_toy_airplane",
    "ycb_072-b_toy_airplane",
    "ycb_072-d_toy_airplane",
    "ycb_072-e_toy_airplane",
    "gso_android_toy",
    "gso_ball_puzzle",
    "gso_bull_figure",
    "gso_chefmate_8_frypan",
    "gso_crayon_box",
    "gso_dinosaur_figure",
    "gso_magnifying_glass",
    "gso_office_depot_box",
    "gso_orca_plush_toy",
    "gso_porcelain_cup",
    "gso_purple_tape",
    "gso_red_and_white_flashlight",
    "gso_screwdriver",
    "gso_silver_tape",
    "gso_spatula_with_purple_head",
    "gso_unicorn_toy",
)

# Scans that training and tuning may use.
UNSCORED: tuple[str, ...] = (
    "ycb_008_pudding_box",
    "ycb_015_peach",
    "ycb_017_orange",
    "ycb_026_sponge",
    "ycb_031_spoon",
    "ycb_037_scissors",
    "ycb_043_phillips_screwdriver",
    "ycb_044_flat_screwdriver",
    "ycb_055_baseball",
    "ycb_056_tennis_ball",
    "gso_c_clamp",
    "gso_green_and_white_striped_towel",
    "gso_hard_drive",
    "gso_honey_dipper",
    "gso_nintendo_3ds",
    "gso_red_and_white_striped_towel",
    "gso_rocket_racoon_figure",
    "gso_tablet",
)

MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")
UNITS_M: dict[str, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254}
LARGEST_M = 2.0
SMALLEST_M = 0.005


def is_scored(path: str) -> bool:
    """Whether a path, without suffix, names an object of the `SCORED` list, as it is called here or in its own set."""
    return bool({word for name in SCORED for word in (name, name.partition("_")[2])} & set(Path(path).parts))


@dataclass(frozen=True, eq=False)
class ScoredObject:
    """One object by name; `load` gives its shape, upright on z = 0, metres.

    Attributes
    ----------
    origin : `folder` or `procedural`.
    path : of its mesh; None for a made-up shape.
    kind, seed : of a made-up shape.
    """

    name: str
    origin: str
    path: Path | None = None
    kind: str = ""
    seed: int = 0
    units: str = "m"
    up: str = "z"
    _shapes: list[Shape] = field(default_factory=list, repr=False)

    def load(self) -> Shape:
        """Return the shape.

        Raises
        ------
        FileError
            If the file is missing or holds no triangles.
        InputError
            MESH_INVALID for values that are not finite, or for a size that no object on a table has.
        """
        if not self._shapes:
            if self.path is None:
                made = make_shape(self.kind, np.random.default_rng(self.seed))
                self._shapes.append(replace(made, name=self.name))
            else:
                self._shapes.append(_upright(scanned_shape(self.path, self.name), self.units, self.up))
        return self._shapes[0]

    def sha256(self) -> str:
        """Return the hash of the mesh file and how it is read, or of the recipe and size of a made-up shape."""
        if self.path is not None:
            reading = "" if (self.units, self.up) == ("m", "z") else f"{self.units} {self.up}"
            return hashlib.sha256(read_bytes(self.path, "a mesh", MAX_MESH_BYTES) + reading.encode()).hexdigest()
        # Last bits of made-up vertices differ between machines.
        size = np.round(self.load().size_m, 4).tolist()
        return hashlib.sha256(f"{self.kind} {self.seed} {size}".encode()).hexdigest()


def folder_objects(
    folder: Path, *, units: str = "m", up: str = "z", names: Sequence[str] = (), everything: bool = False
) -> tuple[ScoredObject, ...]:
    """Return the meshes of a folder, sorted by name.

    Parameters
    ----------
    units : of the files, one of `UNITS_M`.
    up : `z` or `y`, the axis of the files that points up.
    names : only these; none for all, or, where the folder holds objects of the `SCORED` list, for those of the list.
    everything : do not limit to the `SCORED` list.

    Raises
    ------
    FileError
        INPUT_MISSING if the folder is not there, holds no mesh, or lacks one of `names`.
    """
    folder = Path(folder)
    check_folder(folder, f"a folder that holds {', '.join(MESH_SUFFIXES)}")
    paths = {p.stem: p for p in sorted(folder.iterdir()) if _is_mesh(p)}
    if not paths:
        found = listed(sorted({p.suffix or p.name for p in folder.iterdir()})) or "nothing"
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{folder} holds no mesh but {found}; accepted are {', '.join(MESH_SUFFIXES)}"
        )
    if twice := sorted(p.name for p in folder.iterdir() if p.stem in paths and p not in paths.values() and _is_mesh(p)):
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{folder} has two meshes of one name: {listed(twice)}; rename or remove one"
        )
    if missing := sorted(set(names) - set(paths)):
        raise FileError(ErrorCode.INPUT_MISSING, f"{folder} has no {listed(missing)}; it has {listed(sorted(paths))}")
    scored = [name for name in SCORED if name in paths]
    chosen = list(names) or (scored if scored and not everything else sorted(paths))
    return tuple(ScoredObject(name, "folder", path=paths[name], units=units, up=up) for name in chosen)


def _is_mesh(path: Path) -> bool:
    return path.suffix.lower() in MESH_SUFFIXES


def procedural_objects(count: int, seed: int = 0) -> tuple[ScoredObject, ...]:
    """Return made-up household objects, all kinds in turn."""
    kinds = sorted(KINDS)
    return tuple(
        ScoredObject(f"{kinds[i % len(kinds)]}_{seed + i}", "procedural", kind=kinds[i % len(kinds)], seed=seed + i)
        for i in range(count)
    )


def _upright(shape: Shape, units: str, up: str) -> Shape:
    vertices = shape.vertices_obj * UNITS_M[units]
    if up == "y":
        vertices = vertices @ np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    size_m = float((high - low).max())
    if not SMALLEST_M <= size_m <= LARGEST_M:
        likely = [name for name, unit in UNITS_M.items() if 0.02 <= size_m / UNITS_M[units] * unit <= 0.6]
        hint = f"it looks like {likely[0]}: give --units {likely[0]}" if likely else "give its units with --units"
        raise InputError(
            ErrorCode.MESH_INVALID,
            f"{shape.name} is {size_m:g} m long when read in {units}, accepted are {SMALLEST_M:g} to {LARGEST_M:g} m; "
            f"{hint}",
        )
    vertices = vertices - (*((low + high) / 2)[:2], low[2])
    return replace(shape, vertices_obj=vertices)
