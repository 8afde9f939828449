"""Does anything that a message or a recording can hold end a program, or make it hang? Coverage-guided fuzzing by hand.

    pip install atheris            # CPython 3.11 to 3.13 on x86-64; no dependency of the package
    python benchmarks/fuzz.py [--seconds 600] [--seed 1] [--target images|bags|... ...] [--out out/fuzz]

Each target runs in a process of its own for an equal share of the time, on this checkout:

- images: bytes as PNG, JPEG, RVL and raw images of every encoding, into colour, depth and labels.
- messages: bytes as serialised Image, CompressedImage, CameraInfo and TFMessage, each in place of a good one of a frame
  that is put together, kept, and searched for objects.
- bags: bytes as MCAP and SQLite files, plain and packed, of which all frames are read.
- documents: bytes as YAML of parameters and of metadata, and as JSON.
- results: bytes in place of a file of a result folder, which is read back as `view` does.
- checkpoints: bytes as safetensors and as pickles of PyTorch.

Whatever is raised but a `SparseReconError` is a crash; more than 10 s for one input is a hang; more than 2 GB of memory
is too much. The inputs that did it lie in OUT afterwards; `python benchmarks/fuzz.py --target T --input FILE` runs one
again. What was found is kept in OUT/corpus, and the next run goes on from there; a new OUT begins anew. The exit code
is 1 for any such input.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("images", "messages", "bags", "documents", "results", "checkpoints")
HANG_S, MEMORY_MB, MAX_BYTES = 10, 2048, 1 << 17
FOUND = ("crash-*", "timeout-*", "oom-*", "slow-unit-*")


def main() -> int:
    """Run the targets, or one input, or what libFuzzer runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="of all targets together")
    parser.add_argument("--target", choices=TARGETS, action="append", default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "fuzz")
    parser.add_argument("--seed", type=int, default=0, help="of what is tried; 0 takes another each time")
    parser.add_argument("--input", type=Path, help="run this one alone")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    targets = args.target or list(TARGETS)
    if args.input is not None:
        prepared(targets[0])(args.input.read_bytes())
        return 0
    if find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install atheris")
    if args.flags is not None:
        fuzz(targets[0], args.flags)
    return max(run(target, args.seconds // len(targets), args.out, args.seed) for target in targets)


def run(target: str, seconds: int, out: Path, seed: int) -> int:
    """Fuzz one target in a process of its own; return 1 if something was found."""
    corpus, found = out / "corpus" / target, out / target
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    flags = [f"-max_total_time={seconds}", f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MB}", f"-max_len={MAX_BYTES}"]
    flags += [f"-seed={seed}", f"-artifact_prefix={found}/", "-print_final_stats=1", "-len_control=0", str(corpus)]
    command = [sys.executable, __file__, "--target", target, "--out", str(out), "--flags", *flags]
    quiet = {**os.environ, "OPENCV_LOG_LEVEL": "SILENT"}
    with (found / "log.txt").open("w+", errors="replace") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=quiet, check=False).returncode
        log.seek(0)
        text = log.read()
    inputs = sorted(str(path) for pattern in FOUND for path in found.glob(pattern))
    figures = {name: match[-1] for name in ("cov", "ft") if (match := re.findall(rf"\b{name}: (\d+)", text))}
    executions = re.findall(r"number_of_executed_units: (\d+)", text) or re.findall(r"^#(\d+)", text, re.MULTILINE)
    print(f"{target}: {executions[-1] if executions else 0} executions, {seconds} s, coverage {figures}, code {code}")
    for path in inputs:
        print(f"  {path}")
    return int(bool(inputs) or code != 0)


def fuzz(target: str, flags: Sequence[str]) -> None:
    """Hand over to libFuzzer, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["sparse_recon", "rosbags"]):
        test = prepared(target, seeds=Path(flags[-1]))
    atheris.Setup([sys.argv[0], *flags], test)
    atheris.Fuzz()


def prepared(target: str, seeds: Path | None = None) -> Callable[[bytes], None]:
    """Return what takes one input; write good inputs into the folder `seeds`."""
    sys.path.insert(0, str(ROOT))
    logging.disable(logging.CRITICAL)
    import fuzz_targets

    made: fuzz_targets.Target = fuzz_targets.TARGETS[target]()
    if seeds is not None:
        for number, data in enumerate(made.seeds()):
            (seeds / f"seed_{number}").write_bytes(data)
    return made.run


if __name__ == "__main__":
    sys.exit(main())
