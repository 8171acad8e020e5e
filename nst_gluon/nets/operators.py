"""Operators that MXNet lacks, or has slow. ``F`` is ``mx.nd`` or ``mx.sym``; values are (N, C, H, W)."""

from __future__ import annotations

from nst_gluon.nets.kernels import laid_out


def pad(F, x, amount: int, mode: str):
    """Pads by ``amount`` pixels on each side; H and W must exceed it.

    ``circular``: the picture repeats (MXNet has no such padding); ``reflect``: it is mirrored without repeating the
    edge; ``zero``. The first two by concatenating slices, since MXNet's own Pad is slow and its GPU gradient is not
    deterministic.
    """
    if amount == 0 or mode == "zero":
        width = (0, 0, 0, 0, amount, amount, amount, amount)
        return F.Pad(x, mode="constant", pad_width=width) if amount else x
    for axis in (2, 3):
        if mode == "circular":
            before = F.slice_axis(x, axis=axis, begin=-amount, end=None)
            after = F.slice_axis(x, axis=axis, begin=0, end=amount)
        else:
            before = F.slice_axis(x, axis=axis, begin=1, end=amount + 1)
            after = F.slice_axis(x, axis=axis, begin=-amount - 1, end=-1)
            if amount > 1:
                before, after = F.flip(before, axis=axis), F.flip(after, axis=axis)
        x = F.concat(before, x, after, dim=axis)
    return x


def pad_by_one(F, x, mode: str):
    """One pixel more on each side: ``circular``, ``reflect`` or ``edge`` (the edge repeated).

    With ``slice``, which takes oneDNN's memory layouts as they are.
    """
    first, last = {"circular": (-1, 0), "reflect": (1, -2), "edge": (0, -1)}[mode]
    for axis in (2, 3):
        none = (None,) * axis
        one = [F.slice(x, begin=(*none, i), end=(*none, i + 1 if i != -1 else None)) for i in (first, last)]
        x = F.concat(one[0], x, one[1], dim=axis)
    return x


def wrap(F, x, amount: int, shape: tuple[int, ...]):
    """``x`` of the given shape, repeated without end, with ``amount`` pixels more on each side."""
    for axis in (2, 3):
        copies = -(-amount // shape[axis])
        begin = copies * shape[axis] - amount
        x = F.concat(*[x] * (2 * copies + 1), dim=axis)
        x = F.slice_axis(x, axis=axis, begin=begin, end=begin + shape[axis] + 2 * amount)
    return x


def crop(F, x, amount: int):
    """``amount`` pixels fewer on each side."""
    return F.slice(x, begin=(None, None, amount, amount), end=(None, None, -amount, -amount))


def crop_channels(F, x, channels: int):
    """The first ``channels`` channels.

    With ``slice_axis``: oneDNN's ``slice`` dies of a division by zero inside a block of channels.
    """
    return F.slice_axis(x, axis=1, begin=0, end=channels)


def rows(F, x, begin: int, end: int):
    """Rows ``begin`` to ``end``."""
    return F.slice(x, begin=(None, None, begin), end=(None, None, end))


def phased_convolution(F, x, weight, bias, out: int, kernel: int, padding: int):
    """A convolution of stride 1 with few output channels and zero padding, for even H and W.

    As one of stride 2 with four times as many (:func:`nst_gluon.nets.kernels.phase_kernel`), filled up to LANES.
    """
    edges = [(0, 0, 0, 0, i, 1 - i, j, 1 - j) for i in (0, 1) for j in (0, 1)]
    weights = [F.Pad(weight, mode="constant", pad_width=edge) for edge in edges]
    filled = laid_out(4 * out)
    weight, bias = F.concat(*weights, dim=0), F.concat(*[bias] * 4, dim=0)
    if filled > 4 * out:
        weight, bias = (
            F.concat(value, F.zeros_like(F.slice_axis(value, axis=0, begin=4 * out - filled, end=None)), dim=0)
            for value in (weight, bias)
        )
    sides = {"kernel": (kernel + 1,) * 2, "stride": (2, 2), "pad": (padding,) * 2}
    x = F.Convolution(x, weight, bias, num_filter=filled, **sides)
    return F.depth_to_space(crop_channels(F, x, 4 * out), block_size=2)


def upsample(F, x, channels: int):
    """Nearest-neighbour upsampling by 2, as a depthwise deconvolution of ones: up to ten times faster."""
    ones = F.ones(shape=(channels, 1, 2, 2))
    return F.Deconvolution(x, ones, kernel=(2, 2), stride=(2, 2), num_filter=channels, num_group=channels, no_bias=True)
