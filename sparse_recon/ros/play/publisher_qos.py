"""With which message class and quality of service a topic of a recording is published."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_recon.errors import DependencyError, ErrorCode, InputError, clipped
from sparse_recon.ros.play.timeline import is_static

DEFAULT_DEPTH = 10
_INFINITE_S = 2**31 - 1  # recorders write "no limit" as this many seconds or more, or as zero
# Encapsulations of the CDR and XCDR standards; the byte before is always zero (DDS-XTypes 1.3, 7.6.2.1.2).
_ENCAPSULATIONS = {0, 1, 2, 3, 6, 7, 8, 9, 10, 11}


@dataclass(frozen=True)
class PublisherQos:
    """Quality of service of a publisher; zero durations are infinite."""

    reliable: bool = True
    latched: bool = False
    depth: int = DEFAULT_DEPTH
    deadline_ns: int = 0
    lifespan_ns: int = 0
    manual_liveliness: bool = False
    lease_ns: int = 0


def chosen_qos(topic: str, msgtype: str, recorded: Sequence[Any]) -> PublisherQos:
    """Choose the quality of service with which a topic is played.

    As recorded, but with a history that is never unbounded: a slow subscriber must not stall the player. Where several
    publishers differed, what every subscriber of theirs accepts: reliable and latched if any was, and the shortest
    deadline and lease. Static transforms are one latched message.

    Parameters
    ----------
    recorded : `rosbags.interfaces.Qos` of each publisher; none for reliable, volatile, depth 10.
    """
    if is_static(topic, msgtype):
        return PublisherQos(latched=True, depth=1)
    if not recorded:
        return PublisherQos()
    latched = any(qos.durability.name == "TRANSIENT_LOCAL" for qos in recorded)
    depths = [qos.depth if qos.history.name == "KEEP_LAST" else 0 for qos in recorded]
    lifespans_ns = {_nanoseconds(qos.lifespan) for qos in recorded}
    return PublisherQos(
        reliable=any(qos.reliability.name != "BEST_EFFORT" for qos in recorded),
        latched=latched,
        depth=(max(depths) or DEFAULT_DEPTH) if latched else max(*depths, DEFAULT_DEPTH),
        deadline_ns=_shortest(qos.deadline for qos in recorded),
        lifespan_ns=lifespans_ns.pop() if len(lifespans_ns) == 1 else 0,
        manual_liveliness=any(qos.liveliness.name.startswith("MANUAL") for qos in recorded),
        lease_ns=_shortest(qos.liveliness_lease_duration for qos in recorded),
    )


def qos_profile(offered: PublisherQos) -> Any:
    """Return the rclpy profile of an offered quality of service."""
    from rclpy.duration import Duration
    from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(
        depth=offered.depth,
        reliability=ReliabilityPolicy.RELIABLE if offered.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if offered.latched else DurabilityPolicy.VOLATILE,
        deadline=Duration(nanoseconds=offered.deadline_ns),
        lifespan=Duration(nanoseconds=offered.lifespan_ns),
        liveliness=LivelinessPolicy.MANUAL_BY_TOPIC if offered.manual_liveliness else LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=Duration(nanoseconds=offered.lease_ns),
    )


def message_class(msgtype: str) -> Any:
    """Import the generated class of a message type such as `sensor_msgs/msg/Image`.

    A recording names any type it likes: a package is imported only where it has messages.

    Raises
    ------
    InputError
        USAGE if it is no message type.
    DependencyError
        If no package on the path has it.
    """
    parts = re.fullmatch(r"([A-Za-z]\w*)/msg/([A-Za-z]\w*)", msgtype)
    if parts is None:
        raise InputError(
            ErrorCode.USAGE,
            f"{clipped(msgtype) or 'an empty name'} is not the name of a message type; expected is PACKAGE/msg/NAME",
        )
    package, name = parts.groups()
    if any((Path(folder) / "msg").is_dir() for folder in _package_folders(package)):
        found = getattr(importlib.import_module(f"{package}.msg"), name, None)
        if found is not None:
            return found
    raise DependencyError(
        msgtype, "its topic", f"sudo apt install ros-<distro>-{package.replace('_', '-')}, or build its package"
    )


def is_cdr(data: bytes) -> bool:
    """Return whether a message starts with the header of a serialisation that DDS knows, of either byte order."""
    return len(data) >= 4 and data[0] == 0 and data[1] in _ENCAPSULATIONS


def _package_folders(package: str) -> Iterable[str]:
    """Return where a package lies without importing it; one that is loaded may have extended its path."""
    if package in sys.modules:
        return getattr(sys.modules[package], "__path__", ())
    spec = importlib.util.find_spec(package)
    return (spec.submodule_search_locations if spec is not None else None) or ()


def _nanoseconds(time: Any) -> int:
    return 0 if time.sec >= _INFINITE_S else time.sec * 10**9 + time.nsec


def _shortest(times: Iterable[Any]) -> int:
    return min(filter(None, map(_nanoseconds, times)), default=0)
