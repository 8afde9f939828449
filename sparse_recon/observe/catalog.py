"""Which objects there are, under names that last while frames come and go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, EvidenceError, quoted
from sparse_recon.evidence.sampling import evenly_sampled
from sparse_recon.geometry.cameras import unproject_depth
from sparse_recon.geometry.clouds import inside_box, robust_extent
from sparse_recon.geometry.near import moved_box
from sparse_recon.geometry.poses import pose, rotation_to_up, transform_points
from sparse_recon.observe.instances import InstanceFinder, ThingRegion
from sparse_recon.observe.label_segments import LabelSegments
from sparse_recon.observe.named_boxes import Look, NamedBoxes
from sparse_recon.observe.regions import ClusterRegion, LabelRegion, ObjectRegion
from sparse_recon.observe.scene_cloud import SceneCloud
from sparse_recon.observe.segment import (
    SceneClusters,
    SupportPlane,
    cluster_box,
    cluster_scene,
    largest_clusters,
    survey,
    upright_in_images,
)
from sparse_recon.observe.segmenter.weights import shipped_segmenter
from sparse_recon.observe.silhouettes import silhouette_hull
from sparse_recon.requests import CompletionRequest, ObjectCandidate
from sparse_recon.types import Float32, Float64, Frame, OrientedBox

# Labels are associated in at most so many frames, evenly spread over those kept.
LABEL_FRAMES = 24
REGION_REACH_VOXELS = 2.0
_NAMED_OBJECTS = 16  # in one message


@dataclass(frozen=True, eq=False)
class FoundObject:
    """An object with the region that says which pixels it is, and what it stands on.

    Attributes
    ----------
    points_world : (N, 3) float32, its points on the grid of the search.
    hull_world : where no frame has depth, points on the hull that its masks leave it.
    """

    candidate: ObjectCandidate
    region: ObjectRegion
    points_world: Float32
    plane: SupportPlane | None
    up_world: Float64
    hull_world: Float32 | None = None


Checkpoint = Callable[[], None]
FrameKey = tuple[tuple[str, int, int], ...]


class ObjectCatalog:
    """Finds objects in frames and remembers their names; it searches anew where a frame shows something new.

    Parameters
    ----------
    region : objects are looked for only in this box of the world frame; everywhere without one. Boxes that a request
        names are not limited by it.

    What is the world frame here may have its origin near the cameras, and it may `move`.

    A `checkpoint` is called between the steps of a search and may raise to end it; what was known before stays.
    """

    def __init__(self, config: SessionConfig, region: OrientedBox | None = None) -> None:
        self._config = config
        self._region = region
        self._origin: Float64 = np.zeros(3)  # of the frame in which all is given, where people count from
        self._cloud = SceneCloud(config.segment.voxel_size_m, config.depth)
        self._segments = LabelSegments(config.segment.voxel_size_m, region)
        self._instances: InstanceFinder | None = None
        self._scene_key: FrameKey | None = None
        self._scene: SceneClusters | None = None
        self._searched: tuple[Frame, ...] = ()
        self._found_key: FrameKey | None = None
        self._found: list[FoundObject] = []
        self._suggested: dict[str, OrientedBox] | None = None
        self._known = NamedBoxes("object")
        self._detections = NamedBoxes("detection")
        self._boxes = NamedBoxes("box")
        self._camera_up: Float64 = np.array([0.0, 0.0, 1.0])

    def configure(self, config: SessionConfig, region: OrientedBox | None) -> None:
        """Take new parameters and another region; names stay, everything else is searched anew."""
        self._config, self._region = config, region
        self._cloud = SceneCloud(config.segment.voxel_size_m, config.depth)
        self._segments = LabelSegments(config.segment.voxel_size_m, region)
        self._instances = None
        self._scene_key = self._found_key = None

    def move(self, by_m: Float64) -> None:
        """Go on with frames in which the world is moved by (3,) metres; names stay, all is searched anew."""
        self._origin = self._origin - by_m
        for known in (self._known, self._detections, self._boxes):
            known.move(by_m)
        if self._suggested is not None:
            self._suggested = {name: moved_box(box, by_m) for name, box in self._suggested.items()}
        self.configure(self._config, None if self._region is None else moved_box(self._region, by_m))

    def suggest(self, boxes: Sequence[OrientedBox] | None) -> None:
        """Take the boxes of a detector for the objects there are, until others come; None: find objects again."""
        self._suggested = None
        if boxes is not None:
            self._suggested = dict(zip(self._detections.names(boxes), boxes, strict=True))

    def forget(self, names: Collection[str]) -> None:
        """Never give these names again, and search anew; suggested boxes of these names go until others come."""
        for known in (self._known, self._detections, self._boxes):
            known.forget(names)
        if self._suggested is not None:
            self._suggested = {name: box for name, box in self._suggested.items() if name not in names}
        self._scene_key = self._found_key = None

    def objects(self, frames: Sequence[Frame], checkpoint: Checkpoint = lambda: None) -> list[FoundObject]:
        """Return the objects: what is in suggested boxes, else those of the label images, else clusters."""
        if self._suggested is None:
            return self._detected(frames, checkpoint)
        self._update_scene(frames, checkpoint)
        boxes = {name: box for name, box in self._suggested.items() if self._in_region(box)}
        found = [self._in_box(box, name, checkpoint) for name, box in boxes.items()]
        return [f for f in found if f is not None]

    def _detected(self, frames: Sequence[Frame], checkpoint: Checkpoint) -> list[FoundObject]:
        """Return what label images or clusters show, whatever was suggested."""
        labelled = [f for f in frames if f.labels is not None]
        self._segments.keep(labelled)
        labelled = evenly_sampled(labelled, LABEL_FRAMES)
        key = self._update_scene(frames, checkpoint) + _key(labelled)
        if key != self._found_key:
            assert self._scene is not None
            if labelled and all(f.depth_m is None for f in labelled):
                found = self._from_silhouettes(labelled, checkpoint)
            elif labelled:
                found = self._from_labels(self._scene, labelled, checkpoint)
            else:
                found = self._from_clusters(self._scene, checkpoint)
            names = self._known.names([f.candidate.box for f in found], [_look(f, frames) for f in found])
            self._found = [
                replace(f, candidate=replace(f.candidate, object_id=name)) for f, name in zip(found, names, strict=True)
            ]
            self._found_key = key
        return self._found

    def resolve(
        self, request: CompletionRequest, frames: Sequence[Frame], checkpoint: Checkpoint = lambda: None
    ) -> FoundObject:
        """Return the object that a request names.

        Raises
        ------
        EvidenceError
            If there is no such object; the message lists those there are.
        """
        if request.box is not None:
            return self._boxed(request.box, "", frames, checkpoint)
        named = self._detections.get(request.object_id) or self._boxes.get(request.object_id)
        if named is not None:
            return self._boxed(named, request.object_id, frames, checkpoint)
        find = self._detected if request.label is not None or request.object_id else self.objects
        found = find(frames, checkpoint)
        if request.label is not None:
            matches = _labelled(found, request.label, frames)
        elif request.object_id:
            matches = [f for f in found if f.candidate.object_id == request.object_id]
        else:
            matches = found if len(found) == 1 else []
        if not matches and request.label is not None:
            self._refuse_small_label(request.label, frames)
        if not matches:
            raise EvidenceError(ErrorCode.OBJECT_NOT_FOUND, self._not_found(request, found, len(frames)))
        return matches[0]

    def _not_found(self, request: CompletionRequest, found: Sequence[FoundObject], frames: int) -> str:
        where = f"in {frames} frame(s)" + (" within the region that was set" if self._region else "")
        if not found:
            asked = "" if request.label is None else f"label {request.label}: "
            return f"{asked}no object was found {where}; give a box, or check segment.*, depth.far_m and camera poses"
        with_labels = request.label is not None
        names = [
            f.candidate.object_id + (f" (label {f.candidate.label})" if with_labels else "")
            for f in found[:_NAMED_OBJECTS]
        ]
        more = f" and {len(found) - _NAMED_OBJECTS} more" if len(found) > _NAMED_OBJECTS else ""
        there = f"there {'is' if len(found) == 1 else 'are'} {len(found)} {where}: {', '.join(names)}{more}"
        if request.label is not None:
            return f"no object has label {request.label}; {there}; name one of these"
        if request.object_id:
            return f"no object is named {quoted(request.object_id)}; {there}; name one of these"
        return f"no object was named and {there}; name one"

    def up_world(self) -> Float64:
        """Return the (3,) unit up direction: the configured one, else the support plane's normal, else the cameras'."""
        up = np.asarray(self._config.up_world, np.float64)
        if np.linalg.norm(up) > 0:
            return up / np.linalg.norm(up)
        if self._scene is not None and self._scene.plane is not None:
            return self._scene.plane.up_world
        return self._camera_up

    def _update_scene(self, frames: Sequence[Frame], checkpoint: Checkpoint) -> FrameKey:
        """Survey the scene anew when the frames that show something have changed; return what identifies them."""
        sample = self._cloud.frames_to_search(frames, checkpoint)
        key = _key(sample)
        if key != self._scene_key:
            configured = np.asarray(self._config.up_world, np.float64)
            norm = float(np.linalg.norm(configured))
            self._camera_up = upright_in_images(sample or frames)
            up = configured / norm if norm > 0 else None
            self._scene = survey(sample, self._cloud, up, self._config.segment, self._config.seed, checkpoint)
            self._scene_key, self._searched = key, sample
        return key

    def _from_clusters(self, scene: SceneClusters, checkpoint: Checkpoint) -> list[FoundObject]:
        clustered = cluster_scene(scene, self._config.segment, self._config.seed, self._region, checkpoint)
        reach_m = REGION_REACH_VOXELS * self._config.segment.voxel_size_m
        finder, solid = self._instance_finder(), None
        if finder is None or scene.plane is None:
            scene = clustered
        else:
            scene, solid = finder.told_apart(scene, clustered, self._searched, self._config.segment, checkpoint)
        found = []
        for number in range(int(scene.label.max(initial=-1)) + 1):
            checkpoint()
            own = scene.label == number
            region: ObjectRegion = ClusterRegion(scene, number, reach_m)
            if solid is not None:
                region = ThingRegion(scene, number, reach_m, solid, self._config.segment.plane_tolerance_m)
            found.append(self._object(scene.points_world[own], int(scene.count[own].sum()), None, region, scene.plane))
        return found

    def _instance_finder(self) -> InstanceFinder | None:
        """Return what tells things apart by a network; None where gaps alone do."""
        if self._instances is None and self._config.segment.instances == "network":
            segmenter = shipped_segmenter()
            if segmenter is not None:
                voxel_size_m = self._config.segment.voxel_size_m
                self._instances = InstanceFinder(segmenter.segment, voxel_size_m, self._region)
        return self._instances

    def _from_labels(self, scene: SceneClusters, frames: Sequence[Frame], checkpoint: Checkpoint) -> list[FoundObject]:
        found = []
        for group in self._segments.groups(frames, checkpoint):
            checkpoint()
            cloud = group.cloud()
            points, count = cloud.means(), cloud.count
            if not len(points):
                continue
            above = np.ones(len(points), bool)
            if scene.plane is not None:
                above = scene.plane.heights(points) > 0.5 * self._config.segment.plane_tolerance_m
            body = largest_clusters(points, count, above, self._config.segment, checkpoint) == 0
            pixels = int(count[body].sum())
            if pixels < self._config.segment.min_points:
                continue
            reach_m = REGION_REACH_VOXELS * self._config.segment.voxel_size_m
            region = LabelRegion(group.labels, points[body], reach_m)
            values = [segment.label for segment in group.segments]
            common = max(sorted(set(values)), key=values.count)
            found.append(self._object(points[body], pixels, common, region, scene.plane))
        return found

    def _from_silhouettes(self, frames: Sequence[Frame], checkpoint: Checkpoint) -> list[FoundObject]:
        """Return the objects whose labels, the same in all frames, are seen from sides far enough apart."""
        found = []
        images = [f.labels for f in frames if f.labels is not None]
        for label in np.unique(np.concatenate([np.unique(image[image > 0]) for image in images])).tolist():
            checkpoint()
            try:
                hull = silhouette_hull(frames, label, checkpoint)
            except EvidenceError:
                continue
            if len(self._inside_region(hull)) == 0:
                continue
            region = LabelRegion({(f.camera, f.stamp_ns): {label} for f in frames})
            pixels = sum(int((image == label).sum()) for image in images)
            found.append(replace(self._object(hull, pixels, label, region, None), hull_world=hull))
        return found

    def _object(
        self, points: Float32, pixels: int, label: int | None, region: ObjectRegion, plane: SupportPlane | None
    ) -> FoundObject:
        up = self.up_world()
        R = rotation_to_up(up)
        flat = points.astype(np.float64) @ R
        low, high = robust_extent(flat)
        box = OrientedBox(pose(R, R @ (0.5 * (low + high))), np.maximum(high - low, 1e-3))
        return FoundObject(ObjectCandidate("", label, box, pixels), region, points, plane, up)

    def _inside_region(self, points_world: Float32) -> Float32:
        return points_world if self._region is None else points_world[inside_box(points_world, self._region)]

    def _in_region(self, box: OrientedBox) -> bool:
        return self._region is None or bool(inside_box(box.T_world_box[:3, 3], self._region))

    def _refuse_small_label(self, label: int, frames: Sequence[Frame]) -> None:
        labelled = [f for f in frames if f.labels is not None and (f.labels == label).any()]
        if labelled and all(f.depth_m is None for f in labelled):
            silhouette_hull(labelled, label)
        pixels = sum(
            int(np.count_nonzero((f.labels == label) & (f.depth_m > 0)))
            for f in frames
            if f.labels is not None and f.depth_m is not None
        )
        if pixels > 0:
            where = "above the support plane" + (" and in the region that was set" if self._region else "")
            raise EvidenceError(
                ErrorCode.OBJECT_TOO_SMALL,
                f"label {label} has {pixels} depth pixel(s) in {len(frames)} frame(s), and fewer than "
                f"segment.min_points = {self._config.segment.min_points} of them form one connected object {where}: "
                "move closer, or check the label image",
            )

    def _boxed(self, box: OrientedBox, name: str, frames: Sequence[Frame], checkpoint: Checkpoint) -> FoundObject:
        self._update_scene(frames, checkpoint)
        found = self._in_box(box, name, checkpoint)
        if found is None:
            raise _nothing_in_box(box, frames, self._origin)
        return found

    def _in_box(self, box: OrientedBox, name: str, checkpoint: Checkpoint) -> FoundObject | None:
        """Return what is in a box of the scene; without a name it gets that of this very box, box_0 for the first."""
        assert self._scene is not None
        scene = cluster_box(self._scene, box, self._config.segment, checkpoint)
        pixels = int(scene.count[scene.label == 0].sum())
        if pixels == 0:
            return None
        region = ClusterRegion(scene, 0, REGION_REACH_VOXELS * self._config.segment.voxel_size_m)
        candidate = ObjectCandidate(name or self._boxes.name(box), None, box, pixels)
        return FoundObject(candidate, region, scene.points_world[scene.label == 0], self._scene.plane, self.up_world())


def _labelled(found: Sequence[FoundObject], label: int, frames: Sequence[Frame]) -> list[FoundObject]:
    """Return the object that bears a label in the newest frame that knows it, else those that bear it most often."""
    for frame in sorted(frames, key=lambda f: -f.stamp_ns):
        for item in found:
            if isinstance(item.region, LabelRegion) and label in item.region.labels_in(frame):
                return [item]
    return [item for item in found if item.candidate.label == label]


def _key(frames: Sequence[Frame]) -> FrameKey:
    """Return what identifies these frames, as newer ones leave them."""
    return tuple((f.camera, f.stamp_ns, id(f.superseded)) for f in frames)


def _look(found: FoundObject, frames: Sequence[Frame]) -> Look | None:
    """Return how an object looks in the newest frame that shows it."""
    for frame in sorted(frames, key=lambda f: -f.stamp_ns):
        mask = found.region.mask(frame)
        if mask.any():
            return Look(np.sort(found.candidate.box.size_m), frame.rgb[mask].mean(axis=0))
    return None


def _nothing_in_box(box: OrientedBox, frames: Sequence[Frame], origin: Float64) -> EvidenceError:
    c, (sx, sy, sz) = box.T_world_box[:3, 3] + origin, box.size_m
    where = f"in the box at ({c[0]:.3f}, {c[1]:.3f}, {c[2]:.3f}) m of size {sx:.3f} x {sy:.3f} x {sz:.3f} m"
    pixels = 0
    for frame in frames:
        if frame.depth_m is not None:
            points_world = transform_points(frame.T_world_cam, unproject_depth(frame.depth_m, frame.intrinsics))
            pixels += int(inside_box(points_world, box).sum())
    if pixels:
        return EvidenceError(
            ErrorCode.OBJECT_TOO_SMALL,
            f"only {pixels} depth pixel(s) of {len(frames)} frame(s) are {where}, and they are outliers or belong to "
            "the support plane; make the box larger or move closer",
        )
    return EvidenceError(
        ErrorCode.OBJECT_NOT_IN_VIEW,
        f"no depth pixel of {len(frames)} frame(s) is {where}; check the frame and units of the box, and that a camera "
        "looks at it",
    )
