"""All that can be evaluated, by name: baselines, every registered completer, and the truth as upper bound."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from sparse_recon.complete.registry import COMPLETERS, PUBLISHED
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.fuse.surface_points import sample_surface
from sparse_recon.lab.evaluate import baselines
from sparse_recon.lab.evaluate.cases import LABEL, Case
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession

TRUTH = "truth"


def method_names() -> tuple[str, ...]:
    """Return all methods, weakest assumption first."""
    return (*baselines.BASELINES, *COMPLETERS, TRUTH)


def ready_methods() -> tuple[str, ...]:
    """Return the methods that need no weights from elsewhere."""
    return tuple(name for name in method_names() if name not in PUBLISHED)


def check_methods(names: Sequence[str]) -> None:
    """Raise InputError USAGE for a name that is no method."""
    if unknown := sorted(set(names) - set(method_names())):
        raise InputError(
            ErrorCode.USAGE, f"no method is named {', '.join(unknown)}; there are: {', '.join(method_names())}"
        )


class Contestant:
    """The methods, each ready to answer one case after another with models loaded once."""

    def __init__(self, config: SessionConfig | None = None) -> None:
        self._config = config or SessionConfig()
        self._sessions: dict[str, CompletionSession] = {}

    def load(self, method: str) -> None:
        """Make a method ready, so that its first case is not charged with reading weights.

        Raises
        ------
        ModelError
            If its weights are missing or invalid.
        """
        if method in COMPLETERS:
            self._session(method).load(method)

    def predict(self, method: str, case: Case) -> Prediction:
        """Return the answer of a method to a case.

        Raises
        ------
        SparseReconError
            Whatever the method refuses the case with.
        """
        if method == TRUTH:
            return _truth(case)
        session = self._session(method)
        session.reset()
        for frame in case.frames:
            session.add_frame(frame)
        if method in COMPLETERS:
            return Prediction.of(session.complete(CompletionRequest(label=LABEL, model=method)))
        started = time.perf_counter()
        seen = session.observe(CompletionRequest(label=LABEL))
        return baselines.predict(method, seen, time.perf_counter() - started)

    def _session(self, method: str) -> CompletionSession:
        return self._sessions.setdefault(method, CompletionSession(self._config))


def _truth(case: Case) -> Prediction:
    points, normals = sample_surface(
        case.truth.vertices_world,
        case.truth.faces,
        baselines.POINT_SPACING_M,
        baselines.MAX_POINTS,
        np.random.default_rng(0),
    )
    return Prediction(
        surface=case.truth,
        points_world=points,
        normals_world=normals,
        inferred=np.zeros(len(points), bool),
        conservative=case.truth,
    )
