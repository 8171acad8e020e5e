"""Where to cut the descriptor, so that its activations need not all be held at once.

Recomputation (Chen, Xu, Zhang, Guestrin 2016, "Training deep nets with sublinear memory cost"): a first pass keeps only
what enters each segment; then, from the last segment to the first, a segment is computed again, differentiated, and
forgotten. It costs about one more forward pass. The cuts are planned here; :class:`nst_gluon.loss.Objective` follows
them. Imports no engine.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
from collections.abc import Sequence

from nst_gluon.errors import UserError

CHANNELS = (64, 128, 256, 512, 512)

# Floats that a differentiated convolution with its ReLU, pooling and Gram holds per float of its activation, and bytes
# per pixel that are there in any case: fitted to the peaks in the table of :func:`bytes_per_pixel`.
HELD = 2.6
FIXED_FLOATS = 12

M_MMAP_THRESHOLD = -3  # malloc.h
LARGE_BLOCK_BYTES = 4 << 20

Step = tuple[int, int]
Span = tuple[int, int]


def within(layers: Sequence[tuple[str, float]], steps: Sequence[Step], span: Span) -> list[tuple[str, float]]:
    """Those of the named layers (with their weights) whose convolution lies in the span."""
    inside = set(steps[span[0] : span[1]])
    return [(name, weight) for name, weight in layers if (int(name[4]), int(name[6])) in inside]


def spans(steps: Sequence[Step], count: int) -> tuple[Span, ...]:
    """The convolutions in ``count`` successive segments, (first, behind the last), cut where the peak is lowest.

    Raises:
        UserError: there are not so many convolutions.
    """
    if not 1 <= count <= len(steps):
        raise UserError(f"--segments: {count} is not possible; this objective's descriptor has {len(steps)} to cut")
    if count == len(steps):
        return tuple((at, at + 1) for at in range(count))
    cuts = itertools.combinations(range(1, len(steps)), count - 1)
    return min((tuple(zip((0, *at), (*at, len(steps)))) for at in cuts), key=lambda cut: floats_per_pixel(steps, cut))


def floats_per_pixel(steps: Sequence[Step], cut: Sequence[Span]) -> float:
    """About how many floats per pixel of the picture are held at the worst moment of one evaluation."""
    activations = [CHANNELS[block - 1] / 4 ** (block - 1) for block, _ in steps]
    entering = [_entering(steps, first) for first, _ in cut]
    held = [HELD * sum(activations[first:last]) for first, last in cut]
    return max(sum(entering[: at + 1]) + held[at] for at in range(len(cut)))


def _entering(steps: Sequence[Step], position: int) -> float:
    """Floats per pixel of what enters a convolution: pooled if it begins a block."""
    if position == 0:
        return 3.0
    block, before = steps[position][0], steps[position - 1][0]
    return CHANNELS[before - 1] / 4 ** (block - 1)


def give_memory_back() -> None:
    """Let the C library return large blocks to the system as soon as they are freed.

    By default glibc raises the size from which it does so to that of the largest block freed (up to 32 MiB), and what
    one segment has freed stays with the process while the next one allocates. Does nothing elsewhere.
    """
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
