"""SQLite recordings that the stock reader does not read right: cut, with a write-ahead log, or of unusual names."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path

from sparse_recon.bags.channels import Channel, offered_qos, unreadable


class SalvagedSqlite:
    """An SQLite recording read row by row, with its write-ahead log, until the first page that is missing.

    Raises
    ------
    FileError
        BAG_UNREADABLE if not even its list of topics can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._database, self.damage = _connected(path)
        except sqlite3.Error as error:
            raise unreadable(path, str(error)) from error
        try:
            # Only with this does SQLite open a file that has fewer pages than its header says.
            self._database.execute("PRAGMA writable_schema = ON")
            topics = self._database.execute("SELECT id, name, type FROM topics ORDER BY id").fetchall()
        except sqlite3.Error as error:
            self._database.close()
            raise unreadable(path, str(error)) from error
        self._topics = {number: name for number, name, _ in topics}
        texts, qos, counts = self._definitions(), self._qos(), self._counts()
        self.channels = tuple(
            Channel(name, kind, *texts.get(kind, ("", "")), counts(number), offered_qos(qos.get(number, "")))
            for number, name, kind in topics
        )

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, log time in ns, data) in the order of recording; `damage` says afterwards why it ended."""
        held: tuple[str, int, bytes] | None = None
        try:
            for number, log_ns, data in self._database.execute("SELECT topic_id, timestamp, data FROM messages"):
                if held is not None:
                    yield held
                held = (self._topics.get(number, ""), log_ns, data)
                held = held if held[0] in topics else None
        except sqlite3.Error as error:
            self.damage = "; ".join(filter(None, [self.damage, str(error)]))
            if self._cut_within_a_page():  # SQLite fills that page with zeros, and the last row may end in it
                held = None
        if held is not None:
            yield held

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _cut_within_a_page(self) -> bool:
        (page_bytes,) = self._database.execute("PRAGMA page_size").fetchone()
        return self.path.stat().st_size % page_bytes != 0

    def _definitions(self) -> dict[str, tuple[str, str]]:
        query = "SELECT topic_type, encoded_message_definition, encoding FROM message_definitions"
        try:
            return {kind: (text, form) for kind, text, form in self._database.execute(query)}
        except sqlite3.Error:  # recordings before Iron carry none
            return {}

    def _counts(self) -> Callable[[int], int]:
        """Return what answers how many messages a topic has, -1 where nobody knows."""
        try:
            found = dict(self._database.execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
        except sqlite3.Error:
            return lambda number: -1
        return lambda number: found.get(number, 0)

    def _qos(self) -> dict[int, str]:
        try:
            return dict(self._database.execute("SELECT id, offered_qos_profiles FROM topics"))
        except sqlite3.Error:  # recordings before Eloquent carry none
            return {}


def check_tables(path: Path) -> None:
    """Refuse an SQLite file that computes what it should hold: a view or a generated column may never end.

    Raises
    ------
    FileError
        BAG_UNREADABLE.
    """
    with suppress(sqlite3.Error), closing(_connected(path)[0]) as database:
        database.execute("PRAGMA writable_schema = ON")
        for kind, name, text in database.execute("SELECT type, name, sql FROM sqlite_master"):
            computed = re.search(r"\bas\s*\(|^\s*create\s+virtual", str(text), re.IGNORECASE)
            if kind not in ("table", "index") or computed:
                raise unreadable(path, f"it holds the {kind} {str(name)[:40]!r}, which no recorder writes")


def write_ahead_log(path: Path) -> Path | None:
    """Return the log of what a recorder that was killed had not yet put into the file, where there is one."""
    file = path.resolve()
    log = file.with_name(f"{file.name}-wal")
    return log if log.is_file() and log.stat().st_size > 0 else None


def _connected(path: Path) -> tuple[sqlite3.Connection, str]:
    """Open a file for reading; return also what of it is left out, or nothing."""
    uri, left_out = path.resolve().as_uri(), ""
    log = write_ahead_log(path)
    if log is not None:
        database = sqlite3.connect(f"{uri}?mode=ro", uri=True)
        try:
            database.execute("PRAGMA writable_schema = ON")
            database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.Error as error:
            database.close()
            left_out = (
                f"the write-ahead log {log.name} of {log.stat().st_size} bytes cannot be used ({error}) and what it "
                "holds is left out; copy the whole recording into a folder that can be written"
            )
        else:
            return database, ""
    # Nothing can change the file then, and SQLite must not try to lock a read-only folder.
    return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True), left_out
