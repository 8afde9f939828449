"""docs/licences.md has the licence of every library that runs beside the package, and none under the GPL."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", ROOT / "scripts" / "licences.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_that_of_what_is_installed(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if sys.version_info[:2] != script.PYTHON:
        pytest.skip("the page is made with another version of Python")
    pytest.importorskip("rclpy", reason="the page has the ROS wheels")
    monkeypatch.setattr(sys, "argv", ["licences.py", "--check"])
    assert script.main() == 0, capsys.readouterr().err


def test_every_library_of_the_core_has_a_licence_that_is_accepted(script: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(script, "USES", ("evaluate", "models", "sim", "train"))
    found = script.licences()
    assert {"edt", "numpy", "open3d", "torch", "flask"} <= found.keys()  # flask comes with open3d
    assert {name: licence for name, (licence, _) in found.items() if not script.accepted(licence)} == {}


@pytest.mark.parametrize(
    ("expression", "accepted", "weak"),
    [
        ("MIT", True, False),
        ("BSD-3-Clause AND 0BSD AND Zlib", True, False),
        ("LGPL-3.0-or-later", True, True),
        ("MPL-2.0 AND MIT", True, True),
        ("GPL-3.0-or-later", False, False),
        ("AGPL-3.0-only", False, False),
        ("GPL-2.0-only OR MIT", True, False),
        ("MIT AND GPL-3.0-only", False, False),
        ("GNU General Public License v3 (GPLv3)", False, False),
        ("NVIDIA Proprietary Software", False, False),
        ("", False, False),
    ],
)
def test_licences_that_are_accepted(script: ModuleType, expression: str, accepted: bool, weak: bool):
    assert (script.accepted(expression), script.weak_copyleft(expression)) == (accepted, weak)


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: other", "MIT OR Apache-2.0"),
        (
            "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
            "GNU General Public License v3 (GPLv3)",
        ),
        ("License: MPL-2.0\nClassifier: License :: OSI Approved :: MIT License", "MPL-2.0"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: ISC License (ISCL)", "ISC"),
        ("License: Copyright (c) 2015 Somebody\nClassifier: License :: OSI Approved :: BSD License", "BSD"),
        ("License: ", ""),
    ],
)
def test_licence_is_read_from_metadata_of_any_age(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, licence: str
):
    folder = tmp_path / "oddly_named-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: oddly-named\nVersion: 1.0\n{lines}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert script.licence_of("oddly-named") == licence
