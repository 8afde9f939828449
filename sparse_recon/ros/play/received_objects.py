"""What a receiver of `~/objects` keeps: the newest result of each object."""

from __future__ import annotations

from typing import Any

RECEIVER_DEPTH = 300  # of a subscription: more than any node keeps for who comes late


class ReceivedObjects:
    """Applies the messages of `~/objects` one after another; see msg/CompletedObjectArray.msg.

    Attributes
    ----------
    objects : sparse_recon/CompletedObject by object_id.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}

    def take(self, array: Any) -> None:
        """Apply a sparse_recon/CompletedObjectArray."""
        if array.whole:
            self.objects.clear()
        for object_id in array.removed_ids:
            self.objects.pop(object_id, None)
        for item in array.objects:
            self.objects[item.object_id] = item
