"""The descriptor network in PyTorch: VGG-16 or VGG-19 with fixed weights (Simonyan & Zisserman 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.engines.pytorch.library import torch
from nst_gluon.descriptor.weights import VggWeights
from nst_gluon.descriptor.weights.model import conv_names
from nst_gluon.system.errors import UserError

F = torch.nn.functional
POOLINGS = {"max": F.max_pool2d, "avg": F.avg_pool2d}


class Descriptor(torch.nn.Module):
    """Pictures (N, 3, H, W) in [0, 1] -> named activations (N, C, H', W'), float32.

    Args:
        layers: names such as ``relu1_1`` or ``conv4_4`` (before ReLU).
        pooling: ``max`` or ``avg``.
        dtype: ``float32`` or ``bfloat16``; the first convolution, with its three input channels, is always in float32,
            as are the activations that are handed out: Grams need the range and the digits.

    Raises:
        UserError: the network has no such layer.
    """

    def __init__(self, weights: VggWeights, layers: Sequence[str], pooling: str = "max", dtype: str = "float32"):
        super().__init__()
        every = conv_names(weights.arch)
        wanted = {name.replace("relu", "conv") for name in layers}
        if not wanted <= set(every):
            raise UserError(f"layer: {weights.arch} has no {sorted(wanted - set(every))[0]!r}")
        self.steps = every[: 1 + max(every.index(name) for name in wanted)]
        self._pool, self.layers = POOLINGS[pooling], frozenset(layers)
        self._half = dtype == "bfloat16"
        self.register_buffer("mean", torch.tensor(weights.mean, dtype=torch.float32).reshape(1, 3, 1, 1))
        for name in self.steps:
            kernel, bias = (np.array(weights.params[f"{name}.{part}"]) for part in ("weight", "bias"))
            if name == "conv1_1":  # the division is folded into it; the mean cannot be, because of the zero padding
                kernel /= np.reshape(weights.std, (1, 3, 1, 1)).astype("float32")
            kind = torch.bfloat16 if self._half and name != "conv1_1" else torch.float32
            self.register_buffer(f"{name}_weight", torch.from_numpy(kernel).to(kind))
            self.register_buffer(f"{name}_bias", torch.from_numpy(bias).to(kind))

    def part(self, x, span: tuple[int, int]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """From step ``span[0]`` up to ``span[1]``: the named activations in between, and what the next part takes."""
        named = {}
        for position in range(*span):
            name = self.steps[position]
            if position == 0:
                x = x - self.mean
            elif self.steps[position - 1][4] != name[4]:
                x = self._pool(x, 2)
            weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
            x = F.conv2d(x.to(weight.dtype), weight, bias, padding=1)
            if name in self.layers:
                named[name] = x.float()
            x = F.relu(x)
            if name.replace("conv", "relu") in self.layers:
                named[name.replace("conv", "relu")] = x.float()
        return named, x

    def forward(self, x) -> dict[str, torch.Tensor]:
        """Every named activation, by name."""
        return self.part(x, (0, len(self.steps)))[0]
