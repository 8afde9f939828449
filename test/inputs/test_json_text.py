"""JSON is read as its standard has it."""

from __future__ import annotations

import pytest

from sparse_recon.inputs.json_text import NotJson, parse_json


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[" * 100_000, "too deeply"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "'b' is given twice"),
        ("[NaN]", "NaN is no JSON"),
        ("[-Infinity]", "Infinity is no JSON"),
        ("1e999", "beyond float64"),
        ("9" * 5000, "5000 digits"),
        (b"\xff\xfe", "utf-8"),
        ('"\x1b"', "control character"),
        ("[1, 2", "delimiter"),
        ("", "value"),
    ],
)
def test_what_is_no_json_is_refused_in_one_line(text: str | bytes, word: str):
    with pytest.raises(NotJson, match=word) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


def test_values_come_back():
    assert parse_json(b'{"a": [1, 2.5, -3e2, null, true], "b": {"a": "\xc3\xa4"}}') == {
        "a": [1, 2.5, -300.0, None, True],
        "b": {"a": "ä"},
    }
