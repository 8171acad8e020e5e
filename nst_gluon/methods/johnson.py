"""The Johnson net: feed-forward stylisation (Johnson, Alahi, Fei-Fei 2016, and its supplementary material).

Reflection padding 40 once; c9s1-32, d64, d128; five residual blocks of unpadded 3x3 convolutions whose identity is
cropped by 2 pixels a side, so that the padding is used up; u64, u32 (nearest upsampling, then convolution);
c9s1-3; a scaled tanh. Instance normalisation as in the released code, batch normalisation as in the paper.
1,679,235 parameters.

Two departures can be chosen. ``output="linear"``: no tanh, which saturates: where it does the picture is white for
good, since no gradient comes through. ``width``: a part of the channels.
"""

from __future__ import annotations

import numpy as np

from nst_gluon.nets import inputs as net_inputs
from nst_gluon.nets.inference import Builder, crop_channels, phase_kernel
from nst_gluon.nets.layers import Conv2D, HybridBlock, PaddedConv, PictureNet, make_norm, nn, pad, upsample
from nst_gluon.system.engine import mx

MULTIPLE = net_inputs.JOHNSON_MULTIPLE
# The released code scales tanh by 150 of 255, around the mean colour.
TANH_SCALE = 150 / 255
# Normalised activations beyond so many standard deviations are spikes.
SPIKE = 4.0

working_size, inputs = net_inputs.johnson_size, net_inputs.johnson_inputs


def finish(F, z, output: str):
    """The picture that the last convolution's ``z`` is."""
    return 0.5 + (0.5 * z if output == "linear" else TANH_SCALE * F.tanh(z))


def before(picture: np.ndarray, output: str) -> np.ndarray:
    """The ``z`` of which :func:`finish` makes a picture in [0, 1]."""
    return 2 * picture - 1 if output == "linear" else np.arctanh((picture - 0.5) / TANH_SCALE)


def spikes(F, x):
    """How far activations (N, C, H, W) that were normalised go beyond SPIKE: their mean square there, (1,)."""
    return F.mean(F.square(F.relu(F.abs(x) - SPIKE)))


class _Residual(HybridBlock):
    def __init__(self, channels: int, norm: str, watched: bool):
        super().__init__()
        self._watched = watched
        with self.name_scope():
            self.conv1 = Conv2D(channels, 3, in_channels=channels)
            self.norm1 = make_norm(norm, channels)
            self.conv2 = Conv2D(channels, 3, in_channels=channels)
            self.norm2 = make_norm(norm, channels)

    def hybrid_forward(self, F, x):
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        x = y + F.slice(x, begin=(None, None, 2, 2), end=(None, None, -2, -2))
        return (x, spikes(F, y)) if self._watched else x


class JohnsonNet(PictureNet):
    """Content pictures (N, 3, H, W) in [0, 1] -> stylised pictures of the same shape.

    H and W must be multiples of 4 and greater than 40; :mod:`nst_gluon.nets.generator` takes any size.
    The output is clipped to [0, 1] when it is saved.

    Args:
        output: ``tanh``: 0.5 + 0.59 tanh z, as in the released code; ``linear``: 0.5 + 0.5 z; ``raw``, for training:
            z itself (:func:`finish`) and the mean of :func:`spikes` in the deeper layers.
        width: multiplies the channels of every layer, see :func:`nst_gluon.nets.inputs.johnson_widths`.
    """

    def __init__(self, norm: str = "instance", residuals: int = 5, output: str = "tanh", width: float = 1.0):
        super().__init__(norm)
        self._residuals, self._output = residuals, output
        self._widths = a, b, c = net_inputs.johnson_widths(width)
        with self.name_scope():
            self.conv1, self.norm1 = PaddedConv(3, a, 9, "zero"), make_norm(norm, a)
            self.down1, self.norm2 = PaddedConv(a, b, 3, "zero", stride=2), make_norm(norm, b)
            self.down2, self.norm3 = PaddedConv(b, c, 3, "zero", stride=2), make_norm(norm, c)
            self.residual = nn.HybridSequential(prefix="residual_")
            with self.residual.name_scope():
                for _ in range(residuals):
                    self.residual.add(_Residual(c, norm, output == "raw"))
            self.up1, self.norm4 = PaddedConv(c, b, 3, "zero"), make_norm(norm, b)
            self.up2, self.norm5 = PaddedConv(b, a, 3, "zero"), make_norm(norm, a)
            self.conv2 = PaddedConv(a, 3, 9, "zero", phased=True)

    def hybrid_forward(self, F, x):
        # Five blocks eat 2 * 2 pixels a side at a quarter of the resolution: 4 * 4 * 5 / 2 = 40 before.
        x = pad(F, x - 0.5, 8 * self._residuals, "reflect")
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.down1(x)))
        x = F.relu(self.norm3(self.down2(x)))
        found = []
        if self._output == "raw":
            for block in self.residual._children.values():
                x, more = block(x)
                found.append(more)
        else:
            x = self.residual(x)
        x = y = self.norm4(self.up1(upsample(F, x, self._widths[2])))
        x = z = self.norm5(self.up2(upsample(F, F.relu(x), self._widths[1])))
        x = self.conv2(F.relu(x))
        if self._output == "raw":
            return x, F.add_n(*found, spikes(F, y), spikes(F, z)) / (len(found) + 2)
        return finish(F, x, self._output)


def initializer():
    """Uniform in +-1/sqrt(fan in), the released code's framework's default."""
    return mx.init.Xavier(rnd_type="uniform", factor_type="in", magnitude=1)


def architecture(task: str) -> dict:
    """The keyword arguments of :class:`JohnsonNet` that a new net for ``task`` gets."""
    return {"norm": "instance"}


def build(architecture: dict) -> JohnsonNet:
    """A net from the ``architecture`` of a net file: keyword arguments of :class:`JohnsonNet`."""
    return JohnsonNet(**architecture)


def inference_graph(builder: Builder, architecture: dict, shapes: list[tuple[int, ...]], padded: bool = False):
    """The net as a graph for inference: the input ``data0`` as :class:`JohnsonNet` takes it, the same pictures.

    ``padded``: the input has its surroundings of 8 pixels a residual block on each side already.
    """
    residuals = architecture.get("residuals", 5)
    x = mx.sym.var("data0") - 0.5
    x = x if padded else pad(mx.sym, x, 8 * residuals, "reflect")
    x = builder.unit(x, "conv1.conv", "norm1", 0, pad=4)
    x = builder.unit(x, "down1.conv", "norm2", 0, stride=2, pad=1)
    x = builder.unit(x, "down2.conv", "norm3", 0, stride=2, pad=1)
    for k in range(residuals):
        y = builder.unit(x, f"residual.{k}.conv1", f"residual.{k}.norm1", 0)
        y = builder.unit(y, f"residual.{k}.conv2", f"residual.{k}.norm2", None)
        x = y + mx.sym.slice(x, begin=(None, None, 2, 2), end=(None, None, -2, -2))
    x = builder.unit(x, "up1.conv", "norm4", 0, pad=1, upsample=True)
    x = builder.unit(x, "up2.conv", "norm5", 0, pad=1, upsample=True)
    weight, bias = builder.kernel("conv2.conv", None)
    x = builder.single(builder.convolution(x, phase_kernel(weight), np.tile(bias, 4), stride=2, pad=4))
    linear = architecture.get("output") == "linear"
    x = crop_channels(x if linear else mx.sym.Activation(x, act_type="tanh"), 12)
    return 0.5 + (0.5 if linear else TANH_SCALE) * mx.sym.depth_to_space(x, block_size=2)


def normalised_at(architecture: dict, norm: str) -> int:
    """How many pixels of the picture a pixel of the activations is wide that ``norm`` normalises."""
    return {"norm1": 1, "norm2": 2, "norm3": 4, "norm4": 2, "norm5": 1}.get(norm, 4)


def surroundings(architecture: dict) -> list[int]:
    """Pixels of each input that a part of the picture needs on each side: those that the net's padding takes up."""
    return [8 * architecture.get("residuals", 5)]


def overlap(architecture: dict) -> int:
    """Pixels at a tile's edge, a multiple of 4, that its padding may have spoilt: 16 with five residual blocks or any.

    The receptive field of 4 x 4 pixels, followed from the output back to the input, beyond :func:`surroundings`.
    """
    low, high = -4, MULTIPLE - 1 + 4
    for _ in range(2):
        low, high = (low - 1) // 2, (high + 1) // 2
    reach = 2 * architecture.get("residuals", 5)
    low, high = low - reach, high + reach
    for _ in range(2):
        low, high = 2 * low - 1, 2 * high + 1
    beyond = max(4 - low, high + 4 - (MULTIPLE - 1)) - surroundings(architecture)[0]
    return -(-beyond // MULTIPLE) * MULTIPLE


def extends(architecture: dict) -> str:
    """How a picture goes on beyond its edge, as far as the net is concerned: ``reflect`` or ``circular``."""
    return "reflect"


def tile_inputs(
    architecture: dict,
    content: np.ndarray,
    seed: int,
    full: tuple[int, int],
    window: tuple[tuple[int, int], tuple[int, int]],
    noise_scale: float,
) -> list[np.ndarray]:
    """What a tile's graph takes: the content of the ``window`` of a picture of ``full`` pixels, and around it."""
    return [content]
