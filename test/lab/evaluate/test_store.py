"""Scores are kept line by line: a stopped evaluation goes on, another one is not mixed in."""

import dataclasses
from pathlib import Path

import pytest
import synthetic_scores

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.lab.evaluate.store import ScoreStore

SMALL = synthetic_scores.results(3, methods=("observed", "carve"), conditions=("clean",), refusals=0.5)


def opened(path: Path, **changes: object) -> ScoreStore:
    arguments = {"protocol": SMALL.protocol, "objects": SMALL.objects, "versions": {"numpy": "2"}, **changes}
    return ScoreStore(path, **arguments)


def filled(path: Path, count: int = 5) -> None:
    with opened(path) as store:
        for score in SMALL.scores[:count]:
            store.append(score)


def test_an_evaluation_goes_on_where_it_was(tmp_path: Path):
    filled(tmp_path / "scores.jsonl")
    with opened(tmp_path / "scores.jsonl") as store:
        assert len(store) == 5
        assert SMALL.scores[4].key in store and SMALL.scores[5].key not in store
        for score in SMALL.scores[5:]:
            store.append(score)
    with opened(tmp_path / "scores.jsonl") as store:
        assert store.scores == SMALL.scores


@pytest.mark.parametrize("left", [1, 40, -1])
def test_a_torn_last_line_is_dropped_and_what_follows_is_whole(tmp_path: Path, left: int):
    path = tmp_path / "scores.jsonl"
    filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:left])
    with opened(path) as store:
        assert store.scores == SMALL.scores[:4]
        store.append(SMALL.scores[4])
    with opened(path) as store:
        assert store.scores == SMALL.scores[:5]


def test_a_run_killed_at_its_first_line_starts_anew(tmp_path: Path):
    (tmp_path / "scores.jsonl").write_bytes(b'{"for')
    with opened(tmp_path / "scores.jsonl") as store:
        assert len(store) == 0
        store.append(SMALL.scores[0])
    with opened(tmp_path / "scores.jsonl") as store:
        assert len(store) == 1


def test_a_score_is_on_disk_when_append_returns(tmp_path: Path):
    store = opened(tmp_path / "scores.jsonl")
    store.append(SMALL.scores[0])
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "scores.jsonl").read_bytes())
    with opened(tmp_path / "copy.jsonl") as copy:
        assert SMALL.scores[0].key in copy
    store.close()


def test_another_protocol_is_refused_with_what_differs(tmp_path: Path):
    filled(tmp_path / "scores.jsonl")
    with pytest.raises(FileError, match=r"samples: 20000 -> 500.*another folder") as refused:
        opened(tmp_path / "scores.jsonl", protocol={**SMALL.protocol, "samples": 500})
    assert refused.value.code == ErrorCode.USAGE
    with opened(tmp_path / "scores.jsonl") as store:
        assert len(store) == 5


def test_a_run_that_scored_nothing_binds_nobody(tmp_path: Path):
    opened(tmp_path / "scores.jsonl", protocol={**SMALL.protocol, "samples": 500}).close()
    filled(tmp_path / "scores.jsonl")
    with opened(tmp_path / "scores.jsonl") as store:
        assert len(store) == 5


def test_a_changed_mesh_is_refused_and_more_objects_are_not(tmp_path: Path):
    filled(tmp_path / "scores.jsonl")
    name = next(iter(SMALL.objects))
    other = {**SMALL.objects, name: dataclasses.replace(SMALL.objects[name], sha256="f" * 64)}
    with pytest.raises(FileError, match=f"object {name}: its mesh has changed") as refused:
        opened(tmp_path / "scores.jsonl", objects=other)
    assert refused.value.code == ErrorCode.USAGE
    opened(tmp_path / "scores.jsonl", objects=synthetic_scores.objects(5)).close()


def test_a_case_scored_again_counts_with_its_last_score(tmp_path: Path):
    again = dataclasses.replace(SMALL.scores[0], message="second")
    with opened(tmp_path / "scores.jsonl") as store:
        store.append(SMALL.scores[0])
        store.append(again)
    with opened(tmp_path / "scores.jsonl") as store:
        assert store.scores == (again,)


def test_versions_of_all_runs_that_made_scores_are_named(tmp_path: Path):
    filled(tmp_path / "scores.jsonl", 2)
    opened(tmp_path / "scores.jsonl", versions={"numpy": "1"}).close()
    with opened(tmp_path / "scores.jsonl", versions={"numpy": "3"}) as store:
        assert store.versions == {"numpy": "2"}
        store.append(SMALL.scores[2])
        assert store.versions == {"numpy": "2 + 3"}


def test_two_evaluations_do_not_write_at_once(tmp_path: Path):
    with opened(tmp_path / "scores.jsonl"), pytest.raises(FileError, match="another evaluation") as refused:
        opened(tmp_path / "scores.jsonl")
    assert refused.value.code == ErrorCode.BUSY


@pytest.mark.parametrize(
    ("line", "text", "word"),
    [(1, "hello", "line 1"), (1, '{"format": 9}', "begins with"), (4, '{"object": "mug"}', "line 4 .*lacks")],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, line: int, text: str, word: str):
    path = tmp_path / "scores.jsonl"
    filled(path)
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    with pytest.raises(FileError, match=word) as refused:
        opened(path)
    assert refused.value.code == ErrorCode.INPUT_MISSING
    assert path.read_bytes() == before
