"""Gluon layers that MXNet lacks, or has slow: padding, upsampling, instance normalisation."""

from __future__ import annotations

from nst_gluon.descriptor.vgg import BFLOAT16
from nst_gluon.system.engine import mx

HybridBlock = mx.gluon.HybridBlock
nn = mx.gluon.nn

# Suffixes of the arrays that InstanceNorm's operator insists on and nobody reads; they are not part of a net.
SCRATCH = ("scratch_mean", "scratch_variance")


def pad(F, x, amount: int, mode: str):
    """Pads (N, C, H, W) by ``amount`` pixels on each side; H and W must exceed it.

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


def upsample(F, x, channels: int):
    """Nearest-neighbour upsampling by 2, as a depthwise deconvolution of ones: up to ten times faster."""
    ones = F.ones(shape=(channels, 1, 2, 2))
    return F.Deconvolution(x, ones, kernel=(2, 2), stride=(2, 2), num_filter=channels, num_group=channels, no_bias=True)


class Conv2D(nn.Conv2D):
    """Gluon's convolution, whose products are in bfloat16 once ``half`` is set (:func:`halve`); all else is float32."""

    half = False

    def hybrid_forward(self, F, x, weight, bias=None):
        if not self.half:
            return super().hybrid_forward(F, x, weight, bias)
        x, weight, bias = (F.amp_cast(value, dtype=BFLOAT16) for value in (x, weight, bias))
        return F.amp_cast(super().hybrid_forward(F, x, weight, bias), dtype="float32")


class PhasedConv2D(nn.Conv2D):
    """A convolution with few output channels (two or more), zero padding, an odd kernel, of pictures with even sides.

    Computed as one of stride 2 that has four times as many (:func:`nst_gluon.nets.inference.phase_kernel`), filled up
    to 16: oneDNN's fast kernels want that. Forward and backward of 32 -> 3, 9x9 at 256x256 take a seventh of the time.
    """

    def hybrid_forward(self, F, x, weight, bias):
        out, (kernel, _), (pad, _) = self._channels, self._kwargs["kernel"], self._kwargs["pad"]
        filled = -(-4 * out // 16) * 16
        edges = [(0, 0, 0, 0, i, 1 - i, j, 1 - j) for i in (0, 1) for j in (0, 1)]
        arrays = [F.Pad(weight, mode="constant", pad_width=edge) for edge in edges], [bias] * 4
        phases = [F.concat(*parts, dim=0) for parts in arrays]
        zeros = [F.zeros_like(F.slice_axis(x, axis=0, begin=0, end=filled - 4 * out)) for x in phases]
        weight, bias = (F.concat(*pair, dim=0) for pair in zip(phases, zeros))
        sides = {"kernel": (kernel + 1, kernel + 1), "stride": (2, 2), "pad": (pad, pad)}
        x = F.Convolution(x, weight, bias, num_filter=filled, **sides)
        return F.depth_to_space(F.slice_axis(x, axis=1, begin=0, end=4 * out), block_size=2)


def halve(net, least: int = 16) -> None:
    """Lets the convolutions of a net compute in bfloat16, forward and backward, from ``least`` channels on.

    A training step takes a quarter less. Parameters, their gradients, norms and sums stay float32.
    """

    def one(block):
        if isinstance(block, Conv2D):
            block.half = min(block.weight.shape[:2]) >= least

    net.apply(one)


class InstanceNorm(HybridBlock):
    """Instance normalisation with scale and shift (Ulyanov, Vedaldi, Lempitsky 2016), of a batch of one picture.

    There it equals batch normalisation with the batch's own statistics, whose operator is ten times faster in a
    training step than MXNet's InstanceNorm. That operator takes those statistics only in train mode, so a net with
    this layer runs under ``autograd.train_mode()`` always, one picture at a time: :class:`PictureNet` sees to it.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5):
        super().__init__()
        self._epsilon = epsilon
        with self.name_scope():
            self.gamma = self.params.get("gamma", shape=(channels,), init="ones")
            self.beta = self.params.get("beta", shape=(channels,), init="zeros")
            unread = {"shape": (channels,), "grad_req": "null", "differentiable": False}
            self.scratch_mean = self.params.get("scratch_mean", init="zeros", **unread)
            self.scratch_variance = self.params.get("scratch_variance", init="ones", **unread)

    def hybrid_forward(self, F, x, gamma, beta, scratch_mean, scratch_variance):
        return F.BatchNorm(
            x, gamma, beta, scratch_mean, scratch_variance, fix_gamma=False, momentum=1.0, eps=self._epsilon
        )


class PictureNet(HybridBlock):
    """A net whose first input is a batch of pictures or noise (N, C, H, W), with either normalisation.

    With ``norm="instance"`` each picture of the batch goes through on its own, in train mode.
    """

    def __init__(self, norm: str):
        super().__init__()
        self.norm = norm

    def forward(self, *inputs):
        if self.norm != "instance" or not isinstance(inputs[0], mx.nd.NDArray):
            return super().forward(*inputs)
        with mx.autograd.train_mode():
            pictures = [
                super(PictureNet, self).forward(*(x[i : i + 1] for x in inputs)) for i in range(inputs[0].shape[0])
            ]
        return pictures[0] if len(pictures) == 1 else mx.nd.concat(*pictures, dim=0)


def make_norm(kind: str, channels: int) -> HybridBlock:
    """``instance`` or ``batch`` normalisation with scale and shift: 2 * channels learnt parameters."""
    if kind == "instance":
        return InstanceNorm(channels)
    if kind == "batch":
        return nn.BatchNorm(in_channels=channels)
    raise ValueError(f"norm: {kind!r} is neither 'instance' nor 'batch'")


class PaddedConv(HybridBlock):
    """A convolution that keeps the picture's size under ``circular``, ``reflect`` or ``zero`` padding."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, padding: str, stride: int = 1, phased: bool = False
    ):
        super().__init__()
        self._amount, self._mode = kernel // 2, padding
        own = self._amount if padding == "zero" else 0
        with self.name_scope():
            kind = PhasedConv2D if phased else Conv2D
            self.conv = kind(channels, kernel, strides=stride, padding=own, in_channels=in_channels)

    def hybrid_forward(self, F, x):
        return self.conv(x if self._mode == "zero" else pad(F, x, self._amount, self._mode))
