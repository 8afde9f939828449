"""The command `sparse_recon`. Each subcommand is a module with `add_arguments(parser)` and `run(args) -> exit code`."""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from sparse_recon import __version__
from sparse_recon.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    EXIT_USAGE,
    ErrorCode,
    SparseReconError,
    exit_code,
    quoted,
    readable,
)

# Only the module of the command that is asked for is imported.
COMMANDS = {
    "replay": ("replay", "complete the objects in a ROS 2 recording"),
    "complete": ("complete", "complete the objects in a folder of posed RGB-D files"),
    "bag-from-frames": ("bag_from_frames", "turn such a folder into a recording"),
    "play": ("play", "publish a recording over ROS, as ros2 bag play does"),
    "view": ("view", "look at a result"),
    "evaluate": ("evaluate", "measure how good completions are"),
    "demo": ("demo", "simulate a tabletop, replay it and show the result"),
    "simulate": ("simulate", "write a simulated recording"),
    "train": ("train", "make training data and train the default model"),
    "train-segmenter": ("train_segmenter", "train what tells things apart in a frame"),
    "weights": ("weights", "check and convert the published weights of a model"),
    "doctor": ("doctor", "say what this machine has and what is missing"),
}
MESSAGE_CHARACTERS = 1000  # of what is wrong with arguments: argparse repeats them whole
_EXIT_HELP = (
    "exit codes: 0 done, 2 bad usage, 3 refused for lack of evidence, 130 interrupted by Ctrl-C, 143 by SIGTERM, "
    "1 otherwise"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; talk goes to stderr, `--json` to stdout."""
    argv = list(sys.argv[1:] if argv is None else argv)
    name = argv[0] if argv else ""
    if name not in COMMANDS:
        return _without_command(argv)
    as_json = "--json" in argv
    try:
        with _interrupted_by_sigterm():
            return _run(name, argv[1:], as_json)
    except SparseReconError as error:
        return _failed(error.code.name, int(error.code), error.message, exit_code(error), as_json)
    except ModuleNotFoundError as error:
        message = f"{error.name} is needed for {name} and is not installed; see: sparse_recon doctor"
        return _failed("DEPENDENCY_MISSING", 6, message, EXIT_FAILED, as_json)
    except KeyboardInterrupt as interrupt:
        code = EXIT_TERMINATED if isinstance(interrupt, _Terminated) else EXIT_INTERRUPTED
        return _failed("CANCELLED", 3, "interrupted; what was finished stays", code, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end
        return EXIT_FAILED


def _run(name: str, words: Sequence[str], as_json: bool) -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Readable("%(levelname)s: %(message)s"))
    module = importlib.import_module(f"sparse_recon.cli.{COMMANDS[name][0]}")
    parser = _Parser(
        as_json=as_json,
        prog=f"sparse_recon {name}",
        description=_sentence(module.__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    parser.epilog = "\n".join(filter(None, [parser.epilog, _EXIT_HELP]))
    return int(module.run(parser.parse_args(words)))


class _Terminated(KeyboardInterrupt):
    """SIGTERM, after which commands clean up as after Ctrl-C."""


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _without_command(argv: Sequence[str]) -> int:
    lines = [f"  {name:<16} {text}" for name, (_, text) in COMMANDS.items()]
    parser = _Parser(
        as_json="--json" in argv,
        prog="sparse_recon",
        usage="sparse_recon COMMAND [arguments]",
        description="Completes objects that an RGB-D camera saw from a few sides.",
        epilog="\n".join(["commands (each has --help):", *lines, "", _EXIT_HELP]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sparse_recon {__version__}")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    args, _ = parser.parse_known_args(argv)
    if args.command:
        near = difflib.get_close_matches(args.command, COMMANDS, 1, 0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        parser.error(f"unknown command {quoted(args.command)}.{hint} There are {', '.join(COMMANDS)}")
    parser.print_help(sys.stderr)
    if parser.as_json:
        _print_error(ErrorCode.USAGE.name, ErrorCode.USAGE, f"name a command: {', '.join(COMMANDS)}", EXIT_USAGE)
    return EXIT_USAGE


class _Readable(logging.Formatter):
    """Lets no input that a warning repeats reach the terminal as it is."""

    def format(self, record: logging.LogRecord) -> str:
        return readable(super().format(record))


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments on stdout too, where `--json` is among them."""

    def __init__(self, *, as_json: bool, **how: Any) -> None:
        super().__init__(**how)
        self.as_json = as_json

    def error(self, message: str) -> NoReturn:
        message = readable(message)
        if len(message) > MESSAGE_CHARACTERS:
            message = f"{message[:MESSAGE_CHARACTERS]} ..."
        if self.as_json:
            _print_error(ErrorCode.USAGE.name, ErrorCode.USAGE, message, EXIT_USAGE)
        super().error(message)


def _sentence(doc: str) -> str:
    """Return what a command's module says of itself after its name."""
    text = doc.partition(":")[2].strip()
    return text[:1].upper() + text[1:]


def _failed(name: str, number: int, message: str, code: int, as_json: bool) -> int:
    print(f"sparse_recon: {message}", file=sys.stderr)
    if as_json:
        _print_error(name, number, message, code)
    return code


def _print_error(name: str, number: int, message: str, code: int) -> None:
    print(json.dumps({"exit_code": code, "error": {"code": int(number), "name": name, "message": message}}))


if __name__ == "__main__":
    sys.exit(main())
