"""Optimisation from coarse to fine (Gatys, Ecker, Bethge, Hertzmann, Shechtman 2017, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nst_gluon.methods.base import TASKS, Optimiser

if TYPE_CHECKING:
    from nst_gluon.optimise.problem import Problem


class GatysPyramid(Optimiser):
    """Begins at a small size and ends at the full one. A texture begins with the style's colours, and gets the style's
    finest octave wherever it is enlarged: :mod:`nst_gluon.optimise.pyramid`."""

    name = "gatys_pyramid"
    tasks = TASKS
    title = "coarse-to-fine optimisation"
    description = "the same, coarse to fine: begins small and ends at the full size"
    paper = "Gatys, Ecker, Bethge, Hertzmann, Shechtman: Controlling Perceptual Factors, 2017"
    color = "#b07d00"
    variant_of = "gatys"

    def descend(self, problem: Problem) -> None:
        from nst_gluon.optimise.pyramid import Schedule, toned

        start, texture = problem.start(), problem.task == "texture"
        schedule = Schedule(first=6, between=3) if texture else Schedule()
        levels = problem.levels or schedule.levels(problem.size)
        if levels and texture:
            start = toned(start, problem.style(levels[0][0]))
        problem.coarse_to_fine(start, levels, detail=texture)
