"""The optimisation method: one picture, moved downhill on the common objective (Gatys, Ecker, Bethge 2015, 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nst_gluon.methods.base import TASKS, Optimiser

if TYPE_CHECKING:
    from nst_gluon.optimise.problem import Problem


class Gatys(Optimiser):
    """L-BFGS or Adam on the pixels, from noise or the content picture."""

    name = "gatys"
    tasks = TASKS
    title = "optimisation"
    description = "optimises the pixels of one picture, L-BFGS or Adam"
    paper = "Gatys, Ecker, Bethge: Texture Synthesis; A Neural Algorithm of Artistic Style, 2015"
    color = "#d55e00"

    def descend(self, problem: Problem) -> None:
        problem.coarse_to_fine(problem.start(), problem.levels)
