"""What a parameter is: a documented field of a frozen dataclass, checked when it is set and never repaired."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from sparse_recon.errors import ConfigError, clipped, quoted

_MOST_DOTS = 8  # in the name of a parameter


def doc(
    text: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    live: bool = True,
    choices: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Metadata of a parameter: what it does, unit, closed range or choices, and whether a running node takes it."""
    return {"text": text, "unit": unit, "low": low, "high": high, "live": live, "choices": choices}


class Checked:
    """Base of parameter groups: every value is checked when the group is made, and never repaired."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for f in fields(self):  # type: ignore[arg-type]
            if f.metadata:
                object.__setattr__(self, f.name, _checked(f.name, getattr(self, f.name), hints[f.name], f.metadata))


@dataclass(frozen=True)
class Parameter:
    """One parameter as tables, descriptors and help show it."""

    name: str
    kind: str  # bool, int, float, str, float[3], int[] or str[]
    default: Any
    text: str
    unit: str
    low: float | None
    high: float | None
    live: bool
    choices: tuple[str, ...] = ()


def parameters(config_type: type) -> Iterator[Parameter]:
    """Yield every parameter of a config type, groups as `group.name`, in the order of definition."""
    hints = typing.get_type_hints(config_type)
    for f in fields(config_type):
        if dataclasses.is_dataclass(hints[f.name]):
            for p in parameters(typing.cast(type, hints[f.name])):
                yield dataclasses.replace(p, name=f"{f.name}.{p.name}")
        elif f.metadata:
            yield Parameter(f.name, _kind(hints[f.name]), f.default, **f.metadata)


def highest(config_type: type, name: str) -> float:
    """Return the upper end of a parameter's range."""
    return float(next(p for p in parameters(config_type) if p.name == name).high or 0.0)


def needs_restart(before: Any, after: Any) -> bool:
    """Return whether two groups of one type differ in a parameter that nothing takes while it runs."""
    return any(
        getattr(before, f.name) != getattr(after, f.name)
        for f in fields(before)
        if f.metadata and not f.metadata["live"]
    )


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is tuple:
        return {str: "str[]", int: "int[]"}.get(typing.get_args(hint)[0], "float[3]")
    return str(hint.__name__)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted names, as ROS parameters have them, as nested groups, as YAML has them."""
    groups: dict[str, Any] = {}
    for name, value in values.items():
        if str(name).count(".") > _MOST_DOTS:
            raise ConfigError(f"a parameter is named {clipped(str(name))}, which has more than {_MOST_DOTS} groups")
        group, _, rest = str(name).partition(".")
        if rest or isinstance(value, Mapping):
            inner = nested({rest: value} if rest else value)
            if not isinstance(groups.setdefault(group, {}), dict):
                raise ConfigError(f"{clipped(group)} is given both as a value and as a group; give one of them")
            groups[group].update(inner)
        else:
            groups[group] = value
    return groups


def replaced(config: Any, values: Mapping[str, Any], prefix: str = "") -> Any:
    """Return a config with nested `values` in place of its own; a ConfigError gives the full name of a wrong one."""
    known = {f.name for f in fields(config)}
    changes = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(
                f"unknown parameter {prefix}{clipped(str(name))}; {prefix[:-1] or 'the top level'} accepts "
                f"{', '.join(sorted(known))}"
            )
        current = getattr(config, name)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"{prefix}{name} is a group of parameters and takes names with values, got {quoted(value)}"
                )
            value = replaced(current, value, f"{prefix}{name}.")
        changes[name] = value
    try:
        return dataclasses.replace(config, **changes)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error.message}") from None


def _checked(name: str, value: Any, hint: Any, meta: types.MappingProxyType[Any, Any]) -> Any:
    if hint is float and (number := _number(value)) is not None:
        value = number
    if _kind(hint) == "str[]":
        if not isinstance(value, (tuple, list)) or not all(isinstance(v, str) for v in value):
            raise ConfigError(f"{name} must be a list of strings, got {quoted(value)}")
        if meta["choices"] and (unknown := [v for v in value if v not in meta["choices"]]):
            raise ConfigError(f"{name} holds {quoted(unknown)}, accepted are {', '.join(meta['choices'])}")
        return tuple(value)
    if _kind(hint) == "int[]":
        return _checked_integers(name, value, meta)
    if typing.get_origin(hint) is tuple:
        numbers = [_number(v) for v in value] if isinstance(value, (tuple, list)) else []
        if len(numbers) != 3 or not all(v is not None and math.isfinite(v) for v in numbers):
            raise ConfigError(f"{name} must be three finite numbers, got {quoted(value)}")
        return tuple(numbers)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{name} must be of type {hint.__name__}, got {quoted(value)}")
    if meta["choices"] and value not in meta["choices"]:
        raise ConfigError(f"{name} is {quoted(value)}, accepted are {', '.join(meta['choices'])}")
    low, high = meta["low"], meta["high"]
    if low is not None and not low <= value <= high:
        unit = f" {meta['unit']}" if meta["unit"] else ""
        raise ConfigError(f"{name} is {quoted(value)}{unit}, accepted is {low:g} to {high:g}{unit}")
    return value


def _checked_integers(name: str, value: Any, meta: types.MappingProxyType[Any, Any]) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or not all(isinstance(v, int) and not isinstance(v, bool) for v in value):
        raise ConfigError(f"{name} must be a list of whole numbers, got {quoted(value)}")
    if meta["low"] is not None and not all(meta["low"] <= v <= meta["high"] for v in value):
        raise ConfigError(f"{name} is {quoted(value)}, accepted is {meta['low']:g} to {meta['high']:g} each")
    return tuple(value)


def _number(value: Any) -> float | None:
    """Return an int or float as a float, infinite where it is too large for one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
