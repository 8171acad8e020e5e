"""``stylize`` and ``texture``: pictures and videos, by any method."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from nst_gluon import methods
from nst_gluon.cli import batch, input_files, optimise, options
from nst_gluon.cli.console import number, whole_number
from nst_gluon.cli.method_choice import check_options, choose
from nst_gluon.cli.optimise import DEFAULT_ITERATIONS, DEFAULT_STYLE
from nst_gluon.cli.picture_maker import Painter

TEXTURE_SIZE = 256
STRENGTH = {
    "stylize": "how much of the style, default 1. johnson: from 0 (the photo) to 1 (the net's picture); texture_net: "
    "scale of its noise, 0 or more, of which more leaves less of the photo",
    "texture": "scale of texture_net's noise, 0 or more (default: 1; 0 gives a plain surface)",
}


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parsers of ``stylize`` and ``texture``."""
    parser = commands.add_parser(
        "stylize",
        help="pictures and videos in the style of another picture",
        description="Paint each PICTURE in a style: by optimisation (gatys), which takes any style, or in one pass "
        "of a net that was trained for the style. A photo's orientation is applied and its aspect kept; a video "
        "keeps its frame rate and, where ffmpeg can copy it, its sound, and its flicker is measured. Prints the name "
        "of each file that it wrote. What cannot be read is named, the others go on, and the exit status is 2.",
        epilog=options.example(
            "stylize chelsea --style great_wave --size 256 --output chelsea.png",
            "stylize chelsea coffee --keep-colors --strength 0.8 --output painted",
        ),
    )
    parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="a picture or video (extra video), the name of a bundled photo, a folder, or a pattern such as 'in/*.jpg'",
    )
    _add_options(parser, "stylize")
    parser.add_argument(
        "--keep-colors", action="store_true", help="keep the photo's own colours: only their brightness is painted"
    )
    parser.set_defaults(run=run_stylize)
    parser = commands.add_parser(
        "texture",
        help="a texture from nothing but noise",
        description="Make a texture like STYLE: by optimisation (gatys) or in one pass of a net that was "
        "trained for it. Prints the name of the file that it wrote.",
        epilog=options.example("texture --style great_wave --size 256 --output waves.png"),
    )
    _add_options(parser, "texture")
    parser.set_defaults(run=run_texture, keep_colors=False, net_size=None)


def _add_options(parser: argparse.ArgumentParser, task: str) -> None:
    able = [name for name, method in methods.METHODS.items() if task in method.tasks]
    if task == "stylize":
        size = f"longer side in pixels (default: the picture's own; with gatys at most {batch.OPTIMISED_SIZE})"
        output = (
            "file to write (.png or .jpg; .mp4, .mkv or .mov), or a folder, made if missing (default: "
            "PICTURE-STYLE-METHOD.png, or .mp4)"
        )
    else:
        size = f"side of the square picture in pixels (default: {TEXTURE_SIZE})"
        output = "picture to write, .png or .jpg (default: STYLE-METHOD-texture.png)"
    add = parser.add_argument
    add("--style", metavar="STYLE", help=f"a file, or the name of a bundled style (default: {DEFAULT_STYLE})")
    add(
        "--method",
        type=methods.get,
        metavar="METHOD",
        help=f"{', '.join(able)} (default: one with a net for the style, else gatys)",
    )
    add("--net", metavar="FILE", help="a trained net, a file or a name (list nets), instead of --style and --method")
    add("--size", type=whole_number("--size", 16), metavar="N", help=size)
    add("--output", type=Path, metavar="PATH", help=output)
    add("--force", action="store_true", help="overwrite what exists")
    add("--seed", type=whole_number("--seed", 0, 0), default=0, metavar="N", help="of all noise (default: 0)")
    add("--quiet", "-q", action="store_true", help="no progress and no summary on stderr")
    add("--json", action="store_true", help="instead of names, one JSON object on stdout: what was made, in what time")
    nets = parser.add_argument_group("nets")
    nets.add_argument(
        "--strength",
        type=number("--strength"),
        metavar="X",
        help=STRENGTH[task],
    )
    if task == "stylize":
        nets.add_argument(
            "--net-size",
            type=whole_number("--net-size", 16),
            metavar="N",
            help="stylise larger pictures with a longer side of N, as the net was trained, and carry the photo's\n"
            "detail up: the strokes are larger then",
        )
    nets.add_argument(
        "--tile",
        type=options.parse_tile,
        default="auto",
        metavar="N",
        help="make the picture in tiles of N pixels, in little memory; off: in one piece; auto (default):\n"
        "tiles where it would not fit into memory or has more than 2048 x 2048 pixels",
    )
    gatys = parser.add_argument_group("optimisation")
    gatys.add_argument(
        "--preset",
        type=options.parse_preset,
        metavar="PRESET",
        help=f"the objective (default: {options.DEFAULT_PRESET}; see list presets)",
    )
    gatys.add_argument(
        "--iterations",
        type=whole_number("--iterations", 1, 200),
        metavar="N",
        help=f"evaluations of the objective (default: {DEFAULT_ITERATIONS})",
    )
    gatys.add_argument("--optimizer", choices=("lbfgs", "adam"), metavar="NAME", help="lbfgs (default) or adam")
    if task == "stylize":
        gatys.add_argument(
            "--start",
            choices=("noise", "content"),
            metavar="NAME",
            help="noise or content (default: content)",
        )
    gatys.add_argument(
        "--coarse",
        type=optimise.parse_coarse,
        default=(),
        metavar="LIST",
        help="sides of smaller pictures to begin with, such as 128,256; half as many steps for each "
        "(gatys_pyramid chooses sides and a few steps by itself)",
    )
    gatys.add_argument(
        "--segments",
        type=optimise.parse_segments,
        metavar="N",
        help="compute the descriptor in N parts, one after another: less memory, a third more time; auto (default: "
        "if it would not fit otherwise) or off",
    )
    gatys.add_argument(
        "--style-size",
        type=whole_number("--style-size", 16),
        metavar="M",
        help="side of the style picture (default: as --size)",
    )
    options.add_engine_options(parser)
    parser.set_defaults(task=task)


def run_stylize(args: argparse.Namespace) -> int:
    """Make the pictures and videos and write them."""
    method, style, net = choose(args)
    check_options(args, method)
    mark = "-random-weights" if args.random_weights else ""
    jobs = input_files.jobs(args.pictures, args.output, args.force, [style, method.name], mark)
    alone = len(jobs) == 1 and not jobs[0].is_video
    work = batch.Batch(args, Painter(args, method, net, alone), method.kind == "optimises")
    return batch.report(work.run(jobs), args.json, args.quiet)


def run_texture(args: argparse.Namespace) -> int:
    """Make one texture and write it."""
    method, style, net = choose(args)
    check_options(args, method)
    painter = Painter(args, method, net)
    side = args.size or TEXTURE_SIZE
    options.check_memory(side, side, painter.bytes_per_pixel)
    name = f"{style}-{method.name}-texture{'-random-weights' if args.random_weights else ''}.png"
    output = options.check_output(args.output or Path(name), args.force)
    painter.prepare((side, side))
    start = time.perf_counter()
    batch.write_picture(painter.picture(None, (side, side)), output, args.force)
    if not args.json:
        print(output)
    seconds = time.perf_counter() - start
    outcome = batch.Outcome([{"output": str(output)}], pictures_s=seconds, preparation_s=painter.preparation_s)
    return batch.report(outcome, args.json, args.quiet)
