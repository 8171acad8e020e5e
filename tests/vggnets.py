"""VGG nets under other people's names, for the tests of weights."""

from __future__ import annotations

import numpy as np
from oracle import BLOCKS

MEANS = np.array([123.68, 116.779, 103.939]) / 255  # RGB, of the original nets
# The convolutions in torchvision's and Gluon's `features`, counted by hand.
MODULES = {
    "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    "vgg19": (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}


def layers(arch):
    return [(block, i) for block, n in enumerate(BLOCKS[arch], 1) for i in range(1, n + 1)]


def renamed(net, weight, bias):
    """The net's arrays under other names: functions of (position, block, index)."""
    arrays = {}
    for k, (block, i) in enumerate(layers(net.arch)):
        arrays[weight(k, block, i)] = net.params[f"conv{block}_{i}.weight"]
        arrays[bias(k, block, i)] = net.params[f"conv{block}_{i}.bias"]
    return arrays


def torchvision(net):
    modules = MODULES[net.arch]
    return renamed(net, lambda k, b, i: f"features.{modules[k]}.weight", lambda k, b, i: f"features.{modules[k]}.bias")


def hwio(net):
    """Keras's kernels: height, width, inputs (BGR in the first layer), outputs."""
    arrays = {}
    for name, array in net.params.items():
        if name == "conv1_1.weight":
            array = array[:, ::-1]
        arrays[name] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
    return arrays


def same_net(found, net, caffe=False):
    assert found.arch == net.arch and not found.random
    assert list(found.params) == list(net.params)
    for name, array in net.params.items():
        np.testing.assert_array_equal(found.params[name], array, err_msg=name)
    if caffe:
        np.testing.assert_allclose(found.mean, MEANS, rtol=1e-12)
        np.testing.assert_allclose(found.std, [1 / 255] * 3, rtol=1e-12)
    else:
        assert found.mean == (0.485, 0.456, 0.406) and found.std == (0.229, 0.224, 0.225)
