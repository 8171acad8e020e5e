"""The optimisation method: one picture, moved downhill on the common objective (Gatys, Ecker, Bethge 2015, 2016).

L-BFGS is :mod:`nst_gluon.optimise.lbfgs`; Adam is Kingma & Ba's algorithm 1; coarse to fine is
:mod:`nst_gluon.optimise.pyramid`. Every
evaluation of the objective is a :class:`Step`. The clock runs while the method works and stands still while a callback
does.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from nst_gluon.objective.loss_terms import Terms
from nst_gluon.objective.presets import Preset
from nst_gluon.optimise.lbfgs import minimise as lbfgs
from nst_gluon.optimise.pyramid import Schedule, resampled, stage_size
from nst_gluon.system.errors import NotFinite, UserError

if TYPE_CHECKING:  # this module needs no engine: every engine's optimisation is this one
    from nst_gluon.objective.loss import Objective

OPTIMIZERS = ("lbfgs", "adam")
STARTS = ("noise", "content", "net")

# Root mean square of the first step of L-BFGS. A net's picture is near a valley's floor: evaluations at 256x256 down to
# 200 (stylize) and 60 (texture) are 6 and 10 with 0.05, 5 and 9 with 0.01, 6 and 9 with 0.003. So is the enlarged
# picture of a coarser level.
FIRST_STEP = {"noise": 0.05, "content": 0.05, "net": 0.01, "enlarged": 0.03}


@dataclass(frozen=True)
class OptimizationConfig:
    """How to go downhill.

    Attributes:
        iterations: evaluations of the objective and its gradient at the full size, at most.
        optimizer: ``lbfgs`` or ``adam``.
        start: ``noise`` (uniform in [0, 1]), ``content``, or ``net``: the picture that a trained net makes.
        pyramid: coarse to fine: (longer side in pixels, evaluations) of each stage before the full size, see
            :class:`nst_gluon.optimise.pyramid.Schedule`.
        grain: deviation of the noise that an enlarged picture gets.
        time_limit_s: seconds of the method's own clock; None: no limit.
        target: stop as soon as the objective is at or below it, but not before ``least_iterations`` evaluations.
        corrections: L-BFGS's memory, in pairs of vectors.
        learning_rate, decay_every, decay: Adam's rate (of pixels in [0, 1]), multiplied by ``decay`` every so many.
    """

    iterations: int = 500
    optimizer: str = "lbfgs"
    start: str = "noise"
    pyramid: tuple[tuple[int, int], ...] = ()
    grain: float = Schedule.grain
    time_limit_s: float | None = None
    target: float | None = None
    least_iterations: int = 0
    seed: int = 0
    corrections: int = 10
    learning_rate: float = 0.02
    decay_every: int | None = None
    decay: float = 0.1

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UserError(f"--optimizer: {self.optimizer!r} is not one of {', '.join(OPTIMIZERS)}")
        if self.start not in STARTS:
            raise UserError(f"--start: {self.start!r} is not one of {', '.join(STARTS)}")
        if self.iterations < 1:
            raise UserError(f"--iterations: {self.iterations} is not a positive number of evaluations")


@dataclass(frozen=True)
class Step:
    """One evaluation.

    Attributes:
        seconds: on the method's clock, from its start to the end of this evaluation.
        iteration: 1 for the first evaluation of a stage.
        terms: the objective at the picture that was evaluated.
        size: (height, width) of that picture: smaller than the result's in the coarse stages.
    """

    seconds: float
    iteration: int
    terms: Terms
    size: tuple[int, int]


@dataclass(frozen=True)
class Result:
    """What came out: the best picture that was evaluated at full size (1, 3, H, W), float32, clipped to [0, 1].

    ``terms`` are the objective's at that picture before clipping; ``stopped_because`` is ``target``, ``iterations``,
    ``time limit``, ``converged`` or ``diverged`` (the best picture from before is returned then).
    """

    picture: np.ndarray
    terms: Terms
    steps: tuple[Step, ...]
    stopped_because: str
    seconds: float


def config_of(preset: Preset, **changes) -> OptimizationConfig:
    """The source's way of minimising a preset, with ``changes`` on top (those that are not None)."""
    config = OptimizationConfig(
        iterations=preset.iterations,
        optimizer=preset.optimizer,
        start=preset.start,
        learning_rate=preset.learning_rate or 0.02,
    )
    return replace(config, **{k: v for k, v in changes.items() if v is not None})


def initial_picture(config: OptimizationConfig, content: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """The start (1, 3, H, W): the content, or noise that follows ``config.seed`` and nothing else.

    Raises:
        UserError: it should start from the content and there is none.
    """
    if config.start == "content":
        if content is None:
            raise UserError("--start: 'content' needs a content picture; use noise for textures")
        return content.astype("float32")
    if config.start == "net":
        raise UserError("--start: 'net' needs a trained net's picture")
    return np.random.default_rng(config.seed).random((1, 3, *size), dtype=np.float32)


class _Clock:
    """A monotonic clock that can be paused."""

    def __init__(self) -> None:
        self._start, self._lost = time.perf_counter(), 0.0

    def seconds(self) -> float:
        return time.perf_counter() - self._start - self._lost

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._lost += time.perf_counter() - began


class _Stop(Exception):
    pass


class _Run:
    """One descent: counts evaluations, keeps the best, decides when to stop."""

    def __init__(
        self, objective: Objective, config: OptimizationConfig, clock: _Clock, callback, first_step: float, minimise
    ):
        self.objective, self.config, self.clock, self.callback = objective, config, clock, callback
        self.first_step, self.minimise = first_step, minimise
        self.steps: list[Step] = []
        self.best: tuple[Terms, np.ndarray] | None = None
        self.reason = "converged"

    def evaluate(self, picture: np.ndarray) -> tuple[Terms, np.ndarray]:
        try:
            terms, gradient = self.objective.value_and_gradient(picture)
        except NotFinite:
            if self.best is None:
                raise
            self.reason = "diverged"
            raise _Stop from None
        step = Step(self.clock.seconds(), len(self.steps) + 1, terms, tuple(picture.shape[2:]))
        self.steps.append(step)
        if self.best is None or terms.objective < self.best[0].objective:
            self.best = (terms, picture)
        if self.callback is not None:
            with self.clock.paused():
                self.callback(step)
        self._check(step)
        return terms, gradient

    def _check(self, step: Step) -> None:
        config = self.config
        reached = config.target is not None and self.best[0].objective <= config.target
        if reached and step.iteration >= config.least_iterations:
            self.reason = "target"
        elif step.iteration >= config.iterations:
            self.reason = "iterations"
        elif config.time_limit_s is not None and step.seconds >= config.time_limit_s:
            self.reason = "time limit"
        else:
            return
        raise _Stop

    def descend(self, start: np.ndarray) -> None:
        with contextlib.suppress(_Stop):
            {"lbfgs": self._lbfgs, "adam": self._adam}[self.config.optimizer](start)

    def _lbfgs(self, start: np.ndarray) -> None:
        def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
            terms, gradient = self.evaluate(flat.reshape(start.shape))
            return terms.objective, gradient.ravel()

        self.minimise(value_and_gradient, start, self.config.corrections, self.first_step)

    def _adam(self, start: np.ndarray) -> None:
        config, picture = self.config, start
        mean, square = 0 * start, 0 * start
        for t in range(1, config.iterations + 1):
            _, gradient = self.evaluate(picture)
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient * gradient - square)
            rate = config.learning_rate
            if config.decay_every:
                rate *= config.decay ** ((t - 1) // config.decay_every)
            picture = picture - rate * (mean / (1 - 0.9**t)) / ((square / (1 - 0.999**t)) ** 0.5 + 1e-8)


def optimise(
    objective: Objective,
    start: np.ndarray | Callable[[], np.ndarray],
    config: OptimizationConfig,
    callback: Callable[[Step], None] | None = None,
    coarse: Sequence[Objective] = (),
    minimise: Callable[..., Any] = lbfgs,
    place: Callable[[np.ndarray], Any] = np.asarray,
    fetch: Callable[[Any], np.ndarray] = np.asarray,
) -> Result:
    """Moves ``start`` downhill.

    Args:
        start: (1, 3, H, W), the full size; coarse stages begin with it scaled down. A function that makes it is called
            on the clock.
        callback: called after each evaluation, off the clock; what it raises ends the run.
        coarse: one objective for each stage of ``config.pyramid``.
        minimise: what goes downhill when the optimiser is ``lbfgs``: arguments as
        :func:`nst_gluon.optimise.lbfgs.minimise`.
        place, fetch: bring a picture to where the objective computes, in the kind of array that it takes there, and
            back; the optimiser's vectors are where the picture is.

    Raises:
        NotFinite: the very first evaluation is not finite.
    """
    if len(coarse) != len(config.pyramid):
        raise ValueError(f"pyramid: {len(config.pyramid)} stages and {len(coarse)} objectives")
    clock, rng, steps = _Clock(), np.random.default_rng(config.seed), []
    picture = np.asarray(start() if callable(start) else start, dtype="float32")
    full, run = picture.shape[2:], None
    stages = [(stage_size(full, side), replace(config, iterations=evaluations, target=None), at)
              for (side, evaluations), at in zip(config.pyramid, coarse)]  # fmt: skip
    for size, settings, at in (*stages, (full, config, objective)):
        if picture.shape[2:] != size:
            picture = resampled(picture, size, config.grain, rng)
        run = _Run(at, settings, clock, callback, FIRST_STEP["enlarged" if steps else config.start], minimise)
        run.descend(place(picture))
        picture = fetch(run.best[1])
        steps += run.steps
    return Result(np.clip(picture, 0, 1), run.best[0], tuple(steps), run.reason, clock.seconds())
