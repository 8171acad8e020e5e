"""Descents of one line, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nst_gluon.optimise.config import OptimizationConfig
from nst_gluon.optimise.problem import Problem, Result, Step


def noise(side: int, seed: int = 0) -> np.ndarray:
    """A picture (1, 3, side, side), uniform in [0, 1)."""
    return np.random.default_rng(seed).random((1, 3, side, side), dtype=np.float32)


def optimise(
    objective: Any,
    start: np.ndarray,
    config: OptimizationConfig,
    callback: Callable[[Step], None] | None = None,
    host: Any = None,
    levels: Sequence[tuple[int, int]] = (),
    grain: float = 0.05,
    **more: Any,
) -> Result:
    """Coarse to fine from ``start``, at the sizes of ``levels`` first."""
    problem = Problem(objective, tuple(start.shape[2:]), config, callback=callback, host=host, **more)
    return problem.run(lambda problem: problem.coarse_to_fine(start, levels, grain=grain))
