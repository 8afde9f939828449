"""What the pages of docs/ show: the picture of RViz's displays, and the example client against a running node."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import sparse_recon
from sparse_recon.types import CompletedObject

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def rviz_picture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rviz_picture", ROOT / "benchmarks" / "rviz_picture.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_colours_of_the_picture_are_those_of_the_displays(rviz_picture: ModuleType):
    text = (ROOT / "config" / "rviz" / "completion.rviz").read_text()
    found = {}
    for channel in ("confidence", "provenance"):
        display = text.split(f"Channel Name: {channel}")[1]
        ends = [re.search(rf"{end} Color: (\d+); (\d+); (\d+)", display) for end in ("Min", "Max")]
        found[channel] = tuple(tuple(map(int, end.groups())) for end in ends if end)
    assert found == {"confidence": rviz_picture.CONFIDENCE, "provenance": rviz_picture.PROVENANCE}


def test_picture_is_drawn_from_the_messages(rviz_picture: ModuleType, completed_box: CompletedObject):
    image = np.asarray(rviz_picture.drawn([completed_box]).convert("RGB")).reshape(-1, 3)
    for color in (*rviz_picture.COST_COLORS.values(), (0, 161, 120)):  # cells of the grid, lines of the box
        assert (np.abs(image.astype(int) - color).max(axis=1) <= 1).any(), color


def test_every_display_is_in_the_page():
    text = (ROOT / "config" / "rviz" / "completion.rviz").read_text()
    displays = text.split("  Displays:")[1].split("  Tools:")[0]
    page = (ROOT / "docs" / "rviz.md").read_text()
    names = re.findall(r'^      Name: "?([^"\n]+)"?$', displays, re.MULTILINE)
    assert len(names) == 11 and [name for name in names if name not in page] == []


def test_picture_in_the_page_is_small():
    assert (ROOT / "docs" / "rviz.png").stat().st_size < 300_000


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = {page: re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL) for page in PAGES}


@pytest.mark.parametrize("page", [page for page in PAGES if CODE[page]], ids=lambda page: page.name)
def test_python_of_the_pages_parses_and_imports_what_there_is(page: Path):
    for code in CODE[page]:
        for node in ast.walk(ast.parse(code)):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            if node.module == "sparse_recon" and not hasattr(sparse_recon, "CompletionSession"):
                pytest.skip("the names at the top of the package are on their way")
            if node.module.startswith("sparse_recon.ros"):
                pytest.importorskip("rclpy")
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
