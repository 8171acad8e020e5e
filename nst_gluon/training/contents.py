"""The pictures that a net is trained and judged on, each a function of the seed and its number alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nst_gluon import assets
from nst_gluon.pictures import images
from nst_gluon.pictures import pipeline as streams
from nst_gluon.training import photos, recipe, synthetic
from nst_gluon.training.config import TrainConfig

# Part of the varied pictures that are two side by side.
MIXED = 0.2
# Pictures (or draws of noise) that a net is judged on while it is trained, and the seed of what is drawn.
HELD_OUT, HELD_OUT_SEED = 4, 2**31


class Crops:
    """What a net is trained on: picture i is (3, side(i), side(i)), a function of (seed, i) alone.

    Args:
        pictures: photos (3, H, W).
        drawn: scenes to be taken as well, with the recipe's probability; None: no scenes.
    """

    def __init__(
        self,
        pictures: Sequence[np.ndarray],
        side: Callable[[int], int],
        seed: int,
        how: recipe.Recipe = recipe.RECIPES["paper"],
        drawn: synthetic.Drawn | None = None,
    ):
        self._pictures, self._side, self._seed, self._how, self._drawn = pictures, side, seed, how, drawn

    def __getitem__(self, item: int) -> np.ndarray:
        rng, side = np.random.default_rng([self._seed, 1, item]), self._side(item)
        if not self._how.augment:
            return photos.random_crop(self._pictures[rng.integers(len(self._pictures))], side, rng)
        picture = self._one(side, rng)
        return photos.mixed(picture, self._one(side, rng), rng) if rng.random() < MIXED else picture

    def _one(self, side: int, rng: np.random.Generator) -> np.ndarray:
        if self._drawn is not None and rng.random() < self._how.drawn:
            source = self._drawn[rng.integers(len(self._drawn))]
        else:
            source = self._pictures[rng.integers(len(self._pictures))]
        return photos.varied(photos.random_crop(source, side, rng, photos.VARIED_ZOOM), rng)


def _paths(config: TrainConfig) -> list[Path]:
    """The photos of a training; of the bundled ones, without that on which its nets are judged."""
    if config.photos:
        return images.list_folder(config.photos)
    return [path for path in assets.training_pictures(config.style) if path.stem != assets.JUDGED]


def contents(config: TrainConfig, first: int = 0) -> Iterator[np.ndarray | None]:
    """Content batches (N, 3, side, side) from iteration ``first`` on, made ahead by a thread; None for textures."""
    if config.task == "texture":
        yield from (None for _ in range(first, config.iterations))
        return
    pictures, how = photos.Photos(_paths(config)), config.how
    drawn = synthetic.Drawn(pictures, config.seed) if how.drawn and not config.photos else None
    crops = Crops(pictures, lambda item: config.side(item // config.batch), config.seed, how, drawn)
    yield from streams.ahead(
        (
            np.stack([crops[item] for item in range(i * config.batch, (i + 1) * config.batch)])
            for i in range(first, config.iterations)
        ),
        depth=2,
    )


def held_out(config: TrainConfig) -> np.ndarray:
    """Pictures (N, 3, size, size) that no training sees, to judge a stylising net on: a photo and drawn scenes."""
    pictures = photos.Photos([assets.content_path(assets.JUDGED), *_paths(config)])
    drawn = synthetic.Drawn(pictures, HELD_OUT_SEED, side=config.size)
    rng = np.random.default_rng(HELD_OUT_SEED)
    return np.stack([photos.random_crop(pictures[0], config.size, rng), *(drawn[k] for k in range(HELD_OUT - 1))])
