"""Coarse to fine: where an optimisation begins when it has to be fast. Imports no engine.

Measured at 256x256 on one CPU thread, preset ``texture_net_relative``, great_wave (and astronaut), from noise. The cost
is in evaluations at the full size, coarse ones included: one at half the side takes 0.27 of it and one at a quarter
0.13 (the deep layers' weights have to be read at any size). Levels are (side, evaluations).

    texture: cost until the objective is          135   100    80    60    50    40
    no levels                                      11    15    20    27    33    41
    128 x 10                                      9.7  10.7  15.7  20.7
    128 x 20                                      9.4  11.4  13.4  16.4  20.4
    64 x 10, 128 x 6                              7.9   8.9  10.9  13.9  17.9
    64 x 20, 128 x 12                            10.8  11.8  12.8  15.8  17.8  19.8
    64 x 20, 128 x 12, grain 0.05                 9.8  10.8  11.8  12.8  14.8  17.8
    64 x 20, 128 x 12, grain 0.1                  9.8  11.8  12.8  14.8  16.8
    64 x 20, 128 x 12, grain 0.2                 11.8  12.8  14.8  17.8
    64 x 12, 128 x 6, grain 0.1                   8.2   9.2  11.2  13.2
    64 x 30, grain 0.1                            9.9  10.9  11.9  13.9
    64 x 16, 128 x 4, grain 0.05                  8.2   9.2  10.2  12.2  15.2
    64 x 16, 128 x 8, grain 0.05                  8.2   9.2  11.2  12.2  15.2  19.2

    stylize: cost until the objective is          290   250   200   180
    no levels                                      13    15    23    28
    64 x 12, 128 x 6, grain 0.05                 10.2  12.2
    64 x 20, 128 x 12, grain 0.05                11.8  12.8  17.8
    64 x 16, 128 x 8, grain 0.05  (the default)  10.2  11.2  17.2  21.2

A texture that begins with the style's colours, and gets the style's finest octave wherever it is enlarged instead of
grain, needs fewer coarse evaluations. At 128x128, levels 32 and 64, the same cost:

    texture: cost until the objective is         400   300   250   200   150   100    80    60
    no levels                                     3.3   5.2   6.3   7.9  10.3  16.2  22.4
    32 x 16, 64 x 8, grain 0.05                   5.2   5.7   6.1   6.6   7.3   9.2  10.9  14.3
    32 x 8, 64 x 4, colours, octave               3.1   3.4   3.8   4.4   5.7   8.2  11.2  16.3
    32 x 6, 64 x 3, colours, octave (the default) 2.6   3.0   3.4   4.1   5.5   8.4  11.6
    32 x 5, 64 x 2, colours, octave               2.2   2.7   3.0   3.8   5.2   8.1  11.9

For stylisation neither helps: 6.2 until 400, but 16.9 instead of 12.9 until 220.

Longer coarse phases pay only for targets far below 40: what they gain in large shapes is lost to the details that an
enlarged picture lacks. Grain is what lets those details begin: without it, five evaluations go by before the full
size is back at the objective of the level below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nst_gluon.pictures.images import resize
from nst_gluon.system.errors import UserError

# What an objective needs whose deepest layer is in the descriptor's fifth block.
LEAST_SIDE = 16


@dataclass(frozen=True)
class Schedule:
    """How an optimisation goes from coarse to fine: half the side, a quarter, and so on, coarsest first.

    Attributes:
        coarsest: no level's longer side is below this many pixels (and no shorter one below LEAST_SIDE).
        first: evaluations at the coarsest level, where they are cheapest and move the large shapes.
        between: evaluations at each level between it and the full size.
        grain: deviation of the noise added to an enlarged picture; 0 to 1.
    """

    coarsest: int = 64
    first: int = 16
    between: int = 8
    grain: float = 0.05

    def __post_init__(self) -> None:
        for name in ("coarsest", "first", "between"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: {getattr(self, name)} is not a positive number")
        if not 0 <= self.grain <= 1:
            raise UserError(f"grain: {self.grain} is not between 0 and 1")

    def levels(self, full: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """(longer side, evaluations) of each level before ``full`` (height, width); none if that is small."""
        sides, side = [], max(full) // 2
        while side >= self.coarsest and min(stage_size(full, side)) >= LEAST_SIDE:
            sides.append(side)
            side //= 2
        return tuple((s, self.first if s == sides[-1] else self.between) for s in reversed(sides))


def stage_size(full: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) of a coarse stage whose longer side has ``side`` pixels."""
    longer = max(full)
    return max(1, round(full[0] * side / longer)), max(1, round(full[1] * side / longer))


def style_side(style_size: int, side: int, full: int) -> int:
    """Side of the style picture at a level: scaled as the picture is, so that both show the same strokes."""
    return max(LEAST_SIDE, round(style_size * side / full))


def toned(noise: np.ndarray, style: np.ndarray) -> np.ndarray:
    """Uniform noise (1, 3, H, W) with the colours of a style picture: its mean and covariance."""
    colours = style.reshape(3, -1).astype(np.float64)
    root = np.linalg.cholesky(np.cov(colours) + 1e-6 * np.eye(3))
    deviates = 12**0.5 * (noise.reshape(3, -1) - 0.5)
    return np.clip(colours.mean(axis=1)[:, None] + root @ deviates, 0, 1).reshape(noise.shape).astype(np.float32)


def finest(style: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What an enlarged picture of ``size`` (height, width) lacks: the finest octave of a style picture (1, 3, S, S).

    Shifted at random, going around at its edges: its statistics are the style's, and no motif of it is.
    """
    height, width = style.shape[2:]
    octave = style - resize(resize(style, (max(height // 2, 1), max(width // 2, 1))), (height, width))
    rows, columns = (
        (np.arange(side) + rng.integers(own)) % own for side, own in zip(size, (height, width))
    )
    return octave[:, :, rows[:, None], columns[None, :]]


def resampled(
    picture: np.ndarray, size: tuple[int, int], grain: float, rng: np.random.Generator, style: np.ndarray | None = None
) -> np.ndarray:
    """A picture (1, 3, H, W), clipped to [0, 1], at another size (height, width).

    If that is larger, with the finest octave of ``style`` (as it is seen at that size), or with grain.
    """
    found = resize(np.clip(picture, 0, 1), size)
    if size[0] * size[1] > picture.shape[2] * picture.shape[3]:
        if style is not None:
            return (found + finest(style, size, rng)).astype(np.float32)
        found += np.float32(grain) * rng.standard_normal(found.shape, dtype=np.float32)
    return found
