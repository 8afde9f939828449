"""Results for clients that ask late: kept for a time, and bounded in bytes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Resident bytes of a message's Python objects: a vertex with its three floats, a triangle with its array of indices.
VERTEX_BYTES, TRIANGLE_BYTES = 200, 200


@dataclass(eq=False)
class _Kept:
    goal: weakref.ref[Any]
    result: Any
    nbytes: int


class KeptResults:
    """The results with geometry that rclpy keeps; the oldest lose their geometry where all need too many bytes.

    rclpy's action server answers with the very message that the goal's callback returned until its `result_timeout`
    has passed, then it drops the goal's handle. So what is taken out of the message here is gone there, and a handle
    that is gone says that nobody can ask any more. All methods belong to the executor's thread.

    Parameters
    ----------
    stripped : returns the object of a result without its geometry.
    """

    def __init__(self, stripped: Callable[[Any], Any]) -> None:
        self._stripped = stripped
        self._kept: list[_Kept] = []

    @property
    def nbytes(self) -> int:
        """About how many bytes the geometry of all results takes."""
        self._kept = [item for item in self._kept if item.goal() is not None]
        return sum(item.nbytes for item in self._kept)

    def keep(self, handle: Any, result: Any, max_bytes: int) -> None:
        """Take a result with geometry; this newest one keeps it in any case.

        Parameters
        ----------
        handle : the goal's, which lives as long as its result.
        result : CompleteObject.Result, changed in place when others need its room.
        max_bytes : parameter `results.max_bytes`.
        """
        self._kept.append(_Kept(weakref.ref(handle), result, geometry_bytes(result.object)))
        while self.nbytes > max_bytes and len(self._kept) > 1:
            oldest = self._kept.pop(0).result
            oldest.object = self._stripped(oldest.object)
            oldest.message += (
                f"; its geometry was dropped, for all results that are kept may take results.max_bytes = {max_bytes}: "
                "it is on the topics, ask earlier or raise the parameter"
            )


def geometry_bytes(obj: Any) -> int:
    """Return about how many bytes clouds and meshes of a sparse_recon/CompletedObject take in memory."""
    meshes = (obj.nominal_mesh, obj.conservative_mesh, *obj.collision_parts, *(h.mesh for h in obj.hypotheses))
    return (
        len(obj.cloud.data)
        + len(obj.observed_cloud.data)
        + 4 * len(obj.vertex_confidence)
        + sum(VERTEX_BYTES * len(mesh.vertices) + TRIANGLE_BYTES * len(mesh.triangles) for mesh in meshes)
    )
