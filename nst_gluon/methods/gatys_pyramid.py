"""Optimisation from coarse to fine (Gatys, Ecker, Bethge, Hertzmann, Shechtman 2017, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nst_gluon.methods.base import TASKS, Optimiser

if TYPE_CHECKING:
    from nst_gluon.optimise.problem import Problem


class GatysPyramid(Optimiser):
    """Begins at half the size, with a picture that costs nothing and is near: for a texture noise with the style's
    spectrum, else the content in the style's colours. What it gains is in :mod:`nst_gluon.optimise.pyramid`."""

    name = "gatys_pyramid"
    tasks = TASKS
    title = "coarse-to-fine optimisation"
    description = "the same, coarse to fine, from a picture with the style's colours"
    paper = "Gatys, Ecker, Bethge, Hertzmann, Shechtman: Controlling Perceptual Factors, 2017"
    color = "#b07d00"
    variant_of = "gatys"
    begins_with = "a picture with the style's colours"

    def descend(self, problem: Problem) -> None:
        import numpy as np

        from nst_gluon.optimise.pyramid import half_level, random_phase, recoloured, stage_size
        from nst_gluon.pictures.images import resize

        levels = problem.levels or half_level(problem.size)
        side = levels[0][0] if levels else max(problem.size)
        size, style = stage_size(problem.size, side), problem.style(side)
        if problem.content is None:
            start = random_phase(style, size, np.random.default_rng(problem.seed))
        else:
            start = recoloured(resize(problem.content, size), style)
        problem.coarse_to_fine(start, levels, detail=problem.content is None)
