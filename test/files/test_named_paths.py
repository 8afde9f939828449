"""Paths as people type them."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.files.named_paths import path_of


def test_homes_are_filled_in(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    root = pwd.getpwuid(0)
    assert path_of("~/out") == Path("/home/me/out")
    assert path_of(f"~{root.pw_name}/out") == Path(root.pw_dir) / "out"
    assert path_of("out/~a/./b") == Path("out/~a/b")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("\ud800", "no character"),
        ("~nobody-of-this-name", "home"),
        ("~nobody-of-this-name/x", "home"),
        ("out/" + "ä" * 128, "256"),
        ("d/" * 2000, "4000 bytes"),
        ("~" + "x" * 250, "home"),
    ],
)
def test_what_can_be_no_path_is_refused_in_a_short_sentence(text: str, word: str):
    with pytest.raises(InputError, match=word) as caught:
        path_of(text)
    assert caught.value.code is ErrorCode.USAGE and len(caught.value.message) < 600


@pytest.mark.parametrize("text", ["f" * 255, "/".join(["d" * 200] * 19)])
def test_what_a_file_system_takes_is_taken(text: str):
    assert str(path_of(text)) == text
