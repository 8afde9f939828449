"""scripts/bootstrap.py: which steps are due, and the environment that it writes; nothing is installed here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "bootstrap.py"
SHELLS = [shell for shell in ("bash", "dash", "zsh") if shutil.which(shell)]
PATHS = ("AMENT_PREFIX_PATH", "LD_LIBRARY_PATH", "PYTHONPATH")


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that has been set up, as far as env.sh can see."""
    root = tmp_path / "a checkout"
    (root / "ws" / "install" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    (root / "ws" / "install" / "share" / "tf2_msgs").mkdir(parents=True)
    (root / "ws" / "install" / "share" / "tf2_msgs" / "package.xml").touch()
    programs = root / "ws" / "install" / "lib" / "sparse_recon"
    programs.mkdir()
    for name in ("completion_node", "sparse_recon"):
        (programs / name).symlink_to(ROOT / "scripts" / name)
    monkeypatch.setattr(bootstrap, "VENV", root / ".venv")
    monkeypatch.setattr(bootstrap, "WS", root / "ws")
    monkeypatch.setattr(bootstrap, "ros_refusal", lambda: "")
    bootstrap.write_environment()
    return root


def sourced(checkout: Path, shell: str = "bash", times: int = 1, after: str = "", **given: str) -> tuple[str, str]:
    """Source env.sh and return what a command after it writes to stdout, and everything on stderr."""
    command = "; ".join(["set -eu", *[f". '{checkout}/ws/env.sh'"] * times, after])
    environment = {"PATH": os.environ["PATH"], **given}
    done = subprocess.run([shell, "-c", command], env=environment, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


SHOW = "printf '%s\\n' " + " ".join(f'"${name}"' for name in PATHS)


@pytest.mark.parametrize("shell", SHELLS)
def test_environment_goes_before_what_was_sourced_and_keeps_it(checkout: Path, shell: str):
    given = {name: f"/opt/ros/{name}:/my [ws]/{name}" for name in PATHS}
    out, err = sourced(checkout, shell, after=SHOW, **given)
    for name, value in zip(PATHS, out.splitlines(), strict=True):
        assert value.endswith(f":{given[name]}") and value.startswith(str(checkout))
    assert err == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_environment_sourced_twice_is_that_sourced_once(checkout: Path, shell: str):
    after = f'{SHOW}; echo "$PATH"'
    once, _ = sourced(checkout, shell, after=after, PYTHONPATH="/other")
    assert sourced(checkout, shell, times=2, after=after, PYTHONPATH="/other") == (once, "")
    assert "::" not in once


def test_environment_of_an_empty_shell_has_no_empty_folders(checkout: Path):
    out, _ = sourced(checkout, after=SHOW)
    for value in out.splitlines():  # an empty part would be the current folder
        assert value and not value.startswith(":") and not value.endswith(":") and "::" not in value


def test_environment_sourced_again_comes_first_again(checkout: Path):
    between = "export PYTHONPATH=/opt/ros/python:$PYTHONPATH"
    out, _ = sourced(checkout, after=f"{between}; . '{checkout}/ws/env.sh'; {SHOW}")
    python_path = out.splitlines()[2]
    assert python_path == f"{checkout}/ws/install/lib/python3.11/site-packages:/opt/ros/python"


def test_completion_node_is_on_the_path(checkout: Path):
    out, _ = sourced(checkout, after="command -v completion_node")
    found = Path(out.strip())
    assert found.parent == checkout / "ws" / "install" / "lib" / "sparse_recon"
    assert os.access(found, os.X_OK)
    listed = (ROOT / "CMakeLists.txt").read_text()
    assert "install(PROGRAMS scripts/completion_node scripts/sparse_recon DESTINATION lib/${PROJECT_NAME})" in listed


@pytest.mark.parametrize("variable", ["AMENT_PREFIX_PATH", "PYTHONPATH"])
def test_another_tf2_msgs_is_named(checkout: Path, tmp_path: Path, variable: str):
    other = tmp_path / "ros"
    (other / "share" / "tf2_msgs").mkdir(parents=True)
    (other / "share" / "tf2_msgs" / "package.xml").touch()
    (other / "tf2_msgs").mkdir()
    _, err = sourced(checkout, **{variable: f"/nothing:{other}:/more"})
    assert err.count("another tf2_msgs") == 1 and str(other) in err and "new shell" in err


def test_tf2_msgs_of_this_workspace_is_no_other_one(checkout: Path):
    assert sourced(checkout, times=2)[1] == ""


def test_without_ros_only_commands_and_environment_are_set(
    bootstrap: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bootstrap, "ros_refusal", lambda: "no wheels")
    bootstrap.write_environment()
    out, _ = sourced(checkout, after='echo "${AMENT_PREFIX_PATH-unset} ${PYTHONPATH-unset} $VIRTUAL_ENV"')
    assert out.split(" ", 2) == ["unset", "unset", f"{checkout}/.venv\n"]


def test_steps_are_the_same_from_a_shell_that_sourced_the_environment():
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not base.exists() or sys.prefix == sys.base_prefix:
        pytest.skip("this Python is not that of an environment")
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import bootstrap; "
        "print([step[:2] for step in bootstrap.steps()])"
    )
    digests = {
        subprocess.run([python, "-B", "-c", code], capture_output=True, text=True, check=True).stdout
        for python in (str(base), sys.executable)
    }
    assert len(digests) == 1


def test_a_step_runs_again_only_when_its_inputs_change(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bootstrap, "WS", tmp_path)
    ran: list[str] = []

    def steps(second: str) -> list[tuple[str, str, object]]:
        return [(name, inputs, lambda name=name: ran.append(name)) for name, inputs in (("one", "a"), ("two", second))]

    for inputs in ("b", "b", "c"):
        bootstrap.run_steps(steps(inputs), Path(sys.prefix))
    assert ran == ["one", "two", "two"]


HASH = "0" * 64


@pytest.mark.parametrize(
    ("line", "words"),
    [(f"tiny @ {{}} --hash=sha256:{HASH}", "DO NOT MATCH"), ("tiny @ {}", "Hashes are required")],
    ids=["another file", "no hash"],
)
def test_a_wheel_of_another_hash_is_refused(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str
):
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    (tmp_path / "lock.txt").write_text(line.format(wheel.as_uri()))
    monkeypatch.setattr(bootstrap, "WS", tmp_path)
    monkeypatch.setattr(bootstrap, "LOCKS", {"newest": tmp_path / "lock.txt"})
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "installed"))  # not into the environment of the tests, if it fails
    with pytest.raises(bootstrap.SetupError, match=words):
        bootstrap.install_locked(Path(sys.prefix), "newest")
    assert not (tmp_path / "installed").exists()


@pytest.mark.parametrize("name", ["steps", "lowest_steps"])
def test_a_new_lock_file_makes_its_step_due(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    locks = {key: tmp_path / path.name for key, path in bootstrap.LOCKS.items()}
    for path in locks.values():
        path.write_text("one==1\n")
    monkeypatch.setattr(bootstrap, "LOCKS", locks)
    monkeypatch.setattr(bootstrap, "ros_refusal", lambda: "")
    before = [step[:2] for step in getattr(bootstrap, name)()]
    for path in locks.values():
        path.write_text("one==2\n")
    due = {step[0] for step in getattr(bootstrap, name)() if step[:2] not in before}
    assert due == {"steps": {"Python wheels", "ROS 2 wheels"}, "lowest_steps": {"lowest versions"}}[name]


def test_lowest_versions_are_refused_on_a_python_without_their_wheels(bootstrap: ModuleType):
    bootstrap.check_lowest_python((3, 11))
    with pytest.raises(bootstrap.SetupError, match=r"those of Python 3\.11, this is 3\.12: make PYTHON=python3\.11"):
        bootstrap.check_lowest_python((3, 12))


def test_make_starts_from_clean_paths():
    makefile = (ROOT / "Makefile").read_text()
    for line in makefile.splitlines():
        if ("scripts/bootstrap.py" in line and line.startswith("\t")) or "source ws/env.sh" in line:
            assert line.startswith("\t@unset $(ROS_PATHS) && "), line
    assert set(PATHS) < set(makefile.split("ROS_PATHS := ")[1].split("\n")[0].split())
