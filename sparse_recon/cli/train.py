"""`sparse_recon train`: make training data, and train the default model or a mini of a published one on it."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse_recon.cli.arguments import at_least, output_path
from sparse_recon.config.parameter_file import read_parameter_file
from sparse_recon.errors import EXIT_DONE, ConfigError, ErrorCode, FileError, ModelError
from sparse_recon.inputs.yaml_text import NotYaml, parse_yaml

if TYPE_CHECKING:
    from sparse_recon.lab.training.config import TrainingConfig

DEFAULT_MODEL = "compact"
# Of `lab.training.views.systems`, which is not imported for the help.
VIEW_MODELS = ("autoencoder", "sparsefusion", "syncdreamer", "zero123")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        choices=(DEFAULT_MODEL, *VIEW_MODELS),
        default=DEFAULT_MODEL,
        help=f"what is trained (default {DEFAULT_MODEL}); the others learn from pictures",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML of the run; defaults where it says nothing")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="parameters, over the file's"
    )
    parser.add_argument(
        "--data",
        type=output_path,
        default=Path("out/training/data"),
        help="folder of samples (default out/training/data)",
    )
    parser.add_argument(
        "--scans", type=Path, nargs="+", default=[], metavar="DIR", help="folders of the meshes that data.scans names"
    )
    parser.add_argument(
        "--shapes", type=Path, metavar="DIR", help="folder of a pack of shapes, which data.shapes names files of"
    )
    parser.add_argument("--out", type=output_path, default=Path("out/training/run"), help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument(
        "--begin-from", type=Path, metavar="FILE", help="begin with the weights of an earlier run, not with random ones"
    )
    parser.add_argument(
        "--devices",
        type=at_least(1),
        default=1,
        metavar="N",
        help="GPUs, or processes where there are none (default 1)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--generate", action="store_true", help="make the samples that are missing in --data, and end")
    what.add_argument("--sheet", type=output_path, metavar="PNG", help="draw some samples of --data, and end")
    what.add_argument("--measure", action="store_true", help="measure the run in --out on held-out samples, and end")
    what.add_argument(
        "--ship",
        type=output_path,
        metavar="FILE",
        help="calibrate the run in --out on held-out samples, write its weights",
    )
    parser.add_argument(
        "--average",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="average the weights that --ship and --measure take with these, of runs that began alike",
    )
    parser.add_argument("--count", type=at_least(1), default=24, help="samples of --sheet and --measure (default 24)")
    parser.add_argument(
        "--steps", type=at_least(1), default=1, help="denoising steps of --measure and --ship (default 1)"
    )
    parser.add_argument("--samples", type=at_least(1), default=1, help="samples averaged likewise (default 1)")
    parser.add_argument("--json", action="store_true", help="describe the outcome on stdout")


def run(args: argparse.Namespace) -> int:
    logging.getLogger("sparse_recon.lab.training").setLevel(logging.INFO)
    if args.model != DEFAULT_MODEL:
        from sparse_recon.cli.train_views import outcome_of

        outcome = outcome_of(args, _values(args))
        if args.json:
            print(json.dumps(outcome))
        return EXIT_DONE
    config = _config(args)
    if args.generate:
        outcome = _generate(args, config)
    elif args.sheet:
        outcome = _sheet(args)
    elif args.measure:
        outcome = _measure(args)
    elif args.ship:
        outcome = _ship(args)
    else:
        outcome = _train(args, config)
    if args.json:
        print(json.dumps(outcome))
    return EXIT_DONE


def _config(args: argparse.Namespace) -> TrainingConfig:
    from sparse_recon.lab.training.config import TrainingConfig, load_training_config

    config = TrainingConfig()
    for values in _values(args):
        config = load_training_config(values, config)
    return config


def _values(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what the config's file says, and what --set says over it."""
    pairs = (item.partition("=") for item in args.set)
    try:
        values = {name: parse_yaml(value) for name, _, value in pairs}
    except NotYaml as error:
        raise ConfigError(f"--set takes NAME=VALUE, and a value is not YAML: {error}") from error
    return [dict(read_parameter_file(args.config)) if args.config else {}, values]


def _generate(args: argparse.Namespace, config: TrainingConfig) -> dict[str, Any]:
    from tqdm import tqdm

    from sparse_recon.lab.training.generate import generate, shard_count
    from sparse_recon.lab.training.pack import packed_shapes

    if args.shapes and not config.data.shape_shards:
        raise ConfigError(
            "--shapes is given and data.shape_shards is 0: set data.shape_shards to how many files of samples to make "
            "of the pack, or leave --shapes out"
        )
    if config.data.shape_shards and not args.shapes:
        raise ConfigError(
            f"data.shape_shards is {config.data.shape_shards} and --shapes is not given: name the folder of the pack "
            "with --shapes DIR, or set data.shape_shards to 0"
        )
    scans = _scans(args, config)
    shapes = [s for s in packed_shapes(args.shapes, config.data.shapes) if s.tabletop] if args.shapes else []
    with tqdm(total=shard_count(config.data, scans, shapes), unit="shard", file=sys.stderr) as bar:
        count = generate(args.data, config.data, lambda number, samples: bar.update(), scans, shapes)
    return {"data": str(args.data), "samples": count}


def _scans(args: argparse.Namespace, config: TrainingConfig) -> tuple[Path, ...]:
    """Return the meshes to learn from; never those that `sparse_recon evaluate` scores."""
    from sparse_recon.lab.evaluate.objects import is_scored
    from sparse_recon.lab.training.scans import scan_paths

    if scored := [name for name in config.data.scans if is_scored(name)]:
        raise ConfigError(
            f"data.scans names {', '.join(scored)}, which are test objects of the evaluation; remove them from "
            "data.scans"
        )
    if config.data.scan_shards and not (config.data.scans and args.scans):
        missing = "--scans is not given" if config.data.scans else "data.scans names none"
        raise ConfigError(
            f"data.scan_shards is {config.data.scan_shards} and {missing}: name the folder of the scans with --scans "
            "DIR and their names in data.scans, or set data.scan_shards to 0"
        )
    if not config.data.scans or not args.scans:
        return ()
    return scan_paths(args.scans, config.data.scans)


def _sheet(args: argparse.Namespace) -> dict[str, Any]:
    from sparse_recon.lab.training.sample_sheet import write_sheet
    from sparse_recon.lab.training.shards import list_samples, read_sample, shard_paths

    stored = list_samples(shard_paths(args.data))
    if not stored:
        raise FileError(ErrorCode.INPUT_MISSING, f"{args.data} holds no samples; make some with --generate")
    chosen = stored[:: max(1, len(stored) // args.count)][: args.count]
    write_sheet(args.sheet, [read_sample(s) for s in chosen])
    return {"sheet": str(args.sheet), "samples": len(chosen)}


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    from sparse_recon.lab.training.checkpoints import MODEL_FILE
    from sparse_recon.lab.training.generate import HELD_OUT
    from sparse_recon.lab.training.measure import measure, summary
    from sparse_recon.lab.training.shards import list_samples, shard_paths
    from sparse_recon.lab.training.ship import averaged

    net = averaged([args.out / MODEL_FILE, *args.average])
    stored = list_samples(shard_paths(args.data / HELD_OUT))
    chosen = stored[:: max(1, len(stored) // args.count)][: args.count]
    row = summary(measure(net, chosen, steps=args.steps, samples=args.samples))
    print("\n".join(f"{name:16} {value:.4f}" for name, value in row.items()), file=sys.stderr)
    return row


def _ship(args: argparse.Namespace) -> dict[str, Any]:
    from sparse_recon.lab.training.ship import ship

    outcome = ship(args.out, args.data, args.ship, args.steps, args.samples, args.average)
    print("\n".join(f"{name:16} {value}" for name, value in outcome.items()), file=sys.stderr)
    return outcome


def team(args: argparse.Namespace) -> dict[str, Any]:
    """Start a process a device; each comes here again as a member of a team."""
    from sparse_recon.lab.training.team import launch

    words = ["train", "--model", args.model, "--data", str(args.data), "--out", str(args.out)]
    words += ["--config", str(args.config)] if args.config else []
    words += ["--set", *args.set] if args.set else []
    words += ["--resume"] if args.resume else []
    words += ["--begin-from", str(args.begin_from)] if args.begin_from else []
    code = launch(args.devices, words)
    if code:
        raise ModelError(
            ErrorCode.MODEL_FAILED,
            f"training on {args.devices} devices ended with exit code {code}; the reason is printed above",
        )
    return {"out": str(args.out), "devices": args.devices}


def check_no_run(args: argparse.Namespace) -> None:
    """Raise FileError OUTPUT_UNWRITABLE if a run is there that is not to be gone on with."""
    from sparse_recon.lab.training.checkpoints import STATE_FILE

    in_team = "WORLD_SIZE" in os.environ
    if (args.out / STATE_FILE).exists() and not args.resume and not in_team:
        raise FileError(
            ErrorCode.OUTPUT_UNWRITABLE,
            f"{args.out} already holds a run; continue it with --resume, or name another folder with --out",
        )


def _train(args: argparse.Namespace, config: TrainingConfig) -> dict[str, Any]:
    from tqdm import tqdm

    from sparse_recon.lab.training.loop import Run
    from sparse_recon.lab.training.run import Progress

    check_no_run(args)
    if args.devices > 1:
        return team(args)
    run = Run(config, args.data, args.out, args.resume, args.begin_from)
    precision = "bf16" if run.bf16 else "fp32"
    print(f"{args.out}: {len(run.batches)} samples, {run.device}, {precision}, from step {run.step}", file=sys.stderr)
    with tqdm(
        total=config.steps,
        initial=run.step,
        unit="step",
        file=sys.stderr,
        mininterval=5,
        disable=not run.team.is_main_process,
    ) as bar:

        def on_step(progress: Progress) -> None:
            bar.update()
            bar.set_postfix(loss=f"{progress.loss:.3f}", samples=progress.samples, refresh=False)

        run.train(on_step)
    return {"out": str(args.out), "step": run.step, "seconds": round(run.seconds, 1)}
