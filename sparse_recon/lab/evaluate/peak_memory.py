"""The most memory that the process held during a piece of work."""

from __future__ import annotations

from pathlib import Path

_SELF = Path("/proc/self")


class PeakMemory:
    """A context manager that tells the largest resident size of the process between its entry and its exit.

    `peak_mb` is in MB (1e6 bytes) and holds what was there before, loaded models and the evaluation itself included;
    NaN where the system cannot be asked (Linux can, by /proc/self/clear_refs).
    """

    peak_mb: float = float("nan")

    def __enter__(self) -> PeakMemory:
        try:
            (_SELF / "clear_refs").write_text("5")
            self._cleared = True
        except OSError:
            self._cleared = False
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._cleared:
            return
        for line in (_SELF / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                self.peak_mb = int(line.split()[1]) * 1024 / 1e6
