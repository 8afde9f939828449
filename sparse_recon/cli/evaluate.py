"""`sparse_recon evaluate`: measure how good completions are, beside what else a team could take, by known objects."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparse_recon.cli.arguments import at_least, config_of, output_path
from sparse_recon.cli.evaluate_captures import run_captures
from sparse_recon.complete.registry import COMPLETERS
from sparse_recon.config.parameters import parameters
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import EXIT_DONE, EXIT_FAILED, ErrorCode, InputError, clipped, quoted
from sparse_recon.inputs.yaml_text import NotYaml, parse_yaml
from sparse_recon.lab.evaluate.expectations import (
    FEWEST_SEEDS,
    derive,
    improvements,
    read_expectations,
    regressions,
    write_expectations,
)
from sparse_recon.lab.evaluate.methods import check_methods, method_names
from sparse_recon.lab.evaluate.objects import UNITS_M, ScoredObject, folder_objects, procedural_objects
from sparse_recon.lab.evaluate.profiles import GRASPS, PROFILES
from sparse_recon.lab.evaluate.protocol import Protocol, changed_parameters
from sparse_recon.lab.evaluate.results import FILE_NAME, Results, Score, read_results, write_results
from sparse_recon.lab.evaluate.runner import OnScore, Study
from sparse_recon.lab.evaluate.tables import REFERENCE

TABLE, SHEET = "table.md", "sheet.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    objects = parser.add_argument_group("objects", "without --objects: made-up household objects")
    objects.add_argument(
        "--objects",
        type=Path,
        metavar="DIR",
        help="folder of meshes; of one that holds scans of YCB and Google Scanned Objects, those of the scored list",
    )
    objects.add_argument(
        "--captures",
        type=Path,
        metavar="DIR",
        help="not objects in simulation but real frames: folders of posed frames beside a truth.json "
        "(docs/evaluation.md); what is found, missed, merged, and how well it is completed",
    )
    objects.add_argument("--units", choices=sorted(UNITS_M), default="m", help="of the meshes (default m)")
    objects.add_argument("--mesh-up", choices=("z", "y"), default="z", help="upward axis of the meshes (default z)")
    objects.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these meshes of the folder")
    objects.add_argument("--all", action="store_true", help="all meshes of the folder, not only the scored list")
    objects.add_argument("--made-up", type=at_least(1), metavar="N", help="number of made-up objects")

    what = parser.add_argument_group("what is measured")
    lines = "; ".join(f"{name}: {p.text}" for name, p in PROFILES.items())
    what.add_argument("--profile", choices=tuple(PROFILES), help=f"{lines} (default full)")
    what.add_argument(
        "--grasp", action="store_true", help=f"not geometry but {GRASPS.text}, executed in simulation (MuJoCo)"
    )
    what.add_argument(
        "--methods",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"of {', '.join(method_names())} (default: the profile's)",
    )
    for name, metavar in (("views", "N"), ("conditions", "NAME")):
        text = next(p.text for p in parameters(Protocol) if p.name == name)
        kind = int if name == "views" else str
        what.add_argument(f"--{name}", nargs="+", type=kind, metavar=metavar, help=f"{text} (default: the profile's)")
    what.add_argument("--repeats", type=at_least(1), help="seeds per object (default 1)")
    what.add_argument(
        "--protocol", action="append", default=[], metavar="NAME=VALUE", help="another condition; --help-protocol"
    )
    what.add_argument("--help-protocol", action=_ShowProtocol, help="list all conditions and exit")
    what.add_argument("--config", type=Path, metavar="YAML", help="parameters of the sessions, as for the node")
    what.add_argument("--set", action="append", default=[], metavar="GROUP.NAME=VALUE", help="one parameter")
    what.add_argument("--model", metavar="NAME", help="the model of profiles that measure one (default: the session's)")

    how = parser.add_argument_group("how")
    how.add_argument(
        "--out",
        type=output_path,
        metavar="DIR",
        help="results, tables, plots; a stopped run goes on there (default out/evaluate, out/grasps with --grasp)",
    )
    how.add_argument("--jobs", type=at_least(1), metavar="N", help="processes (default: processors; 1 for true times)")
    how.add_argument("--sheet", metavar="METHOD", help="method of the contact sheet (default: the last model)")
    how.add_argument("--no-pictures", action="store_true", help="neither plots nor contact sheet")
    how.add_argument("--json", action="store_true", help="summary on stdout")

    then = parser.add_argument_group("comparison")
    then.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("OLD", "NEW"),
        help="compare two results (file or folder); runs nothing",
    )
    then.add_argument(
        "--against", type=Path, metavar="FILE", help="exit with 1 if anything is worse than these expectations"
    )
    then.add_argument(
        "--derive",
        type=output_path,
        metavar="FILE",
        help="write expectations for --against; needs --repeats of 3 or more",
    )


def run(args: argparse.Namespace) -> int:
    if args.compare is not None:
        return _compare(*args.compare)
    if args.captures is not None:
        if args.objects is not None or args.made_up is not None or args.grasp:
            raise InputError(ErrorCode.USAGE, "give --captures, or --objects, --made-up and --grasp; not both")
        return run_captures(args)
    args.out = args.out or Path("out/grasps" if args.grasp else "out/evaluate")
    _check(args)
    if args.grasp:
        results, status = _grasped(args), EXIT_DONE
    else:
        results, status = _evaluated(args), EXIT_DONE
        _write(results, args)
        if args.derive is not None:
            _derive(results, args.derive)
        if args.against is not None:
            status = _held_against(results, args.against)
    if args.json:
        print(json.dumps(_summary(results, args.out, status)))
    return status


def _check(args: argparse.Namespace) -> None:
    """Refuse before hours of work what could only fail after them."""
    if args.sheet:
        check_methods([args.sheet])
    if args.grasp and (args.against is not None or args.derive is not None):
        raise InputError(
            ErrorCode.USAGE, "--against and --derive compare geometry and do not combine with --grasp; leave it out"
        )
    if args.derive is not None and (args.repeats or 1) < FEWEST_SEEDS:
        raise InputError(
            ErrorCode.USAGE,
            f"--derive needs --repeats {FEWEST_SEEDS} or more, got {args.repeats or 1}: limits are derived from the "
            "standard deviation between seeds",
        )
    if args.against is not None:
        read_expectations(args.against)


def _study(args: argparse.Namespace) -> Study:
    profile = PROFILES[args.profile] if args.profile else GRASPS if args.grasp else PROFILES["full"]
    config = _config(args)
    study = Study(
        _objects(args, profile.made_up),
        replace(_protocol(args, profile.protocol), parameters=changed_parameters(config)),
        _methods(args, profile.methods, config),
        config,
        "" if args.no_pictures or args.grasp else _sheet_method(args, config.model),
    )
    print(f"{len(study.objects)} objects, {', '.join(study.methods)}\n{study.protocol.text()}", file=sys.stderr)
    return study


def _sheet_method(args: argparse.Namespace, model: str) -> str:
    """Return whose answers are drawn: those of the model of the session, or of the last model that is measured."""
    measured = [name for name in args.methods if name in COMPLETERS]
    return args.sheet or (model if model in measured or not measured else measured[-1])


def _config(args: argparse.Namespace) -> SessionConfig:
    args.seed, args.up, args.max_objects = None, None, None  # of a session; here they belong to the protocol
    return config_of(args)


def _jobs(args: argparse.Namespace) -> int:
    return args.jobs or len(os.sched_getaffinity(0))


def _evaluated(args: argparse.Namespace) -> Results:
    from sparse_recon.lab.evaluate.runner import evaluate

    study = _study(args)
    with _progress() as on_score:
        results, warnings = evaluate(study, args.out, jobs=_jobs(args), on_score=on_score)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return results


def _grasped(args: argparse.Namespace) -> Results:
    from sparse_recon.lab.evaluate.grasp.examples import write_examples
    from sparse_recon.lab.evaluate.grasp.report import write_report
    from sparse_recon.lab.evaluate.grasp.study import run_study

    study = _study(args)
    with _progress() as on_score:
        results = run_study(study, args.out, jobs=_jobs(args), on_score=on_score)
    written = write_report(results, args.out, pictures=not args.no_pictures)
    if not args.no_pictures:
        written += write_examples(study, results, args.out, method=_sheet_method(args, study.config.model))
    print(f"{args.out}: {', '.join(p.name for p in written)}", file=sys.stderr)
    return results


@contextmanager
def _progress() -> Iterator[OnScore]:
    from tqdm import tqdm

    with tqdm(unit="score", disable=None) as bar:

        def on_score(score: Score, done: int, wanted: int) -> None:
            bar.total, bar.n = wanted, done
            bar.set_postfix_str(f"{score.object} {score.condition} {score.views} {score.method}", refresh=False)
            bar.refresh()

        yield on_score


def _objects(args: argparse.Namespace, made_up: int) -> tuple[ScoredObject, ...]:
    if args.objects is None:
        if args.only or args.all:
            raise InputError(
                ErrorCode.USAGE, "--only and --all select meshes of a folder; name the folder with --objects"
            )
        return procedural_objects(args.made_up or made_up)
    if args.made_up is not None:
        raise InputError(ErrorCode.USAGE, "give --objects or --made-up, not both")
    return folder_objects(args.objects, units=args.units, up=args.mesh_up, names=args.only, everything=args.all)


def _protocol(args: argparse.Namespace, values: dict[str, Any]) -> Protocol:
    named = {"views": args.views, "conditions": args.conditions, "repeats": args.repeats}
    protocol = Protocol.of({**values, **{name: value for name, value in named.items() if value is not None}})
    for assignment in args.protocol:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(
                ErrorCode.USAGE, f"--protocol takes NAME=VALUE, got {quoted(assignment)}; see --help-protocol"
            )
        try:
            protocol = Protocol.of({name.strip(): parse_yaml(text)}, protocol)
        except NotYaml as error:
            raise InputError(
                ErrorCode.USAGE, f"--protocol {clipped(assignment)}: the value is not YAML: {error}"
            ) from None
    return protocol


def _methods(args: argparse.Namespace, of_profile: tuple[str, ...], config: SessionConfig) -> tuple[str, ...]:
    if args.methods or not of_profile:
        return tuple(args.methods)
    return tuple(dict.fromkeys((*of_profile, REFERENCE, config.model)))


def _write(results: Results, args: argparse.Namespace) -> None:
    from sparse_recon.lab.evaluate.tables import write_table

    write_results(results, args.out / FILE_NAME)
    write_table(results, args.out / TABLE)
    written = [FILE_NAME, TABLE]
    if not args.no_pictures:
        from sparse_recon.lab.evaluate.contact_sheet import write_sheet
        from sparse_recon.lab.evaluate.plots import write_plots
        from sparse_recon.lab.evaluate.runner import EXAMPLES

        written += [p.name for p in write_plots(results, args.out)]
        method = _sheet_method(args, _config(args).model)
        if write_sheet(results, method, args.out / EXAMPLES / method, args.out / SHEET):
            written.append(SHEET)
        else:
            print(f"no contact sheet: no answer of {method} was kept when it was scored in {args.out}", file=sys.stderr)
    print(f"{args.out}: {', '.join(written)}", file=sys.stderr)


def _compare(old: Path, new: Path) -> int:
    from sparse_recon.lab.evaluate.compare import compare, report

    before, after = (read_results(path) for path in (old, new))
    found = compare(before, after)
    print(report(found, before, after), end="")
    return found.exit_status


def _derive(results: Results, path: Path) -> None:
    # A later run uses one of these very seeds; 2.5 deviations hold every seed of made-up objects.
    expectations = derive([results], spreads=2.5)
    write_expectations(expectations, path)
    print(f"{path}: {len(expectations.entries)} expectations of {len(expectations.seeds)} seeds", file=sys.stderr)


def _held_against(results: Results, path: Path) -> int:
    stored = read_expectations(path)
    worse, better = regressions(stored, results), improvements(stored, results)
    for line in (*worse, *better):
        print(line, file=sys.stderr)
    verdict = f"{len(worse)} worse, {len(better)} better of {len(stored.entries)} expectations"
    print(verdict + ("; derive them again to keep what is better" if better and not worse else ""), file=sys.stderr)
    return EXIT_FAILED if worse else EXIT_DONE


def _summary(results: Results, out: Path, status: int) -> dict[str, Any]:
    return {
        "exit_code": status,
        "results": str(out / FILE_NAME),
        "fingerprint": results.fingerprint(),
        "scores": len(results.scores),
        "refused": sum(not score.answered for score in results.scores),
    }


class _ShowProtocol(argparse.Action):
    """Prints every condition of the protocol with its default, unit and range, and ends the program."""

    def __init__(self, option_strings: list[str], dest: str, **rest: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=rest.get("help"))

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        for p in parameters(Protocol):
            span = "" if p.low is None else f" [{p.low:g} .. {p.high:g}]"
            print(f"{p.name} = {p.default!r}{' ' + p.unit if p.unit else ''}{span}\n    {p.text}")
        parser.exit(EXIT_DONE)
