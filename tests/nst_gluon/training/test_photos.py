"""Random crops: the right size, scale, place and flip, and the same ones from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from nst_gluon.training.photos import random_crop


def ramp(height, width):
    """A photo whose first two channels are each pixel's coordinates, 1 at the end of the shorter side."""
    side = min(height, width) - 1
    rows, columns = np.mgrid[0:height, 0:width] / side
    return np.stack([rows, columns, np.full_like(rows, 0.25)]).astype(np.float32)


@pytest.mark.parametrize("shape", [(300, 451), (451, 300), (64, 64), (40, 50), (1, 1), (7, 9000)])
def test_shape_type_and_range(shape):
    rng = np.random.default_rng(1)
    photo = rng.random((3, *shape), dtype=np.float32)
    for _ in range(5):
        crop = random_crop(photo, 64, rng)
        assert crop.shape == (3, 64, 64) and crop.dtype == np.float32 and crop.flags.c_contiguous
        assert crop.min() >= photo.min() and crop.max() <= photo.max()


def test_the_same_seed_gives_the_same_crops():
    photo = np.random.default_rng(0).random((3, 90, 120), dtype=np.float32)
    first, again = (
        [random_crop(photo, 32, rng) for _ in range(4)] for rng in map(np.random.default_rng, (5, 5))
    )
    np.testing.assert_array_equal(first, again)
    other = random_crop(photo, 32, np.random.default_rng(6))
    assert not np.array_equal(first[0], other) and not np.array_equal(first[0], first[1])


def test_scale_place_and_flip():
    """The shorter side becomes 1 to 1.5 times the size; every place and both directions occur."""
    photo, rng = ramp(200, 300), np.random.default_rng(2)
    zooms, tops, lefts, flips = [], [], [], []
    for _ in range(400):
        rows, columns, flat = random_crop(photo, 50, rng)
        np.testing.assert_allclose(flat, 0.25, atol=1e-6)
        # The edges bend the ramp a little: slopes are taken inside.
        down = (rows[40, 25] - rows[10, 25]) / 30 * 50
        across = (columns[25, 40] - columns[25, 10]) / 30 * 50
        assert abs(across) == pytest.approx(down, rel=0.02)  # no distortion, no turn
        zooms.append(1 / down)
        flips.append(across < 0)
        tops.append(rows[0].mean())
        lefts.append(columns.min())
    assert 0.99 < min(zooms) < 1.03 and 1.47 < max(zooms) < 1.52
    assert np.mean(zooms) == pytest.approx(1.25, abs=0.03)
    assert 0.42 < np.mean(flips) < 0.58
    assert min(tops) < 0.01 and max(tops) > 0.25  # up to 1 - 1/1.5 of the height
    assert min(lefts) < 0.02 and max(lefts) > 0.7  # up to 1.5 - 1/1.5 of the height
