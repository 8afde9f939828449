"""Parameter files: the YAML that ROS nodes are started with, or names and values alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sparse_recon.config.parameters import nested
from sparse_recon.errors import ConfigError, clipped
from sparse_recon.inputs.files import read_bytes
from sparse_recon.inputs.yaml_text import MAX_CHARACTERS, parse_yaml

NODE_NAME = "completion_node"
_VALUES = "ros__parameters"
_OF_EVERY_NODE = ("use_sim_time", "qos_overrides", "start_type_description_service")


def read_parameter_file(path: Path) -> dict[str, Any]:
    """Return the parameters of a YAML file by nested or dotted names.

    Accepted are names and values alone, and the form of `ros2 run --params-file`, of which the sections hold that are
    for every node or for one named `completion_node`, later ones winning; what rclpy itself reads is left out.

    Raises
    ------
    FileError
        INPUT_MISSING if it is no file, cannot be read, or is too large.
    ConfigError
        If it is not YAML, holds no names and values, or none for this node.
    """
    data = read_bytes(path, "a YAML file of parameters", MAX_CHARACTERS)
    try:
        document = parse_yaml(data.decode("utf-8"))
    except ValueError as error:  # of YAML, or of its encoding
        raise ConfigError(f"{path} is not YAML: {clipped(str(error))}") from error
    if document is not None and not isinstance(document, dict):
        raise ConfigError(f"{path} must hold names and values, such as 'seed: 1', got {type(document).__name__}")
    sections = list(_sections(document or {}))
    if not sections:
        return document or {}
    ours = [values for name, values in sections if name.rpartition("/")[2] in ("*", "**", NODE_NAME)]
    if not ours:
        names = clipped(", ".join(name for name, _ in sections))
        raise ConfigError(f"{path} holds parameters of {names}; put those of this package under /** or {NODE_NAME}")
    if not all(isinstance(values, Mapping) for values in ours):
        raise ConfigError(f"{path} must hold names and values under {_VALUES}, such as 'seed: 1'")
    merged: dict[str, Any] = {}
    for values in ours:
        _merge(merged, nested(values))
    return {name: value for name, value in merged.items() if name not in _OF_EVERY_NODE}


def _sections(document: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (node name, values) of a ROS parameter file, where namespaces may be nested."""
    for key, value in document.items():
        if key == _VALUES:
            yield name, value if value is not None else {}
        elif isinstance(value, Mapping):
            yield from _sections(value, f"{name}/{key}" if name else str(key))


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value
