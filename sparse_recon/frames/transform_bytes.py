"""A serialised tf2_msgs/TFMessage read where it lies: names and stamps of all its transforms, numbers of those wanted.

Making message objects of a robot's /tf takes thirty times as long as everything else that is done with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, error

from sparse_recon.errors import clipped
from sparse_recon.frames.incoming import MAX_TRANSFORMS
from sparse_recon.geometry.transforms import pose_from_quaternion
from sparse_recon.types import Float64

_ORIGIN = 4  # of alignment: CDR aligns within what follows the four bytes of encapsulation
_NUMBERS = Struct(">7d"), Struct("<7d")
_NUMBERS_BYTES = 56


class Unreadable(ValueError):
    """The bytes are not those of a TFMessage in CDR of version 1."""


class TransformBytes:
    """One message.

    Raises
    ------
    Unreadable
        For another encapsulation. Iterating raises it where the bytes end early or no name is where one should be.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < 8 or data[0] != 0 or data[1] not in (0, 1):
            raise Unreadable(f"the message begins with {data[:4].hex()}, CDR of version 1 with 00 and 00 or 01")
        order = "<" if data[1] == 1 else ">"
        self.data = data
        self.little_endian = data[1] == 1
        self._head, self._length = Struct(f"{order}iII"), Struct(f"{order}I")
        (self.count,) = self._length.unpack_from(data, _ORIGIN)

    def __iter__(self) -> Iterator[tuple[bytes, bytes, int, int]]:
        """Yield parent, child, stamp in ns, and where the numbers lie, of each; of more than `MAX_TRANSFORMS` none."""
        data, head, length_of = self.data, self._head.unpack_from, self._length.unpack_from
        at = 8
        try:
            for _ in range(len(self)):
                sec, nanosec, length = head(data, at)
                at += 12
                parent = data[at : at + length - 1]
                at = (at + length + 3) & ~3  # 4 is a multiple of every alignment up to that of names
                (child_length,) = length_of(data, at)
                at += 4
                child = data[at : at + child_length - 1]
                at = ((at + child_length - _ORIGIN + 7) & ~7) + _ORIGIN
                if not length or not child_length or at + _NUMBERS_BYTES > len(data):
                    raise Unreadable("a name is empty of its end, or the message ends within a transform")
                yield parent, child, sec * 1_000_000_000 + nanosec, at
                at += _NUMBERS_BYTES
        except error as cut:
            raise Unreadable(clipped(str(cut))) from cut

    def __len__(self) -> int:
        return min(self.count, MAX_TRANSFORMS)

    def numbers(self, at: int) -> bytes:
        """Return the numbers at a place, for `pose_of`."""
        return self.data[at : at + _NUMBERS_BYTES]


def pose_of(numbers: bytes, little_endian: bool) -> Float64:
    """Return `T_parent_child` (4, 4) of a transform's numbers; raises InputError as `pose_from_quaternion`."""
    x, y, z, *quat_xyzw = _NUMBERS[little_endian].unpack(numbers)
    return pose_from_quaternion(quat_xyzw, (x, y, z))
