"""What a trained net takes: the content, padded to a size at which the net can work, and fresh noise. No engine here.

Apart from :mod:`nst_gluon.methods.johnson` and :mod:`nst_gluon.methods.texture_net`, so that other engines give the
same nets the same
numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nst_gluon.system.errors import UserError, did_you_mean

JOHNSON_MULTIPLE = 4
NOISE_CHANNELS = 3
# Channels of each scale of a texture network (Ulyanov et al. 2016, section 3.2).
WIDTH = 8
# Numbers that are drawn at a time only to know their mean.
PIECE = 1 << 18


def johnson_size(architecture: Mapping[str, Any], height: int, width: int) -> tuple[int, int]:
    """The size, at least ``height`` x ``width``, at which the net can work: multiples of 4, over 40."""
    smallest = 8 * architecture.get("residuals", 5) + JOHNSON_MULTIPLE
    return tuple(max(-(-side // JOHNSON_MULTIPLE) * JOHNSON_MULTIPLE, smallest) for side in (height, width))


def johnson_widths(width: float) -> tuple[int, int, int]:
    """Channels at full, half and quarter resolution: the paper's 32, 64 and 128 times ``width``, at least 8."""
    return tuple(max(8, round(channels * width)) for channels in (32, 64, 128))


def johnson_inputs(
    architecture: Mapping[str, Any],
    content: np.ndarray,
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    noise_scale: float,
) -> list[np.ndarray]:
    """What the net takes: the content pictures (N, 3, H, W) themselves."""
    return [content]


def texture_net_size(architecture: Mapping[str, Any], height: int, width: int) -> tuple[int, int]:
    """The size, at least ``height`` x ``width``, at which the net can work.

    Multiples of 2^(K-1); reflection needs two pixels at the smallest scale.
    """
    multiple = 2 ** (architecture["scales"] - 1)
    least = 2 if architecture.get("padding") == "reflect" else 1
    return tuple(max(-(-side // multiple), least) * multiple for side in (height, width))


def texture_net_widths(scales: int, finest: int | None) -> list[int]:
    """Channels of what each join of a texture network makes, coarsest first, and of what its last convolution takes:
    WIDTH for each scale that is in it, and ``finest``, if given, in the last one.
    """
    return [*(WIDTH * k for k in range(2, scales)), finest or WIDTH * scales]


def texture_net_inputs(
    architecture: Mapping[str, Any],
    content: np.ndarray | None,
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    noise_scale: float,
) -> list[np.ndarray]:
    """What the net takes: the content (N, 3, H, W), if it stylises, and fresh noise for ``shape`` = (N, H, W).

    ``noise_scale`` multiplies the net's own amplitude: the paper's balance of style and content at test time.
    """
    noise = sample_noise(rng, *shape, architecture["scales"], noise_scale * architecture.get("noise", 1.0))
    return [content, *noise] if architecture.get("content") else noise


def sample_noise(
    rng: np.random.Generator, batch: int, height: int, width: int, scales: int, scale: float = 1.0
) -> list[np.ndarray]:
    """K arrays (batch, 3, height / 2^k, width / 2^k), float32, largest first: uniform over a range of ``scale``, and
    moved so that the mean of each channel is ``scale`` / 2.

    Training does not see by how much the mean of a draw happens to differ: a constant goes through a convolution whose
    padding repeats the picture, and the normalisation after it takes it away. With running statistics it would stay.
    The bundled texture's objective at 256 x 256 is 64 on the mean of twelve draws, and 80 of noise as it is drawn
    (``results/speed/noise.csv``).
    """
    arrays = []
    for k in range(scales):
        drawn = rng.random((batch, NOISE_CHANNELS, height >> k, width >> k), dtype=np.float32)
        arrays.append(centred(drawn, drawn.mean(axis=(2, 3), dtype=np.float64), scale))
    return arrays


def sample_noise_window(
    seed: int, full: tuple[int, int], k: int, rows: np.ndarray, columns: np.ndarray, scale: float
) -> np.ndarray:
    """Pixels of the ``k``-th array of :func:`sample_noise` with batch 1 and ``default_rng(seed)``, and no others kept.

    ``rows`` and ``columns`` are indices into it; returns (1, 3, len(rows), len(columns)). The generator jumps: two
    float32 numbers are one step of it.
    """
    start = sum(NOISE_CHANNELS * (full[0] >> i) * (full[1] >> i) for i in range(k))
    height, width = full[0] >> k, full[1] >> k
    source = np.random.PCG64(seed)
    state = source.state
    low, high = int(columns.min()), int(columns.max()) + 1
    out = np.empty((1, NOISE_CHANNELS, len(rows), len(columns)), np.float32)
    for channel in range(NOISE_CHANNELS):
        for number, row in enumerate(rows):
            steps, odd = divmod(start + (channel * height + int(row)) * width + low, 2)
            source.state = state
            source.advance(steps)
            line = np.random.Generator(source).random(high - low + odd, dtype=np.float32)
            out[0, channel, number] = line[odd:][columns - low]
    return centred(out, _noise_means(seed, full, k), scale)


def centred(drawn: np.ndarray, means: np.ndarray, scale: float) -> np.ndarray:
    """Uniform noise (N, 3, h, w) in [0, 1), moved from ``means`` (N, 3) to 1/2 and multiplied by ``scale``."""
    return (drawn + (0.5 - means).astype(np.float32)[:, :, None, None]) * np.float32(scale)


@lru_cache(maxsize=16)
def _noise_means(seed: int, full: tuple[int, int], k: int) -> np.ndarray:
    """Means (1, 3) of the channels of the ``k``-th array as they are drawn, which is never whole in memory."""
    before = sum(NOISE_CHANNELS * (full[0] >> i) * (full[1] >> i) for i in range(k))
    source = np.random.PCG64(seed)
    steps, odd = divmod(before, 2)
    source.advance(steps)
    rng, pixels = np.random.Generator(source), (full[0] >> k) * (full[1] >> k)
    rng.random(odd, dtype=np.float32)
    sums = [
        sum(rng.random(min(PIECE, pixels - done), dtype=np.float32).sum(dtype=np.float64)
            for done in range(0, pixels, PIECE))
        for _ in range(NOISE_CHANNELS)
    ]  # fmt: skip
    return np.array([sums]) / pixels


@dataclass(frozen=True)
class Inputs:
    """``working_size(architecture, height, width)`` and ``inputs(architecture, content, rng, shape, noise_scale)``."""

    working_size: Callable[..., tuple[int, int]]
    inputs: Callable[..., list[np.ndarray]]


BY_METHOD = {
    "johnson": Inputs(johnson_size, johnson_inputs),
    "texture_net": Inputs(texture_net_size, texture_net_inputs),
}


def arrays(
    meta: Mapping[str, Any],
    content: np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    batch: int = 1,
    seed: int = 0,
    noise_scale: float = 1.0,
) -> list[np.ndarray]:
    """float32 arrays for one pass of a net: content padded by reflection to a size at which it works, fresh noise.

    Args:
        meta: the net file's description: method, task, architecture.
        content: (1 or batch, 3, H, W) in [0, 1]; needed for the task ``stylize``. One picture is repeated.
        size: (H, W); default: the content's.
        seed: the noise follows it and nothing else.

    Raises:
        UserError: a content picture is needed and there is none, or the method is not known here.
    """
    known, architecture = BY_METHOD.get(meta["method"]), meta["architecture"]
    if known is None:
        raise UserError(f"net: unknown method {meta['method']!r}; {did_you_mean(str(meta['method']), BY_METHOD)}")
    if meta["task"] == "stylize" and content is None:
        raise UserError("content: this net stylises a picture and was given none")
    height, width = size or content.shape[2:]
    full = known.working_size(architecture, height, width)
    if content is not None:
        content = np.broadcast_to(content, (batch, *content.shape[1:])).astype("float32")
        edges = ((0, 0), (0, 0), (0, full[0] - height), (0, full[1] - width))
        content = np.pad(content, edges, mode="reflect") if full != (height, width) else content
    return known.inputs(architecture, content, np.random.default_rng(seed), (batch, *full), noise_scale)
