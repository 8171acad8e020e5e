"""The descriptor alone: forward, and forward and backward to the picture."""

from __future__ import annotations

from nst_gluon.descriptor import vgg
from nst_gluon.system.engine import mx

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
def both_ways(weights, picture, dtype: str):
    """A function that does one forward and one backward pass; the heads' gradient is one everywhere."""
    descriptor = vgg.Descriptor(weights, LAYERS, dtype=dtype)
    x = mx.nd.array(picture)
    x.attach_grad()

    def call():
        with mx.autograd.record():
            activations = descriptor(x)
        mx.autograd.backward(activations)
        return x.grad

    return call


def test_forward(measure, weights, content, dtype):
    descriptor = vgg.Descriptor(weights, LAYERS, dtype=dtype)
    x = mx.nd.array(content)
    measure(lambda: descriptor(x), "descriptor, forward")


def test_forward_and_backward(measure, weights, content, dtype):
    measure(both_ways(weights, content, dtype), "descriptor, forward and backward to the picture")
