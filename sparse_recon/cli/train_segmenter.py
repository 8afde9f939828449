"""`sparse_recon train-segmenter`: simulate clutter, and train the network that tells things apart in a frame."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from sparse_recon.cli.arguments import at_least, output_path
from sparse_recon.config.parameters import replaced
from sparse_recon.errors import EXIT_DONE, ConfigError, ErrorCode, FileError, clipped
from sparse_recon.inputs.yaml_text import NotYaml, parse_yaml

HELD_OUT = "held_out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=output_path, default=Path("out/segmenter/data"), metavar="DIR", help="folder of views"
    )
    parser.add_argument(
        "--out", type=output_path, default=Path("out/segmenter/run"), metavar="DIR", help="folder of the run"
    )
    parser.add_argument(
        "--meshes",
        type=Path,
        metavar="DIR",
        help="folder of meshes, metres, z up, that lie in the clutter beside boxes",
    )
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="parameters of the run"
    )
    parser.add_argument(
        "--begin-from", type=Path, metavar="FILE", help="begin with these weights, not with random ones"
    )
    parser.add_argument("--threads", type=at_least(1), metavar="N", help="threads of the network (default: torch's)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--generate", type=at_least(1), metavar="N", help="make N files of 120 views where they are missing, and end"
    )
    what.add_argument("--measure", type=Path, metavar="FILE", help="measure weights on held-out views, and end")
    what.add_argument("--ship", type=output_path, metavar="FILE", help="write the averaged weights of the run, and end")
    parser.add_argument("--held-out", action="store_true", help="--generate makes views that are never learned from")
    parser.add_argument("--views", type=at_least(1), default=100, help="views of --measure and --ship (default 100)")
    parser.add_argument("--json", action="store_true", help="describe the outcome on stdout")


def run(args: argparse.Namespace) -> int:
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.generate:
        outcome = _generate(args)
    elif args.measure:
        from sparse_recon.observe.segmenter.weights import load_segmenter_net

        outcome = _measured(args, load_segmenter_net(args.measure))
    elif args.ship:
        outcome = _ship(args)
    else:
        outcome = _train(args)
    print("\n".join(f"{name:16} {value}" for name, value in outcome.items()), file=sys.stderr)
    if args.json:
        print(json.dumps(outcome))
    return EXIT_DONE


def _generate(args: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm

    from sparse_recon.lab.training.segmenter.scenes import generate, mesh_files

    meshes = mesh_files(args.meshes) if args.meshes else []
    folder, seed = (args.data / HELD_OUT, 2) if args.held_out else (args.data, 1)
    with tqdm(total=args.generate, unit="file", file=sys.stderr) as bar:
        generate(folder, meshes, args.generate, seed, lambda number: bar.update())
    return {"data": str(folder), "files": args.generate, "meshes": len(meshes)}


def _measured(args: argparse.Namespace, net: Any) -> dict[str, Any]:
    from sparse_recon.lab.training.segmenter.measure import measured

    shards = sorted((args.data / HELD_OUT).glob("*.npy"))
    if not shards:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{args.data / HELD_OUT} holds no views; make some with --generate 4 --held-out"
        )
    return {name: round(value, 2) for name, value in measured(net, shards, args.views).items()}


def _ship(args: argparse.Namespace) -> dict[str, Any]:
    from sparse_recon.lab.training.segmenter.loop import averaged_weights, write_weights
    from sparse_recon.machine.safetensors_file import sha256_of
    from sparse_recon.observe.segmenter.layout import Widths
    from sparse_recon.observe.segmenter.weights import load_segmenter_net

    weights, about = averaged_weights(args.out)
    write_weights(args.ship, weights, Widths(), {"training": about, "licence": "Apache-2.0"})
    found = _measured(args, load_segmenter_net(args.ship))
    write_weights(args.ship, weights, Widths(), {"training": about, "held_out": found, "licence": "Apache-2.0"})
    return {**found, "step": about["step"], "sha256": sha256_of(args.ship)}


def _train(args: argparse.Namespace) -> dict[str, Any]:
    from sparse_recon.lab.training.segmenter.loop import SegmenterRun, SegmenterTraining

    config = SegmenterTraining()
    for assignment in args.set:
        name, equals, value = assignment.partition("=")
        if not equals or name not in {f.name for f in fields(SegmenterTraining)}:
            names = ", ".join(f.name for f in fields(SegmenterTraining))
            raise ConfigError(f"--set takes NAME=VALUE with one of {names}, got {clipped(assignment)}")
        try:
            config = replaced(config, {name: parse_yaml(value)})
        except NotYaml as error:
            raise ConfigError(f"--set {clipped(assignment)}: the value is not YAML: {error}") from None
    run = SegmenterRun(config, args.data, args.out, args.begin_from)
    print(f"{args.out}: from step {run.step} of {config.steps}", file=sys.stderr)
    run.train(lambda step, losses: print(step, {n: round(v, 4) for n, v in losses.items()}, file=sys.stderr))
    return {"out": str(args.out), "step": run.step}
