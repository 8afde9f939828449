#!/usr/bin/env python3
"""Write docs/licences.md: the licence of every library that runs beside this package, from installed metadata.

`--check` only compares. Exits with 1 where a library has no licence that can be told, or one that is not accepted.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
BEGIN, END = "<!-- licences -->\n", "<!-- end -->"
PYTHON = (3, 11)  # of the page: which libraries others need differs between versions of Python
USES = ("evaluate", "models", "sim", "train", "ros")  # extras that run with the package and that the set-up installs

# What a package states outside its metadata: in its licence file or its module.
STATED = {
    "apsw": "Zlib",
    "empy": "LGPL",
    "ros-fastcdr": "Apache-2.0",
    "ros-fastrtps": "Apache-2.0",
    "setuptools": "MIT",
}
# Identifiers of SPDX for what metadata of older form says; what is not here stands as it was found.
SPDX = {
    "Apache": "Apache-2.0",
    "Apache 2": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License": "ISC",
    "ISC license": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The MIT License (MIT)": "MIT",
    "zlib License": "Zlib",
}
PERMISSIVE = {
    *("0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "ISC", "MIT"),
    *("MIT-CMU", "PSF-2.0", "Unlicense", "Zlib", "Apache-2.0 WITH LLVM-exception"),
}
# Changes to the library itself stay under its licence; programs that use it as it is are free.
WEAK_COPYLEFT = {"LGPL", "LGPL-2.1-or-later", "LGPL-3.0-or-later", "MPL-2.0"}


def main() -> int:
    """Write the page, or with `--check` say where it differs from what is installed."""
    found = licences()
    for name, (licence, _) in found.items():
        if not accepted(licence):
            print(f"{name}: licence {licence or 'unknown'!r} is not one that this package accepts", file=sys.stderr)
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    new = head + BEGIN + table(found) + END + rest.split(END)[1]
    if sys.version_info[:2] != PYTHON:
        print(f"docs/licences.md is made with Python {PYTHON[0]}.{PYTHON[1]}; nothing compared", file=sys.stderr)
    elif "--check" not in sys.argv[1:]:
        PAGE.write_text(new, encoding="utf-8")
    elif new != text:
        print("docs/licences.md differs; run: python scripts/licences.py", file=sys.stderr)
        return 1
    return int(not all(accepted(licence) for licence, _ in found.values()))


def licences() -> dict[str, tuple[str, list[str]]]:
    """Return the licence of each library that runs beside the package, and which extras bring it ("" is the core).

    NVIDIA's libraries, which come with the CUDA build of PyTorch, are left out; the page says so.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    uses: dict[str, list[str]] = {}
    for use, texts in [("", project["dependencies"]), *((e, project["optional-dependencies"][e]) for e in USES)]:
        for name in closure(texts):
            uses.setdefault(name, []).append(use)
    beside_cuda = re.compile(r"nvidia-|cuda-|triton$")
    return {name: (licence_of(name), uses[name]) for name in sorted(uses) if not beside_cuda.match(name)}


def closure(requirements: list[str]) -> set[str]:
    """Return the names of installed distributions that requirements ask for, and what those ask for in turn."""
    todo = [Requirement(text) for text in requirements]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        for extra in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), extra)
            if key in seen:
                continue
            seen.add(key)
            for text in metadata.requires(requirement.name) or []:
                child = Requirement(text)
                if child.marker is None or child.marker.evaluate({"extra": extra}):
                    child.marker = None
                    todo.append(child)
    return {name for name, _ in seen}


def licence_of(name: str) -> str:
    """Return a distribution's licence, by SPDX's identifiers where what its metadata says is one of SPDX."""
    distribution = metadata.distribution(name)
    about = distribution.metadata
    if about.get("License-Expression"):
        return str(about["License-Expression"])
    if name in STATED:
        return STATED[name]
    field = str(about.get("License") or "").strip()
    classified = [c.split(" :: ")[-1] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    if re.fullmatch(r"[\w .,()+-]{2,50}", field) and field not in ("UNKNOWN", "BSD") and "Copyright" not in field:
        classified = [field]
    for path in distribution.files or []:
        if not classified and path.name == "package.xml":  # of a ROS package
            classified = re.findall(r"<license>(.*?)</license>", path.read_text())
    return " AND ".join(SPDX.get(text, text) for text in classified)


def accepted(expression: str) -> bool:
    """Whether a licence lets this package be used under its own: permissive, or copyleft of the library alone."""
    choices = expression.strip("()").split(" OR ")
    return any(all(part.strip() in PERMISSIVE | WEAK_COPYLEFT for part in c.split(" AND ")) for c in choices)


def weak_copyleft(expression: str) -> bool:
    """Whether changes to the library itself have to stay under its licence."""
    return any(part.strip() in WEAK_COPYLEFT for part in re.split(r" AND | OR ", expression))


def table(found: dict[str, tuple[str, list[str]]]) -> str:
    """Lay out the licences as a Markdown table, ROS packages of one licence in one line."""
    rows = ["| Library | Licence | Copyleft | Needed by |", "| --- | --- | --- | --- |"]
    ros: dict[str, list[str]] = {}
    for name, (licence, uses) in found.items():
        if name.startswith("ros-"):
            ros.setdefault(licence, []).append(name.removeprefix("ros-"))
            continue
        needed = "the package" if "" in uses else ", ".join(f"`[{use}]`" for use in uses)
        rows.append(f"| {name} | {licence} | {'of the library' if weak_copyleft(licence) else ''} | {needed} |")
    for licence, names in sorted(ros.items()):
        rows.append(f"| ROS 2: {', '.join(names)} | {licence} | | `[ros]` |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
