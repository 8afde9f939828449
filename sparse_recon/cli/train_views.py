"""`sparse_recon train --model NAME`: pictures of objects, and the mini models that learn from them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse_recon.errors import ConfigError, ErrorCode, FileError

if TYPE_CHECKING:
    from sparse_recon.lab.training.views.config import ViewRunConfig


def outcome_of(args: argparse.Namespace, values: list[dict[str, Any]]) -> dict[str, Any]:
    """Do what is asked for and return what came of it.

    Parameters
    ----------
    values : of the config's file and of `--set`, in this order.
    """
    if args.begin_from or args.average:
        raise ConfigError(f"--begin-from and --average are of the default model; leave them out with {args.model}")
    config = _config(args.model, values)
    if args.generate:
        return _generate(args, config)
    if args.sheet:
        return _sheet(args)
    if args.measure:
        from sparse_recon.lab.training.views.ship import measure_views

        return _said(measure_views(args.model, args.out, args.data, args.count))
    if args.ship:
        from sparse_recon.lab.training.views.ship import ship_views

        return _said(ship_views(args.model, args.out, args.data, args.ship, args.count))
    return _train(args, config)


def _config(system: str, values: list[dict[str, Any]]) -> ViewRunConfig:
    from sparse_recon.lab.training.views.systems import config_of

    config = config_of(system, {})
    for group in values:
        config = config_of(system, group, config)
    return config


def _said(outcome: dict[str, Any]) -> dict[str, Any]:
    print("\n".join(f"{name:16} {value}" for name, value in outcome.items()), file=sys.stderr)
    return outcome


def _generate(args: argparse.Namespace, config: ViewRunConfig) -> dict[str, Any]:
    from tqdm import tqdm

    from sparse_recon.lab.training.views.generate import generate_views

    with tqdm(unit="shard", file=sys.stderr) as bar:

        def on_shard(done: int, count: int) -> None:
            bar.total = count
            bar.update(done - bar.n)

        objects = generate_views(args.data, config.data, args.scans, args.shapes, on_shard)
    return {"data": str(args.data), "objects": objects}


def _sheet(args: argparse.Namespace) -> dict[str, Any]:
    from sparse_recon.lab.training.views.shards import list_views, view_shards
    from sparse_recon.lab.training.views.sheet import write_sheet

    stored = list_views(view_shards(args.data))
    if not stored:
        raise FileError(ErrorCode.INPUT_MISSING, f"{args.data} holds no pictures; make some with --generate")
    chosen = stored[:: max(1, len(stored) // args.count)][: args.count]
    write_sheet(args.sheet, chosen)
    return {"sheet": str(args.sheet), "objects": len(chosen)}


def _train(args: argparse.Namespace, config: ViewRunConfig) -> dict[str, Any]:
    from tqdm import tqdm

    from sparse_recon.cli.train import check_no_run, team
    from sparse_recon.lab.training.run import Progress
    from sparse_recon.lab.training.views.systems import run_of

    check_no_run(args)
    if args.devices > 1:
        return team(args)
    run = run_of(args.model, config, Path(args.data), Path(args.out), args.resume)
    precision = "bf16" if run.bf16 else "fp32"
    print(f"{args.out}: {run.samples()} pictures, {run.device}, {precision}, from step {run.step}", file=sys.stderr)
    quiet = not run.team.is_main_process
    with tqdm(total=config.steps, initial=run.step, unit="step", file=sys.stderr, mininterval=5, disable=quiet) as bar:

        def on_step(progress: Progress) -> None:
            bar.update()
            bar.set_postfix(loss=f"{progress.loss:.4f}", refresh=False)

        run.train(on_step)
    return {"out": str(args.out), "step": run.step, "seconds": round(run.seconds, 1)}
