"""Frames that wait for their poses, and images that wait for their partners: bounded in bytes, the oldest go first."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sparse_recon.frames.camera_streams import CameraInput
from sparse_recon.frames.matching import Stamped


@dataclass(frozen=True, order=True)
class Candidate:
    """The messages of one frame; `number` tells those of one stamp apart."""

    stamp_ns: int
    camera: str
    number: int
    parts: dict[str, Stamped]

    @property
    def nbytes(self) -> int:
        """Bytes of its messages."""
        return sum(part.nbytes for part in self.parts.values())


def drop_beyond(
    limit_bytes: float, cameras: Collection[CameraInput], waiting: list[Candidate]
) -> Iterator[tuple[str, int, str]]:
    """Let the oldest go where messages that wait hold more than `limit_bytes`; yield camera, stamp in ns and why.

    Parameters
    ----------
    waiting : matched already, in the order of their stamps; the first are taken out.
    """
    held_bytes = sum(camera.matcher.nbytes for camera in cameras) + sum(candidate.nbytes for candidate in waiting)
    limit = f"while waiting images hold more than {limit_bytes / 1e6:.0f} MB"
    cure = "use smaller images, or raise memory_budget_bytes"
    while held_bytes > limit_bytes and waiting:
        oldest = waiting.pop(0)
        held_bytes -= oldest.nbytes
        what = f"{oldest.camera}: frame at {oldest.stamp_ns * 1e-9:.6f} s waited for its transform or camera info"
        yield oldest.camera, oldest.stamp_ns, f"{what} {limit}; publish these earlier, {cure}"
    while held_bytes > limit_bytes:
        fullest = max(cameras, key=lambda camera: camera.matcher.nbytes)
        dropped = fullest.matcher.drop_oldest()
        if dropped is None:
            return
        held_bytes -= dropped.nbytes
        what = f"{fullest.streams.name}: an image at {dropped.stamp_ns * 1e-9:.6f} s waited for its partners"
        yield fullest.streams.name, dropped.stamp_ns, f"{what} {limit}; check that all streams are published, {cure}"
