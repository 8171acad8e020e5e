"""What a net takes, from its description: the content, padded to a size at which the net can work, and fresh noise.

No engine here, so that all engines give the same nets the same numbers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nst_gluon.methods.description import Content, Net, Noise
from nst_gluon.nets.geometry import working_size
from nst_gluon.system.errors import UserError

# Numbers that are drawn at a time only to know their mean.
PIECE = 1 << 18


def arrays(
    net: Net,
    content: np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    batch: int = 1,
    seed: int = 0,
    noise_scale: float = 1.0,
) -> list[np.ndarray]:
    """float32 arrays for one pass of a net: content padded by reflection to a size at which it works, fresh noise.

    Args:
        content: (1 or batch, 3, H, W) in [0, 1]; needed by a net that takes it. One picture is repeated.
        size: (H, W); default: the content's.
        seed: the noise follows it and nothing else.
        noise_scale: multiplies the net's own amplitude: the paper's balance of style and content at test time.

    Raises:
        UserError: a content picture is needed and there is none.
    """
    if net.takes_content and content is None:
        raise UserError("content: this net stylises a picture and was given none")
    height, width = size or content.shape[2:]
    full = working_size(net, height, width)
    if content is not None:
        content = np.broadcast_to(content, (batch, *content.shape[1:])).astype("float32")
        edges = ((0, 0), (0, 0), (0, full[0] - height), (0, full[1] - width))
        content = np.pad(content, edges, mode="reflect") if full != (height, width) else content
    return drawn(net, content, np.random.default_rng(seed), (batch, *full), noise_scale)


def drawn(
    net: Net,
    content: np.ndarray | None,
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    noise_scale: float = 1.0,
) -> list[np.ndarray]:
    """What the net takes, in its order: ``content`` as it is, and fresh noise for ``shape`` = (N, H, W).

    Noise is uniform over a range of its amplitude, moved so that the mean of each channel is half of that: training
    does not see by how much a draw's mean differs, since the first normalisation takes it away, and running statistics
    would not.
    """
    found, (batch, height, width) = [], shape
    for layer in net.inputs:
        if isinstance(layer, Content):
            found.append(content)
            continue
        side = (height >> layer.reduction, width >> layer.reduction)
        noise = rng.random((batch, layer.channels, *side), dtype=np.float32)
        found.append(centred(noise, noise.mean(axis=(2, 3), dtype=np.float64), noise_scale * layer.amplitude))
    return found


def noise_window(
    net: Net, layer: Noise, seed: int, full: tuple[int, int], rows: np.ndarray, columns: np.ndarray, noise_scale: float
) -> np.ndarray:
    """Pixels of the noise ``layer`` that :func:`arrays` with batch 1 draws for a ``full`` picture, and no others kept.

    ``rows`` and ``columns`` are indices into it; returns (1, C, len(rows), len(columns)). The generator jumps: two
    float32 numbers are one step of it.
    """
    start, means = _noise_start(net, layer, full), _noise_means(net, layer, seed, full)
    height, width = full[0] >> layer.reduction, full[1] >> layer.reduction
    source = np.random.PCG64(seed)
    state = source.state
    low, high = int(columns.min()), int(columns.max()) + 1
    out = np.empty((1, layer.channels, len(rows), len(columns)), np.float32)
    for channel in range(layer.channels):
        for number, row in enumerate(rows):
            steps, odd = divmod(start + (channel * height + int(row)) * width + low, 2)
            source.state = state
            source.advance(steps)
            line = np.random.Generator(source).random(high - low + odd, dtype=np.float32)
            out[0, channel, number] = line[odd:][columns - low]
    return centred(out, means, noise_scale * layer.amplitude)


def centred(drawn: np.ndarray, means: np.ndarray, scale: float) -> np.ndarray:
    """Uniform noise (N, C, h, w) in [0, 1), moved from ``means`` (N, C) to 1/2 and multiplied by ``scale``."""
    return (drawn + (0.5 - means).astype(np.float32)[:, :, None, None]) * np.float32(scale)


def _noise_start(net: Net, layer: Noise, full: tuple[int, int]) -> int:
    """How many numbers are drawn before those of ``layer``."""
    before = net.inputs[: net.inputs.index(layer)]
    return sum(
        other.channels * (full[0] >> other.reduction) * (full[1] >> other.reduction)
        for other in before
        if isinstance(other, Noise)
    )


@lru_cache(maxsize=16)
def _noise_means(net: Net, layer: Noise, seed: int, full: tuple[int, int]) -> np.ndarray:
    """Means (1, C) of the channels of ``layer`` as they are drawn, which is never whole in memory."""
    source = np.random.PCG64(seed)
    steps, odd = divmod(_noise_start(net, layer, full), 2)
    source.advance(steps)
    rng, pixels = np.random.Generator(source), (full[0] >> layer.reduction) * (full[1] >> layer.reduction)
    rng.random(odd, dtype=np.float32)
    sums = [
        sum(rng.random(min(PIECE, pixels - done), dtype=np.float32).sum(dtype=np.float64)
            for done in range(0, pixels, PIECE))
        for _ in range(layer.channels)
    ]  # fmt: skip
    return np.array([sums]) / pixels
