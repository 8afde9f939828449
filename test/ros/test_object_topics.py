"""Whatever happens to objects, the last messages of a topic that tells changes say which there are."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from completed import make_object
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

from sparse_recon.messages.fields import Fields
from sparse_recon.ros.object_topics import OBJECT_TOPICS, ObjectTopic, object_messages
from sparse_recon.types import TriangleMesh

MOST, DEPTH = 4, 6
ADD, DELETE, DELETE_ALL, REMOVE = 0, 2, 3, 1
WHOLE = make_object()
NO_MESH = TriangleMesh(WHOLE.nominal.vertices_world[:0], WHOLE.nominal.faces[:0])
HOLLOW = replace(WHOLE, conservative=NO_MESH, collision_parts=())


def objects_of(messages: list[Fields]) -> dict[str, int]:
    """Return the seed of each object that a receiver of ~/objects has."""
    known: dict[str, int] = {}
    for message in messages:
        known = {} if message["whole"] else {k: v for k, v in known.items() if k not in message["removed_ids"]}
        known |= {item["object_id"]: item["seed"] for item in message["objects"]}
    return known


def markers_of(messages: list[Fields]) -> set[str]:
    """Return whose markers RViz shows."""
    shown: set[tuple[str, int]] = set()
    for marker in (marker for message in messages for marker in message["markers"]):
        name = marker["ns"], marker["id"]
        shown = set() if marker["action"] == DELETE_ALL else shown - {name}
        shown |= {name} if marker["action"] == ADD else set()
    return {namespace for namespace, _ in shown}


def scene_of(messages: list[Fields]) -> set[str]:
    """Return what a planning scene holds."""
    scene: set[str] = set()
    for message in messages:
        scene = scene | {message["id"]} if message["operation"] == ADD else scene - {message["id"]}
    return scene


class Topic:
    """A topic of the node with the history that its publisher keeps."""

    def __init__(self, name: str, depth: int = DEPTH) -> None:
        self.history: deque[Fields] = deque(maxlen=depth)
        self.sent = 0
        self.topic = ObjectTopic(object_messages(name, 0), self._send, depth)

    def _send(self, fields: Any) -> None:
        self.history.append(fields())
        self.sent += 1


numbers = st.integers(0, MOST - 1)
steps = st.lists(
    st.tuples(st.sampled_from(["complete", "complete", "complete", "remove", "clear", "frame", "hollow"]), numbers),
    max_size=60,
)


@given(steps)
def test_who_comes_at_any_time_has_every_object_and_no_other(todo):
    topics = {name: Topic(name) for name in OBJECT_TOPICS}
    live: dict[str, Any] = {}
    frame_id = "map"
    for seed, (what, number) in enumerate(todo):
        name = f"object_{number}"
        if what == "frame":
            frame_id, live = ("odom" if frame_id == "map" else "map"), {}
        elif what == "clear":
            live = {}
        elif what == "remove":
            live = {key: item for key, item in live.items() if key != name}
        else:
            shape = HOLLOW if what == "hollow" else WHOLE
            live = {**live, name: replace(shape, object_id=name, frame_id=frame_id, seed=seed)}
        for topic in topics.values():
            topic.topic.publish(live.values(), frame_id, 5)
        assert objects_of(list(topics["objects"].history)) == {key: item.seed for key, item in live.items()}
        assert markers_of(list(topics["markers"].history)) == live.keys()
        solid = {key for key, item in live.items() if len(item.conservative.faces)}
        assert scene_of(list(topics["collision_objects"].history)) == solid


@pytest.mark.parametrize("name", OBJECT_TOPICS)
def test_only_what_changed_is_sent_and_repeated_no_oftener_than_it_must(name):
    topic = Topic(name, depth=24)
    three = [replace(WHOLE, object_id=f"object_{k}") for k in range(3)]
    topic.topic.publish(three, "world", 5)
    topic.topic.publish(three, "world", 6)
    assert topic.sent == 3
    for seed in range(100):
        topic.topic.publish([replace(three[0], seed=seed), *three[1:]], "world", 5)
    assert topic.sent <= 3 + 100 + 2 * (100 // 20)


def test_a_history_that_keeps_all_needs_no_repetition():
    topic = Topic("objects", depth=0)
    topic.history = deque()
    three = [replace(WHOLE, object_id=f"object_{k}") for k in range(3)]
    for seed in range(50):
        topic.topic.publish([replace(three[0], seed=seed), *three[1:]], "world", 5)
    assert topic.sent == 52
    assert objects_of(list(topic.history)) == {"object_0": 49, "object_1": three[1].seed, "object_2": three[2].seed}
