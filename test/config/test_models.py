"""A record is all that a model needs to be known everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sparse_recon.complete.base import ViewCompleter
from sparse_recon.complete.registry import COMPLETERS, PUBLISHED, create
from sparse_recon.config.models import MODELS, ModelRecord, named
from sparse_recon.config.parameters import Checked, parameters
from sparse_recon.config.session_config import SessionConfig

ROOT = Path(__file__).parents[2]

NEW_MODEL = """
from dataclasses import dataclass, field
from sparse_recon.config.parameters import Checked, doc

@dataclass(frozen=True)
class EchoConfig(Checked):
    '''Says again what it sees.'''
    gain: float = field(default=1.0, metadata=doc("Loudness.", low=0.0, high=9.0))
"""
NEW_COMPLETER = """
from sparse_recon.complete.base import ViewCompleter
class Echo(ViewCompleter):
    name = "echo"
    def complete(self, task): ...
def layout(): return "a layout"
"""
ADD_IT = """
import json, sys
from sparse_recon.config import models
names = ("echo_model:Echo", "echo_parameters:EchoConfig", "docs/echo.md", "echo_model:layout")
models.MODELS += (models.ModelRecord("echo", *names),)
from sparse_recon.cli.main import main
from sparse_recon.complete.registry import create, published_layout
from sparse_recon.config.parameters import parameters
from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.lab.evaluate.methods import method_names
sys.path.insert(0, "scripts")
from tables import model_table
config = load_config({"model": "echo", "echo.gain": 2})
print(json.dumps([
    config.echo.gain, create("echo").name, published_layout("echo"), "echo" in method_names(),
    "echo.gain" in [p.name for p in parameters(SessionConfig)], "Says again" in model_table()]))
sys.argv[0] = "sparse_recon"
try:
    main(["weights", "--help"])
except SystemExit:
    pass
"""


@pytest.mark.parametrize("record", MODELS, ids=lambda record: record.name)
def test_what_a_record_names_is_there(record: ModelRecord):
    group = named(record.parameters)
    assert issubclass(group, Checked) and type(SessionConfig().of(group)) is group
    assert getattr(SessionConfig(), record.name) == group()
    completer = create(record.name)
    assert isinstance(completer, ViewCompleter) and completer.name == record.name
    assert (ROOT / record.card).is_file()
    assert COMPLETERS[record.name] == record.completer
    if record.layout:
        pytest.importorskip("torch")
        assert named(PUBLISHED[record.name])().model == record.name
        assert f"{record.name}.weights" in [p.name for p in parameters(SessionConfig)]


def test_a_new_model_is_one_folder_and_one_record(tmp_path: Path):
    (tmp_path / "echo_parameters.py").write_text(NEW_MODEL)
    (tmp_path / "echo_model.py").write_text(NEW_COMPLETER)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{ADD_IT}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, _, help_text = done.stdout.partition("\n")
    assert json.loads(first) == [2.0, "echo", "a layout", True, True, True]
    assert "{echo," in help_text


def test_parameters_of_no_model_are_refused():
    class Foreign(Checked):
        pass

    with pytest.raises(TypeError, match="no parameters of type Foreign"):
        SessionConfig().of(Foreign)
