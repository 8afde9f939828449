"""Scores as they come, one line each, so that an evaluation that was stopped goes on where it was."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.files.atomic import file_errors
from sparse_recon.inputs.json_text import parse_json
from sparse_recon.lab.evaluate.json_files import dumped
from sparse_recon.lab.evaluate.results import FORMAT, Key, ObjectRecord, Score, differences

FILE_NAME = "scores.jsonl"
_WHAT = "the scores of an evaluation"


class ScoreStore:
    """An append-only file of scores under one protocol; a context manager.

    The first line holds the format, each run adds a line with its protocol, objects and versions, and each score is a
    line. Runs that scored nothing do not count. What a killed run left of its last line is cut off. A case and method
    that is there twice counts with its last score.

    Parameters
    ----------
    path : of the file, made where it is missing.
    protocol, objects : of this run. Objects may be more or fewer than those of earlier runs, not others by the same
        name.
    versions : of this run; see `versions`.

    Raises
    ------
    FileError
        USAGE if the scores there are of another protocol or of other objects, BUSY if another process writes them,
        INPUT_MISSING if the file is no such file, DISK_FULL or OUTPUT_UNWRITABLE.
    """

    def __init__(
        self,
        path: Path,
        protocol: Mapping[str, Any],
        objects: Mapping[str, ObjectRecord],
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self._scores: dict[Key, Score] = {}
        self._run: Mapping[str, str] = {}
        self._runs: list[Mapping[str, str]] = []
        with file_errors(self.path, _WHAT):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self.path.open("a+b")
        try:
            self._lock()
            self._load(protocol, objects)
            hashes = {name: found.sha256 for name, found in objects.items()}
            self._run = dict(versions or {})
            self._write({"run": {"protocol": protocol, "objects": hashes, "versions": self._run}})
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> ScoreStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __contains__(self, key: Key) -> bool:
        return key in self._scores

    def __len__(self) -> int:
        return len(self._scores)

    @property
    def scores(self) -> tuple[Score, ...]:
        """All scores, of earlier runs too, sorted."""
        return tuple(self._scores[key] for key in sorted(self._scores))

    @property
    def versions(self) -> dict[str, str]:
        """Versions that made the scores; where runs differ, all of them: `0.1.0 + 0.2.0`."""
        found: dict[str, list[str]] = {}
        for run in self._runs:
            for name, version in run.items():
                seen = found.setdefault(name, [])
                if version not in seen:
                    seen.append(version)
        return {name: " + ".join(seen) for name, seen in sorted(found.items())}

    def append(self, score: Score) -> None:
        """Add a score; it is with the system when this returns, so that a kill of the process does not lose it."""
        self._write(score.as_record())
        self._take(score)

    def close(self) -> None:
        """Close the file; another run may go on."""
        self._file.close()

    def _take(self, score: Score) -> None:
        self._scores[score.key] = score
        if not self._runs or self._runs[-1] is not self._run:
            self._runs.append(self._run)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileError(
                ErrorCode.BUSY, f"another evaluation writes {self.path}; wait for it or name another folder"
            ) from error

    def _write(self, record: Mapping[str, Any]) -> None:
        with file_errors(self.path, _WHAT):
            self._file.write(dumped(record).encode() + b"\n")
            self._file.flush()

    def _load(self, protocol: Mapping[str, Any], objects: Mapping[str, ObjectRecord]) -> None:
        """Take in the lines that are there, after cutting off one that is not whole."""
        self._file.seek(0)
        data = self._file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with file_errors(self.path, _WHAT):
                os.truncate(self.path, whole)
        if not whole:
            self._write({"format": FORMAT})
            return
        number, run, checked = 0, {}, None
        try:
            for number, line in enumerate(data[:whole].splitlines(), 1):
                record = parse_json(line)
                if number == 1:
                    if record != {"format": FORMAT}:
                        raise ValueError(f"a file of scores begins with {dumped({'format': FORMAT})}")
                elif "run" in record:
                    run, self._run = record["run"], record["run"]["versions"]
                else:
                    if run is not checked:
                        self._check_run(run, protocol, objects)
                        checked = run
                    self._take(Score.of(record))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FileError(
                ErrorCode.INPUT_MISSING,
                f"line {number} of {self.path} is not a score: {error}; move the file away to start anew",
            ) from error

    def _check_run(
        self, run: Mapping[str, Any], protocol: Mapping[str, Any], objects: Mapping[str, ObjectRecord]
    ) -> None:
        found = differences(run["protocol"], protocol)
        changed = [name for name, sha in run["objects"].items() if name in objects and objects[name].sha256 != sha]
        found += [f"object {name}: its mesh has changed" for name in sorted(changed)]
        if found:
            raise FileError(
                ErrorCode.USAGE,
                f"{self.path} holds scores of another protocol, so it cannot be continued. {'; '.join(found)}. "
                "Give the same protocol, name another folder, or move the file away to start anew",
            )
