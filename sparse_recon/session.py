"""The one place where observe, complete and fuse meet. No ROS, no files, no screens."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from sparse_recon.complete.base import ViewCompleter
from sparse_recon.complete.registry import create
from sparse_recon.config import SessionConfig
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.evidence import Bounds, Evidence, without_outliers
from sparse_recon.evidence.depth_filter import without_flying_pixels
from sparse_recon.fuse.fusion import FusedGeometry, fuse
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import transform_points
from sparse_recon.observe.catalog import ObjectCatalog
from sparse_recon.observe.keyframes import least_useful
from sparse_recon.observe.views import collect_views
from sparse_recon.requests import CompletionRequest, FrameReport, ObjectCandidate
from sparse_recon.run import Cancel, CompletionRun, OnProgress, input_hash, peak_memory_bytes
from sparse_recon.types import CompletedObject, Float32, Frame, ObjectViews, QualityRecord

log = logging.getLogger(__name__)


class CompletionSession:
    """Frames in, completed objects out.

    A session holds its own state and no other: two of them in one process do not disturb each other. It is not safe
    to call from two threads at once; a node gives it one worker.
    """

    def __init__(self, config: SessionConfig | None = None) -> None:
        self.config = config or SessionConfig()
        self._frames: list[Frame] = []
        self._catalog = ObjectCatalog(self.config)
        self._completers: dict[str, ViewCompleter] = {}

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames kept, in the order in which they were added."""
        return tuple(self._frames)

    def add_frame(self, frame: Frame) -> FrameReport:
        """Keep a frame if it can tell anything; the least useful frame gives way when the byte budget is spent."""
        refusal = self._refusal(frame)
        if refusal is not None:
            return self._report(False, *refusal)
        if frame.depth_m is not None:
            frame = replace(frame, depth_m=self._usable_depth(frame))
        self._frames.append(frame)
        dropped = 0
        while self._bytes() > self.config.keyframes.frame_budget_bytes and len(self._frames) > 1:
            del self._frames[least_useful(self._frames)]
            dropped += 1
        reason = f"kept; {dropped} earlier frame(s) made room" if dropped else "kept"
        return self._report(True, ErrorCode.OK, reason)

    def objects(self) -> tuple[ObjectCandidate, ...]:
        """Return what can be asked for: labelled objects where frames have labels, else what stands on the support."""
        if not self._frames:
            return ()
        return tuple(found.candidate for found in self._catalog.objects(self._frames))

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
            If the model is unknown or failed.
        MeshError
            If no closed surface came out.
        CancelledError
            If `cancel` said so, or the deadline passed before there was anything to return.
        """
        run = CompletionRun(self.config, request, on_progress, cancel)

        # 1. Which pixels, which frames.
        run.enter("observe")
        if not self._frames:
            raise EvidenceError(ErrorCode.NO_FRAMES, "no frame was added yet: add at least one frame with depth")
        found = self._catalog.resolve(request, self._frames)
        run.enter("observe")
        name = found.candidate.object_id
        max_views = request.max_views or self.config.keyframes.max_views
        views = collect_views(name, self._frames, found.region, found.plane, found.up_world, self.config, max_views)

        # 2. What they prove.
        run.enter("evidence")
        views, outliers = without_outliers(views)
        grid = VoxelGrid.cube(self.config.evidence.grid, views.object_frame.half_side_m)
        evidence = Evidence.empty(views.object_frame, grid, self.config.evidence)
        for view in views.views:
            run.enter("evidence")
            evidence.add(view)
        bounds = Bounds.of(evidence)
        if outliers > 0.1:
            run.warnings.append(
                f"{100 * outliers:.0f} % of the measured points were outvoted by other views and dropped"
            )

        # 3. Imagine what nobody saw.
        run.enter("complete")
        completer = self._completer(request.model or self.config.model)
        surface = run.imagine(completer, views, evidence, bounds)

        # 4. One surface from both, inside what the evidence allows.
        fused = fuse(views, surface, evidence, self.config, run.generator, run.enter)
        run.enter("done")
        result = self._completed(name, completer.name, views, evidence, bounds, fused, run)
        q = result.quality
        log.info(
            "%s: %d views, %d points (%.0f %% observed), radius90 %.1f mm, %.2f s, peak %.0f MB, model %s",
            name,
            q.views_used,
            len(result.points_world),
            100 * q.observed_fraction,
            1e3 * q.radius90_m,
            sum(q.timings_s.values()),
            q.peak_memory_bytes / 1e6,
            result.model,
        )
        return result

    def reset(self) -> None:
        """Forget all frames and objects; loaded models stay."""
        self._frames.clear()
        self._catalog = ObjectCatalog(self.config)

    def _refusal(self, frame: Frame) -> tuple[ErrorCode, str] | None:
        if any(f.camera == frame.camera and f.stamp_ns == frame.stamp_ns for f in self._frames):
            return ErrorCode.STAMP_ORDER, f"{frame.camera} already gave a frame with stamp {frame.stamp_ns} ns"
        if frame.depth_m is None and frame.labels is None:
            return ErrorCode.FRAME_INVALID, f"{frame.camera}: a frame with neither depth nor labels shows no object"
        if frame.depth_m is None:
            return None
        depth = self.config.depth
        with np.errstate(invalid="ignore"):
            usable = int(np.count_nonzero((frame.depth_m >= depth.near_m) & (frame.depth_m <= depth.far_m)))
        if usable == 0:
            return ErrorCode.DEPTH_EMPTY, (
                f"{frame.camera}: no depth pixel between depth.near_m = {depth.near_m:g} m and "
                f"depth.far_m = {depth.far_m:g} m; is the depth in metres, and is anything in range?"
            )
        return None

    def _usable_depth(self, frame: Frame) -> Float32:
        assert frame.depth_m is not None
        config, depth = self.config.depth, frame.depth_m
        with np.errstate(invalid="ignore"):
            depth = np.where((depth >= config.near_m) & (depth <= config.far_m), depth, np.float32(np.nan))
        if config.edge_jump_m > 0:
            depth = without_flying_pixels(depth, config.edge_jump_m)
        return depth

    def _bytes(self) -> int:
        return sum(f.nbytes for f in self._frames)

    def _report(self, accepted: bool, code: ErrorCode, reason: str) -> FrameReport:
        return FrameReport(accepted, code, reason, len(self._frames), self._bytes())

    def _completer(self, name: str) -> ViewCompleter:
        if name not in self._completers:
            self._completers[name] = create(name)
        return self._completers[name]

    def _completed(
        self,
        name: str,
        model: str,
        views: ObjectViews,
        evidence: Evidence,
        bounds: Bounds,
        fused: FusedGeometry,
        run: CompletionRun,
    ) -> CompletedObject:
        T = views.object_frame.T_world_obj
        observed = transform_points(T, evidence.all_points_obj())
        soft = fused.evidence_soft or bounds.soft
        if soft:
            run.warnings.append(
                f"observations contradict each other: {100 * bounds.conflict:.0f} % of the measured points lie where "
                "another view saw empty space; bounds were softened. Check poses, masks, and whether it moved"
            )
        if fused.free_space_violation > 0:
            run.warnings.append(
                f"{100 * fused.free_space_violation:.2f} % of the surface stands in space seen to be empty"
            )
        quality = QualityRecord(
            views_used=len(views.views),
            observed_fraction=fused.observed_fraction,
            free_space_violation=fused.free_space_violation,
            mean_confidence=float(fused.confidence.mean()),
            radius90_m=fused.radius90_m,
            scale_residual=0.0,
            nominal_watertight=fused.nominal.watertight,
            conservative_watertight=fused.conservative.watertight,
            evidence_soft=soft,
            timings_s=run.timings_s,
            peak_memory_bytes=peak_memory_bytes(),
            input_hash=input_hash(views, run.request, self.config),
            warnings=tuple(run.warnings),
        )
        return CompletedObject(
            object_id=name,
            frame_id=self.config.world_frame,
            stamp_ns=max(v.frame.stamp_ns for v in views.views),
            model=model,
            seed=run.seed,
            points_world=fused.points_world,
            normals_world=fused.normals_world,
            colors=fused.colors,
            confidence=fused.confidence,
            provenance=fused.provenance,
            observed_points_world=observed.astype(np.float32),
            nominal=fused.nominal,
            conservative=fused.conservative,
            vertex_confidence=fused.vertex_confidence,
            box=fused.box,
            quality=quality,
            collision_parts=fused.convex_parts,
        )
