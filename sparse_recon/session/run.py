"""One completion on its way: stages, clock, progress, cancel, deadline, seed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparse_recon.complete.base import CompletionTask, ViewCompleter
from sparse_recon.complete.carve import CarveCompleter, carve
from sparse_recon.completion import Completion, SampledField
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import CancelledError, ErrorCode, MemoryBudgetError, ModelError, SparseReconError
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.fuse.confidence import probability_within
from sparse_recon.fuse.fusion import FusedGeometry
from sparse_recon.fuse.imagined import imagined_field, is_cut
from sparse_recon.fuse.mesh import isosurface
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.near import moved_mesh
from sparse_recon.geometry.poses import transform_points
from sparse_recon.machine.memory_shortage import memory_shortage
from sparse_recon.machine.resident_memory import peak_bytes
from sparse_recon.requests import CompletionRequest, ObjectCandidate, Progress
from sparse_recon.types import CompletedObject, Float64, ObjectViews, QualityRecord, SurfaceField, TriangleMesh

OnProgress = Callable[[Progress], None]
OnStep = Callable[[int, int, SurfaceField | None], None]
Cancel = Callable[[], bool]

# Clouds of messages may round points to this step: a tenth of the distance that confidence speaks of.
CLOUD_STEP_M = 0.0005
# Share of the whole at which each stage begins, for progress.
STAGES = {
    "observe": 0.0,
    "evidence": 0.08,
    "complete": 0.15,
    "evidence_fine": 0.55,
    "bounds_fine": 0.65,
    "blend": 0.7,
    "mesh": 0.75,
    "hypotheses": 0.82,
    "conservative": 0.85,
    "points": 0.95,
    "convex_parts": 0.97,
    "done": 1.0,
}


@dataclass(frozen=True, eq=False)
class Imagined:
    """What a model says of an object: its answer, and draws beside it, on the grid of the evidence."""

    surface: SurfaceField
    hypotheses: tuple[SampledField, ...] = ()


class CompletionRun:
    """Keeps the promises of one `CompletionSession.complete` call: progress, cancel, deadline and timings.

    Attributes
    ----------
    origin_world : (3,) metres, where in the world the frame of views and fused geometry has its origin.
    """

    def __init__(
        self, config: SessionConfig, request: CompletionRequest, on_progress: OnProgress | None, cancel: Cancel | None
    ) -> None:
        self.config, self.request = config, request
        self.seed = config.seed if request.seed is None else request.seed
        self.generator = np.random.default_rng(self.seed)
        self.origin_world: Float64 = np.zeros(3)
        self.warnings: list[str] = []
        self.model_figures: dict[str, float | str] = {}
        self._model_warnings: tuple[str, ...] = ()  # among `warnings`: of the last answer
        self.candidate: ObjectCandidate | None = None  # what the request turned out to name
        self.timings_s: dict[str, float] = {}
        self._on_progress, self._cancel = on_progress, cancel
        self._started = self._entered = time.perf_counter()
        self._stage = ""
        self._fraction = 0.0
        self._best: SurfaceField | None = None
        self._views_drawn: tuple[Completion, Float64] | None = None

    def enter(self, stage: str) -> None:
        """Begin a stage: close the clock of the one before, tell the caller, and stop if the caller wants to.

        Entering a stage again is a checkpoint within it: only the wish to stop is asked for.
        """
        if stage == self._stage:
            self.checkpoint()
            return
        now = time.perf_counter()
        if self._stage:
            self.timings_s[self._stage] = now - self._entered
        self._stage, self._entered = stage, now
        self.checkpoint()
        self._tell(Progress(stage, 0, 1, STAGES[stage]))

    def imagine(self, completer: ViewCompleter, views: ObjectViews, evidence: Evidence, bounds: Bounds) -> Imagined:
        """Carve the prior and let the completer work; past the deadline the best field so far is the answer.

        Views that were drawn before, for a smaller cube, serve again: they are cameras of the world.

        Raises
        ------
        CancelledError
            If the caller cancelled, or the deadline passed before the first step was done.
        ModelError
            MODEL_FAILED.
        MemoryBudgetError
            If memory ran out.
        """
        grid = VoxelGrid.cube(completer.grid, views.object_frame.half_side_m) if completer.grid else evidence.grid

        def on_step(step: int, steps: int, field: SurfaceField | None) -> None:
            if field is not None:
                field = self._best = _resampled(field, grid, evidence.grid)
            tell(step, steps, field)

        def preview(step: int, steps: int, field: SurfaceField) -> None:
            tell(step, steps, _resampled(field, grid, evidence.grid))

        def tell(step: int, steps: int, shown: SurfaceField | None) -> None:
            self._tell(self._step_progress(step, steps, shown, views, evidence))
            self.checkpoint()
            if self.deadline_passed() and step < steps:
                raise _DeadlinePassed

        if self.deadline_passed():
            raise self._too_late(completer)
        try:
            completion = self._drawn_before()
            if completion is None:
                task = replace(self._task(completer, views, evidence, bounds, grid, on_step), preview=preview)
                completion = completer.complete(task)
                # A carved shape that the cube cuts says neither where the object's middle is nor how large it is.
                if completion.surface is None and completion.views and not is_cut(task.prior, views.object_frame):
                    self._views_drawn = completion, self.origin_world
            if completion.surface is not None:
                completion = replace(completion, surface=_resampled(completion.surface, grid, evidence.grid))
            drawn = tuple(
                draw if grid == evidence.grid else replace(draw, sdf_m=grid.resample(draw.sdf_m, evidence.grid))
                for draw in completion.hypotheses
            )
            return Imagined(self._field(completion, views, evidence), drawn)
        except _DeadlinePassed:
            if self._best is None:
                raise self._too_late(completer) from None
            self.warnings.append(
                f"the deadline of {self.request.deadline_s:g} s passed: the result is the best so far of "
                f"{completer.name}"
            )
            return Imagined(self._best)
        except SparseReconError:
            raise
        except Exception as error:
            shortage = memory_shortage(error)
            if shortage is None:
                raise ModelError(
                    ErrorCode.MODEL_FAILED,
                    f"{completer.name} failed on {views.object_id} with {type(error).__name__}: {error}; try another "
                    "view or model, and report it",
                ) from error
        # Outside the handler, so that the traceback no longer holds what the completer had allocated.
        raise MemoryBudgetError(f"{completer.name} imagined {views.object_id}", shortage)

    def _drawn_before(self) -> Completion | None:
        """Return what was drawn for a smaller cube, if the frame of views is still the same."""
        if self._views_drawn is None or not np.array_equal(self._views_drawn[1], self.origin_world):
            return None
        return self._views_drawn[0]

    def _task(
        self,
        completer: ViewCompleter,
        views: ObjectViews,
        evidence: Evidence,
        bounds: Bounds,
        grid: VoxelGrid,
        on_step: OnStep,
    ) -> CompletionTask:
        """Return the task, on the grid that the completer works on, with the carved prior."""
        if grid != evidence.grid:
            evidence = Evidence.of(views, grid, self.config.evidence, self.checkpoint)
            bounds = Bounds.of(evidence, self.checkpoint)
        # Steps of the prior are told only where it is the answer.
        report = on_step if isinstance(completer, CarveCompleter) else lambda step, steps, field: self.checkpoint()
        prior = carve(evidence, bounds, self.config.carve, self.generator, report, self.checkpoint)

        def goes_on(step: int, steps: int, answer: SurfaceField | None) -> bool:
            self._tell(self._step_progress(step, steps, answer, views, evidence))
            self.checkpoint()
            return not self.deadline_passed()

        return CompletionTask(
            views,
            evidence,
            bounds,
            prior,
            self.seed,
            self.generator,
            self.config,
            on_step,
            self.checkpoint,
            goes_on=goes_on,
        )

    def _field(self, completion: Completion, views: ObjectViews, evidence: Evidence) -> SurfaceField:
        self.model_figures = dict(completion.diagnostics)
        self.warnings = [w for w in self.warnings if w not in self._model_warnings] + list(completion.warnings)
        self._model_warnings = completion.warnings

        def on_step(step: int, steps: int) -> None:
            self._tell(self._step_progress(step, steps, None, views, evidence))
            self.checkpoint()

        def deadline_passed() -> bool:
            if not self.deadline_passed():
                return False
            self.warnings.append(
                f"the deadline of {self.request.deadline_s:g} s passed: the surface was not fully optimised to the "
                f"views that {completion.model} generated"
            )
            return True

        return imagined_field(completion, views, evidence, self.config, on_step, self.checkpoint, deadline_passed)

    def completed(
        self,
        views: ObjectViews,
        evidence: Evidence,
        bounds: Bounds,
        fused: FusedGeometry,
        model: str,
        hypotheses: Sequence[SampledField] = (),
    ) -> CompletedObject:
        """Put the result together, in the frame of the views, with a warning for what should not be trusted blindly.

        `hypotheses` are those that `fused` was made with.
        """
        observed = transform_points(views.object_frame.T_world_obj, evidence.all_points_obj())
        soft = fused.evidence_soft or bounds.soft
        if soft:
            self.warnings.append(
                f"observations contradict each other: {100 * bounds.conflict:.0f} % of the measured points lie in free "
                "space of another view; free space is trusted less. Check camera poses, masks, and whether it moved"
            )
        if fused.free_space_violation > 0:
            self.warnings.append(f"{100 * fused.free_space_violation:.2f} % of the surface lies in observed free space")
        if lost := len(hypotheses) - len(fused.hypotheses):
            self.warnings.append(
                f"{lost} of {len(hypotheses)} hypotheses make no closed mesh of at most fusion.hypothesis_faces "
                f"({self.config.fusion.hypothesis_faces}) triangles and are left out"
            )
        if self.candidate is not None and self.candidate.cut_by_image:
            self.warnings.append(
                "the border of the image cuts the object in every frame that shows it: its size is a lower bound; look "
                "at it from farther off or from another side"
            )
        if text := _coarse_clouds(self.origin_world + views.object_frame.T_world_obj[:3, 3]):
            self.warnings.append(text)
        quality = QualityRecord(
            views_used=len(views.views),
            observed_fraction=fused.observed_fraction,
            free_space_violation=fused.free_space_violation,
            mean_confidence=float(fused.confidence.mean()),
            radius90_m=fused.radius90_m,
            nominal_watertight=fused.nominal.watertight,
            conservative_watertight=fused.conservative.watertight,
            evidence_soft=soft,
            timings_s=self.timings_s,
            peak_memory_bytes=peak_bytes(),
            input_hash=input_hash(views, self.request, self.config, self.origin_world),
            warnings=tuple(self.warnings),
            score=1.0 if self.candidate is None else self.candidate.score,
            cut_by_image=self.candidate is not None and self.candidate.cut_by_image,
            model_figures=self.model_figures,
        )
        return CompletedObject(
            object_id=views.object_id,
            frame_id=self.config.world_frame,
            stamp_ns=max(v.frame.stamp_ns for v in views.views),
            model=model,
            seed=self.seed,
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
            hypotheses=fused.hypotheses,
        )

    def _step_progress(
        self, step: int, steps: int, field: SurfaceField | None, views: ObjectViews, evidence: Evidence
    ) -> Progress:
        low, high = STAGES["complete"], STAGES["evidence_fine"]
        fraction = low + (high - low) * step / max(steps, 1)
        preview, confidence = None, 0.0
        if field is not None and self._on_progress is not None and (field.sdf_m < 0).any():
            vertices, faces = isosurface(field.sdf_m, evidence.grid)
            vertices = transform_points(views.object_frame.T_world_obj, vertices).astype(np.float32)
            preview = moved_mesh(TriangleMesh(vertices, faces), self.origin_world)
            inside = field.sdf_m < 0
            confidence = float(np.mean(probability_within(field.sigma_m[inside])))
        return Progress("complete", step, steps, fraction, preview, confidence)

    def _tell(self, progress: Progress) -> None:
        self._fraction = max(self._fraction, progress.fraction)  # an object may be imagined twice
        if self._on_progress is not None:
            self._on_progress(replace(progress, fraction=self._fraction))

    def checkpoint(self) -> None:
        """Stop if the caller wants to; called at least every half second in every stage."""
        if self._cancel is not None and self._cancel():
            raise CancelledError(ErrorCode.CANCELLED, f"the caller cancelled in stage {self._stage}")

    def _too_late(self, completer: ViewCompleter) -> CancelledError:
        return CancelledError(
            ErrorCode.DEADLINE,
            f"the deadline of {self.request.deadline_s:g} s passed before the first step of {completer.name} was done; "
            "allow more time or use fewer views",
        )

    def deadline_passed(self) -> bool:
        """Whether the deadline has passed."""
        deadline_s = self.request.deadline_s
        return deadline_s > 0 and time.perf_counter() - self._started > deadline_s


def _resampled(field: SurfaceField, grid: VoxelGrid, asked: VoxelGrid) -> SurfaceField:
    """Return a field of one grid on another."""
    if grid == asked:
        return field
    return SurfaceField(grid.resample(field.sdf_m, asked), grid.resample(field.sigma_m, asked), field.tail)


def _coarse_clouds(centre_world: Float64) -> str:
    """Return what to say of an object (3,) whose points the clouds of messages round too much; empty where not."""
    far_m = float(np.abs(centre_world).max())
    step_m = float(np.spacing(np.float32(far_m)))
    if step_m <= CLOUD_STEP_M:
        return ""
    return (
        f"the object is {1e-3 * far_m:.0f} km from the origin of the world frame: the point clouds of messages are "
        f"float32 and round its points to {1e3 * step_m:.0f} mm; meshes and files are not rounded. Set world_frame to "
        "a nearer frame such as odom"
    )


class _DeadlinePassed(Exception):
    """Ends a completer's loop from within its step callback."""


def input_hash(
    views: ObjectViews, request: CompletionRequest, config: SessionConfig, origin_world: Float64 | None = None
) -> str:
    """Return the sha256 of all that decides a completion: pixels, masks, poses, cube, request, parameters.

    `origin_world` (3,) is where in the world the frame of the views has its origin; None for the same origin.
    """
    digest = hashlib.sha256()

    def add(array: np.ndarray | None) -> None:
        digest.update(b"none" if array is None else f"{array.dtype}{array.shape}".encode())
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())

    for view in views.views:
        frame = view.frame
        digest.update(f"{frame.camera} {frame.stamp_ns}".encode())
        for array in (frame.T_world_cam, frame.intrinsics.K, frame.rgb, frame.depth_m, view.mask, view.occluder):
            add(array)
    cube, box = views.object_frame, request.box
    for array in (cube.T_world_obj, *(() if box is None else (box.T_world_box, box.size_m))):
        add(array)
    if origin_world is not None and origin_world.any():
        add(origin_world)
    digest.update(
        f"{views.object_id} {cube.half_side_m!r} {cube.support_z_m!r} {request.model} {request.seed} "
        f"{request.max_views} {request.deadline_s!r} {config!r}".encode()
    )
    return digest.hexdigest()
