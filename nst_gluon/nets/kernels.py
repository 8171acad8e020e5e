"""Arithmetic of convolution kernels: one operator in the place of two. numpy only."""

from __future__ import annotations

import numpy as np

from nst_gluon.system import machine

# Whether oneDNN's kernels are those for AVX2.
AVX2 = machine.cpu_lacks_avx512()
# Output channels for which oneDNN takes its fast kernels, a vector of them at a time.
LANES = 8 if AVX2 else 16
# The widest padding that those kernels do themselves; with more, oneDNN multiplies large matrices, or is slow.
WIDEST_PAD = 3 if AVX2 else 99


def laid_out(channels: int) -> int:
    """Channels that an activation of ``channels`` has inside a graph: the next multiple of LANES."""
    return -(-channels // LANES) * LANES


def fit(array: np.ndarray, *sizes: int) -> np.ndarray:
    """``array`` with zeros appended so that its first axes have the given sizes."""
    edges = [(0, size - have) for size, have in zip(sizes, array.shape)]
    return np.pad(array, edges + [(0, 0)] * (array.ndim - len(sizes)))


def upsampling_kernel(weight: np.ndarray) -> np.ndarray:
    """Weights (in, out, 4, 4) of the transposed convolution with stride 2 that equals nearest upsampling by 2 and
    then the 3x3 convolution ``weight`` (out, in, 3, 3).

    Each low-resolution pixel is a 2x2 square, which the convolution smears over 4x4. On n pixels, with ``pad`` 2 the
    result is the 2n - 2 pixels of the unpadded convolution, with 1 the 2n of the zero-padded one.
    """
    flipped = weight[:, :, ::-1, ::-1]
    kernel = sum(np.pad(flipped, ((0, 0), (0, 0), (i, 1 - i), (j, 1 - j))) for i in (0, 1) for j in (0, 1))
    return np.ascontiguousarray(kernel.transpose(1, 0, 2, 3))


def phase_kernel(weight: np.ndarray) -> np.ndarray:
    """Weights (4 * out, in, k + 1, k + 1) of the convolution with stride 2 whose channels, taken apart by
    ``depth_to_space``, are the convolution ``weight`` (out, in, k, k) with stride 1.

    Few output channels leave most of a vector unit idle; four times as many at a quarter of the pixels do not.
    """
    phases = [np.pad(weight, ((0, 0), (0, 0), (i, 1 - i), (j, 1 - j))) for i in (0, 1) for j in (0, 1)]
    return np.concatenate(phases)


def coarse_phase_kernel(weight: np.ndarray) -> np.ndarray:
    """Weights (4 * out, in, 3, 3) of the convolution whose channels, taken apart by ``depth_to_space``, are nearest
    upsampling by 2 and then the 5x5 convolution ``weight`` (out, in, 5, 5) with zero padding.

    Of the 5 rows around a pixel of the fine scale, an even one has 2, 2 and 1 in three coarse rows, an odd one 1, 2, 2.
    """
    phases = []
    for i in (0, 1):
        rows = np.add.reduceat(weight, (0, 2 - i, 4 - i), axis=2)
        phases += [np.add.reduceat(rows, (0, 2 - j, 4 - j), axis=3) for j in (0, 1)]
    return np.concatenate(phases)


def rows_below(first: int, last: int, pad: int, margin: int = 1) -> tuple[int, int, int]:
    """What a strip of rows of an upsampling convolution's result needs of the coarser scale: its rows (begin, end),
    and the ``pad`` in rows.

    ``first`` and ``last`` bound the strip, both even; it has ``margin`` rows more on both sides, as the whole does.
    ``pad``, at least 2, is that of the whole (:func:`upsampling_kernel`). Row i is smeared over rows 2i to 2i + 3.
    """
    begin, end = (first + pad) // 2 - 1, (last + 2 * margin - 1 + pad) // 2 + 1
    return begin, end, first + pad - 2 * begin
