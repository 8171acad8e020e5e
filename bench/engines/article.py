"""An article's run on Gluon, step by step as the article does it: see :mod:`bench.plan.articles`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import fmin_l_bfgs_b

from bench.plan.articles import Article, Stage
from nst_gluon.descriptor.weights import VggWeights
from nst_gluon.objective import presets
from nst_gluon.objective.loss_terms import Terms
from nst_gluon.optimise.config import OptimizationConfig
from nst_gluon.optimise.problem import Problem
from nst_gluon.pictures.images import resize


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of the objective; ``stage``, ``round`` and ``step`` count from 1, ``step`` within the stage."""

    stage: int
    round: int
    step: int
    seconds: float
    terms: Terms


class _Scaled:
    """An objective of the article's variables z instead of pixels in [0, 1]: pixels = mean + std * z."""

    def __init__(self, objective: Any, mean: np.ndarray, std: np.ndarray):
        self._objective, self._mean, self._std = objective, mean, std

    def value_and_gradient(self, z: np.ndarray) -> tuple[Terms, np.ndarray]:
        terms, gradient = self._objective.value_and_gradient(self._mean + self._std * z)
        return terms, self._std * gradient


def reproduce(
    article: Article,
    weights: VggWeights,
    style: np.ndarray,
    content: np.ndarray,
    seed: int = 0,
    tell: Callable[[Evaluation], None] = lambda evaluation: None,
) -> tuple[np.ndarray, list[Evaluation], list[float]]:
    """Run an article.

    Args:
        style, content: pictures (1, 3, H, W) in [0, 1], which are resampled to each stage's width and height.
        tell: called after each evaluation.

    Returns:
        The picture (1, 3, H, W) clipped to [0, 1], every evaluation, and the objective after each round of each stage
        (after Adam's only round: the lowest).
    """
    from nst_gluon.objective.loss import Objective

    mean, std = (np.reshape(np.float32(values), (1, 3, 1, 1)) for values in (article.mean, article.std))
    began, evaluations, rounds, picture = time.perf_counter(), [], [], content
    for number, stage in enumerate(article.stages, 1):
        size = (stage.height, stage.width)
        target = resize(content, size)
        objective = Objective(presets.get(article.name), weights, "stylize", resize(style, size), target)
        counted = _Scaled(objective, mean, std)
        if article.noise and number == 1:
            z = np.random.default_rng(seed).uniform(*article.noise, target.shape).astype("float32")
        else:
            z = (resize(picture, size) - mean) / std

        def record(terms: Terms, stage_number: int = number) -> None:
            step = 1 + sum(one.stage == stage_number for one in evaluations)
            evaluations.append(
                Evaluation(stage_number, 1 + len(rounds), step, time.perf_counter() - began, terms))  # fmt: skip
            tell(evaluations[-1])

        z = _adam(counted, z, stage, record, rounds) if stage.rate else _lbfgs(counted, z, stage, record, rounds)
        picture = np.clip(mean + std * z, 0, 1)
    return picture, evaluations, rounds


def _adam(objective: _Scaled, z: np.ndarray, stage: Stage, record: Callable, rounds: list[float]) -> np.ndarray:
    config = OptimizationConfig(iterations=stage.evaluations, optimizer="adam", learning_rate=stage.rate,
                                decay_every=stage.decay_every, bounds=None)  # fmt: skip
    problem = Problem(objective, (stage.height, stage.width), config, callback=lambda step: record(step.terms))
    z = problem.minimise(z)
    rounds.append(problem.best[0].objective)
    return z


def _lbfgs(objective: _Scaled, z: np.ndarray, stage: Stage, record: Callable, rounds: list[float]) -> np.ndarray:
    """SciPy's L-BFGS-B without bounds, begun anew each round, as the article calls it."""

    def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
        terms, gradient = objective.value_and_gradient(flat.reshape(z.shape).astype("float32"))
        record(terms)
        return terms.objective, gradient.ravel().astype("float64")

    flat = z.ravel().astype("float64")
    for _ in range(stage.rounds):
        flat, value, _ = fmin_l_bfgs_b(function, flat, maxfun=stage.evaluations)
        rounds.append(float(value))
    return flat.reshape(z.shape).astype("float32")
