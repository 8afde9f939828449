"""Whether the views of a recording belong together, and if not, which of the usual mistakes would explain it.

Frames that see the same place must measure the same surface there. Where poses, axes, units or calibrations are wrong
they do not, and everything that is made of them is wrong however sure it looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sparse_recon.evidence.sampling import evenly_sampled
from sparse_recon.geometry.cameras import every_nth_pixel, pixel_rays, project_points
from sparse_recon.geometry.poses import inverse, pose, rotation_angle, transform_points
from sparse_recon.types import CameraIntrinsics, Float32, Float64, Frame

# Pixels along the longer edge of a compared image; frames that are compared, evenly spread.
PIXELS, MAX_FRAMES = 80, 12
# Depths agree within this, and this share of the depth: poses of robots are off by millimetres and a degree.
TOLERANCE_M, TOLERANCE_SHARE = 0.015, 0.01
# Frames share a place where so large a share of one's points is in front of the other, and its surface by so many.
MIN_SHARED, MIN_AGREEING = 0.1, 0.1
# Poses nearer than this are one view.
SAME_MOVE_M, SAME_TURN_RAD = 0.01, 0.02
# Views belong together where half of the pairs that share a place agree to this share, and do not where they agree less
# than that and look through so much of each other's surface.
GOOD_AGREEMENT, BAD_AGREEMENT, BAD_THROUGH = 0.7, 0.45, 0.4
# Frames of one pose that agree to this share show the same scene.
TWINS_AGREE = 0.9
# Cameras that look at things on a table have median depths between these; half of the upper one is doubtful already.
CREDIBLE_M = (0.2, 4.0)
# A mistake explains what does not fit when without it so much more of it does.
BETTER = 0.15

_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # optical axes in a body frame (REP 103)
_OPENGL = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well views fit.

    Attributes
    ----------
    pairs : of different views that share a place.
    share : of what one of a pair measured in front of the other, the part that it measured alike; the median over the
        pairs, NaN where there are none.
    through : of what one measured and the other does not hide, the part that the other looks through; median, NaN.
    alone : frames that share no surface with any other one.
    frames : compared frames of different poses.
    """

    pairs: int
    share: float
    through: float
    alone: int
    frames: int

    @property
    def good(self) -> bool:
        """Whether most of the views fit."""
        return self.pairs > 0 and self.share >= GOOD_AGREEMENT and self.alone <= 0.5 * self.frames

    @property
    def bad(self) -> bool:
        """Whether views of the same place contradict each other; what they hide from each other does not count."""
        return self.pairs > 0 and self.share < BAD_AGREEMENT and self.through > BAD_THROUGH

    @property
    def apart(self) -> bool:
        """Whether no view shows what another one does."""
        return self.frames > 2 and self.alone == self.frames


@dataclass(frozen=True, eq=False)
class _View:
    points_cam: Float32
    nearest_m: Float32
    farthest_m: Float32
    camera: CameraIntrinsics
    T_world_cam: Float64


@dataclass(frozen=True)
class Explanation:
    """A mistake that would explain why views do not fit: what it is, and what to do."""

    name: str
    text: str
    agreement: Agreement


def agreement(frames: Sequence[Frame]) -> Agreement:
    """Measure how well frames with depth fit each other."""
    views = [_view(f) for f in _different(frames)]
    shares: list[float] = []
    throughs: list[float] = []
    partners = np.zeros(len(views), int)
    for i, a in enumerate(views):
        for j, b in enumerate(views):
            if i == j:
                continue
            agree, through, hidden, points = _compared(a, b)
            if agree >= MIN_AGREEING * points:
                partners[i] += 1
            if agree + through + hidden >= MIN_SHARED * points:
                shares.append(agree / (agree + through + hidden))
                throughs.append(through / max(agree + through, 1))
    share, looked_through = (float(np.median(x)) if x else float("nan") for x in (shares, throughs))
    return Agreement(len(shares), share, looked_through, int(np.sum(partners == 0)), len(views))


def still_agreement(frames: Sequence[Frame]) -> tuple[int, float]:
    """Return how many pairs of frames after each other have one pose, and how far they agree, as `Agreement.share`.

    Where most of these frames have a twin among them, things come and go before a camera that stands still: then it is
    how far twins agree.
    """
    depth = [f for f in frames if f.depth_m is not None]
    pairs = [(a, b) for a, b in pairwise(depth) if a.camera == b.camera and _same_pose(a, b)][:MAX_FRAMES]
    if not pairs:
        return 0, float("nan")
    views = {id(f): _view(f) for pair in pairs for f in pair}
    share = float(np.median([_alike(views[id(a)], views[id(b)]) for a, b in pairs]))
    if share < BAD_AGREEMENT:
        still = list({id(f): f for pair in pairs for f in pair}.values())
        best = np.zeros(len(still))
        for j, b in enumerate(still):
            for i, a in enumerate(still[:j]):
                if a.camera == b.camera and _same_pose(a, b):
                    best[[i, j]] = np.maximum(best[[i, j]], _alike(views[id(a)], views[id(b)]))
        if np.median(best) >= TWINS_AGREE:
            share = float(np.median(best))
    return len(pairs), share


def _alike(a: _View, b: _View) -> float:
    agree, through, hidden, points = _compared(a, b)
    return agree / max(agree + through + hidden, 1) if points else 1.0


def explanations(frames: Sequence[Frame], found: Agreement) -> list[Explanation]:
    """Return the usual mistakes without which frames that fit as `found` would fit better, the best first."""
    share = 0.0 if found.pairs == 0 else found.share
    explained = []
    for name, text, corrected in MISTAKES:
        before = _different(frames)
        better = [corrected(frame) for frame in before]
        fit = agreement(better) if _credible(_median_m(before), _median_m(better)) else found
        if fit.good and (fit.share > share + BETTER or found.apart):
            explained.append(Explanation(name, text, fit))
    return sorted(explained, key=lambda e: (e.agreement.alone, -e.agreement.share))


def _median_m(frames: Sequence[Frame]) -> float:
    medians = [float(np.nanmedian(f.depth_m)) for f in frames if f.depth_m is not None and (f.depth_m > 0).any()]
    return float(np.median(medians)) if medians else float("nan")


def _credible(before_m: float, after_m: float) -> bool:
    """Return whether depths may have been taken for others: those of the wrong unit are too small or too large."""
    low_m, high_m = CREDIBLE_M
    return (
        (after_m > before_m * 1.5 and before_m < low_m < after_m < high_m)
        or (after_m < before_m / 1.5 and low_m < after_m < high_m < 2.0 * before_m)
        or before_m / 1.5 <= after_m <= before_m * 1.5
    )


def _scaled(factor: float) -> Callable[[Frame], Frame]:
    def corrected(frame: Frame) -> Frame:
        assert frame.depth_m is not None
        return replace(frame, depth_m=frame.depth_m * np.float32(factor))

    return corrected


def _planar(frame: Frame) -> Frame:
    assert frame.depth_m is not None
    length = np.linalg.norm(pixel_rays(frame.intrinsics), axis=-1)
    return replace(frame, depth_m=(frame.depth_m / length).astype(np.float32))


def _turned(R: Float64) -> Callable[[Frame], Frame]:
    return lambda frame: replace(frame, T_world_cam=frame.T_world_cam @ pose(R, (0.0, 0.0, 0.0)))


def _inverted(frame: Frame) -> Frame:
    return replace(frame, T_world_cam=inverse(frame.T_world_cam))


def _inverted_opengl(frame: Frame) -> Frame:
    return replace(frame, T_world_cam=inverse(frame.T_world_cam) @ pose(_OPENGL, (0.0, 0.0, 0.0)))


def _transposed(frame: Frame) -> Frame:
    return replace(frame, T_world_cam=pose(frame.T_world_cam[:3, :3].T, frame.T_world_cam[:3, 3]))


Correction = Callable[[Frame], Frame]
MISTAKES: tuple[tuple[str, str, Correction], ...] = (
    (
        "body_frame",
        "the camera frame has the axes of a body (x forward, z up) where an optical frame is needed (z forward, y "
        "down): name the optical frame in the images, or publish a static transform to one",
        _turned(_BODY),
    ),
    (
        "opengl",
        "the poses have the axes of OpenGL and Blender (y up, looking along -z): turn them by 180 degrees about x",
        _turned(_OPENGL),
    ),
    ("inverted", "the poses map the world into the camera: invert them", _inverted),
    (
        "inverted_opengl",
        "the poses map the world into a camera with the axes of OpenGL: invert them and turn them by 180 degrees "
        "about x",
        _inverted_opengl,
    ),
    ("transposed", "the rotations of the poses are transposed: invert the rotation, not the translation", _transposed),
    *(
        (
            f"depth_times_{factor:g}",
            f"depth is {what}: set depth.unit_m, or publish metres (32FC1) or millimetres (16UC1, REP 118)",
            _scaled(factor),
        )
        for factor, what in (
            (0.25, "4 times as large as it should be, as of counts of 0.25 mm"),
            (0.2, "5 times as large as it should be, as of counts of 1/5000 m"),
            (0.1, "10 times as large as it should be, as of counts of 0.1 mm"),
            (0.001, "1000 times as large as it should be, as of float millimetres"),
            (2.0, "half as large as it should be"),
            (10.0, "a tenth of what it should be"),
            (1000.0, "a thousandth of what it should be, as of metres taken for millimetres"),
        )
    ),
    (
        "radial",
        "depth is the distance along the ray, as simulators and some time-of-flight cameras give it, where REP 118 has "
        "it along the optical axis: convert it",
        _planar,
    ),
)


def _different(frames: Sequence[Frame]) -> list[Frame]:
    """Return frames with depth from different poses, evenly spread where they are many."""
    chosen: list[Frame] = []
    for frame in frames:
        if frame.depth_m is not None and not any(_same_pose(frame, other) for other in chosen):
            chosen.append(frame)
    return evenly_sampled(chosen, MAX_FRAMES)


def _same_pose(a: Frame, b: Frame) -> bool:
    T = inverse(a.T_world_cam) @ b.T_world_cam
    return bool(np.linalg.norm(T[:3, 3]) < SAME_MOVE_M and rotation_angle(T) < SAME_TURN_RAD)


def _view(frame: Frame) -> _View:
    import cv2

    assert frame.depth_m is not None
    n = max(1, max(frame.depth_m.shape) // PIXELS)
    depth_m = frame.depth_m[::n, ::n]
    camera = every_nth_pixel(frame.intrinsics, n)
    valid, kernel = depth_m > 0, np.ones((3, 3), np.uint8)
    nearest: Float32 = np.asarray(cv2.erode(np.where(valid, depth_m, np.float32(np.inf)), kernel), np.float32)
    farthest: Float32 = np.asarray(cv2.dilate(np.where(valid, depth_m, np.float32(-np.inf)), kernel), np.float32)
    points = (pixel_rays(camera) * depth_m[..., None])[valid]
    return _View(points, nearest, farthest, camera, frame.T_world_cam)


def _compared(a: _View, b: _View) -> tuple[int, int, int, int]:
    """Return how many points of a view agree with another one, how many it looks through, cannot see; and all."""
    T = inverse(b.T_world_cam) @ a.T_world_cam
    points = transform_points(T, a.points_cam.astype(np.float64))
    with np.errstate(invalid="ignore"):
        uv = np.rint(project_points(points, b.camera))
        height, width = b.nearest_m.shape
        inside = (uv >= 0).all(axis=1) & (uv[:, 0] < width) & (uv[:, 1] < height)
    u, v = uv[inside].astype(int).T
    z, nearest, farthest = points[inside, 2], b.nearest_m[v, u], b.farthest_m[v, u]
    measured = np.isfinite(nearest) & np.isfinite(farthest)
    z, nearest, farthest = z[measured], nearest[measured], farthest[measured]
    tolerance = TOLERANCE_M + TOLERANCE_SHARE * z
    through, hidden = z < nearest - tolerance, z > farthest + tolerance
    agree = len(z) - int(through.sum()) - int(hidden.sum())
    return agree, int(through.sum()), int(hidden.sum()), len(points)
