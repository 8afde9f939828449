"""Sentences that repeat, in the log of the node."""

from __future__ import annotations

from sparse_recon.ros.log import RepeatedSentences


def test_a_sentence_is_said_once_and_then_every_minute_with_its_repeats():
    clock = [100.0]
    repeated = RepeatedSentences(lambda: clock[0])
    said = []
    for _ in range(45):
        said.append(repeated.due("no weights"))
        clock[0] += 3.0
    shown = {3 * i: text for i, text in enumerate(said) if text}
    again = "no weights (and 19 times since it was last said)"
    assert shown == {0: "no weights", 60: again, 120: again}


def test_another_sentence_is_said_at_once():
    repeated = RepeatedSentences(lambda: 0.0)
    assert [repeated.due(text) for text in ("a", "b", "a", "b")] == ["a", "b", "", ""]


def test_what_is_over_is_said_again_when_it_comes_back():
    repeated = RepeatedSentences(lambda: 0.0)
    assert repeated.due("a") == "a"
    repeated.forget()
    assert repeated.due("a") == "a"


def test_sentences_that_differ_each_time_are_not_kept_for_ever():
    clock = [0.0]
    repeated = RepeatedSentences(lambda: clock[0])
    for number in range(1000):
        assert repeated.due(f"attempt {number}")
        clock[0] += 1.0
    assert len(repeated._said) <= 61
