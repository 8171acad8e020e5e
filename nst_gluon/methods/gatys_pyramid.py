"""Optimisation from coarse to fine (Gatys, Ecker, Bethge, Hertzmann, Shechtman 2017, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nst_gluon.methods.base import TASKS, Optimiser

if TYPE_CHECKING:
    from nst_gluon.optimise.problem import Problem


class GatysPyramid(Optimiser):
    """Begins at a small size, with the style's mean colour, and ends at the full one; what an enlarged picture lacks is
    the style's own finest octave: :mod:`nst_gluon.optimise.pyramid`."""

    name = "gatys_pyramid"
    tasks = TASKS
    title = "coarse-to-fine optimisation"
    description = "the same, coarse to fine: begins small and ends at the full size"
    paper = "Gatys, Ecker, Bethge, Hertzmann, Shechtman: Controlling Perceptual Factors, 2017"
    color = "#b07d00"
    variant_of = "gatys"

    def descend(self, problem: Problem) -> None:
        from nst_gluon.optimise.pyramid import Schedule, toned

        start, levels = problem.start(), problem.levels or Schedule().levels(problem.size)
        if levels and problem.config.start == "noise":
            start = toned(start, problem.style(levels[0][0]))
        problem.coarse_to_fine(start, levels, detail=True)
