"""`sparse_recon weights`: check the published weights of a model, and convert them to one safetensors file.

A training checkpoint of 15 GB becomes a file of 5 GB, or of 2.5 GB in half precision, that loads in seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sparse_recon.cli.arguments import output_path
from sparse_recon.errors import EXIT_DONE, EXIT_FAILED, ConfigError, ErrorCode, FileError

if TYPE_CHECKING:
    from sparse_recon.complete.latent.converted import WeightsSummary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from sparse_recon.complete.registry import PUBLISHED

    parser.add_argument(
        "action",
        choices=("check", "convert"),
        help="check: read weights strictly and say what they hold, or every fault; convert: write OUT",
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="CKPT", help="the authors' file, a copy as safetensors, or a folder"
    )
    parser.add_argument("out", type=output_path, nargs="?", metavar="OUT", help="safetensors file that convert writes")
    parser.add_argument(
        "--model", choices=sorted(PUBLISHED), default="zero123", help="whose weights they are (default zero123)"
    )
    parser.add_argument("--dtype", choices=("fp32", "bf16", "fp16"), default="fp32", help="of OUT (default fp32)")
    parser.add_argument(
        "--raw", action="store_true", help="take the raw weights, not their moving average, where there are both"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("--json", action="store_true", help="describe the outcome on stdout")


def run(args: argparse.Namespace) -> int:
    from sparse_recon.complete.latent.converted import convert, summary
    from sparse_recon.complete.latent.mismatch import WeightsMismatchError
    from sparse_recon.complete.registry import published_layout

    layout = published_layout(args.model)
    try:
        if args.action == "convert":
            if args.out is None:
                raise ConfigError("convert needs a file to write: sparse_recon weights convert CKPT OUT.safetensors")
            if args.out.exists() and not args.overwrite:
                raise FileError(ErrorCode.OUTPUT_UNWRITABLE, f"{args.out} exists; name another file or add --overwrite")
            outcome = convert(args.checkpoint, args.out, layout, args.dtype, not args.raw)
        else:
            outcome = summary(args.checkpoint, layout, not args.raw)
    except WeightsMismatchError as error:
        told = [*error.listed, f"{args.checkpoint}: {len(error.faults)} faults, not the weights of {args.model}."]
        print("\n".join(told + [error.probably] * bool(error.probably)), file=sys.stderr)
        if args.json:
            answer = {"code": error.code.name, "faults": list(error.faults), "probably": error.probably}
            print(json.dumps(answer))
        return EXIT_FAILED
    _tell(outcome)
    if args.json:
        print(json.dumps(asdict(outcome) | {"path": str(outcome.path)}))
    return EXIT_DONE


def _tell(outcome: WeightsSummary) -> None:
    average = ", moving average" if outcome.averaged else ""
    lines = [f"{outcome.path}: {outcome.model}, {outcome.kind}{average}"]
    lines += [
        f"  {part:14} {count:5} tensors  {outcome.parameters[part]:13,} parameters"
        for part, count in outcome.tensors.items()
    ]
    print("\n".join(lines), file=sys.stderr)
