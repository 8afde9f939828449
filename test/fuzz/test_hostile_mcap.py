"""Small MCAP files whose messages would fill memory or never end: bounded by what is unpacked at once and in all."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import lz4.frame
import pytest
from fuzz.bounded import assert_bounded, tried
from fuzz.mcap_bytes import Chunk, channel, file_of, message, schema

from sparse_recon.bags.reader import Bag

zstd = pytest.importorskip("backports.zstd")

MEGABYTE = 1_000_000
PACK = {"zstd": zstd.compress, "lz4": lz4.frame.compress, "": bytes}


def chunk(records: bytes, count: int, compression: str = "zstd", unpacked: int = -1, ns: int = 1) -> Chunk:
    stated = len(records) if unpacked < 0 else unpacked
    return Chunk(PACK[compression](records), stated, count, compression, ns, ns + 1)


def zeros(megabytes: int, ns: int = 1) -> bytes:
    return message(ns, b"\0\1\0\0" + bytes(megabytes * MEGABYTE))


PACKED_100 = zstd.compress(zeros(100))


def one_chunk_listed_often() -> bytes:
    return file_of([chunk(zeros(100), 1)], [0] * 20)


def one_chunk_listed_often_with_lz4() -> bytes:
    return file_of([chunk(zeros(100), 1, "lz4")], [0] * 20)


def many_chunks_of_one_moment() -> bytes:
    return file_of([chunk(zeros(100), 1)] * 12)


def many_chunks_after_each_other() -> bytes:
    return file_of([Chunk(PACKED_100, 100 * MEGABYTE + 35, 1, "zstd", 10 * k, 10 * k + 1) for k in range(60)])


def chunk_that_states_little() -> bytes:
    return file_of([chunk(zeros(300), 1, unpacked=2000)])


def chunk_that_states_too_much() -> bytes:
    return file_of([chunk(zeros(1), 1, unpacked=1 << 62)])


def chunk_larger_than_any() -> bytes:
    return file_of([chunk(zeros(300), 1)])


def millions_of_messages_in_a_chunk() -> bytes:
    return file_of([chunk(message(1, b"\0\1\0\0") * 4_000_000, 1)])


def millions_of_empty_records_in_a_chunk() -> bytes:
    return file_of([chunk(bytes(120 * MEGABYTE), 1)])


def chunks_in_a_chunk() -> bytes:
    inner = chunk(zeros(100), 1).stored()
    return file_of([chunk(inner * 1000 + zeros(1), 1)])


def index_that_leads_into_a_chunk() -> bytes:
    whole = file_of([chunk(zeros(1), 1), chunk(zeros(1), 1)])
    return whole.replace(chunk(zeros(1), 1).stored(), bytes(len(chunk(zeros(1), 1).stored())))


def topics_of_gigabytes() -> bytes:
    names = b"".join(channel(f"/{k}" + "x" * 4000, number=k) for k in range(40_000))
    return file_of([chunk(names + zeros(1), 1)] * 4)


def without_its_end() -> bytes:
    return many_chunks_of_one_moment()[:-100]


def qos_of_megabytes() -> bytes:
    return file_of([chunk(zeros(1), 1)], about=schema() + channel(qos="- history: [" * 400_000))


def qos_that_multiplies() -> bytes:
    names = [f"a{k}" for k in range(40)]
    lines = "".join(f"- &{b} {{<<: [*{a}, *{a}, *{a}]}}\n" for a, b in pairwise(names))
    return file_of([chunk(zeros(1), 1)], about=schema() + channel(qos=f"- &a0 {{history: 1}}\n{lines}"))


HOSTILE = (
    one_chunk_listed_often,
    one_chunk_listed_often_with_lz4,
    many_chunks_of_one_moment,
    many_chunks_after_each_other,
    chunk_that_states_little,
    chunk_that_states_too_much,
    chunk_larger_than_any,
    millions_of_messages_in_a_chunk,
    millions_of_empty_records_in_a_chunk,
    chunks_in_a_chunk,
    index_that_leads_into_a_chunk,
    topics_of_gigabytes,
    without_its_end,
    qos_of_megabytes,
    qos_that_multiplies,
)


@pytest.mark.parametrize("made", HOSTILE, ids=lambda made: made.__name__)
def test_memory_and_time_are_bounded(tmp_path: Path, made):
    path = tmp_path / "hostile.mcap"
    path.write_bytes(made())
    assert_bounded(tried(path))


def test_what_is_sound_of_it_is_read(tmp_path: Path):
    path = tmp_path / "sound.mcap"
    path.write_bytes(file_of([chunk(message(k + 1, b"\0\1\0\0data"), 1, c, ns=k + 1) for k, c in enumerate(PACK)]))
    with Bag(path) as bag:
        assert [(topic, log_ns, data) for topic, log_ns, data in bag.serialised(["/words"])] == [
            ("/words", k + 1, b"\0\1\0\0data") for k in range(3)
        ]
        assert bag.counts == {"/words": 3} and not bag.damage


def test_chunks_that_overlap_in_time_are_merged(tmp_path: Path):
    path = tmp_path / "merged.mcap"
    odd, even = (b"".join(message(k, b"\0\1\0\0") for k in range(start, 20, 2)) for start in (1, 2))
    path.write_bytes(
        file_of([Chunk(odd, len(odd), 10, first_ns=1, last_ns=19), Chunk(even, len(even), 9, first_ns=2, last_ns=18)])
    )
    with Bag(path) as bag:
        assert [log_ns for _, log_ns, _ in bag.serialised(["/words"])] == list(range(1, 20))
        assert not bag.damage
