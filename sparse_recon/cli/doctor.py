"""`sparse_recon doctor`: what this machine has, what is missing, and the one line that fixes each."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import json as json_format
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sparse_recon import __version__
from sparse_recon.complete.compact.shipped import WEIGHTS_FILE
from sparse_recon.errors import EXIT_DONE, EXIT_FAILED, SparseReconError, clipped
from sparse_recon.machine.share import share_folder
from sparse_recon.messages.fields import definition_files

State = Literal["ok", "missing", "optional"]  # optional: absent, and only some uses need it

_CORE = {
    "numpy": "numpy",
    "scipy": "scipy",
    "skimage": "scikit-image",
    "cv2": "opencv-python-headless",
    "open3d": "open3d",
    "manifold3d": "manifold3d",
    "coacd": "coacd",
    "edt": "edt",
    "rosbags": "rosbags",
    "safetensors": "safetensors",
    "torch": "torch",
    "yaml": "pyyaml",
    "PIL": "pillow",
    "lz4": "lz4",
    "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd": "backports.zstd",
    "trimesh": "trimesh",
    "tqdm": "tqdm",
}
_EXTRAS = {
    "rerun": ("rerun-sdk", "the interactive view", "pip install rerun-sdk"),
    "diffusers": ("diffusers", "imagined views", "pip install diffusers"),
    "transformers": ("transformers", "imagined views", "pip install transformers"),
    "accelerate": ("accelerate", "training on several devices", "pip install accelerate"),
}
_MESSAGE_PACKAGES = (
    *("action_msgs", "builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "sensor_msgs", "shape_msgs"),
    *("std_msgs", "std_srvs", "visualization_msgs"),
)
_ROS = {
    "rclpy": "the nodes",
    "sparse_recon.msg": "the nodes",
    **dict.fromkeys(_MESSAGE_PACKAGES, "the nodes"),
    "tf2_msgs": "transforms from /tf",
    "tf2_ros": "the robot's own transform buffer",
    "cv_bridge": "image encodings that the package does not read",
}
_CHECKOUT = "in a checkout: make setup && source ws/env.sh"
_ROS_CURES = {
    "rclpy": f"source /opt/ros/<distro>/setup.bash, or {_CHECKOUT}",
    "sparse_recon.msg": f"colcon build, then source install/setup.bash, or {_CHECKOUT}",
    **{name: f"sudo apt install ros-<distro>-{name.replace('_', '-')}, or {_CHECKOUT}" for name in _MESSAGE_PACKAGES},
    "tf2_msgs": f"sudo apt install ros-<distro>-tf2-msgs, or {_CHECKOUT}",
    "tf2_ros": "sudo apt install ros-<distro>-tf2-ros-py",
    "cv_bridge": "sudo apt install ros-<distro>-cv-bridge",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, what was found, and how to get it where it is absent."""

    name: str
    state: State
    found: str
    cure: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the report as one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    return doctor(json=args.json)


def doctor(json: bool = False) -> int:
    """Print what this machine has; return 0 where everything that the core needs is there, else 1.

    Parameters
    ----------
    json : print one JSON object on stdout instead of the table.
    """
    findings = examine()
    healthy = all(finding.state != "missing" for finding in findings)
    if json:
        report = {"version": __version__, "healthy": healthy, "findings": [asdict(finding) for finding in findings]}
        print(json_format.dumps(report, indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            cure = f"\n{'':{width + 12}}fix: {finding.cure}" if finding.cure else ""
            print(f"{finding.name:<{width}}  {finding.state:<8}  {finding.found}{cure}")
    return EXIT_DONE if healthy else EXIT_FAILED


def examine() -> list[Finding]:
    """Look at machine, libraries, ROS, interface definitions and weights."""
    findings = [_python(), _cpu(), _memory(), _gpu()]
    findings += [_library(module, name) for module, name in _CORE.items()]
    for module, (name, purpose, cure) in _EXTRAS.items():  # looked up only: they take seconds to import
        found, problem = _installed(module, name)
        findings.append(_optional(name, found, problem, purpose, cure))
    findings += _ros()
    return [*findings, _definitions(), _weights()]


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _cpu() -> Finding:
    cores = len(os.sched_getaffinity(0))
    try:
        flags = set(re.findall(r"\bamx_\w+|\bavx512\w*|\bavx2\b", Path("/proc/cpuinfo").read_text()))
    except OSError:
        flags = set()
    named = [name for name in ("amx_bf16", "amx_int8", "avx512f", "avx2") if name in flags]
    return Finding("CPU", "ok", f"{platform.machine()}, {cores} cores, {', '.join(named) or 'no AVX2 or AMX'}")


def _memory() -> Finding:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return Finding("memory", "ok", "unknown: no /proc/meminfo")
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    return Finding(
        "memory", "ok", f"{kib['MemAvailable'] * 1024 / 1e9:.1f} GB free of {kib['MemTotal'] * 1024 / 1e9:.1f} GB"
    )


def _gpu() -> Finding:
    command = shutil.which("nvidia-smi")
    if command is None:
        return Finding("GPU", "optional", "no NVIDIA driver; completion runs on the CPU")
    query = [command, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(
            "GPU",
            "optional",
            f"nvidia-smi did not answer: {clipped(str(error))}",
            "check the NVIDIA driver: nvidia-smi",
        )
    if done.returncode:
        return Finding("GPU", "optional", "the NVIDIA driver does not answer", "check the NVIDIA driver: nvidia-smi")
    return Finding("GPU", "ok", "; ".join(done.stdout.split("\n")).strip("; "))


def _library(module: str, name: str) -> Finding:
    found, problem = _try_import(module, name)
    return Finding(name, "missing", problem, f"pip install {name}") if problem else Finding(name, "ok", found)


def _ros() -> list[Finding]:
    distro = os.environ.get("ROS_DISTRO", "")
    findings = []
    for module, purpose in _ROS.items():
        found, problem = _try_import(module, f"ros-{module}")
        cure = _ROS_CURES[module].replace("<distro>", distro or "<distro>")
        findings.append(_optional(module, found, problem, purpose, cure))
    return findings


def _optional(name: str, found: str, problem: str, purpose: str, cure: str) -> Finding:
    if problem:
        return Finding(name, "optional", f"{problem} (for {purpose})", cure)
    return Finding(name, "ok", found)


def _try_import(module: str, distribution: str) -> tuple[str, str]:
    """Return the version (or "found") of a module and an empty problem, or nothing and why it does not import."""
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # a broken binary raises anything from OSError to AttributeError
        return "", f"does not import: {type(error).__name__}: {clipped(str(error).split(chr(10))[0])}"
    return _version(distribution) or str(getattr(imported, "__version__", "found")), ""


def _installed(module: str, distribution: str) -> tuple[str, str]:
    if importlib.util.find_spec(module) is None:
        return "", "is not installed"
    return _version(distribution) or "found", ""


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _definitions() -> Finding:
    try:
        return Finding(
            "interface definitions", "ok", f"{len(definition_files())} files in {share_folder('msg').parent}"
        )
    except SparseReconError as error:
        return Finding("interface definitions", "missing", error.message, "pip install --force-reinstall sparse_recon")


def _weights() -> Finding:
    try:
        weights = sorted(share_folder("models").glob("*.safetensors"))
    except SparseReconError:
        weights = []
    if any(path.name == WEIGHTS_FILE for path in weights):
        return Finding("weights", "ok", ", ".join(path.name for path in weights))
    cure = "install the package again; until then choose model: carve, which needs none"
    return Finding("weights", "missing", f"no {WEIGHTS_FILE} in models", cure)
