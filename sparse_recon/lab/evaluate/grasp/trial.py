"""One grasp, executed: approach, close, lift by 20 cm, shake along and about three axes, hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from sparse_recon.lab.evaluate.grasp.clearance import APPROACH_M
from sparse_recon.lab.evaluate.grasp.gripper import MAX_OPENING_M
from sparse_recon.lab.evaluate.grasp.sampling import Grasp
from sparse_recon.lab.evaluate.grasp.world import (
    AXES,
    CLOSING_SPEED_M_S,
    FINGERS,
    OBJECT,
    TABLE,
    TIMESTEP_S,
    Physics,
    TrueObject,
    load_mujoco,
    make_model,
)
from sparse_recon.types import Float64

# Overlap before closing that counts as a collision: the convex parts may bridge hollows by about as much.
COLLISION_DEPTH_M = 0.002
MAX_SLIP_M = 0.020
LIFT_M = 0.20
SHAKE_M, SHAKE_RAD, SHAKE_HZ = 0.025, 0.25, 3.0  # 0.9 g along each axis
_APPROACH_STEPS = 25
_CLOSE_S, _LIFT_S, _SHAKE_S, _HOLD_S = 0.7, 0.8, 2.0 / SHAKE_HZ, 0.2
_SNAP_EVERY, _LATELY = 20, 25  # steps
_LOST_M = 0.1
_STILL_S = 0.5
STILL_M, STILL_RAD = 0.005, 0.1


class Outcome(IntEnum):
    """What became of a grasp; the numbers are stored in results."""

    SUCCESS = 0
    COLLISION = 1
    MISSED = 2
    SLIPPED = 3
    DROPPED = 4
    NO_GRASP = 5


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of the world at one moment: `qpos` of the MuJoCo model, and the phase it belongs to."""

    phase: str
    qpos: Float64


@dataclass(frozen=True, eq=False)
class Trial:
    """How one grasp went.

    Attributes
    ----------
    slip_m : how far the point of the object that was between the pads after closing ended from there, in the hand's
        frame; NaN where it never was.
    turn_rad : by how much the object turned in the hand meanwhile.
    hit : what the hand met before closing, `object` or `table`, else empty.
    snapshots : for pictures, where they were asked for.
    """

    outcome: Outcome
    slip_m: float = np.nan
    turn_rad: float = np.nan
    hit: str = ""
    snapshots: tuple[Snapshot, ...] = field(default=(), repr=False)


def stands_still(true: TrueObject, physics: Physics) -> bool:
    """Return whether the object stays where it stands for half a second, to 5 mm and 0.1 rad, if nobody touches it."""
    mujoco = load_mujoco()
    model = make_model(true, physics, None)
    data = mujoco.MjData(model)
    before = data.qpos.copy()
    for _ in range(round(_STILL_S / TIMESTEP_S)):
        mujoco.mj_step(model, data)
    moved = float(np.linalg.norm(data.qpos[:3] - before[:3]))
    return moved <= STILL_M and _turn(_matrix(data.body(OBJECT))) <= STILL_RAD


def execute(true: TrueObject, physics: Physics, grasp: Grasp, *, record: bool = False) -> Trial:
    """Execute a grasp; the same arguments give the same result to the last bit.

    A collision is an overlap of more than 2 mm of any part of the hand with the object or the table, anywhere on the
    straight way from the pre-grasp pose, with the object unmoved. A grasp that gets to its pose is closed with a
    limited force. It has missed when after that not both fingers touch the object, it has dropped when one of them does
    not any more in the end, and slipped when the object ended 20 mm or more from where it was held.

    Raises
    ------
    DependencyError
        If MuJoCo cannot be imported.
    """
    return _Run(true, physics, grasp, record).result()


class _Run:
    """A model with its state, and the phases of a trial on it."""

    def __init__(self, true: TrueObject, physics: Physics, grasp: Grasp, record: bool) -> None:
        self._mujoco = load_mujoco()
        self._model: Any = make_model(true, physics, grasp.T_world_grasp)
        self._data: Any = self._mujoco.MjData(self._model)
        self._grasp, self._record = grasp, record
        self._snapshots: list[Snapshot] = []
        self._touching: set[str] = set()
        geoms = range(self._model.ngeom)
        body = [self._model.body(int(self._model.geom_bodyid[g])).name for g in geoms]
        self._kind = [name if name in (OBJECT, *FINGERS) else TABLE if name == "world" else "palm" for name in body]
        self._set_opening(grasp.opening_m)

    def result(self) -> Trial:
        """Go through the phases until one ends it."""
        if hit := self._approach():
            return self._trial(Outcome.COLLISION, hit=hit)
        open_m = self._grasp.opening_m / 2
        self._drive("close", _CLOSE_S, lambda _: _at(2, 0.0), lambda s: open_m - s * _CLOSE_S * CLOSING_SPEED_M_S)
        if self._touching != set(FINGERS):
            return self._trial(Outcome.MISSED)
        held = self._object_in_hand()
        pinched = np.linalg.inv(held)[:, 3]  # the middle of the pads, in the object's frame
        for phase, seconds, motion in _motions():
            self._drive(phase, seconds, motion)
            now = self._object_in_hand()
            slip_m = float(np.linalg.norm((now @ pinched)[:3]))
            if slip_m > _LOST_M:
                return self._trial(Outcome.DROPPED, slip_m)
        turn_rad = _turn(now[:3, :3] @ held[:3, :3].T)
        if self._touching != set(FINGERS):
            return self._trial(Outcome.DROPPED, slip_m, turn_rad)
        return self._trial(Outcome.SLIPPED if slip_m >= MAX_SLIP_M else Outcome.SUCCESS, slip_m, turn_rad)

    def _approach(self) -> str:
        """Move the open hand to its pose with everything else at rest; return what it met."""
        direction = self._grasp.T_world_grasp[:3, 2]
        for share in np.linspace(1.0, 0.0, _APPROACH_STEPS):
            self._data.qpos[self._addresses(AXES[:3])] = -share * APPROACH_M * direction
            self._mujoco.mj_fwdPosition(self._model, self._data)
            if share in (1.0, 0.0):
                self._snap("approach")
            for one, other, depth_m in self._contacts():
                met = {one, other} & {OBJECT, TABLE}
                if depth_m > COLLISION_DEPTH_M and len(met) == 1:
                    self._snap("collision")
                    return met.pop()
        return ""

    def _drive(
        self,
        phase: str,
        seconds: float,
        motion: Callable[[float], Float64],
        fingers: Callable[[float], float] | None = None,
    ) -> None:
        """Move the hand, and the fingers if given; note which of them touch the object in the end.

        What slides in MuJoCo may lose contact for single steps, so that the last 50 ms count.
        """
        steps = round(seconds / TIMESTEP_S)
        self._touching = set()
        for i in range(1, steps + 1):
            self._data.ctrl[: len(AXES)] = motion(i / steps)
            if fingers is not None:
                self._data.ctrl[len(AXES) :] = fingers(i / steps)
            self._mujoco.mj_step(self._model, self._data)
            if i % _SNAP_EVERY == 0:
                self._snap(phase)
            if i > steps - _LATELY:
                self._touching |= {name for pair in self._contacts() if OBJECT in pair[:2] for name in pair[:2]}
        self._touching &= set(FINGERS)

    def _contacts(self) -> Iterator[tuple[str, str, float]]:
        """Yield the kinds of both sides, and how deep they overlap."""
        contact = self._data.contact
        for (one, other), distance_m in zip(contact.geom, contact.dist, strict=True):
            yield self._kind[one], self._kind[other], -float(distance_m)

    def _object_in_hand(self) -> Float64:
        hand, held = self._data.body("hand"), self._data.body(OBJECT)
        T_hand_object = np.eye(4)
        T_hand_object[:3, :3] = _matrix(hand).T @ _matrix(held)
        T_hand_object[:3, 3] = _matrix(hand).T @ (held.xpos - hand.xpos)
        return T_hand_object

    def _addresses(self, names: tuple[str, ...]) -> list[int]:
        return [int(self._model.joint(name).qposadr[0]) for name in names]

    def _set_opening(self, opening_m: float) -> None:
        self._data.qpos[self._addresses(FINGERS)] = min(opening_m, MAX_OPENING_M) / 2

    def _snap(self, phase: str) -> None:
        if self._record:
            self._snapshots.append(Snapshot(phase, self._data.qpos.copy()))

    def _trial(self, outcome: Outcome, slip_m: float = np.nan, turn_rad: float = np.nan, hit: str = "") -> Trial:
        self._snap("end")
        return Trial(outcome, slip_m, turn_rad, hit, tuple(self._snapshots))


def _motions() -> Iterator[tuple[str, float, Callable[[float], Float64]]]:
    """Yield phases after closing: name, seconds, and where the six axes of the hand are at a share of that time."""

    def lift(s: float) -> Float64:
        # Fifth-order polynomial without jerk at its ends (Flash and Hogan 1985).
        return _at(2, LIFT_M * (10 * s**3 - 15 * s**4 + 6 * s**5))

    yield "lift", _LIFT_S, lift
    for axis in range(len(AXES)):
        yield "shake", _SHAKE_S, _shake(axis)
    yield "hold", _HOLD_S, lambda _: _at(2, LIFT_M)


def _shake(axis: int) -> Callable[[float], Float64]:
    amplitude = SHAKE_M if axis < 3 else SHAKE_RAD

    def motion(s: float) -> Float64:
        swing = amplitude * np.sin(2 * np.pi * SHAKE_HZ * _SHAKE_S * s) * np.sin(np.pi * s) ** 2
        return _at(2, LIFT_M) + _at(axis, swing)

    return motion


def _at(axis: int, value: float) -> Float64:
    position = np.zeros(len(AXES))
    position[axis] = value
    return position


def _matrix(body: Any) -> Float64:
    return np.asarray(body.xmat, np.float64).reshape(3, 3)


def _turn(R: npt.NDArray[np.floating]) -> float:
    return float(np.arccos(np.clip((np.trace(R) - 1.0) / 2.0, -1.0, 1.0)))
