"""``score``: the terms of any picture, whoever made it, under any preset."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np

from nst_gluon.cli import options
from nst_gluon.cli.console import whole_number
from nst_gluon.pictures import images
from nst_gluon.system.errors import NotFinite


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``score``."""
    parser = commands.add_parser(
        "score",
        help="the loss terms of a picture under a preset",
        description="Evaluate the objective of a preset on a picture. The terms content, style and tv are "
        "weighted, so that they add up to objective; without --content, content is 0 (texture).",
        epilog=options.example("score chelsea --style great_wave --content chelsea --size 256 --json"),
    )
    parser.add_argument("picture", metavar="PICTURE", help="a file, or the name of a bundled picture")
    parser.add_argument(
        "--style",
        required=True,
        metavar="STYLE",
        help="a file or a name; its centre square is used, at the style size",
    )
    parser.add_argument(
        "--content",
        metavar="CONTENT",
        help="a file or a name; its centre square if PICTURE is square; resampled to its size",
    )
    parser.add_argument(
        "--preset",
        type=options.parse_preset,
        default=options.DEFAULT_PRESET,
        metavar="PRESET",
        help=f"the objective (default: {options.DEFAULT_PRESET}; see list presets)",
    )
    parser.add_argument(
        "--size",
        type=whole_number("--size", 1),
        metavar="N",
        help="longer side in pixels; a picture that has it is not resampled (default: as it is)",
    )
    parser.add_argument(
        "--style-size",
        type=whole_number("--style-size", 1),
        metavar="M",
        help="side of the style picture (default: as --size)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options.add_engine_options(parser)
    parser.set_defaults(run=run)


def content_like(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """A content picture at exactly ``shape``, prepared as the commands that make pictures prepare it.

    For a square, its centre square; otherwise the whole picture, whose aspect is then the same to a pixel.
    """
    height, width = shape
    whole = options.load_picture("--content", path)
    if whole.shape[2:] == shape:
        return whole
    content = images.load(path, max(shape), "square" if height == width else "fit")
    return content if content.shape[2:] == shape else images.resize(whole, shape)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    picture_path = options.content_path(args.picture, "PICTURE")
    style_path = options.style_path(args.style)
    content_path = options.content_path(args.content, "--content") if args.content else None
    picture = options.load_fitted("PICTURE", picture_path, args.size, options.FORWARD_BYTES)
    height, width = picture.shape[2:]
    size = max(height, width)
    style_size = args.style_size or size
    style = options.load_picture("--style", style_path, style_size)
    content = content_like(content_path, (height, width)) if content_path else None

    engine = options.start_engine(args)
    weights = options.load_weights(args)
    from nst_gluon.objective.loss import Objective

    task = "texture" if content is None else "stylize"
    objective = Objective(args.preset, weights, task, style, content, engine.dtype, engine.context)
    terms = objective.terms(picture).as_dict()
    if not all(math.isfinite(value) for value in terms.values()):
        raise NotFinite(f"the objective of {str(picture_path)!r} is not finite: {terms}")
    facts = {
        **terms,
        "preset": args.preset.name,
        "task": task,
        "size": size,
        "height": height,
        "width": width,
        "style_size": style_size,
        "dtype": engine.dtype,
        "weights": weights.identity(),
    }
    if args.json:
        print(json.dumps(facts))
    else:
        for name in ("objective", "content", "style", "tv"):
            print(f"{name:10}  {facts[name]:.6g}")
        print(f"{'preset':10}  {args.preset.name} ({task}), {width}x{height}, {weights.source}")
    return 0
