"""The texture network: textures from noise, and stylisation (Ulyanov, Lebedev, Vedaldi, Lempitsky 2016).

K noise tensors of sizes M, M/2, ... M/2^(K-1) go through a block each; from the smallest up, the result so far is
upsampled, both branches are normalised, concatenated and passed through a wider block. 71,659 parameters for
textures with K = 5; 118,211 for stylisation with K = 6, where each noise tensor carries the content picture too.
"""

from __future__ import annotations

import numpy as np

from nst_gluon.engine import mx
from nst_gluon.layers import HybridBlock, PaddedConv, PictureNet, make_norm, nn, upsample

NOISE_CHANNELS = 3
WIDTH = 8
LEAK = 0.01


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

    def __init__(self, deep: int, norm: str, padding: str):
        super().__init__()
        self._deep = deep
        with self.name_scope():
            self.deep_norm, self.shallow_norm = make_norm(norm, deep), make_norm(norm, WIDTH)
            self.block = _Block(deep + WIDTH, deep + WIDTH, norm, padding)

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
        noise: the noise that the net is trained with is uniform in [0, noise); see :func:`inputs`.
    """

    def __init__(
        self, scales: int = 5, content: bool = False, norm: str = "batch", padding: str = "circular", noise: float = 1.0
    ):
        super().__init__(norm)
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
                    self.joins.add(_Join(WIDTH * k, norm, padding))
            self.output = nn.Conv2D(3, 1, in_channels=WIDTH * scales)

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


def sample_noise(
    rng: np.random.Generator, batch: int, height: int, width: int, scales: int, scale: float = 1.0
) -> list[np.ndarray]:
    """K arrays (batch, 3, height / 2^k, width / 2^k), float32, uniform in [0, scale): largest first."""
    return [
        rng.random((batch, NOISE_CHANNELS, height >> k, width >> k), dtype=np.float32) * np.float32(scale)
        for k in range(scales)
    ]


def initializer():
    """Xavier, as in the paper's section 4."""
    return mx.init.Xavier()


def architecture(task: str) -> dict:
    """The keyword arguments of :class:`TextureNet` that a new net for ``task`` gets."""
    if task == "texture":
        return {"scales": 5, "content": False, "norm": "batch", "padding": "circular"}
    # Noise as strong as the content drowns it: nets trained so ignored the photo altogether.
    return {"scales": 6, "content": True, "norm": "instance", "padding": "reflect", "noise": 0.1}


def working_size(architecture: dict, height: int, width: int) -> tuple[int, int]:
    """The size, at least ``height`` x ``width``, at which the net can work.

    Multiples of 2^(K-1); reflection needs two pixels at the smallest scale.
    """
    multiple = 2 ** (architecture["scales"] - 1)
    least = 2 if architecture.get("padding") == "reflect" else 1
    return tuple(max(-(-side // multiple), least) * multiple for side in (height, width))


def inputs(
    architecture: dict,
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


def build(architecture: dict) -> TextureNet:
    """A net from the ``architecture`` of a net file: keyword arguments of :class:`TextureNet`."""
    return TextureNet(**architecture)
