"""``python -m bench parity``: do the engines compute the same? One line an item; exit status 1 if one differs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from bench.plan import build, engines
from nst_gluon.cli import console
from nst_gluon.objective import presets
from nst_gluon.system.errors import UserError

SMALLEST, LARGEST = 32, 4096


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "parity",
        help="check that the engines compute the same",
        description="Compare two or more engines: every loss term and gradient of every preset, every activation that "
        "a preset names, and the pictures of the trained nets, in float32 on the CPU, each engine in its own process. "
        "Exit status 1 if a difference exceeds its bound.",
        epilog="example:\n  python -m bench parity --engine gluon,pytorch --content photo.jpg --size 256",
    )
    argument = command.add_argument
    argument("--engine", metavar="LIST", help="the engines, the reference first (default: all installed, gluon first)")
    argument("--engine-python", metavar="NAME=PATH", action="append", help="as for run; may be repeated")
    argument("--preset", default="all", metavar="LIST", help=f"all, or any of: {', '.join(presets.PRESETS)} "
             "(default: all)")
    argument("--style", default="great_wave", metavar="NAME|FILE", help="a style or picture (default: %(default)s)")
    argument("--content", default="astronaut", metavar="NAME|FILE", help="a photo or picture (default: %(default)s)")
    argument("--size", default="256", metavar="N", help="side of the square pictures in pixels (default: %(default)s)")
    argument("--net", metavar="NAME|FILE", action="append", help="a net instead of the bundled ones; may be repeated")
    argument("--method", metavar="LIST", help="FILE.py:NAME or package.module:NAME of the methods of those nets")
    argument("--random-weights", action="store_true", help="use an untrained descriptor, which needs no download")
    argument("--threads", metavar="N", help="threads of each engine (default: OMP_NUM_THREADS, or all cores)")
    argument("--json", action="store_true", help="print one JSON object on standard output, and nothing else there")


def main(options: argparse.Namespace) -> int:
    """Run the command: 0 if everything is within its bound, else 1."""
    from bench.engines import parity
    from bench.plan import arguments, inputs, outside

    names = chosen(options.engine, options.engine_python or ())
    wanted = build.parse_names("--preset", options.preset, list(presets.PRESETS))
    size = build.parse_integers("--size", options.size, SMALLEST, LARGEST)
    if len(size) != 1:
        raise UserError(f"--size: {options.size} is more than one size; give one")
    paths = {name: inputs.picture(name, getattr(options, name)) for name in ("style", "content")}
    request = parity.Request(
        presets=tuple(wanted),
        pictures=parity.pictures(paths["style"], paths["content"], size[0]),
        random_weights=options.random_weights,
        nets=tuple(str(arguments.net_file(text).resolve()) for text in options.net or ()),
        methods=tuple(outside.parse("--method", options.method)) if options.method else (),
        pythons=engines.parse_pythons(options.engine_python or (), names),
        threads=None if options.threads is None else console.whole_number("--threads", 1, 2)(options.threads),
    )
    lines = []
    for found in parity.compare(names, request):
        lines.append(found)
        if not options.json:
            print(parity.text(found), flush=True)
    passed = all(found.passed for found in lines)
    if options.json:
        answer = {"reference": names[0], "engines": names[1:], "passed": passed, "lines": parity.as_json(lines)}
        print(json.dumps(answer, indent=2))
    else:
        failed = sum(not found.passed for found in lines)
        print(f"{len(lines) - failed} of {len(lines)} pass: {', '.join(names[1:])} against {names[0]}")
    return 0 if passed else 1


def chosen(asked: str | None, pythons: Sequence[str] = ()) -> list[str]:
    """The engines to compare, the reference first: those asked for, or all that are installed here or elsewhere."""
    elsewhere = {text.partition("=")[0].strip() for text in pythons}
    if asked is None:
        names = [name for name, engine in engines.ENGINES.items() if name in elsewhere or engine.installed()]
    else:
        names = build.parse_names("--engine", asked, list(engines.ENGINES))
        for name in set(names) - elsewhere:
            engines.get(name).check()
    if len(names) < 2:
        there = f"{', '.join(names) or 'none'} {'is installed' if asked is None else 'was given'}"
        raise UserError(f"--engine: comparing takes two engines and {there}; {engines.get('pytorch').install}")
    return names
