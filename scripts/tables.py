#!/usr/bin/env python3
"""Write the tables in README.md and docs/ from the definitions they describe; `--check` only compares.

A block between `<!-- table:name -->` and `<!-- end -->` in any of these files is made anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from sparse_recon.bags.writer import NODE
from sparse_recon.config.models import MODELS, named
from sparse_recon.config.parameters import Parameter, parameters
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.messages.fields import definition_files
from sparse_recon.ros.input_topics import INPUT_TOPICS
from sparse_recon.ros.node_config import NodeConfig
from sparse_recon.ros.output_topics import NODE_TOPICS

PARAMETER = ("Parameter", "Type", "Default", "Range", "Meaning")
ROOT = Path(__file__).resolve().parents[1]


def pages() -> list[Path]:
    """Return every file that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def render(text: str) -> str:
    """Return the text with every block between `<!-- table:name -->` and `<!-- end -->` made anew."""

    def block(match: re.Match[str]) -> str:
        if match[1] not in TABLES:
            raise SystemExit(f"there is no table {match[1]!r}; there are {', '.join(TABLES)}")
        return f"<!-- table:{match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table:(\w+) -->\n.*?<!-- end -->", block, text, flags=re.DOTALL)


def interface_table() -> str:
    """Every interface with the first sentence of its file; its links are those of a page in docs/."""
    rows = []
    for name, path in definition_files().items():
        sentence = path.read_text().split("\n", 1)[0].removeprefix("# ")
        rows.append((f"[`{name}`](../{name.removeprefix('sparse_recon/')}.{path.suffix[1:]})", sentence))
    return table(("Interface", "What it carries"), rows)


def topic_table() -> str:
    """The topics on which the node publishes, and which of them the bag of `sparse_recon replay` has."""
    rows = (
        (f"`{NODE}/{name}`", f"`{topic.msgtype}`", "yes" if topic.in_bag else "", topic.text)
        for name, topic in NODE_TOPICS.items()
    )
    return table(("Topic", "Type", "In the bag", "What it carries"), rows)


def input_table() -> str:
    """The topics to which the node subscribes."""
    rows = (
        (f"`{topic.name}`", f"`{topic.msgtype}`", f"`{topic.needs}`" if topic.needs else "", topic.text)
        for topic in INPUT_TOPICS.values()
    )
    return table(("Topic", "Type", "With parameter", "What it carries"), rows)


def parameter_table() -> str:
    """Every parameter of a session with default, unit, range and meaning."""
    return table(PARAMETER, (parameter_row(parameter) for parameter in parameters(SessionConfig)))


def node_parameter_table() -> str:
    """Every parameter that only the node has."""
    known = {parameter.name for parameter in parameters(SessionConfig)}
    return table(PARAMETER, (parameter_row(p) for p in parameters(NodeConfig) if p.name not in known))


def parameter_row(parameter: Parameter) -> tuple[str, ...]:
    """One line of the parameter table."""
    unit = f" {parameter.unit}" if parameter.unit else ""
    limits = ", ".join(f"`{choice}`" for choice in parameter.choices)
    if parameter.low is not None:
        limits = f"{number(parameter.low)} to {number(parameter.high)}{unit}"
    value = parameter.default
    shown = f"{value:g}{unit}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else value
    return (
        f"`{parameter.name}`",
        parameter.kind,
        f"`{shown}`" if shown not in ("", ()) else "empty",
        limits,
        parameter.text,
    )


def number(value: float | None) -> str:
    """Write a bound: whole numbers in full."""
    return "" if value is None else str(int(value)) if float(value).is_integer() else f"{value:g}"


def model_table() -> str:
    """Every completion model; its links are those of a page in docs/."""
    rows = []
    for record in MODELS:
        sentence = (named(record.parameters).__doc__ or "").partition("\n")[0].rstrip(".")
        page = record.card.removeprefix("docs/")
        weights = f"published elsewhere: `{record.name}.weights`" if record.layout else "with the package, or none"
        rows.append((f"[`{record.name}`]({page})", sentence, weights))
    return table(("Model", "What it is", "Weights"), rows)


def code_table() -> str:
    """Every error code with the sentence of the action definition."""
    text = definition_files()["sparse_recon/action/CompleteObject"].read_text()
    found = re.findall(r"^uint16 (\w+)=(\d+)\s+# (.+)$", text, re.MULTILINE)
    return table(("Code", "Name", "Meaning"), ((value, f"`{name}`", sentence) for name, value, sentence in found))


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Lay out rows as a Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in map(str, line)) + " |" for line in lines)


TABLES: dict[str, Callable[[], str]] = {
    "interfaces": interface_table,
    "inputs": input_table,
    "parameters": parameter_table,
    "node_parameters": node_parameter_table,
    "topics": topic_table,
    "codes": code_table,
    "models": model_table,
}


def main() -> int:
    """Rewrite the pages, or with `--check` name those that are not up to date and return 1."""
    old = {path: path.read_text(encoding="utf-8") for path in pages()}
    changed = {path: new for path, text in old.items() if (new := render(text)) != text}
    if "--check" in sys.argv[1:]:
        for path in changed:
            print(f"{path.relative_to(ROOT)}: its tables differ; run: python scripts/tables.py", file=sys.stderr)
        return int(bool(changed))
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
