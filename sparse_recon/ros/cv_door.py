"""Raw images of encodings that `frames.images` does not read, by way of cv_bridge where that works."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np

from sparse_recon.errors import ErrorCode, InputError, quoted
from sparse_recon.frames.images import RAW_ENCODINGS, RawImage, Stream
from sparse_recon.machine.children import python_child

_TARGETS: dict[Stream, tuple[str, type, int]] = {
    "color": ("rgb8", np.uint8, 3),
    "depth": ("32FC1", np.float32, 2),
    "labels": ("32SC1", np.int32, 2),
}
# What a number means must be known before it is converted. Depth in other integers has no unit in REP 118, and colours
# of a label image would be mixed to grey. Of colour cv_bridge itself knows what is one.
_SOURCES: dict[Stream, frozenset[str]] = {"depth": frozenset({"64FC1"}), "labels": frozenset({"8SC1", "16SC1"})}
_TRIAL_S = 30.0
# One pixel, blue to red. cv_bridge built for NumPy 1 imports beside NumPy 2, and ends the process when it is used.
_TRIAL = """
from types import SimpleNamespace
from cv_bridge import CvBridge
image = SimpleNamespace(encoding="bgr8", height=1, width=1, step=3, is_bigendian=0, data=bytes([1, 2, 3]))
assert CvBridge().imgmsg_to_cv2(image, "rgb8").tolist() == [[[3, 2, 1]]]
"""
_LONGEST_REASON = 200


class CvDoor:
    """Converts to rgb8, 32FC1 (metres) and 32SC1; cv_bridge is tried in a process of its own before the first use."""

    def __init__(self) -> None:
        self._bridge: Any = None

    def __call__(self, stream: Stream, image: RawImage) -> RawImage:
        """Return the image in an encoding that `frames.images` reads.

        Raises
        ------
        InputError
            ENCODING_UNSUPPORTED, with the reason: there is no cv_bridge that works, or it does not know the encoding.
        """
        target, dtype, dimensions = _TARGETS[stream]
        if stream in _SOURCES and image.encoding not in _SOURCES[stream]:
            raise _unsupported(stream, image, f"cv_bridge is asked for {', '.join(sorted(_SOURCES[stream]))} alone")
        if (problem := cv_bridge_problem()) is not None:
            raise _unsupported(stream, image, f"cv_bridge, which may know others, {problem}")
        try:
            if self._bridge is None:
                from cv_bridge import CvBridge

                self._bridge = CvBridge()
            pixels = np.ascontiguousarray(self._bridge.imgmsg_to_cv2(image, target))
        except Exception as error:  # errors of cv_bridge, OpenCV and NumPy have no base in common
            reason = f"cv_bridge refuses it: {str(error).strip()[:_LONGEST_REASON]}"
            raise _unsupported(stream, image, reason) from error
        if pixels.dtype != dtype or pixels.ndim != dimensions:
            raise _unsupported(stream, image, f"cv_bridge made {pixels.dtype} {pixels.shape} of it, not {target}")
        height, width = pixels.shape[:2]
        return RawImage(target, width, height, pixels[0].nbytes, sys.byteorder == "big", pixels.reshape(-1).view("u1"))


@functools.cache
def cv_bridge_problem() -> str | None:
    """Return why cv_bridge cannot be used in this process; None where it can."""
    if importlib.util.find_spec("cv_bridge") is None:
        return "is not installed: sudo apt install ros-$ROS_DISTRO-cv-bridge"
    try:
        trial = subprocess.run(python_child(_TRIAL), capture_output=True, text=True, errors="replace", timeout=_TRIAL_S)
    except (OSError, subprocess.SubprocessError) as error:
        return f"could not be tried: {str(error)[:_LONGEST_REASON]}"
    if trial.returncode == 0:
        return None
    last = trial.stderr.strip().rsplit("\n", 1)[-1][:_LONGEST_REASON]
    return (
        f"does not work beside NumPy {np.__version__} ({last or f'exit code {trial.returncode}'}); "
        "that of Humble and Jazzy needs numpy<2"
    )


def _unsupported(stream: Stream, image: RawImage, reason: str) -> InputError:
    accepted = ", ".join(sorted(RAW_ENCODINGS[stream]))
    return InputError(
        ErrorCode.ENCODING_UNSUPPORTED,
        f"{stream} image has encoding {quoted(image.encoding)}; accepted are {accepted}; {reason}",
    )
