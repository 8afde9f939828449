"""What the session says of a world that moves: simulated sequences of a table whose objects are taken, moved, turned.

python benchmarks/moving_world.py [--seeds 20] [--sensor realsense] [--json FILE]
python benchmarks/moving_world.py --strip docs/moving-world.png

For each case and seed a camera (fixed, or moving by a few centimetres a frame) sees a table with two to three household
objects, then one of them changes, then the camera goes on. Printed for each case:

- frames: frames after the change until the list is right, and stays so (median and worst; every frame sees the change):
  each true thing is listed once within 3 cm, and nothing where a thing was before;
- ghosts: listed objects at the end where a thing was before;
- noise: listed objects at the end that were nowhere, ever: bumps of the table;
- lost: true objects that the list lacks at the end, those that did not change apart;
- named: moved objects that kept their name.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sparse_recon import CompletionSession, load_config
from sparse_recon.geometry.cameras import project_points
from sparse_recon.geometry.poses import inverse, look_at, pose, transform_points
from sparse_recon.lab.simulate.household import make_shape
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact
from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import Float64, Frame

BEFORE, AFTER = 4, 5
PERIOD_NS = 1_200_000_000
NEAR_M = 0.03
KINDS = ("box", "can", "mug", "bottle")
PLACES = ((-0.17, 0.0), (0.17, 0.02), (0.0, 0.19))


@dataclass
class Case:
    """Tallies of one case."""

    frames: list[int] = field(default_factory=list)
    ghosts: int = 0
    noise: int = 0
    lost_still: int = 0
    lost_changed: int = 0
    objects: int = 0
    named: int = 0
    moved: int = 0


Things = list[tuple[Shape, Float64]]


def turned(angle_rad: float) -> Float64:
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def taken(things: Things, rng: np.random.Generator) -> Things:
    return things[1:]


def moved(distance_m: float) -> Callable[[Things, np.random.Generator], Things]:
    def change(things: Things, rng: np.random.Generator) -> Things:
        shape, T = things[0]
        # Away from the others: none may stand where another does.
        away = -np.mean([other[:2, 3] for _, other in things[1:]], axis=0) + T[:2, 3]
        step = np.array([*(distance_m * away / np.linalg.norm(away)), 0.0])
        return [(shape, pose(T[:3, :3], T[:3, 3] + step)), *things[1:]]

    return change


def turned_in_place(things: Things, rng: np.random.Generator) -> Things:
    shape, T = things[0]
    return [(shape, pose(T[:3, :3] @ turned(rng.uniform(0.5, 1.0)), T[:3, 3])), *things[1:]]


def unchanged(things: Things, rng: np.random.Generator) -> Things:
    return things


def covered(things: Things, rng: np.random.Generator) -> Things:
    """Put something in front of the first thing, towards the cameras."""
    _, T = things[0]
    front = T[:3, 3] + np.array([0.0, -0.12, 0.0])
    return [*things, (make_shape("box", rng), pose(np.eye(3), (*front[:2], 0.0)))]


CASES: dict[str, Callable[[Things, np.random.Generator], Things]] = {
    "unchanged": unchanged,
    "taken away": taken,
    "moved 2 cm": moved(0.02),
    "moved 10 cm": moved(0.10),
    "moved 25 cm": moved(0.25),
    "turned in place": turned_in_place,
    "something in front": covered,
}


def frames_of(things: Things, poses: Sequence[Float64], sensor: str, first_ns: int, seed: int) -> list[Frame]:
    scene = scene_of([shape for shape, _ in things], [T for _, T in things])
    made = record(
        scene,
        tuple(poses),
        sensor=exact(SENSORS[sensor]),
        intrinsics=depth_camera(320, 240),
        with_labels=False,
        seed=seed,
    ).frames
    return [replace(frame, stamp_ns=first_ns + k * PERIOD_NS) for k, frame in enumerate(made)]


def near(at: Float64, places: Sequence[Float64]) -> bool:
    return any(float(np.linalg.norm(at - place)) < NEAR_M for place in places)


def places(things: Things) -> list[Float64]:
    return [T[:2, 3] for _, T in things]


def listed(session: CompletionSession) -> dict[str, Float64]:
    """Return where listed objects are on the table, by name."""
    return {c.object_id: c.box.T_world_box[:2, 3] for c in session.objects()}


def right(found: dict[str, Float64], now: Things, before: Things) -> bool:
    """Whether each true thing is listed, and nothing where a thing was before and is not any more."""
    ghosts = [at for at in found.values() if near(at, places(before)) and not near(at, places(now))]
    return not ghosts and all(near(place, list(found.values())) for place in places(now))


def run(name: str, seed: int, sensor: str, moving: bool, case: Case) -> None:
    rng = np.random.default_rng((seed, sorted(CASES).index(name)))
    things: Things = [
        (make_shape(str(rng.choice(KINDS)), rng), pose(turned(rng.uniform(0, 6)), (*place, 0.0))) for place in PLACES
    ]
    base = rng.uniform(-2.0, -1.1)
    angles = base + (np.arange(BEFORE + AFTER) * 0.06 if moving else np.zeros(BEFORE + AFTER))
    poses = [look_at((0.75 * np.cos(a), 0.75 * np.sin(a), 0.55), (0.0, 0.05, 0.03)) for a in angles]
    session = CompletionSession(load_config({"model": "carve"}))
    for frame in frames_of(things, poses[:BEFORE], sensor, PERIOD_NS, seed):
        session.add_frame(frame)
    before = listed(session)
    if not right(before, things, things) or len(before) != len(things):
        return  # what is not found at rest says nothing about change
    now, until = CASES[name](things, rng), AFTER + 1
    for number, frame in enumerate(frames_of(now, poses[BEFORE:], sensor, (BEFORE + 1) * PERIOD_NS, seed + 1000), 1):
        session.add_frame(frame)
        found = listed(session)
        until = min(until, number) if right(found, now, things) else AFTER + 1
    case.frames.append(until)
    case.objects += len(now)
    strangers = [at for at in found.values() if not near(at, places(now))]
    case.ghosts += sum(near(at, places(things)) for at in strangers)
    case.noise += sum(not near(at, places(things)) for at in strangers)
    lost = [not near(place, list(found.values())) for place in places(now)]
    changed = 1 if name.startswith(("moved", "turned")) else 0
    case.lost_changed += sum(lost[:changed])
    case.lost_still += sum(lost[changed:])
    if name.startswith("moved"):
        case.moved += 1
        old = next(n for n, at in before.items() if near(at, places(things[:1])))
        case.named += old in found and near(found[old], places(now[:1]))


def strip(path: Path) -> None:
    """Draw what a fixed camera sees of a pick, with the boxes of the list after each frame."""
    import cv2
    from PIL import Image

    rng = np.random.default_rng(4)
    kinds = ("bottle", "can", "box")
    things: Things = [
        (make_shape(kind, rng), pose(turned(0.4), (*place, 0.0))) for kind, place in zip(kinds, PLACES, strict=True)
    ]
    eye = look_at((-0.25, -0.72, 0.6), (0.0, 0.05, 0.03))
    put = [(things[0][0], pose(turned(0.4), (-0.05, -0.16, 0.0))), *things[1:]]
    steps = (("three things", things), ("one is taken", things[1:]), ("and put elsewhere", put))
    session, tiles, stamp_ns = CompletionSession(load_config({"model": "carve"})), [], 0
    for text, now in steps:
        for frame in frames_of(now, [eye], "realsense", stamp_ns + PERIOD_NS, stamp_ns % 97):
            session.add_frame(frame)
            stamp_ns = frame.stamp_ns
        image = np.ascontiguousarray(frame.rgb)
        for candidate in session.objects():
            corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
            world = transform_points(candidate.box.T_world_box, corners * candidate.box.size_m)
            uv = project_points(transform_points(inverse(frame.T_world_cam), world), frame.intrinsics)
            low, high = (tuple(map(int, limit)) for limit in (uv.min(axis=0), uv.max(axis=0)))
            cv2.rectangle(image, low, high, (255, 140, 0), 1)
            cv2.putText(image, candidate.object_id, (low[0], high[1] + 12), 0, 0.4, (190, 90, 0), 1, cv2.LINE_AA)
        cv2.putText(image, text, (6, 232), 0, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(image)
    Image.fromarray(np.concatenate(tiles, axis=1)).quantize(128).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sensor", choices=sorted(SENSORS), default="realsense")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--strip", type=Path, metavar="PNG", help="draw a pick and end")
    args = parser.parse_args()
    if args.strip:
        strip(args.strip)
        return
    report = {}
    for moving in (False, True):
        for name in CASES:
            case = Case()
            for seed in range(args.seeds):
                run(name, seed, args.sensor, moving, case)
            frames = case.frames or [0]
            print(
                f"{'moving' if moving else 'fixed':7}{name:20} sequences {len(case.frames):3}  "
                f"frames {np.median(frames):.0f}, worst {max(frames)}  ghosts {case.ghosts}  noise {case.noise}  "
                f"lost: still {case.lost_still}, changed {case.lost_changed} of {case.objects}  "
                f"named {case.named}/{case.moved}",
                flush=True,
            )
            report[f"{'moving' if moving else 'fixed'} {name}"] = vars(case)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
