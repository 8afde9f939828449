"""The doors between the rooms stay shut, and the core imports without heavy or optional libraries."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.config.models import MODELS
from sparse_recon.lab.simulate.recording import tabletop_recording

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
OPTIONAL = ("rclpy", "torch", "open3d", "diffusers", "transformers", "gsplat", "rerun", "viser", "matplotlib", "coacd")
CORE = (
    "config",
    "errors",
    "inputs",
    "types",
    "requests",
    "completion",
    "messages",
    "machine",
    "geometry",
    "frames",
    "observe",
    "evidence",
    "complete",
    "fuse",
)

# Networks are classes of PyTorch's own: only what loads a model imports these.
NETWORKS = (
    "sparse_recon.machine.processor",
    *(
        f"sparse_recon.complete.compact.{name}"
        for name in ("conditioning", "flow", "network", "patches", "sampling", "weights")
    ),
    *(f"sparse_recon.complete.latent.{name}" for name in ("clip_pixels", "networks", "perceptual", "view_sampler")),
    *(
        f"sparse_recon.complete.sparsefusion.{name}"
        for name in (
            *("eft", "eft_backbone", "eft_layers", "eft_rays", "model", "sampling", "target"),
            *("vldm", "vldm_attention", "vldm_blocks", "vldm_samplers", "vldm_schedule"),
        )
    ),
    *(
        f"sparse_recon.complete.syncdreamer.{name}"
        for name in ("depth_attention", "frustum", "model", "network", "sampling", "unet3d", "volume")
    ),
    *(f"sparse_recon.complete.zero123.{name}" for name in ("model", "sampling", "score")),
    *(f"sparse_recon.observe.segmenter.{name}" for name in ("features", "network")),
)

# Radiance fields are too: only what fits or distils one imports these.
RADIANCE = tuple(
    f"sparse_recon.fuse.radiance.{name}"
    for name in (
        *("depth", "distill", "distill_target", "field", "fit", "pixels", "rays", "render", "terms", "viewpoints"),
    )
)

IMPORT_ALL = """
import importlib, pkgutil, sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocked())
import sparse_recon
for room in {rooms!r}:
    module = importlib.import_module("sparse_recon." + room)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + "."):
        if found.name not in {networks!r}:
            importlib.import_module(found.name)
print(" ".join(sorted(name for name in sys.modules if name.startswith("sparse_recon"))))
"""


REPLAY = """
import sys
from sparse_recon.cli.main import main
code = main(["replay", {bag!r}, "--out", {out!r}, "--no-picture", "--set", "evidence.grid=32",
             "--set", "evidence.fine_grid=48"])
print(code, *{{name.partition(".")[0] for name in sys.modules}})
"""


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_imports_keep_to_the_doors():
    pytest.importorskip("importlinter", reason="import-linter is not installed: pip install .[dev]")
    command = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_doors_are_the_same_words_in_contracts_and_documentation(page):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    block = (ROOT / page).read_text().split("<!-- doors -->")[1].split("<!-- end -->")[0]
    assert [line.removeprefix("- ") for line in block.strip().splitlines()] == [c["name"] for c in contracts]


def test_the_contract_between_models_names_every_model():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = next(c["modules"] for c in contracts if c["name"] == "No model imports another.")
    assert sorted(named) == sorted(record.completer.partition(":")[0].rsplit(".completer")[0] for record in MODELS)


def test_every_room_stands_in_the_plan():
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.split("| Room | Holds |")[1].split("\n\n")[0]
    planned = set(re.findall(r"`(\w+)/?`", "".join(line.split("|")[1] for line in table.splitlines()[2:] if line)))
    found = {path.stem for path in (ROOT / "sparse_recon").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert planned == found - {"__init__", "__pycache__"}


def test_core_imports_without_optional_libraries():
    rooms = (*CORE, "session", "lab.simulate")
    loaded = run_python(IMPORT_ALL.format(blocked=OPTIONAL, rooms=rooms, networks=(*NETWORKS, *RADIANCE))).split()
    assert {f"sparse_recon.{room}" for room in CORE} <= set(loaded)


def test_import_of_the_package_is_light():
    loaded = set(run_python("import sys, sparse_recon; print(*{n.partition('.')[0] for n in sys.modules})").split())
    heavy = {*OPTIONAL, "scipy", "cv2", "rosbags", "manifold3d", "pytransform3d", "trimesh"}
    assert not loaded & heavy


def test_a_completion_from_frames_to_mesh_loads_neither_open3d_nor_trimesh(tmp_path: Path):
    bag, out = tmp_path / "bag", tmp_path / "out"
    write_frames(tabletop_recording(7, frames=2).frames, bag, world_frame="world")
    code, *loaded = run_python(REPLAY.format(bag=str(bag), out=str(out))).split()
    assert code == "0" and list(out.glob("object_*/mesh.glb"))
    assert not set(loaded) & {"open3d", "trimesh"}


def test_import_of_the_core_is_light():
    code = "import sys, sparse_recon.session.session; print(*{n.partition('.')[0] for n in sys.modules})"
    loaded = set(run_python(code).split())
    assert not loaded & {*OPTIONAL, "cv2", "rosbags", "trimesh", "skimage"}
