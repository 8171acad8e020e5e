"""Judges: what can be said of a finished picture that no method here minimises. Plain numpy on arrays, no engine.

Pictures are (3, H, W), RGB in [0, 1]. A judge of a texture compares it with its style picture at the same scale, not
pixel by pixel; the sides may differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter, sobel

from nst_gluon.descriptor.weights.model import conv_names
from nst_gluon.objective.presets import Preset, get
from nst_gluon.pictures.color import luminance

# Activations that neither Gatys's nor Ulyanov's style term has; those that a run's own preset has are left out.
LAYERS = ("relu1_2", "relu2_2", "relu3_4", "relu4_4")
SCALES, ORIENTATIONS, LAGS = 4, 4, 4
SIDES = 2 << SCALES  # a picture's sides are multiples of so many pixels, or it has no such pyramid
PATCH, MOST_PATCHES, NEARER = 16, 256, 0.8


def unused_layers(preset: Preset, arch: str) -> Preset | None:
    """The objective whose style term is the mean relative squared difference of Grams at LAYERS, except those
    that the run's own ``preset`` has or the descriptor lacks; None where none is left.
    """
    used = {name for name, _ in (*preset.style_layers, *preset.content_layers)}
    layers = [name for name in LAYERS if name not in used and f"conv{name[4:]}" in conv_names(arch)]
    if not layers:
        return None
    weights = tuple((name, 1 / len(layers)) for name in layers)
    return replace(get("texture_net_relative"), style_layers=weights, content_layers=(), pooling=preset.pooling)


# ------------------------------------------------------------------------------------------ Portilla & Simoncelli


def pyramid(picture: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """The complex steerable pyramid of Portilla & Simoncelli 2000, section 2.1, of a grey picture (H, W).

    Returns:
        The high-pass residual (H, W), SCALES arrays of complex bands (ORIENTATIONS, h, w), finest first, whose real
        parts with the residuals are a tight frame (the energies add up to the picture's), and the low-pass residual.
    """
    spectrum = np.fft.fft2(picture, norm="ortho")
    radius, angle = _polar(spectrum.shape)
    high = np.fft.ifft2(spectrum * _high(radius, 0.5), norm="ortho").real
    spectrum, bands = spectrum * _low(radius, 0.5), []
    order = ORIENTATIONS - 1
    # The even part of each band's filter is cos^order; its square over all orientations adds up to 1.
    gain = np.sqrt(ORIENTATIONS * np.mean(np.cos(np.arange(4096) * np.pi / 2048) ** (2 * order)))
    for _ in range(SCALES):
        radius, angle = _polar(spectrum.shape)
        ring = spectrum * _high(radius, 0.25) / gain
        found = []
        for number in range(ORIENTATIONS):
            turned = np.mod(angle - np.pi * number / ORIENTATIONS + np.pi, 2 * np.pi) - np.pi
            # Half the plane, doubled: the real part is the band, the imaginary its quadrature.
            analytic = np.where(np.abs(turned) < np.pi / 2, 2.0, np.where(np.abs(turned) > np.pi / 2, 0.0, 1.0))
            found.append(np.fft.ifft2(ring * np.abs(np.cos(turned)) ** order * analytic, norm="ortho"))
        bands.append(np.array(found))
        spectrum = _halved(spectrum * _low(radius, 0.25))
    return high, bands, np.fft.ifft2(spectrum, norm="ortho").real


def _polar(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Radius in cycles per pixel and angle of each frequency."""
    y, x = np.meshgrid(*(np.fft.fftfreq(side) for side in shape), indexing="ij")
    return np.hypot(x, y), np.arctan2(y, x)


def _high(radius: np.ndarray, edge: float) -> np.ndarray:
    """0 below half of ``edge``, 1 above it, and between them a cosine in the logarithm."""
    octaves = np.clip(np.log2(np.maximum(radius, 1e-9) / edge), -1, 0)
    return np.cos(np.pi / 2 * octaves)


def _low(radius: np.ndarray, edge: float) -> np.ndarray:
    return np.sqrt(np.maximum(0, 1 - _high(radius, edge) ** 2))


def _halved(spectrum: np.ndarray) -> np.ndarray:
    """The spectrum of every second pixel of a picture that has no frequency from a quarter on."""
    height, width = spectrum.shape
    rows, columns = (np.r_[0 : (side + 2) // 4, side - side // 4 : side] for side in (height, width))
    return spectrum[np.ix_(rows, columns)]


def low_passes(picture: np.ndarray) -> list[np.ndarray]:
    """What the pyramid of a grey picture (H, W) makes of it from each scale and all coarser ones, finest first."""
    spectrum, found = np.fft.fft2(picture, norm="ortho"), []
    spectrum = spectrum * _low(_polar(spectrum.shape)[0], 0.5) ** 2
    for _ in range(SCALES):
        found.append(np.fft.ifft2(spectrum, norm="ortho").real)
        spectrum = _halved(spectrum * _low(_polar(spectrum.shape)[0], 0.25) ** 2)
    return [*found, np.fft.ifft2(spectrum, norm="ortho").real]


def statistics(picture: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of a picture (3, H, W) after Portilla & Simoncelli 2000, section 2: groups of numbers without units.

    Colour: mean, deviation, skewness and kurtosis of each channel, and their correlations. Of the luminance's pyramid:
    the deviation, skewness and kurtosis of the low-pass pictures, autocorrelations of those and of the bands'
    magnitudes up to LAGS pixels, the magnitudes' means, their correlations between orientations and with the next
    coarser scale, and those of the bands with the coarser one's at double phase. Sides are multiples of
    ``SIDES`` pixels.
    """
    flat = picture.reshape(3, -1).astype("float64")
    grey = luminance(picture.astype("float64"))[0]
    _, bands, _ = pyramid(grey)
    lows = low_passes(grey)
    magnitudes = [np.abs(level) for level in bands]
    return {
        "colour": np.concatenate([flat.mean(1), *map(_shape, flat), _correlation(flat)[np.triu_indices(3, 1)]]),
        "shape": np.concatenate([_shape(one) for one in lows]),
        "autocorrelation": np.concatenate([_autocorrelation(one) for one in lows]),
        "magnitude": np.concatenate([level.mean((1, 2)) for level in magnitudes]),
        "magnitude autocorrelation": np.concatenate(
            [_autocorrelation(one) for level in magnitudes for one in level]
        ),
        "orientations": np.concatenate(
            [_correlation(level.reshape(ORIENTATIONS, -1))[np.triu_indices(ORIENTATIONS, 1)] for level in magnitudes]
        ),
        "scales": np.concatenate(
            [_correlations(fine, np.abs(coarse)) for fine, coarse in _neighbours(magnitudes, bands)]
        ),
        "phases": np.concatenate(
            [_correlations(fine.real, _twice_the_phase(coarse)) for fine, coarse in _neighbours(bands, bands)]
        ),
    }  # fmt: skip


def _doubled(picture: np.ndarray) -> np.ndarray:
    """A picture at twice its sides, by its spectrum."""
    height, width = picture.shape
    spectrum = np.zeros((2 * height, 2 * width), complex)
    rows, columns = (np.r_[0 : (2 * side + 2) // 4, 2 * side - 2 * side // 4 : 2 * side] for side in (height, width))
    spectrum[np.ix_(rows, columns)] = np.fft.fft2(picture, norm="ortho")
    return np.fft.ifft2(spectrum, norm="ortho").real


def _neighbours(fine: Sequence[np.ndarray], coarse: Sequence[np.ndarray]) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Bands of each scale with those of the next coarser one at the same size."""
    for one, other in zip(fine, coarse[1:]):
        yield one, np.array([_doubled(band.real) + 1j * _doubled(band.imag) for band in other])


def _twice_the_phase(bands: np.ndarray) -> np.ndarray:
    """Real and imaginary parts (2n, h, w) of complex bands (n, h, w) at twice their phase."""
    turned = bands**2 / np.maximum(np.abs(bands), 1e-12)
    return np.concatenate([turned.real, turned.imag])


def _shape(values: np.ndarray) -> np.ndarray:
    """Standard deviation, skewness and kurtosis."""
    centred = values - values.mean()
    deviation = max(float(np.sqrt(np.mean(centred**2))), 1e-9)
    return np.array([deviation, np.mean((centred / deviation) ** 3), np.mean((centred / deviation) ** 4)])


def _autocorrelation(picture: np.ndarray) -> np.ndarray:
    """Correlation of a picture, as if it went on around its edges, with itself up to LAGS pixels apart."""
    spectrum = np.abs(np.fft.fft2(picture - picture.mean())) ** 2
    found = np.fft.ifft2(spectrum).real
    rows, columns = (np.arange(-LAGS, LAGS + 1) % side for side in picture.shape)
    return (found[np.ix_(rows[LAGS:], columns)] / max(found[0, 0], 1e-12)).ravel()


def _correlation(rows: np.ndarray) -> np.ndarray:
    """Correlation of each row with each other, 0 where one of them is constant."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found, flat = np.corrcoef(rows), rows.std(1) < 1e-9
    found[flat] = found[:, flat] = 0
    return found


def _correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlation of each of the bands (n, h, w) with each of the others, flat."""
    both = _correlation(np.concatenate([one.reshape(len(one), -1), other.reshape(len(other), -1)]))
    return both[: len(one), len(one) :].ravel()


def statistics_distance(one: Mapping[str, np.ndarray], style: Mapping[str, np.ndarray]) -> float:
    """Mean over the groups of :func:`statistics` of the relative difference |a - b| / |b|."""
    return float(np.mean([np.linalg.norm(one[name] - style[name]) / np.linalg.norm(style[name]) for name in style]))


# --------------------------------------------------------------------------------------------------------- patches


def copied_share(picture: np.ndarray, style: np.ndarray) -> float:
    """The share of the texture's patches that are copies, of PATCH x PATCH pixels on a grid without overlap.

    A patch is one if the style's nearest patch s is nearer to it than NEARER times what separates s from the nearest
    other patch of the style, overlapping ones left out: distance of RGB. 1 for a piece of the style, 0 for noise.
    NEARER is Lowe 2004's ratio: at 1 flat patches of unrelated textures would count. MOST_PATCHES patches at most.
    """
    height, width = (side // PATCH for side in picture.shape[1:])
    step = max(1, int(np.ceil(np.sqrt(height * width / MOST_PATCHES))))
    wanted = [(PATCH * y, PATCH * x) for y in range(0, height, step) for x in range(0, width, step)]
    patches = _patches(picture, wanted)
    nearest, distances = _nearest(patches, style)
    _, second = _nearest(_patches(style, nearest), style, nearest)
    return float(np.mean(distances < NEARER**2 * second))


def _patches(picture: np.ndarray, corners: Iterable[tuple[int, int]]) -> np.ndarray:
    return np.array([picture[:, y : y + PATCH, x : x + PATCH].ravel() for y, x in corners], dtype="float32")


def _nearest(
    patches: np.ndarray, style: np.ndarray, own: Sequence[tuple[int, int]] | None = None
) -> tuple[list[tuple[int, int]], np.ndarray]:
    """The corner (y, x) of the style's nearest patch for each of ``patches``, and its squared distance.

    ``own``: the corner of each patch in the style itself, which it and what overlaps it are left out for.
    """
    windows = sliding_window_view(style.astype("float32"), (PATCH, PATCH), axis=(1, 2))
    best, where = np.full(len(patches), np.inf), np.zeros((len(patches), 2), int)
    norms, every = np.square(patches).sum(1), np.arange(len(patches))
    across = np.arange(windows.shape[2])
    for y in range(windows.shape[1]):
        row = np.moveaxis(windows[:, y], 0, 1).reshape(len(across), -1)
        squared = norms[:, None] - 2 * (patches @ row.T) + np.square(row).sum(1)
        if own is not None:
            corners = np.array(own)
            near = np.abs(corners[:, :1] - y) < PATCH
            squared[near & (np.abs(corners[:, 1:] - across) < PATCH)] = np.inf
        x = squared.argmin(1)
        value = squared[every, x]
        where[value < best] = np.stack([np.full(len(x), y), x], 1)[value < best]
        best = np.minimum(best, value)
    return [tuple(corner) for corner in where], np.maximum(best, 0)


# ------------------------------------------------------------------------------------------- draws, and the content


def diversity(pictures: Sequence[np.ndarray]) -> float:
    """How much draws differ: root mean square difference of two of them, over what it is for independent pictures of
    the same mean and deviation (the square root of 2 times the deviation). 0: all are the same; 1: independent.
    """
    pictures = [picture.astype("float64") for picture in pictures]
    pairs = [(a, b) for number, a in enumerate(pictures) for b in pictures[number + 1 :]]
    variance = np.mean([picture.reshape(3, -1).var(1).mean() for picture in pictures])
    return float(np.mean([np.sqrt(np.square(a - b).mean() / (2 * variance)) for a, b in pairs]))


def edge_ssim(picture: np.ndarray, content: np.ndarray) -> float:
    """SSIM (Wang et al. 2004, Gaussian window of deviation 1.5, constants for a range of 1) of two pictures' edges.

    Edges are the magnitude of Sobel's gradient of the luminance, over its root mean square, so that a style's contrast
    does not count. 1: the same edges; about 0: unrelated ones.
    """

    def edges(one: np.ndarray) -> np.ndarray:
        grey = luminance(one.astype("float64"))[0]
        found = np.hypot(sobel(grey, 0), sobel(grey, 1))
        return found / max(float(np.sqrt(np.mean(found**2))), 1e-12)

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, 1.5, truncate=3.5)

    a, b = edges(picture), edges(content)
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b, cov = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    one, two = 0.01**2, 0.03**2
    similar = (2 * mean_a * mean_b + one) * (2 * cov + two) / ((mean_a**2 + mean_b**2 + one) * (var_a + var_b + two))
    return float(similar.mean())
