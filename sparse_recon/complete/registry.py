"""Completers by name, imported when they are first asked for."""

from __future__ import annotations

import importlib
from typing import Any

from sparse_recon.complete.base import ViewCompleter
from sparse_recon.errors import ErrorCode, ModelError, quoted

# A new model is one folder beside this file and one line here: name -> module:class.
COMPLETERS: dict[str, str] = {
    "carve": "sparse_recon.complete.carve:CarveCompleter",
    "compact": "sparse_recon.complete.compact:CompactCompleter",
    "zero123": "sparse_recon.complete.zero123:Zero123Completer",
}


def check_known(name: str) -> None:
    """Raise ModelError MODEL_UNKNOWN if no completer has that name."""
    if name not in COMPLETERS:
        raise ModelError(
            ErrorCode.MODEL_UNKNOWN, f"no model is named {quoted(name)}; accepted are {', '.join(COMPLETERS)}"
        )


def create(name: str) -> ViewCompleter:
    """Return a new completer.

    Raises
    ------
    ModelError
        If no completer has that name.
    """
    check_known(name)
    module, _, cls = COMPLETERS[name].partition(":")
    return getattr(importlib.import_module(module), cls)()


# Models whose weights are published elsewhere: name -> module:function that returns their layout.
PUBLISHED: dict[str, str] = {
    "syncdreamer": "sparse_recon.complete.syncdreamer.weights:layout",
    "zero123": "sparse_recon.complete.zero123.weights:layout",
}


def published_layout(name: str) -> Any:
    """Return the `complete.latent.layout.Layout` of a model's weights.

    Raises
    ------
    ModelError
        MODEL_UNKNOWN if no model has that name, or its weights come with the package.
    """
    if name not in PUBLISHED:
        raise ModelError(
            ErrorCode.MODEL_UNKNOWN,
            f"there are no published weights for {quoted(name)}; accepted are {', '.join(PUBLISHED)}",
        )
    module, _, function = PUBLISHED[name].partition(":")
    return getattr(importlib.import_module(module), function)()
