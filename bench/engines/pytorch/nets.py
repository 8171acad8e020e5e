"""The trained nets in PyTorch, ready to make pictures: from the .npz files of :mod:`nst_gluon.nets.netfile`.

The modules' names are those of the parameters in the file. Batch normalisation in use is an affine map: it is folded
into the convolution before it, or, where that is on the other side of a join, into the one after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines.pytorch.library import torch
from nst_gluon.nets import inputs as net_inputs
from nst_gluon.nets import netfile
from nst_gluon.system.errors import UserError

nn, F = torch.nn, torch.nn.functional

# As in nst_gluon.methods.johnson and nst_gluon.methods.texture_net, which cannot be imported without MXNet.
TANH_SCALE, LEAK = 150 / 255, 0.01
WIDTH = net_inputs.WIDTH
NAMES = {"gamma": "weight", "beta": "bias"}


def make_norm(kind: str, channels: int) -> nn.Module:
    """``instance`` or ``batch`` normalisation with scale and shift."""
    known = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
    if kind not in known:
        raise UserError(f"net: unknown normalisation {kind!r}; instance and batch are known")
    return known[kind](channels, affine=True)


class Padded(nn.Module):
    """A convolution that keeps the picture's size under ``circular``, ``reflect`` or ``zero`` padding."""

    def __init__(self, source: int, channels: int, kernel: int, padding: str, stride: int = 1):
        super().__init__()
        mode = "zeros" if padding == "zero" else padding
        self.conv = nn.Conv2d(source, channels, kernel, stride, kernel // 2, padding_mode=mode)

    def forward(self, x):
        return self.conv(x)


class Residual(nn.Module):
    """Two unpadded convolutions beside an identity that is cropped by 2 pixels a side."""

    def __init__(self, channels: int, norm: str):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, channels, 3), make_norm(norm, channels)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3), make_norm(norm, channels)

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        return self.norm2(self.conv2(y)) + x[:, :, 2:-2, 2:-2]

    def fold(self) -> None:
        for number in (1, 2):
            fold(self, f"conv{number}", f"norm{number}")


class JohnsonNet(nn.Module):
    """Content pictures (N, 3, H, W) in [0, 1] -> stylised ones, not clipped (Johnson, Alahi, Fei-Fei 2016)."""

    def __init__(self, norm: str = "instance", residuals: int = 5, output: str = "tanh", width: float = 1.0):
        super().__init__()
        self._padding, self._output = 8 * residuals, output
        a, b, c = net_inputs.johnson_widths(width)
        self.conv1, self.norm1 = Padded(3, a, 9, "zero"), make_norm(norm, a)
        self.down1, self.norm2 = Padded(a, b, 3, "zero", 2), make_norm(norm, b)
        self.down2, self.norm3 = Padded(b, c, 3, "zero", 2), make_norm(norm, c)
        self.residual = nn.Sequential(*(Residual(c, norm) for _ in range(residuals)))
        self.up1, self.norm4 = Padded(c, b, 3, "zero"), make_norm(norm, b)
        self.up2, self.norm5 = Padded(b, a, 3, "zero"), make_norm(norm, a)
        self.conv2 = Padded(a, 3, 9, "zero")

    def forward(self, x):
        x = F.pad(x - 0.5, (self._padding,) * 4, mode="reflect")
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.down1(x)))
        x = F.relu(self.norm3(self.down2(x)))
        x = self.residual(x)
        x = F.relu(self.norm4(self.up1(F.interpolate(x, scale_factor=2))))
        x = F.relu(self.norm5(self.up2(F.interpolate(x, scale_factor=2))))
        x = self.conv2(x)
        return 0.5 + (0.5 * x if self._output == "linear" else TANH_SCALE * torch.tanh(x))

    def fold(self) -> None:
        """Fold every batch normalisation."""
        for unit, norm in zip(("conv1", "down1", "down2", "up1", "up2"), range(1, 6)):
            fold(self, unit, f"norm{norm}")
        for block in self.residual:
            block.fold()


class Block(nn.Module):
    """conv3x3, conv3x3, conv1x1, each with normalisation and leaky ReLU."""

    def __init__(self, source: int, channels: int, norm: str, padding: str):
        super().__init__()
        for number, (width, kernel) in enumerate(((source, 3), (channels, 3), (channels, 1)), 1):
            setattr(self, f"conv{number}", Padded(width, channels, kernel, padding))
            setattr(self, f"norm{number}", make_norm(norm, channels))

    def forward(self, x):
        x = F.leaky_relu(self.norm1(self.conv1(x)), LEAK)
        x = F.leaky_relu(self.norm2(self.conv2(x)), LEAK)
        return F.leaky_relu(self.norm3(self.conv3(x)), LEAK)

    def fold(self) -> None:
        for number in (1, 2, 3):
            fold(self, f"conv{number}", f"norm{number}")


class Join(nn.Module):
    """Upsamples the deeper branch, normalises both, concatenates, and a block."""

    def __init__(self, deep: int, channels: int, norm: str, padding: str):
        super().__init__()
        self.deep_norm, self.shallow_norm = make_norm(norm, deep), make_norm(norm, WIDTH)
        self.block = Block(deep + WIDTH, channels, norm, padding)

    def forward(self, deep, shallow):
        deep = self.deep_norm(F.interpolate(deep, scale_factor=2))
        return self.block(torch.cat([deep, self.shallow_norm(shallow)], dim=1))

    def fold(self) -> None:
        self.block.fold()
        conv = self.block.conv1.conv
        if conv.padding_mode != "zeros" and isinstance(self.deep_norm, nn.BatchNorm2d):
            affines = [affine(norm) for norm in (self.deep_norm, self.shallow_norm)]
            scale, shift = (torch.cat(parts) for parts in zip(*affines))
            conv.bias.data += torch.einsum("oikl,i->o", conv.weight.data, shift)
            conv.weight.data *= scale.reshape(1, -1, 1, 1)
            self.deep_norm = self.shallow_norm = nn.Identity()


class TextureNet(nn.Module):
    """Noise (and content before it) -> pictures (N, 3, H, W), not clipped (Ulyanov et al. 2016)."""

    def __init__(
        self,
        scales: int = 5,
        content: bool = False,
        norm: str = "batch",
        padding: str = "circular",
        noise: float = 1.0,
        finest: int | None = None,
    ):
        super().__init__()
        self._content = content
        widths = net_inputs.texture_net_widths(scales, finest)
        self.blocks = nn.ModuleList(Block(6 if content else 3, WIDTH, norm, padding) for _ in range(scales))
        self.joins = nn.ModuleList(Join(WIDTH * k, widths[k - 1], norm, padding) for k in range(1, scales))
        self.output = nn.Conv2d(widths[-1], 3, 1)

    def forward(self, *inputs):
        content, noise = (inputs[0], inputs[1:]) if self._content else (None, inputs)
        branches = []
        for k, (block, z) in enumerate(zip(self.blocks, noise)):
            if content is not None:
                z = torch.cat([z, F.avg_pool2d(content, 2**k) if k else content], dim=1)
            branches.append(block(z))
        x = branches[-1]
        for join, shallow in zip(self.joins, reversed(branches[:-1])):
            x = join(x, shallow)
        return self.output(x) + 0.5

    def fold(self) -> None:
        """Fold every batch normalisation that is not followed by padding with zeros."""
        for part in (*self.blocks, *self.joins):
            part.fold()


def affine(norm: nn.BatchNorm2d):
    """Scale and shift (C,) of a batch normalisation in use."""
    scale = norm.weight.data * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias.data - norm.running_mean * scale


def fold(module: nn.Module, unit: str, norm: str) -> None:
    """Fold a batch normalisation into the convolution before it; an instance normalisation stays."""
    if isinstance(getattr(module, norm), nn.BatchNorm2d):
        holder = getattr(module, unit)
        conv = holder.conv if isinstance(holder, Padded) else holder
        scale, shift = affine(getattr(module, norm))
        conv.weight.data *= scale.reshape(-1, 1, 1, 1)
        conv.bias.data = conv.bias.data * scale + shift
        setattr(module, norm, nn.Identity())


NETS = {"johnson": JohnsonNet, "texture_net": TextureNet}


def build(params: Mapping[str, np.ndarray], meta: Mapping[str, Any], where: str = "net") -> nn.Module:
    """A net in use, float32 on the CPU, from a net file's parameters and description.

    Raises:
        UserError: the method, the architecture or the parameters are not known here.
    """
    if meta.get("method") not in NETS or not isinstance(meta.get("architecture"), Mapping):
        raise UserError(f"{where}: no net of {meta.get('method')!r} is known in PyTorch; there are {', '.join(NETS)}")
    try:
        net = NETS[meta["method"]](**meta["architecture"])
    except TypeError as error:
        raise UserError(f"{where}: its architecture {dict(meta['architecture'])} is not known ({error})") from None
    state = {name: value for name, value in net.state_dict().items() if name.endswith("num_batches_tracked")}
    for name, value in params.items():
        place, _, part = name.rpartition(".")
        state[f"{place}.{NAMES.get(part, part)}"] = torch.from_numpy(np.array(value))
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where}: its parameters are not those of its architecture ({reason[:200]})") from None
    net.eval().requires_grad_(False)
    net.fold()
    return net


class Generator:
    """A trained net on a device, in a precision and a layout: contiguous at first.

    Attributes:
        meta: the net file's description.
        parameter_count: learnt parameters, running statistics not counted.
    """

    def __init__(self, path: str | Path, device: str, dtype: str):
        params, self.meta = netfile.load(path)
        self.device, self._kind = device, getattr(torch, dtype)
        self._net = build(params, self.meta, str(path)).to(device, self._kind)
        self._run, self._layout = self._net, torch.contiguous_format
        self.parameter_count = sum(v.size for k, v in params.items() if not k.endswith(("running_mean", "running_var")))

    def lay_out(self, layout: Any) -> None:
        """Keep weights and activations in ``layout``, a ``torch.memory_format``."""
        self._layout = layout
        self._net.to(memory_format=layout)

    def compile(self) -> None:
        """Let ``torch.compile`` make fewer kernels of the net; it does so at the first call."""
        self._run = torch.compile(self._net)

    def inputs(
        self, content: np.ndarray | None = None, size: tuple[int, int] | None = None, batch: int = 1, seed: int = 0
    ) -> tuple:
        """Tensors on the device for :meth:`forward`, see :func:`nst_gluon.nets.inputs.arrays`."""
        arrays = net_inputs.arrays(self.meta, content, size, batch, seed)
        return tuple(self._tensor(array) for array in arrays)

    def _tensor(self, array: np.ndarray):
        placed = torch.from_numpy(np.ascontiguousarray(array)).to(self.device, self._kind)
        return placed.contiguous(memory_format=self._layout)

    @torch.inference_mode()
    def forward(self, *inputs):
        """One pass of the net: a tensor (N, 3, H', W') at the working size, float32, not clipped."""
        return self._run(*inputs).float()

    def generate(
        self, content: np.ndarray | None = None, size: tuple[int, int] | None = None, seed: int = 0
    ) -> np.ndarray:
        """Pictures (N, 3, H, W), float32 in [0, 1]: of the content's size, or of ``size`` for textures."""
        height, width = size or content.shape[2:]
        out = self.forward(*self.inputs(content, size, 1 if content is None else content.shape[0], seed))
        return np.clip(out.cpu().numpy()[:, :, :height, :width], 0.0, 1.0)
