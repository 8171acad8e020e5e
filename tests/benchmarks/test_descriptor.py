"""The descriptor alone: forward, and forward and backward to the picture."""

from __future__ import annotations

from nst_gluon.descriptor import vgg
from nst_gluon.system.engine import mx

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def test_forward(measure, weights, content, dtype):
    descriptor = vgg.Descriptor(weights, LAYERS, dtype=dtype)
    x = mx.nd.array(content)
    measure(lambda: descriptor(x), "descriptor, forward")


def test_forward_and_backward(measure, weights, content, dtype):
    descriptor = vgg.Descriptor(weights, LAYERS, dtype=dtype)
    x = mx.nd.array(content)
    x.attach_grad()

    def call():
        with mx.autograd.record():
            activations = descriptor(x)
        mx.autograd.backward(activations)  # the heads' gradient is one everywhere

    measure(call, "descriptor, forward and backward to the picture")
