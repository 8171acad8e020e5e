"""``train``: a net for a style of one's own."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from nst_gluon import assets, methods
from nst_gluon.cli import options
from nst_gluon.cli.console import number, whole_number, whole_numbers
from nst_gluon.nets import netfile
from nst_gluon.pictures import images
from nst_gluon.system.errors import UserError
from nst_gluon.train import recipe

DEFAULT_METHOD = {"stylize": "johnson", "texture": "texture_net"}
# Steps that make a picture which one keeps, from another style's net and from random weights: ten minutes of two cores
# for the first (see --start), and what a training of fewer is told.
STEPS, STEPS_FROM_RANDOM = 600, 1500


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``train``."""
    parser = commands.add_parser(
        "train",
        help="a net for a style of one's own",
        description="Train a feed-forward net for one style. FOLDER gets the net (.npz), its description (.json), "
        "the loss of every iteration (.csv), a preview (.preview.png) and, at the end, a page with curve and samples "
        "(.html). After a few steps it says how long it will take. A training that was interrupted goes on where its "
        "last checkpoint was when the same command is given again. It begins with a bundled net of another style "
        "where there is one: such a net knows how to see a photo already.",
        epilog=options.example("train great_wave --output nets"),
    )
    parser.add_argument("painting", nargs="?", metavar="PAINTING", help="a file, or the name of a bundled style")
    add = parser.add_argument
    generators = [name for name, method in methods.METHODS.items() if method.kind == "generates"]
    usual = f"default: {DEFAULT_METHOD['stylize']}; for textures {DEFAULT_METHOD['texture']}"
    add("--method", type=methods.get, metavar="METHOD", help=f"{' or '.join(generators)} ({usual})")
    add("--task", choices=methods.TASKS, metavar="TASK", help="stylize (default) or texture", default="stylize")
    add("--style", metavar="STYLE", help="another way to give PAINTING")
    add("--photos", metavar="FOLDER", help="photos to train on (default: the bundled ones; textures need none)")
    add("--output", type=Path, default=Path("."), metavar="FOLDER", help="made if missing (default: this folder)")
    add("--force", action="store_true", help="replace a net that is there")
    add(
        "--preset",
        type=options.parse_preset,
        default=options.DEFAULT_PRESET,
        metavar="PRESET",
        help=f"the objective (default: {options.DEFAULT_PRESET}; see list presets)",
    )
    add(
        "--style-weight",
        type=number("--style-weight"),
        default=1.0,
        metavar="X",
        help="multiplies the preset's style weights (default: 1)",
    )
    add(
        "--iterations",
        type=whole_number("--iterations", 1, 2000),
        metavar="N",
        help=f"steps of Adam (default: {STEPS} from a net, {STEPS_FROM_RANDOM} from random weights)",
    )
    add(
        "--size",
        type=whole_numbers("--size", 16),
        default=[256],
        metavar="LIST",
        help="side of the pictures, or several that are taken in turn; the style has the first (default: 256)",
    )
    add("--batch", type=whole_number("--batch", 1, 4), default=1, metavar="N", help="pictures a step (default: 1)")
    add(
        "--scales",
        type=whole_number("--scales", 1, 5),
        metavar="K",
        help="of a texture network (default: the paper's, 5 for textures and 6 to stylise); fewer are faster",
    )
    add(
        "--finest",
        type=whole_number("--finest", 1, 32),
        metavar="N",
        help="channels of a texture network's finest scale (default: the paper's, 8 for each scale); fewer are faster, "
        "best a multiple of 16",
    )
    add("--width", type=number("--width"), metavar="X", help="of a Johnson net: multiplies its channels (default: 1)")
    add(
        "--recipe",
        choices=tuple(recipe.RECIPES),
        default=recipe.DEFAULT,
        metavar="RECIPE",
        help=f"how it is trained: {' or '.join(recipe.RECIPES)} (default: {recipe.DEFAULT})",
    )
    add(
        "--start",
        metavar="NET",
        help="net of the same method and task to begin with, or random (default: the bundled one of another style)",
    )
    add("--seed", type=whole_number("--seed", 0, 0), default=0, metavar="N", help="of all that is random (default: 0)")
    add("--learning-rate", type=number("--learning-rate"), metavar="X", help="Adam's (default: the paper's)")
    add(
        "--checkpoint-every",
        type=whole_number("--checkpoint-every", 1, 100),
        default=100,
        metavar="N",
        help="iterations between checkpoints (default: 100)",
    )
    add(
        "--preview-every",
        type=number("--preview-every"),
        default=60.0,
        metavar="SECONDS",
        help="seconds between previews (default: 60)",
    )
    add("--quiet", "-q", action="store_true", help="no progress on stderr")
    options.add_engine_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, and print the name of the net's file."""
    name = _style_of(args)
    method = args.method or methods.get(DEFAULT_METHOD[args.task])
    if method.kind != "generates":
        raise UserError(f"--method: {method.name} optimises a picture and has no net to train")
    method.check_task(args.task)
    style = options.style_path(name)
    options.load_picture("--style", style, args.size[0])
    if args.photos is not None:
        if args.task == "texture":
            raise UserError("--photos: a texture is made from noise alone; leave --photos out")
        with options.naming("--photos"):
            images.list_folder(args.photos)
    for option in ("scales", "finest"):
        if getattr(args, option) is not None and method.name != "texture_net":
            raise UserError(f"--{option}: only a texture network has scales; leave it out for {method.name}")
    if args.width is not None and (method.name != "johnson" or args.width <= 0):
        raise UserError("--width: only a Johnson net has widths, above 0, such as 0.5; leave it out for others")
    start = _start(args, method.name, name)
    if start is not None:
        with options.naming("--start"):
            netfile.load(start)
    iterations = args.iterations or (STEPS if start else STEPS_FROM_RANDOM)
    options.check_memory(max(args.size), max(args.size), args.batch * options.OPTIMISE_BYTES)
    engine = options.start_engine(args)
    from nst_gluon.train.loop import TrainConfig
    from nst_gluon.train.run_folder import train

    if args.random_weights:
        print("note: random weights: the net learns from an untrained descriptor, and is marked", file=sys.stderr)
    elif not args.quiet and iterations < (enough := STEPS if start else STEPS_FROM_RANDOM) // 2:
        print(f"note: {iterations} steps are few for a picture that one keeps; --iterations {enough}", file=sys.stderr)
    config = TrainConfig(
        method=method.name,
        task=args.task,
        style=name,
        preset=args.preset.name,
        photos=args.photos,
        iterations=iterations,
        size=args.size[0],
        more_sizes=tuple(args.size[1:]),
        start=start,
        batch=args.batch,
        seed=args.seed,
        learning_rate=args.learning_rate,
        dtype=engine.dtype,
        style_weight=args.style_weight,
        scales=args.scales,
        finest=args.finest,
        width=args.width,
        recipe=args.recipe,
        weights=args.weights,
        random_weights=args.random_weights,
    )
    command = shlex.join(["python", "-m", "nst_gluon", *args.arguments])
    net = train(
        config,
        args.output,
        engine.context,
        command,
        checkpoint_every=args.checkpoint_every,
        preview_every_s=args.preview_every,
        overwrite=args.force,
        quiet=args.quiet,
    )
    print(net)
    if not args.quiet:
        print(f"curve and samples: {net.with_suffix('.html')}", file=sys.stderr)
    return 0


def _start(args: argparse.Namespace, method: str, style: str) -> str | None:
    """The net to begin with: what --start says, or the bundled one of another style if no other shape is asked for."""
    own_shape = any(getattr(args, option) is not None for option in ("scales", "finest", "width"))
    if args.start is not None or own_shape or args.recipe == "paper" or args.random_weights:
        return None if args.start == "random" else args.start
    nets = [net for net in assets.nets() if (net.method, net.task) == (method, args.task)]
    return next((str(net.path) for net in nets if net.style not in (style, Path(style).stem)), None)


def _style_of(args: argparse.Namespace) -> str:
    if args.painting and args.style:
        raise UserError("--style: PAINTING is given already; leave one of them out")
    if not (args.painting or args.style):
        raise UserError("PAINTING: give the style to train for, a file or one of: " + ", ".join(assets.styles()))
    return args.painting or args.style
