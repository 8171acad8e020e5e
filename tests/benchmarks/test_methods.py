"""Each loss term, one optimisation step, and each generator's forward pass."""

from __future__ import annotations

import pytest

from nst_gluon import assets, presets
from nst_gluon.engine import mx
from nst_gluon.generator import load_net
from nst_gluon.loss import Objective, content_loss, gram, style_loss, total_variation
from nst_gluon.optimization import config_of, optimise


def backward(function, x):
    """A function that evaluates ``function(x)`` and its gradient to ``x``."""
    x.attach_grad()

    def call():
        with mx.autograd.record():
            value = function(x)
        value.backward()

    return call


@pytest.fixture(scope="session")
def activation():
    return mx.nd.random.uniform(shape=(1, 64, 256, 256))


def test_style_loss(measure, activation):
    target = gram(mx.nd, activation * 0.5, activation.shape, "chw")
    measure(
        backward(
            lambda x: style_loss(mx.nd, gram(mx.nd, x, x.shape, "chw"), target, "mean", (256, 256)), activation.copy()
        )
    )


def test_content_loss(measure, activation):
    target = activation * 0.5
    measure(backward(lambda x: content_loss(mx.nd, x, target, "mean"), activation.copy()))


@pytest.mark.parametrize("kind", ["l1", "squared", "keras"])
def test_total_variation(measure, content, kind):
    measure(backward(lambda x: total_variation(mx.nd, x, kind), mx.nd.array(content)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_optimisation_step(measure, weights, style, content, dtype):
    preset = presets.get("texture_net")
    objective = Objective(preset, weights, "stylize", style, content, dtype=dtype)
    config = config_of(preset, iterations=2, start="content")
    measure(lambda: optimise(objective, content, config), rounds=5)


@pytest.mark.parametrize("net", assets.nets(), ids=lambda net: net.path.stem)
def test_generator_forward(measure, net, content):
    generator = load_net(net.path)
    inputs = generator.inputs(content, (256, 256))
    measure(lambda: generator.forward(*inputs))
