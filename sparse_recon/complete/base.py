"""What every completer promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparse_recon.completion import Completion
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.types import ObjectViews, SurfaceField

OnLoad = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class CompletionTask:
    """What a completer is given: the observed views, what they prove, the carved prior, and its own generator.

    `prior` is the answer of `carve` on the grid of `evidence`: what conditions a model, and where the object is.

    A completer calls `on_step(step, steps, field)` after each step, with the best field so far or None, and
    `checkpoint` within long ones, one of them at least every 0.3 s. Both raise `CancelledError` when the caller wants
    to stop, and the completer lets that through. After a step that has something to show which is no answer it calls
    `preview(step, steps, field)` in place of `on_step`: the best field so far stays what it was. Once its answer is
    there and it draws hypotheses beside it, it calls `goes_on(step, steps, answer)` instead: that says False past the
    deadline, and then what there is is handed over.
    """

    views: ObjectViews
    evidence: Evidence
    bounds: Bounds
    prior: SurfaceField
    seed: int
    generator: np.random.Generator
    config: SessionConfig
    on_step: Callable[[int, int, SurfaceField | None], None]
    checkpoint: Callable[[], None] = lambda: None
    preview: Callable[[int, int, SurfaceField], None] = lambda step, steps, field: None
    goes_on: Callable[[int, int, SurfaceField | None], bool] = lambda step, steps, answer: True


class ViewCompleter(ABC):
    """Imagines what nobody saw of one object.

    A completer hands over imagined views (frames with a confidence), or, when it imagines a volume, the signed distance
    field that such views would be rendered from: rendering and fusing again would only lose accuracy. Whatever it
    hands over is projected onto the evidence by `fuse`; it need not respect the bounds itself.

    Attributes
    ----------
    name : as in the registry.
    grid : voxels along an edge of the cube that the model works on; None for those of the session. Evidence, bounds and
        prior of its tasks are on that grid, and so are the fields that it hands over.
    """

    name: str
    grid: int | None = None

    def load(self, config: SessionConfig, on_progress: OnLoad) -> None:  # noqa: B027
        """Read what the completer needs before its first task, such as weights; called once.

        Parameters
        ----------
        config : of the session.
        on_progress : takes the share that is done, in [0, 1], and a sentence; may raise `CancelledError`.

        Raises
        ------
        ModelError
            MODEL_WEIGHTS_MISSING or MODEL_WEIGHTS_INVALID.
        """

    @abstractmethod
    def complete(self, task: CompletionTask) -> Completion:
        """Imagine the rest of the object.

        The same task and seed give the same completion. No global random state is read or written.

        Raises
        ------
        CancelledError
            When `task.on_step`, `task.preview` or `task.checkpoint` asked to stop.
        ModelError
            When the model failed; the message says whether a retry can help.
        """
