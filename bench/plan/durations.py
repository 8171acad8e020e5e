"""About how long a cell takes, and after how long it counts as hung. Imports no engine."""

from __future__ import annotations

from bench.plan.budgets import Budget
from bench.plan.cells import GENERATE, Cell

START_UP_S = 5.0  # import, weights, net; and scoring the picture afterwards
FORWARD_S_PER_PIXEL = 1e-6
STEP_S_PER_PIXEL = 5e-6
USUAL_EVALUATIONS = 100  # of an optimisation that may stop at its targets


def estimate_s(cell: Cell, budget: Budget) -> float:
    """About how long a cell takes on two cores; only the progress bar's first guess, replaced by what is
    measured.
    """
    pixels = cell.size * cell.size
    if cell.kind == GENERATE:
        call = FORWARD_S_PER_PIXEL * pixels * cell.batch
        sampling = max(budget.min_seconds, budget.min_samples * call)
        return START_UP_S + 5 * call + min(sampling, budget.max_seconds) + STEP_S_PER_PIXEL * pixels
    step = STEP_S_PER_PIXEL * pixels
    return START_UP_S + 2 * step + min(budget.limit_s(cell.size, cell.variant), usual_evaluations(budget) * step)


def usual_evaluations(budget: Budget) -> int:
    """How many evaluations an optimisation makes, as a guess, where no limit of time ends it."""
    return max(USUAL_EVALUATIONS, budget.least_iterations) if budget.stop_early else budget.max_iterations


def timeout_s(cell: Cell, budget: Budget, scale: float = 1.0) -> float:
    """Seconds after which a cell counts as hung. Generous: a worker itself ends when its budget is spent."""
    if cell.kind == GENERATE:
        longest = budget.warm_up_seconds + budget.max_seconds
    else:
        longest = budget.limit_s(cell.size, cell.variant)
    pixels = cell.size * cell.size * cell.batch
    return scale * (180.0 + 2.0 * longest + 100.0 * STEP_S_PER_PIXEL * pixels)
