"""Which frames and objects a request names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sparse_recon.errors import ErrorCode, EvidenceError, InputError
from sparse_recon.geometry.clouds import inside_box
from sparse_recon.observe.catalog import ObjectCatalog
from sparse_recon.observe.found import FoundObject
from sparse_recon.observe.regions import ObjectRegion
from sparse_recon.requests import CompletionRequest
from sparse_recon.types import CompletedObject, Frame, OrientedBox

BoxAndPixels = tuple[OrientedBox, ObjectRegion | None]


def not_ignored(frames: Sequence[Frame], ignore_before_ns: int) -> tuple[Frame, ...]:
    """Return the frames that a request wants to be looked at; refuse it where there are none."""
    if not frames:
        raise EvidenceError(ErrorCode.NO_FRAMES, "the session has no frames; add at least one frame with depth")
    wanted = tuple(f for f in frames if f.stamp_ns >= ignore_before_ns)
    if not wanted:
        newest_s = (ignore_before_ns - max(f.stamp_ns for f in frames)) * 1e-9
        raise EvidenceError(
            ErrorCode.NO_FRAMES,
            f"all {len(frames)} kept frame(s) are older than ignore_before, the newest by {newest_s:.3f} s; ask again "
            "when a newer one has come",
        )
    return wanted


def resolved(
    catalog: ObjectCatalog,
    request: CompletionRequest,
    frames: Sequence[Frame],
    kept: Sequence[Frame],
    checkpoint: Callable[[], None],
) -> FoundObject:
    """Return the object that a request names in the frames that it wants; say so where only others show it."""
    try:
        return catalog.resolve(request, frames, checkpoint)
    except EvidenceError as error:
        if len(frames) == len(kept) or error.code is not ErrorCode.OBJECT_NOT_FOUND:
            raise
        try:
            found = catalog.resolve(request, kept, checkpoint)
        except EvidenceError:
            raise error from None
    raise EvidenceError(
        ErrorCode.OBJECT_NOT_IN_VIEW,
        f"{found.candidate.object_id} is in none of the {len(frames)} frame(s) since ignore_before, only in older ones "
        f"of the {len(kept)} kept; look at it and ask again, or ignore less",
    )


def forgotten_objects(
    object_ids: Collection[str],
    region: OrientedBox | None,
    frames: Sequence[Frame],
    catalog: ObjectCatalog,
    completed: Sequence[CompletedObject],
) -> dict[str, BoxAndPixels]:
    """Return the objects that are to be forgotten, by id, with their boxes and, where frames show them, their pixels.

    Raises
    ------
    InputError
        USAGE if nothing is named.
    EvidenceError
        OBJECT_NOT_FOUND if an object is unknown.
    """
    if "" in object_ids or (not object_ids and region is None):
        what = "an id is empty" if object_ids else "neither objects nor a region with three edges are named"
        raise InputError(ErrorCode.USAGE, f"nothing is forgotten: {what}; service get_objects lists ids")
    found = {name: _named(name, frames, catalog, completed) for name in object_ids}
    if region is not None:
        for item in catalog.objects(frames) if frames else ():
            if inside_box(item.candidate.box.T_world_box[:3, 3], region):
                found[item.candidate.object_id] = item.candidate.box, item.region
        for result in completed:
            if result.object_id not in found and inside_box(result.box.T_world_box[:3, 3], region):
                found[result.object_id] = result.box, None
    return found


def _named(
    name: str, frames: Sequence[Frame], catalog: ObjectCatalog, completed: Sequence[CompletedObject]
) -> BoxAndPixels:
    why = "no frame is kept"
    if frames:
        try:
            found = catalog.resolve(CompletionRequest(object_id=name), frames)
            return found.candidate.box, found.region
        except EvidenceError as error:
            why = error.message
    for result in completed:
        if result.object_id == name:
            return result.box, None
    raise EvidenceError(ErrorCode.OBJECT_NOT_FOUND, f"nothing is forgotten: {why}")
