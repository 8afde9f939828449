"""The doctor names what is missing, with the line that fixes it, and its JSON can be read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sparse_recon.cli.doctor import doctor, examine

ROOT = Path(__file__).parents[2]
WITHOUT = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
from sparse_recon.cli.doctor import doctor
sys.exit(doctor(json=True))
"""


def report_without(*blocked: str) -> tuple[int, dict[str, dict[str, str]]]:
    code = WITHOUT.format(blocked=blocked)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_missing_libraries_are_named_with_the_line_that_fixes_them():
    code, findings = report_without("open3d", "coacd", "rerun", "rclpy", "sensor_msgs")
    assert code == 1
    assert (findings["open3d"]["state"], findings["open3d"]["cure"]) == ("missing", "pip install open3d")
    assert (findings["coacd"]["state"], findings["coacd"]["cure"]) == ("missing", "pip install coacd")
    assert (findings["rerun-sdk"]["state"], findings["rerun-sdk"]["cure"]) == ("optional", "pip install rerun-sdk")
    assert "interactive" in findings["rerun-sdk"]["found"]
    assert "sensor-msgs" in findings["sensor_msgs"]["cure"]
    assert findings["rclpy"]["state"] == "optional"
    assert "make setup" in findings["rclpy"]["cure"]


def test_every_dependency_of_the_package_is_looked_at():
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {re.match(r"[\w.-]+", line)[0] for line in [*project["dependencies"], *extras["viz"], *extras["train"]]}
    declared = {e.text for e in ElementTree.parse(ROOT / "package.xml").getroot() if e.tag == "depend"}
    assert wanted | declared <= {finding.name for finding in examine()}


def test_every_absent_library_has_a_cure():
    absent = [f for f in examine() if f.state == "missing" or "not im" in f.found or "not installed" in f.found]
    assert all(finding.cure for finding in absent)


def test_table_has_a_line_for_every_finding(capsys):
    assert doctor() == 0
    lines = capsys.readouterr().out.splitlines()
    assert {f.name for f in examine()} <= {line.split("  ")[0].strip() for line in lines}
