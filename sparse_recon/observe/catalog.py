"""Which objects there are, under names that last while frames come and go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, EvidenceError, quoted
from sparse_recon.evidence.sampling import evenly_sampled
from sparse_recon.geometry.clouds import inside_box, robust_extent
from sparse_recon.geometry.near import moved_box
from sparse_recon.geometry.poses import inverse, pose, rotation_to_up, transform_points
from sparse_recon.observe.found import FoundObject, bearing_label, first_shown, look_of, with_cut
from sparse_recon.observe.instances import InstanceFinder, ThingRegion
from sparse_recon.observe.label_segments import LabelSegments
from sparse_recon.observe.named_boxes import NamedBoxes
from sparse_recon.observe.object_score import object_score
from sparse_recon.observe.refused import box_around, moved_rejections, nothing_in_box, rejected_candidates
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
from sparse_recon.requests import (
    CompletionRequest,
    ObjectCandidate,
    RejectedCandidate,
    RejectionReason,
    told_rejections,
)
from sparse_recon.types import Float32, Float64, Frame, OrientedBox

# Labels are associated in at most so many frames, evenly spread over those kept.
LABEL_FRAMES = 24
REGION_REACH_VOXELS = 2.0
# A support plane is the own surface of a labelled thing if more than this share of it is that.
OWN_SHARE = 0.5
_NAMED_OBJECTS, _NAMED_REJECTED = 16, 3  # in one message


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
        self._found_rejected: tuple[RejectedCandidate, ...] = ()
        self._rejected: tuple[RejectedCandidate, ...] = ()
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
        self._rejected = moved_rejections(self._rejected, by_m)
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

    @property
    def rejected(self) -> tuple[RejectedCandidate, ...]:
        """What the last answer does not list though it was seen or suggested, the largest first."""
        return self._rejected

    def objects(self, frames: Sequence[Frame], checkpoint: Checkpoint = lambda: None) -> list[FoundObject]:
        """Return the objects: what is in suggested boxes, else those of the label images, else clusters."""
        if self._suggested is None:
            return self._detected(frames, checkpoint)
        self._update_scene(frames, checkpoint)
        found, rejected = [], []
        for name, box in self._suggested.items():
            if (outside_m := self._outside_m(box)) > 0:
                rejected.append(RejectedCandidate(RejectionReason.OUTSIDE, box, 0, outside_m))
            elif (item := self._in_box(box, name, checkpoint)) is not None:
                found.append(item)
            else:
                rejected.append(RejectedCandidate(RejectionReason.EMPTY, box, 0))
        self._rejected = tuple(rejected)
        return found

    def _detected(self, frames: Sequence[Frame], checkpoint: Checkpoint) -> list[FoundObject]:
        """Return what label images or clusters show, whatever was suggested."""
        labelled = [f for f in frames if f.labels is not None]
        self._segments.keep(labelled)
        labelled = evenly_sampled(labelled, LABEL_FRAMES)
        key = self._update_scene(frames, checkpoint) + _key(labelled)
        if key != self._found_key:
            assert self._scene is not None
            if labelled and all(f.depth_m is None for f in labelled):
                found, rejected = self._from_silhouettes(labelled, checkpoint)
            elif labelled:
                found, rejected = self._from_labels(self._scene, labelled, checkpoint)
            else:
                found, rejected = self._from_clusters(self._scene, checkpoint)
            least = self._config.segment.min_points
            names = self._known.names(
                [f.candidate.box for f in found],
                [look_of(f, frames) for f in found],
                lambda i: first_shown(found[i], frames, least),
            )
            self._found = [
                replace(f, candidate=replace(f.candidate, object_id=name)) for f, name in zip(found, names, strict=True)
            ]
            self._found_key, self._found_rejected = key, tuple(rejected)
        self._rejected = self._found_rejected
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
            matches = bearing_label(found, request.label, frames)
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
            seen = told_rejections(moved_rejections(self._rejected, self._origin), _NAMED_REJECTED)
            but = f": {'; '.join(seen)}" if seen else ""
            return (
                f"{asked}no object was found {where}{but}; give a box, or check segment.*, depth.far_m and camera poses"
            )
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

    def _from_clusters(
        self, scene: SceneClusters, checkpoint: Checkpoint
    ) -> tuple[list[FoundObject], Sequence[RejectedCandidate]]:
        reach_m = REGION_REACH_VOXELS * self._config.segment.voxel_size_m
        config, finder, solid = self._config.segment, self._instance_finder(), None
        if finder is None or scene.plane is None:
            scene = cluster_scene(scene, config, self._config.seed, self._region, checkpoint)
        else:
            by_gaps = replace(config, min_score=0.0)  # the network judges
            clustered = cluster_scene(scene, by_gaps, self._config.seed, self._region, checkpoint)
            scene, solid = finder.told_apart(scene, clustered, self._searched, self._config.segment, checkpoint)
        found = []
        for number in range(int(scene.label.max(initial=-1)) + 1):
            checkpoint()
            own = scene.label == number
            region: ObjectRegion = ClusterRegion(scene, number, reach_m)
            if solid is not None:
                region = ThingRegion(scene, number, reach_m, solid, self._config.segment.plane_tolerance_m)
            item = self._object(scene.points_world[own], int(scene.count[own].sum()), None, region, scene.plane)
            scored = replace(item.candidate, score=object_score(scene.cues[number]))
            item = replace(item, candidate=scored, cues=scene.cues[number])
            found.append(with_cut(item, self._searched))
        return found, rejected_candidates(
            scene.refused, scene, self.up_world(), self._searched, self._config.segment.min_points
        )

    def _instance_finder(self) -> InstanceFinder | None:
        """Return what tells things apart by a network; None where gaps alone do."""
        if self._instances is None and self._config.segment.instances == "network":
            segmenter = shipped_segmenter()
            if segmenter is not None:
                voxel_size_m = self._config.segment.voxel_size_m
                self._instances = InstanceFinder(segmenter.segment, voxel_size_m, self._region)
        return self._instances

    def _from_labels(
        self, scene: SceneClusters, frames: Sequence[Frame], checkpoint: Checkpoint
    ) -> tuple[list[FoundObject], Sequence[RejectedCandidate]]:
        found, rejected = [], []
        clouds = [(group, group.cloud()) for group in self._segments.groups(frames, checkpoint)]
        plane = self._support_of_labels(scene, [cloud.means() for _, cloud in clouds])
        for group, cloud in clouds:
            checkpoint()
            points, count = cloud.means(), cloud.count
            values = [segment.label for segment in group.segments]
            common, names = max(sorted(set(values)), key=values.count), tuple(sorted(group.labels))
            if not len(points):
                rejected.append(RejectedCandidate(RejectionReason.UNPLACED, None, 0, frames=names, label=common))
                continue
            above = np.ones(len(points), bool)
            if plane is not None:
                above = plane.heights(points) > 0.5 * self._config.segment.plane_tolerance_m
            body = largest_clusters(points, count, above, self._config.segment, checkpoint) == 0
            pixels = int(count[body].sum())
            if pixels < (least := self._config.segment.min_points):
                few, box = RejectionReason.TOO_FEW_PIXELS, box_around(points, self.up_world())
                rejected.append(RejectedCandidate(few, box, pixels, pixels, least, names, label=common))
                continue
            reach_m = REGION_REACH_VOXELS * self._config.segment.voxel_size_m
            region = LabelRegion(group.labels, points[body], reach_m)
            found.append(with_cut(self._object(points[body], pixels, common, region, plane), frames))
        return found, rejected

    def _support_of_labels(self, scene: SceneClusters, clouds: Sequence[Float32]) -> SupportPlane | None:
        """Return the support plane, unless it is itself a labelled thing of an object's size on which nothing stands.

        So it is with the top of a flat box whose surroundings have no depth. A labelled table is larger, or carries
        what has the pixels of an object.
        """
        plane, config = scene.plane, self._config.segment
        if plane is None:
            return None
        stands = plane.heights(scene.points_world) > 2 * config.plane_tolerance_m
        if int(scene.count[stands].sum()) >= config.min_points:
            return plane
        on_plane = int(np.count_nonzero(scene.label == -1))
        for points in clouds:
            own = points[np.abs(plane.heights(points)) <= config.plane_tolerance_m]
            if len(own) > OWN_SHARE * on_plane and float(np.ptp(own, axis=0).max()) <= config.max_size_m:
                return None
        return plane

    def _from_silhouettes(
        self, frames: Sequence[Frame], checkpoint: Checkpoint
    ) -> tuple[list[FoundObject], Sequence[RejectedCandidate]]:
        """Return the objects whose labels, the same in all frames, are seen from sides far enough apart."""
        found, rejected = [], []
        images = [f.labels for f in frames if f.labels is not None]
        for label in np.unique(np.concatenate([np.unique(image[image > 0]) for image in images])).tolist():
            checkpoint()
            try:
                hull = silhouette_hull(frames, label, checkpoint)
            except EvidenceError:
                seen = tuple((f.camera, f.stamp_ns) for f in frames if f.labels is not None and label in f.labels)
                rejected.append(RejectedCandidate(RejectionReason.UNPLACED, None, 0, frames=seen, label=label))
                continue
            if len(self._inside_region(hull)) == 0:
                continue
            region = LabelRegion({(f.camera, f.stamp_ns): {label} for f in frames})
            pixels = sum(int((image == label).sum()) for image in images)
            item = with_cut(self._object(hull, pixels, label, region, None), frames)
            found.append(replace(item, hull_world=hull))
        return found, rejected

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

    def _outside_m(self, box: OrientedBox) -> float:
        """Return how far the centre of a box is outside of the region, metres; 0 for inside."""
        if self._region is None:
            return 0.0
        centre = transform_points(inverse(self._region.T_world_box), box.T_world_box[None, :3, 3])[0]
        return float(np.linalg.norm(np.maximum(np.abs(centre) - 0.5 * self._region.size_m, 0.0)))

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
            raise nothing_in_box(box, frames, self._origin)
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
        points = scene.points_world[scene.label == 0]
        return with_cut(FoundObject(candidate, region, points, self._scene.plane, self.up_world()), self._searched)


def _key(frames: Sequence[Frame]) -> FrameKey:
    """Return what identifies these frames, as newer ones leave them."""
    return tuple((f.camera, f.stamp_ns, id(f.superseded)) for f in frames)
