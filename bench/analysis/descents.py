"""How long an optimisation takes to an objective, from its curve, and how far that is from certain. Imports no engine.

The rule: the seconds until the end of the first evaluation at the full size, as they were (set-up of the descent,
coarse levels, the net's picture that it starts from), and then the evaluations to the target times the median step of
that descent. A net's latency is a median too, so slow samples count for neither side.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis.intervals import RESAMPLES, Resampled

# By photo ("" for a texture), or by photo and seed: the objectives of the pictures whose median is the target.
Aims = Mapping[Hashable, np.ndarray]


class Descent:
    """One curve: columns seconds, iteration and objective, in order of time; what is not finite is left out."""

    def __init__(self, curve: pd.DataFrame):
        curve = curve[np.isfinite(curve["objective"])]
        self.objective, seconds, self.iteration = (
            curve[name].to_numpy(dtype=float) for name in ("objective", "seconds", "iteration")
        )
        self._lowest = np.minimum.accumulate(self.objective)
        self.first_s = float(seconds[0]) if len(seconds) else math.nan
        steps = np.diff(seconds) / np.diff(self.iteration)
        self.step_s = float(np.median(steps)) if len(steps) else 0.0

    def __len__(self) -> int:
        return len(self.objective)

    def iterations_to(self, targets: np.ndarray, otherwise: float = math.inf) -> np.ndarray:
        """Evaluations until the objective first falls to each target; ``otherwise`` where it never does.

        Between the last evaluation above the target and the first at or below it, log(objective) is taken as linear.
        """
        targets = np.asarray(targets, dtype=float)
        after = np.searchsorted(-self._lowest, -targets, side="left")
        found = np.full(targets.shape, otherwise)
        at_once, inside = after == 0, (after > 0) & (after < len(self))
        found[at_once] = self.iteration[0]
        end, aim = after[inside], targets[inside]
        above, below = self.objective[end - 1], self.objective[end]
        with np.errstate(invalid="ignore", divide="ignore"):
            part = np.where((aim > 0) & (below > 0), np.log(above / aim) / np.log(above / below),
                            (above - aim) / (above - below))  # fmt: skip
        found[inside] = self.iteration[end - 1] + part * (self.iteration[end] - self.iteration[end - 1])
        return found

    def seconds_at(self, iterations: np.ndarray) -> np.ndarray:
        """Seconds at (fractional, or infinitely many) evaluations, by the rule above."""
        later = (np.minimum(iterations, self.spent) - self.iteration[0]) * self.step_s
        return self.first_s + np.where(np.isinf(iterations), math.inf, later)

    @property
    def lowest(self) -> float:
        return float(self._lowest[-1])

    @property
    def spent(self) -> float:
        """Evaluations that were made."""
        return float(self.iteration[-1])


def by_photo(curves: pd.DataFrame) -> dict[str, list[Descent]]:
    """The descents of each photo, one for each seed."""
    found: dict[str, list[Descent]] = {}
    for (photo, _), curve in curves.groupby(["photo", "seed"]):
        descent = Descent(curve)
        if len(descent):
            found.setdefault(str(photo), []).append(descent)
    return found


def by_start(curves: pd.DataFrame) -> dict[tuple[str, int], list[Descent]]:
    """The descents by photo and seed, one each."""
    return {
        (photo, seed): each
        for seed, of_seed in curves.groupby("seed")
        for photo, each in by_photo(of_seed).items()
    }


@dataclass(frozen=True)
class Times:
    """Seconds (or evaluations) to a target: ``least`` counts a descent that never got there with what it spent, and
    ``most`` with infinity. The truth is between them.
    """

    least: Resampled
    most: Resampled


def to_targets(descents: Mapping[Hashable, list[Descent]], aims: Aims, axis: str = "seconds") -> Times | None:
    """The median over photos of the median over seeds of the time to the target, which is the median of its draws.

    Resampled are photos, then the draws of each and the seeds of each. None where no photo has both.
    """
    photos = [photo for photo in aims if photo in descents and len(aims[photo])]
    if not photos:
        return None
    rng = np.random.default_rng(0)
    values: dict[bool, list[float]] = {False: [], True: []}
    columns: dict[bool, list[np.ndarray]] = {False: [], True: []}
    varies = len(photos) > 1
    for photo in photos:
        own, draws = descents[photo], np.asarray(aims[photo], dtype=float)
        varies = varies or len(own) > 1 or len(draws) > 1
        resampled = np.median(draws[rng.integers(len(draws), size=(RESAMPLES, len(draws)))], axis=1)
        targets = np.concatenate([[np.median(draws)], resampled])
        seeds = rng.integers(len(own), size=(RESAMPLES, len(own)))
        for unbounded in (False, True):
            each = []
            for descent in own:
                iterations = descent.iterations_to(targets, math.inf if unbounded else descent.spent)
                each.append(descent.seconds_at(iterations) if axis == "seconds" else iterations)
            table = np.stack(each, axis=1)
            values[unbounded].append(median(table[:1])[0])
            columns[unbounded].append(median(np.take_along_axis(table[1:], seeds, axis=1)))
    chosen = rng.integers(len(photos), size=(RESAMPLES, len(photos)))
    n = sum(len(descents[photo]) for photo in photos)
    found = []
    for unbounded in (False, True):
        resampled = median(np.take_along_axis(np.stack(columns[unbounded], axis=1), chosen, axis=1))
        found.append(Resampled(float(np.median(values[unbounded])), resampled if varies else None, n))
    return Times(*found)


def median(table: np.ndarray) -> np.ndarray:
    """Medians of the rows; of two middle ones, of which one is infinite, infinity."""
    ordered = np.sort(table, axis=1)
    count = ordered.shape[1]
    low, high = ordered[:, (count - 1) // 2], ordered[:, count // 2]
    return np.where(np.isinf(high), high, (low + np.where(np.isinf(high), 0, high)) / 2)


def lowest(aims: Iterable[Aims]) -> dict[str, np.ndarray]:
    """By photo, the lowest of several targets, as one value."""
    found: dict[str, float] = {}
    for each in aims:
        for photo, draws in each.items():
            found[photo] = min(found.get(photo, math.inf), float(np.median(draws)))
    return {photo: np.array([value]) for photo, value in found.items()}
