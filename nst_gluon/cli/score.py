"""``score``: the terms of any picture, whoever made it, under any preset."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nst_gluon import api
from nst_gluon.cli import options
from nst_gluon.cli.console import whole_number
from nst_gluon.objective import presets
from nst_gluon.objective.loss_terms import TERMS
from nst_gluon.system.documents import check, parse
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import one_line, quoted, read_bounded

LARGEST_RUN = 1 << 26  # bytes of a run.json
# What is taken from it.
RUN = {
    "schema_version": int,
    "settings!": {"style!": str, "content": str, "preset!": str, "style_size": int, "weights": str,
                  "random_weights": bool, "other_styles": [str]},
}  # fmt: skip


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``score``."""
    parser = commands.add_parser(
        "score",
        help="compute the loss terms of a picture under a preset",
        description="Evaluate the objective of a preset on a picture. The terms content, style and tv are weighted, so "
        "that they add up to objective; without --content, content is 0 (texture).",
        epilog=options.example("score chelsea --style great_wave --content chelsea --size 256 --json"),
    )
    parser.add_argument("picture", metavar="PICTURE", help="a picture file, or the name of a bundled picture")
    add = parser.add_argument
    add("--style", metavar="STYLE", help="a file or a name; its centre square is used, at the style size")
    add(
        "--content",
        metavar="CONTENT",
        help="a file or a name; its centre square if PICTURE is square; resampled to PICTURE's size",
    )
    add(
        "--like",
        metavar="RUN",
        help="take style, content, preset, style size and weights from a run of python -m bench (its folder), so that "
        "the result can be compared with its report; a file named ...-texture-... is scored without content",
    )
    options.add_preset(add)
    add(
        "--size",
        type=options.parse_size,
        metavar="N",
        help="longer side in pixels; a picture of that size is not resampled (default: %(default)s, as it is)",
    )
    add(
        "--style-size",
        type=whole_number("--style-size", 1),
        metavar="M",
        help="side of the style picture in pixels (default: %(default)s, as in benchmarks)",
    )
    add("--json", action="store_true", help="print one JSON object on stdout")
    options.add_engine_options(parser)
    options.take_defaults(parser, api.score)
    parser.set_defaults(run=run, style=None)


def like(folder: str, picture: str) -> dict[str, Any]:
    """The arguments of :func:`nst_gluon.score` with which a run of the harness scored its pictures."""
    path = Path(folder) / "run.json"
    try:
        recorded = parse(read_bounded(path, LARGEST_RUN))
        check(recorded, RUN, "")
        settings = recorded["settings"]
        found = {name: settings[name] for name in ("style", "preset", "style_size", "weights", "random_weights")}
        found["preset"] = presets.recorded(found["preset"], int(recorded.get("schema_version", 1)))
        content = settings["content"]
        for other in settings.get("other_styles") or ():
            if Path(picture).name.startswith(f"{re.sub(r'[^0-9A-Za-z_]', '_', Path(other).stem)}-"):
                found["style"] = other
    except OSError as error:
        raise UserError(f"--like: cannot read {quoted(path)} ({one_line(error)}); give the folder of a run") from error
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"--like: {quoted(path)} does not describe a run; give the folder of a run") from error
    texture = re.search(r"(?:^|-)texture(?:-|\.|$)", Path(picture).name)
    return {**found, "content": None if texture else content}


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    values = options.values(args, api.score)
    if args.like is not None:
        taken = like(args.like, args.picture)
        default = {**api.defaults(api.score), "style": None}
        for name in taken:
            if name in values and values[name] != default[name]:
                option = name.replace("_", "-")
                raise UserError(f"--{option}: --like takes it from the run; leave one of them out")
        values.update(taken)
    elif args.style is None:
        raise UserError("--style: missing; give a file or a name, or --like RUN")
    found = asdict(api.score(args.picture, **{**values, "listener": options.Terminal(quiet=False)}))
    if args.json:
        print(json.dumps({**found, "size": max(found["height"], found["width"])}))
    else:
        for name in TERMS:
            print(f"{name:10}  {found[name]:.6g}")
        shape = f"{found['width']}x{found['height']}, style at {found['style_size']}x{found['style_size']}"
        print(f"{'preset':10}  {found['preset']} ({found['task']}), {shape}, {found['weights']['source']}")
    return 0
