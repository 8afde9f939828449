"""The results of one evaluation as a file that two runs write alike, times and memory aside."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sparse_recon.errors import ErrorCode, FileError, InputError, clipped
from sparse_recon.inputs.files import what_is_there
from sparse_recon.lab.evaluate.json_files import check_fields, check_types, dumped, read_json, write_text
from sparse_recon.lab.evaluate.quantities import ANSWERED, UNREPEATABLE, quantity
from sparse_recon.lab.evaluate.statistics import bootstrap, per_object

FORMAT = 1
FILE_NAME = "results.json"

Key = tuple[str, str, int, int, str]
Group = tuple[str, int, str]


@dataclass(frozen=True)
class Score:
    """One method on one case.

    Attributes
    ----------
    object, condition, views, seed : the case.
    code : `OK`, or the name of the `ErrorCode` with which the method refused or failed; then `message` says why.
    metrics : values by name (`quantities.QUANTITIES`); one that could not be measured, or is NaN, is left out.
    reliability : for each bin of confidence: inferred points, their summed confidence, how many are right; None for a
        method that claims nothing.
    timings_s : seconds by stage.
    """

    object: str
    condition: str
    views: int
    seed: int
    method: str
    code: str = ErrorCode.OK.name
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    reliability: tuple[tuple[float, ...], ...] | None = None
    timings_s: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.code not in ErrorCode.__members__:
            raise InputError(ErrorCode.USAGE, f"{self.key}: no error code is named {self.code!r}; see errors.ErrorCode")
        metrics = {name: float(value) for name, value in sorted(self.metrics.items()) if not math.isnan(value)}
        timings = {name: float(value) for name, value in sorted(self.timings_s.items())}
        bins = None if self.reliability is None else tuple(tuple(float(v) for v in row) for row in self.reliability)
        numbers = [*metrics.values(), *timings.values(), *(value for row in bins or () for value in row)]
        if not all(map(math.isfinite, numbers)):
            raise InputError(
                ErrorCode.USAGE, f"{self.key}: a number of the score is not finite; leave out what was not measured"
            )
        if any(len(row) != 3 for row in bins or ()):
            raise InputError(ErrorCode.USAGE, f"{self.key}: reliability must be rows of 3 (count, claimed, right)")
        checked = {"views": int(self.views), "seed": int(self.seed), "metrics": metrics, "timings_s": timings}
        for name, value in {**checked, "reliability": bins}.items():
            object.__setattr__(self, name, value)

    @property
    def key(self) -> Key:
        """What identifies the score within one evaluation."""
        return (self.object, self.condition, self.views, self.seed, self.method)

    @property
    def answered(self) -> bool:
        """Whether the method gave an answer."""
        return self.code == ErrorCode.OK.name

    def as_record(self, repeatable_only: bool = False) -> dict[str, Any]:
        """Return the score as JSON holds it; `repeatable_only` without what two runs do not agree in."""
        record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        record["metrics"] = {k: v for k, v in self.metrics.items() if not repeatable_only or k not in UNREPEATABLE}
        if repeatable_only:
            del record["timings_s"]
        return record

    @classmethod
    def of(cls, record: Any) -> Score:
        """Return the score that a JSON record holds.

        Raises
        ------
        ValueError
            If a field is missing, unknown or of the wrong type.
        """
        check_fields(record, cls, "a score")
        check_types(record, ("object", "condition", "method", "code", "message"), str, "a score")
        check_types(record, ("views", "seed"), int, "a score")
        try:
            return cls(**record)
        except (InputError, TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True)
class ObjectRecord:
    """What was scored: hash of the mesh, its largest distance between two points, and the set it belongs to."""

    sha256: str
    diameter_mm: float
    set: str

    @classmethod
    def of(cls, record: Any) -> ObjectRecord:
        """Return the object that a JSON record holds; ValueError if it holds none."""
        check_fields(record, cls, "an object")
        check_types(record, ("sha256", "set"), str, "an object")
        return cls(record["sha256"], float(record["diameter_mm"]), record["set"])


@dataclass(frozen=True, eq=False)
class Results:
    """All scores of one evaluation, with what they were measured by.

    Attributes
    ----------
    protocol : of JSON values, as `Protocol.as_dict` gives them.
    objects : by name.
    scores : sorted by case and method, each case and method once.
    versions, machine : see `environment`.
    """

    protocol: Mapping[str, Any]
    objects: Mapping[str, ObjectRecord]
    scores: tuple[Score, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scores = tuple(sorted(self.scores, key=lambda score: score.key))
        for one, other in itertools.pairwise(scores):
            if one.key == other.key:
                raise InputError(ErrorCode.USAGE, f"{one.key} is scored twice; keep one score a case and method")
        if unknown := sorted({score.object for score in scores} - set(self.objects)):
            raise InputError(ErrorCode.USAGE, f"scores name objects without a record: {', '.join(unknown)}")
        object.__setattr__(self, "scores", scores)

    @cached_property
    def groups(self) -> dict[Group, tuple[Score, ...]]:
        """Scores by condition, views and method, in sorted order."""
        found: dict[Group, list[Score]] = {}
        for score in self.scores:
            found.setdefault((score.condition, score.views, score.method), []).append(score)
        return {group: tuple(scores) for group, scores in sorted(found.items())}

    def group(self, condition: str, views: int, method: str) -> tuple[Score, ...]:
        """Return the scores of one method under one condition; empty where it was not run."""
        return self.groups.get((condition, views, method), ())

    def fingerprint(self) -> str:
        """Return a sha256 over all that must agree when the same protocol runs again: not times, memory, versions."""
        content = {
            "format": FORMAT,
            "protocol": self.protocol,
            "objects": {name: vars(found) for name, found in self.objects.items()},
            "scores": [score.as_record(repeatable_only=True) for score in self.scores],
        }
        return hashlib.sha256(dumped(content).encode()).hexdigest()


def by_object(scores: Iterable[Score], metric: str) -> dict[str, float]:
    """Return a metric by object, averaged over its answered cases; objects without it are not there."""
    found = [(s.object, s.metrics[metric]) for s in scores if s.answered and metric in s.metrics]
    names, means = per_object([name for name, _ in found], [value for _, value in found])
    return dict(zip(names, means.tolist(), strict=True))


def summary(scores: Iterable[Score], metric: str) -> float:
    """Return the median or mean over objects of a metric, or the share of cases answered; NaN where there is none."""
    scores = tuple(scores)
    if metric == ANSWERED:
        return 100 * sum(score.answered for score in scores) / len(scores) if scores else math.nan
    values = list(by_object(scores, metric).values())
    return bootstrap(values, statistic=quantity(metric).statistic, draws=0).value


def differences(old: Mapping[str, Any], new: Mapping[str, Any], leaving_out: Iterable[str] = ()) -> list[str]:
    """Return what two protocols differ in, a text `name: old -> new` each; lists and tuples are alike."""
    names = sorted((set(old) | set(new)) - set(leaving_out))
    shown = [(name, *(dumped(p[name]) if name in p else "not there" for p in (old, new))) for name in names]
    return [f"{name}: {before} -> {after}" for name, before, after in shown if before != after]


def write_results(results: Results, path: Path) -> None:
    """Write `results.json`, one line a score, whole or not at all.

    Raises
    ------
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE.
    """
    head = {
        "format": FORMAT,
        "protocol": results.protocol,
        "versions": results.versions,
        "machine": results.machine,
        "objects": {name: vars(found) for name, found in results.objects.items()},
    }
    lines = [f'"{name}": {json.dumps(value, sort_keys=True, allow_nan=False)},' for name, value in head.items()]
    scores = ",\n".join(dumped(score.as_record()) for score in results.scores)
    write_text(path, "{\n" + "\n".join(lines) + f'\n"scores": [\n{scores}\n]\n}}\n', "the results")


def read_results(path: Path) -> Results:
    """Read what `write_results` wrote.

    Parameters
    ----------
    path : of the file, or of the folder that holds it.

    Raises
    ------
    FileError
        INPUT_MISSING if the file is missing, is no JSON, has another format number or other fields.
    """
    path = Path(path) / FILE_NAME if what_is_there(path) == "is a folder" else Path(path)
    content = read_json(path, "results of evaluate", FORMAT)
    try:
        check_fields(content, Results, "the file", also=("format",))
        return Results(
            content["protocol"],
            {name: ObjectRecord.of(record) for name, record in content["objects"].items()},
            tuple(Score.of(record) for record in content["scores"]),
            content["versions"],
            content["machine"],
        )
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, InputError) as error:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{path} does not hold whole results: {clipped(str(error))}; run evaluate again"
        ) from error
