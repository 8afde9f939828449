"""package.xml, pyproject.toml, CMakeLists.txt and the files in the tree say the same."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

import sparse_recon
from sparse_recon.machine.share import share_folder
from sparse_recon.messages.fields import definition_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGE = ET.parse(ROOT / "package.xml").getroot()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CMAKE = (ROOT / "CMakeLists.txt").read_text()


def dependencies(*tags: str) -> set[str]:
    return {str(element.text) for tag in tags for element in PACKAGE.findall(tag)}


def distributions(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;! ]", requirement)[0] for requirement in requirements}


def test_versions_agree():
    assert PACKAGE.findtext("version") == sparse_recon.__version__
    assert re.search(rf"^{re.escape(sparse_recon.__version__)} \(", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert f"version: {sparse_recon.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_licences_agree():
    assert PACKAGE.findtext("license") == PYPROJECT["project"]["license"]["text"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_descriptions_agree():
    words = set(PYPROJECT["project"]["description"].split())
    assert len(words & set(str(PACKAGE.findtext("description")).split())) > 10


def test_cmake_lists_every_interface_file():
    listed = set(re.findall(r'"((?:msg|srv|action)/\w+\.(?:msg|srv|action))"', CMAKE))
    assert listed == {f"{path.parent.name}/{path.name}" for path in definition_files().values()}


def test_packages_of_the_interfaces_are_dependencies():
    used = set()
    for path in definition_files().values():
        used |= set(re.findall(r"^(\w+)/\w+(?:\[\])? ", path.read_text(), re.MULTILINE))
    assert used <= dependencies("depend")
    assert used <= set(re.findall(r"find_package\((\w+) REQUIRED\)", CMAKE))


def test_cmake_finds_what_package_xml_declares():
    found = set(re.findall(r"find_package\((\w+) REQUIRED\)", CMAKE))
    assert found == dependencies("buildtool_depend", "depend") | (dependencies("test_depend") & {"ament_cmake_pytest"})


def test_package_xml_names_the_libraries_of_a_robot():
    needed = {"rclpy", "cv_bridge", "tf2_ros", "tf2_msgs", "python3-numpy", "rosidl_default_runtime"}
    assert needed <= dependencies("depend", "exec_depend")


def test_python_libraries_known_to_rosdep_are_in_package_xml():
    keys = {
        "numpy": "python3-numpy",
        "opencv-python-headless": "python3-opencv",
        "pillow": "python3-pil",
        "lz4": "python3-lz4",
        "pyyaml": "python3-yaml",
        "scikit-image": "python3-skimage",
        "scipy": "python3-scipy",
        "tqdm": "python3-tqdm",
    }
    without_key = {
        "backports.zstd",
        "coacd",
        "edt",
        "manifold3d",
        "open3d",
        "rosbags",
        "safetensors",
        "torch",
        "trimesh",
    }
    assert distributions(PYPROJECT["project"]["dependencies"]) == keys.keys() | without_key
    assert set(keys.values()) <= dependencies("exec_depend")


def test_torch_of_the_set_up_is_one_that_the_package_accepts():
    (accepted,) = (r for r in PYPROJECT["project"]["dependencies"] if r.startswith("torch"))
    versions = set(re.findall(r"torch==([\d.]+)", (ROOT / "scripts" / "bootstrap.py").read_text()))
    assert len(versions) == 1 and versions.pop() in Requirement(accepted).specifier


def test_base_dependencies_are_what_the_library_imports():
    names = {
        "PIL": "pillow",
        "backports": "backports.zstd",
        "cv2": "opencv-python-headless",
        "skimage": "scikit-image",
        "yaml": "pyyaml",
    }
    optional = {
        "matplotlib",
        "mujoco",
        "rerun",
        "accelerate",
        "diffusers",
        "transformers",
    }  # and compression is of the standard library from Python 3.14 on
    imported: set[str] = set()
    for path in (ROOT / "sparse_recon").rglob("*.py"):
        if "ros" not in path.relative_to(ROOT).parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.partition(".")[0])
    imported = {names.get(name, name) for name in imported - {"sparse_recon", "compression", *sys.stdlib_module_names}}
    assert imported - optional == distributions(PYPROJECT["project"]["dependencies"])


def test_share_folder_of_a_checkout_is_the_checkout():
    if (Path(sparse_recon.__file__).parents[1] / "package.xml").is_file():
        assert share_folder("msg") == Path(sparse_recon.__file__).parents[1] / "msg"
    else:
        assert share_folder("msg").parts[-3:] == ("share", "sparse_recon", "msg")


def test_installed_wheel_finds_its_definitions_and_configuration(tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation", "-q"]
    done = subprocess.run(
        [*pip, "--target", str(tmp_path / "site"), str(copy_of_sources(tmp_path / "source"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    code = (
        "from sparse_recon.messages.fields import definition_files;"
        "from sparse_recon.machine.share import share_folder;"
        "print(len(definition_files()), (share_folder('config') / 'tabletop.yaml').is_file(), share_folder('msg'))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    count, config, folder = found.stdout.split()
    assert (int(count), config) == (len(definition_files()), "True"), found.stderr
    assert folder.startswith(str(tmp_path / "site"))


def copy_of_sources(target: Path) -> Path:
    """Copy what pip needs, so that it does not build inside the checkout."""
    import shutil

    for name in ("pyproject.toml", "README.md", "LICENSE"):
        target.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    for name in ("sparse_recon", "msg", "srv", "action", "config", "launch"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def test_pip_installs_every_file_that_colcon_installs():
    listed = [pattern for patterns in PYPROJECT["tool"]["setuptools"]["data-files"].values() for pattern in patterns]
    there = {path for pattern in listed for path in ROOT.glob(pattern)}
    folders = ("config", "launch", "models", "msg", "srv", "action")
    assert there == {path for folder in folders for path in (ROOT / folder).rglob("*.*") if path.suffix != ".pyc"}


def tables_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "scripts" / "tables.py")
    assert spec is not None and spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    return tables


TABLES = tables_script()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTS = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "benchmarks/README.md", "models/README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_definitions(page: Path):
    text = page.read_text()
    assert TABLES.render(text) == text, "run: python scripts/tables.py"


def test_every_table_is_in_one_page():
    found = [name for page in PAGES for name in re.findall(r"<!-- table:(\w+) -->", page.read_text())]
    assert sorted(found) == sorted(TABLES.TABLES)
    assert TABLES.pages() == PAGES


def test_a_stale_table_is_named_and_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "README.md").write_text("No table.\n")
    page = tmp_path / "docs" / "deep" / "page.md"
    page.write_text("Before.\n<!-- table:codes -->\nstale\n<!-- end -->\nAfter.\n")
    monkeypatch.setattr(TABLES, "ROOT", tmp_path)
    monkeypatch.setattr(TABLES, "pages", lambda: [tmp_path / "README.md", page])
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    assert TABLES.main() == 1
    assert "docs/deep/page.md" in capsys.readouterr().err and "stale" in page.read_text()
    monkeypatch.setattr(sys, "argv", ["tables.py"])
    assert TABLES.main() == 0
    assert "MEMORY_BUDGET" in page.read_text() and "stale" not in page.read_text()
    assert page.read_text().startswith("Before.\n") and page.read_text().endswith("After.\n")


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, link


def test_readme_is_short_and_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 160
    unreachable = {page.name for page in PAGES[1:] if f"docs/{page.name}" not in text}
    assert not unreachable


@pytest.mark.parametrize("target", ["demo", "test"])
def test_readme_names_the_two_commands(target):
    assert f"make {target}\n" in (ROOT / "README.md").read_text()
    assert re.search(rf"^{target}: setup$", (ROOT / "Makefile").read_text(), re.MULTILINE)
