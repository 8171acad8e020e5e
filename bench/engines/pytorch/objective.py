"""The common objective in PyTorch: the same presets as :mod:`nst_gluon.objective.loss`, from the same formulas.

    Gram     G^l_ij = sum_p F^l_ip F^l_jp / divisor            divisor: C*H*W, H*W or 1
    style    sum_l w_l * reduce_ij (G^l(x) - G^l(style))^2
    content  sum_l w_l * reduce (F^l(x) - F^l(content))^2
    tv       weight * one of three total variations
"""

from __future__ import annotations

import copy
import functools
import math
from typing import Any

import numpy as np

from bench.engines.pytorch.descriptor import Descriptor
from bench.engines.pytorch.library import torch
from nst_gluon.descriptor import segments
from nst_gluon.descriptor.weights import VggWeights
from nst_gluon.objective.loss_terms import TV_SCALES, Terms, check_size, no_content
from nst_gluon.objective.presets import Preset
from nst_gluon.system.errors import NotFinite

checkpoint = torch.utils.checkpoint.checkpoint


def gram(features, divisor: str):
    """Gram matrices (N, C, C) of activations (N, C, H, W)."""
    _, c, h, w = features.shape
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / {"chw": c * h * w, "hw": h * w, "none": 1}[divisor]


def difference(actual, target, how: str):
    """Squared difference of two tensors, summed, or its mean, or that relative to the target's mean square."""
    squared = (actual - target).square()
    if how == "sum":
        return squared.sum()
    return squared.mean() / target.square().mean() if how == "relative" else squared.mean()


def style_loss(actual, target, how: str, size: tuple[int, int]):
    """Squared difference of Grams; ``picture`` is Keras's normalisation by the picture's (H, W)."""
    if how == "picture":
        return difference(actual, target, "sum") / (4 * 3**2 * (size[0] * size[1]) ** 2)
    return difference(actual, target, how)


def total_variation(x, kind: str):
    """Total variation of a picture (1, C, H, W); ``kind``: see :class:`nst_gluon.objective.presets.Preset`."""
    dx, dy = x.diff(dim=3), x.diff(dim=2)
    if kind == "l1":
        return 0.5 * (dx.abs().mean() + dy.abs().mean())
    if kind == "squared":
        return dx.square().sum() + dy.square().sum()
    return (dx[:, :, :-1].square() + dy[:, :, :, :-1].square()).pow(1.25).sum()


class Objective:
    """The objective of a preset for one style and, for the task ``stylize``, one content picture.

    Args:
        style, content: numpy (1, 3, h, w) and (1, 3, H, W), RGB in [0, 1].
        dtype: precision of the descriptor's convolutions.
        layout: of the activations, a ``torch.memory_format``.
        parts: into how many segments the descriptor is cut; those are computed again on the way back.
        compiled: whether ``torch.compile`` may make one kernel of many.

    Raises:
        UserError: a picture is too small for the preset's deepest layer, or a content picture is missing.
    """

    def __init__(
        self,
        preset: Preset,
        weights: VggWeights,
        task: str,
        style: np.ndarray,
        content: np.ndarray | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        layout: Any = torch.contiguous_format,
        parts: int = 1,
        compiled: bool = False,
    ):
        if task == "stylize" and content is None:
            raise no_content()
        self.preset, self.task, self.device, self.layout = preset, task, device, layout
        self._content_layers = preset.content_layers if task == "stylize" else ()
        names = [name for name, _ in (*preset.style_layers, *self._content_layers)]
        descriptor = Descriptor(weights, names, preset.pooling, dtype)
        self.descriptor = descriptor.to(device, memory_format=layout)
        self.segments = parts
        self._spans = segments.spans([(int(name[4]), int(name[6])) for name in descriptor.steps], parts)
        self._compiled = compiled
        self._aim(style, content)

    def aimed_at(self, style: np.ndarray, content: np.ndarray | None = None) -> Objective:
        """The same objective for other pictures, of another size for example; it shares the descriptor."""
        other = copy.copy(self)
        other._aim(style, content)
        return other

    @torch.no_grad()
    def _aim(self, style: np.ndarray, content: np.ndarray | None) -> None:
        found = self.descriptor(self._picture(style, "style picture"))
        self._grams = {name: gram(found[name], self.preset.gram) for name, _ in self.preset.style_layers}
        self._contents = {}
        if self._content_layers:
            found = self.descriptor(self._picture(content, "content picture"))
            self._contents = {name: found[name] for name, _ in self._content_layers}
        scale = TV_SCALES[self.preset.tv_scale]
        self._tv_scale = torch.tensor(scale, device=self.device).reshape(1, 3, 1, 1)
        self._loss = torch.compile(self.loss) if self._compiled else self.loss

    def _picture(self, picture: Any, what: str = "picture"):
        """A picture where the objective computes, float32."""
        check_size(picture.shape, self.descriptor.steps, what)
        x = torch.as_tensor(np.ascontiguousarray(picture) if isinstance(picture, np.ndarray) else picture)
        return x.to(self.device, torch.float32).contiguous(memory_format=self.layout)

    def _part(self, x, span: tuple[int, int], size: tuple[int, int]):
        """What a segment adds to the style and the content term, and what the next one takes."""
        named, out = self.descriptor.part(x, span)
        preset, zero = self.preset, torch.zeros((), device=x.device)
        styles = [
            weight * style_loss(gram(named[name], preset.gram), self._grams[name], preset.style_reduction, size)
            for name, weight in preset.style_layers
            if name in named
        ]
        contents = [
            weight * difference(named[name], self._contents[name], preset.content_reduction)
            for name, weight in self._content_layers
            if name in named
        ]
        return sum(styles, zero), sum(contents, zero), out

    def loss(self, x):
        """(objective, content, style, tv) of one picture, differentiable; a tensor (4,)."""
        style = content = tv = torch.zeros((), device=x.device)
        out, size = x, tuple(x.shape[2:])
        again = len(self._spans) > 1 and torch.is_grad_enabled()
        run = functools.partial(checkpoint, self._part, use_reentrant=False) if again else self._part
        for span in self._spans:
            part = run(out, span, size)
            style, content, out = style + part[0], content + part[1], part[2]
        if self.preset.tv != "none":
            tv = self.preset.tv_weight * total_variation(x * self._tv_scale, self.preset.tv)
        return torch.stack([style + content + tv, content, style, tv])

    @torch.no_grad()
    def terms(self, picture: np.ndarray) -> Terms:
        """The terms of one picture (1, 3, H, W) in [0, 1]."""
        return Terms(*self.loss(self._picture(picture)).tolist())

    def value_and_gradient(self, picture: Any) -> tuple[Terms, Any]:
        """The terms of one picture (1, 3, H, W) and the objective's gradient to it: numpy of numpy, else a tensor.

        Raises:
            NotFinite: the objective or the gradient is not finite.
        """
        x = self._picture(picture).detach().requires_grad_()
        terms = self._loss(x)
        (gradient,) = torch.autograd.grad(terms[0], x)
        fine = torch.isfinite(gradient).all()
        *values, finite = torch.cat([terms.detach(), fine.reshape(1).float()]).tolist()  # one transfer
        if not finite or not math.isfinite(values[0]):
            raise NotFinite(f"the objective became {values[0]}, or its gradient is not finite")
        gradient = gradient.contiguous()
        return Terms(*values), gradient.cpu().numpy() if isinstance(picture, np.ndarray) else gradient
