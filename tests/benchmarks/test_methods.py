"""Each loss term, one optimisation step, and each generator's forward pass."""

from __future__ import annotations

import contextlib
import queue
import threading

import pytest

from nst_gluon import assets
from nst_gluon.descriptor import vgg
from nst_gluon.nets.trained_net import load_net
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective, content_loss, gram, style_loss, total_variation
from nst_gluon.optimise.config import config_of
from nst_gluon.optimise.problem import Problem
from nst_gluon.system.engine import mx

PRESET = presets.get("texture_net_relative")
TERMS = "loss terms, forward and backward"
NETS = {f"{net.method}-{net.task}": net for net in assets.nets() if net.style == "great_wave"}


def backward(function, x):
    """A function that evaluates ``function(x)`` and its gradient to ``x``."""
    x.attach_grad()

    def call():
        with mx.autograd.record():
            value = function(x)
        value.backward()

    return call


@pytest.fixture(scope="session")
def activations(weights, style, content):
    """Real activations by layer: (the content's, the style's), NDArrays."""
    layers = ("relu1_1", "relu4_1", "relu4_2")
    descriptor = vgg.Descriptor(weights, layers)
    # Copies: the descriptor's own outputs would keep all of its buffers alive.
    pairs = [[feature.copy() for feature in descriptor(mx.nd.array(picture))] for picture in (content, style)]
    return dict(zip(layers, zip(*pairs)))


# The first layer has the largest activation, the fourth block the largest Gram.
@pytest.mark.parametrize("layer", ["relu1_1", "relu4_1"])
def test_gram(measure, activations, layer):
    feature = activations[layer][0].copy()
    measure(backward(lambda x: gram(mx.nd, x, x.shape, PRESET.gram), feature), TERMS)


def test_style_loss(measure, activations):
    actual, target = (gram(mx.nd, x, x.shape, PRESET.gram) for x in activations["relu4_1"])
    size = activations["relu1_1"][0].shape[2:]
    measure(backward(lambda g: style_loss(mx.nd, g, target, PRESET.style_reduction, size), actual), TERMS)


def test_content_loss(measure, activations):
    target = activations["relu4_2"][0]
    measure(backward(lambda x: content_loss(mx.nd, x, target, PRESET.content_reduction), target * 0.5), TERMS)


@pytest.mark.parametrize("kind", ["l1", "squared", "keras"])
def test_total_variation(measure, content, kind):
    measure(backward(lambda x: total_variation(mx.nd, x, kind), mx.nd.array(content)), TERMS)


# ------------------------------------------------------------------------------------------------------ optimisation


class _Enough(Exception):
    pass


@contextlib.contextmanager
def descent(objective: Objective, start, config):
    """A function that takes one step of an optimisation: from the end of one evaluation to the end of the next.

    SciPy's L-BFGS cannot be left and entered again, so it has a thread of its own that waits between two steps.
    """
    go, done = queue.SimpleQueue(), queue.SimpleQueue()

    def wait(step=None):
        done.put(step)
        if not go.get():
            raise _Enough

    def work():
        try:
            with contextlib.suppress(_Enough):
                wait()
                problem = Problem(objective, start.shape[2:], config, callback=wait)
                problem.run(lambda problem: problem.minimise(start))
            done.put("the optimisation ended by itself")
        except BaseException as error:
            done.put(repr(error))

    def step():
        go.put(True)
        ended = done.get()
        if isinstance(ended, str):
            raise RuntimeError(ended)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    done.get()
    try:
        yield step
    finally:
        go.put(False)
        thread.join(timeout=60)


def test_optimisation_step(measure, weights, style, content, dtype):
    objective = Objective(PRESET, weights, "stylize", style, content, dtype=dtype)
    config = config_of(PRESET, iterations=100_000, start="content")
    with descent(objective, content, config) as step:
        measure(step, "optimisation: one step (objective, gradient, L-BFGS)")


# -------------------------------------------------------------------------------------------------------- generators


@pytest.mark.parametrize("net", NETS)
def test_generator_forward(measure, content, net):
    generator = load_net(NETS[net].path)
    inputs = generator.inputs(content if generator.task == "stylize" else None, content.shape[2:])
    measure(lambda: generator.forward(*inputs), "generator, forward")
