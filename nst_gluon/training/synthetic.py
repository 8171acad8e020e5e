"""Drawn photographs: dead leaves, to train stylising nets on without a collection of photos. No engine here.

The occlusion model: shapes whose radii follow a power law of r^-3 cover each other. Its pictures have the power
spectrum and the edges of photographs (Lee, Mumford, Huang 2001), and vision nets learn from them (Baradad et al.
2021). Shapes here are ellipses, boxes and triangles with colours of real pictures, shading and a little texture; some
scenes are nearly empty, as skies and walls are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

# Different pictures that one seed gives, and their side: larger than what is trained on, so that crops differ too.
POOL, SIDE = 256, 320
PALETTE = 64


def palette(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """PALETTE colours (PALETTE, 3) of random pixels of a picture (3, H, W), varied a little in brightness and hue."""
    flat = picture.reshape(3, -1)
    colours = flat[:, rng.integers(flat.shape[1], size=PALETTE)].T
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.85, 1.15, 3)
    return np.clip(colours * gain + rng.normal(0, 0.03, (PALETTE, 3)), 0, 1).astype(np.float32)


def radii(rng: np.random.Generator, count: int, least: float, most: float) -> np.ndarray:
    """``count`` radii with density proportional to r^-3 between ``least`` and ``most``."""
    low, high = least**-2.0, most**-2.0
    return (low - rng.random(count) * (low - high)) ** -0.5


def dead_leaves(side: int, colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A scene (3, side, side) in [0, 1], float32; ``colours`` as from :func:`palette`."""
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) / side
    picture = _shaded(colours[rng.integers(len(colours))], rows, columns, rng)
    # Mostly full of leaves; one scene in four has so few that its background stays.
    cover = rng.uniform(2.5, 4.0) if rng.random() < 0.75 else rng.uniform(0.1, 1.0)
    least, most = side * rng.uniform(0.01, 0.04), side * rng.uniform(0.2, 0.5)
    count = int(cover * side**2 / (2 * np.pi * least**2 * np.log(most / least)))
    sizes = radii(rng, count, least, most)
    centres = rng.uniform(-0.1, 1.1, (count, 2)) * side
    for radius, centre in zip(sizes, centres):
        _leaf(picture, radius, centre, colours, rng)
    if rng.random() < 0.4:
        picture = _blurred(picture, rng.uniform(0.5, 2.0))
    grain = rng.uniform(0, 0.03)
    picture += grain * rng.standard_normal((1, side, side), dtype=np.float32)
    return np.clip(picture, 0, 1)


def _leaf(picture: np.ndarray, radius: float, centre: np.ndarray, colours: np.ndarray, rng: np.random.Generator):
    side = picture.shape[1]
    reach = 1.5 * radius
    top, left = np.maximum(0, np.floor(centre - reach)).astype(int)
    bottom, right = np.minimum(side, np.ceil(centre + reach)).astype(int)
    if top >= bottom or left >= right:
        return
    angle, aspect, kind, colour = rng.random() * np.pi, rng.uniform(0.4, 1.0), rng.integers(4), rng.integers(PALETTE)
    y = (np.arange(top, bottom, dtype=np.float32) - np.float32(centre[0]))[:, None] / np.float32(radius)
    x = (np.arange(left, right, dtype=np.float32) - np.float32(centre[1]))[None] / np.float32(radius)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = cos * x + sin * y, (cos * y - sin * x) / np.float32(aspect)
    if kind < 2:
        inside = u * u + v * v < 1
    elif kind == 2:
        inside = (np.abs(u) < 1) & (np.abs(v) < 1)
    else:
        inside = (v > -0.7) & (v + np.abs(u) * 1.7 < 1)
    patch = picture[:, top:bottom, left:right]
    if radius < 6:
        patch[:, inside] = colours[colour % len(colours)][:, None]
    else:
        patch[:, inside] = _shaded(colours[colour % len(colours)], u, v, rng)[:, inside]


def _shaded(colour: np.ndarray, u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``colour`` with a gradient of brightness along (u, v) and, half of the times, stripes or grain."""
    slope = rng.normal(0, 0.2, 2).astype(np.float32)
    light = 1 + slope[0] * u + slope[1] * v
    what, strength = rng.integers(4), np.float32(rng.uniform(0.02, 0.2))
    if what == 0:
        frequency = rng.uniform(5, 40, 2).astype(np.float32)
        light = light + strength * np.sin(frequency[0] * u + frequency[1] * v)
    elif what == 1:
        light = light + strength * rng.standard_normal(light.shape, dtype=np.float32)
    return np.ascontiguousarray(colour[:, None, None] * light, dtype=np.float32)


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    bytes_ = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
    blurred = np.asarray(Image.fromarray(bytes_).filter(ImageFilter.GaussianBlur(sigma)), np.float32)
    return np.ascontiguousarray(blurred.transpose(2, 0, 1)) / 255


class Drawn:
    """Scenes by number, drawn when they are first asked for: ``self[k]`` follows (seed, k) and the ``sources`` alone.

    Args:
        sources: pictures (3, H, W) whose colours are used, one for each scene.
    """

    def __init__(self, sources: Sequence[np.ndarray], seed: int, side: int = SIDE):
        self._sources, self._seed, self._side = sources, seed, side
        self._draw = lru_cache(maxsize=POOL)(self._draw)

    def __len__(self) -> int:
        return POOL

    def __getitem__(self, number: int) -> np.ndarray:
        return self._draw(number).astype(np.float32) / 255

    def _draw(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, 3, number])
        colours = palette(self._sources[rng.integers(len(self._sources))], rng)
        return (dead_leaves(self._side, colours, rng) * 255).round().astype(np.uint8)
