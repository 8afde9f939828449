"""Messages that wait for the thread that uses them: bounded by kind and in bytes, the oldest of a kind go first."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

Item = tuple[str, str, Any]  # camera, role, message

MAX_TRANSFORMS = 5000  # messages that may wait
WAITING_SHARE = 0.1  # of the memory budget, for messages that wait


class MessageQueue:
    """First in, first out.

    Parameters
    ----------
    length : messages of one camera and role that may wait; of transforms, `MAX_TRANSFORMS`.
    max_bytes : of images that wait, after which one pushes out the oldest of its kind.
    dropped : told camera, role, and whether it was for the bytes, of each message that was pushed out.
    """

    def __init__(self, length: int, max_bytes: float, dropped: Callable[[str, str, bool], None]) -> None:
        self._length, self._max_bytes, self._dropped = length, max_bytes, dropped
        self._items: deque[Item] = deque()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._bytes = 0
        self._arrived = threading.Condition(threading.RLock())
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing will be taken any more."""
        return self._closed

    def put(self, camera: str, role: str, message: Any) -> bool:
        """Take a message without waiting; False if the queue is closed."""
        key = (camera, role)
        limit = MAX_TRANSFORMS if role.startswith("tf") else self._length
        with self._arrived:
            if self._closed:
                return False
            full = self._bytes > self._max_bytes and _size(message) > 0
            if self._counts[key] >= limit or (full and self._counts[key]):
                self._pop(next(i for i, item in enumerate(self._items) if item[:2] == key))
                self._dropped(camera, role, full)
            self._items.append((camera, role, message))
            self._counts[key] += 1
            self._bytes += _size(message)
            self._arrived.notify()
        return True

    def take(self, timeout_s: float | None) -> Item | None:
        """Return the oldest message, after waiting for one; None after so many seconds or when the queue was closed."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._items or self._closed, timeout_s)
            return None if self._closed or not self._items else self._pop(0)

    def clear(self) -> list[Item]:
        """Forget what waits, and return it."""
        with self._arrived:
            items = list(self._items)
            self._items.clear()
            self._counts.clear()
            self._bytes = 0
        return items

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()

    def _pop(self, index: int) -> Item:
        item = self._items[index]
        del self._items[index]
        self._counts[item[:2]] -= 1
        self._bytes -= _size(item[2])
        return item


def _size(message: Any) -> int:
    """Return the bytes of an image, 0 for anything else."""
    return len(getattr(message, "data", ()))
