"""How nets are trained: plain Adam, and additions that give good pictures in fewer steps. Formulas only, no engine.

What the numbers were chosen by: ``results/speed/choices.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nst_gluon.system.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Recipe:
    """What a training does besides Adam on the objective.

    Attributes:
        cosine: whether the rate falls along a cosine to END times the first one, and not in the method's published
            steps (:func:`nst_gluon.training.config.defaults`).
        rate: Adam's first rate from random weights; None, and from a net: the method's own.
        normalised: whether every gradient is divided by its norm, as in each loss layer of the texture networks'
            released code: the first ones from random weights are so large that Adam's later steps would be too small.
        average: decay of the exponential moving average of the weights, which is the net; 0: the weights themselves.
        penalty: weight of the mean square of what the net's output, before a tanh, has outside the style's range of
            colours.
        spikes: weight of what normalised activations have beyond four standard deviations in the layers that the method
            names (:meth:`nst_gluon.methods.Generator.watched`): nets with instance norm learn to blow up a few places,
            which are holes in the picture (Karras et al. 2020, section 2, on droplets).
        stages: a run from scratch begins on smaller pictures, whose steps cost less: up to each part of it, at a part
            of the size in eighths. Only the size itself has the style's statistics.
        texture_stages: those of textures, which look alike everywhere.
        drawn: part of the pictures that are drawn (:mod:`nst_gluon.training.synthetic`) unless there is a folder of
            photos.
        augment: whether photos are varied in colour and mixed, and not only cropped.
        best: whether the net that is written is the best one on held-out pictures, and not the last.
        unsaturated: whether a new net has no tanh at its end, if its method can do without
            (:meth:`nst_gluon.methods.Generator.unsaturated`).
    """

    cosine: bool = False
    rate: float | None = None
    normalised: bool = False
    average: float = 0.0
    penalty: float = 0.0
    spikes: float = 0.0
    stages: tuple[tuple[float, int], ...] = ()
    texture_stages: tuple[tuple[float, int], ...] = ()
    drawn: float = 0.0
    augment: bool = False
    best: bool = False
    unsaturated: bool = False


RECIPES = {
    "tuned": Recipe(
        cosine=True, rate=0.01, normalised=True, average=0.995, penalty=5000.0, spikes=3000.0,
        stages=((0.1, 4), (0.5, 6)), texture_stages=((0.7, 4), (0.9, 6)),
        drawn=0.5, augment=True, best=True, unsaturated=True,
    ),
    "paper": Recipe(),
}  # fmt: skip
DEFAULT = "tuned"
# Steps by default, from another style's net and from random weights.
STEPS, STEPS_FROM_RANDOM = 600, 1500
# The last rate of the cosine, as a part of the peak.
END = 0.01


def get(name: str) -> Recipe:
    """The recipe of that name; a UserError if there is none."""
    try:
        return RECIPES[name]
    except KeyError:
        raise UserError(f"--recipe: unknown recipe {name!r}; {did_you_mean(name, RECIPES)}") from None


def cosine(first: float, iteration: int, iterations: int) -> float:
    """The rate of an iteration (the first is 0): half a cosine from ``first`` to END times that."""
    return first * (END + (1 - END) * 0.5 * (1 + math.cos(math.pi * iteration / iterations)))


def average_decay(decay: float, iteration: int) -> float:
    """The moving average's decay at an iteration (the first is 0): young averages forget their start sooner."""
    return min(decay, (1 + iteration) / (10 + iteration))


def saturated(pictures: np.ndarray) -> float:
    """Part of the pixels of pictures (N, 3, H, W) that are white (250/255 or more in each channel) or black (5/255)."""
    white, black = (pictures >= 250 / 255).all(axis=1), (pictures <= 5 / 255).all(axis=1)
    return float((white | black).mean())
