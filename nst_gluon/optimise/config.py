"""How a descent goes downhill and when it ends, and what a preset asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nst_gluon.objective.presets import Preset
from nst_gluon.system.errors import UserError

OPTIMIZERS = ("lbfgs", "adam")
STARTS = ("noise", "content")
# The range of a picture's values.
PIXELS = (0.0, 1.0)


@dataclass(frozen=True)
class OptimizationConfig:
    """How to go downhill, and when it ends.

    Attributes:
        iterations: evaluations of the objective and its gradient at the full size, at most.
        optimizer: ``lbfgs`` or ``adam``.
        start: what :meth:`nst_gluon.optimise.problem.Problem.start` is: ``noise`` (uniform in [0, 1]) or ``content``.
        time_limit_s: seconds of the method's own clock; None: no limit.
        target: stop as soon as the objective is at or below it, but not before ``least_iterations`` evaluations.
        corrections: L-BFGS's memory, in pairs of vectors.
        learning_rate, decay_every, decay: Adam's rate (of pixels in [0, 1]), multiplied by ``decay`` every so many.
        bounds: the least and the largest value of a pixel, onto which every step is projected (Johnson et al. 2016,
            section 4.1), so that the picture that is saved has the objective that was reached; None: none.
    """

    iterations: int = 500
    optimizer: str = "lbfgs"
    start: str = "noise"
    time_limit_s: float | None = None
    target: float | None = None
    least_iterations: int = 0
    seed: int = 0
    corrections: int = 10
    learning_rate: float = 0.02
    decay_every: int | None = None
    decay: float = 0.1
    bounds: tuple[float, float] | None = PIXELS

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UserError(f"--optimizer: {self.optimizer!r} is not one of {', '.join(OPTIMIZERS)}")
        if self.start not in STARTS:
            raise UserError(f"--start: {self.start!r} is not one of {', '.join(STARTS)}")
        if self.iterations < 1:
            raise UserError(f"--iterations: {self.iterations} is not a positive number of evaluations")


def config_of(preset: Preset, **changes: Any) -> OptimizationConfig:
    """The source's way of minimising a preset, with ``changes`` on top (those that are not None)."""
    config = OptimizationConfig(
        iterations=preset.iterations,
        optimizer=preset.optimizer,
        start=preset.start,
        learning_rate=preset.learning_rate or 0.02,
        decay_every=preset.decay_every,
    )
    return replace(config, **{k: v for k, v in changes.items() if v is not None})
