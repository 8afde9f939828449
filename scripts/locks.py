#!/usr/bin/env python3
"""Write the lock files in requirements/ from the bounds in pyproject.toml; `--check` only compares what they are of.

`newest.txt` is what `make setup` installs, `ros.txt` the ROS wheels beside it, `lowest.txt` what `make test-lowest`
installs. Each has every version with the hashes of its files. PyTorch and the CUDA libraries that only its CUDA build
needs are in none: scripts/bootstrap.py picks the build that fits the machine.

Writing asks the package index of pip's default and needs uv (pip install uv).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bootstrap import EXTRAS, LOCKS, LOWEST_PYTHON, ROOT, ROS_EXTRAS, TORCH, digest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NEWEST = ["--universal", "--python-version", "3.10"]
LOWEST = ["--python-version", ".".join(map(str, LOWEST_PYTHON)), "--python-platform", "x86_64-manylinux_2_28"]
BESIDE_TORCH = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)==")


def main() -> int:
    """Write the lock files, or with `--check` name those of other bounds and return 1."""
    if "--check" in sys.argv[1:]:
        stale = [path for path in LOCKS.values() if f"# Of {bounds()}\n" not in path.read_text()]
        for path in stale:
            print(f"{path.relative_to(ROOT)}: is of other bounds; run: python scripts/locks.py", file=sys.stderr)
        return int(bool(stale))
    newest = resolve(NEWEST, EXTRAS, [TORCH])
    write("newest", newest)
    beside = resolve(NEWEST, [*EXTRAS, *ROS_EXTRAS], [TORCH, *(block.split(" \\\n")[0] for block in newest)])
    write("ros", [block for block in beside if block not in newest])
    # Both NumPy 1.26 and 2 are promised; newer libraries that others need would take 2.
    write("lowest", resolve([*LOWEST, "--resolution", "lowest-direct"], EXTRAS, [TORCH, "numpy<2"]))
    return 0


def bounds() -> str:
    """Hash what the lock files are made from: the requirements in pyproject.toml and the version of PyTorch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = sorted(project["optional-dependencies"].items())
    return digest([TORCH, project["requires-python"], repr(project["dependencies"]), repr(extras)])


def resolve(options: list[str], extras: list[str], constraints: list[str]) -> list[str]:
    """Return one block a package, its version with the hashes of its files, in the order of names."""
    uv = shutil.which("uv")
    if uv is None:
        raise SystemExit("uv is not on the path; install it: pip install uv")
    with TemporaryDirectory() as folder:
        (Path(folder) / "constraints.txt").write_text("\n".join(constraints))
        command = [uv, "--no-config", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"]
        command += ["--constraint", f"{folder}/constraints.txt", *options, str(ROOT / "pyproject.toml")]
        command += [f"--extra={extra}" for extra in extras]
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
    return [block for block in blocks if "==" in block and not BESIDE_TORCH.match(block)]


def write(name: str, blocks: list[str]) -> None:
    """Write one lock file."""
    head = f"# Made by scripts/locks.py; do not edit.\n# Of {bounds()}\n"
    LOCKS[name].parent.mkdir(exist_ok=True)
    LOCKS[name].write_text(head + "".join(blocks))


if __name__ == "__main__":
    sys.exit(main())
