"""`sparse_recon view`: look at a result folder, in the rerun viewer or, without a screen, as one picture."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sparse_recon.cli.arguments import output_path
from sparse_recon.cli.report import PICTURE
from sparse_recon.errors import EXIT_DONE
from sparse_recon.viz.interactive import show, viewer_available
from sparse_recon.viz.overview import overview
from sparse_recon.viz.saved import load_objects


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="result folder that replay, complete or demo wrote")
    parser.add_argument("--png", action="store_true", help="write the picture even where a viewer could be opened")
    parser.add_argument(
        "--save", type=output_path, metavar="FILE.rrd", help="write a recording for the rerun viewer instead"
    )
    parser.add_argument("--json", action="store_true", help="say on stdout what was opened or written")


def run(args: argparse.Namespace) -> int:
    objects = load_objects(args.folder)
    if args.save is not None:
        show(objects, save_to=args.save)
        shown, where = str(args.save), f"{args.save}: open it with `rerun {args.save}`"
    elif viewer_available() and not args.png:
        show(objects)
        shown, where = "rerun", f"{len(objects)} objects opened in the rerun viewer"
    else:
        picture = current_picture(args.folder)
        if picture is None:
            picture = args.folder / PICTURE
            overview([], objects, picture, title=args.folder.resolve().name)
        shown, where = str(picture), f"open {picture}"
    print(where, file=sys.stderr)
    if args.json:
        print(json.dumps({"objects": [o.object_id for o in objects], "shown": shown}))
    return EXIT_DONE


def current_picture(folder: Path) -> Path | None:
    """Return the folder's picture if it is not older than its results: it may show frames that are not stored."""
    picture = folder / PICTURE
    results = [*folder.glob("quality.json"), *folder.glob("*/quality.json")]
    if picture.is_file() and all(picture.stat().st_mtime_ns >= path.stat().st_mtime_ns for path in results):
        return picture
    return None
