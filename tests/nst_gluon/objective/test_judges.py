"""Judges against formulas, properties of the pictures, and plenoptic's model where that is installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from nst_gluon import assets
from nst_gluon.objective import judges, presets
from nst_gluon.pictures import images
from nst_gluon.pictures.color import luminance

RNG = np.random.default_rng(4)
NOISE = RNG.random((3, 96, 96)).astype("float32")


def texture(name: str, size: int = 256) -> np.ndarray:
    return images.load(assets.style_path(name), size)[0]


def test_the_pyramid_is_a_tight_frame():
    high, bands, low = judges.pyramid(NOISE[0])
    energy = (high**2).sum() + (low**2).sum() + sum((band.real**2).sum() for band in bands)
    assert energy == pytest.approx((NOISE[0] ** 2).sum(), rel=1e-9)


@pytest.mark.parametrize(("orientation", "scale"), [(0, 0), (2, 1), (1, 2)])
def test_a_grating_is_in_the_band_of_its_frequency_and_direction(orientation, scale):
    """0.25 cycles a pixel in the finest band, half in the next; its magnitude is the same everywhere."""
    y, x = np.mgrid[0:128, 0:128]
    angle = np.pi * orientation / judges.ORIENTATIONS
    # Whole periods in the picture, so that its spectrum is a single frequency.
    fy, fx = np.round(0.25 / 2**scale * np.array((np.sin(angle), np.cos(angle))) * 128) / 128
    _, bands, _ = judges.pyramid(np.cos(2 * np.pi * (fy * y + fx * x)))
    energy = [[(np.abs(band) ** 2).sum() for band in level] for level in bands]
    assert np.unravel_index(np.argmax(energy), (judges.SCALES, judges.ORIENTATIONS)) == (scale, orientation)
    magnitude = np.abs(bands[scale][orientation])
    assert magnitude.std() < 1e-6 * magnitude.mean()


def test_statistics_do_not_see_where_things_are_but_what_they_are():
    gravel, brick = texture("gravel", 128), judges.statistics(texture("brick", 128))
    found = judges.statistics(gravel)
    shifted = judges.statistics(np.roll(gravel, (32, 64), (1, 2)))
    assert judges.statistics_distance(shifted, found) < 1e-6
    grass = texture("grass", 512)
    quarters = [judges.statistics(grass[:, rows, :256]) for rows in (slice(256), slice(256, 512))]
    assert judges.statistics_distance(*quarters) < 0.4 < 0.9 < judges.statistics_distance(brick, found)


def test_a_style_without_blue_has_statistics_and_so_have_its_pictures():
    picture = texture("gravel", 64)
    without = picture.copy()
    without[2] = 0
    found = judges.statistics(without)
    assert all(np.isfinite(values).all() for values in found.values())
    assert 0 < judges.statistics_distance(judges.statistics(picture), found) < np.inf


def test_statistics_are_plenoptics():
    """Skewness, kurtosis and the correlations of magnitudes across scales, of Portilla and Simoncelli's own model."""
    plenoptic = pytest.importorskip("plenoptic")
    torch = pytest.importorskip("torch")
    grey = luminance(texture("gravel").astype("float64"))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = plenoptic.models.PortillaSimoncelli(grey.shape)
        theirs = model.convert_to_dict(model(torch.tensor(grey, dtype=torch.float32)[None, None]))
    theirs = {name: value[0, 0].numpy() for name, value in theirs.items()}
    ours = judges.statistics(np.stack([grey] * 3) + 1e-6 * RNG.random((3, *grey.shape)))
    _, skewness, kurtosis = ours["shape"].reshape(-1, 3).T
    np.testing.assert_allclose(skewness, theirs["skew_reconstructed"], atol=2e-3)
    np.testing.assert_allclose(kurtosis, theirs["kurtosis_reconstructed"], atol=2e-3)
    scales = np.moveaxis(theirs["cross_scale_correlation_magnitude"], -1, 0)
    np.testing.assert_allclose(ours["scales"].reshape(scales.shape), scales, atol=2e-3)


def test_the_layers_of_the_judge_are_no_methods():
    """Nor the preset's own, nor such as the descriptor has not; they count alike."""
    shown = {(name, arch): judges.unused_layers(presets.get(name), arch)
             for name, arch in (("texture_net", "vgg19"), ("johnson", "vgg19"), ("keras", "vgg16"))}  # fmt: skip
    layers = {key: [name for name, _ in one.style_layers] for key, one in shown.items() if one}
    assert layers["texture_net", "vgg19"] == list(judges.LAYERS)
    assert layers["johnson", "vgg19"] == ["relu3_4", "relu4_4"]
    assert shown["keras", "vgg16"] is None
    assert all(sum(weight for _, weight in one.style_layers) == 1 for one in shown.values() if one)
    assert not any(one.content_layers or one.tv_weight for one in shown.values() if one)


def test_copies_are_found_and_likenesses_are_not():
    other = np.random.default_rng(5).random((3, 64, 64)).astype("float32")
    assert judges.copied_share(NOISE[:, 7:71, 9:73], NOISE) == 1
    assert judges.copied_share(other, NOISE) == 0
    half = np.concatenate([NOISE[:, 3:67, 5:37], other[:, :, :32]], axis=2)
    assert judges.copied_share(half, NOISE) == 0.5
    assert judges.copied_share(texture("brick", 128), texture("gravel", 128)) == 0


def test_diversity_is_that_of_independent_pictures():
    assert judges.diversity(list(RNG.random((4, 3, 64, 64)))) == pytest.approx(1, abs=0.02)
    assert judges.diversity([NOISE] * 3) == 0


def test_edges_that_are_kept():
    photo = texture("brick", 128)
    assert judges.edge_ssim(photo, photo) == pytest.approx(1)
    assert judges.edge_ssim(0.4 * photo + 0.3, photo) == pytest.approx(1), "contrast and brightness do not count"
    assert abs(judges.edge_ssim(texture("gravel", 128), photo)) < 0.05
    assert judges.edge_ssim(0.5 * photo + 0.5 * texture("gravel", 128), photo) > 0.1
