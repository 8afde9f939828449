"""A recording published over ROS, as `ros2 bag play` does, where only rclpy and the message packages are installed."""

from __future__ import annotations

import difflib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sparse_recon.bags.reader import Bag
from sparse_recon.bags.topics import COMPRESSED, IMAGE, describe
from sparse_recon.errors import DependencyError, ErrorCode, FileError, InputError, SparseReconError, clipped, quoted
from sparse_recon.machine.share import share_folder
from sparse_recon.ros.convert import to_message
from sparse_recon.ros.play.publisher_qos import PublisherQos, chosen_qos, is_cdr, message_class, qos_profile
from sparse_recon.ros.play.timeline import CLOCK, is_static, merged_transforms, timeline, within

log = logging.getLogger(__name__)

NODE_NAME = "sparse_recon_player"
_END_OF_TIME_NS = 2**31 * 10**9  # of builtin_interfaces/Time
_SHORTEST_PASS_S = 0.1  # a recording of one instant, looped, must not fill the network
_POLL_S = 0.05
_SETTLED_POLLS = 10  # endpoints come one by one, and are matched on this side a little before on their own
_ACKNOWLEDGE_S = 2.0


@dataclass(frozen=True)
class PlayOptions:
    """How a recording is played; durations in seconds of the recording, pauses and waits in seconds."""

    loops: int = 1  # 0: for ever
    rate: float = 1.0
    clock_hz: float = 0.0  # 0: no clock
    topics: tuple[str, ...] = ()  # empty: all
    remap: Mapping[str, str] = field(default_factory=dict)
    start_offset_s: float = 0.0
    duration_s: float | None = None
    pause_s: float = 0.0
    wait_s: float = 5.0


@dataclass
class PlaySummary:
    """What was played so far."""

    loops: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, str] = field(default_factory=dict)
    unheard: tuple[str, ...] = ()
    seconds: float = 0.0
    late_s: float = 0.0  # the most that a message came after its time


class Player:
    """Publishes the messages of a recording at their log times.

    Parameters
    ----------
    bag : the recording.
    node : rclpy node that gets the publishers.
    on_message : called after each message.

    Attributes
    ----------
    summary : what was played, also after an interruption.

    Raises
    ------
    FileError
        TOPIC_UNKNOWN if `options` name a topic that the recording lacks, BAG_UNREADABLE if it holds no message.
    SparseReconError
        DEPENDENCY_MISSING if no topic's message type can be imported.
    """

    def __init__(
        self, bag: Bag, node: Any, options: PlayOptions, on_message: Callable[[], None] = lambda: None
    ) -> None:
        self.summary = PlaySummary()
        self._bag, self._options, self._on_message = bag, options, on_message
        self._node = node
        self._names = {topic: options.remap.get(topic, topic) for topic in _chosen(bag, options)}
        self._publishers: dict[str, Any] = {}
        for topic, name in self._names.items():
            self._add_publisher(topic, name)
        if not self._publishers:
            raise _nothing_to_play(bag, self.summary.left_out)
        for topic, why in self.summary.left_out.items():
            log.warning("%s is skipped: %s", topic, why)
        if options.clock_hz:
            self._publishers[CLOCK] = _clock_publisher(node)
        self._begin_ns = _first_log_ns(bag) + round(options.start_offset_s * 1e9)
        self._static = self._static_messages()

    def play(self) -> None:
        """Wait for subscribers, then play all passes.

        Raises
        ------
        InputError
            USAGE if no message lies in the part that was asked for.
        """
        self._wait_for_subscribers()
        began = time.monotonic()
        try:
            while self._options.loops in (0, *range(self.summary.loops + 1, self._options.loops + 1)):
                self._play_pass()
                self.summary.loops += 1
        finally:
            self.summary.seconds = time.monotonic() - began
        self._wait_until_acknowledged()

    def _play_pass(self) -> None:
        o = self._options
        end_ns = None if o.duration_s is None else self._begin_ns + round(o.duration_s * 1e9)
        moving = self._publishers.keys() - self._static.keys() - {CLOCK}
        static = ((topic, self._begin_ns, data) for topic, data in self._static.items())
        recorded = within(self._bag.serialised(moving), self._begin_ns, end_ns)
        last_due_s, started, empty = 0.0, 0.0, not self._static
        for event in timeline(
            (message for part in (static, recorded) for message in part),
            self._begin_ns,
            rate=o.rate,
            clock_hz=o.clock_hz,
            pause_s=o.pause_s,
        ):
            started = started or time.monotonic()  # after the first message was read
            _sleep_until(started + event.due_s)
            if event.topic == CLOCK and o.clock_hz:
                if 0 <= event.played_ns < _END_OF_TIME_NS:
                    self._publishers[CLOCK].publish(_clock_message(event.played_ns))
                continue
            self.summary.late_s = max(self.summary.late_s, time.monotonic() - started - event.due_s)
            self._publish(event.topic, event.data)
            last_due_s, empty = event.due_s, False
        if empty:
            raise self._nothing_in_window()
        _sleep_until(started + max(last_due_s + o.pause_s, _SHORTEST_PASS_S if o.loops != 1 else 0.0))

    def _publish(self, topic: str, data: bytes) -> None:
        if not is_cdr(data):
            if topic not in self.summary.left_out:
                log.warning("messages on %s that are not serialised as CDR are skipped", topic)
            self.summary.left_out[topic] = "some messages are not serialised as CDR"
            return
        self._publishers[topic].publish(bytes(data))
        self.summary.messages[self._names[topic]] += 1
        self._on_message()

    def _add_publisher(self, topic: str, name: str) -> None:
        msgtype = self._bag.types[topic]
        if topic == CLOCK and self._options.clock_hz:
            self.summary.left_out[topic] = "the player tells the time itself"
            return
        try:
            offer = chosen_qos(topic, msgtype, self._bag.offered_qos[topic])
            self._publishers[topic] = self._node.create_publisher(message_class(msgtype), name, qos_profile(offer))
        except Exception as error:  # of a bad name, a bad type or a message package that does not load
            self.summary.left_out[topic] = clipped(str(error).partition("\n")[0]) or type(error).__name__

    def _static_messages(self) -> dict[str, bytes]:
        """Return one serialised message for each topic of static transforms, from the whole recording."""
        from rclpy.serialization import serialize_message

        static = [topic for topic in self._publishers if topic != CLOCK and is_static(topic, self._bag.types[topic])]
        found: dict[str, list[Any]] = {}
        for topic, _, message in self._bag.messages(static) if static else ():
            if message is not None:
                found.setdefault(topic, []).append(message)
        return {
            topic: serialize_message(to_message(self._publishers[topic].msg_type, merged_transforms(messages)))
            for topic, messages in found.items()
        }

    def _wait_for_subscribers(self) -> None:
        """Wait until every image topic, or without images any topic, has a subscriber, and all known ones matched."""
        images = [topic for topic in self._names if self._bag.types[topic] in (IMAGE, COMPRESSED)]
        images = [topic for topic in images if topic in self._publishers]
        deadline = time.monotonic() + self._options.wait_s

        def ready() -> bool:
            heard = [topic for topic in self._publishers if self._publishers[topic].get_subscription_count()]
            everything = all(
                publisher.get_subscription_count() >= self._node.count_subscribers(publisher.topic_name)
                for publisher in self._publishers.values()
            )
            return everything and (set(images) <= set(heard) if images else bool(heard))

        polls = 0
        while polls < _SETTLED_POLLS and time.monotonic() < deadline:
            polls = polls + 1 if ready() else 0
            time.sleep(_POLL_S)
        self._tell_unheard(images)

    def _tell_unheard(self, images: Sequence[str]) -> None:
        unheard = []
        for topic, publisher in self._publishers.items():
            if publisher.get_subscription_count():
                continue
            name = publisher.topic_name
            unheard.append(name)
            if self._node.count_subscribers(name):
                log.warning(
                    "%s has subscribers whose quality of service does not match: %s", name, _mismatches(publisher)
                )
            elif topic in images:
                log.warning("%s has no subscriber (waited %g s)", name, self._options.wait_s)
        self.summary.unheard = tuple(sorted(unheard))

    def _wait_until_acknowledged(self) -> None:
        """Give reliable subscribers the time to get the last messages."""
        from rclpy.duration import Duration

        deadline = time.monotonic() + _ACKNOWLEDGE_S
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=max(deadline - time.monotonic(), 0.0)))

    def _nothing_in_window(self) -> Exception:
        damage = f"; the recording is damaged: {self._bag.damage}" if self._bag.damage else ""
        o = self._options
        until = "its end" if o.duration_s is None else f"{o.start_offset_s + o.duration_s:g} s"
        return InputError(
            ErrorCode.USAGE,
            f"no message of {len(self._publishers)} topics lies between {o.start_offset_s:g} s and {until} of "
            f"{self._bag.path}{damage}; choose another --start-offset, --duration or --topics",
        )


@contextmanager
def ros_node(name: str = NODE_NAME, domain_id: int | None = None) -> Iterator[Any]:
    """Make an rclpy node in a context of its own; signals stay with the program.

    Parameters
    ----------
    domain_id : None for that of the environment.

    Raises
    ------
    DependencyError
        If rclpy cannot be imported.
    """
    try:
        import rclpy
        from rclpy.signals import SignalHandlerOptions
    except ImportError as error:
        cure = "source /opt/ros/<distro>/setup.bash, or in a checkout: make setup && source ws/env.sh"
        raise DependencyError("rclpy", "talking over ROS", cure) from error
    make_room_for_images()
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node(name, context=context, start_parameter_services=False, enable_rosout=False)
        try:
            yield node
        finally:
            node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


def make_room_for_images() -> None:
    """Give Fast DDS the shared memory that whole images need, unless the user configured it.

    With its own defaults, most best-effort images of 640x480 pixels do not reach another process.
    """
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    if any(os.environ.get(name) for name in names):
        return
    with suppress(FileError):
        profile = share_folder("config") / "dds" / "fastdds_large_images.xml"
        if profile.is_file():
            os.environ.update(dict.fromkeys(names, str(profile)))


def _chosen(bag: Bag, options: PlayOptions) -> list[str]:
    for name in (*options.topics, *options.remap):
        if name not in bag.types:
            near = difflib.get_close_matches(name, bag.types, 1, 0.6)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise FileError(
                ErrorCode.TOPIC_UNKNOWN, f"topic {quoted(name)} is not in the recording.{hint} {describe(bag.types)}"
            )
    return [topic for topic in bag.types if not options.topics or topic in options.topics]


def _first_log_ns(bag: Bag) -> int:
    first = next(iter(bag.serialised(bag.types)), None)
    if first is None:
        damage = f" that can be read: {bag.damage}" if bag.damage else ""
        raise FileError(ErrorCode.BAG_UNREADABLE, f"{bag.path} holds no message{damage}; record it again")
    return first[1]


def _nothing_to_play(bag: Bag, left_out: Mapping[str, str]) -> Exception:
    if not left_out:
        return FileError(ErrorCode.BAG_UNREADABLE, f"{bag.path} has no topics; record it again")
    reasons = "; ".join(f"{topic}: {why}" for topic, why in list(left_out.items())[:3])
    more = f"; and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return SparseReconError(
        ErrorCode.DEPENDENCY_MISSING, f"none of the topics of {bag.path} can be played: {reasons}{more}"
    )


def _clock_publisher(node: Any) -> Any:
    return node.create_publisher(message_class("rosgraph_msgs/msg/Clock"), CLOCK, qos_profile(PublisherQos()))


def _clock_message(time_ns: int) -> Any:
    sec, nanosec = divmod(time_ns, 10**9)
    return to_message(message_class("rosgraph_msgs/msg/Clock"), {"clock": {"sec": sec, "nanosec": nanosec}})


def _mismatches(publisher: Any) -> str:
    qos = publisher.qos_profile
    return f"offered are {qos.reliability.name.lower()} and {qos.durability.name.lower()}, as recorded"


def _sleep_until(due: float) -> None:
    if (left_s := due - time.monotonic()) > 0:
        time.sleep(left_s)
