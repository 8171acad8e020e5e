"""Optimisation that begins with the picture of a trained net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nst_gluon.methods.base import TASKS, Optimiser

if TYPE_CHECKING:
    from nst_gluon.optimise.problem import Problem

# Root mean square of the first step: a net's picture is near a valley's floor.
FIRST_STEP = 0.01


class NetGatys(Optimiser):
    """The net's picture first, which is on the clock, then steps of the optimisation."""

    name = "net_gatys"
    tasks = TASKS
    title = "optimisation from a net's picture"
    description = "the same, from the picture of a trained net"
    paper = "both ways combined: the net's picture first, then steps of the optimisation"
    color = "#cc79a7"
    variant_of = "gatys"
    from_net = True
    begins_with = "a net's picture"

    def descend(self, problem: Problem) -> None:
        problem.coarse_to_fine(problem.net_picture(), problem.levels, FIRST_STEP)
