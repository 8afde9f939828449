"""Completers by name, imported when they are first asked for; `config.models` has their records."""

from __future__ import annotations

from typing import Any

from sparse_recon.complete.base import ViewCompleter
from sparse_recon.config.models import MODELS, named
from sparse_recon.errors import ErrorCode, ModelError, quoted

# Name -> module:class.
COMPLETERS: dict[str, str] = {record.name: record.completer for record in MODELS}
# Models whose weights are published elsewhere: name -> module:function that returns their layout.
PUBLISHED: dict[str, str] = {record.name: record.layout for record in MODELS if record.layout}


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
    completer: ViewCompleter = named(COMPLETERS[name])()
    return completer


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
    return named(PUBLISHED[name])()
