"""What the node publishes, and completed objects as messages of an action result."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy

from sparse_recon.errors import SparseReconError
from sparse_recon.messages.fields import (
    Fields,
    completed_cloud_fields,
    completed_object_fields,
    observed_cloud_fields,
)
from sparse_recon.messages.footprints import FootprintConfig, footprint_grid_fields
from sparse_recon.messages.markers import preview_end_fields, preview_fields
from sparse_recon.requests import Progress
from sparse_recon.ros.convert import to_message
from sparse_recon.ros.object_topics import OBJECT_TOPICS, SPARE_DEPTH, ObjectTopic, object_messages
from sparse_recon.ros.output_topics import NODE_TOPICS, OutputTopic
from sparse_recon.ros.qos import PublisherEventCallbacks, latched, overridable, policy_name
from sparse_recon.ros.serialised import serialised
from sparse_recon.types import CompletedObject

if TYPE_CHECKING:
    from sparse_recon.msg import CompletedObject as CompletedObjectMessage

log = logging.getLogger(__name__)


class Outputs:
    """Publishers of everything that is known about completed objects.

    They are ordinary publishers, not lifecycle ones, so that results outlive deactivation for late subscribers; who
    owns them publishes only while active. All methods may be called from any thread. What cannot be published is
    logged and leaves out that topic alone.

    Parameters
    ----------
    node : gets the publishers, on `~/<name>` of `output_topics.NODE_TOPICS`; parameters `qos_overrides.<topic>...`
        replace their quality of service, also when they are made again.

    footprints : grid of `~/footprints`.
    max_objects : never more objects than this are published.
    collision_faces : triangles of a collision object at most; 0 for any number.

    Attributes
    ----------
    max_objects : as given.
    topics : resolved name of each topic; those whose message package is not installed are missing.
    refused : topics with subscribers that ask for a quality of service which is not offered, and its policy.
    """

    def __init__(
        self, node: Any, footprints: FootprintConfig | None = None, max_objects: int = 16, collision_faces: int = 500
    ) -> None:
        self._node = node
        self.footprints = footprints or FootprintConfig()
        self.max_objects = max_objects
        self._lock = threading.Lock()
        self._objects: tuple[CompletedObject, ...] = ()
        self._frame_id, self._stamp_ns = "", 0
        self._object_topics: dict[str, ObjectTopic] = {}
        self._last_key: dict[str, str] = {}  # of what each merged topic carries
        self._preview_shown = self._views_shown = self._views_due = False
        self.refused: dict[str, str] = {}
        self._publishers: dict[str, Any] = {}
        for name, topic in NODE_TOPICS.items():
            message_type = _message_type(topic.msgtype)
            if message_type is not None:
                publisher = self._publishers[name] = self._publisher(name, topic, message_type)
                if name in OBJECT_TOPICS:
                    self._object_topics[name] = ObjectTopic(
                        object_messages(name, collision_faces), partial(self._send, name), history_depth(publisher)
                    )
        self.topics = {name: str(publisher.topic_name) for name, publisher in self._publishers.items()}

    def publish(self, objects: Sequence[CompletedObject], frame_id: str, stamp_ns: int) -> None:
        """Publish that there are these objects, and no others: what changed of it, topic by topic.

        An object has changed where it is another `CompletedObject` than the one before of its id. Merged topics are
        sent where their content or stamp is another. Objects of another frame are left out with a warning; pictures are
        drawn only when someone subscribes.
        """
        here = tuple(obj for obj in objects if obj.frame_id == frame_id)
        if len(here) < len(objects):
            others = sorted({obj.frame_id for obj in objects} - {frame_id})
            log.warning("objects in frame %s are not published in frame %s: complete them again", others, frame_id)
        with self._lock:
            self._objects, self._frame_id, self._stamp_ns = here, frame_id, stamp_ns
            self._send_objects("objects")
            self._send_merged("cloud", _completed_points, lambda: completed_cloud_fields(here, frame_id, stamp_ns))
            self._send_merged("observed_cloud", _measured, lambda: observed_cloud_fields(here, frame_id, stamp_ns))
            self._send_objects("collision_objects")
            self._send_merged(
                "footprints",
                partial(_shadows, self.footprints),
                lambda: footprint_grid_fields(here, frame_id, stamp_ns, self.footprints),
            )
            self._send_objects("markers")
            self._end_preview()
            self._views_due = bool(here) or self._views_shown
            self._send_views()

    def clear(self, frame_id: str, stamp_ns: int) -> None:
        """Publish that there are no objects: empty arrays and clouds, markers deleted, footprints free.

        An empty `frame_id` means that of the last message; where there was none, nothing needs to be cleared.
        """
        frame_id = frame_id or self._frame_id
        if frame_id:
            self.publish((), frame_id, stamp_ns)

    def refresh(self) -> None:
        """Draw the pictures of the last objects if someone subscribed only after they were published."""
        with self._lock:
            self._send_views()

    def publish_preview(self, progress: Progress, frame_id: str, stamp_ns: int) -> None:
        """Show the model's answer so far to whoever subscribes; the next `publish` removes it."""
        mesh = progress.preview
        if mesh is None or not len(mesh.faces) or not frame_id:
            return
        with self._lock:
            if self._wanted("preview"):
                self._frame_id, self._stamp_ns, self._preview_shown = frame_id, stamp_ns, True
                self._send("preview", lambda: preview_fields(mesh, frame_id, stamp_ns))

    def end_preview(self) -> None:
        """Take the preview away, as of a completion that failed."""
        with self._lock:
            self._end_preview()

    def destroy(self) -> None:
        """Say that nothing is there any longer, and take all publishers from the node."""
        self.clear("", self._stamp_ns)
        with self._lock:
            for publisher in self._publishers.values():
                self._node.destroy_publisher(publisher)
            self._publishers, self._objects, self._object_topics = {}, (), {}
            self._views_due = False

    def _publisher(self, name: str, topic: OutputTopic, message_type: Any) -> Any:
        qos = latched()
        if not topic.latched:
            qos.durability = QoSDurabilityPolicy.VOLATILE
        if name in OBJECT_TOPICS:
            qos.depth = self.max_objects + SPARE_DEPTH

        def refused(event: Any) -> None:
            policy = self.refused[name] = policy_name(event.last_policy_kind)
            log.warning("a subscriber of ~/%s asks for a %s that is not offered: change the subscriber", name, policy)

        return self._node.create_publisher(
            message_type,
            f"~/{name}",
            qos,
            event_callbacks=PublisherEventCallbacks(incompatible_qos=refused, use_default_callbacks=False),
            qos_overriding_options=overridable(),
        )

    def _send_objects(self, name: str) -> None:
        if name in self._object_topics:
            self._object_topics[name].publish(self._objects, self._frame_id, self._stamp_ns)

    def _send_merged(
        self, name: str, content: Callable[[CompletedObject], Iterable[object]], fields: Callable[[], Fields]
    ) -> None:
        """Send all objects as one message unless the last one said the same."""
        digest = blake2b(f"{self._frame_id} {self._stamp_ns}".encode())
        for part in (part for obj in self._objects for part in (obj.object_id, *content(obj))):
            digest.update(np.ascontiguousarray(part).data if isinstance(part, np.ndarray) else repr(part).encode())
        if digest.hexdigest() != self._last_key.get(name):
            self._last_key[name] = digest.hexdigest()
            self._send(name, fields)

    def _send_views(self) -> None:
        if not self._views_due or not self._wanted("novel_views"):
            return
        from sparse_recon.viz.novel_views import novel_view_fields

        self._views_due, self._views_shown = False, bool(self._objects)
        self._send("novel_views", lambda: novel_view_fields(self._objects, self._frame_id, self._stamp_ns))

    def _end_preview(self) -> None:
        if self._preview_shown:
            self._send("preview", lambda: preview_end_fields(self._frame_id, self._stamp_ns))
            self._preview_shown = False

    def _wanted(self, name: str) -> bool:
        publisher = self._publishers.get(name)
        return publisher is not None and self._node.context.ok() and publisher.get_subscription_count() > 0

    def _send(self, name: str, fields: Callable[[], Fields]) -> None:
        publisher = self._publishers.get(name)
        if publisher is None or not self._node.context.ok():
            return
        try:
            publisher.publish(serialised(publisher.msg_type, fields()))
        except SparseReconError as error:
            log.warning("%s is not published: [%d %s] %s", name, error.code, error.code.name, error.message)
        except Exception:
            log.exception("%s is not published", name)


def history_depth(publisher: Any) -> int:
    """Return how many messages a publisher keeps for who comes late; 0 for all."""
    profile = publisher.qos_profile  # as `qos_overrides` left it
    return 0 if profile.history == QoSHistoryPolicy.KEEP_ALL else int(profile.depth)


def _completed_points(obj: CompletedObject) -> tuple[object, ...]:
    return obj.points_world, obj.normals_world, obj.colors, obj.confidence, obj.provenance


def _measured(obj: CompletedObject) -> tuple[object, ...]:
    return (obj.observed_points_world,)


def _shadows(config: FootprintConfig, obj: CompletedObject) -> tuple[object, ...]:
    solid, measured = obj.conservative, (obj.observed_points_world, obj.points_world, obj.provenance)
    return config, solid.vertices_world, solid.faces, *measured, obj.nominal.vertices_world, obj.box.T_world_box


def completed_object_message(obj: CompletedObject, with_geometry: bool) -> CompletedObjectMessage:
    """Return an object as the rclpy message that an action or service answers with.

    With geometry it takes a quarter of a second for 20 000 faces; deserialising the bytes of the message takes longer.
    Its pauses are the garbage collector's: a process that called `gc.freeze()` after its imports has next to none.
    """
    from sparse_recon.msg import CompletedObject as CompletedObjectMessage

    return to_message(CompletedObjectMessage, completed_object_fields(obj, with_geometry))


def without_geometry(message: CompletedObjectMessage) -> CompletedObjectMessage:
    """Return the message of an object without its clouds and meshes."""
    light = type(message)()
    for name in ("header", "object_id", "model", "seed", "pose", "size_m", "quality"):
        setattr(light, name, getattr(message, name))
    for name in ("cloud", "observed_cloud"):
        cloud, empty = getattr(message, name), getattr(light, name)
        empty.header, empty.fields, empty.height = cloud.header, cloud.fields, 1
        empty.point_step, empty.is_dense = cloud.point_step, True
    return light


def _message_type(msgtype: str) -> Any:
    """Return the generated class, None where its package is not installed."""
    package, kind, name = msgtype.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.{kind}"), name)
    except ImportError:
        return None
