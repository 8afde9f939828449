#!/usr/bin/env python3
"""Set up everything that `make demo` and `make test` need: system libraries, .venv, wheels, built interfaces.

Needs only Python >= 3.10. Writes only inside the checkout (.venv and ws/), apt packages aside. A step whose inputs have
not changed since it last succeeded is skipped. Versions and hashes of all wheels but PyTorch's are in requirements/.

`--lowest` sets up another environment, ws/lowest, with the lowest versions that the package accepts and without ROS.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
WS = ROOT / "ws"
LOWEST = WS / "lowest"  # the environment of `make test-lowest`
LOWEST_PYTHON = (3, 11)  # the newest that NumPy 1.26 and the oldest others have wheels for
EXTRAS = ["dev", "evaluate", "models", "sim", "train"]
ROS_EXTRAS = ["ros", "ros-build"]
LOCKS = {name: ROOT / "requirements" / f"{name}.txt" for name in ("newest", "ros", "lowest")}  # by scripts/locks.py
TORCH = "torch==2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
ROS_PYTHONS = ((3, 10), (3, 13))  # CPython versions with ROS wheels

# What open3d, OpenCV and the ROS wheels load, by the Debian and Ubuntu package that has it.
LIBRARIES = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgomp.so.1": "libgomp1",
}
COMMANDS = {"cmake": "cmake", "gcc": "gcc", "g++": "g++", "make": "make"}

# What colcon builds of this package.
PACKAGE_FILES = (
    *("package.xml", "CMakeLists.txt", "msg", "srv", "action"),
    *("sparse_recon", "scripts", "config", "launch", "models", "test"),
)
# Interface packages that no wheel brings, built only where the wheels are used.
OVERLAY = (ROOT / "scripts" / "overlay" / "tf2_msgs",)

# The head of ws/env.sh: what every POSIX shell reads, also under `set -eu`.
ENVIRONMENT = r"""# Made by scripts/bootstrap.py; source it. Sourcing it again changes nothing.

_sparse_recon_prepend() {  # NAME FOLDERS: puts folders in front of a path variable, and takes them out behind
    eval "_sparse_recon_old=\":\${$1:-}:\""
    while :; do
        case "$_sparse_recon_old" in
            *":$2:"*) _sparse_recon_old="${_sparse_recon_old%%":$2:"*}:${_sparse_recon_old#*":$2:"}" ;;
            *) break ;;
        esac
    done
    _sparse_recon_old="${_sparse_recon_old#:}"
    _sparse_recon_old="${_sparse_recon_old%:}"
    export "$1=$2${_sparse_recon_old:+:$_sparse_recon_old}"
    unset _sparse_recon_old
}

_sparse_recon_clash() {  # INSTALL: says which other tf2_msgs is on the paths
    _sparse_recon_rest="${AMENT_PREFIX_PATH:-}:${PYTHONPATH:-}:"
    while [ -n "$_sparse_recon_rest" ]; do
        _sparse_recon_dir="${_sparse_recon_rest%%:*}"
        _sparse_recon_rest="${_sparse_recon_rest#*:}"
        case "$_sparse_recon_dir" in "" | "$1" | "$1"/*) continue ;; esac
        if [ -e "$_sparse_recon_dir/share/tf2_msgs/package.xml" ] || [ -d "$_sparse_recon_dir/tf2_msgs" ]; then
            echo "ws/env.sh: another tf2_msgs is in $_sparse_recon_dir; that of $1 now comes first, and programs of" \
                "both in one shell may load libraries that do not fit. Use a new shell for one of them, or build this" \
                "package with colcon beside that ROS (docs/install.md)." >&2
            break
        fi
    done
    unset _sparse_recon_rest _sparse_recon_dir
}
"""


class SetupError(Exception):
    """A step failed; the text says what to do."""


Step = tuple[str, str, Callable[[], None]]  # name, digest of what it reads, what it does


def main() -> int:
    """Run the steps that are due, one line each."""
    WS.mkdir(exist_ok=True)
    lowest = "--lowest" in sys.argv[1:]
    if ros_refusal() and not lowest:
        print(f"ROS parts are left out: {ros_refusal()}", flush=True)
    try:
        if lowest:
            check_lowest_python(sys.version_info[:2])
            run_steps(lowest_steps(), LOWEST)
        else:
            run_steps(steps(), VENV)
            write_environment()
    except SetupError as error:
        print(f"\nset-up stopped: {error}", file=sys.stderr)
        return 1
    return 0


def steps() -> list[Step]:
    """Return all steps in their order, without those of ROS where it is left out."""
    interpreter = digest([sys.base_prefix, platform.python_version()])
    found: list[Step] = [
        ("system packages", digest([str(sorted({**LIBRARIES, **COMMANDS}))]), install_system_packages),
        ("virtual environment", interpreter, lambda: make_venv(VENV)),
        ("torch", digest([TORCH, str(has_nvidia_gpu())]), lambda: install_torch(VENV)),
        ("Python wheels", locked("newest"), lambda: install_wheels(VENV, "newest")),
    ]
    if not ros_refusal():
        found += [
            ("ROS 2 wheels", locked("ros"), install_ros_wheels),
            ("interfaces and overlay (colcon)", digest(overlay_inputs()), build_overlay),
        ]
    return found


def lowest_steps() -> list[Step]:
    """Return the steps of the environment with the lowest versions, which needs neither apt nor ROS."""
    interpreter = digest([sys.base_prefix, platform.python_version()])
    return [
        ("environment of the lowest versions", interpreter, lambda: make_venv(LOWEST)),
        ("torch beside the lowest versions", digest([TORCH]), lambda: install_torch(LOWEST)),
        ("lowest versions", locked("lowest"), lambda: install_wheels(LOWEST, "lowest")),
    ]


def check_lowest_python(version: tuple[int, int]) -> None:
    """Refuse a Python for which the lowest versions have no wheels, with the one to take."""
    if version != LOWEST_PYTHON:
        wanted, found = (".".join(map(str, numbers)) for numbers in (LOWEST_PYTHON, version))
        raise SetupError(
            f"the lowest versions are those of Python {wanted}, this is {found}: make PYTHON=python{wanted}"
        )


def locked(name: str) -> str:
    """Hash what an installation from a lock file reads."""
    return digest([read("pyproject.toml"), LOCKS[name].read_text()])


def run_steps(steps: list[Step], venv: Path) -> None:
    """Run each step whose stamp is missing or older than its inputs; a step that ran makes all later ones due."""
    chain = ""
    for number, (name, inputs, step) in enumerate(steps, 1):
        chain = digest([chain, inputs])
        stamp = WS / "stamps" / re.sub(r"\W+", "-", name)
        if stamp.is_file() and stamp.read_text() == chain and (number < 3 or python_of(venv).exists()):
            continue
        print(f"[{number}/{len(steps)}] {name} ...", end="", flush=True)
        started = time.monotonic()
        step()
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(chain)
        print(f" {time.monotonic() - started:.0f} s", flush=True)


def install_system_packages() -> None:
    """Install missing libraries and tools by apt, as root or through sudo that asks no password."""
    missing = missing_packages()
    if not missing:
        return
    install = f"apt-get install -y --no-install-recommends {' '.join(missing)}"
    if shutil.which("apt-get") is None:
        raise SetupError(f"this machine lacks {', '.join(missing)} (Debian names) and has no apt-get; install them")
    if os.geteuid() == 0:
        prefix = []
    elif (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        prefix = ["sudo", "-n"]
    else:
        raise SetupError(f"install what is missing, then run this again: sudo {install}")
    environment = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive"]
    run("apt", [*environment, "apt-get", "update"])
    run("apt", [*environment, *install.split()])
    if missing_packages():
        raise SetupError(f"still missing after apt-get install: {', '.join(missing_packages())}")


def missing_packages() -> list[str]:
    """Debian packages whose library, command, header or Python module is not here."""
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    known = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout
    missing = [package for library, package in LIBRARIES.items() if f"\t{library} " not in known]
    missing += [package for command, package in COMMANDS.items() if shutil.which(command) is None]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        missing.append(f"python{version}-dev")
    if subprocess.run([sys.executable, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode:
        missing.append(f"python{version}-venv")
    return missing


def make_venv(venv: Path) -> None:
    """Make an environment, or keep it when it is there and of this Python."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not (venv / "lib" / f"python{version}").is_dir():
        run("venv", [base_interpreter(), "-m", "venv", "--clear", str(venv)])


def python_of(venv: Path) -> Path:
    """Return the interpreter of an environment."""
    return venv / "bin" / "python"


def base_interpreter() -> str:
    """The Python of which environments are made, also where this one is that of an environment (`ws/env.sh`)."""
    path = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(path) if path.exists() else sys.executable


def install_wheels(venv: Path, lock: str) -> None:
    """Install this package in place with what its core and its tests need, by version and hash."""
    install_locked(venv, lock)
    in_place = ["--no-deps", "--no-index", "--no-build-isolation", "--editable", str(ROOT)]
    pip(venv, lock, in_place)


def install_locked(venv: Path, lock: str) -> None:
    """Install what a lock file names. Nothing else comes with it: the file is complete, PyTorch aside."""
    pip(venv, lock, ["--no-deps", "--require-hashes", "--requirement", str(LOCKS[lock])])


def install_ros_wheels() -> None:
    """Install ROS 2 from wheels and point its CMake files, which name their build machine, at this Python."""
    install_locked(VENV, "ros")
    code = "import numpy, sysconfig; print(sysconfig.get_path('include'), numpy.get_include(), sep='\\n')"
    include, numpy_include = subprocess.check_output([python_of(VENV), "-c", code], text=True).split()
    for path in (VENV / "share").rglob("*.cmake"):
        old = path.read_text()
        new = re.sub(r"/opt/python/[\w-]+/lib/python3\.\d+/site-packages/numpy/_core/include", numpy_include, old)
        new = re.sub(r"/opt/python/[\w-]+/include/python3\.\d+", include, new)
        if new != old:
            path.write_text(new)


def install_torch(venv: Path) -> None:
    """Install torch: with its CUDA libraries where an NVIDIA GPU answers, else a CPU build, whose needs are locked.

    The latter comes from local wheels if pip has one.
    """
    if has_nvidia_gpu():
        pip(venv, "torch", [TORCH])
        return
    local = [str(python_of(venv)), "-m", "pip", "install", "-q", "--no-index", "--no-deps", TORCH]
    if subprocess.run(local, capture_output=True, check=False).returncode:
        pip(venv, "torch", ["--no-deps", "--index-url", TORCH_CPU_INDEX, TORCH])


def build_overlay() -> None:
    """Build this package and the overlay packages into ws/install; the Python modules there are links to these.

    CMake refuses a source folder that holds the environment whose headers it exports, so it gets a folder of links.
    """
    source = WS / "src" / "sparse_recon"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for name in PACKAGE_FILES:
        if (ROOT / name).exists():
            (source / name).symlink_to(ROOT / name)
    environment = {
        **os.environ,
        "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}",
        "AMENT_PREFIX_PATH": str(VENV),
        "CMAKE_PREFIX_PATH": str(VENV),
        "LD_LIBRARY_PATH": library_path(),
        "COLCON_HOME": str(WS / "colcon"),
    }
    folders = ["--build-base", str(WS / "build"), "--install-base", str(WS / "install"), "--merge-install"]
    options = ["--symlink-install", "--executor", "parallel", "--cmake-args", "-DBUILD_TESTING=OFF"]
    colcon = [str(python_of(VENV)), "-m", "colcon", "--log-base", str(WS / "log" / "colcon"), "build"]
    run("colcon", [*colcon, "--paths", str(source), *map(str, OVERLAY), *folders, *options], environment)


def overlay_inputs() -> Iterable[str]:
    """All that colcon reads: texts of the definitions, names of the files that it links."""
    for pattern in ("package.xml", "CMakeLists.txt", "msg/*", "srv/*", "action/*", "scripts/overlay/*/*.*"):
        yield from (path.name + path.read_text() for path in sorted(ROOT.glob(pattern)))
    for folder in ("sparse_recon", "config", "launch", "models", "scripts"):
        yield from (str(path) for path in sorted((ROOT / folder).rglob("*")) if "__pycache__" not in path.parts)


def write_environment() -> None:
    """Write ws/env.sh, which the Makefile and people source; all that programs write by the way goes to ws/."""
    paths: dict[str, str] = {"PATH": str(VENV / "bin")}
    variables: dict[str, str | Path] = {"VIRTUAL_ENV": VENV, "MPLCONFIGDIR": WS / "matplotlib"}
    if not ros_refusal():
        install = WS / "install"
        paths = {
            "PATH": f"{VENV / 'bin'}:{install / 'lib' / 'sparse_recon'}",  # the latter has completion_node
            "AMENT_PREFIX_PATH": f"{install}:{VENV}",
            "LD_LIBRARY_PATH": f"{install / 'lib'}:{library_path()}",
            "PYTHONPATH": str(next(install.glob("lib/python3*/site-packages"))),
        }
        variables |= {
            "ROS_HOME": WS / "ros",
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",  # the library path is complete: no second start of Python
        }
    lines = [ENVIRONMENT]
    if "AMENT_PREFIX_PATH" in paths:
        lines += [f"_sparse_recon_clash {shlex.quote(str(WS / 'install'))}"]
    lines += [f"_sparse_recon_prepend {name} {shlex.quote(value)}" for name, value in paths.items()]
    lines += [f"export {name}={shlex.quote(str(value))}" for name, value in variables.items()]
    lines += ["unset -f _sparse_recon_prepend _sparse_recon_clash"]
    (WS / "env.sh").write_text("\n".join(lines) + "\n")


def library_path() -> str:
    """LD_LIBRARY_PATH of the ROS wheels: the environment's lib and the libraries bundled with each wheel."""
    bundled = sorted(VENV.glob("lib/python3*/site-packages/ros_*.libs"))
    return ":".join(str(folder) for folder in (VENV / "lib", *bundled))


def ros_refusal() -> str:
    """Why the ROS wheels cannot be used here; empty where they can."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        return f"ROS wheels exist for Linux on x86-64 only, this is {sys.platform} on {platform.machine()}"
    if not ROS_PYTHONS[0] <= sys.version_info[:2] <= ROS_PYTHONS[1] or platform.python_implementation() != "CPython":
        return f"ROS wheels exist for CPython 3.10 to 3.13, this is {platform.python_version()}; make PYTHON=python3.12"
    return ""


def has_nvidia_gpu() -> bool:
    """Whether the NVIDIA driver answers."""
    command = shutil.which("nvidia-smi")
    return command is not None and subprocess.run([command, "-L"], capture_output=True, check=False).returncode == 0


def pip(venv: Path, log: str, arguments: list[str]) -> None:
    """Install with an environment's pip; the user's own pip configuration is honoured, no cache is written."""
    run(
        log, [str(python_of(venv)), "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", *arguments]
    )


def run(log: str, command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a command with its output in ws/log; when it fails, show the end of that and stop."""
    path = WS / "log" / f"{log}.log"
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as output:
        start = output.tell()
        done = subprocess.run(
            command, cwd=WS, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    if done.returncode:
        text = path.read_bytes()[start:].decode(errors="replace")
        raise SetupError(f"{shlex.join(command)} ended with {done.returncode}; all of it in {path}\n{text[-3000:]}")


def digest(parts: Iterable[str]) -> str:
    """Hash texts to one name."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read(name: str) -> str:
    """Return the text of a file of the checkout."""
    return (ROOT / name).read_text()


if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036 (it may be started by an older one)
        sys.exit(f"Python 3.10 or newer is needed, this is {platform.python_version()}: make PYTHON=python3.11")
    sys.exit(main())
