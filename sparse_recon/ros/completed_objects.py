"""Completed objects by name, and what of them is published."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from sparse_recon.errors import CancelledError, ErrorCode
from sparse_recon.ros.outputs import Outputs
from sparse_recon.types import CompletedObject


class CompletedObjects:
    """The newest result of each object, the latest ones last.

    What is forgotten stays forgotten: a completion names the epoch in which it began, and its result is refused when
    another one has begun since.

    Parameters
    ----------
    outputs : publishes after every change.

    Attributes
    ----------
    objects : by id; replaced, never changed in place, so that it can be read from any thread.
    """

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._lock = threading.Lock()
        self.objects: dict[str, CompletedObject] = {}
        self.epoch = 0

    def add(self, completed: CompletedObject, epoch: int, most: int) -> None:
        """Take a result; of more than `most` objects the oldest results go.

        Raises
        ------
        CancelledError
            If everything was forgotten since the epoch.
        """
        with self._lock:
            if epoch != self.epoch:
                raise CancelledError(
                    ErrorCode.CANCELLED, "all completed objects were discarded by a reset; complete them again"
                )
            others = {name: item for name, item in self.objects.items() if name != completed.object_id}
            kept = list({**others, completed.object_id: completed}.items())[-most:]
            self.objects = dict(kept)

    def keep(self, names: Collection[str], epoch: int) -> None:
        """Forget all objects but these."""
        with self._lock:
            if epoch == self.epoch:
                self.objects = {name: item for name, item in self.objects.items() if name in names}

    def forget(self) -> int:
        """Begin a new epoch without objects; return how many there were."""
        with self._lock:
            self.epoch += 1
            count = len(self.objects)
            self.objects = {}
            return count

    def publish(self, world_frame: str) -> None:
        """Publish all objects, or that there are none."""
        objects: Mapping[str, CompletedObject] = self.objects
        stamp_ns = max((completed.stamp_ns for completed in objects.values()), default=0)
        if objects:
            self._outputs.publish(list(objects.values()), world_frame, stamp_ns)
        else:
            self._outputs.clear(world_frame, stamp_ns)
