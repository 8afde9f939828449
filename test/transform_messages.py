"""Serialised TFMessages, made with rosbags: no ROS is needed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

KIND = "tf2_msgs/msg/TFMessage"
Link = tuple[str, str, int, np.ndarray]  # parent, child, stamp in ns, T_parent_child (4, 4)


@cache
def store() -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def serialised(links: Iterable[Link], little_endian: bool = True) -> bytes:
    """Return the CDR bytes of a message."""
    new = store().types
    items = []
    for parent, child, stamp_ns, T in links:
        header = new["std_msgs/msg/Header"](new["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9)), parent)
        turn = map(float, Rotation.from_matrix(T[:3, :3]).as_quat())
        moved = new["geometry_msgs/msg/Transform"](
            new["geometry_msgs/msg/Vector3"](*map(float, T[:3, 3])), new["geometry_msgs/msg/Quaternion"](*turn)
        )
        items.append(new["geometry_msgs/msg/TransformStamped"](header, child, moved))
    return bytes(store().serialize_cdr(new[KIND](items), KIND, little_endian=little_endian))
