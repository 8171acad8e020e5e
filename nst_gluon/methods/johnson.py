"""The Johnson net: feed-forward stylisation (Johnson, Alahi, Fei-Fei 2016, and its supplementary material)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nst_gluon.methods.base import Generator
from nst_gluon.methods.description import Builder, Net, Norm, known

# The released code scales tanh by 150 of 255, around the mean colour.
TANH_SCALE = 150 / 255
OUTPUTS = ("tanh", "linear")


class Johnson(Generator):
    """Reflection padding 40 once; c9s1-32, d64, d128; five residual blocks of unpadded 3x3 convolutions whose identity
    is cropped by 2 pixels a side, so that the padding is used up; u64, u32 (nearest upsampling, then convolution);
    c9s1-3; a scaled tanh. 1,679,235 parameters.
    """

    name = "johnson"
    tasks = ("stylize",)
    title = "Johnson net"
    description = "a residual net trained for one style, one forward pass a picture"
    paper = "Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer, 2016"
    color = "#009e73"
    # In +-1/sqrt(fan in): the default of the released code's framework.
    initializer = "uniform"

    def architecture(self, task: str) -> dict[str, Any]:
        return {"norm": "instance"}

    def unsaturated(self, task: str) -> dict[str, Any]:
        """Where a tanh saturates the picture is white, and no gradient ever brings it back."""
        return {**self.architecture(task), "output": "linear"}

    def watched(self, net: Net) -> tuple[str, ...]:
        """The norms that residual blocks end with, and those after upsampling."""
        norms = [layer.name for layer in net.layers if isinstance(layer, Norm)]
        return tuple(name for name in norms if name.endswith(".norm2") or name in ("norm4", "norm5"))

    def net(self, norm: str = "instance", residuals: int = 5, width: float = 1.0, output: str = "tanh") -> Net:
        """The net as data.

        Args:
            norm: ``instance``, as in the released code, or ``batch``, as in the paper.
            residuals: blocks; each takes 8 pixels of padding a side.
            width: the channels of all layers are multiplied by it, and at least 8.
            output: ``tanh``: 0.5 +- 0.59; ``linear``: 0.5 + 0.5 z, which does not saturate.
        """
        known("output", output, OUTPUTS)
        small, medium, large = (max(8, round(channels * width)) for channels in (32, 64, 128))
        net = Builder()

        def unit(x: str, conv: str, number: int, channels: int, **shape: int) -> str:
            x = net.convolution(f"{conv}.conv", x, channels, **shape)
            return net.activation(net.norm(f"norm{number}", x, norm), "relu")

        # A residual block's two convolutions take 2 pixels a side, at a quarter of the resolution.
        x = net.pad(net.affine(net.content(), shift=-0.5), 8 * residuals, "reflect")
        x = unit(x, "conv1", 1, small, kernel=9, padding=4)
        x = unit(x, "down1", 2, medium, kernel=3, stride=2, padding=1)
        x = unit(x, "down2", 3, large, kernel=3, stride=2, padding=1)
        for k in range(residuals):
            name = f"residual.{k}"
            y = net.norm(f"{name}.norm1", net.convolution(f"{name}.conv1", x, large, kernel=3), norm)
            y = net.convolution(f"{name}.conv2", net.activation(y, "relu"), large, kernel=3)
            x = net.add(net.norm(f"{name}.norm2", y, norm), net.crop(x, 2))
        x = unit(net.upsample(x), "up1", 4, medium, kernel=3, padding=1)
        x = unit(net.upsample(x), "up2", 5, small, kernel=3, padding=1)
        x = net.convolution("conv2.conv", x, 3, kernel=9, padding=4)
        if output == "linear":
            net.affine(x, 0.5, 0.5)
        else:
            net.affine(net.activation(x, "tanh"), TANH_SCALE, 0.5)
        return net.build()

    def departures(self, architecture: Mapping[str, Any], preset: str) -> tuple[str, ...]:
        found = [] if preset == Johnson.name else [
            "the Johnson nets are trained and judged under this objective, where the paper's has VGG-16, other layers "
            "and total variation (preset johnson)"
        ]  # fmt: skip
        if architecture.get("norm") == "instance":
            found.append("the Johnson nets have instance norm, as in the released code, where the paper has batch norm")
        if architecture.get("output") == "linear":
            found.append(f"the {self.title} has a linear output, not a scaled tanh")
        return tuple(found)

    def choices(self) -> dict[str, str]:
        return {"width": "multiplies the channels of all layers (default: 1, of johnson_slim 0.5); fewer are faster"}


class JohnsonSlim(Johnson):
    """The same with half the channels: 424,899 parameters, about a third of the work."""

    name = "johnson_slim"
    title = "slim Johnson net"
    description = "the Johnson net with half the channels in every layer"
    paper = "after Johnson, Alahi, Fei-Fei, 2016"  # not the net of the paper, so none of its claims is judged on it
    color = "#6b8e23"
    rate = 0.01  # from another style's net, too, whose colours a rate of 0.001 would keep

    def architecture(self, task: str) -> dict[str, Any]:
        return {**super().architecture(task), "width": 0.5}
