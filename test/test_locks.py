"""pyproject.toml bounds every requirement on both sides, and requirements/ has both ends of what the bounds accept."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NAMES = ("newest", "ros", "lowest")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}")


def locked(name: str) -> dict[str, list[Version]]:
    """Versions by package; the newest differ between versions of Python."""
    found: dict[str, list[Version]] = {}
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    for package, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE):
        found.setdefault(package, []).append(Version(version))
    return found


def requirements(*extras: str) -> list[Requirement]:
    """Those of the core and of extras, but for torch, which no lock file has."""
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]
    return [r for r in map(Requirement, dict.fromkeys(texts)) if r.name != "torch"]


def bound(requirement: Requirement, operator: str) -> Version:
    (text,) = (specifier.version for specifier in requirement.specifier if specifier.operator == operator)
    return Version(text)


SET_UP = ("dev", "evaluate", "models", "sim", "train")
RANGES = [r for r in requirements(*EXTRAS) if "==" not in str(r.specifier)]
INSTALLED = [r for r in requirements(*SET_UP, "ros-build") if "==" not in str(r.specifier)]


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("locks")


def test_lock_files_are_of_the_bounds_in_pyproject(locks: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["locks.py", "--check"])
    assert locks.main() == 0


def test_lock_files_of_other_bounds_are_named(
    locks: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["locks.py", "--check"])
    monkeypatch.setattr(locks, "TORCH", "torch==2.12.0")
    assert locks.main() == 1
    assert capsys.readouterr().err.count("python scripts/locks.py") == len(NAMES)


def test_torch_is_bounded_on_both_sides():
    (torch,) = (r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "torch")
    assert bound(torch, ">=") < bound(torch, "<")


@pytest.mark.parametrize("requirement", RANGES, ids=lambda r: r.name)
def test_requirement_is_bounded_on_both_sides(requirement: Requirement):
    assert bound(requirement, ">=") < bound(requirement, "<")


@pytest.mark.parametrize("requirement", INSTALLED, ids=lambda r: r.name)
def test_upper_bound_is_the_next_release_that_may_break(requirement: Requirement):
    """A major one, of 0.x a minor one: later ones were not tried, and earlier ones need no bound."""
    newest = max((locked("newest") | locked("ros"))[canonicalize_name(requirement.name)])
    following = Version(f"0.{newest.minor + 1}") if newest.major == 0 else Version(str(newest.major + 1))
    assert bound(requirement, "<") == following


@pytest.mark.parametrize("requirement", requirements(*SET_UP), ids=lambda r: r.name)
def test_lowest_versions_are_the_lower_bounds(requirement: Requirement):
    if requirement.marker and not requirement.marker.evaluate({"python_version": "3.11"}):
        pytest.skip("the lowest versions are those of Python 3.11")
    (lowest,) = locked("lowest")[canonicalize_name(requirement.name)]
    low = bound(requirement, ">=").release
    assert lowest.release[: len(low)] == low


@pytest.mark.parametrize("requirement", requirements(*SET_UP, "ros", "ros-build"), ids=lambda r: r.name)
def test_newest_versions_lie_within_the_bounds(requirement: Requirement):
    versions = (locked("newest") | locked("ros"))[canonicalize_name(requirement.name)]
    assert versions and all(version in requirement.specifier for version in versions)


@pytest.mark.parametrize("name", NAMES)
def test_every_locked_version_has_hashes(name: str):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == sum(map(len, locked(name).values())) > 50
    for block in blocks:
        first, *rest = [line.removesuffix(" \\") for line in block.rstrip().split("\n")]
        assert rest and all(HASH.fullmatch(line) for line in rest), first


@pytest.mark.parametrize("name", NAMES)
def test_torch_is_left_to_the_set_up(name: str):
    beside = re.compile(r"torch$|triton$|nvidia-|cuda-")
    assert [package for package in locked(name) if beside.match(package)] == []


def test_both_numpy_1_and_2_are_proved():
    assert {version.major for version in locked("lowest")["numpy"]} == {1}
    assert {version.major for version in locked("newest")["numpy"]} == {2}


def test_ros_wheels_bring_no_second_version_of_a_library():
    assert locked("ros").keys() & locked("newest").keys() == set()
