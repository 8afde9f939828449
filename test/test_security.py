"""What comes from outside is data: nothing of it is executed, and what it claims costs nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
SOURCES = sorted([*(ROOT / "sparse_recon").rglob("*.py"), *(ROOT / "launch").glob("*.py"), *SCRIPTS])
# They make objects of bytes by calling what the bytes name.
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
RUNNERS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pty.spawn", "runpy.run_path"}
SAFE_LOADERS = {"SafeLoader", "CSafeLoader", "BaseLoader", "CBaseLoader"}


def offences(text: str) -> Iterator[str]:
    """Yield what in a program could run code that somebody sends."""
    tree = ast.parse(text)
    safe = SAFE_LOADERS | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(dotted(base).rpartition(".")[2] in SAFE_LOADERS for base in node.bases)
    }
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"imports {name}" for name in names if name.partition(".")[0] in UNPICKLERS)
        elif isinstance(node, ast.Call):
            yield from _offences_of_call(node, safe)


def _offences_of_call(call: ast.Call, safe_loaders: set[str]) -> Iterator[str]:
    name = dotted(call.func)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in RUNNERS:
        yield f"calls {name}"
    if name.endswith("import_module") and call.args and "pickle" in ast.unparse(call.args[0]):
        yield f"calls {ast.unparse(call)}"
    if "allow_pickle" in given and ast.unparse(given["allow_pickle"]) != "False":
        yield f"{name} allows pickle"
    if name in ("np.load", "numpy.load", "np.lib.format.read_array") and "allow_pickle" not in given:
        yield f"{name} does not refuse pickle"
    if name.endswith("torch.load") and ast.unparse(given.get("weights_only", ast.Constant(False))) != "True":
        yield "torch.load without weights_only"
    if name in ("yaml.load", "yaml.load_all"):
        loader = given.get("Loader", call.args[1] if len(call.args) > 1 else ast.Constant(None))
        if dotted(loader).rpartition(".")[2] not in safe_loaders:
            yield f"{name} with {ast.unparse(loader)}"
    if name.startswith("yaml.") and ("unsafe" in name or "full_load" in name):
        yield f"calls {name}"
    if "shell" in given and ast.unparse(given["shell"]) != "False":
        yield f"{name} with a shell"


def dotted(node: ast.expr) -> str:
    """Return a name with its dots; an empty string for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_runs_code_that_it_was_sent(path: Path):
    text = path.read_text()
    assert path.suffix == ".py" or text.startswith("#!/usr/bin/env python3")
    assert list(offences(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from shelve import open",
        "import concurrent, marshal",
        "eval('1')",
        "exec(text)",
        "__import__(name)",
        "os.system(command)",
        "importlib.import_module('pickle')",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.lib.format.read_array(stream, allow_pickle=flag)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load(text, Loader=Loader)",
        "yaml.unsafe_load(text)",
        "subprocess.run(line, shell=True)",
        "subprocess.Popen(line, shell=flag)",
    ],
)
def test_what_could_run_such_code_is_found(text: str):
    assert len(list(offences(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "np.load(path, allow_pickle=False)",
        "torch.load(path, weights_only=True)",
        "yaml.safe_load(text)",
        "yaml.load(text, yaml.BaseLoader)",
        "class Loader(yaml.SafeLoader): pass\nyaml.load(text, Loader)",
        "subprocess.run([program], check=True)",
        "re.compile(pattern)",
    ],
)
def test_what_is_harmless_is_not(text: str):
    assert list(offences(text)) == []
