"""`sparse_recon play`: publish a recording over ROS, as `ros2 bag play` does. Needs rclpy and the message packages."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse_recon.bags.reader import Bag
from sparse_recon.cli.arguments import at_least
from sparse_recon.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, ErrorCode, InputError, quoted, readable

if TYPE_CHECKING:
    from sparse_recon.ros.play.player import PlayOptions, PlaySummary

CLOCK_HZ = 100.0
WAIT_S = 5.0  # discovery takes up to three seconds where the first announcement of a participant is missed
EXAMPLES = """examples:
  sparse_recon play my_bag
  sparse_recon play my_bag --loop 0 --clock --rate 0.5
  sparse_recon play my.mcap --topics /tf /tf_static /rgb/image --remap /rgb/image:=/image
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "bag", type=Path, metavar="BAG", help="bag folder, .mcap or .db3 file; may be compressed or cut"
    )
    parser.add_argument("--loop", type=at_least(0), default=1, metavar="N", help="passes (default 1; 0: for ever)")
    parser.add_argument(
        "--rate", type=number(above=0.0), default=1.0, metavar="R", help="speed as a factor (default 1)"
    )
    parser.add_argument(
        "--clock",
        type=number(above=0.0),
        nargs="?",
        const=CLOCK_HZ,
        default=0.0,
        metavar="HZ",
        help=f"publish the time of the recording on /clock, so often a second (default {CLOCK_HZ:g})",
    )
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="only these (default: all)")
    parser.add_argument(
        "--remap", nargs="+", default=[], metavar="FROM:=TO", help="publish a recorded topic under another name"
    )
    seconds = number(low=0.0)
    parser.add_argument(
        "--start-offset", type=seconds, default=0.0, metavar="S", help="start so many seconds into the recording"
    )
    parser.add_argument(
        "--duration", type=seconds, metavar="S", help="play so many seconds of it (default: to its end)"
    )
    parser.add_argument("--pause-between", type=seconds, default=0.0, metavar="S", help="wait between passes")
    parser.add_argument(
        "--wait-for-subscribers",
        type=seconds,
        default=WAIT_S,
        metavar="S",
        help=f"start at the latest after so long, earlier when all image topics have a subscriber (default {WAIT_S:g})",
    )
    parser.add_argument("--json", action="store_true", help="what was played, on stdout")


def run(args: argparse.Namespace) -> int:
    try:
        with _ends_on_sigterm():
            return _play(args)
    except _Terminated:
        return EXIT_DONE


def _play(args: argparse.Namespace) -> int:
    from sparse_recon.ros.play.player import Player, ros_node

    options = play_options(args)
    code, error = EXIT_DONE, None
    with Bag(args.bag) as bag, ros_node() as node, _bar(_total(bag, options)) as bar:
        player = Player(bag, node, options, bar.update)
        try:
            player.play()
        except KeyboardInterrupt:
            code, error = EXIT_INTERRUPTED, (ErrorCode.CANCELLED, "interrupted by Ctrl-C")
        except _Terminated:
            print("ended by SIGTERM", file=sys.stderr)
        else:
            if bag.damage:
                code, error = EXIT_FAILED, (ErrorCode.BAG_UNREADABLE, damage_sentence(bag, player.summary))
    print(readable(described(player.summary)), file=sys.stderr)
    if bag.note:
        print(readable(f"warning: {args.bag}: {bag.note}; all its files are played"), file=sys.stderr)
    if error is not None:
        print(readable(f"sparse_recon: {error[1]}"), file=sys.stderr)
    if args.json:
        print(json.dumps(as_record(args.bag, player.summary, code, error)))
    return code


def number(*, low: float | None = None, above: float | None = None) -> Callable[[str], float]:
    """Return an argparse type: finite numbers from `low` on, or above `above`."""

    def parsed(text: str) -> float:
        bound = f"from {low:g} on" if low is not None else f"above {above:g}"
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (low is not None and value < low) or (above is not None and value <= above):
            raise argparse.ArgumentTypeError(f"takes a number {bound}, got {quoted(text)}")
        return value

    return parsed


def play_options(args: argparse.Namespace) -> PlayOptions:
    """Return how the arguments want the recording to be played.

    Raises
    ------
    InputError
        USAGE if a --remap is not FROM:=TO with two absolute names.
    """
    from sparse_recon.ros.play.player import PlayOptions

    remap = {}
    for text in args.remap:
        source, arrow, target = text.partition(":=")
        if not arrow or not source.startswith("/") or not target.startswith("/"):
            raise InputError(ErrorCode.USAGE, f"--remap takes FROM:=TO, both starting with a slash, got {quoted(text)}")
        remap[source] = target
    return PlayOptions(
        loops=args.loop,
        rate=args.rate,
        clock_hz=args.clock,
        topics=tuple(args.topics),
        remap=remap,
        start_offset_s=args.start_offset,
        duration_s=args.duration,
        pause_s=args.pause_between,
        wait_s=args.wait_for_subscribers,
    )


def described(summary: PlaySummary) -> str:
    """Return what was played as lines for people."""
    lines = [f"{count:>8}  {topic}" for topic, count in sorted(summary.messages.items())]
    passes = "1 whole pass" if summary.loops == 1 else f"{summary.loops} whole passes"
    late = f", at most {1e3 * summary.late_s:.0f} ms late" if summary.messages else ""
    return "\n".join([*lines, f"{summary.messages.total()} messages, {passes}, {summary.seconds:.1f} s{late}"])


def as_record(bag: Path, summary: PlaySummary, code: int, error: tuple[ErrorCode, str] | None) -> dict[str, Any]:
    """Return what was played as `--json` prints it."""
    record: dict[str, Any] = {
        "exit_code": code,
        "bag": str(bag),
        "loops": summary.loops,
        "seconds": summary.seconds,
        "late_s": summary.late_s,
        "messages": dict(sorted(summary.messages.items())),
        "left_out": summary.left_out,
        "without_subscribers": list(summary.unheard),
    }
    if error is not None:
        record["error"] = {"code": int(error[0]), "name": error[0].name, "message": error[1]}
    return record


def damage_sentence(bag: Bag, summary: PlaySummary) -> str:
    """Return what is wrong with a recording and what was played all the same."""
    return (
        f"{bag.path} is damaged: {bag.damage}; {summary.messages.total()} messages in {summary.loops} passes were "
        "played, which is all that can be read"
    )


class _Terminated(BaseException):
    """SIGTERM: the regular end of a player that a launch file or a supervisor started."""


@contextmanager
def _ends_on_sigterm() -> Any:
    def end(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _total(bag: Bag, options: PlayOptions) -> int | None:
    """Return how many messages will be played, where the recording says so."""
    counts = [count for topic, count in bag.counts.items() if not options.topics or topic in options.topics]
    partly = options.start_offset_s or options.duration_s is not None
    return None if partly or not options.loops or min(counts, default=-1) < 0 else sum(counts) * options.loops


def _bar(total: int | None) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc="messages", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)
