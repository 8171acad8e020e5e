"""The fast style transfer net of PyTorch's examples (github.com/pytorch/examples, ``fast_neural_style``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nst_gluon.methods.base import Generator
from nst_gluon.methods.description import Builder, Net

# Its pictures are numbers from 0 to this.
RANGE = 255.0
UNUSED = re.compile(r"in\d+\.(running_mean|running_var|num_batches_tracked)$")  # of instance norms, in old files


class TransformerNet(Generator):
    """Johnson's net with reflection padding before every convolution and a linear output: 9x9, two 3x3 of stride 2,
    five residual blocks, two of nearest upsampling and a 3x3, 9x9; instance normalisation. 1,679,235 parameters.
    """

    name = "transformer_net"
    tasks = ("stylize",)
    title = "TransformerNet (PyTorch's examples)"
    description = "the residual net of PyTorch's examples, trained for one style, one forward pass a picture"
    paper = "Johnson, Alahi, Fei-Fei, 2016, as in pytorch/examples, fast_neural_style"
    color = "#8e6bbf"
    initializer = "uniform"  # PyTorch's default

    def architecture(self, task: str) -> dict[str, Any]:
        return {"first": 32, "second": 64, "third": 128, "residuals": 5}

    def net(self, first: int = 32, second: int = 64, third: int = 128, residuals: int = 5) -> Net:
        """The net as data; its layers have the names that they have in PyTorch.

        Args:
            first, second, third: channels at the full size, at a half and at a quarter of it.
            residuals: blocks of two 3x3 convolutions at a quarter of the size.
        """
        net = Builder()

        def conv(x: str, name: str, channels: int, kernel: int, stride: int = 1) -> str:
            return net.convolution(f"{name}.conv2d", x, channels, kernel, stride, kernel // 2, "reflect")

        def unit(x: str, name: str, norm: str, *shape: int) -> str:
            return net.activation(net.norm(norm, conv(x, name, *shape), "instance"), "relu")

        x = net.affine(net.content(), RANGE)
        x = unit(x, "conv1", "in1", first, 9)
        x = unit(x, "conv2", "in2", second, 3, 2)
        x = unit(x, "conv3", "in3", third, 3, 2)
        for number in range(1, residuals + 1):
            block = f"res{number}"
            y = unit(x, f"{block}.conv1", f"{block}.in1", third, 3)
            x = net.add(net.norm(f"{block}.in2", conv(y, f"{block}.conv2", third, 3), "instance"), x)
        x = unit(net.upsample(x), "deconv1", "in4", second, 3)
        x = unit(net.upsample(x), "deconv2", "in5", first, 3)
        net.affine(conv(x, "deconv3", 3, 9), 1 / RANGE)
        return net.build()

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Any], dict[str, str]] | None:
        known = {name for name in shapes if not UNUSED.search(name)}
        widths = [shapes.get(f"conv{number}.conv2d.weight") for number in (1, 2, 3)]
        if not all(widths):
            return None
        residuals = sum(bool(re.fullmatch(r"res\d+\.conv1\.conv2d\.weight", name)) for name in known)
        first, second, third = (shape[0] for shape in widths)
        architecture = {"first": first, "second": second, "third": third, "residuals": residuals}
        parts = {"gamma": "weight", "beta": "bias"}
        keys = {}
        for name in self.net(**architecture).parameters():
            layer, _, part = name.rpartition(".")
            keys[name] = f"{layer}.{parts.get(part, part)}"
        return (architecture, keys) if set(keys.values()) == known else None
