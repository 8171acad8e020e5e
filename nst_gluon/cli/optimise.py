"""The optimising half of ``stylize`` and ``texture``. Imports no engine by itself."""

from __future__ import annotations

import argparse
import sys
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from nst_gluon import methods
from nst_gluon.cli import options
from nst_gluon.cli.console import whole_number
from nst_gluon.descriptor import segments
from nst_gluon.objective import presets
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

if TYPE_CHECKING:
    from nst_gluon.descriptor.weights import VggWeights

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


class Descent:
    """Optimised pictures, as the arguments of ``stylize`` or ``texture`` say.

    Args:
        method: one that optimises.
        tells: whether each picture's progress and objective are shown.
    """

    def __init__(self, args: argparse.Namespace, method: methods.Method, tells: bool = True):
        self._args, self._method = args, method
        self._tells = tells and not args.quiet
        self._styles: dict[int, np.ndarray] = {}

    @property
    def bytes_per_pixel(self) -> int:
        """About how much memory an evaluation takes at least, as --segments allows."""
        return segments.least_bytes(options.OPTIMISE_BYTES, self._args.segments or segments.AUTO)

    def prepare(self, size: tuple[int, int]) -> None:
        """Check what pictures of ``size`` need, start the engine, load the weights."""
        coarse, full = self._args.coarse, max(size)
        if coarse and coarse[-1] >= full:
            raise UserError(f"--coarse: {coarse[-1]} is not smaller than the picture's {full} pixels")
        self._style(self._args.style_size or full)
        _ = self._engine, self._weights

    @cached_property
    def _engine(self) -> options.Engine:
        return options.start_engine(self._args)

    @cached_property
    def _weights(self) -> VggWeights:
        return options.load_weights(self._args)

    def _style(self, side: int) -> np.ndarray:
        """The style picture (1, 3, side, side)."""
        if side not in self._styles:
            path = options.style_path(self._args.style or DEFAULT_STYLE)
            self._styles[side] = options.load_picture("--style", path, side)
        return self._styles[side]

    def _segments(self, size: tuple[int, int]) -> int:
        asked = self._args.segments or segments.AUTO
        if asked != segments.AUTO:
            return asked
        available = runtime.memory_available_bytes() - options.BASE_BYTES
        return segments.fitting(size[0] * size[1] * options.OPTIMISE_BYTES, available)

    def picture(self, start: np.ndarray | None, content: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
        """The optimised picture (1, 3, H, W) in [0, 1].

        Args:
            start: a net's picture to begin with; None: as --start says.
            content: (1, 3, H, W); None for textures.
        """
        self.prepare(size)
        args, full = self._args, max(size)
        style_size = args.style_size or full
        engine, weights, count = self._engine, self._weights, self._segments(size)
        from nst_gluon.objective.loss import Objective
        from nst_gluon.optimise.descent import config_of, initial_picture, optimise
        from nst_gluon.optimise.pyramid import Schedule, stage_size, style_side

        preset = args.preset or presets.get(options.DEFAULT_PRESET)
        finest = Objective(
            preset, weights, args.task, self._style(style_size), content, engine.dtype, engine.context, segments=count
        )
        if count > 1 and self._tells:
            print(f"the descriptor is computed in {count} segments: less memory, more time", file=sys.stderr)

        def coarser(side: int) -> Objective:
            small = self._style(style_side(style_size, side, full))
            return finest.aimed_at(small, None if content is None else images.resize(content, stage_size(size, side)))

        iterations = args.iterations or DEFAULT_ITERATIONS
        levels = tuple((side, max(1, iterations // 2)) for side in args.coarse)
        if self._method.name == "gatys_pyramid" and not levels:
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
        with tqdm(total=total, unit="step", disable=True if args.quiet else None, leave=self._tells) as bar:

            def show(step) -> None:
                bar.update()
                bar.set_postfix(objective=f"{step.terms.objective:.5g}", refresh=False)

            begin = initial_picture(config, content, size) if start is None else start
            result = optimise(finest, begin, config, show, [coarser(side) for side, _ in levels])
        if self._tells:
            terms = ", ".join(f"{name} {value:.5g}" for name, value in result.terms.as_dict().items())
            print(f"{terms}; {len(result.steps)} steps, stopped by: {result.stopped_because}", file=sys.stderr)
        return result.picture
