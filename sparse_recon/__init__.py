"""Complete objects from a few posed camera frames: observed and imagined views fused into metric geometry.

What is named in `__all__` is the public API (docs/architecture.md says what that promises); it is imported when it is
first asked for, so that `import sparse_recon` is light.
"""

from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparse_recon.config.session_config import SessionConfig, load_config
    from sparse_recon.errors import ErrorCode, SparseReconError
    from sparse_recon.requests import (
        CompletionRequest,
        FrameReport,
        ObjectCandidate,
        ObjectState,
        Progress,
        RejectedCandidate,
        RejectionReason,
    )
    from sparse_recon.session.session import CompletionSession
    from sparse_recon.types import (
        CameraIntrinsics,
        CompletedObject,
        Frame,
        OrientedBox,
        Provenance,
        QualityRecord,
        SurfaceHypothesis,
        TriangleMesh,
    )

# The modules sparse_recon.msg, .srv and .action that colcon generates are found beside a checkout or a pip install too.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"

__all__ = [
    "CameraIntrinsics",
    "CompletedObject",
    "CompletionRequest",
    "CompletionSession",
    "ErrorCode",
    "Frame",
    "FrameReport",
    "ObjectCandidate",
    "ObjectState",
    "OrientedBox",
    "Progress",
    "Provenance",
    "QualityRecord",
    "RejectedCandidate",
    "RejectionReason",
    "SessionConfig",
    "SparseReconError",
    "SurfaceHypothesis",
    "TriangleMesh",
    "load_config",
]

_MODULES = {
    "config.session_config": ("SessionConfig", "load_config"),
    "errors": ("ErrorCode", "SparseReconError"),
    "requests": (
        *("CompletionRequest", "FrameReport", "ObjectCandidate", "ObjectState", "Progress", "RejectedCandidate"),
        "RejectionReason",
    ),
    "session.session": ("CompletionSession",),
    "types": (
        *("CameraIntrinsics", "CompletedObject", "Frame", "OrientedBox", "Provenance", "QualityRecord"),
        *("SurfaceHypothesis", "TriangleMesh"),
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
