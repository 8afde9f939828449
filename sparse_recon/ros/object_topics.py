"""Topics that carry what changed among the objects, in such a way that who comes late has all of them too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sparse_recon.messages.collision import collision_object_fields, removal_fields
from sparse_recon.messages.fields import Fields, completed_object_array_fields
from sparse_recon.messages.markers import marker_array_fields
from sparse_recon.types import CompletedObject

# Of max_objects objects the newest messages, and so many others before one of them has to be sent again.
SPARE_DEPTH = 8


@dataclass(frozen=True)
class ObjectMessages:
    """How changes are told on a topic.

    Attributes
    ----------
    added : object, frame, stamp and whether it is the only one: the message that adds or replaces it.
    removed : ids, frame, stamp and whether none is left: the messages that take these away.
    shown : which objects the topic has.
    """

    added: Callable[[CompletedObject, str, int, bool], Fields]
    removed: Callable[[Sequence[str], str, int, bool], list[Fields]]
    shown: Callable[[CompletedObject], bool] = lambda obj: True


OBJECT_TOPICS = ("objects", "markers", "collision_objects")


def object_messages(name: str, collision_faces: int) -> ObjectMessages:
    """Return how changes are told on one of `OBJECT_TOPICS`.

    Parameters
    ----------
    collision_faces : triangles of a collision object at most; 0 for any number.
    """
    if name == "objects":
        return ObjectMessages(
            lambda obj, frame_id, stamp_ns, whole: completed_object_array_fields(
                [obj], frame_id, stamp_ns, whole=whole
            ),
            lambda ids, frame_id, stamp_ns, whole: [
                completed_object_array_fields([], frame_id, stamp_ns, whole=whole, removed_ids=ids)
            ],
        )
    if name == "markers":
        return ObjectMessages(
            lambda obj, frame_id, stamp_ns, whole: marker_array_fields([obj], frame_id, stamp_ns, whole=whole),
            lambda ids, frame_id, stamp_ns, whole: [
                marker_array_fields([], frame_id, stamp_ns, whole=whole, removed_ids=() if whole else ids)
            ],
        )
    return ObjectMessages(
        lambda obj, frame_id, stamp_ns, whole: collision_object_fields(obj, collision_faces),
        lambda ids, frame_id, stamp_ns, whole: removal_fields(ids, frame_id, stamp_ns),
        lambda obj: len(obj.conservative.faces) > 0 or len(obj.collision_parts) > 0,
    )


@dataclass(eq=False)
class ObjectTopic:
    """Sends one message for each object that changed.

    The newest message of every object is always among the last `depth` ones, which a transient local publisher keeps: a
    message that the next one would push out is sent again before.

    Parameters
    ----------
    messages : how changes are told.
    send : publishes the fields that a function makes.
    depth : of the publisher's history, more than there are ever objects; 0: nothing is ever pushed out of it.
    """

    messages: ObjectMessages
    send: Callable[[Callable[[], Fields]], None]
    depth: int
    _frame_id: str = ""
    _shown: dict[str, CompletedObject] = field(default_factory=dict)
    _sent: int = 0
    _number: dict[str, int] = field(default_factory=dict)  # of the newest message of each object

    def publish(self, objects: Iterable[CompletedObject], frame_id: str, stamp_ns: int) -> None:
        """Say what has changed until there are these objects and no others; what is the same object has not."""
        wanted = {obj.object_id: obj for obj in objects if self.messages.shown(obj)}
        before = self._shown
        moved = frame_id != self._frame_id  # also at first, when an earlier node's objects may still be shown
        gone = sorted(before.keys() - wanted.keys())
        for name in before if moved else gone:
            self._number.pop(name, None)
        self._frame_id, self._shown = frame_id, wanted
        if gone or (moved and not wanted):
            for fields in self.messages.removed(gone, frame_id, stamp_ns, not wanted):
                self._say(lambda fields=fields: fields, stamp_ns)  # type: ignore[misc]
        whole = moved
        for name, obj in wanted.items():
            if moved or before.get(name) is not obj:
                self._add(obj, stamp_ns, whole)
                whole = False

    def _add(self, obj: CompletedObject, stamp_ns: int, whole: bool) -> None:
        frame_id = self._frame_id
        self._number.pop(obj.object_id, None)  # its older message may go
        self._say(lambda: self.messages.added(obj, frame_id, stamp_ns, whole), stamp_ns)
        self._number[obj.object_id] = self._sent

    def _say(self, fields: Callable[[], Fields], stamp_ns: int) -> None:
        while (name := self._pushed_out_next()) is not None:
            self._add_again(name, stamp_ns)
        self._sent += 1
        self.send(fields)

    def _pushed_out_next(self) -> str | None:
        oldest = min(self._number, key=lambda name: self._number[name], default=None)
        if oldest is None or not len(self._number) < self.depth:
            return None
        return oldest if self._number[oldest] <= self._sent + 1 - self.depth else None

    def _add_again(self, name: str, stamp_ns: int) -> None:
        obj, frame_id = self._shown[name], self._frame_id
        self._sent += 1
        self._number[name] = self._sent
        self.send(lambda: self.messages.added(obj, frame_id, stamp_ns, False))
