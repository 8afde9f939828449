"""Python in a process of its own: it finds modules where this process does, but never in the current folder.

Whatever lies in the folder where a command is called would otherwise be run under the name of a library. `-P` of Python
3.11 alone would not do: `PYTHONPATH` and the path of this process may hold that folder too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

_SIGNAL_ON_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG

# The package is named by its own folder, as the one above it may be the current one.
_START = """
import sys
sys.path[:] = {paths!r}
from importlib import util
spec = util.spec_from_file_location("sparse_recon", {init!r}, submodule_search_locations={folders!r})
package = sys.modules["sparse_recon"] = util.module_from_spec(spec)
spec.loader.exec_module(package)
{statements}
"""


def python_child(statements: str, *arguments: str) -> Sequence[str]:
    """Return the command of a child.

    Parameters
    ----------
    statements : what it runs; `sparse_recon` is the package of this process.
    arguments : its `sys.argv[1:]`.
    """
    package = sys.modules["sparse_recon"]  # importing it from here would open a door to what it exports
    folders = [os.path.abspath(folder) for folder in package.__path__]
    init = os.path.abspath(str(package.__file__))
    code = _START.format(paths=safe_path(), init=init, folders=folders, statements=statements)
    return [sys.executable, "-I", "-c", code, *arguments]


def safe_path() -> list[str]:
    """Return the folders in which this process looks for modules, without the current one."""
    current = os.path.realpath(os.curdir)
    return [os.path.abspath(entry) for entry in sys.path if entry and os.path.realpath(entry) != current]


def end_with_parent() -> None:
    """Let a child get SIGTERM when the thread that started it ends, however it does: a `preexec_fn`; Linux."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SIGNAL_ON_PARENTS_DEATH, signal.SIGTERM)
