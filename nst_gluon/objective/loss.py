"""The common loss module: content, Gram/style and total variation losses, and the objective that is their sum.

Everything that is trained, optimised or reported goes through here. Every function takes ``F`` (``mx.nd`` or
``mx.sym``) and returns one value per picture of the batch, shape (N,).

    Gram     G^l_ij = sum_p F^l_ip F^l_jp / divisor            divisor: C*H*W, H*W or 1
    style    sum_l w_l * reduce_ij (G^l(x) - G^l(style))^2
    content  sum_l w_l * reduce (F^l(x) - F^l(content))^2
    tv       weight * one of three total variations
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np

from nst_gluon.descriptor.segments import give_memory_back, spans, within
from nst_gluon.descriptor.vgg import arrays_of_part, describe, layer_shape, parameters, plan
from nst_gluon.descriptor.weights import VggWeights
from nst_gluon.objective.loss_terms import TV_SCALES, Terms, check_size, no_content
from nst_gluon.objective.presets import LayerWeights, Preset
from nst_gluon.system.engine import mx
from nst_gluon.system.errors import NotFinite


def gram(F, features, shape: tuple[int, int, int, int], divisor: str):
    """Gram matrices (N, C, C) of activations of the given ``shape`` (N, C, H, W).

    The gradient is that of a loss which is symmetric in the Gram, as every difference of two Grams is: dF = 2 dG F,
    one product and one array instead of dG F + dG' F.
    """
    n, c, h, w = shape
    scale = {"chw": 1.0 / (c * h * w), "hw": 1.0 / (h * w), "none": 1.0}[divisor]
    if n == 1:
        flat = F.reshape(features, shape=(c, h * w))
        # FullyConnected(x, x) = x x^T, the fastest matrix product that the engine has for one picture.
        product = F.FullyConnected(flat, F.BlockGrad(flat), no_bias=True, num_hidden=c)
        product = F.expand_dims(product, axis=0)
    else:
        flat = F.reshape(features, shape=(n, c, h * w))
        product = F.batch_dot(flat, F.BlockGrad(flat), transpose_b=True)
    return (2 * scale) * product - scale * F.BlockGrad(product)


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
    factors = TV_SCALES[scale]
    if len(set(factors)) == 1:
        return x if factors[0] == 1.0 else x * factors[0]
    return F.concat(*(F.slice_axis(x, axis=1, begin=c, end=c + 1) * f for c, f in enumerate(factors)), dim=1)


class _Graph(mx.gluon.HybridBlock):
    """The objective of pictures (N, 3, H, W) of one ``shape``, or one segment of it, as one graph.

    Inputs: the picture, or what the segment before it handed on; the descriptor arrays, Grams and content targets of
    this segment. Outputs: objective, content, style and tv of the segment's own layers, each (N,), and, but for the
    last segment, what it hands on.
    """

    def __init__(self, preset: Preset, content: LayerWeights, steps, span: tuple[int, int], shape, dtype: str):
        super().__init__()
        self._preset, self._steps, self._span, self._shape, self._dtype = preset, steps, span, shape, dtype
        self.style = within(preset.style_layers, steps, span)
        self.content = within(content, steps, span)

    def hybrid_forward(self, F, x, *arrays):
        preset, (n, _, height, width) = self._preset, self._shape
        names = [name for name, _ in self.style + self.content]
        vgg, targets = arrays[: len(arrays) - len(names)], arrays[len(arrays) - len(names) :]
        features, out = describe(F, x, vgg, self._steps, self._span, names, preset.pooling, self._dtype)
        # One channel by slice_axis: oneDNN's slice dies of a division by zero inside a block of channels.
        pixel = F.slice(F.slice_axis(x, axis=1, begin=0, end=1), begin=(0, 0, 0, 0), end=(n, 1, 1, 1))
        zero = F.zeros_like(F.reshape(pixel, shape=(n,)))
        style = content = tv = zero
        pairs = list(zip(features, targets))
        for (name, weight), (feature, target) in zip(self.style, pairs):
            actual = gram(F, feature, (n, *layer_shape(name, height, width)), preset.gram)
            style = style + weight * style_loss(F, actual, target, preset.style_reduction, (height, width))
        for (_, weight), (feature, target) in zip(self.content, pairs[len(self.style) :]):
            content = content + weight * content_loss(F, feature, target, preset.content_reduction)
        if preset.tv != "none" and self._span[0] == 0:
            tv = preset.tv_weight * total_variation(F, _tv_input(F, x, preset.tv_scale), preset.tv)
        terms = style + content + tv, content, style, tv
        return terms if self._span[1] == len(self._steps) else (*terms, out)


def _total(parts: Sequence) -> Terms:
    """The terms of the segments, each four NDArrays (N,), together; of several pictures their mean."""
    return Terms(*(sum(float(part[i].asnumpy().astype("float64").mean()) for part in parts) for i in range(4)))


class Objective:
    """The objective of a preset for one style and, for the task ``stylize``, content pictures.

    Args:
        weights: the descriptor's weights; their identity belongs to every number that comes out.
        task: ``stylize`` (content + style + tv) or ``texture`` (style + tv).
        style: the style picture, numpy (1, 3, h, w), RGB in [0, 1].
        content: the content picture (1, 3, H, W); may be given later through :meth:`content_targets`.
        dtype: precision of the descriptor's convolutions.
        segments: into how many parts the descriptor is cut for :meth:`value_and_gradient`; more than one takes less
            memory and about one more forward pass (:mod:`nst_gluon.descriptor.segments`).

    Raises:
        UserError: the picture is too small for the preset's deepest layer, or there are not so many segments.
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
        segments: int = 1,
    ):
        self.preset, self.arch, self.task, self.dtype = preset, weights.arch, task, dtype
        self.ctx = ctx or mx.cpu()
        self._names = [n for n, _ in preset.style_layers]
        self._content = preset.content_layers if task == "stylize" else ()
        self._content_names = [n for n, _ in self._content]
        self._steps = plan(self.arch, self._names + self._content_names)
        self.segments, self._spans = segments, spans(self._steps, segments)
        if segments > 1:
            give_memory_back()
        self._arrays = parameters(weights, self._names + self._content_names, dtype, self.ctx)
        self._aim(style, content)

    def _aim(self, style: np.ndarray, content: np.ndarray | None) -> None:
        self._graphs: dict[tuple, _Graph] = {}
        self._check(style.shape, "style picture")
        self._grams = self._each(style, self._names, lambda f: gram(mx.nd, f, f.shape, self.preset.gram))
        mx.nd.waitall()
        self._targets = self.content_targets(content) if content is not None and self._content_names else None

    def aimed_at(self, style: np.ndarray, content: np.ndarray | None = None) -> Objective:
        """The same objective for other pictures, of another size for example; it shares the descriptor's weights."""
        other = copy.copy(self)
        other._aim(style, content)
        return other

    def _check(self, shape: Sequence[int], what: str) -> None:
        check_size(shape, self._names + self._content_names, what)

    def _each(self, picture: np.ndarray, names: Sequence[str], use: Callable) -> list:
        """``use`` of each named activation of a picture, in order; what is not used any more is freed on the way."""
        x, found = mx.nd.array(picture, ctx=self.ctx, dtype="float32"), {}
        for span in spans(plan(self.arch, names), len(plan(self.arch, names))):
            inside = [name for name, _ in within([(name, 1.0) for name in names], self._steps, span)]
            features, x = self._part(x, span, inside)
            found.update(zip(inside, map(use, features)))
        return [found[name] for name in names]

    def _part(self, x, span: tuple[int, int], names: Sequence[str] = ()) -> tuple[list, object]:
        arrays = arrays_of_part(self._arrays, span)
        return describe(mx.nd, x, arrays, self._steps, span, names, self.preset.pooling, self.dtype)

    def content_targets(self, content: np.ndarray) -> list:
        """The content layers' activations of pictures (N, 3, H, W): what :meth:`loss` compares with."""
        self._check(content.shape, "content picture")
        return self._each(content, self._content_names, lambda feature: feature)

    def _graph(self, shape: tuple[int, ...], span: tuple[int, int]) -> _Graph:
        graph = self._graphs.get((shape, span))
        if graph is None:
            self._check(shape, "picture")
            graph = _Graph(self.preset, self._content, self._steps, span, shape, self.dtype)
            # A static graph keeps its memory from call to call: the segments' would add up.
            whole = span == (0, len(self._steps))
            graph.hybridize(static_alloc=whole, static_shape=whole)
            self._graphs[shape, span] = graph
        return graph

    def _inputs(self, graph: _Graph, span: tuple[int, int], content_targets: list | None) -> list:
        """What a graph takes besides the picture."""
        if self._content_names and content_targets is None:
            raise no_content()
        grams, contents = dict(zip(self._names, self._grams)), dict(zip(self._content_names, content_targets or ()))
        targets = [grams[name] for name, _ in graph.style] + [contents[name] for name, _ in graph.content]
        return [*arrays_of_part(self._arrays, span), *targets]

    def loss(self, x, content_targets: list | None = None) -> tuple:
        """(objective, content, style, tv), each an NDArray (N,), of pictures ``x`` (N, 3, H, W), differentiable."""
        targets = content_targets if content_targets is not None else self._targets
        span = (0, len(self._steps))
        graph = self._graph(tuple(x.shape), span)
        return graph(x, *self._inputs(graph, span, targets))

    def terms(self, picture: np.ndarray) -> Terms:
        """The terms of one picture (1, 3, H, W) in [0, 1] (of several: their mean)."""
        x = mx.nd.array(picture, ctx=self.ctx, dtype="float32")
        if self.segments == 1:
            return _total([self.loss(x)])
        parts, shape = [], tuple(picture.shape)
        for span in self._spans:  # as single operations, which free what no other needs any more
            graph = self._graph(shape, span)
            part = graph.hybrid_forward(mx.nd, x, *self._inputs(graph, span, self._targets))
            x = part[-1]
            parts.append(part[:4])
        return _total(parts)

    def value_and_gradient(self, picture: np.ndarray) -> tuple[Terms, np.ndarray]:
        """The terms of one picture (1, 3, H, W) and the objective's gradient to it, float32, the same shape.

        Raises:
            NotFinite: the objective or the gradient is not finite.
        """
        if not np.isfinite(picture).all():  # ReLU and pooling would hide it: the engine's take NaN for 0
            raise NotFinite("the picture has values that are NaN or infinite")
        shape = tuple(picture.shape)
        entering = [mx.nd.array(picture, ctx=self.ctx, dtype="float32")]
        for span in self._spans[:-1]:
            entering.append(self._part(entering[-1], span)[1])
        gradient, parts = None, []
        for span in reversed(self._spans):
            gradient, values = self._backward(shape, span, entering.pop(), gradient)
            parts.append(values)
        gradient = gradient.asnumpy()
        terms = _total(parts)
        if not np.isfinite(terms.objective) or not np.isfinite(gradient).all():
            raise NotFinite(f"the objective became {terms.objective}, or its gradient is not finite")
        return terms, gradient

    def _backward(self, shape: tuple[int, ...], span: tuple[int, int], x, upstream) -> tuple:
        """The gradient to what enters a segment, given the one to what it hands on (None: the last); its terms."""
        graph = self._graph(shape, span)
        x.attach_grad()
        # train mode: MXNet's poolings keep what their gradient needs only there (in predict mode it comes out wrong).
        with mx.autograd.record():
            objective, *terms = graph(x, *self._inputs(graph, span, self._targets))
        if upstream is None:
            objective.backward()
        else:
            mx.autograd.backward([objective, terms.pop()], [mx.nd.ones_like(objective), upstream])
        return x.grad, [objective.detach(), *(term.detach() for term in terms)]
