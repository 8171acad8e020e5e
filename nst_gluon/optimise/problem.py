"""What an optimising method is given: a picture's objective, a clock, and the rules that end the descent.

The method's ``descend`` says where to begin and which way to go; all that methods have in common is here. Every
evaluation of the objective is a :class:`Step`. The clock runs while the method works and stands still while a callback
does, while the first picture is drawn, and while the objective of a coarser level is set up. Imports no engine: every
engine's optimisation is this one. L-BFGS is :mod:`nst_gluon.optimise.lbfgs`; Adam is Kingma & Ba's algorithm 1.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from nst_gluon.objective.loss_terms import Terms
from nst_gluon.optimise.config import OptimizationConfig
from nst_gluon.optimise.lbfgs import minimise as lbfgs
from nst_gluon.optimise.pyramid import GRAIN, resampled, stage_size, style_side
from nst_gluon.pictures.images import resize
from nst_gluon.system.errors import NotFinite, UserError

if TYPE_CHECKING:
    from nst_gluon.objective.loss import Objective

# Root mean square of the first step of L-BFGS; the enlarged picture of a coarser level is near a valley's floor.
FIRST_STEP, ENLARGED_STEP = 0.05, 0.03

Descend = Callable[["Problem"], None]
# A loss of a method's own, of what it moves: its value and gradient, in the kind of array that it is given.
Loss = Callable[[Any], tuple[float, Any]]


@dataclass(frozen=True)
class Step:
    """One evaluation.

    Attributes:
        seconds: on the method's clock, from its start to the end of this evaluation.
        iteration: 1 for the first evaluation of a level.
        terms: the objective at the picture that was evaluated.
        size: (height, width) of that picture: smaller than the result's at a coarser level.
    """

    seconds: float
    iteration: int
    terms: Terms
    size: tuple[int, int]


@dataclass(frozen=True)
class Result:
    """What came out: the best picture that was evaluated at full size (1, 3, H, W), float32, clipped to [0, 1].

    ``terms`` are the objective's at that picture before clipping; ``stopped_because`` is ``target``, ``iterations``,
    ``time limit``, ``converged`` or ``diverged`` (the best picture from before is returned then); ``began`` is what the
    method began with: ``noise``, ``content``, ``net``, or nothing for a picture of its own.
    """

    picture: np.ndarray
    terms: Terms
    steps: tuple[Step, ...]
    stopped_because: str
    seconds: float
    began: str = ""


class Stop(Exception):
    """A problem's end, raised by :meth:`Problem.evaluate`: let it pass."""

    def __init__(self, problem: Problem):
        super().__init__("the descent is over")
        self.problem = problem


class Clock:
    """A monotonic clock that can be paused."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._start, self._lost, self._pauses = time.perf_counter(), 0.0, 0

    def seconds(self) -> float:
        return time.perf_counter() - self._start - self._lost

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        began, self._pauses = time.perf_counter(), self._pauses + 1
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                self._lost += time.perf_counter() - began


class Host:
    """Where the optimiser's vectors are: numpy arrays in memory. Engines bring something of the same form."""

    minimise: Callable[..., Any] = staticmethod(lbfgs)

    def place(self, picture: np.ndarray) -> Any:
        """A picture in the kind of array that the optimiser's vectors are to be."""
        return np.asarray(picture)

    def fetch(self, array: Any) -> np.ndarray:
        """Such an array, on the host."""
        return np.asarray(array)


class Problem:
    """A picture's objective at one size, and when its descent ends.

    ``with problem:`` (or one of its coarser levels) ends where its evaluations do; :meth:`minimise` has that inside.

    Args:
        objective: see :class:`nst_gluon.objective.loss.Objective`: ``value_and_gradient`` and ``aimed_at``.
        size: (height, width) of the picture.
        content: (1, 3, H, W) in [0, 1]; None for a texture.
        style: the style picture (1, 3, S, S) at a side S; needed for coarser levels, as is its side ``style_size`` at
            the full size.
        net: makes the picture (1, 3, H, W) of a trained net, for a method that begins with one.
        levels: (longer side, evaluations) of the coarser levels that the user asked for, coarsest first.
        callback: called after each evaluation, off the clock; what it raises ends the descent.
        host: ``minimise`` (as :func:`nst_gluon.optimise.lbfgs.minimise`), ``place`` and ``fetch``: see :class:`Host`.

    Attributes:
        best: (terms, picture) of the lowest objective so far, the picture as the engine has it; None before any.
        reason: why it ended: see :class:`Result`.
    """

    def __init__(
        self,
        objective: Objective,
        size: tuple[int, int],
        config: OptimizationConfig,
        content: np.ndarray | None = None,
        style: Callable[[int], np.ndarray] | None = None,
        style_size: int = 0,
        net: Callable[[], np.ndarray] | None = None,
        levels: Sequence[tuple[int, int]] = (),
        callback: Callable[[Step], None] | None = None,
        host: Any = None,
    ):
        self.objective, self.size, self.config, self.content = objective, size, config, content
        self.levels = tuple(levels)
        self._style, self._style_size, self._net, self._callback = style, style_size, net, callback
        self._host = host or Host()
        self._clock, self._steps = Clock(), []
        self._whole, self._coarser = self, {}
        self._rehearsed: int | None = None
        self._planned = config.iterations
        self._forget()

    def _forget(self) -> None:
        self.best: tuple[Terms | None, Any] | None = None
        self.reason, self.began, self._count, self._over = "converged", "", 0, False

    @property
    def task(self) -> str:
        return "texture" if self.content is None else "stylize"

    @property
    def seed(self) -> int:
        return self.config.seed

    # ------------------------------------------------------------------------------------- what a method calls

    def start(self) -> np.ndarray:
        """The picture (1, 3, H, W) that the user asked to begin with: the content, or noise that follows the seed.

        Raises:
            UserError: it should be the content and there is none.
        """
        with self._clock.paused():
            self._whole.began = self.config.start
            if self.config.start == "noise":
                return np.random.default_rng(self.seed).random((1, 3, *self.size), dtype=np.float32)
            if self.content is None:
                raise UserError("--start: 'content' needs a content picture; use noise for textures")
            return self.content.astype("float32")

    def net_picture(self) -> np.ndarray:
        """The picture (1, 3, H, W) of a trained net, made on the clock."""
        if self._net is None:
            raise UserError("--method: it begins with a net's picture and is no method with from_net = True")
        if self._rehearsed == 0:
            return self.start()
        self._whole.began = "net"
        return np.asarray(self._net(), dtype="float32")

    def style(self, side: int | None = None) -> np.ndarray:
        """The style picture (1, 3, S, S) as it is seen where the picture's longer side has ``side`` pixels; None: at
        its full size."""
        whole = self._whole
        side = max(whole.size) if side is None else side
        with self._clock.paused():
            return whole._style(style_side(whole._style_size, side, max(whole.size)))

    def evaluate(self, picture: np.ndarray) -> tuple[Terms, np.ndarray]:
        """The objective's terms and its gradient at a picture (1, 3, H, W); raises :class:`Stop` at the end."""
        terms, gradient = self._evaluate(self._host.place(self._fitting(picture, "evaluate")))
        return terms, self._host.fetch(gradient)

    def _fitting(self, picture: np.ndarray, where: str) -> np.ndarray:
        """A method's picture, float32; ValueError unless it is one of this level."""
        if np.shape(picture) != (1, 3, *self.size):
            raise ValueError(f"{where}: {np.shape(picture)} is not the shape {(1, 3, *self.size)} of this level")
        return np.asarray(picture, dtype="float32")

    def minimise(
        self,
        picture: np.ndarray,
        first_step: float = FIRST_STEP,
        loss: Loss | None = None,
        shown: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Go downhill from a picture with the optimiser that the user asked for; the best picture that was evaluated.

        Args:
            first_step: root mean square of the first step of L-BFGS, which has no curvature to go by.
            loss: the method's own, minimised without bounds instead of the objective, which then judges each picture
                off the clock; the best picture is that of the lowest ``loss``, and no target ends the descent.
            shown: with ``loss``: from what it moves to the picture (1, 3, H, W) that this stands for; off the clock.
        """
        with self:
            given = self._fitting(picture, "minimise") if shown is None else np.asarray(picture, dtype="float32")
            placed = self._host.place(given)
            evaluate = self._evaluate if loss is None else self._judged(loss, shown or (lambda moved: moved))
            if self.config.optimizer == "adam":
                self._adam(evaluate, placed, None if loss else self.config.bounds)
            else:
                self._lbfgs(evaluate, placed, first_step, None if loss else self.config.bounds)
        return self.best_picture()

    def best_picture(self) -> np.ndarray:
        """The picture (1, 3, H, W) of the lowest objective so far, not clipped."""
        return self._host.fetch(self.best[1])

    def coarser(self, side: int, evaluations: int) -> Problem:
        """The same problem with ``side`` pixels on the longer side, for so many evaluations; set up off the clock.

        Style and content are scaled alike, so that both show the same strokes.
        """
        whole = self._whole
        with self._clock.paused():
            size = stage_size(whole.size, side)
            content = None if whole.content is None else resize(whole.content, size)
            if side not in self._coarser:
                self._coarser[side] = whole.objective.aimed_at(self.style(side), content)
            config = replace(self.config, iterations=evaluations, target=None)
            level = Problem(self._coarser[side], size, config, content, callback=self._callback, host=self._host)
        level._clock, level._steps, level._whole = self._clock, self._steps, whole
        level._coarser, level._rehearsed = self._coarser, self._rehearsed
        whole._planned += evaluations
        return level

    def coarse_to_fine(
        self,
        picture: np.ndarray,
        levels: Sequence[tuple[int, int]],
        first_step: float = FIRST_STEP,
        grain: float = GRAIN,
        detail: bool = False,
    ) -> None:
        """:meth:`minimise` at each level (longer side, evaluations), coarsest first, and then at the full size.

        ``grain`` is the deviation of the noise that an enlarged picture gets, ``detail``: it gets the finest octave of
        the style picture instead; see :mod:`nst_gluon.optimise.pyramid`.
        """
        rng = np.random.default_rng(self.seed)
        for level in (*(self.coarser(*level) for level in levels), self):
            if picture.shape[2:] != level.size:
                style = self.style(max(level.size)) if detail else None
                picture = resampled(picture, level.size, grain, rng, style)
            picture = level.minimise(picture, first_step)
            first_step = ENLARGED_STEP

    # ------------------------------------------------------------------------------------ what runs the method

    def rehearse(self, descend: Descend, evaluations: int) -> int:
        """Run a method with so few evaluations a level that it takes next to no time, and keep nothing of it.

        0 sets up the objective of every level and evaluates none; 1 evaluates each once, which builds the graphs.
        Returns how many evaluations the method plans, at all levels.
        """
        trial = Problem(self.objective, self.size, self.config, self.content, self._style, self._style_size, self._net,
                        self.levels, host=self._host)  # fmt: skip
        trial._coarser, trial._rehearsed = self._coarser, evaluations
        with trial:
            descend(trial)
        return trial._planned

    def run(self, descend: Descend) -> Result:
        """Run a method to its end.

        Raises:
            NotFinite: the very first evaluation of a level is not finite.
            UserError: the method never evaluated a picture of the full size.
        """
        self._forget()
        self._steps.clear()
        self._clock.restart()
        with self:
            descend(self)
        if self.best is None:
            raise UserError("--method: its descend ended without an evaluation at the full size")
        picture = np.clip(self.best_picture(), 0, 1)
        return Result(picture, self.best[0], tuple(self._steps), self.reason, self._clock.seconds(), self.began)

    def __enter__(self) -> Problem:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        return isinstance(error, Stop) and (error.problem is self or self._whole is self)

    # ---------------------------------------------------------------------------------------------------- inside

    def _evaluate(self, picture: Any) -> tuple[Terms, Any]:
        if self._over:
            raise Stop(self)
        if self._rehearsed == 0:
            self.best = (None, picture)
            raise self._stop("iterations")
        try:
            terms, gradient = self.objective.value_and_gradient(picture)
        except NotFinite:
            if self.best is None:
                raise
            raise self._stop("diverged") from None
        seconds = self._clock.seconds()
        if self.best is None or terms.objective < self.best[0].objective:
            self.best = (terms, picture)
        self._stepped(Step(seconds, self._count + 1, terms, tuple(picture.shape[2:])))
        return terms, gradient

    def _judged(self, loss: Loss, shown: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], tuple[Any, Any]]:
        """What :meth:`_evaluate` is to the objective, of another loss."""
        least = math.inf

        def evaluate(moved: Any) -> tuple[Terms, Any]:
            nonlocal least
            if self._over:
                raise Stop(self)
            if self._rehearsed == 0:
                self.best = (None, self._fitting(shown(self._host.fetch(moved)), "shown"))
                raise self._stop("iterations")
            value, gradient = loss(moved)
            if not math.isfinite(value):
                raise self._stop("diverged") if self.best else NotFinite(f"the method's own loss became {value}")
            fetched, seconds = self._host.fetch(moved), self._clock.seconds()  # fetched: a GPU is done
            with self._clock.paused():
                picture = self._fitting(shown(fetched), "shown")
                terms = self.objective.terms(picture)
            if value < least:
                self.best, least = (terms, picture), value
            self._stepped(Step(seconds, self._count + 1, terms, tuple(picture.shape[2:])))
            return Terms(value, 0.0, value, 0.0), gradient

        return evaluate

    def _stepped(self, step: Step) -> None:
        self._count += 1
        self._steps.append(step)
        if self._callback is not None:
            with self._clock.paused():
                self._callback(step)
        self._check(step)

    def _stop(self, reason: str) -> Stop:
        self.reason, self._over = reason, True
        return Stop(self)

    def _check(self, step: Step) -> None:
        config = self.config
        reached = config.target is not None and self.best[0].objective <= config.target
        if reached and step.iteration >= config.least_iterations:
            raise self._stop("target")
        if step.iteration >= (self._rehearsed or config.iterations):
            raise self._stop("iterations")
        if config.time_limit_s is not None and step.seconds >= config.time_limit_s:
            raise self._stop("time limit")

    def _lbfgs(self, evaluate: Callable, start: Any, first_step: float, bounds: tuple[float, float] | None) -> None:
        def value_and_gradient(flat: Any) -> tuple[float, Any]:
            terms, gradient = evaluate(flat.reshape(start.shape))
            return terms.objective, gradient.ravel()

        self._host.minimise(value_and_gradient, start, self.config.corrections, first_step, bounds)

    def _adam(self, evaluate: Callable, start: Any, bounds: tuple[float, float] | None) -> None:
        config, picture = self.config, start if bounds is None else start.clip(*bounds)
        mean, square = 0 * start, 0 * start
        for t in range(1, config.iterations + 1):
            _, gradient = evaluate(picture)
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient * gradient - square)
            rate = config.learning_rate
            if config.decay_every:
                rate *= config.decay ** ((t - 1) // config.decay_every)
            picture = picture - rate * (mean / (1 - 0.9**t)) / ((square / (1 - 0.999**t)) ** 0.5 + 1e-8)
            picture = picture if bounds is None else picture.clip(*bounds)
