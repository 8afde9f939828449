"""What can be trained on pictures, by name; imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from sparse_recon.config.parameters import nested, replaced
from sparse_recon.lab.training.views.config import ViewRunConfig
from sparse_recon.lab.training.views.view_run import ViewRun

# A new system is one module beside this one and one line here: name -> config and run, by module:class.
_HERE = "sparse_recon.lab.training.views"
SYSTEMS: dict[str, tuple[str, str]] = {
    "autoencoder": (f"{_HERE}.config:AutoencoderConfig", f"{_HERE}.autoencoder:AutoencoderRun"),
    "sparsefusion": (f"{_HERE}.config:SparseFusionRunConfig", f"{_HERE}.sparsefusion:SparseFusionRun"),
    "zero123": (f"{_HERE}.config:UNetRunConfig", f"{_HERE}.zero123:Zero123Run"),
    "syncdreamer": (f"{_HERE}.config:SyncDreamerConfig", f"{_HERE}.syncdreamer:SyncDreamerRun"),
}


def config_of(system: str, values: Mapping[str, Any], base: ViewRunConfig | None = None) -> ViewRunConfig:
    """Make a system's config from nested or dotted values, as YAML files give them.

    Raises
    ------
    ConfigError
        If a name is unknown, or a value has the wrong type or lies outside its range. Nothing is repaired.
    """
    return cast(ViewRunConfig, replaced(base or _named(SYSTEMS[system][0])(), nested(values)))


def run_of(system: str, config: ViewRunConfig, data: Path, out: Path, resume: bool) -> ViewRun:
    """Return a run of a system; see `ViewRun` for the errors."""
    return cast(ViewRun, _named(SYSTEMS[system][1])(config, data, out, resume))


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
