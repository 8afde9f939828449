"""Instances of single frames brought together in space: which point of the scene is of which thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from sparse_recon.config.observation_config import SegmentConfig
from sparse_recon.geometry.cameras import unproject_depth
from sparse_recon.geometry.clouds import inside_box, keys_of_points
from sparse_recon.geometry.convex_overlap import overlap_share
from sparse_recon.geometry.poses import rotation_to_up, transform_points
from sparse_recon.observe.label_segments import LabelGroup, LabelSegments
from sparse_recon.observe.object_score import ObjectCues
from sparse_recon.observe.refused import Refused
from sparse_recon.observe.regions import ClusterRegion, pixel_points_world
from sparse_recon.observe.segment import SceneClusters, SupportPlane, gap_cues, largest_clusters, number_pieces
from sparse_recon.observe.segmenter.decoding import Instances
from sparse_recon.observe.still import is_same_pose
from sparse_recon.observe.wholeness import wholeness
from sparse_recon.requests import RejectionReason
from sparse_recon.types import Bool, Float32, Float64, Frame, Int32, OrientedBox

# The plane under a frame is rounded to these steps, so that a frame need not be looked at anew with each that comes.
UP_STEP, HEIGHT_STEP_M = 0.004, 0.001
STEP = 2  # every so many-th pixel votes
# A point is of the thing that gets so large a share of the votes of all pixels that measured it.
MAJORITY = 0.5
# What stands out of the plane may be a thing too though it was not told apart, but for what belongs to things by more
# than this: a remainder of these.
REMAINDER_SHARE = 0.3
# What is too large and of things by so large a share of its pixels is a pile and has no walls.
PILE_SHARE = 0.9
# Of what was measured within the outline of a thing, at least so large a share is of it.
WHOLE_SHARE = 0.5
# ... but for what other things hide that are nearer by this.
NEARER_M = 0.02
# A piece of wall has so large a share of its points on one.
WALL_SHARE = 0.6

# Groups are one thing where frames that see both give them one label so often.
ONE_THING, JOINS = 0.35, 4
# A frame's word on two groups counts whole where it sees so many pixels of both.
TELLING_PIXELS = 50.0
# Groups that touch are one thing where they stand above each other: outlines from above share this much of the smaller.
STACKED_SHARE = 0.5
# Two that share less of the smaller outline stand beside each other.
BESIDE_SHARE = 0.1

Checkpoint = Callable[[], None]
FrameKey = tuple[str, int]
Segment = Callable[[Frame, SupportPlane], Instances]


@dataclass(frozen=True, eq=False)
class Solid:
    """Which pixels of a frame are of things at all, (H, W) bool, and which pose (4, 4) it was taken from."""

    pixels: Bool
    T_world_cam: Float64

    def of(self, frame: Frame) -> Bool:
        """Return the same for a frame of every n-th pixel."""
        step = max(1, round(self.pixels.shape[0] / frame.rgb.shape[0]))
        return self.pixels[::step, ::step]

    def fits(self, frame: Frame) -> bool:
        """Whether a frame has these pixels, or every n-th of them: cameras change their resolution."""
        return self.of(frame).shape == frame.rgb.shape[:2]


@dataclass(frozen=True, eq=False)
class Look:
    """What one frame says of the scene: of each measured pixel (P,) the point it is in, its label, and whether a thing.

    Attributes
    ----------
    points, labels : (P,) int64.
    thing : (P,) float32, probability of being of a thing.
    pixels : (P, 2) int32, column and row in an image of `shape` (height, width) that has every `STEP`-th pixel.
    depth_m : (P,) float32.
    """

    points: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    thing: Float32
    pixels: npt.NDArray[np.int32]
    shape: tuple[int, int]
    depth_m: Float32


class ThingRegion(ClusterRegion):
    """The pixels whose point is nearest to one thing, but for those that are of no thing where a frame says so.

    What smears around an outline in the depth image, and the table beside a thing, is not the thing. A frame that was
    not looked at, since nothing is new in it, has the things of the last one before it from the same pose. Without one,
    what lies within `flat_m` of the support plane is the table.
    """

    def __init__(
        self, scene: SceneClusters, number: int, reach_m: float, solid: dict[FrameKey, Solid], flat_m: float
    ) -> None:
        super().__init__(scene, number, reach_m)
        self._solid, self._plane, self._flat_m = solid, scene.plane, flat_m

    def mask(self, frame: Frame) -> Bool:
        mask = super().mask(frame)
        solid = self._solid.get((frame.camera, frame.stamp_ns)) or self._solid_before(frame)
        if solid is not None:
            return mask & solid.of(frame)
        if self._plane is not None and frame.depth_m is not None and mask.any():
            points_cam = unproject_depth(frame.depth_m, frame.intrinsics, mask)
            points = transform_points(frame.T_world_cam, points_cam).astype(np.float32)
            mask[mask] = self._plane.heights(points) > self._flat_m
        return mask

    def _solid_before(self, frame: Frame) -> Solid | None:
        before = [
            (stamp_ns, solid)
            for (camera, stamp_ns), solid in self._solid.items()
            if camera == frame.camera
            and stamp_ns < frame.stamp_ns
            and solid.fits(frame)
            and is_same_pose(solid.T_world_cam, frame.T_world_cam)
        ]
        return max(before, key=lambda entry: entry[0])[1] if before else None


class InstanceFinder:
    """Remembers what it found in a frame as long as that frame is among those that are asked about.

    Parameters
    ----------
    segment : tells the things of one frame apart.
    voxel_size_m : edge of the voxels of the scene.
    """

    def __init__(self, segment: Segment, voxel_size_m: float, within: OrientedBox | None = None) -> None:
        self._segment, self._voxel_size_m, self._within = segment, voxel_size_m, within
        self._segments = LabelSegments(voxel_size_m)
        self._found: dict[int, tuple[Frame, SupportPlane, Instances]] = {}  # by id of the colour image, which is held
        self._labelled: dict[int, tuple[Frame, Frame]] = {}  # by id of the frame, which is held

    def told_apart(
        self,
        scene: SceneClusters,
        clustered: SceneClusters,
        frames: Sequence[Frame],
        config: SegmentConfig,
        checkpoint: Checkpoint = lambda: None,
    ) -> tuple[SceneClusters, dict[FrameKey, Solid]]:
        """Return the scene with a number for each thing, the largest first, and where frames show things at all.

        Parameters
        ----------
        scene : as surveyed, with a support plane.
        clustered : the same with what stands out of the plane numbered by gaps alone.
        frames : with depth; their instances vote.
        """
        assert scene.plane is not None
        labelled = [self._labelled_frame(f, scene.plane, checkpoint) for f in frames if f.depth_m is not None]
        self._forget_others(frames, labelled)
        groups = self._segments.groups(labelled, checkpoint)
        keys = keys_of_points(scene.points_world, self._voxel_size_m)
        order = np.argsort(keys)
        looks = [self._look(keys[order], order, frame, checkpoint) for frame in labelled]
        votes = _votes(len(scene.points_world), looks, labelled, groups)
        owner = _owner(votes)
        together = _together(looks, owner, len(groups))
        together = _stacked(scene, _joined(owner, together), together, config, checkpoint)
        single, owner = owner, _joined(owner, together).astype(np.int32)
        if self._within is not None:
            owner[~inside_box(scene.points_world, self._within)] = -1
        label = np.where(scene.label == -1, -1, -2).astype(np.int32)
        pieces, refused, wall = [], list(clustered.refused), _walls(clustered, owner)
        for g in np.unique(owner[owner >= 0]):
            body = largest_clusters(scene.points_world, scene.count, owner == g, config, checkpoint)
            own = np.nonzero(body == 0)[0]
            if len(own) and (on_wall := float(wall[own].mean())) >= WALL_SHARE:
                refused.append(Refused(own, RejectionReason.SURROUNDINGS, on_wall, WALL_SHARE))
            elif len(own) and (whole := _wholeness(own, owner, looks)) < WHOLE_SHARE:
                refused.append(Refused(own, RejectionReason.SCATTERED, whole, WHOLE_SHARE))
            else:
                pieces += _apart_where_too_large(own, single[own], scene.points_world, config)
        pieces += _untold(clustered, owner)
        thing, agreement = _objectness(len(owner), looks), _agreement(votes, together, owner)

        by_gaps = gap_cues(scene)

        def cues_of(members: npt.NDArray[np.intp]) -> ObjectCues:
            weight = scene.count[members]
            return replace(
                by_gaps(members),
                objectness=float(np.average(thing[members], weights=weight)),
                agreement=float(np.average(agreement[members], weights=weight)),
            )

        numbered = number_pieces(label, pieces, scene, scene.plane.up_world, config, cues_of)
        refused += numbered.refused
        solid = {(f.camera, f.stamp_ns): Solid(f.labels > 0, f.T_world_cam) for f in labelled if f.labels is not None}
        return replace(scene, label=label, refused=tuple(refused), cues=numbered.cues), solid

    def _labelled_frame(self, frame: Frame, plane: SupportPlane, checkpoint: Checkpoint) -> Frame:
        """Return the frame with its instances as labels."""
        plane = _rounded(plane, frame)
        known = self._found.get(id(frame.rgb))
        if known is None or not _equal(known[1], plane):
            checkpoint()
            known = frame, plane, self._segment(_as_measured(frame), plane)
            self._found[id(frame.rgb)] = known
            self._labelled.pop(id(frame), None)
        if id(frame) not in self._labelled:
            self._labelled[id(frame)] = frame, replace(frame, labels=known[2].labels)
        return self._labelled[id(frame)][1]

    def _forget_others(self, frames: Sequence[Frame], labelled: Sequence[Frame]) -> None:
        images, ids = {id(f.rgb) for f in frames}, {id(f) for f in frames}
        self._found = {key: found for key, found in self._found.items() if key in images}
        self._labelled = {key: pair for key, pair in self._labelled.items() if key in ids}
        self._segments.keep(labelled)

    def _look(
        self,
        sorted_keys: npt.NDArray[np.int64],
        order: npt.NDArray[np.intp],
        frame: Frame,
        checkpoint: Checkpoint,
    ) -> Look:
        """Return which point of the scene each of a frame's measured pixels is in, and what is said of it.

        `sorted_keys` are those of the voxels of the scene's points, taken in `order`.
        """
        checkpoint()
        assert frame.depth_m is not None and frame.labels is not None
        measured = np.zeros(frame.labels.shape, bool)
        measured[::STEP, ::STEP] = frame.depth_m[::STEP, ::STEP] > 0
        pixel_keys = keys_of_points(pixel_points_world(frame)[measured], self._voxel_size_m)
        at = np.minimum(np.searchsorted(sorted_keys, pixel_keys), len(sorted_keys) - 1)
        there = sorted_keys[at] == pixel_keys
        thing = self._found[id(frame.rgb)][2].thing
        labels = frame.labels[measured][there].astype(np.int64)
        small = measured[::STEP, ::STEP]
        pixels = np.argwhere(small)[:, ::-1].astype(np.int32)[there]
        return Look(
            order[at[there]], labels, thing[measured][there], pixels, small.shape, frame.depth_m[measured][there]
        )


def _votes(
    count: int, looks: Sequence[Look], frames: Sequence[Frame], groups: Sequence[LabelGroup]
) -> npt.NDArray[np.int32]:
    """Return (count, 1 + groups) how many pixels of each point are of no thing, and of each group."""
    votes = np.zeros((count, len(groups) + 1), np.int32)
    for look, frame in zip(looks, frames, strict=True):
        group_of = np.zeros(int(look.labels.max(initial=0)) + 1, np.int64)
        for number, group in enumerate(groups):
            for label in group.labels.get((frame.camera, frame.stamp_ns), ()):
                if label < len(group_of):
                    group_of[label] = number + 1
        np.add.at(votes, (look.points, group_of[look.labels]), 1)
    return votes


def _owner(votes: npt.NDArray[np.int32]) -> Int32:
    """Return the group of each point, -1 for none."""
    if votes.shape[1] == 1:
        return np.full(len(votes), -1, np.int32)
    total = np.maximum(votes.sum(axis=1), 1)
    best = np.argmax(votes[:, 1:], axis=1)
    most = votes[np.arange(len(votes)), best + 1]
    return np.where((most >= MAJORITY * total) & (most > 0), best, -1).astype(np.int32)


def _agreement(votes: npt.NDArray[np.int32], together: npt.NDArray[np.int64], owner: Int32) -> Float32:
    """Return the share of the pixels of each point that are of the thing it belongs to, of any where it is of none."""
    total, own = np.maximum(votes.sum(axis=1), 1), votes[:, 1:].sum(axis=1)
    for g in np.unique(owner[owner >= 0]):
        own[owner == g] = votes[owner == g, 1:][:, together == g].sum(axis=1)
    return (own / total).astype(np.float32)


def _objectness(count: int, looks: Sequence[Look]) -> Float32:
    """Return the mean probability of being of a thing over the pixels of each of `count` points."""
    pixels, thing = np.zeros(count), np.zeros(count)
    for look in looks:
        pixels += np.bincount(look.points, minlength=count)
        thing += np.bincount(look.points, weights=look.thing, minlength=count)
    return (thing / np.maximum(pixels, 1.0)).astype(np.float32)


def _together(looks: Sequence[Look], owner: Int32, count: int) -> npt.NDArray[np.int64]:
    """Return for each of `count` groups the group that it is one thing with, itself where it is one alone.

    Frames that see two groups say how often two of their pixels, one of each, have one label. One frame cuts a thing
    here and another one there; what is truly two has hardly a label in common.
    """
    into = np.arange(count)
    for _ in range(JOINS):
        same, seen = np.zeros((count, count)), np.zeros((count, count))
        for look in looks:
            labels, owners = look.labels, owner[look.points]
            own = _joined(owners, into)
            counted = (own >= 0) & (labels > 0)
            table = np.zeros((count, int(labels.max(initial=0)) + 1))
            np.add.at(table, (own[counted], labels[counted]), 1.0)
            pixels = table.sum(axis=1)
            share = table / np.maximum(pixels, 1.0)[:, None]
            weight = np.minimum(np.minimum.outer(pixels, pixels) / TELLING_PIXELS, 1.0)
            same += weight * (share @ share.T)
            seen += weight
        joined = np.triu((same > ONE_THING * seen) & (seen > 0), 1)
        if not joined.any():
            break
        for a, b in np.argwhere(joined):
            into[into == into[b]] = into[a]
    return into


def _joined(owner: Int32, into: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the group that each point's group is one thing with, -1 for none."""
    return np.append(into, -1)[owner]


def _stacked(
    scene: SceneClusters,
    owner: npt.NDArray[np.integer],
    into: npt.NDArray[np.int64],
    config: SegmentConfig,
    checkpoint: Checkpoint,
) -> npt.NDArray[np.int64]:
    """Return `into` with groups joined that touch and stand above each other.

    Whether these are two things or parts of one, as the base of a drill, is not told well enough. What carries several
    that stand beside each other is a tray or a floor, and no part of them.
    """
    import cv2
    from scipy.spatial import cKDTree

    assert scene.plane is not None
    into = into.copy()
    flat = scene.points_world @ rotation_to_up(scene.plane.up_world)[:, :2].astype(np.float32)
    # Without strays, which would make outlines far too large.
    body = {
        g: np.nonzero(largest_clusters(scene.points_world, scene.count, owner == g, config, checkpoint) == 0)[0]
        for g in np.unique(owner[owner >= 0]).tolist()
    }
    present = [g for g, own in body.items() if scene.count[own].sum() >= config.min_points]
    outlines = {g: cv2.convexHull(np.ascontiguousarray(flat[body[g]])) for g in present}
    stacked: dict[int, list[int]] = {g: [] for g in present}
    for a in present:
        for b in (b for b in present if b > a and into[a] != into[b]):
            if overlap_share(outlines[a], outlines[b]) >= STACKED_SHARE:
                distance, _ = cKDTree(scene.points_world[body[a]]).query(scene.points_world[body[b]])
                if distance.min() < config.cluster_gap_m:
                    stacked[a].append(b)
                    stacked[b].append(a)
    carriers = {
        g
        for g, others in stacked.items()
        if any(overlap_share(outlines[a], outlines[b]) < BESIDE_SHARE for a, b in combinations(others, 2))
    }
    for a, others in stacked.items():
        for b in others:
            if not {a, b} & carriers:
                into[into == into[b]] = into[a]
    return into


def _wholeness(members: npt.NDArray[np.intp], owner: Int32, looks: Sequence[Look]) -> float:
    """Return how much of what was measured within the outlines of some points (K,) is of them."""
    is_member = np.zeros(len(owner), bool)
    is_member[members] = True
    pixels, own, hiding = [], [], []
    for look in looks:
        mine = is_member[look.points]
        nearer = look.depth_m < np.median(look.depth_m[mine]) - NEARER_M if mine.any() else mine
        pixels.append(look.pixels)
        own.append(mine)
        hiding.append((owner[look.points] >= 0) & ~mine & nearer)
    return wholeness(pixels, own, hiding, [look.shape for look in looks])


def _walls(clustered: SceneClusters, owner: Int32) -> Bool:
    """Return which points are on walls of containers: of what is too large and not a pile of things."""
    if clustered.wall is None:
        return np.zeros(len(owner), bool)
    wall = clustered.wall.copy()
    for item in clustered.refused:
        if item.reason is RejectionReason.TOO_LARGE:
            weight = clustered.count[item.members]
            if weight[owner[item.members] >= 0].sum() >= PILE_SHARE * weight.sum():
                wall[item.members] = False
    return wall


def _apart_where_too_large(
    members: npt.NDArray[np.intp], group: Int32, points_world: Float32, config: SegmentConfig
) -> list[npt.NDArray[np.intp]]:
    """Return the groups (K,) that were joined to `members` (K,) each for itself, where these are too large together."""
    if not len(members) or np.ptp(points_world[members], axis=0).max() <= config.max_size_m:
        return [members]
    return [members[group == g] for g in np.unique(group)]


def _untold(clustered: SceneClusters, owner: Int32) -> list[npt.NDArray[np.intp]]:
    """Return the points of clusters that are of no thing which was told apart, not even in part."""
    pieces = []
    for number in range(int(clustered.label.max(initial=-1)) + 1):
        own = np.nonzero(clustered.label == number)[0]
        weight = clustered.count[own] / clustered.count[own].sum()
        if weight[owner[own] >= 0].sum() < REMAINDER_SHARE:
            pieces.append(own[owner[own] < 0])
    return pieces


def _as_measured(frame: Frame) -> Frame:
    """Return the frame with what newer ones contradict in it, so that its instances do not depend on these."""
    if frame.superseded is None or frame.depth_m is None:
        return frame
    gone_m = frame.superseded.gone_m
    return replace(frame, depth_m=np.where(gone_m > 0, gone_m, frame.depth_m).astype(np.float32), superseded=None)


def _equal(a: SupportPlane, b: SupportPlane) -> bool:
    return a.height_m == b.height_m and np.array_equal(a.up_world, b.up_world)


def _rounded(plane: SupportPlane, frame: Frame) -> SupportPlane:
    """Return the plane to within a few millimetres where a frame looks: the same for planes that hardly differ."""
    up = np.round(plane.up_world / UP_STEP) * UP_STEP
    up = up / np.linalg.norm(up)
    ahead = frame.T_world_cam[:3, 3] + frame.T_world_cam[:3, 2]
    below = ahead - (plane.up_world @ ahead - plane.height_m) * plane.up_world
    return SupportPlane(up, float(np.round(up @ below / HEIGHT_STEP_M) * HEIGHT_STEP_M))
