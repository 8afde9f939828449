"""Memory that runs out, reported as an error with a code."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from sparse_recon.errors import MemoryBudgetError, SparseReconError

_OPENCV_NO_MEMORY = -4

P = ParamSpec("P")
T = TypeVar("T")


def memory_shortage(error: BaseException) -> str | None:
    """Return what `error` says if it means that memory ran out, in Python, OpenCV or torch; else None."""
    opencv = type(error).__module__ == "cv2" and getattr(error, "code", 0) == _OPENCV_NO_MEMORY
    torch = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    if isinstance(error, MemoryError) or opencv or torch or "can't allocate memory" in str(error):
        return str(error).strip() or type(error).__name__
    return None


def tells_memory_shortage(work: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a function raise MemoryBudgetError, with everything that it held free again, where memory runs out."""

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                shortage = None if isinstance(error, SparseReconError) else memory_shortage(error)
                if shortage is None:
                    raise
            # Outside the handler, so that the traceback no longer holds the arrays.
            raise MemoryBudgetError(work, shortage)

        return wrapper

    return decorated
