"""YAML of bounded cost: the one loader of all YAML that is read.

What is written is counted before anything is made of it, and an alias counts as all that it stands for, so that a few
lines cannot grow beyond what is accepted.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from sparse_recon.errors import clipped, quoted

MAX_CHARACTERS = 2_000_000
MAX_NODES, MAX_DEPTH = 200_000, 40
_MAX_DIGITS = 400  # of a number; Python takes quadratic time for more


class NotYaml(ValueError):
    """The text is no YAML, or none that is accepted; the message is one line, with the place."""


def parse_yaml(text: str, *, texts_only: bool = False) -> Any:
    """Return what a YAML document holds: None, texts, numbers, lists and dictionaries, as safe YAML has them.

    Numbers are those of YAML 1.2: PyYAML takes 1e-3, which has no point, for a string.

    Parameters
    ----------
    texts_only : leave every scalar the text that it is.

    Raises
    ------
    NotYaml
        If it is no YAML, names types of its own, repeats a key, is nested deeper than `MAX_DEPTH`, holds more than
        `MAX_NODES` values when all aliases are written out, or a value that its type has not.
    """
    import yaml

    if len(text) > MAX_CHARACTERS:
        raise NotYaml(f"it has {len(text)} characters, accepted are {MAX_CHARACTERS}")
    try:
        _count(yaml.parse(text, _loaders()[texts_only]))
        loader = _loaders()[texts_only](text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_keys(node)
        return loader.construct_document(node)
    except NotYaml:
        raise
    except yaml.MarkedYAMLError as error:
        raise NotYaml(f"{clipped(error.problem or error.context or 'it cannot be parsed')}{_place(error)}") from None
    except RecursionError:
        raise NotYaml("it is nested too deeply") from None
    except Exception as error:  # constructors raise whatever Python's types do
        raise NotYaml(clipped(str(error).partition("\n")[0]) or type(error).__name__) from None


def _place(error: Any) -> str:
    mark = error.problem_mark or error.context_mark
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""


def _count(events: Any) -> None:
    """Refuse what is too deep, or too much once every alias is written out."""
    import yaml

    total, depth = 0, 0
    begun: list[tuple[str | None, int]] = []  # anchor of each open list or dictionary, and what was counted before it
    sizes: dict[str, int] = {}
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                line = event.start_mark.line + 1
                raise NotYaml(f"the alias {clipped(event.anchor)} stands for nothing before it (line {line})")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            begun.append((event.anchor, total))
            total += 1
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = begun.pop()
            depth -= 1
            if anchor:
                sizes[anchor] = total - before
        if depth > MAX_DEPTH:
            raise NotYaml(f"it is nested deeper than {MAX_DEPTH} levels (line {event.start_mark.line + 1})")
        if total > MAX_NODES:
            raise NotYaml(f"it holds more than {MAX_NODES} values, aliases written out")


@cache
def _loaders() -> dict[bool, Any]:
    """Return the loaders of values and of texts alone, the fastest that there are."""
    import yaml

    safe: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    base: Any = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader

    class Values(safe):
        pass

    # The table of constructors names functions, not methods.
    Values.add_constructor("tag:yaml.org,2002:int", lambda self, node: self.construct_yaml_int(_of_number(node)))
    Values.add_constructor("tag:yaml.org,2002:float", lambda self, node: self.construct_yaml_float(_of_number(node)))
    number = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")
    Values.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    return {False: Values, True: base}


def _of_number(node: Any) -> Any:
    import yaml

    if isinstance(node, yaml.ScalarNode) and len(node.value) > _MAX_DIGITS:
        raise yaml.constructor.ConstructorError(
            None, None, f"a number of {len(node.value)} characters, accepted are {_MAX_DIGITS}", node.start_mark
        )
    return node


def _check_keys(root: Any) -> None:
    """Refuse a mapping that has a key twice: YAML forbids it, and PyYAML lets the last one win."""
    import yaml

    waiting, known = [root], {id(root)}  # what aliases stand for is looked at once
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.ScalarNode):
            continue
        mapping = isinstance(node, yaml.MappingNode)
        seen: dict[tuple[str, str], int] = {}
        for key in (pair[0] for pair in node.value) if mapping else ():
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            line = key.start_mark.line + 1
            if (key.tag, key.value) in seen:
                first = seen[key.tag, key.value]
                raise NotYaml(f"the name {quoted(key.value)} is given twice, in lines {first} and {line}; keep one")
            seen[key.tag, key.value] = line
        inside = [part for pair in node.value for part in pair] if mapping else node.value
        new = [part for part in inside if id(part) not in known]
        known.update(map(id, new))
        waiting += new
