"""``train``: train a net on a style of your own."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from nst_gluon import api, assets, methods
from nst_gluon.api.choice import generators, runs_here
from nst_gluon.cli import options
from nst_gluon.cli.console import number, seed, whole_number, whole_numbers
from nst_gluon.system.errors import UserError
from nst_gluon.training import recipe


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``train``."""
    parser = commands.add_parser(
        "train",
        help="train a net on a style of your own",
        description="Train a feed-forward net for one style. FOLDER receives the net (.npz), its description (.json), "
        "the loss of every iteration (.csv), a preview (.preview.png) and, at the end, a page with the loss curve and "
        "samples (.html). The time left is estimated after a few steps. To resume an interrupted training, give the "
        "same command again: it continues from its last checkpoint. A net that stylises starts from a bundled "
        "one of another style, which has learned to see photos; see --start.",
        epilog=options.example("train great_wave --output nets"),
    )
    add = parser.add_argument
    add("painting", nargs="?", metavar="PAINTING", help="a picture file, or the name of a bundled style")
    usual = {task: generators(task)[0].name for task in methods.TASKS}
    able = [m.name for m in methods.bundled().values() if m.kind == methods.GENERATES and runs_here(m)]
    add(
        "--method",
        type=lambda name: methods.get(name).name,
        metavar="METHOD",
        help=f"{', '.join(able)}, or one of your own, FILE.py:NAME (default: {usual['stylize']}; for textures "
        f"{usual['texture']})",
    )
    add("--task", choices=methods.TASKS, metavar="TASK", help="stylize (default) or texture")
    add("--style", metavar="STYLE", help="another way to give PAINTING")
    add(
        "--photos",
        metavar="FOLDER",
        help="photos to train on, or coco: the 5,000 of COCO val2017, downloaded once, 0.8 GB (default: the bundled "
        "ones; textures need none)",
    )
    add("--output", type=Path, metavar="FOLDER", help="created if missing (default: the current folder)")
    add("--force", action="store_true", help="replace an existing net")
    options.add_preset(add)
    add(
        "--style-weight",
        type=number("--style-weight"),
        metavar="X",
        help="multiplies the preset's style weights (default: %(default)g)",
    )
    add(
        "--iterations",
        type=whole_number("--iterations", 1, 2000),
        metavar="N",
        help=f"training steps (default: {recipe.STEPS} from a net, {recipe.STEPS_FROM_RANDOM} from random weights)",
    )
    add(
        "--recipe",
        choices=tuple(recipe.RECIPES),
        metavar="RECIPE",
        help="how it is trained: tuned, or paper: plain Adam with the method's own schedule (default: %(default)s)",
    )
    add(
        "--size",
        type=whole_numbers("--size", 16),
        metavar="LIST",
        help="side of the training pictures, or several to take in turn; the style has the first (default: "
        "%(default)s). A net works best on pictures of about this size",
    )
    add("--batch", type=whole_number("--batch", 1, 4), metavar="N", help="pictures per step (default: %(default)s)")
    add(
        "--start",
        metavar="NET",
        help="net of the same method and task to begin with, or random (default: a bundled one of another style; "
        "random if there is none, for textures, and with --recipe paper, --random-weights or an option of nets)",
    )
    add("--seed", type=seed, metavar="N", help="seed of all randomness (default: %(default)s)")
    add(
        "--learning-rate",
        type=number("--learning-rate"),
        metavar="X",
        help="Adam's first; the tuned recipe lowers it along a cosine (default: the method's own, but "
        f"{recipe.RECIPES[recipe.DEFAULT].rate} from random weights with the tuned recipe, where it minimises the "
        "common objective)",
    )
    add(
        "--checkpoint-every",
        type=whole_number("--checkpoint-every", 1, 100),
        metavar="N",
        help="iterations between checkpoints (default: %(default)s)",
    )
    add(
        "--preview-every",
        type=number("--preview-every"),
        metavar="SECONDS",
        help="seconds between previews (default: %(default)g)",
    )
    add(
        "--workers",
        metavar="N|HOSTFILE",
        help="train in N processes, or on the hosts in a file over ssh (HOST or HOST slots=N a line), which must "
        "see the same folders; each takes its part of every batch (default: %(default)s)",
    )
    add("--quiet", "-q", action="store_true", help="no progress on stderr")
    options.add_engine_options(parser)
    taken: set[str] = set()
    for method in methods.all():
        new = {} if not isinstance(method, methods.Generator) else {
            name: meaning for name, meaning in method.choices().items() if name not in taken
        }  # fmt: skip
        if new:
            group = parser.add_argument_group(f"nets of {method.name}")
            for name, meaning in new.items():
                try:
                    group.add_argument(f"--{name}", type=_value(name), metavar="X", help=meaning)
                except argparse.ArgumentError:
                    raise UserError(f"--method: {method.name}: train has a --{name} already; rename it") from None
        taken.update(new)
    options.take_defaults(parser, api.train)
    parser.set_defaults(run=run, quiet=False)


def run(args: argparse.Namespace) -> int:
    """Train, and print the name of the net's file."""
    style = _style_of(args)
    if args.random_weights and not args.quiet:
        print("note: random weights: the net learns from an untrained descriptor, and is marked", file=sys.stderr)
    values = options.values(args, api.train)
    choices = {name for method in methods.all() if isinstance(method, methods.Generator) for name in method.choices()}
    given = {name: getattr(args, name) for name in choices if getattr(args, name, None) is not None}
    values["architecture"] = given or None
    net = api.train(style, **{**values, "command": shlex.join(["python", "-m", "nst_gluon", *args.arguments])})
    print(net)
    if not args.quiet:
        print(f"loss curve and samples: {net.with_suffix('.html')}", file=sys.stderr)
    return 0


def _value(name: str) -> Callable[[str], float]:
    parse = number(f"--{name}")

    def value(text: str) -> float:
        found = parse(text)
        return int(found) if found == int(found) else found

    return value


def _style_of(args: argparse.Namespace) -> str:
    if args.painting and args.style:
        raise UserError("--style: PAINTING is given already; leave one of them out")
    if not (args.painting or args.style):
        raise UserError("PAINTING: give the style to train for, a file or one of: " + ", ".join(assets.styles()))
    return args.painting or args.style
