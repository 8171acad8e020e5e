"""Pictures by optimisation, as a request says. Imports no engine by itself."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nst_gluon import methods
from nst_gluon.api import inputs
from nst_gluon.api.inputs import Listener
from nst_gluon.api.request import Request
from nst_gluon.descriptor import segments
from nst_gluon.objective import presets
from nst_gluon.objective.loss_terms import TERMS, check_size
from nst_gluon.optimise.pyramid import stage_size
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

if TYPE_CHECKING:
    from nst_gluon.descriptor.weights import VggWeights


class Descent:
    """Optimised pictures by ``method``, which is one that optimises."""

    def __init__(self, request: Request, method: methods.Optimiser, listener: Listener):
        self._request, self._method, self._listener = request, method, listener
        self._styles: dict[int, np.ndarray] = {}

    @property
    def bytes_per_pixel(self) -> int:
        """About how much memory an evaluation takes at least, as --segments allows."""
        return segments.least_bytes(inputs.OPTIMISE_BYTES, self._request.segments)

    def check(self, size: tuple[int, int]) -> None:
        """Raise UserError if pictures of ``size`` are too small for the objective, or for --coarse."""
        coarse, preset = self._request.coarse, presets.get(self._request.preset)
        if coarse and coarse[-1] >= max(size):
            raise UserError(f"--coarse: {coarse[-1]} is not smaller than the picture's {max(size)} pixels")
        content = preset.content_layers if self._request.task == "stylize" else ()
        layers = [name for name, _ in (*preset.style_layers, *content)]
        check_size((1, 3, *size), layers, "--size")
        for side in coarse:
            check_size((1, 3, *stage_size(size, side)), layers, "--coarse")

    def prepare(self, size: tuple[int, int]) -> None:
        """Check what pictures of ``size`` need, start the engine, load the weights."""
        self.check(size)
        self._style(self._request.style_size or max(size))
        _ = self._engine, self._weights

    @cached_property
    def _engine(self) -> inputs.Engine:
        return inputs.start_engine(self._request.device, self._request.dtype, self._request.threads)

    @cached_property
    def _weights(self) -> VggWeights:
        return inputs.load_weights(self._request.weights, self._request.random_weights, self._listener)

    def _style(self, side: int) -> np.ndarray:
        """The style picture (1, 3, side, side)."""
        if side not in self._styles:
            style = self._request.style
            picture = style if isinstance(style, np.ndarray) else inputs.style_path(style)
            option = "--style-size" if self._request.style_size else "--size"
            self._styles[side] = inputs.load_picture("--style", picture, side, side=option)
        return self._styles[side]

    def _segments(self, size: tuple[int, int]) -> int:
        asked = self._request.segments
        if asked != segments.AUTO:
            return asked
        available = runtime.memory_available_bytes() - inputs.BASE_BYTES
        return segments.fitting(size[0] * size[1] * inputs.OPTIMISE_BYTES, available)

    def picture(self, start: np.ndarray | None, content: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
        """The optimised picture (1, 3, H, W) in [0, 1].

        Args:
            start: a net's picture to begin with; None: as the request says.
            content: (1, 3, H, W); None for textures.
        """
        self.prepare(size)
        request = self._request
        style_size = request.style_size or max(size)
        engine, weights, count = self._engine, self._weights, self._segments(size)
        from nst_gluon.objective.loss import Objective
        from nst_gluon.optimise.config import config_of
        from nst_gluon.optimise.problem import Problem

        preset = presets.get(request.preset)
        objective = Objective(
            preset, weights, request.task, self._style(style_size), content, engine.dtype, engine.context,
            segments=count,
        )  # fmt: skip
        if count > 1:
            self._listener.detail(f"the descriptor is computed in {count} segments: less memory, more time")
        config = config_of(
            preset,
            iterations=request.iterations,
            optimizer=request.optimizer,
            start="noise" if content is None else request.start,
            seed=request.seed,
        )
        with self._listener.bar(None, "step") as bar:

            def show(step) -> None:
                bar.update()
                bar.set_postfix(objective=f"{step.terms.objective:.5g}", refresh=False)

            problem = Problem(
                objective, size, config, content, self._style, style_size, None if start is None else lambda: start,
                [(side, max(1, request.iterations // 2)) for side in request.coarse], show,
            )  # fmt: skip
            bar.total = problem.rehearse(self._method.descend, 0)
            result = problem.run(self._method.descend)
        terms = result.terms.as_dict()
        parts = " + ".join(f"{name} {terms[name]:.5g}" for name in TERMS[1:])
        ended = "" if result.stopped_because == "iterations" else f" ({result.stopped_because})"
        self._listener.detail(f"objective {terms['objective']:.5g} = {parts} after {len(result.steps)} steps{ended}")
        return result.picture
