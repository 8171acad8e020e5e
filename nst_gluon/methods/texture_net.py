"""The texture network: textures from noise, and stylisation (Ulyanov, Lebedev, Vedaldi, Lempitsky 2016).

K noise tensors of sizes M, M/2, ... M/2^(K-1) go through a block each; from the smallest up, the result so far is
upsampled, both branches are normalised, concatenated and passed through a wider block. 71,659 parameters for
textures with K = 5; 118,211 for stylisation with K = 6, where each noise tensor carries the content picture too.
"""

from __future__ import annotations

import numpy as np

from nst_gluon.nets import inputs as net_inputs
from nst_gluon.nets.inference import Builder, crop_channels
from nst_gluon.nets.layers import HybridBlock, PaddedConv, PictureNet, make_norm, nn, upsample
from nst_gluon.system.engine import mx

NOISE_CHANNELS, WIDTH = net_inputs.NOISE_CHANNELS, net_inputs.WIDTH
LEAK = 0.01
# Rows of the finest scale that a graph for inference works on at a time: 3 MB an activation at 256x256.
STRIP_ROWS = 64

working_size, inputs = net_inputs.texture_net_size, net_inputs.texture_net_inputs
sample_noise, sample_noise_window = net_inputs.sample_noise, net_inputs.sample_noise_window


class _Block(HybridBlock):
    """conv3x3, conv3x3, conv1x1, each with normalisation and leaky ReLU (the paper's figure 2)."""

    def __init__(self, in_channels: int, channels: int, norm: str, padding: str):
        super().__init__()
        self._steps = []
        with self.name_scope():
            for number, (source, kernel) in enumerate(((in_channels, 3), (channels, 3), (channels, 1)), 1):
                conv, unit = PaddedConv(source, channels, kernel, padding), make_norm(norm, channels)
                setattr(self, f"conv{number}", conv)
                setattr(self, f"norm{number}", unit)
                self._steps.append((conv, unit))

    def hybrid_forward(self, F, x):
        for conv, unit in self._steps:
            x = F.LeakyReLU(unit(conv(x)), slope=LEAK)
        return x


class _Join(HybridBlock):
    """Upsamples the deeper branch, normalises both (to balance their gradients), concatenates, and a block."""

    def __init__(self, deep: int, channels: int, norm: str, padding: str):
        super().__init__()
        self._deep = deep
        with self.name_scope():
            self.deep_norm, self.shallow_norm = make_norm(norm, deep), make_norm(norm, WIDTH)
            self.block = _Block(deep + WIDTH, channels, norm, padding)

    def hybrid_forward(self, F, deep, shallow):
        deep = self.deep_norm(upsample(F, deep, self._deep))
        return self.block(F.concat(deep, self.shallow_norm(shallow), dim=1))


class TextureNet(PictureNet):
    """Noise (and content) -> pictures (N, 3, M, M') in about [0, 1], with no output nonlinearity.

    Args:
        scales: K; M and M' must be multiples of 2^(K-1).
        content: whether a content picture (N, 3, M, M') comes before the K noise tensors, largest first.
        norm: ``batch`` (the paper) or ``instance`` (the later version, which made stylisation good).
        padding: ``circular`` (the paper; textures that tile) or ``reflect`` (photographs do not).
        noise: the noise that the net is trained with is uniform over a range of this; see :func:`sample_noise`.
        finest: channels of the finest join; None: 8 more than the coarser one's, as in the paper. It has most of the
            work, and processors take channels by sixteens: with K = 5, 32 take two thirds of the time of 40.
    """

    def __init__(
        self,
        scales: int = 5,
        content: bool = False,
        norm: str = "batch",
        padding: str = "circular",
        noise: float = 1.0,
        finest: int | None = None,
    ):
        super().__init__(norm)
        widths = net_inputs.texture_net_widths(scales, finest)
        self.scales, self._content = scales, content
        with self.name_scope():
            self.blocks = nn.HybridSequential(prefix="blocks_")
            self.joins = nn.HybridSequential(prefix="joins_")
            channels = NOISE_CHANNELS + (3 if content else 0)
            with self.blocks.name_scope():
                for _ in range(scales):
                    self.blocks.add(_Block(channels, WIDTH, norm, padding))
            with self.joins.name_scope():
                for k in range(1, scales):
                    self.joins.add(_Join(WIDTH * k, widths[k - 1], norm, padding))
            self.output = nn.Conv2D(3, 1, in_channels=widths[-1])

    def hybrid_forward(self, F, *inputs):
        content, noise = (inputs[0], inputs[1:]) if self._content else (None, inputs)
        branches = []
        for k, (block, z) in enumerate(zip(self.blocks, noise)):
            if content is not None:
                factor = (2**k, 2**k)
                small = F.Pooling(content, kernel=factor, stride=factor, pool_type="avg") if k else content
                z = F.concat(z, small, dim=1)
            branches.append(block(z))
        x = branches[-1]
        for join, shallow in zip(self.joins, reversed(branches[:-1])):
            x = join(x, shallow)
        return self.output(x) + 0.5


def initializer():
    """Xavier, as in the paper's section 4."""
    return mx.init.Xavier()


def architecture(task: str) -> dict:
    """The keyword arguments of :class:`TextureNet` that a new net for ``task`` gets."""
    if task == "texture":
        return {"scales": 5, "content": False, "norm": "batch", "padding": "circular"}
    # Noise as strong as the content drowns it: nets trained so ignored the photo altogether.
    return {"scales": 6, "content": True, "norm": "instance", "padding": "reflect", "noise": 0.1}


def narrowed(
    params: dict[str, np.ndarray], architecture: dict, finest: int
) -> tuple[dict[str, np.ndarray], dict]:
    """A net and its architecture with ``finest`` channels in the finest join: those that count most for what is next.

    Raises ValueError if it has fewer.
    """
    block, found = f"joins.{architecture['scales'] - 2}.block", dict(params)
    for number, following in ((3, "output"), (2, f"{block}.conv3.conv"), (1, f"{block}.conv2.conv")):
        norm, conv, following = f"{block}.norm{number}", f"{block}.conv{number}.conv", f"{following}.weight"
        effect = np.abs(found[f"{norm}.gamma"]) * np.sqrt(np.square(found[following]).sum(axis=(0, 2, 3)))
        if len(effect) < finest:
            raise ValueError(f"it has {len(effect)} channels")
        kept = np.sort(np.argsort(-effect, kind="stable")[:finest])
        found[following] = found[following][:, kept]
        for name in found:
            if name.startswith((f"{norm}.", f"{conv}.")):
                found[name] = found[name][kept]
    return found, {**architecture, "finest": finest}


def tile_inputs(
    architecture: dict,
    content: np.ndarray | None,
    seed: int,
    full: tuple[int, int],
    window: tuple[tuple[int, int], tuple[int, int]],
    noise_scale: float,
) -> list[np.ndarray]:
    """What a tile's graph takes: its part of what :func:`inputs` gives for the whole, with its :func:`surroundings`.

    ``window``: the tile's rows and columns, (begin, end) each, of a picture of ``full`` pixels; ``content`` is its own.
    """
    amplitude = noise_scale * architecture.get("noise", 1.0)
    noise = []
    for k, around in enumerate(surroundings(architecture)):
        rows, columns = (
            np.arange((begin >> k) - around, (end >> k) + around) % (length >> k)
            for (begin, end), length in zip(window, full)
        )
        noise.append(sample_noise_window(seed, full, k, rows, columns, amplitude))
    return [content, *noise] if architecture.get("content") else noise


def build(architecture: dict) -> TextureNet:
    """A net from the ``architecture`` of a net file: keyword arguments of :class:`TextureNet`."""
    return TextureNet(**architecture)


def margins(scales: int) -> list[int]:
    """Pixels that each scale's result, finest first, must have around what is wanted, where nothing is padded.

    A join's two 3x3 convolutions take 2 pixels a side, and a coarser pixel is two finer ones.
    """
    found = [0]
    for _ in range(scales - 1):
        found.append(-(-(found[-1] + 2) // 2))
    return found


def reach(scales: int) -> list[int]:
    """Pixels around each scale's noise that its part of the picture depends on: :func:`margins` and its blocks."""
    return [margin + (4 if k < scales - 1 else 2) for k, margin in enumerate(margins(scales))]


def extends(architecture: dict) -> str:
    """How a picture goes on beyond its edge, as far as the net is concerned: ``circular``, ``reflect`` or ``zero``."""
    return architecture.get("padding", "circular")


def surroundings(architecture: dict) -> list[int]:
    """Pixels of each noise tensor that a tile's graph takes on each side (content: those of the first).

    All that it depends on where the picture wraps around; elsewhere none, since each convolution has its padding.
    """
    reaches = reach(architecture["scales"])
    return reaches if extends(architecture) == "circular" else [0] * len(reaches)


def overlap(architecture: dict) -> int:
    """Pixels at a tile's edge, a multiple of 2^(K-1), that its padding may have spoilt: the largest :func:`reach`."""
    scales = architecture["scales"]
    if extends(architecture) == "circular":
        return 0
    return max(-(-(pixels << k) >> (scales - 1)) << (scales - 1) for k, pixels in enumerate(reach(scales)))


def normalised_at(architecture: dict, norm: str) -> int:
    """How many pixels of the picture a pixel of the activations is wide that ``norm`` normalises."""
    kind, number, rest = norm.split(".", 2)
    if kind == "blocks":
        return 2 ** int(number)
    return 2 ** (architecture["scales"] - 2 - int(number) + (rest == "deep_norm"))


class _Drawing:
    """The graph of :class:`TextureNet` for inference.

    Where normalisations are folded and padding is circular, the noise is wrapped around once, generously, and no
    convolution is padded. Otherwise every 3x3 convolution is, as in training.
    """

    def __init__(self, builder: Builder, architecture: dict):
        self.builder, self.scales = builder, architecture["scales"]
        self.padding = architecture.get("padding", "circular")
        self.unpadded = builder.folds and self.padding == "circular"
        # A shift before zero padding is not the same as one after it.
        self.folds_joins = builder.folds and self.padding != "zero"
        self.zeros = 1 if self.padding == "zero" else 0

    def padded(self, x):
        return x if self.unpadded or self.zeros else pad_smoothly(x, self.padding)

    def block(self, x, name: str, first: int = 1):
        """The convolutions of a block from number ``first`` on."""
        for number in range(first, 4):
            three = number < 3
            x = self.padded(x) if three else x
            pad = self.zeros if three else 0
            x = self.builder.unit(x, f"{name}.conv{number}.conv", f"{name}.norm{number}", LEAK, pad=pad)
        return x

    def join(self, number: int, deep, shallow, surplus: int, above: int | None = None):
        """``surplus``: pixels a side that the deep branch, upsampled, has more than the shallow one; in rows, where
        that differs (see :func:`rows_below`), ``above``.
        """
        builder, name = self.builder, f"joins.{number}"
        width = WIDTH * (number + 1)
        weight, bias = builder.kernel(f"{name}.block.conv1.conv", f"{name}.block.norm1")
        if self.folds_joins:
            deep, shallow = builder.note(deep, f"{name}.deep_norm"), builder.note(shallow, f"{name}.shallow_norm")
            affines = [builder.affine(f"{name}.{norm}") for norm in ("deep_norm", "shallow_norm")]
            scale, shift = (np.concatenate(parts)[:, None, None] for parts in zip(*affines))
            weight, bias = weight * scale, bias + (weight * shift).sum(axis=(1, 2, 3))
        else:
            deep = builder.normalise(deep, f"{name}.deep_norm")
            shallow = builder.normalise(shallow, f"{name}.shallow_norm")
        if self.unpadded:
            crop = 2 + surplus
        else:
            # Reflection of an upsampled picture by one pixel repeats the edge of the coarse one.
            deep = deep if self.zeros else pad_smoothly(deep, "edge" if self.padding == "reflect" else self.padding)
            crop = 1 if self.zeros else 3
        pad = crop if above is None else (above, crop)
        deep = builder.upsampled_convolution(deep, weight[:, :width], None, pad)
        x = builder.convolution(self.padded(shallow), weight[:, width:], bias, pad=self.zeros) + deep
        norm = f"{name}.block.norm1"
        x = builder.activate(builder.note(x, norm), LEAK) if builder.folds else builder.normalise(x, norm, LEAK)
        return self.block(x, f"{name}.block", first=2)


    def output(self, x):
        """The picture (N, 3, H, W), in float32."""
        weight, bias = self.builder.kernel("output", None)
        return crop_channels(self.builder.single(self.builder.convolution(x, weight, bias + np.float32(0.5))), 3)

    def finest_in_strips(self, deep, noise, surplus: int, height: int):
        """The finest scale's block and join, and the picture of ``height`` rows, STRIP_ROWS at a time.

        Only the finest scale's activations are large: in strips they stay in the processor's cache and take a part of
        the memory. ``noise`` is the finest, with all its surroundings.
        """
        around, strips = reach(self.scales)[0], []
        for first in range(0, height, STRIP_ROWS):
            last = min(first + STRIP_ROWS, height)
            begin, end, above = rows_below(first, last, 2 + surplus)
            shallow = self.block(_rows(noise, first, last + 2 * around), "blocks.0")
            strips.append(self.output(self.join(self.scales - 2, _rows(deep, begin, end), shallow, surplus, above)))
        return mx.sym.concat(*strips, dim=2)


def rows_below(first: int, last: int, pad: int) -> tuple[int, int, int]:
    """What a strip of a join's result needs of the coarser scale: its rows (begin, end), and the ``pad`` in rows.

    ``first`` and ``last`` bound the strip, both even; ``pad``, at least 2, is that of the whole
    (:func:`nst_gluon.nets.inference.upsampling_kernel`). Row i there is smeared over rows 2i to 2i + 3.
    """
    begin, end = (first + pad) // 2 - 1, (last + 1 + pad) // 2 + 1
    return begin, end, first + pad - 2 * begin


def _rows(x, begin: int, end: int):
    """Rows ``begin`` to ``end`` of (N, C, H, W)."""
    return mx.sym.slice(x, begin=(None, None, begin), end=(None, None, end))


def pad_smoothly(x, mode: str):
    """(N, C, H, W) with one pixel more on each side: ``circular``, ``reflect`` or ``edge`` (the edge repeated).

    With ``slice``, which takes oneDNN's memory layouts as they are.
    """
    first, last = {"circular": (-1, 0), "reflect": (1, -2), "edge": (0, -1)}[mode]
    for axis in (2, 3):
        parts = [_one(x, axis, first), x, _one(x, axis, last)]
        x = mx.sym.concat(*parts, dim=axis)
    return x


def _one(x, axis: int, index: int):
    """The pixels (N, C, 1, W) or (N, C, H, 1) at ``index`` of ``axis``."""
    none = (None,) * axis
    return mx.sym.slice(x, begin=(*none, index), end=(*none, index + 1 if index != -1 else None))


def wrap(x, amount: int, shape: tuple[int, ...]):
    """(N, C, H, W) of the given shape, repeated without end, with ``amount`` pixels more on each side."""
    for axis in (2, 3):
        copies = -(-amount // shape[axis])
        begin = copies * shape[axis] - amount
        x = mx.sym.concat(*[x] * (2 * copies + 1), dim=axis)
        x = mx.sym.slice_axis(x, axis=axis, begin=begin, end=begin + shape[axis] + 2 * amount)
    return x


def inference_graph(builder: Builder, architecture: dict, shapes: list[tuple[int, ...]], padded: bool = False):
    """The net as a graph for inference: inputs ``data0``, ``data1`` ... as :class:`TextureNet` takes them.

    ``padded``: the inputs have their :func:`surroundings` already.
    """
    drawing = _Drawing(builder, architecture)
    scales, need = drawing.scales, margins(drawing.scales)
    inputs = [mx.sym.var(f"data{i}") for i in range(len(shapes))]
    content, noise = (inputs[0], inputs[1:]) if architecture.get("content") else (None, inputs)
    in_strips = drawing.unpadded and builder.knows_all and scales > 1
    branches = []
    for k, z in enumerate(noise):
        if content is not None:
            z = mx.sym.concat(z, content, dim=1)
            content = mx.sym.Pooling(content, kernel=(2, 2), stride=(2, 2), pool_type="avg")
        if drawing.unpadded and not padded:
            z = wrap(z, reach(scales)[k], shapes[k - len(noise)])
        branches.append(z if in_strips and k == 0 else drawing.block(z, f"blocks.{k}"))
    x = branches[-1]
    for number in range(scales - 1):
        k = scales - 2 - number
        surplus = 2 * need[k + 1] - need[k] - 2
        if in_strips and k == 0:
            height = shapes[-len(noise)][2] - 2 * reach(scales)[0] * padded
            return drawing.finest_in_strips(x, branches[0], surplus, height)
        x = drawing.join(number, x, branches[k], surplus)
    return drawing.output(x)
