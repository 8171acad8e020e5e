"""How much is measured per cell: the budgets that a run can be given, by name. Imports no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.plan import older


@dataclass(frozen=True)
class Budget:
    """How much is measured per cell. Seconds are wall-clock.

    A forward pass is timed until both ``min_samples`` and ``min_seconds`` in them are reached, or ``max_seconds`` are
    over (but never fewer than 3 samples). An optimisation ends after
    ``max_iterations`` evaluations, or after ``optimise_seconds`` at 256x256, which grow with the pixels to
    the power ``optimise_growth``; with ``stop_early`` it ends as soon as every target is crossed and
    ``least_iterations`` evaluations are done. A variant of the optimisation (coarse to fine, from a net's picture) has
    ``variant_seconds`` instead (None: as long) and no least number of evaluations; without ``variants`` they do not
    belong to "all methods" and are measured when named. Without ``score`` no picture is made of what was timed, and no
    objective of it.

    A net is timed in ``processes`` fresh processes; the first of them scores ``draws`` textures, each from its own
    noise (stylisation: each photo once, or in turn as many pictures if the net has noise). Optimisation starts from
    ``seeds`` draws of noise, each in a process of its own, but for a method that starts from a net's picture: that has
    one. Several photos are dealt out to these, unless ``crossed``: then each optimises all of them.
    """

    name: str
    min_samples: int
    min_seconds: float
    max_seconds: float
    warm_up_seconds: float
    optimise_seconds: float
    optimise_growth: float
    stop_early: bool
    least_iterations: int
    max_iterations: int
    batches: tuple[int, ...]
    draws: int
    seeds: int
    processes: int
    score: bool = True
    variant_seconds: float | None = None
    variants: bool = True
    crossed: bool = False

    def limit_s(self, size: int, variant: bool = False) -> float:
        """Seconds that an optimisation of a size x size picture may take, or a ``variant`` of it."""
        short = variant and self.variant_seconds is not None
        seconds = self.variant_seconds if short else self.optimise_seconds
        return seconds * max(1.0, (size / 256) ** 2) ** self.optimise_growth

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Budget:
        known = older.budget(fields)
        return cls(**{**known, "batches": tuple(known["batches"])})


STANDARD = Budget(
    name="standard",
    min_samples=10,
    min_seconds=1.5,  # in each of three processes
    max_seconds=60.0,
    warm_up_seconds=2.0,
    optimise_seconds=60.0,
    optimise_growth=0.87,
    stop_early=True,
    least_iterations=10,
    max_iterations=500,
    batches=(1,),
    draws=16,
    seeds=3,
    processes=3,
    variant_seconds=16.0,
)

BUDGETS = {
    budget.name: budget
    for budget in (
        Budget(
            name="quick",
            min_samples=5,
            min_seconds=0.5,
            max_seconds=10.0,
            warm_up_seconds=2.0,
            optimise_seconds=10.0,
            optimise_growth=0.0,
            stop_early=True,
            least_iterations=5,  # a step has a time even where the first evaluation is at the target
            max_iterations=200,
            batches=(1,),
            draws=4,
            seeds=1,
            processes=1,
            variant_seconds=4.0,
            variants=False,
        ),
        STANDARD,
        # For slow processors and large pictures, where the standard time ends before the nets' objectives are reached.
        replace(STANDARD, name="long", optimise_seconds=240.0, variant_seconds=64.0),
        Budget(
            name="full",
            min_samples=20,
            min_seconds=10.0,
            max_seconds=300.0,
            warm_up_seconds=15.0,
            optimise_seconds=1800.0,
            optimise_growth=1.0,
            stop_early=False,
            least_iterations=500,
            max_iterations=500,
            batches=(1, 4),
            draws=16,
            seeds=3,
            processes=3,
            crossed=True,
        ),
    )
}


# One block of a comparison of two revisions: just enough calls for a median, in a process that ends soon.
GATE = Budget(
    name="gate",
    min_samples=10,
    min_seconds=1.0,
    max_seconds=3.0,
    warm_up_seconds=1.0,
    optimise_seconds=3.0,
    optimise_growth=0.0,
    stop_early=False,
    least_iterations=0,
    max_iterations=50,
    batches=(1,),
    draws=1,
    seeds=1,
    processes=1,
    score=False,
)
