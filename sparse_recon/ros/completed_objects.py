"""Completed objects by name, and what of them is published."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sparse_recon.ros.outputs import Outputs
from sparse_recon.types import CompletedObject


class CompletedObjects:
    """The newest result of each object, the latest ones last. All methods belong to the worker's thread.

    Parameters
    ----------
    outputs : publishes after every change.

    Attributes
    ----------
    objects : by id; replaced, never changed in place, so that it can be read from any thread.
    """

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self.objects: dict[str, CompletedObject] = {}

    def add(self, completed: CompletedObject, most: int) -> None:
        """Take a result; of more than `most` objects the oldest results go."""
        others = {name: item for name, item in self.objects.items() if name != completed.object_id}
        self.objects = dict(list({**others, completed.object_id: completed}.items())[-most:])

    def keep(self, names: Collection[str]) -> None:
        """Forget all objects but these."""
        self.objects = {name: item for name, item in self.objects.items() if name in names}

    def forget(self) -> int:
        """Forget all objects; return how many there were."""
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
