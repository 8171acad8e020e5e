"""The coarse net: stylisation whose work is done at an eighth of the picture's side. This suite's own."""

from __future__ import annotations

from typing import Any

from nst_gluon.methods.base import Generator
from nst_gluon.methods.description import Builder, Net, Norm, whole

# Channels at half of the side; each further halving doubles them.
FIRST = 16


class CoarseNet(Generator):
    """Convolutions of stride 2, 5x5 and then 3x3, down to 2^-halvings of the side; residual blocks there; back by
    nearest upsampling and 3x3 convolutions, the last one 5x5. Instance norm and ReLU follow each but the last, whose
    output is linear, 0.5 + 0.5 z. 271,299 parameters.

    Nothing but the picture has the full side: a seventh of the operations of the slim Johnson net. The levels are not
    joined by short cuts, with which nets kept the photo and were slow to learn the style.
    """

    name = "coarse_net"
    tasks = ("stylize",)
    title = "coarse net"
    description = "a net that works at an eighth of the picture's side, one forward pass a picture"
    paper = "this suite's own, after Johnson, Alahi, Fei-Fei, 2016"
    color = "#5e60ce"
    initializer = "uniform"
    rate = 0.01  # from another style's net, too, whose colours a rate of 0.001 would keep

    def architecture(self, task: str) -> dict[str, Any]:
        return {"halvings": 3, "residuals": 3}

    def watched(self, net: Net) -> tuple[str, ...]:
        """The norms that residual blocks end with, and those after upsampling."""
        norms = [layer.name for layer in net.layers if isinstance(layer, Norm)]
        return tuple(name for name in norms if name.endswith(".norm2") or name.startswith("up"))

    def net(self, halvings: int, residuals: int) -> Net:
        """The net as data.

        Args:
            halvings: of the side, 1 to 6; the picture's sides are multiples of 2^halvings.
            residuals: blocks of two 3x3 convolutions at the coarsest level.
        """
        net = Builder()
        widths = [FIRST << level for level in range(whole("halvings", halvings, most=6))]

        def unit(x: str, name: str, channels: int, **shape: int) -> str:
            x = net.convolution(f"{name}.conv", x, channels, **shape)
            return net.activation(net.norm(f"{name}.norm", x, "instance"), "relu")

        x = net.affine(net.content(), shift=-0.5)
        for level, channels in enumerate(widths):
            kernel = 3 if level else 5
            x = unit(x, f"down{level}", channels, kernel=kernel, stride=2, padding=kernel // 2)
        for k in range(whole("residuals", residuals, least=0)):
            name = f"residual.{k}"
            y = net.convolution(f"{name}.conv1", x, widths[-1], kernel=3, padding=1)
            y = net.activation(net.norm(f"{name}.norm1", y, "instance"), "relu")
            y = net.convolution(f"{name}.conv2", y, widths[-1], kernel=3, padding=1)
            x = net.add(net.norm(f"{name}.norm2", y, "instance"), x)
        for level in reversed(range(halvings - 1)):
            x = unit(net.upsample(x), f"up{level}", widths[level], kernel=3, padding=1)
        x = net.convolution("output", net.upsample(x), 3, kernel=5, padding=2)
        net.affine(x, 0.5, 0.5)
        return net.build()
