"""The papers' objectives and hyper-parameters as data, each with its source.

A preset says *what is minimised* (layers, weights, normalisations, total variation) and *how the source minimises it*
(start, optimiser, steps). :mod:`nst_gluon.objective.loss` is the only code that reads the first half, so that the same
loss is one number with one definition.

The default is ``texture_net_relative``. In the original VGG-19 relu4_1 outweighs relu1_1 ten thousand times, so that
plain differences of Grams, as in ``texture_net``, hardly see fine texture. Gatys et al. 2015 (section 2) rescale the
network until every activation has mean 1; dividing each difference by its target does the same for any weights.

Layer names: ``relu3_1`` is the first activation of the third block, ``conv3_1`` its input (before ReLU).
"""

from __future__ import annotations

from dataclasses import dataclass

from nst_gluon.descriptor.scaling import IMAGENET_STD
from nst_gluon.system.errors import UserError, did_you_mean

LayerWeights = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Preset:
    """One objective.

    Attributes:
        content_layers, style_layers: ``(name, weight)`` pairs; the weights are absolute.
        gram: divisor of the Gram: ``chw`` (C*H*W), ``hw`` (H*W) or ``none``.
        style_reduction: ``mean`` or ``sum`` over the squared difference of two Grams; ``relative``: its mean over the
            mean square of the target's Gram; ``picture`` is Keras's sum / (4 * 3**2 * (H*W)**2), H and W the picture's.
        content_reduction: ``mean``, ``sum`` or ``relative`` over the squared difference of two activations.
        tv: ``none``; ``l1``: (mean|dx| + mean|dy|) / 2; ``squared``: sum dx^2 + sum dy^2;
            ``keras``: sum (dx^2 + dy^2)^1.25.
        tv_scale: what the total variation sees: the picture in [0, 1] times ``unit`` = 1, ``byte`` = 255 or
            ``imagenet`` = 1/std per channel.
        arch: the descriptor that the source uses. Layer names are those of VGG-16 and VGG-19 alike, so another
            descriptor can be asked for; results name the weights that were used.
        start, optimizer, iterations, learning_rate, decay_every: the source's way of minimising it over pixels (Adam's
            rate is of those in [0, 1], and a tenth after every ``decay_every`` steps); how nets are trained on it is
            :func:`nst_gluon.training.config.defaults`.
    """

    name: str
    source: str
    arch: str
    content_layers: LayerWeights
    style_layers: LayerWeights
    gram: str
    style_reduction: str
    content_reduction: str
    tv: str = "none"
    tv_weight: float = 0.0
    tv_scale: str = "unit"
    pooling: str = "max"
    start: str = "noise"
    optimizer: str = "lbfgs"
    iterations: int = 500
    learning_rate: float | None = None
    decay_every: int | None = None


def _equal(weight: float, *names: str) -> LayerWeights:
    return tuple((name, weight) for name in names)


# The balance of content and style is a free knob of the texture networks' paper: about that of texture_net_relative in
# a picture of a net.
CONTENT_WEIGHT = 5e4
_GATYS_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="gatys",
            source="Gatys, Ecker, Bethge 2016, eq. 1-7 and section 3; alpha/beta = 1e-3",
            arch="vgg19",
            content_layers=_equal(0.5, "relu4_2"),
            # 1/(4 C^2 M^2) * sum (G - A)^2 = 1/4 * mean (G/M - A/M)^2, layer weight 1/5, beta = 1e3.
            style_layers=_equal(1e3 * 0.25 / 5, *_GATYS_LAYERS),
            gram="hw",
            style_reduction="mean",
            content_reduction="sum",
            pooling="avg",
            iterations=500,
        ),
        Preset(
            name="johnson",
            source="Johnson, Alahi, Fei-Fei 2016, section 3.2 and the released code (content:style 1:5, TV 1e-6)",
            arch="vgg16",
            content_layers=_equal(1.0, "relu3_3"),  # as in the released code; the paper has relu2_2
            style_layers=_equal(5.0, "relu1_2", "relu2_2", "relu3_3", "relu4_3"),
            gram="chw",
            style_reduction="mean",
            content_reduction="mean",
            tv="squared",
            tv_weight=1e-6,
            tv_scale="byte",
            iterations=500,
        ),
        Preset(
            name="texture_net",
            source="Ulyanov, Lebedev, Vedaldi, Lempitsky 2016, section 3.1: squared differences of Grams, summed",
            arch="vgg19",
            content_layers=_equal(CONTENT_WEIGHT, "relu4_2"),
            style_layers=_equal(1.0, *_GATYS_LAYERS),
            gram="chw",  # so that it does for every size
            style_reduction="sum",
            content_reduction="mean",
            iterations=2000,
        ),
        Preset(
            name="texture_net_relative",
            source="as texture_net, but each difference is relative to its target",
            arch="vgg19",
            content_layers=_equal(200.0, "relu4_2"),
            style_layers=_equal(1e3 / 5, *_GATYS_LAYERS),
            gram="chw",
            style_reduction="relative",
            content_reduction="relative",
            iterations=2000,
        ),
        # Its weights suit descriptors of ImageNet-normalised pictures (--weights gluon:vgg19).
        Preset(
            name="d2l",
            source="Dive into Deep Learning, neural style: VGG-19 features 0, 5, 10, 19, 28 and 25 (before ReLU)",
            arch="vgg19",
            content_layers=_equal(1.0, "conv4_4"),
            style_layers=_equal(1e3, "conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
            gram="chw",
            style_reduction="mean",
            content_reduction="mean",
            tv="l1",
            tv_weight=10.0,
            tv_scale="imagenet",
            start="content",
            optimizer="adam",
            iterations=500,
            # 0.01 in the source's variables, which are pixels divided by ImageNet's deviations.
            learning_rate=0.01 * sum(IMAGENET_STD) / 3,
            decay_every=200,
        ),
        # The article subtracts the means before it flips the channels, so that red loses the blue mean; here each loses
        # its own.
        Preset(
            name="keras",
            source="the Keras neural style transfer article: VGG-16, plain sums, TV (dx^2 + dy^2)^1.25",
            arch="vgg16",
            content_layers=_equal(0.025, "relu2_2"),
            style_layers=_equal(5.0 / 5, "relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
            gram="none",
            style_reduction="picture",
            content_reduction="sum",
            tv="keras",
            tv_weight=1.0,
            tv_scale="byte",
            iterations=200,
        ),
    )
}
DEFAULT = "texture_net_relative"
# Side of the style picture in benchmarks, whatever the size of the pictures: a Gram of another size is another target.
STYLE_SIZE = 256


def recorded(name: str, version: int) -> str:
    """The preset that a file of an earlier ``version`` means: until 1, ``texture_net`` was texture_net_relative."""
    return "texture_net_relative" if name == "texture_net" and version <= 1 else name


def get(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UserError: there is none.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise UserError(f"--preset: unknown preset {name!r}; {did_you_mean(name, PRESETS)}") from None
