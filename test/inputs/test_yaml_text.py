"""YAML is read as safe YAML has it, at a cost that its length bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from processor_time import processor_time_below

from sparse_recon.inputs.yaml_text import MAX_CHARACTERS, MAX_DEPTH, MAX_NODES, NotYaml, parse_yaml

ANSWER_S = 2.0
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise(f"a{k}" for k in range(60)))
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [*{a}, *{a}, *{a}]}}\n" for a, b in pairwise(f"a{k}" for k in range(40))
)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (LAUGHS, f"more than {MAX_NODES} values, aliases written out"),
        (MERGES, f"more than {MAX_NODES} values"),
        ("[x, " * 100_000, "deep|depth"),
        ("{a: " * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), f"deeper than {MAX_DEPTH}"),
        ("- x\n" * (MAX_NODES + 1), f"more than {MAX_NODES}"),
        ("x" * (MAX_CHARACTERS + 1), f"accepted are {MAX_CHARACTERS}"),
        ("a: &a [*a]", "stands for nothing before it"),
        ("a: *b", "alias"),
        ("a: 1\nb:\n  c: 2\n  d: 3\n  c: 4\n", r"'c' is given twice, in lines 3 and 5"),
        ("a: !!python/object/apply:os.system [true]", "python/object"),
        ("a: !car x", "!car"),
        ("a: 2001-99-99", "month"),
        ("a: !!int words", "words"),
        ("a: !!timestamp words", "."),
        ("a: " + "9" * 5000, "5000 characters"),
        ("a: 1" + ":59" * 300, "901 characters"),
        ("? [a, b]\n: 1", "unhashable"),
        ("a: [1, 2", "line 2"),
        ("a: \x1b[31m", "control characters"),
        ("a: 1\n---\nb: 2", "another document"),
    ],
)
def test_what_is_no_yaml_or_too_much_is_refused_in_one_line(text: str, word: str):
    with processor_time_below(ANSWER_S), pytest.raises(NotYaml, match=word) as caught:
        parse_yaml(text)
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


def test_numbers_are_those_of_yaml_1_2():
    assert parse_yaml("a: 1e-3\nb: 1.5\nc: 0x10\nd: '1'\ne: true\nf:\n") == {
        "a": 0.001, "b": 1.5, "c": 16, "d": "1", "e": True, "f": None,
    }  # fmt: skip


def test_texts_stay_texts_where_that_is_asked_for():
    assert parse_yaml("a: 1\nb: 2001-99-99\nc: [true]", texts_only=True) == {"a": "1", "b": "2001-99-99", "c": ["true"]}


def test_aliases_and_merges_that_people_write_are_read():
    found = parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: *a, y: 4}\nd: [*a, *a]\n")
    assert found["b"] == {"x": 1, "y": 3} and found["c"] == {"x": 1, "y": 4} and found["d"] == [found["a"]] * 2


def test_nothing_is_nothing():
    assert parse_yaml("") is None and parse_yaml("# words\n") is None
