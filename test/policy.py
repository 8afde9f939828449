"""An SROS2 policy as sets of fully qualified names, to compare with what a node really has."""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
POLICY = ROOT / "config" / "security" / "completion_node.policy.xml"
LAUNCH = ROOT / "launch" / "completion.launch.py"
LISTS = {
    "topics": ("topic", {"publish": "publish", "subscribe": "subscribe"}),
    "services": ("service", {"reply": "reply", "request": "request"}),
    "actions": ("action", {"execute": "execute", "call": "call"}),
}


@dataclass(frozen=True)
class Policy:
    """What one profile allows, by the words of SROS2; names begin with a slash."""

    namespace: str
    node: str
    publish: frozenset[str]
    subscribe: frozenset[str]
    reply: frozenset[str]
    request: frozenset[str]
    execute: frozenset[str]
    call: frozenset[str]


def read_policy(path: Path) -> Policy:
    """Return the only profile of a policy file; whatever it holds that is not understood is an AssertionError."""
    root = ET.parse(path).getroot()
    assert (root.tag, root.get("version")) == ("policy", "0.2.0")
    (profile,) = root.findall("./enclaves/enclave/profiles/profile")
    namespace, node = str(profile.get("ns")), str(profile.get("node"))
    names: dict[str, list[str]] = {word: [] for _, words in LISTS.values() for word in words}
    for rules in profile:
        tag, words = LISTS[rules.tag]
        assert rules.attrib and set(rules.attrib) <= set(words) and set(rules.attrib.values()) == {"ALLOW"}
        assert len(rules) and {rule.tag for rule in rules} == {tag}
        for word in rules.attrib:
            names[word] += [absolute(str(rule.text), namespace, node) for rule in rules]
    for word, found in names.items():
        assert len(found) == len(set(found)), f"{word} names something twice"
    return Policy(namespace, node, **{word: frozenset(found) for word, found in names.items()})


def absolute(name: str, namespace: str, node: str) -> str:
    """Return a name as the templates of SROS2 expand it."""
    below = namespace.rstrip("/")
    if name.startswith("~"):
        return f"{below}/{node}{name[1:]}"
    return name if name.startswith("/") else f"{below}/{name}"


def launched_inputs() -> dict[str, str]:
    """Return the topic of each input where no argument of completion.launch.py says otherwise."""
    found = {}
    for call in ast.walk(ast.parse(LAUNCH.read_text())):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "DeclareLaunchArgument":
            name = ast.literal_eval(call.args[0])
            if name in ("image", "depth", "camera_info"):
                found[name] = ast.literal_eval(next(k.value for k in call.keywords if k.arg == "default_value"))
    assert len(found) == 3
    return found
