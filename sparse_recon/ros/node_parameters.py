"""ROS parameters made of the config's fields: declared with text, unit and range, checked together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from sparse_recon.config.parameters import Parameter, parameters
from sparse_recon.errors import ConfigError, clipped
from sparse_recon.ros.node_config import NodeConfig, load_node_config


class NodeParameters:
    """The node's parameters, always a valid set.

    Parameters
    ----------
    node : declares the parameters here.
    may_change : asked for each parameter that a running node does not take; returns why not, or an empty string.
    on_change : called with the new set after it was accepted.

    Attributes
    ----------
    config : the set in force.
    problem : why the values that the node was started with were refused; the defaults hold instead until it is mended.
    """

    def __init__(
        self, node: Node, may_change: Callable[[Parameter], str], on_change: Callable[[NodeConfig], None]
    ) -> None:
        self._known = {p.name: p for p in parameters(NodeConfig)}
        self._may_change, self._on_change = may_change, on_change
        self._refused: dict[str, str] = {}  # sentence by name of each value that could not even be declared
        self._requested = {name: self._declared(node, p) for name, p in self._known.items()}
        self.problem = ""
        self._use(self._requested)
        node.add_on_set_parameters_callback(self._on_set)

    def _declared(self, node: Node, parameter: Parameter) -> Any:
        default = _ros_value(parameter.default)
        try:
            declared = node.declare_parameter(parameter.name, default, descriptor(parameter))
            return _python_value(parameter, declared.value)
        except (InvalidParameterValueException, InvalidParameterTypeException) as error:
            why = clipped(str(error))
            self._refused[parameter.name] = f"parameter {parameter.name} was given a value that is refused: {why}"
            node.declare_parameter(parameter.name, default, descriptor(parameter), ignore_override=True)
            return parameter.default

    def _use(self, requested: dict[str, Any]) -> None:
        """Put the requested values in force, all or, where they contradict each other, none: then defaults hold."""
        self._requested = requested
        try:
            self.config = load_node_config(requested)
            self.problem = next(iter(self._refused.values()), "")
        except ConfigError as error:
            self.config, self.problem = NodeConfig(), error.message

    def _on_set(self, changed: Sequence[RosParameter]) -> SetParametersResult:
        values = {}
        for item in changed:
            parameter = self._known.get(item.name)
            if parameter is None:
                continue  # another's, such as use_sim_time
            if item.type_ == RosParameter.Type.NOT_SET:  # rclpy forgets a parameter that is set to nothing
                return SetParametersResult(successful=False, reason=f"{item.name} cannot be removed; set it to a value")
            if not parameter.live and (reason := self._may_change(parameter)):
                return SetParametersResult(successful=False, reason=reason)
            values[item.name] = _python_value(parameter, item.value)
        requested = {**self._requested, **values}
        try:
            load_node_config(requested)
        except ConfigError as error:
            # Where the values at the start contradict each other, one that is good by itself may mend a part of it.
            if not self.problem or not _good_alone(values):
                return SetParametersResult(successful=False, reason=error.message)
        if values:
            self._refused = {name: text for name, text in self._refused.items() if name not in values}
            self._use(requested)
            self._on_change(self.config)
        return SetParametersResult(successful=True)


def _good_alone(values: dict[str, Any]) -> bool:
    try:
        load_node_config(values)
    except ConfigError:
        return False
    return True


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """Describe a parameter for `ros2 param describe` and graphical tools.

    Types are dynamic so that 2 is accepted for 2.0; `NodeParameters` checks them.
    """
    text = parameter.text + (f" [{parameter.unit}]" if parameter.unit else "")
    described = ParameterDescriptor(name=parameter.name, description=text, dynamic_typing=True)
    if parameter.choices:
        described.additional_constraints = f"one of {', '.join(parameter.choices)}"
    if not parameter.live:
        described.additional_constraints += f"{'; ' * bool(parameter.choices)}only while the node is unconfigured"
    if parameter.low is not None and parameter.high is not None:
        if parameter.kind == "int":
            described.integer_range = [IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high))]
        else:
            low, high = float(parameter.low), float(parameter.high)
            described.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return described


def _ros_value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _python_value(parameter: Parameter, value: Any) -> Any:
    """Return what the config takes: arrays as tuples, nothing else changed."""
    if parameter.kind == "str[]" and value is None:
        return ()  # an empty list has no type in YAML and arrives as nothing, or as an empty array of bytes
    listed = parameter.kind in ("float[3]", "str[]") and isinstance(value, Iterable) and not isinstance(value, str)
    return tuple(value) if listed else value
