"""`sparse_recon evaluate --captures`: real frames with known objects."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sparse_recon.cli.arguments import UP_UNKNOWN, config_of
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import EXIT_DONE

PICTURES = "captures"


def run_captures(args: argparse.Namespace) -> int:
    """Score every capture of a folder; leave tables and a picture of each."""
    from sparse_recon.lab.evaluate.captures.report import SCORES, TABLE, write_sheet, write_tables
    from sparse_recon.lab.evaluate.captures.study import study, summary

    args.seed, args.up, args.max_objects = None, None, None  # nothing is told that `complete` would have to be told
    config = config_of(args, SessionConfig(up_world=UP_UNKNOWN, world_frame="world"))
    out = args.out or Path("out/captures")
    scores = []
    for exhibit in study(args.captures, config):
        scores.append(exhibit.score)
        found = exhibit.score.discovery
        alone = "" if found is None else f", {len(found.matched)} of {found.in_view} alone"
        print(f"{exhibit.score.name}: {len(exhibit.score.objects)} listed{alone}", file=sys.stderr)
        if not args.no_pictures:
            write_sheet(exhibit, out / PICTURES / f"{exhibit.score.name}.png")
        del exhibit  # its frames
    print(write_tables(scores, out))
    print(f"{out}: {TABLE}, {SCORES}" + ("" if args.no_pictures else f", {PICTURES}/"), file=sys.stderr)
    if args.json:
        print(json.dumps({"exit_code": EXIT_DONE, **summary(scores)}))
    return EXIT_DONE
