"""Coarse to fine: where an optimisation begins when it has to be fast. Imports no engine.

The first pictures decide: a texture begins with the style's spectrum and random phases, a stylised picture with the
content in the style's colours, both at half the side; after COARSE evaluations there the full size follows. Other
starts and more levels are slower (``results/speed/choices.md``).

An enlarged picture lacks its finest octave. A texture gets the style's; else it gets grain, without which five
evaluations go by before the full size is back at the objective of the level below.
"""

from __future__ import annotations

import math

import numpy as np

from nst_gluon.pictures.color import power
from nst_gluon.pictures.images import resize

# What an objective needs whose deepest layer is in the descriptor's fifth block.
LEAST_SIDE = 16
# Deviation of the noise that an enlarged picture gets.
GRAIN = 0.05
# Evaluations at half the side, and the least that half may be.
COARSE, LEAST_HALF = 2, 64


def half_level(full: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """(longer side, evaluations) of the level before ``full`` (height, width); none if that is small."""
    side = max(full) // 2
    large = side >= LEAST_HALF and min(stage_size(full, side)) >= LEAST_SIDE
    return ((side, COARSE),) if large else ()


def stage_size(full: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) of a coarse stage whose longer side has ``side`` pixels."""
    longer = max(full)
    return max(1, round(full[0] * side / longer)), max(1, round(full[1] * side / longer))


def style_side(style_size: int, side: int, full: int) -> int:
    """Side of the style picture at a level: scaled as the picture is, so that both show the same strokes."""
    return max(LEAST_SIDE, round(style_size * side / full))


def random_phase(style: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise (1, 3, H, W) with a style picture's mean, covariance of colours and power spectrum (Galerne, Gousseau,
    Morel 2011): the spectrum of the style picture (1, 3, S, S), with the phases of white noise of ``size`` (H, W).

    A smaller style is padded with its mean and a larger one cropped. What leaves [0, 1] is clipped.
    """
    picture = style[0, :, : size[0], : size[1]].astype(np.float64)
    mean = picture.mean(axis=(1, 2), keepdims=True)
    filled = math.sqrt(size[0] * size[1] / picture[0].size)
    phases = np.exp(1j * np.angle(np.fft.rfft2(rng.standard_normal(size))))
    noise = np.fft.irfft2(np.fft.rfft2(picture - mean, s=size) * phases, s=size)
    return np.clip(mean + filled * noise, 0, 1)[None].astype(np.float32)


def recoloured(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """A picture (1, 3, H, W) with the mean and covariance of a style picture's colours, by the symmetric map that moves
    colours least (Pitie, Kokaram 2007, section 3); clipped to [0, 1]."""
    colours, wanted = (picture.reshape(3, -1).astype(np.float64) for picture in (content, style))
    # What a grey or flat content has none of is not amplified without bound.
    half, back = (power(np.cov(colours), exponent, 1e-6) for exponent in (0.5, -0.5))
    change = back @ power(half @ np.cov(wanted) @ half, 0.5) @ back
    found = wanted.mean(axis=1)[:, None] + change @ (colours - colours.mean(axis=1)[:, None])
    return np.clip(found, 0, 1).reshape(content.shape).astype(np.float32)


def finest(style: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What an enlarged picture of ``size`` (height, width) lacks: the finest octave of a style picture (1, 3, S, S).

    Shifted at random, going around at its edges. Of a painting its outlines may remain, faintly.
    """
    height, width = style.shape[2:]
    octave = style - resize(resize(style, (max(height // 2, 1), max(width // 2, 1))), (height, width))
    rows, columns = ((np.arange(side) + rng.integers(own)) % own for side, own in zip(size, (height, width)))
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
