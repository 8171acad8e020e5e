"""The optimising half of ``stylize`` and ``texture``. Imports no engine by itself."""

from __future__ import annotations

import argparse
import sys

import numpy as np
from tqdm import tqdm

from nst_gluon import images, methods, presets, runtime, segments
from nst_gluon.commands import options
from nst_gluon.console import whole_number
from nst_gluon.errors import UserError

DEFAULT_STYLE = "great_wave"
DEFAULT_ITERATIONS = 200


def parse_coarse(text: str) -> tuple[int, ...]:
    """Sides of --coarse, ascending."""
    sides = tuple(whole_number("--coarse", 16, 128)(part.strip()) for part in text.split(","))
    if list(sides) != sorted(set(sides)):
        raise UserError(f"--coarse: {text} does not ascend; give e.g. 128,256")
    return sides


def parse_segments(text: str) -> int | str:
    """Segments of --segments: a number, or ``auto``; ``off`` is 1."""
    return text if text == "auto" else 1 if text == "off" else whole_number("--segments", 1, 3)(text)


def bytes_per_pixel(args: argparse.Namespace) -> int:
    """About how much memory an evaluation takes at least, as --segments allows."""
    return segments.least_bytes(options.OPTIMISE_BYTES, args.segments or segments.AUTO)


def _count(asked: int | str, size: tuple[int, int]) -> int:
    if asked != segments.AUTO:
        return asked
    available = runtime.memory_available_bytes() - options.BASE_BYTES
    return segments.fitting(size[0] * size[1] * options.OPTIMISE_BYTES, available)


def picture(
    args: argparse.Namespace,
    method: methods.Method,
    start: np.ndarray | None,
    content: np.ndarray | None,
    size: tuple[int, int],
) -> np.ndarray:
    """The optimised picture (1, 3, H, W) in [0, 1].

    Args:
        start: a net's picture to begin with; None: as --start says.
        content: (1, 3, H, W); None for textures.
    """
    full = max(size)
    if args.coarse and args.coarse[-1] >= full:
        raise UserError(f"--coarse: {args.coarse[-1]} is not smaller than the picture's {full} pixels")
    style_path = options.style_path(args.style or DEFAULT_STYLE)
    style_size = args.style_size or full
    style = options.load_picture("--style", style_path, style_size)
    count = _count(args.segments or segments.AUTO, size)

    engine = options.start_engine(args)
    weights = options.load_weights(args)
    from nst_gluon.loss import Objective
    from nst_gluon.optimization import config_of, initial_picture, optimise
    from nst_gluon.pyramid import Schedule, stage_size, style_side

    preset = args.preset or presets.get(options.DEFAULT_PRESET)
    finest = Objective(preset, weights, args.task, style, content, engine.dtype, engine.context, segments=count)
    if count > 1 and not args.quiet:
        print(f"the descriptor is computed in {count} segments: less memory, more time", file=sys.stderr)

    def coarser(side: int) -> Objective:
        small = options.load_picture("--style", style_path, style_side(style_size, side, full))
        return finest.aimed_at(small, None if content is None else images.resize(content, stage_size(size, side)))

    iterations = args.iterations or DEFAULT_ITERATIONS
    levels = tuple((side, max(1, iterations // 2)) for side in args.coarse)
    if method.name == "gatys_pyramid" and not levels:
        levels = Schedule().levels(size)
    config = config_of(
        preset,
        iterations=iterations,
        optimizer=args.optimizer or "lbfgs",
        start="net" if start is not None else "noise" if content is None else args.start or "content",
        pyramid=levels,
        seed=args.seed,
    )
    total = iterations + sum(evaluations for _, evaluations in levels)
    with tqdm(total=total, unit="step", disable=True if args.quiet else None) as bar:

        def show(step) -> None:
            bar.update()
            bar.set_postfix(objective=f"{step.terms.objective:.5g}", refresh=False)

        begin = initial_picture(config, content, size) if start is None else start
        result = optimise(finest, begin, config, show, [coarser(side) for side, _ in levels])
    if not args.quiet:
        terms = ", ".join(f"{name} {value:.5g}" for name, value in result.terms.as_dict().items())
        print(f"{terms}; {len(result.steps)} steps, stopped by: {result.stopped_because}", file=sys.stderr)
    return result.picture
