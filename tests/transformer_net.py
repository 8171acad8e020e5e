"""The net of PyTorch's examples (fast_neural_style) in plain torch, written from its architecture, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn


class Convolution(nn.Module):
    def __init__(self, source, channels, kernel, stride=1, upsample=1):
        super().__init__()
        self.upsample, self.pad = upsample, nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(source, channels, kernel, stride)

    def forward(self, x):
        if self.upsample > 1:
            x = nn.functional.interpolate(x, mode="nearest", scale_factor=self.upsample)
        return self.conv2d(self.pad(x))


class Residual(nn.Module):
    def __init__(self, channels, **norm):
        super().__init__()
        self.conv1, self.in1 = Convolution(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True, **norm)
        self.conv2, self.in2 = Convolution(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True, **norm)

    def forward(self, x):
        return self.in2(self.conv2(torch.relu(self.in1(self.conv1(x))))) + x


class TransformerNet(nn.Module):
    """Pictures (N, 3, H, W) from 0 to 255 -> the same. ``old``: with the statistics that old files hold in vain."""

    def __init__(self, widths=(32, 64, 128), residuals=5, old=False):
        super().__init__()
        a, b, c = widths
        norm = {"track_running_stats": old}
        shapes = {"conv1": (3, a, 9), "conv2": (a, b, 3, 2), "conv3": (b, c, 3, 2)}
        after = {"deconv1": (c, b, 3, 1, 2), "deconv2": (b, a, 3, 1, 2)}
        self.units = [*zip(shapes, (f"in{k}" for k in (1, 2, 3))), *zip(after, ("in4", "in5"))]
        for (conv, norm_name), shape in zip(self.units, (*shapes.values(), *after.values())):
            setattr(self, conv, Convolution(*shape))
            setattr(self, norm_name, nn.InstanceNorm2d(shape[1], affine=True, **norm))
        self.blocks = [f"res{k}" for k in range(1, residuals + 1)]
        for name in self.blocks:
            setattr(self, name, Residual(c, **norm))
        self.deconv3 = Convolution(a, 3, 9)

    def forward(self, x):
        for number, (conv, norm) in enumerate(self.units):
            if number == 3:
                for name in self.blocks:
                    x = getattr(self, name)(x)
            x = torch.relu(getattr(self, norm)(getattr(self, conv)(x)))
        return self.deconv3(x)


def random(seed: int = 0, **shape) -> TransformerNet:
    """A net with random weights whose pictures use their range."""
    torch.manual_seed(seed)
    net = TransformerNet(**shape).train(False)
    for name, value in net.state_dict().items():
        if ".in" in f".{name}" and name.endswith(("weight", "bias")):
            value.copy_(torch.rand_like(value) + 0.5 * name.endswith("weight"))
    net.deconv3.conv2d.weight.data *= 60
    net.deconv3.conv2d.bias.data += 128
    return net.requires_grad_(False)


def picture(net: TransformerNet, content: np.ndarray) -> np.ndarray:
    """What the net makes of a content (N, 3, H, W) in [0, 1], in [0, 1]."""
    for part in net.modules():
        if isinstance(part, nn.InstanceNorm2d):
            part.track_running_stats = False  # as the examples' own code uses such files: without the statistics
            part.running_mean = part.running_var = None
    return (net(torch.from_numpy(content) * 255).clamp(0, 255) / 255).numpy()


def save(net: TransformerNet, path: Path, **how) -> Path:
    """Write the net's state dictionary."""
    torch.save(net.state_dict(), path, **how)
    return path
