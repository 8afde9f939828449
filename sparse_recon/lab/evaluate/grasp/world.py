"""A table, an object of convex parts and a hand that floats: one MuJoCo model a trial.

The hand hangs on six driven axes, so stiff that it goes where it is told; its fingers are coupled as in the Franka Hand
and press with a limited force. Contacts are as hard as the time step allows, with elliptic friction cones and the
no-slip pass, without which objects creep out of any grasp in MuJoCo's soft contacts ("Preventing slip" in its manual).
Pads turn on what they hold against torsional friction (`condim` 4), as rubber does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import DependencyError, ErrorCode, InputError, MeshError
from sparse_recon.lab.evaluate.grasp.gripper import MAX_OPENING_M, Box, finger_boxes, palm_box
from sparse_recon.lab.evaluate.grasp.parts import Part
from sparse_recon.types import Float64, TriangleMesh

TIMESTEP_S = 0.002
GRIP_FORCE_N = 40.0  # of each finger; the Franka Hand holds 70 N
CLOSING_SPEED_M_S = 0.1
TORSION_M = 0.005  # torque over normal force of a pad that turns, over its friction: 2/3 of its radius of about 8 mm
MASS_RANGE_KG = (0.1, 0.6)
FRICTION_RANGE = (0.3, 0.7)

_SLIVER_M3 = 1e-12
_HAND_KG, _FINGER_KG = 0.73, 0.015
_ARMATURE, _TURN_ARMATURE, _FINGER_ARMATURE = 5.0, 0.1, 0.5
_STIFF, _TURN_STIFF, _FINGER_STIFF = 2e5, 2e3, 5e3
TABLE, OBJECT, FINGERS, PALM = "table", "object", ("left", "right"), "palm"
AXES = ("x", "y", "z", "turn_x", "turn_y", "turn_z")
_BITS = {"hand": (1, 6), "object": (2, 5), "table": (4, 3)}  # contype, conaffinity: nothing meets itself


@dataclass(frozen=True, eq=False)
class TrueObject:
    """The object as it is: world frame, z up, on a table.

    Attributes
    ----------
    parts : convex, vertices (V, 3) in the world frame.
    centre_of_mass_world : (3,).
    inertia_per_kg : (3, 3) about the centre of mass, along the world axes, square metres.
    """

    parts: tuple[Part, ...]
    centre_of_mass_world: Float64
    inertia_per_kg: Float64
    table_z_m: float


@dataclass(frozen=True)
class Physics:
    """What a planner does not know: drawn once a case, the same for all sources."""

    mass_kg: float
    friction: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Physics:
        """Draw mass and friction evenly from their ranges."""
        return cls(float(rng.uniform(*MASS_RANGE_KG)), float(rng.uniform(*FRICTION_RANGE)))


def true_object(truth: TriangleMesh, parts: Iterable[Part], T_world_obj: Float64, table_z_m: float) -> TrueObject:
    """Return the object of a case.

    Parameters
    ----------
    truth : its true surface, world frame; mass is spread evenly through what it encloses.
    parts : of the same mesh in the object's frame.

    Raises
    ------
    InputError
        MESH_INVALID if the parts enclose nothing.
    """
    R, t = T_world_obj[:3, :3], T_world_obj[:3, 3]
    placed = tuple(((np.asarray(v, np.float64) @ R.T + t).astype(np.float32), f) for v, f in parts)
    placed = tuple(part for part in placed if _mass_properties(_triangles(part))[0] > _SLIVER_M3)
    corner = truth.vertices_world.astype(np.float64)[truth.faces]
    volume, centre, inertia = _mass_properties(corner)
    if volume <= 0 or np.linalg.eigvalsh(inertia).min() <= 0:  # a scan with holes or turned faces
        volume, centre, inertia = _mass_properties(np.concatenate([np.zeros((0, 3, 3)), *map(_triangles, placed)]))
    if not placed or volume <= 0:
        raise InputError(ErrorCode.MESH_INVALID, "the true object encloses no volume; give a closed mesh")
    return TrueObject(placed, centre, inertia / volume, table_z_m)


def load_mujoco() -> Any:
    """Return the library.

    Raises
    ------
    DependencyError
        If it cannot be imported.
    """
    try:
        import mujoco
    except ImportError as error:
        raise DependencyError("mujoco", "executing grasps", "pip install 'sparse_recon[sim]'") from error
    return mujoco


def make_model(true: TrueObject, physics: Physics, T_world_grasp: Float64 | None) -> Any:
    """Return the MuJoCo model: object on its table, hand at a grasp pose with the jaw open; no hand for None.

    The free joint `object` has its origin in the centre of mass and the world's axes.

    Raises
    ------
    MeshError
        If a part has no volume.
    """
    mujoco = load_mujoco()
    hand = "" if T_world_grasp is None else _hand_xml(T_world_grasp, physics)
    drives = "" if T_world_grasp is None else _drives_xml()
    local = [(v - true.centre_of_mass_world.astype(np.float32), f) for v, f in true.parts]
    xml = f"""<mujoco>
<compiler autolimits="true" boundmass="1e-6" boundinertia="1e-12"/>
<option timestep="{TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="10" noslip_iterations="5">
<flag multiccd="enable"/></option>
<default><geom solref="{2 * TIMESTEP_S} 1" friction="{physics.friction!r} {physics.friction * TORSION_M!r} 0.0001"/>
</default>
<asset>{"".join(_mesh_xml(i, vertices) for i, (vertices, _) in enumerate(local))}</asset>
<worldbody>
<geom name="{TABLE}" type="plane" size="2 2 0.1" pos="0 0 {true.table_z_m!r}" {_bits("table")}/>
{_object_xml(true, physics, len(local))}{hand}
</worldbody>{drives}
</mujoco>"""
    try:
        return mujoco.MjModel.from_xml_string(xml)
    except ValueError as error:
        raise MeshError(f"MuJoCo refuses the convex parts of the object: {error}") from error


def _object_xml(true: TrueObject, physics: Physics, count: int) -> str:
    inertia = true.inertia_per_kg * physics.mass_kg
    full = _text(inertia[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]])
    geoms = "".join(f'<geom type="mesh" mesh="part{i}" {_bits("object")}/>' for i in range(count))
    return f"""<body name="{OBJECT}" pos="{_text(true.centre_of_mass_world)}"><freejoint name="{OBJECT}"/>
<inertial pos="0 0 0" mass="{physics.mass_kg!r}" fullinertia="{full}"/>{geoms}</body>"""


def _hand_xml(T_world_grasp: Float64, physics: Physics) -> str:
    slides = "".join(
        f'<joint name="{name}" type="slide" axis="{axis}" armature="{_ARMATURE}"/>'
        for name, axis in zip(AXES[:3], ("1 0 0", "0 1 0", "0 0 1"), strict=True)
    )
    hinges = "".join(
        f'<joint name="{name}" type="hinge" axis="{axis}" armature="{_TURN_ARMATURE}"/>'
        for name, axis in zip(AXES[3:], ("1 0 0", "0 1 0", "0 0 1"), strict=True)
    )
    rotation = T_world_grasp[:3, :3]
    tiny = '<inertial pos="0 0 0" mass="1e-3" diaginertia="1e-6 1e-6 1e-6"/>'
    fingers = "".join(_finger_xml(name, side) for name, side in zip(FINGERS, (1.0, -1.0), strict=True))
    return f"""<body name="carriage" pos="{_text(T_world_grasp[:3, 3])}" gravcomp="1">{slides}{tiny}
<body name="hand" xyaxes="{_text(rotation[:, 0])} {_text(rotation[:, 1])}" gravcomp="1">{hinges}
<inertial pos="0 0 -0.07" mass="{_HAND_KG}" diaginertia="0.001 0.0025 0.0017"/>
{_box_xml(PALM, palm_box())}{fingers}</body></body>"""


def _finger_xml(name: str, side: float) -> str:
    # The joint is 0 in the closed jaw. Damping would make contacts chatter: the solver does not know of it.
    limits = f'range="0 {MAX_OPENING_M / 2}" armature="{_FINGER_ARMATURE}"'
    boxes = [Box(b.low * (1, side, 1), b.high * (1, side, 1)) for b in finger_boxes()]
    geoms = "".join(
        _box_xml(f"{name}_{part}", Box(np.minimum(*b), np.maximum(*b)), condim=4)
        for part, b in zip(("tip", "stem"), boxes, strict=True)
    )
    return f"""<body name="{name}" gravcomp="1"><joint name="{name}" type="slide" axis="0 {side!r} 0" {limits}/>
<inertial pos="0 0 0" mass="{_FINGER_KG}" diaginertia="2e-6 2e-6 8e-7"/>{geoms}</body>"""


def _drives_xml() -> str:
    stiff = [_STIFF] * 3 + [_TURN_STIFF] * 3
    damped = [2 * np.sqrt(k * a) for k, a in zip(stiff, [_ARMATURE] * 3 + [_TURN_ARMATURE] * 3, strict=True)]
    axes = "".join(
        f'<position joint="{name}" kp="{k!r}" kv="{float(d)!r}"/>'
        for name, k, d in zip(AXES, stiff, damped, strict=True)
    )
    damped_finger = 2 * float(np.sqrt(_FINGER_STIFF * _FINGER_ARMATURE))
    limited = f'kp="{_FINGER_STIFF!r}" kv="{damped_finger!r}" forcerange="{-GRIP_FORCE_N!r} {GRIP_FORCE_N!r}"'
    motors = "".join(f'<position joint="{name}" {limited}/>' for name in FINGERS)
    coupling = f'<joint joint1="{FINGERS[0]}" joint2="{FINGERS[1]}" solref="{2 * TIMESTEP_S} 1"/>'
    return f"<equality>{coupling}</equality><actuator>{axes}{motors}</actuator>"


def _box_xml(name: str, box: Box, condim: int = 3) -> str:
    centre, half = (box.low + box.high) / 2, (box.high - box.low) / 2
    size = f'type="box" pos="{_text(centre)}" size="{_text(half)}"'
    return f'<geom name="{name}" {size} condim="{condim}" {_bits("hand")}/>'


def _mesh_xml(number: int, vertices: npt.NDArray[np.floating]) -> str:
    return f'<mesh name="part{number}" vertex="{_text(vertices.ravel())}"/>'


def _bits(kind: str) -> str:
    own, met = _BITS[kind]
    return f'contype="{own}" conaffinity="{met}"'


def _text(values: Sequence[float] | npt.NDArray[np.floating]) -> str:
    return " ".join(repr(float(v)) for v in values)


def _triangles(part: Part) -> Float64:
    return part[0].astype(np.float64)[part[1]]


def _mass_properties(corner: Float64) -> tuple[float, Float64, Float64]:
    """Return volume, centre of mass and inertia about it, at density 1, of the solid inside triangles (F, 3, 3).

    Each triangle stands for its tetrahedron with the mean corner, so that a hole is closed towards it.
    """
    from trimesh.triangles import mass_properties

    origin = corner.reshape(-1, 3).mean(axis=0)
    a, b, c = (corner - origin).transpose(1, 0, 2)
    o = np.zeros_like(a)
    sides = [np.stack(side, axis=1) for side in ((a, b, c), (o, b, a), (o, c, b), (o, a, c))]
    with np.errstate(divide="ignore", invalid="ignore"):  # the centre of no volume, which is not used
        found = mass_properties(np.concatenate(sides), density=1.0)
    if found.volume <= 0:
        return float(found.volume), origin, np.zeros((3, 3))
    return float(found.volume), origin + found.center_mass, np.asarray(found.inertia, np.float64)
