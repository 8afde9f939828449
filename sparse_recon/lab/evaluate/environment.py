"""What a result was measured with: versions of the code and the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import sparse_recon

_LIBRARIES = ("numpy", "open3d", "scipy")


def versions() -> dict[str, str]:
    """Return the versions of the package, Python and the libraries that results depend on.

    In a checkout `commit` names the commit, with `-dirty` where files were changed since; `code` is a hash of the
    package's modules, installed or not.
    """
    found = {"sparse_recon": sparse_recon.__version__, "code": _code(), "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    commit = _commit(Path(sparse_recon.__file__).resolve().parents[1])
    return {**found, "commit": commit} if commit else found


def machine() -> dict[str, str | int]:
    """Return the processor, how many of its cores this process may use, and the system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"cpu": _cpu(), "cores": cores, "system": f"{platform.system()} {platform.machine()}"}


def _code() -> str:
    """Return the first digits of a sha256 over all modules of the package."""
    package, digest = Path(sparse_recon.__file__).resolve().parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _commit(root: Path) -> str:
    """Return the commit of the checkout whose top is `root`; empty for an installed package or without git."""
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
