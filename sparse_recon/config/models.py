"""The completion models there are: one record each, from which all that is said of models is made.

What a record names is imported when it is first asked for. The parameters of a model are a group of `SessionConfig` of
its name, and with that on the command line, in YAML files, in the node and in the tables of docs/.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelRecord:
    """One model; classes and functions as `module:name`.

    Attributes
    ----------
    name : as in the parameter `model`.
    completer : class, a `complete.base.ViewCompleter` of that name.
    parameters : frozen dataclass. Its module imports nothing of ours above `config`.
    card : page on the model, from the root of the repository.
    layout : function that returns the `complete.latent.layout.Layout` of weights that are published elsewhere; empty:
        the model needs none, or they ship with the package.
    """

    name: str
    completer: str
    parameters: str
    card: str
    layout: str = ""


# A new model is one folder in complete/ and one record here.
MODELS: tuple[ModelRecord, ...] = (
    ModelRecord(
        "carve",
        completer="sparse_recon.complete.carve:CarveCompleter",
        parameters="sparse_recon.config.model_config:CarveConfig",
        card="docs/performance.md",
    ),
    ModelRecord(
        "compact",
        completer="sparse_recon.complete.compact:CompactCompleter",
        parameters="sparse_recon.config.model_config:CompactConfig",
        card="docs/default-model.md",
    ),
    ModelRecord(
        "sparsefusion",
        completer="sparse_recon.complete.sparsefusion.completer:SparseFusionCompleter",
        parameters="sparse_recon.complete.sparsefusion.parameters:SparseFusionConfig",
        card="docs/sparsefusion.md",
        layout="sparse_recon.complete.sparsefusion.weights:layout",
    ),
    ModelRecord(
        "syncdreamer",
        completer="sparse_recon.complete.syncdreamer.completer:SyncDreamerCompleter",
        parameters="sparse_recon.complete.syncdreamer.parameters:SyncDreamerConfig",
        card="docs/syncdreamer.md",
        layout="sparse_recon.complete.syncdreamer.weights:layout",
    ),
    ModelRecord(
        "zero123",
        completer="sparse_recon.complete.zero123.completer:Zero123Completer",
        parameters="sparse_recon.complete.zero123.parameters:Zero123Config",
        card="docs/zero123.md",
        layout="sparse_recon.complete.zero123.weights:layout",
    ),
)


def named(path: str) -> Any:
    """Return what `module:name` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
