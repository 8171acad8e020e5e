"""The common loss module: content, Gram/style and total variation losses, and the objective that is their sum.

Everything that is trained, optimised or reported goes through here. Every function takes ``F`` (``mx.nd`` or
``mx.sym``) and returns one value per picture of the batch, shape (N,).

    Gram     G^l_ij = sum_p F^l_ip F^l_jp / divisor            divisor: C*H*W, H*W or 1
    style    sum_l w_l * reduce_ij (G^l(x) - G^l(style))^2
    content  sum_l w_l * reduce (F^l(x) - F^l(content))^2
    tv       weight * one of three total variations
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from nst_gluon.engine import mx
from nst_gluon.errors import NotFinite, UserError
from nst_gluon.presets import Preset
from nst_gluon.vgg import describe, layer_shape, parameters
from nst_gluon.weights import VggWeights
from nst_gluon.weights.model import IMAGENET_STD


@dataclass(frozen=True)
class Terms:
    """The three terms, each already weighted, and their sum, the objective."""

    objective: float
    content: float
    style: float
    tv: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def gram(F, features, shape: tuple[int, int, int, int], divisor: str):
    """Gram matrices (N, C, C) of activations of the given ``shape`` (N, C, H, W)."""
    n, c, h, w = shape
    scale = {"chw": 1.0 / (c * h * w), "hw": 1.0 / (h * w), "none": 1.0}[divisor]
    if n == 1:
        flat = F.reshape(features, shape=(c, h * w))
        # FullyConnected(x, x) = x x^T, the fastest matrix product that the engine has for one picture.
        product = F.expand_dims(F.FullyConnected(flat, flat, no_bias=True, num_hidden=c), axis=0)
    else:
        flat = F.reshape(features, shape=(n, c, h * w))
        product = F.batch_dot(flat, flat, transpose_b=True)
    return product * scale if scale != 1.0 else product


def _reduce(F, squared, target, axes: tuple[int, ...], how: str):
    if how == "sum":
        return F.sum(squared, axis=axes)
    mean = F.mean(squared, axis=axes)
    return F.broadcast_div(mean, F.mean(F.square(target), axis=axes)) if how == "relative" else mean


def style_loss(F, actual, target, reduction: str, picture: tuple[int, int]):
    """Squared difference of Grams (N, C, C) and (1, C, C), reduced; ``picture`` is its (H, W)."""
    squared = F.square(F.broadcast_sub(actual, target))
    if reduction == "picture":
        return F.sum(squared, axis=(1, 2)) * (1.0 / (4 * 3**2 * (picture[0] * picture[1]) ** 2))
    return _reduce(F, squared, target, (1, 2), reduction)


def content_loss(F, actual, target, reduction: str):
    """Squared difference of activations (N, C, H, W), reduced over each picture."""
    return _reduce(F, F.square(F.broadcast_sub(actual, target)), target, (1, 2, 3), reduction)


def _difference(F, x, axis: int):
    return F.slice_axis(x, axis=axis, begin=1, end=None) - F.slice_axis(x, axis=axis, begin=0, end=-1)


def total_variation(F, x, kind: str):
    """Total variation of ``x`` (N, C, H, W), H and W at least 2: the preset's ``kind``, see :class:`Preset`."""
    dy, dx = _difference(F, x, 2), _difference(F, x, 3)
    axes = (1, 2, 3)
    if kind == "l1":
        return 0.5 * (F.mean(F.abs(dx), axis=axes) + F.mean(F.abs(dy), axis=axes))
    if kind == "squared":
        return F.sum(F.square(dx), axis=axes) + F.sum(F.square(dy), axis=axes)
    both = F.square(F.slice_axis(dx, axis=2, begin=0, end=-1)) + F.square(F.slice_axis(dy, axis=3, begin=0, end=-1))
    # Not x * sqrt(sqrt(x)): its gradient at 0 would be 0/0.
    return F.sum(F.power(both, 1.25), axis=axes)


def _tv_input(F, x, scale: str):
    if scale == "imagenet":
        channels = [F.slice_axis(x, axis=1, begin=c, end=c + 1) * (1 / s) for c, s in enumerate(IMAGENET_STD)]
        return F.concat(*channels, dim=1)
    return x * 255.0 if scale == "byte" else x


class _Graph(mx.gluon.HybridBlock):
    """The objective of pictures of one shape as one graph: x, descriptor arrays, Grams, content targets -> terms."""

    def __init__(self, preset: Preset, arch: str, shape, has_content: bool, dtype: str):
        super().__init__()
        self._preset, self._arch, self._shape, self._dtype = preset, arch, shape, dtype
        self._content = preset.content_layers if has_content else ()

    def hybrid_forward(self, F, x, *arrays):
        preset, (n, _, height, width) = self._preset, self._shape
        style_names = [name for name, _ in preset.style_layers]
        names = style_names + [name for name, _ in self._content]
        vgg, targets = arrays[: -len(names)], arrays[-len(names) :]
        features = describe(F, x, vgg, self._arch, names, preset.pooling, self._dtype)
        style = content = 0.0
        for (name, weight), feature, target in zip(preset.style_layers, features, targets):
            actual = gram(F, feature, (n, *layer_shape(name, height, width)), preset.gram)
            style = style + weight * style_loss(F, actual, target, preset.style_reduction, (height, width))
        for (_, weight), feature, target in zip(
            self._content, features[len(style_names) :], targets[len(style_names) :]
        ):
            content = content + weight * content_loss(F, feature, target, preset.content_reduction)
        zero = F.zeros_like(style)
        if not self._content:
            content = zero
        tv = zero
        if preset.tv != "none":
            tv = preset.tv_weight * total_variation(F, _tv_input(F, x, preset.tv_scale), preset.tv)
        return style + content + tv, content, style, tv


class Objective:
    """The objective of a preset for one style and, for the task ``stylize``, content pictures.

    Args:
        weights: the descriptor's weights; their identity belongs to every number that comes out.
        task: ``stylize`` (content + style + tv) or ``texture`` (style + tv).
        style: the style picture, numpy (1, 3, h, w), RGB in [0, 1].
        content: the content picture (1, 3, H, W); may be given later through :meth:`content_targets`.
        dtype: precision of the descriptor's convolutions.

    Raises:
        UserError: the picture is too small for the preset's deepest layer.
    """

    def __init__(
        self,
        preset: Preset,
        weights: VggWeights,
        task: str,
        style: np.ndarray,
        content: np.ndarray | None = None,
        dtype: str = "float32",
        ctx=None,
    ):
        self.preset, self.arch, self.task, self.dtype = preset, weights.arch, task, dtype
        self.ctx = ctx or mx.cpu()
        self._names = [n for n, _ in preset.style_layers]
        self._content_names = [n for n, _ in preset.content_layers] if task == "stylize" else []
        self._arrays = parameters(weights, self._names + self._content_names, dtype, self.ctx)
        self._graphs: dict[tuple[int, ...], _Graph] = {}
        self._grams = self._style_targets(style)
        self._targets = self.content_targets(content) if content is not None and self._content_names else None

    def _check(self, shape: Sequence[int], what: str) -> None:
        blocks = max(int(name[4]) for name in self._names + self._content_names)
        smallest = 1 << (blocks - 1)
        if min(shape[2:]) < max(smallest, 2):
            raise UserError(
                f"{what}: {shape[3]}x{shape[2]} pixels is too small for this objective; "
                f"both sides need at least {max(smallest, 2)}"
            )

    def _features(self, picture: np.ndarray, names: Sequence[str]) -> list:
        x = mx.nd.array(picture, ctx=self.ctx, dtype="float32")
        return describe(mx.nd, x, self._arrays, self.arch, names, self.preset.pooling, self.dtype)

    def _style_targets(self, style: np.ndarray) -> list:
        self._check(style.shape, "style picture")
        features = self._features(style, self._names)
        grams = [gram(mx.nd, f, f.shape, self.preset.gram) for f in features]
        mx.nd.waitall()
        return grams

    def content_targets(self, content: np.ndarray) -> list:
        """The content layers' activations of pictures (N, 3, H, W): what :meth:`loss` compares with."""
        self._check(content.shape, "content picture")
        return self._features(content, self._content_names)

    def loss(self, x, content_targets: list | None = None) -> tuple:
        """(objective, content, style, tv), each an NDArray (N,), of pictures ``x`` (N, 3, H, W), differentiable."""
        targets = content_targets if content_targets is not None else self._targets
        if self._content_names and targets is None:
            raise UserError("content: this objective needs a content picture")
        shape = tuple(x.shape)
        graph = self._graphs.get(shape)
        if graph is None:
            self._check(shape, "picture")
            graph = _Graph(self.preset, self.arch, shape, bool(self._content_names), self.dtype)
            graph.hybridize(static_alloc=True, static_shape=True)
            self._graphs[shape] = graph
        return graph(x, *self._arrays, *self._grams, *(targets or ()))

    def terms(self, picture: np.ndarray) -> Terms:
        """The terms of one picture (1, 3, H, W) in [0, 1] (of several: their mean)."""
        values = self.loss(mx.nd.array(picture, ctx=self.ctx, dtype="float32"))
        return Terms(*(float(v.asnumpy().astype("float64").mean()) for v in values))

    def value_and_gradient(self, picture: np.ndarray) -> tuple[Terms, np.ndarray]:
        """The terms of one picture (1, 3, H, W) and the objective's gradient to it, float32, the same shape.

        Raises:
            NotFinite: the objective or the gradient is not finite.
        """
        if not np.isfinite(picture).all():  # ReLU and pooling would hide it: the engine's take NaN for 0
            raise NotFinite("the picture has values that are NaN or infinite")
        x = mx.nd.array(picture, ctx=self.ctx, dtype="float32")
        x.attach_grad()
        # train mode: MXNet's poolings keep what their gradient needs only there (in predict mode it comes out wrong).
        with mx.autograd.record():
            values = self.loss(x)
        values[0].backward()
        gradient = x.grad.asnumpy()
        terms = Terms(*(float(v.asscalar()) for v in values))
        if not np.isfinite(terms.objective) or not np.isfinite(gradient).all():
            raise NotFinite(f"the objective became {terms.objective}, or its gradient is not finite")
        return terms, gradient
