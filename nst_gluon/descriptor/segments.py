"""Where to cut the descriptor, so that its activations need not all be held at once.

Recomputation (Chen, Xu, Zhang, Guestrin 2016, "Training deep nets with sublinear memory cost"): a first pass keeps only
what enters each segment; then, from the last segment to the first, a segment is computed again, differentiated, and
forgotten. It costs about one more forward pass. The cuts are planned here; :class:`nst_gluon.objective.loss.Objective`
follows them. Imports no engine.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
from collections.abc import Sequence

from nst_gluon.descriptor.architecture import CHANNELS
from nst_gluon.system.errors import UserError

# Floats that a differentiated convolution with its ReLU, pooling and Gram holds per float of its activation: what an
# evaluation in one piece takes over the sum of its activations.
HELD = 2.6

AUTO = "auto"
# The memory that an evaluation takes in so many segments, as a fraction of what it takes in one (measured at 512 to 768
# pixels, see results/speed/choices.md); four are no better than three.
SHARE = {1: 1.0, 2: 1.0, 3: 0.75}

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
        raise UserError(f"--segments: {count} is not possible; this objective has convolutions for 1 to {len(steps)}")
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


def least_bytes(whole: int, count: int | str) -> int:
    """Bytes of an evaluation in ``count`` segments ("auto": in as many as help) that takes ``whole`` in one."""
    return round(whole * SHARE[len(SHARE) if count == AUTO else min(count, len(SHARE))])


def fitting(whole: int, available: int) -> int:
    """The fewest segments in which an evaluation that takes ``whole`` bytes in one fits into ``available``.

    As many as help if none does.
    """
    return next((count for count in SHARE if whole * SHARE[count] <= available), max(SHARE))


def give_memory_back() -> None:
    """Let nothing keep memory between segments that is of no use to the next.

    By default glibc keeps freed blocks of up to 32 MiB with the process while the next segment allocates; does nothing
    elsewhere. MXNet keeps four arrays for operations' scratch, each as large as the largest that was asked for, where
    one is enough; it looks once, when the first operation needs any.
    """
    os.environ.setdefault("MXNET_CPU_TEMP_COPY", "1")
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
