"""Random crops of photos, to train the feed-forward nets on, and what makes few photos go further."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from nst_gluon.pictures import images
from nst_gluon.pictures.images import resize

# What photos may occupy that wait for the next crop.
KEPT_BYTES = 1 << 29
ZOOM = 1.5
# Of varied crops: few photos are looked at more closely.
VARIED_ZOOM = 2.5


class Photos(Sequence[np.ndarray]):
    """Photos (3, H, W) in [0, 1], each read from its file when it is asked for; the last few are kept in memory.

    Raises UserError where a file cannot be read.
    """

    def __init__(self, paths: Iterable[Path]):
        self._paths = list(paths)
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> np.ndarray:
        photo = self._kept.pop(number, None)
        if photo is None:
            photo = images.load(self._paths[number])[0]
        self._kept[number] = photo
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return photo


def random_crop(array: np.ndarray, size: int, rng: np.random.Generator, zoom: float = ZOOM) -> np.ndarray:
    """A random square of a photo (3, H, W), as float32 (3, size, size) in the photo's range.

    As if the photo had been scaled so that its shorter side is uniform in [size, zoom * size], a square of
    size x size cut out at a uniform place, and flipped left to right with probability 1/2. (The square is cut
    out first, so that a large or very long photo costs no more than another.) The same generator state gives
    the same crop.
    """
    array = np.asarray(array, dtype=np.float32)
    height, width = array.shape[1:]
    side = max(1, round(min(height, width) / rng.uniform(1, zoom)))
    top = int(rng.integers(0, height - side + 1))
    left = int(rng.integers(0, width - side + 1))
    square = array[:, top : top + side, left : left + side]
    if rng.random() < 0.5:
        square = square[:, :, ::-1]
    return resize(square, (size, size))


def varied(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture (3, H, W) in [0, 1] with random contrast, brightness and balance of colours; one in six turns grey."""
    gamma, gain = np.exp(rng.uniform(-0.4, 0.4)), rng.uniform(0.8, 1.2) * rng.uniform(0.9, 1.1, 3)
    picture = np.power(np.clip(array, 0, 1), np.float32(gamma))
    grey = picture.mean(axis=0, keepdims=True)
    colour = np.float32(0.0 if rng.random() < 1 / 6 else rng.uniform(0.5, 1.3))
    picture = (grey + colour * (picture - grey)) * gain.astype(np.float32)[:, None, None]
    return np.clip(picture + np.float32(rng.uniform(-0.08, 0.08)), 0, 1)


def mixed(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two pictures of one size side by side, with a soft or sharp border at a random place and angle."""
    height, width = one.shape[1:]
    angle, sharpness = rng.uniform(0, 2 * np.pi), np.float32(np.exp(rng.uniform(1.5, 5)))
    rows = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    columns = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
    along = np.float32(np.cos(angle)) * rows + np.float32(np.sin(angle)) * columns - np.float32(rng.uniform(-0.3, 0.3))
    share = 1 / (1 + np.exp(-np.clip(sharpness * along, -30, 30)))
    return (share * one + (1 - share) * other).astype(np.float32)
