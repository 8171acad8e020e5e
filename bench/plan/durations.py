"""About how long a cell takes, and after how long it counts as hung. Imports no engine."""

from __future__ import annotations

from bench.plan.budgets import Budget
from bench.plan.cells import GENERATE, Cell, Plan

# On the machine of results/speed; forward passes: the mean of the bundled nets, of which the Johnson net takes 1e-6.
START_UP_S = 3.0  # import, weights, net
SCORE_S_PER_PIXEL = 3e-6
FORWARD_S_PER_PIXEL = 0.5e-6
STEP_S_PER_PIXEL = 5e-6
USUAL_EVALUATIONS = 35  # of an optimisation that may stop at its targets


def estimate_s(cell: Cell, budget: Budget, pictures: int = 1) -> float:
    """About how long a cell takes on two cores; only the progress bar's first guess, replaced by what is
    measured. ``pictures``: see :func:`pictures_of`.
    """
    pixels = cell.size * cell.size
    if cell.kind == GENERATE:
        call = FORWARD_S_PER_PIXEL * pixels * cell.batch
        sampling = max(budget.min_seconds, budget.min_samples * call)
        scoring = pictures * (call + SCORE_S_PER_PIXEL * pixels)
        return START_UP_S + 5 * call + min(1.5 * sampling, budget.max_seconds) + scoring
    step = STEP_S_PER_PIXEL * pixels
    evaluations = usual_evaluations(budget) / (3 if cell.variant and budget.stop_early else 1)
    descent = min(budget.limit_s(cell.size, cell.variant), evaluations * step)
    return START_UP_S + pictures * (2 * step + descent)


def pictures_of(cell: Cell, plan: Plan) -> int:
    """How many pictures a cell scores, or optimises."""
    if cell.batch > 1 or (cell.kind == GENERATE and not plan.budget.score):
        return 0
    photos, draws = plan.share(cell)
    return len(photos) or (draws if cell.kind == GENERATE else 1)


def usual_evaluations(budget: Budget) -> int:
    """How many evaluations an optimisation makes, as a guess, where no limit of time ends it."""
    return max(USUAL_EVALUATIONS, budget.least_iterations) if budget.stop_early else budget.max_iterations


def timeout_s(cell: Cell, budget: Budget, scale: float = 1.0, pictures: int = 1) -> float:
    """Seconds after which a cell counts as hung. Generous: a worker itself ends when its budget is spent."""
    if cell.kind == GENERATE:
        longest = budget.warm_up_seconds + 1.5 * budget.max_seconds
    else:
        longest = budget.limit_s(cell.size, cell.variant) * pictures
    pixels = cell.size * cell.size * cell.batch
    return scale * (180.0 + 2.0 * longest + 100.0 * STEP_S_PER_PIXEL * pixels * max(1, pictures))
