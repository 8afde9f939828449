"""What the session says of a world that moves: simulated sequences of a table whose things are taken, moved, hidden.

python benchmarks/moving_world.py [--seeds 20] [--cases "taken away" ...] [--cameras fixed ...] [--json FILE]
python benchmarks/moving_world.py --strip docs/moving-world.png

For each case and seed cameras see a table with three household objects, then something happens, then they go on. The
camera is fixed, or goes 3 degrees a frame around the table, or both take turns; objects are found as clusters, by label
images, or by the boxes of a detector. Printed for each:

- frames: frames after the last change until the list is right, and stays so: median, share within two, worst (every
  frame sees the change): each true thing is listed within 3 cm of where it was listed before, moved as it was, and
  nothing where one was;
- ghosts: listed objects at the end where a thing was before; noise: those that were nowhere, ever: bumps of the table;
- lost: true things that the list lacks at the end, those that did not change apart;
- named: moved things that kept their name;
- wrongly gone: completed objects that were declared gone or moved though they had not; kept: those that had been taken
  or moved by 10 cm or more and were not;
- violation: points of what is completed at the end that stand in space that is empty now, of all points.

A bumped camera is right when it is told so, every request is refused, and no completed object is declared gone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sparse_recon import CompletionRequest, CompletionSession, load_config
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.geometry.cameras import project_points
from sparse_recon.geometry.poses import inverse, look_at, pose, transform_points
from sparse_recon.lab.simulate.household import make_shape
from sparse_recon.lab.simulate.render import RenderedView, Renderer
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact, sense
from sparse_recon.lab.simulate.shapes import Shape, load_manifold, painted_shape
from sparse_recon.lab.simulate.truth import seen_empty
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import CompletedObject, Float64, Frame, OrientedBox

BEFORE, AFTER = 4, 5
PERIOD_NS = 1_200_000_000
NEAR_M = 0.03
EMPTY_M = 0.01  # so far in front of what stands there now is empty space
KINDS = ("box", "can", "mug", "bottle")
PLACES = ((-0.17, 0.0), (0.17, 0.02), (0.0, 0.19))
CAMERA = depth_camera(320, 240)
COARSE = {"model": "carve", "evidence.grid": 32, "evidence.fine_grid": 64}

Things = list[tuple[Shape, Float64]]


@dataclass(frozen=True)
class Stage:
    """What is there when a frame is taken.

    Attributes
    ----------
    things : what is to be listed.
    others : what is not: a hand in the air, a person behind the table.
    bump : (4, 4), where the camera is in the frame in which it claims to be.
    """

    things: Things
    others: Things = field(default_factory=list)
    bump: Float64 | None = None


@dataclass
class Tally:
    """What came of one case."""

    frames: list[int] = field(default_factory=list)
    ghosts: int = 0
    noise: int = 0
    lost_still: int = 0
    lost_changed: int = 0
    objects: int = 0
    named: int = 0
    moved: int = 0
    wrongly_gone: int = 0
    still: int = 0
    kept: int = 0
    gone: int = 0
    empty_points: int = 0
    points: int = 0


def turned(angle_rad: float) -> Float64:
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def slab(size_m: tuple[float, float, float], at_m: tuple[float, float, float]) -> tuple[Shape, Float64]:
    solid = load_manifold().cube(size_m, True)
    return painted_shape("slab", solid, lambda points: np.full((len(points), 3), 150, np.uint8)), pose(np.eye(3), at_m)


def lasting(things: Things, **rest: object) -> list[Stage]:
    return [Stage(things, **rest)] * AFTER  # type: ignore[arg-type]


def unchanged(things: Things, rng: np.random.Generator) -> list[Stage]:
    return lasting(things)


def taken(things: Things, rng: np.random.Generator) -> list[Stage]:
    return lasting(things[1:])


def moved(distance_m: float) -> Callable[[Things, np.random.Generator], list[Stage]]:
    def change(things: Things, rng: np.random.Generator) -> list[Stage]:
        shape, T = things[0]
        # Away from the others: none may stand where another does.
        away = -np.mean([other[:2, 3] for _, other in things[1:]], axis=0) + T[:2, 3]
        step = np.array([*(distance_m * away / np.linalg.norm(away)), 0.0])
        return lasting([(shape, pose(T[:3, :3], T[:3, 3] + step)), *things[1:]])

    return change


def turned_in_place(things: Things, rng: np.random.Generator) -> list[Stage]:
    shape, T = things[0]
    return lasting([(shape, pose(T[:3, :3] @ turned(rng.uniform(0.5, 1.0)), T[:3, 3])), *things[1:]])


def covered(things: Things, rng: np.random.Generator) -> list[Stage]:
    """Put something in front of the first thing, towards the cameras, 4 cm before it."""
    shape, T = things[0]
    box = make_shape("box", rng)
    apart_m = 0.04 + np.linalg.norm(np.ptp(shape.vertices_obj, axis=0)[:2]) / 2 + np.ptp(box.vertices_obj[:, 1]) / 2
    return lasting([*things, (box, pose(np.eye(3), (T[0, 3], T[1, 3] - apart_m, 0.0)))])


def hand_passes(things: Things, rng: np.random.Generator) -> list[Stage]:
    """Let an arm reach over two things for two frames, in the air."""
    hands = [slab((0.45, 0.09, 0.07), (x, -0.05, 0.27)) for x in (-0.1, 0.1)]
    return [Stage(things, [hands[0]]), Stage(things, [hands[1]]), *lasting(things)[2:]]


def person_behind(things: Things, rng: np.random.Generator) -> list[Stage]:
    """Let somebody walk by behind the table."""
    walk = [slab((0.5, 0.3, 1.7), (x, 0.75, 0.1)) for x in np.linspace(-0.6, 0.6, AFTER)]
    return [Stage(things, [person]) for person in walk]


def swapped(things: Things, rng: np.random.Generator) -> list[Stage]:
    (a, T_a), (b, T_b) = things[:2]
    return lasting([(a, T_b), (b, T_a), *things[2:]])


def put_back(things: Things, rng: np.random.Generator) -> list[Stage]:
    return [*lasting(things[1:])[:2], *lasting(things)[2:]]


def bumped(things: Things, rng: np.random.Generator) -> list[Stage]:
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(rng.normal(size=3) * np.deg2rad(2.0)).as_matrix()
    return lasting(things, bump=pose(turn, rng.normal(size=3) * 0.015))


CASES: dict[str, Callable[[Things, np.random.Generator], list[Stage]]] = {
    "unchanged": unchanged,
    "taken away": taken,
    "moved 2 cm": moved(0.02),
    "moved 10 cm": moved(0.10),
    "moved 25 cm": moved(0.25),
    "turned in place": turned_in_place,
    "something in front": covered,
    "hand passes": hand_passes,
    "person behind": person_behind,
    "alike, swapped": swapped,
    "put back": put_back,
    "camera bumped": bumped,
}
CAMERAS = ("fixed", "moving", "both")
FOUND_BY = ("clusters", "labels", "boxes")


class Studio:
    """Renders each view of each stage once."""

    def __init__(self, sensor: str, seed: int, with_labels: bool) -> None:
        self._sensor, self._seed, self._with_labels = exact(SENSORS[sensor]), seed, with_labels
        self._views: dict[tuple[int, bytes], tuple[Stage, RenderedView]] = {}
        self._frames = 0

    def view(self, stage: Stage, T_world_cam: Float64) -> RenderedView:
        """Return what an ideal camera sees."""
        key = id(stage), T_world_cam.tobytes()
        if key not in self._views:
            shown = [*stage.things, *stage.others]
            scene = scene_of([shape for shape, _ in shown], [T for _, T in shown])
            self._views[key] = stage, Renderer(scene).render(CAMERA, T_world_cam, shadows=False)
        return self._views[key][1]

    def frame(self, stage: Stage, T_world_cam: Float64, camera: str = "camera") -> Frame:
        """Return what the camera delivers, with the pose that it claims; frames are 1.2 s apart."""
        view = self.view(stage, T_world_cam if stage.bump is None else T_world_cam @ stage.bump)
        self._frames += 1
        rng = np.random.default_rng((self._seed, self._frames))
        stamp_ns = self._frames * PERIOD_NS
        made = sense(view, self._sensor, rng, stamp_ns=stamp_ns, camera=camera, with_labels=self._with_labels)
        labels = made.labels
        if labels is not None:  # what is not to be listed is background
            labels = np.where(labels > len(stage.things), np.int32(0), labels)
        return replace(made, T_world_cam=T_world_cam, labels=labels)


def near(at: Float64, places: Sequence[Float64]) -> bool:
    return any(float(np.linalg.norm(at - place)) < NEAR_M for place in places)


def places(things: Things, seen_off: dict[int, Float64] | None = None) -> list[Float64]:
    """Return where things are on the table; with `seen_off`, where one sees them: the middle of what is seen is not
    the middle of the thing.
    """
    off = seen_off or {}
    return [T[:2, 3] + off.get(id(shape), np.zeros(2)) for shape, T in things]


def listed(session: CompletionSession) -> dict[str, Float64]:
    """Return where listed objects are on the table, by name."""
    return {c.object_id: c.box.T_world_box[:2, 3] for c in session.objects()}


def right(found: dict[str, Float64], now: Things, before: Things, seen_off: dict[int, Float64] | None = None) -> bool:
    """Whether each true thing is listed, and nothing where a thing was before and is not any more."""
    there, were = places(now, seen_off), places(before, seen_off)
    ghosts = [at for at in found.values() if near(at, were) and not near(at, there)]
    return not ghosts and all(near(place, list(found.values())) for place in there)


def detected(things: Things, rng: np.random.Generator) -> list[OrientedBox]:
    """Return the boxes of a detector, 5 mm off and 5 % too large."""
    boxes = []
    for shape, T in things:
        low, high = shape.vertices_obj.min(axis=0), shape.vertices_obj.max(axis=0)
        at = T[:3, :3] @ (0.5 * (low + high)) + T[:3, 3] + rng.normal(size=3) * 0.005
        boxes.append(OrientedBox(pose(T[:3, :3], at), 1.05 * (high - low)))
    return boxes


def eyes(cameras: str, rng: np.random.Generator) -> list[tuple[str, Float64]]:
    """Return the cameras of all frames, and their poses."""
    base = rng.uniform(-2.0, -1.1)
    steps = np.arange(BEFORE + AFTER)
    angles = {"fixed": base + 0 * steps, "moving": base + 0.06 * steps, "both": base + 0.06 * steps * (steps % 2)}
    names = ["mast" if cameras == "both" and k % 2 == 0 else "wrist" for k in steps]
    return [
        (name, look_at((0.75 * np.cos(a), 0.75 * np.sin(a), 0.55), (0.0, 0.05, 0.03)))
        for name, a in zip(names, angles[cameras], strict=True)
    ]


def start(name: str, rng: np.random.Generator) -> Things:
    kinds = [str(rng.choice(KINDS)) for _ in PLACES]
    shapes = [make_shape(kind, rng) for kind in kinds]
    if name == "alike, swapped":
        shapes[1] = shapes[0]
    return [
        (shape, pose(turned(rng.uniform(0, 6)), (*place, 0.0))) for shape, place in zip(shapes, PLACES, strict=True)
    ]


def run(name: str, seed: int, args: argparse.Namespace, cameras: str, found_by: str, tally: Tally) -> None:
    rng = np.random.default_rng((seed, sorted(CASES).index(name)))
    things = start(name, rng)
    studio = Studio(args.sensor, seed, found_by == "labels")
    session = CompletionSession(load_config(COARSE))
    poses = eyes(cameras, rng)

    def look(stage: Stage, number: int) -> dict[str, Float64]:
        camera, T_world_cam = poses[number]
        session.add_frame(studio.frame(stage, T_world_cam, camera))
        if found_by == "boxes":
            session.suggest(detected(stage.things, rng))
        return listed(session)

    first = Stage(things)
    for number in range(BEFORE):
        before = look(first, number)
    if not right(before, things, things) or len(before) != len(things):
        return  # what is not found at rest says nothing about change
    seen_off = _seen_off(before, things)
    completed = {at: session.complete(CompletionRequest(object_id=n)) for n, at in _places_of(before, things).items()}
    stages = CASES[name](things, rng)
    settled = next(k for k in range(AFTER) if all(stage.things == stages[-1].things for stage in stages[k:]))
    until, wrong = AFTER + 1 - settled, set()
    for number, stage in enumerate(stages):
        found = look(stage, BEFORE + number)
        out = session.out_of_date(list(completed.values()))
        for at, item in list(completed.items()):
            if item.object_id in out:
                wrong |= {at} & set(_unchanged(things, [stage.things for stage in stages]))
                del completed[at]
        if stage.bump is None and number >= settled:
            until = (
                min(until, number + 1 - settled)
                if right(found, stage.things, things, seen_off)
                else AFTER + 1 - settled
            )
    if stages[-1].bump is not None:
        until = 1 if session.bumps and not wrong and all(_refused(session, n) for n in found) else AFTER + 1
    _count(tally, name, things, stages, found, before, until, seen_off)
    still, gone = _unchanged(things, [s.things for s in stages]), _far(things, stages[-1].things)
    tally.wrongly_gone += len(wrong)
    tally.still += len(still)
    tally.kept += sum(at in completed for at in gone)
    tally.gone += len(gone)
    if stages[-1].bump is None:
        ideal = [studio.view(Stage(stages[-1].things), T) for _, T in poses[BEFORE:]]
        for item in _completed_now(session, found):
            tally.empty_points += int(seen_empty(item.points_world, ideal, EMPTY_M).sum())
            tally.points += len(item.points_world)


Place = tuple[float, float]


def _places_of(found: dict[str, Float64], things: Things) -> dict[str, Place]:
    """Return the true place of each listed object."""
    true = places(things)
    return {name: tuple(min(true, key=lambda t: np.linalg.norm(t - at))) for name, at in found.items()}  # type: ignore[misc]


def _unchanged(things: Things, later: Sequence[Things]) -> list[Place]:
    return [tuple(T[:2, 3]) for shape, T in things if all(any(T is other for _, other in now) for now in later)]


def _far(things: Things, now: Things) -> list[Place]:
    """Return the places from which things were taken, or moved by most of their width."""
    left = places(now)
    return [tuple(at) for at in places(things) if min(np.linalg.norm(at - other) for other in left) > 0.08]


def _refused(session: CompletionSession, name: str) -> bool:
    try:
        session.complete(CompletionRequest(object_id=name))
    except EvidenceError as error:
        return error.code is ErrorCode.EVIDENCE_CONTRADICTS
    return False


def _completed_now(session: CompletionSession, found: dict[str, Float64]) -> list[CompletedObject]:
    made = []
    for name in found:
        try:
            made.append(session.complete(CompletionRequest(object_id=name)))
        except EvidenceError:
            continue
    return made


def _count(
    tally: Tally,
    name: str,
    things: Things,
    stages: Sequence[Stage],
    found: dict[str, Float64],
    before: dict[str, Float64],
    until: int,
    seen_off: dict[int, Float64],
) -> None:
    tally.frames.append(until)
    if stages[-1].bump is not None:
        return
    now = stages[-1].things
    there, were = places(now, seen_off), places(things, seen_off)
    tally.objects += len(now)
    strangers = [at for at in found.values() if not near(at, there)]
    tally.ghosts += sum(near(at, were) for at in strangers)
    tally.noise += sum(not near(at, were) for at in strangers)
    lost = [not near(place, list(found.values())) for place in there]
    changed = 1 if name.startswith(("moved", "turned", "put back")) else 0
    tally.lost_changed += sum(lost[:changed])
    tally.lost_still += sum(lost[changed:])
    if name.startswith("moved"):
        tally.moved += 1
        old = next(n for n, at in before.items() if near(at, were[:1]))
        tally.named += old in found and near(found[old], there[:1])


def _seen_off(found: dict[str, Float64], things: Things) -> dict[int, Float64]:
    """Return by how much the place of each thing in the list is off, by shape."""
    at = list(found.values())
    nearest = {id(shape): min(at, key=lambda a, T=T: np.linalg.norm(a - T[:2, 3])) for shape, T in things}  # type: ignore[misc]
    return {id(shape): nearest[id(shape)] - T[:2, 3] for shape, T in things}


def line(title: str, tally: Tally) -> str:
    frames = tally.frames or [0]
    within = 100 * np.mean([f <= 2 for f in frames])
    empty = 100 * tally.empty_points / max(tally.points, 1)
    return (
        f"{title:38} sequences {len(tally.frames):3}  frames {np.median(frames):.0f}, within 2: {within:.0f} %, worst "
        f"{max(frames)}  ghosts {tally.ghosts}  noise {tally.noise}  lost: still {tally.lost_still}, changed "
        f"{tally.lost_changed} of {tally.objects}  named {tally.named}/{tally.moved}  wrongly gone "
        f"{tally.wrongly_gone}/{tally.still}  kept {tally.kept}/{tally.gone}  violation {empty:.2f} %"
    )


def total(tallies: Sequence[Tally]) -> Tally:
    both = Tally()
    for tally in tallies:
        for name, value in vars(tally).items():
            setattr(both, name, getattr(both, name) + value)
    return both


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
    session, tiles, studio = CompletionSession(load_config(COARSE)), [], Studio("realsense", 4, False)
    for text, now in steps:
        frame = studio.frame(Stage(now), eye)
        session.add_frame(frame)
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
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--cameras", nargs="+", choices=CAMERAS, default=list(CAMERAS))
    parser.add_argument("--found-by", nargs="+", choices=FOUND_BY, default=["clusters"])
    parser.add_argument("--sensor", choices=sorted(SENSORS), default="realsense")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--strip", type=Path, metavar="PNG", help="draw a pick and end")
    args = parser.parse_args()
    if args.strip:
        strip(args.strip)
        return
    report = {}
    for found_by in args.found_by:
        for cameras in args.cameras:
            for name in args.cases:
                tally = Tally()
                for seed in range(args.seeds):
                    run(name, seed, args, cameras, found_by, tally)
                title = f"{found_by:9}{cameras:8}{name}"
                report[title] = tally
                print(line(title, tally), flush=True)
                if args.json:
                    args.json.write_text(json.dumps({key: vars(value) for key, value in report.items()}, indent=2))
    print(line("all", total(list(report.values()))))


if __name__ == "__main__":
    main()
