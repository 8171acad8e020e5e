"""Colours kept and style weakened, against plain numpy; and the measure of flicker."""

from __future__ import annotations

import numpy as np
import pytest

from nst_gluon.pictures.color import interpolate, keep_colors, luminance
from nst_gluon.pictures.flicker import Flicker

# From RGB to YIQ, as printed in the NTSC standard's textbooks.
YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])


def random_pictures(shape=(1, 3, 9, 7)):
    rng = np.random.default_rng(0)
    return rng.random(shape, dtype=np.float32), rng.random(shape, dtype=np.float32)


def test_colours_are_kept_as_in_yiq():
    content, stylised = random_pictures()
    of_content, of_stylised = (np.einsum("ij,njhw->nihw", YIQ, x.astype(float)) for x in (content, stylised))
    mixed = np.concatenate([of_stylised[:, :1], of_content[:, 1:]], axis=1)
    expected = np.einsum("ij,njhw->nihw", np.linalg.inv(YIQ), mixed).clip(0, 1)
    made = keep_colors(content, stylised)
    assert made.dtype == np.float32 and made.shape == content.shape
    np.testing.assert_allclose(made, expected, atol=2e-6)


def test_a_grey_photo_stays_grey_and_takes_the_luminance():
    grey = np.full((1, 3, 4, 4), 0.5, np.float32)
    _, stylised = random_pictures((1, 3, 4, 4))
    made = keep_colors(grey, stylised)
    assert np.ptp(made, axis=1).max() < 1e-6
    np.testing.assert_allclose(luminance(made), luminance(stylised), atol=1e-6)


def test_a_picture_keeps_itself():
    content, _ = random_pictures()
    np.testing.assert_array_equal(keep_colors(content, content), content)


def test_interpolation_between_content_and_style():
    content, stylised = random_pictures()
    np.testing.assert_array_equal(interpolate(content, stylised, 0), content)
    np.testing.assert_allclose(interpolate(content, stylised, 1), stylised, atol=1e-7)
    np.testing.assert_allclose(interpolate(content, stylised, 0.25), 0.75 * content + 0.25 * stylised, atol=1e-6)



def test_flicker_is_the_change_of_the_output_over_the_input_s():
    rng = np.random.default_rng(1)
    source, made = rng.integers(0, 256, (2, 5, 8, 6, 3), dtype=np.uint8)
    flicker = Flicker()
    assert flicker.ratio is None and flicker.input_change is None
    for pair in zip(source, made):
        flicker.add(*pair)
    changes = [np.abs(np.diff(frames.astype(float), axis=0)).mean() / 255 for frames in (source, made)]
    assert (flicker.input_change, flicker.output_change) == pytest.approx(changes)
    assert flicker.ratio == pytest.approx(changes[1] / changes[0])


def test_flicker_of_a_still_input_has_no_ratio():
    flicker = Flicker()
    for value in (0, 51):
        flicker.add(np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), value, np.uint8))
    assert flicker.ratio is None and flicker.input_change == 0 and flicker.output_change == pytest.approx(0.2)
