"""The one place where observe, complete and fuse meet. No ROS, no files, no screens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from threading import RLock

from sparse_recon.complete.base import OnLoad, ViewCompleter
from sparse_recon.complete.registry import create
from sparse_recon.config.geometry_config import EvidenceConfig
from sparse_recon.config.parameters import highest, needs_restart
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, EvidenceError, ModelError, SparseReconError
from sparse_recon.evidence import Bounds, Evidence, brought_together, without_outliers
from sparse_recon.fuse.fusion import fuse
from sparse_recon.fuse.imagined import is_cut
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.near import moved_box, put_into_world, put_near
from sparse_recon.machine.memory_shortage import memory_shortage, tells_memory_shortage
from sparse_recon.observe.averaged import StillFrames
from sparse_recon.observe.bumps import Bump
from sparse_recon.observe.catalog import REGION_REACH_VOXELS, ObjectCatalog
from sparse_recon.observe.forgotten import ForgottenPlace, ForgottenPlaces
from sparse_recon.observe.frame_store import FrameStore
from sparse_recon.observe.present import PresentFrames
from sparse_recon.observe.refused import moved_rejections
from sparse_recon.observe.regions import ObjectRegion
from sparse_recon.observe.views import collect_views
from sparse_recon.requests import CompletionRequest, FrameReport, ObjectCandidate, RejectedCandidate
from sparse_recon.session.gone import refuse_gone
from sparse_recon.session.near_frames import NearFrames
from sparse_recon.session.outdated import outdated
from sparse_recon.session.run import Cancel, CompletionRun, OnProgress
from sparse_recon.session.selection import forgotten_objects, not_ignored, resolved
from sparse_recon.session.views_check import ViewsVerdict, verdict
from sparse_recon.types import Bool, CompletedObject, Float64, Frame, ObjectViews, OrientedBox

log = logging.getLogger(__name__)


_NOTHING_JUDGED: tuple[tuple[tuple[str, int], ...], ViewsVerdict] = ((), ViewsVerdict())


@dataclass(frozen=True, eq=False)
class Observation:
    """What the chosen frames show of one object, and what that proves, before anything is imagined.

    Attributes
    ----------
    views, evidence, bounds : in the frame whose origin in the world is `origin_world` (3,), metres.
    outliers : share of measured points that were inconsistent with other views and dropped.
    pose_error_m : how far camera poses are likely to put the object off still, as their corrections tell.
    """

    views: ObjectViews
    evidence: Evidence
    bounds: Bounds
    outliers: float
    origin_world: Float64
    pose_error_m: float = 0.0


# Where more of the measured points contradict other views, no surface is right.
MAX_CONFLICT = 0.3
# What older frames show of moved objects is dropped, which may show others to have moved, at most so many times.
MAX_DROPS = 4
# What does not fit is looked at again in a cube with this much more margin, within the range of that parameter.
LARGER_CUBE = 1.4


class CompletionSession:
    """Frames in, completed objects out.

    A session holds its own state and no other: two of them in one process do not disturb each other.

    Frames, boxes and results are of the world frame. What is computed from them is in a frame near the newest camera,
    so that float32 is enough however far the world's origin is; `NearFrames` has its origin.

    Threads: `add_frame`, `wants`, `frames`, `kept_bytes`, `shrink` and `reset` may be called from any thread at any
    time, also while another thread completes. All other methods belong to one worker thread. `complete` and `objects`
    work on the frames that were there when they were called: a `reset` meanwhile does not stop them (cancel does), and
    what they still find is forgotten with them.
    """

    def __init__(self, config: SessionConfig | None = None) -> None:
        self._config = config or SessionConfig()
        self._lock = RLock()  # frames, catalog and region change together
        self._frames = FrameStore(self._config, self._lock)
        self._region: OrientedBox | None = None
        self._near = NearFrames()
        self._catalog = ObjectCatalog(self._config)
        self._present = PresentFrames()
        self._forgotten = ForgottenPlaces()
        self._still = StillFrames()
        self._completers: dict[str, ViewCompleter] = {}
        self._judged: tuple[tuple[tuple[str, int], ...], ViewsVerdict] = _NOTHING_JUDGED  # by names of the frames

    @property
    def config(self) -> SessionConfig:
        """The parameters in force."""
        return self._config

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames kept, in the order in which they were added."""
        return self._frames.frames()

    @property
    def kept_bytes(self) -> int:
        """Bytes held by the images of the frames kept."""
        return self._frames.nbytes

    @property
    def region(self) -> OrientedBox | None:
        """The box of the world frame in which objects are looked for; None for everywhere."""
        return self._region

    def wants(self, camera: str, T_world_cam: Float64, stamp_ns: int) -> bool:
        """Return whether a frame from there and then would tell anything new; `add_frame` does not ask.

        It would not if its camera stood within `keyframes.min_move_m` and `keyframes.min_turn_deg` of a frame of the
        same camera that is kept and whose stamp differs by less than `keyframes.refresh_s`.
        """
        return self._frames.wants(camera, T_world_cam, stamp_ns)

    def add_frame(self, frame: Frame) -> FrameReport:
        """Keep a frame if it has anything to tell.

        Where `keyframes.frame_budget_bytes` or `keyframes.max_frames` is exceeded, the least useful frame goes; frames
        older than `keyframes.max_age_s` go first.
        """
        return self._frames.add(frame)

    def shrink(self, budget_bytes: int) -> int:
        """Drop the least useful frames until they hold at most `budget_bytes`, never the newest; return how many."""
        return self._frames.shrink(budget_bytes)

    def reset(self) -> int:
        """Forget all frames, objects, names and suggestions; return the number of frames.

        Parameters, region and loaded models stay.
        """
        with self._lock:
            self._near = NearFrames()
            self._catalog = ObjectCatalog(self._config, self._region)
            self._present = PresentFrames()
            self._forgotten = ForgottenPlaces()
            self._still = StillFrames()
            self._judged = _NOTHING_JUDGED
            return self._frames.clear()

    def configure(self, config: SessionConfig) -> None:
        """Take new parameters, the world frame among them; frames, names of objects and loaded models stay.

        A model whose weights, device, precision or other parameters of its loading are others is loaded anew.

        Objects are looked for anew. Frames kept already keep the depth that `depth` left them; after a change of the
        world frame their poses are wrong, and the caller resets the session.
        """
        with self._lock:
            before, self._config = self._config, config
            for name in list(self._completers):
                if hasattr(config, name) and needs_restart(getattr(before, name), getattr(config, name)):
                    del self._completers[name]
            self._frames.configure(config)
            self._catalog.configure(config, self._near_region())

    def set_region(self, box: OrientedBox | None) -> None:
        """Look for objects only inside a box of the world frame, or everywhere; it outlasts `reset`.

        Points outside belong to no object. The support plane is found from all points. Boxes of requests are not
        limited; suggested ones must have their centre inside.
        """
        with self._lock:
            self._region = box
            self._catalog.configure(self._config, self._near_region())

    def _near_region(self) -> OrientedBox | None:
        return None if self._region is None else self._near.box(self._region)

    @tells_memory_shortage("objects were forgotten")
    def forget(
        self,
        object_ids: Collection[str] = (),
        region: OrientedBox | None = None,
        completed: Sequence[CompletedObject] = (),
    ) -> tuple[str, ...]:
        """Forget what the frames kept so far show of objects, or in a box; return the ids of the objects forgotten.

        Neither surface nor emptiness that these frames saw there counts any longer, and the names are not given again.
        A frame with a newer stamp that shows something there makes an object of it again.

        Parameters
        ----------
        object_ids : as `objects` lists them, or of `completed`.
        region : box of the world frame; objects whose centre lies in it are forgotten with it.
        completed : results that the caller holds and wants to forget by name or by region too.

        Raises
        ------
        InputError
            USAGE if nothing is named.
        EvidenceError
            OBJECT_NOT_FOUND if an object is unknown; nothing is forgotten then.
        MemoryBudgetError
            If memory ran out.
        """
        frames, catalog, near = self._snapshot()
        region = None if region is None else near.box(region)
        held = [put_near(item, near.origin_world) for item in completed]
        found = forgotten_objects(object_ids, region, frames, catalog, held)
        margin_m = 2.0 * REGION_REACH_VOXELS * self._config.segment.voxel_size_m
        boxes = [(OrientedBox(box.T_world_box, box.size_m + margin_m), pixels) for box, pixels in found.values()]
        boxes += [] if region is None else [(region, None)]
        with self._lock:
            kept, forgotten = near.of(self._frames.frames()), self._forgotten
        before_ns = max((f.stamp_ns for f in kept), default=0) + 1
        forgotten.add([ForgottenPlace(box, before_ns, pixels) for box, pixels in boxes], kept)
        catalog.forget(found)
        return tuple(found)

    def suggest(self, boxes: Sequence[OrientedBox] | None) -> None:
        """Take the boxes of a detector, world frame, for the objects there are.

        `objects` then lists nothing but the boxes that hold points, none where there are no boxes; None: objects are
        searched for again. A box whose centre is nearer to an earlier one than half of the smaller one's longest edge
        keeps its name, detection_0 and so on.
        """
        with self._lock:
            self._catalog.suggest(None if boxes is None else [self._near.box(box) for box in boxes])

    @tells_memory_shortage("objects were looked for")
    def objects(self) -> tuple[ObjectCandidate, ...]:
        """Return what can be asked for: what suggested boxes hold, else labelled objects, else what stands there.

        Raises
        ------
        MemoryBudgetError
            If memory ran out.
        """
        frames, catalog, near = self._snapshot()
        found = catalog.objects(frames) if frames else []
        return tuple(
            replace(
                f.candidate,
                box=moved_box(f.candidate.box, near.origin_world),
                state=self._present.state(f.points_world),
            )
            for f in found
        )

    @property
    def rejected(self) -> tuple[RejectedCandidate, ...]:
        """What the last look for objects saw, in `objects` or in a request, and does not list; the largest first.

        From any thread; nothing is looked for anew.
        """
        with self._lock:
            return moved_rejections(self._catalog.rejected, self._near.origin_world)

    @tells_memory_shortage("objects were looked for")
    def masks(self, object_id: str) -> dict[tuple[str, int], Bool]:
        """Return which pixels are an object's, (H, W) bool by camera and stamp of the frames kept that show it.

        Raises
        ------
        EvidenceError
            OBJECT_NOT_FOUND if there is no such object.
        MemoryBudgetError
            If memory ran out.
        """
        frames, catalog, _ = self._snapshot()
        region = catalog.resolve(CompletionRequest(object_id=object_id), frames).region
        masks = {(f.camera, f.stamp_ns): region.mask(f) for f in frames}
        return {key: mask for key, mask in masks.items() if mask.any()}

    @tells_memory_shortage("a model was loaded")
    def load(self, name: str = "", on_progress: OnLoad | None = None) -> None:
        """Make a model ready, the session's where no name is given; what is ready already costs nothing.

        Parameters
        ----------
        on_progress : takes the share that is done, in [0, 1], and a sentence; may raise `CancelledError`.

        Raises
        ------
        ModelError
            MODEL_UNKNOWN, MODEL_WEIGHTS_MISSING, MODEL_WEIGHTS_INVALID, or MODEL_FAILED for a mistake in it.
        MemoryBudgetError
            If memory ran out.
        """
        name = name or self._config.model
        if name in self._completers:
            return
        completer = create(name)
        try:
            completer.load(self._config, on_progress or (lambda fraction, text: None))
        except Exception as error:
            if isinstance(error, SparseReconError) or memory_shortage(error) is not None:
                raise
            raise ModelError(
                ErrorCode.MODEL_FAILED, f"{name} could not be loaded: {type(error).__name__}: {error}; report it"
            ) from error
        self._completers[name] = completer

    @tells_memory_shortage("an object was completed")
    def complete(
        self, request: CompletionRequest, on_progress: OnProgress | None = None, cancel: Cancel | None = None
    ) -> CompletedObject:
        """Complete one object from the frames kept.

        Parameters
        ----------
        request : which object, and how.
        on_progress : called after every stage and every step of the model; carries a preview mesh when there is one.
        cancel : asked at every stage and step; True ends the call with `CancelledError`.

        Raises
        ------
        EvidenceError
            If there is too little evidence; the code says of what kind.
        ModelError
            If the model is unknown, its weights are missing or invalid, or it failed.
        MeshError
            If no closed surface came out.
        MemoryBudgetError
            If memory ran out; the session stays usable.
        CancelledError
            If `cancel` said so, or the deadline passed before there was anything to return.
        """
        config = self._config
        run = CompletionRun(config, request, on_progress, cancel)

        # 1. What was seen, and what it proves.
        run.enter("observe")
        seen = self._observe(request, run)
        if seen.outliers > 0.1:
            run.warnings.append(
                f"{100 * seen.outliers:.0f} % of the measured points are inconsistent with the depth of other views "
                "and were dropped; check camera poses and that the object did not move"
            )

        if all(view.frame.depth_m is None for view in seen.views.views):
            run.warnings.append(
                "the object has no depth in any frame: its position and size are an upper bound from masks and camera "
                "poses; add a frame with depth"
            )

        # 2. Imagine what nobody saw; once more in a larger cube where the answer does not fit.
        run.enter("complete")
        model = request.model or config.model
        self.load(model, lambda fraction, text: run.checkpoint())
        completer = self._completers[model]
        imagined = run.imagine(completer, seen.views, seen.evidence, seen.bounds)
        if is_cut(imagined.surface, seen.views.object_frame) and not run.deadline_passed():
            seen = self._observe(request, run, LARGER_CUBE)
            imagined = run.imagine(completer, seen.views, seen.evidence, seen.bounds)
            if is_cut(imagined.surface, seen.views.object_frame):
                run.warnings.append(
                    "the object reaches the border of its completion cube of "
                    f"{2e3 * seen.views.object_frame.half_side_m:.0f} mm "
                    "and is cut off there; add a view from another side, or name it by a box"
                )

        # 3. One surface from both, inside what the evidence allows.
        fused = fuse(
            seen.views,
            imagined.surface,
            seen.evidence,
            config,
            run.generator,
            run.enter,
            imagined.hypotheses,
            max(config.fusion.pose_error_m, seen.pose_error_m if imagined.hypotheses else 0.0),
        )
        run.enter("done")
        result = put_into_world(
            run.completed(seen.views, seen.evidence, seen.bounds, fused, completer.name, imagined.hypotheses),
            seen.origin_world,
        )
        q = result.quality
        log.info(
            "%s: %d views, %d points (%.0f %% observed), radius90 %.1f mm, %.2f s, peak %.0f MB, model %s",
            result.object_id,
            q.views_used,
            len(result.points_world),
            100 * q.observed_fraction,
            1e3 * q.radius90_m,
            sum(q.timings_s.values()),
            q.peak_memory_bytes / 1e6,
            result.model,
        )
        return result

    @tells_memory_shortage("an object was observed")
    def observe(self, request: CompletionRequest) -> Observation:
        """Return what `complete` would imagine the rest of: the first half of its work, without a model.

        Raises
        ------
        EvidenceError
            If there is too little evidence; the code says of what kind.
        MemoryBudgetError
            If memory ran out; the session stays usable.
        """
        run = CompletionRun(self._config, request, None, None)
        run.enter("observe")
        return self._observe(request, run)

    def _observe(self, request: CompletionRequest, run: CompletionRun, larger: float = 1.0) -> Observation:
        config = run.config
        if larger != 1.0:
            margin = min(larger * config.evidence.cube_margin, highest(EvidenceConfig, "cube_margin"))
            config = replace(config, evidence=replace(config.evidence, cube_margin=margin))

        # 1. Which pixels, which frames.
        kept, catalog, near = self._snapshot(run.checkpoint)
        run.origin_world = near.origin_world
        if request.box is not None:
            request = replace(request, box=near.box(request.box))
        frames = not_ignored(kept, request.ignore_before_ns)
        if larger == 1.0:
            self._check_views(run)
        found = resolved(catalog, request, frames, kept, run.checkpoint)
        run.candidate, name = found.candidate, found.candidate.object_id
        if larger == 1.0 and (outdated := self._present.outdated(name, found.region, request.ignore_before_ns)):
            run.warnings.append(
                f"{outdated} earlier frame(s) show the object where it no longer is and are not used for it; if "
                "nothing moved, check the camera poses"
            )
        self._refuse_bumped(found.region, frames)
        max_views = request.max_views or config.keyframes.max_views
        views = collect_views(
            name,
            self._still.of(frames, config.depth, run.checkpoint),
            found.region,
            found.plane,
            found.up_world,
            config,
            max_views,
            run.checkpoint,
            found.hull_world,
        )

        # 2. What they prove.
        if larger == 1.0:
            run.enter("evidence")
        registered = brought_together(views, config.registration, run.checkpoint)
        refuse_gone(found, registered, self._present)
        if larger == 1.0 and registered.sentence:
            run.warnings.append(registered.sentence)
        views, outliers = without_outliers(registered.views, run.checkpoint)
        grid = VoxelGrid.cube(config.evidence.grid, views.object_frame.half_side_m)
        evidence = Evidence.of(views, grid, config.evidence, run.checkpoint)
        bounds = Bounds.of(evidence, run.checkpoint)
        if bounds.depth_conflict > MAX_CONFLICT:
            raise EvidenceError(
                ErrorCode.EVIDENCE_CONTRADICTS,
                f"{name}: {100 * bounds.depth_conflict:.0f} % of the measured points lie where another of "
                f"{len(views.views)} frames saw empty space, accepted are {100 * MAX_CONFLICT:.0f} %; check camera "
                "poses and the clocks of cameras and transforms, or reset the session if the camera was moved",
            )
        return Observation(views, evidence, bounds, outliers, run.origin_world, registered.pose_error_m)

    @property
    def views_verdict(self) -> ViewsVerdict:
        """Whether the frames kept belong together; it is judged anew where there are others."""
        frames = self._frames.frames()
        names = tuple((f.camera, f.stamp_ns) for f in frames)
        if self._judged[0] != names:
            self._judged = names, verdict(frames)
        return self._judged[1]

    @property
    def last_views_verdict(self) -> ViewsVerdict:
        """The verdict of the last request or `views_verdict`, from any thread; nothing is judged anew."""
        return self._judged[1]

    def _check_views(self, run: CompletionRun) -> None:
        """Raise VIEWS_DISAGREE, or warn, where the frames kept do not belong together."""
        if self._present.bumps:
            return  # which says more
        found = self.views_verdict
        if found.refused and run.config.evidence.check_views:
            raise EvidenceError(
                ErrorCode.VIEWS_DISAGREE, f"{found.sentence}. evidence.check_views = false goes on all the same"
            )
        if found.sentence:
            run.warnings.append(found.sentence)

    def _refuse_bumped(self, region: ObjectRegion, frames: Sequence[Frame]) -> None:
        """Raise EVIDENCE_CONTRADICTS where a camera that was bumped shows the object and no other one has since."""
        bumped = {bump.camera for bump in self._present.bumps}
        for bump in self._present.bumps:
            own = [f for f in frames if f.camera == bump.camera and region.mask(f).any()]
            others = [f for f in frames if f.camera not in bumped and f.stamp_ns >= bump.stamp_ns]
            if any(f.stamp_ns >= bump.stamp_ns for f in own) or (own and not any(region.mask(f).any() for f in others)):
                raise EvidenceError(ErrorCode.EVIDENCE_CONTRADICTS, bump.sentence)

    @property
    def bumps(self) -> tuple[Bump, ...]:
        """The cameras that have moved without their transforms, as of the last look at the frames."""
        return self._present.bumps

    def out_of_date(self, completed: Sequence[CompletedObject]) -> dict[str, str]:
        """Return which completed objects are no longer where they were, and why, by the newest frames that see them.

        What a camera says that was moved without its transform does not count.
        """
        frames = self._frames.frames()
        found = outdated(completed, frames, self._config.depth)
        if found:
            self._snapshot()
            found = outdated(completed, self._present.trusted(frames), self._config.depth)
        return found

    def _snapshot(
        self, checkpoint: Callable[[], None] = lambda: None
    ) -> tuple[tuple[Frame, ...], ObjectCatalog, NearFrames]:
        """Return the frames as they are now, in the near frame; the catalog of that frame; and where it is."""
        with self._lock:
            kept, catalog, present = self._frames.frames(), self._catalog, self._present
            forgotten, near = self._forgotten, self._near
            moved_by = near.follow(kept)
            if moved_by.any():
                catalog.move(moved_by)
                forgotten.move(moved_by)
        kept = near.of(kept)
        now = present.of(kept, self._config.depth, self._config.registration, checkpoint)
        frames = forgotten.of(kept, now)
        for _ in range(MAX_DROPS):
            if all(f.superseded is None for f in now):
                break
            regions = {f.candidate.object_id: f.region for f in catalog.objects(frames, checkpoint)}
            if not present.drop_moved(regions, checkpoint):
                break
            now = present.of(kept, self._config.depth, self._config.registration, checkpoint)
            frames = forgotten.of(kept, now)
        return frames, catalog, near
