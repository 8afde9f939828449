"""SQLite recordings, also cut or with a write-ahead log: read, and never run.

A database can hold views, computed columns and expressions, and pages that lead to each other for ever. Only plain
tables are accepted, an authorizer allows nothing but reading them, and no query takes more steps than a file of its
size needs.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sparse_recon.bags.channels import Channel, offered_qos, unreadable
from sparse_recon.bags.decompression import MAX_MESSAGE_BYTES
from sparse_recon.bags.sqlite_pages import is_cut, lists_pages_twice
from sparse_recon.errors import FileError, clipped, quoted

# Statements as SQLite keeps them: names, types and constraints of columns, and no expression.
_NAME = r"""(?:\w+|"\w+"|'\w+'|`\w+`|\[\w+\])"""
_PLAIN_TABLE = re.compile(
    rf"CREATE TABLE {_NAME}\s*\(([\w\s,\"'`\[\]]*(?:\([\w\s,\"]+\)[\w\s,\"'`\[\]]*)*)\)\s*;?\s*", re.I
)
_PLAIN_INDEX = re.compile(rf"CREATE (?:UNIQUE )?INDEX {_NAME}\s+ON {_NAME}\s*\([\w\s,\"'`\[\]]*\)\s*;?\s*", re.I)
_COMPUTING = re.compile(r"\b(AS|CHECK|DEFAULT|GENERATED|WITHOUT|COLLATE)\b", re.I)
_TABLES = frozenset({"schema", "metadata", "topics", "message_definitions", "messages"})
_MAX_TEXT = 1_000_000  # characters of a value that is no message
# Of SQLite's machine; all queries take some forty steps a row, and a row has more than twenty bytes.
_FREE_STEPS, _STEPS_PER_BYTE = 5_000_000, 3
_FREE_LOOPING_STEPS, _LOOPING_STEPS_PER_BYTE = 1_000_000, 0.5  # where pages are listed twice
_FREE_ROWS, _BYTES_A_ROW = 100_000, 16
_STEP = 100_000
_MAX_STATEMENTS, _MAX_TOPICS, _MAX_ASKED = 1000, 100_000, 500


class SqliteFile:
    """A recording in SQLite, read in the order of log times; a damaged one row by row to the first page that is wrong.

    Raises
    ------
    FileError
        BAG_UNREADABLE if it holds what no recorder writes, or not even its list of topics can be read.
    """

    note = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with closing(_Connection(path)) as database:
                self.damage = self._left_out = database.left_out
                topics = database.rows("SELECT id, name, type FROM topics ORDER BY id")[:_MAX_TOPICS]
                self._topics = {number: name for number, name, _ in topics}
                texts, qos = self._definitions(database), self._by_topic(database, "offered_qos_profiles")
                encodings, counts = self._by_topic(database, "serialization_format"), self._counts(database)
        except sqlite3.Error as error:
            raise unreadable(path, str(error)) from error
        self.channels = tuple(
            Channel(
                name,
                kind,
                *texts.get(kind, ("", "")),
                -1 if counts is None else counts.get(number, 0),
                offered_qos(str(qos.get(number, ""))),
                str(encodings.get(number, "") or ""),
            )
            for number, name, kind in topics
        )

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, log time in ns, data) in the order of time; `damage` says afterwards why it ended."""
        wanted = {number: name for number, name in self._topics.items() if name in topics}
        self.damage = self._left_out
        try:
            with closing(_Connection(self.path)) as database:
                rows = self._in_time_order(database, wanted)
                for number, log_ns, data in self._in_file_order(database) if rows is None else rows:
                    if number in wanted:
                        yield wanted[number], log_ns, data
        except sqlite3.Error as error:
            self.damage = "; ".join(filter(None, [self._left_out, clipped(str(error))]))

    def close(self) -> None:
        """Nothing is kept open."""

    def _in_time_order(self, database: _Connection, wanted: dict[Any, str]) -> Iterator[tuple[Any, Any, Any]] | None:
        """Return the rows of some topics sorted by time, or None where the table cannot be read to its end."""
        if database.is_cut:
            return None
        query, asked = "SELECT rowid FROM messages", list(wanted) if len(wanted) <= _MAX_ASKED else []
        if asked:
            query += f" WHERE topic_id IN ({','.join('?' * len(asked))})"
        try:
            places = array("q", (place for (place,) in database.each(f"{query} ORDER BY timestamp, rowid", *asked)))
        except sqlite3.Error:
            return None
        known = [channel.count for channel in self.channels if channel.topic in wanted.values()]
        if min(known, default=-1) >= 0 and sum(known) > len(places):  # the index of times leads past some
            return None
        return self._at(database, places)

    def _at(self, database: _Connection, places: Sequence[int]) -> Iterator[tuple[Any, Any, Any]]:
        """Yield the rows at some places; those that follow each other are asked for at once."""
        query = f"SELECT topic_id, timestamp, {database.data}, rowid FROM messages WHERE rowid BETWEEN ? AND ?"
        for begin, end in _runs(places):
            k = begin
            for number, log_ns, data, place in database.each(query, places[begin], places[end - 1]):
                while k < end and places[k] < place:  # the index knows a row that is not there
                    k += 1
                if k < end and place == places[k]:
                    k += 1
                    yield number, log_ns, data

    def _in_file_order(self, database: _Connection) -> Iterator[tuple[Any, Any, Any]]:
        """Yield rows until the first page that is missing or wrong."""
        held: tuple[Any, Any, Any] | None = None
        try:
            for row in database.each(f"SELECT topic_id, timestamp, {database.data} FROM messages"):
                if held is not None:
                    yield held
                held = row
        except sqlite3.Error:
            # SQLite fills a page that is cut with zeros, and the last row may end in it.
            if held is not None and self.path.stat().st_size % database.page_bytes == 0:
                yield held
            raise
        if held is not None:
            yield held

    def _definitions(self, database: _Connection) -> dict[str, tuple[str, str]]:
        query = "SELECT topic_type, encoded_message_definition, encoding FROM message_definitions"
        try:
            return {kind: (text, form) for kind, text, form in database.rows(query)}
        except sqlite3.Error:  # recordings before Iron carry none
            return {}

    def _by_topic(self, database: _Connection, column: str) -> dict[int, str]:
        try:
            return dict(database.rows(f"SELECT id, {column} FROM topics"))
        except sqlite3.Error:  # recordings before Eloquent carry not all
            return {}

    def _counts(self, database: _Connection) -> dict[Any, int] | None:
        """Return how many messages each topic has, None where nobody knows."""
        try:
            return dict(database.rows("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
        except Endless:
            raise
        except sqlite3.Error:
            return None


def _runs(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield begin and end, in `places`, of what lies one behind the other."""
    begin = 0
    for k in range(1, len(places) + 1):
        if k == len(places) or places[k] != places[k - 1] + 1:
            yield begin, k
            begin = k


class Endless(sqlite3.DatabaseError):
    """A query that gives more than the file can hold, or takes longer than its size explains."""


class _Connection:
    """A database that is only read: plain tables, few steps, and no more bytes than it has."""

    def __init__(self, path: Path) -> None:
        self._database, self.left_out, self._file_bytes = _connected(path)
        self.is_cut = is_cut(path)
        try:
            self._steps = _FREE_STEPS + _STEPS_PER_BYTE * self._file_bytes
            self._bytes = self._file_bytes
            self._rows = _FREE_ROWS + self._file_bytes // _BYTES_A_ROW
            self._database.set_progress_handler(self._step, _STEP)
            check_schema(self._database, path)
            self._bound_loops(path)
            self._database.set_authorizer(_allowed)
            self.page_bytes = int(self.rows("PRAGMA page_size")[0][0])
            # length() of a blob does not read it.
            self.data = f"CASE WHEN length(data) <= {min(MAX_MESSAGE_BYTES, self._file_bytes)} THEN data END"
        except (sqlite3.Error, FileError):
            self.close()
            raise

    def _bound_loops(self, path: Path) -> None:
        """Allow fewer steps where pages are listed twice; with a log, the file alone does not say."""
        roots = self._database.execute("SELECT rootpage FROM sqlite_master").fetchmany(_MAX_STATEMENTS)
        if self._file_bytes == path.stat().st_size and lists_pages_twice(path, (root for (root,) in roots)):
            self._steps = round(_FREE_LOOPING_STEPS + _LOOPING_STEPS_PER_BYTE * self._file_bytes)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return list(self.each(query))

    def each(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query; raises sqlite3.Error, and Endless where they are more than the file can hold."""
        try:
            for row in self._database.execute(query, values):
                self._rows -= 1
                for value in row:
                    if isinstance(value, (bytes, str)) and len(value) > 1000:
                        self._bytes -= len(value)
                if self._bytes < 0 or self._rows < 0:
                    raise Endless(
                        f"its pages are listed again and again: more rows than {self._file_bytes} bytes can be"
                    )
                yield row
        except UnicodeError as error:
            raise _not_text(error) from error
        except sqlite3.OperationalError as error:
            if self._steps >= 0:
                raise
            raise Endless(
                f"its pages are listed again and again: more steps than {self._file_bytes} bytes need"
            ) from error

    def close(self) -> None:
        self._database.close()

    def _step(self) -> bool:
        self._steps -= _STEP
        return self._steps < 0  # true ends the query


def _allowed(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    """Allow to read the tables of a recording, to count, and to ask for the size of a page."""
    fine = (
        action == sqlite3.SQLITE_SELECT
        or (action == sqlite3.SQLITE_READ and first in _TABLES and trigger is None)
        or (action == sqlite3.SQLITE_FUNCTION and second in ("count", "length"))
        or (action == sqlite3.SQLITE_PRAGMA and first == "page_size" and second is None)
    )
    return sqlite3.SQLITE_OK if fine else sqlite3.SQLITE_DENY


def check_schema(database: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that computes what it should hold: a view or a generated column may never end.

    Raises
    ------
    FileError
        BAG_UNREADABLE.
    sqlite3.Error
        If what it holds cannot be listed.
    """
    database.text_factory = bytes
    try:
        rows = database.execute("SELECT type, name, sql FROM sqlite_master").fetchmany(_MAX_STATEMENTS + 1)
    except UnicodeError as error:
        raise _not_text(error) from error
    finally:
        database.text_factory = _text
    if len(rows) > _MAX_STATEMENTS:
        raise unreadable(path, f"it holds more than {_MAX_STATEMENTS} tables and indexes, which no recorder writes")
    for row in rows:
        kind, name, text = (_text(value) if isinstance(value, bytes) else value for value in row)
        plain = {"table": _PLAIN_TABLE, "index": _PLAIN_INDEX}.get(str(kind))
        automatic = kind == "index" and text is None and str(name).startswith("sqlite_autoindex_")
        if automatic:
            continue
        if plain is None or not plain.fullmatch(str(text)) or _COMPUTING.search(str(text)):
            what = f"the {clipped(str(kind)[:20])} {quoted(str(name)[:40])}"
            raise unreadable(path, f"it holds {what} made by {quoted(str(text)[:60])}, which no recorder writes")


def _not_text(error: UnicodeError) -> sqlite3.DatabaseError:
    """Return the error of a file that makes SQLite complain in bytes that are no text."""
    return sqlite3.DatabaseError(f"its names are no UTF-8: {clipped(str(error))}")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def write_ahead_log(path: Path) -> Path | None:
    """Return the log of what a recorder that was killed had not yet put into the file, where there is one."""
    file = path.resolve()
    log = file.with_name(f"{file.name}-wal")
    return log if log.is_file() and log.stat().st_size > 0 else None


def _connected(path: Path) -> tuple[sqlite3.Connection, str, int]:
    """Open a file for reading; return also what of it is left out, or nothing, and its size with its log in bytes."""
    uri, left_out, size_bytes = path.resolve().as_uri(), "", path.stat().st_size
    log = write_ahead_log(path)
    if log is not None:
        log_bytes = log.stat().st_size
        database = _guarded(f"{uri}?mode=ro", size_bytes + log_bytes, False)
        try:
            database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except (sqlite3.Error, UnicodeError) as error:
            database.close()
            left_out = (
                f"the write-ahead log {clipped(log.name)} of {log_bytes} bytes cannot be used ({clipped(str(error))}) "
                "and what it holds is left out; copy the whole recording into a folder that can be written"
            )
        else:
            return database, "", size_bytes + log_bytes
    # Nothing can change the file then, and SQLite must not try to lock a read-only folder.
    return _guarded(f"{uri}?mode=ro&immutable=1", size_bytes, is_cut(path)), left_out, size_bytes


def _guarded(uri: str, size_bytes: int, cut: bool) -> sqlite3.Connection:
    """Connect with what SQLite itself offers against a hostile file (https://www.sqlite.org/security.html)."""
    database = sqlite3.connect(uri, uri=True)
    try:
        database.text_factory = _text
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA cell_size_check = ON")
        database.execute("PRAGMA mmap_size = 0")
        if sys.version_info >= (3, 11):
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(_MAX_TEXT, min(MAX_MESSAGE_BYTES, size_bytes)))
            database.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _MAX_TEXT)
        database.execute("PRAGMA query_only = ON")
        if cut:  # only with this does SQLite open it; nothing is written
            database.execute("PRAGMA writable_schema = ON")
        elif sys.version_info >= (3, 12):
            database.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
    except sqlite3.Error:
        database.close()
        raise
    return database
