"""The curve of a training: its objective against its iterations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nst_gluon.pages import style
from nst_gluon.pages.wording import quantity

AROUND = 0.1
CAPTION = f"Thin: every iteration. Thick: the geometric mean of those within {AROUND:.0%}."


def smoothed(objective: np.ndarray) -> np.ndarray:
    """The geometric mean over the iterations within AROUND of each: as even on a logarithmic axis at its both ends."""
    total = np.concatenate([[0.0], np.cumsum(np.log(objective))])
    places = np.arange(1, len(objective) + 1)
    begin = np.ceil(places * (1 - AROUND)).astype(int) - 1
    end = np.minimum(np.floor(places * (1 + AROUND)).astype(int), len(objective))
    return np.exp((total[end] - total[begin]) / (end - begin))


def draw(
    axes: Axes, iterations: Sequence[int], objective: Sequence[float], name: str, colour: str, line: object = "-"
) -> tuple[str, str]:
    """One training, thin and smoothed; where the smoothed curve begins and ends, in words."""
    smooth = smoothed(np.asarray(objective, dtype=float))
    axes.plot(iterations, objective, color=colour, lw=0.4, alpha=0.3)
    axes.plot(iterations, smooth, color=colour, ls=line, label=style.label(name))
    return quantity(float(smooth[0]), "1"), quantity(float(smooth[-1]), "1")


def finish(drawn: Figure, title: str) -> None:
    """Axes and title of a figure (:func:`nst_gluon.pages.style.figure`) whose trainings have been drawn."""
    axes = drawn.axes[0]
    axes.set_xlabel("iteration of training")
    axes.set_ylabel("objective of the training pictures")
    axes.set_title(title)
    axes.set_xscale("log")
    axes.set_yscale("log")
    style.log_axis(axes.xaxis, "1")
    style.log_axis(axes.yaxis, "1")
    style.finish(drawn)
