"""Names of parameters in files of weights: those of the first release, whatever the modules are called since.

Every file of a network, shipped, trained or saved for resuming, holds these names, so that older and newer versions of
the package read each other's files.
"""

from __future__ import annotations

# Module attribute -> name in files. Both are whole parts of a dotted name.
_FILE_PARTS = {
    "stem": "enter",
    "embedding": "told",
    "positional_embedding": "place",
    "out_projection": "merge",
    "up_projection": "rise",
    "down_projection": "fall",
}
_MODULE_PARTS = {part: attribute for attribute, part in _FILE_PARTS.items()}


def file_name(parameter: str) -> str:
    """Return the name in a file of a network's parameter, such as `blocks.0.merge.weight`."""
    return ".".join(_FILE_PARTS.get(part, part) for part in parameter.split("."))


def parameter_name(file_name: str) -> str:
    """Return the name in `CompactNet.state_dict` of a tensor in a file, such as `blocks.0.out_projection.weight`."""
    return ".".join(_MODULE_PARTS.get(part, part) for part in file_name.split("."))
