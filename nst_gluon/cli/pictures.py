"""``stylize`` and ``texture``: pictures and videos, by any method."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from nst_gluon import api, assets, methods
from nst_gluon.api.choice import ENGINES, LEAST_NET_SIZE, fallback_note, optimiser, runs_here
from nst_gluon.api.inputs import LARGEST, check_memory
from nst_gluon.api.maker import PictureMaker
from nst_gluon.api.request import Request, request
from nst_gluon.cli import batch, input_files, options
from nst_gluon.cli.console import number, seed, whole_number
from nst_gluon.nets.geometry import STATISTICS
from nst_gluon.system.errors import UserError

STRENGTH = {
    "stylize": "how much of the style (default: %(default)g), from 0 (the photo) to 1 (the net's picture); for a net "
    "that takes noise, the scale of its noise, 0 or more: more noise leaves less of the photo",
    "texture": "scale of the net's noise, 0 or more (default: %(default)g; 0 gives a plain surface)",
}


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parsers of ``stylize`` and ``texture``."""
    parser = commands.add_parser(
        "stylize",
        help="render photos and videos in the style of another picture",
        description="Render each PICTURE in a style: with a net that was trained for the style, in one pass, or by "
        "optimisation, which takes any style. A photo's orientation is applied and its aspect ratio kept. A "
        "video keeps its frame rate and, where ffmpeg can copy it, its sound; its flicker is measured. Prints the name "
        "of each file written. Unreadable files are reported and skipped; the exit status is then 2.",
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
    options.take_defaults(parser, api.stylize)
    parser.set_defaults(run=run_stylize)
    parser = commands.add_parser(
        "texture",
        help="synthesise a texture from noise",
        description="Synthesise a texture that looks like STYLE: in one pass of a net that was trained for it, or by "
        "optimisation. Prints the name of the file written.",
        epilog=options.example("texture --style great_wave --size 256 --output waves.png"),
    )
    _add_options(parser, "texture")
    options.take_defaults(parser, api.texture)
    parser.set_defaults(run=run_texture)


def _add_options(parser: argparse.ArgumentParser, task: str) -> None:
    stylize = task == "stylize"
    able = [name for name, method in methods.bundled().items() if task in method.tasks and runs_here(method)]
    add = parser.add_argument
    style = f"a picture file, or the name of a bundled style (default: {assets.STYLES[0]}, unless --net is given)"
    add("--style", metavar="STYLE", help=style)
    add(
        "--method",
        type=lambda name: methods.get(name).name,
        metavar="METHOD",
        help=f"{', '.join(able)}, or one of your own, FILE.py:NAME (default: one with a bundled net for the style, "
        f"otherwise {optimiser().name})",
    )
    add("--net", metavar="FILE", help="a trained net, by file or name (see list nets), instead of --style and --method")
    if stylize:
        size = (
            "longer side of the result in pixels; auto (default): the picture's own, but at most "
            f"{LARGEST}; original: the picture's own"
        )
        add("--size", type=options.parse_size, metavar="N", help=size)
        output = (
            "file to write (.png or .jpg; .mp4, .mkv or .mov), or a folder, created if missing: a name without a "
            "suffix, or with a slash at its end (default: PICTURE-STYLE-METHOD.png, or .mp4)"
        )
    else:
        size = "side of the square picture in pixels (default: %(default)s)"
        add("--size", type=whole_number("--size", 16), metavar="N", help=size)
        output = "picture to write, .png or .jpg (default: STYLE-METHOD-texture.png)"
    # Path would drop a slash.
    add("--output", type=str if stylize else Path, metavar="PATH", help=output)
    add("--force", action="store_true", help="overwrite existing files")
    if stylize:
        add("--skip-existing", action="store_true", help="leave out pictures whose result exists already")
        add("--keep-colors", action="store_true", help="keep the photo's colours: only its brightness is restyled")
    add("--seed", type=seed, metavar="N", help="seed of all noise (default: %(default)s)")
    add("--quiet", "-q", action="store_true", help="no progress and no summary on stderr")
    add("--json", action="store_true", help="print one JSON object on stdout instead of names: what was made, how fast")
    add = parser.add_argument_group("nets").add_argument
    add("--strength", type=number("--strength"), metavar="X", help=STRENGTH[task])
    if stylize:
        add(
            "--net-size",
            type=whole_number("--net-size", LEAST_NET_SIZE),
            metavar="N",
            help="stylise a larger picture with a longer side of N, as the net was trained, and carry the photo's "
            "detail up; the strokes are larger then",
        )
    add(
        "--tile",
        type=options.parse_tile,
        metavar="N",
        help="make the picture in tiles of N pixels, which takes little memory; off: in one piece; auto (default): in "
        "tiles if it has more than 2048 x 2048 pixels or would not fit into memory",
    )
    add(
        "--engine",
        choices=ENGINES,
        metavar="NAME",
        help="gluon (default), or fastest: whichever installed engine (OpenVINO, ONNX Runtime) makes the same picture "
        "fastest, found in a trial of some seconds; pays off for many pictures; not in tiles",
    )
    add(
        "--tile-statistics",
        choices=STATISTICS,
        metavar="NAME",
        help="statistics of instance norms in tiles: exact (default), the same picture as in one piece; thumbnail, "
        "those of a small picture (Chen et al. 2022): a quarter less time, but a PSNR of 14 to 22 dB against one piece",
    )
    add = parser.add_argument_group("optimisation").add_argument
    options.add_preset(add)
    add(
        "--iterations",
        type=whole_number("--iterations", 1, 200),
        metavar="N",
        help="evaluations of the objective (default: %(default)s)",
    )
    add("--optimizer", choices=("lbfgs", "adam"), metavar="NAME", help="lbfgs (default) or adam")
    if stylize:
        add("--start", choices=("noise", "content"), metavar="NAME", help="noise or content (default: %(default)s)")
    add(
        "--coarse",
        type=options.parse_coarse,
        metavar="LIST",
        help="sides of smaller pictures to start with, such as 128,256, with half as many steps each (a method that "
        "goes from coarse to fine chooses them itself)",
    )
    add(
        "--segments",
        type=options.parse_segments,
        metavar="N",
        help="compute the descriptor in N parts, in turn: less memory, a third to a half more time; auto (default: "
        "if it would not fit otherwise) or off",
    )
    add(
        "--style-size",
        type=whole_number("--style-size", 16),
        metavar="M",
        help="side of the style picture in pixels (default: as --size)",
    )
    options.add_engine_options(parser)


def _request(args: argparse.Namespace, task: str) -> Request:
    function = {"stylize": api.stylize, "texture": api.texture}[task]
    values = options.values(args, function)
    del values["size"]
    return request(task, api.defaults(function), values)


def run_stylize(args: argparse.Namespace) -> int:
    """Make the pictures and videos and write them."""
    if args.skip_existing and args.force:
        raise UserError("--skip-existing: --force overwrites what exists; leave one of them out")
    asked = _request(args, "stylize")
    choice = PictureMaker(asked).choice
    mark = "-random-weights" if args.random_weights else ""
    existing = input_files.SKIP if args.skip_existing else input_files.REPLACE if args.force else input_files.REFUSE
    parts = [choice.style, choice.method.name]
    jobs, skipped = input_files.jobs(args.pictures, args.output, existing, parts, mark)
    alone = len(jobs) == 1 and not jobs[0].is_video
    listener = options.Terminal(args.quiet, alone)
    work = batch.Batch(args, PictureMaker(asked, listener))
    if choice.fallback and jobs:
        size, videos = batch.size_of(jobs[0], args.size), sum(job.is_video for job in jobs)
        listener.hint(fallback_note(asked, choice, size, len(jobs), videos))
    work.outcome.skipped = skipped
    return batch.report(work.run(jobs), args.json, args.quiet)


def run_texture(args: argparse.Namespace) -> int:
    """Make one texture and write it."""
    asked, side = _request(args, "texture"), args.size
    listener = options.Terminal(args.quiet)
    maker = PictureMaker(asked, listener)
    check_memory(side, side, maker.bytes_needed(side, side))
    mark = "-random-weights" if args.random_weights else ""
    name = f"{maker.choice.style}-{maker.choice.method.name}-texture{mark}.png"
    output = options.check_output(args.output or Path(name), args.force)
    if maker.choice.fallback:
        listener.hint(fallback_note(asked, maker.choice, (side, side)))
    maker.prepare((side, side))
    start = time.perf_counter()
    batch.write_picture(maker.picture(None, (side, side)), output, args.force)
    if not args.json:
        print(output)
    seconds = time.perf_counter() - start
    outcome = batch.Outcome([{"output": str(output)}], pictures_s=seconds, preparation_s=maker.preparation_s)
    return batch.report(outcome, args.json, args.quiet)
