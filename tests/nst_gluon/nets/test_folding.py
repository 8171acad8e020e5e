"""Folding of batch normalisation: the same numbers by numpy, and nothing left that could be folded."""

from __future__ import annotations

import numpy as np
import pytest
import toy_net

from nst_gluon.methods.description import PADDINGS, Builder, Norm
from nst_gluon.nets.folding import fold


@pytest.mark.parametrize("mode", PADDINGS)
def test_a_folded_net_computes_the_same(mode):
    net = toy_net.net("batch", mode)
    params, rng = toy_net.parameters(net), np.random.default_rng(1)
    inputs = [rng.random((2, given.channels, 16 >> given.reduction, 24 >> given.reduction)) for given in net.inputs]
    folded, found = fold(net, params)
    expected = toy_net.compute(net, params, inputs)
    np.testing.assert_allclose(toy_net.compute(folded, found, inputs), expected, atol=1e-6)
    left = {layer.name for layer in folded.layers if isinstance(layer, Norm)}
    # What a crop precedes, and what zeros follow, also across a concatenation.
    assert left == {"norm1", "norm5"} | ({"norm2"} if mode == "zero" else set())
    folded.check({name: value.shape for name, value in found.items()}, "folded")


def test_instance_norm_and_what_others_read_stay():
    net = toy_net.net("instance")
    assert fold(net, toy_net.parameters(net))[0] == net
    b = Builder()
    x = b.convolution("conv", b.content(), 3, 1)
    b.add(x, b.norm("norm", x, "batch"))
    net = b.build()
    assert fold(net, toy_net.parameters(net))[0] == net
