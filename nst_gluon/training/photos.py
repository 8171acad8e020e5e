"""Random crops of photos, to train the feed-forward nets on."""

from __future__ import annotations

import numpy as np

from nst_gluon.pictures.images import check_size, resize

ZOOM = 1.5


def random_crop(array: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random square of a photo (3, H, W), as float32 (3, size, size) in the photo's range.

    As if the photo had been scaled so that its shorter side is uniform in [size, 1.5 size], a square of
    size x size cut out at a uniform place, and flipped left to right with probability 1/2. (The square is cut
    out first, so that a large or very long photo costs no more than another.) The same generator state gives
    the same crop.
    """
    size = check_size(size)
    array = np.asarray(array, dtype=np.float32)
    if array.ndim != 3 or array.shape[0] != 3 or array.size == 0:
        raise ValueError(f"a photo has the shape (3, H, W), not {array.shape}")
    height, width = array.shape[1:]
    side = max(1, round(min(height, width) / rng.uniform(1, ZOOM)))
    top = int(rng.integers(0, height - side + 1))
    left = int(rng.integers(0, width - side + 1))
    square = array[:, top : top + side, left : left + side]
    if rng.random() < 0.5:
        square = square[:, :, ::-1]
    return resize(square, (size, size))
