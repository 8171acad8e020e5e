"""The descriptor and every preset against plain numpy (tests/oracle.py), and gradients against differences."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from oracle import picture

from nst_gluon.descriptor import vgg
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective, gram, total_variation
from nst_gluon.system.engine import mx
from nst_gluon.system.errors import NotFinite, UserError

PRESET = presets.get("texture_net_relative")


@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("arch", ["vgg16", "vgg19"])
def test_activations_are_those_of_plain_numpy(arch, pooling, vgg16, vgg19):
    weights = {"vgg16": vgg16, "vgg19": vgg19}[arch]
    names = ("relu5_1", "relu1_1", "conv3_2", "relu2_2", "relu4_3", "conv1_1")
    x = picture(3, 37, 50)  # odd sides: the pooling drops the rest
    expected = oracle.describe(x[0], weights, pooling)
    actual = vgg.Descriptor(weights, names, pooling)(mx.nd.array(x))
    for name, activation in zip(names, actual):
        array = activation.asnumpy()[0]
        assert array.shape == expected[name].shape == vgg.layer_shape(name, 37, 50)
        np.testing.assert_allclose(array, expected[name], atol=1e-4 * np.abs(expected[name]).max(), rtol=0)


def test_the_network_ends_at_the_deepest_layer_that_is_needed():
    assert vgg.plan("vgg19", ["relu2_1", "relu1_2"]) == [(1, 1), (1, 2), (2, 1)]
    assert len(vgg.plan("vgg19", ["relu5_1"])) == 13
    with pytest.raises(UserError, match="relu3_4"):
        vgg.plan("vgg16", ["relu3_4"])


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_terms_of_each_preset_are_those_of_plain_numpy(name, vgg16, vgg19):
    preset = presets.get(name)
    weights = {"vgg16": vgg16, "vgg19": vgg19}[preset.arch]
    x, style, content = picture(1), picture(2, 48, 32), picture(3)
    if name == "keras":
        style = picture(2)  # its Grams are not normalised: both pictures have one size
    expected = getattr(oracle, name)(x[0], style[0], content[0], weights)
    terms = Objective(preset, weights, "stylize", style, content).terms(x)
    for actual, wanted in zip((terms.content, terms.style, terms.tv), expected):
        assert actual == pytest.approx(wanted, rel=1e-4, abs=1e-12)
    assert terms.objective == pytest.approx(terms.content + terms.style + terms.tv, rel=1e-6)


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_gradient_agrees_with_differences(name, vgg16, vgg19):
    preset = presets.get(name)
    weights = {"vgg16": vgg16, "vgg19": vgg19}[preset.arch]
    x = picture(1)
    objective = Objective(preset, weights, "stylize", picture(2), picture(3))
    _, gradient = objective.value_and_gradient(x)
    direction = gradient / np.linalg.norm(gradient)
    errors = []
    for h in (1e-1, 3e-2, 1e-2):  # the best of three: truncation against float32's rounding
        ahead = objective.terms(x + h * direction).objective
        behind = objective.terms(x - h * direction).objective
        slope = (ahead - behind) / (2 * h)
        errors.append(abs(slope / np.linalg.norm(gradient) - 1))
    assert min(errors) < 1e-2


def test_texture_objective_has_no_content_term(vgg19):
    x, style = picture(1), picture(2)
    preset = PRESET
    texture = Objective(preset, vgg19, "texture", style).terms(x)
    stylize = Objective(preset, vgg19, "stylize", style, x).terms(x)
    assert texture.content == 0
    assert texture.objective == pytest.approx(stylize.style, rel=1e-5)


def test_the_style_itself_has_no_style_loss(vgg19):
    style = picture(2)
    terms = Objective(PRESET, vgg19, "texture", style).terms(style)
    other = Objective(PRESET, vgg19, "texture", style).terms(picture(1))
    assert terms.objective < 1e-8 * other.objective


def test_a_batch_has_the_losses_of_its_pictures(vgg19):
    style, content = picture(2), np.concatenate([picture(3), picture(4)])
    batch = np.concatenate([picture(5), picture(6)])
    objective = Objective(presets.get("johnson"), vgg19, "stylize", style)
    together = objective.loss(mx.nd.array(batch), objective.content_targets(content))
    for i in range(2):
        one = objective.loss(mx.nd.array(batch[i : i + 1]), objective.content_targets(content[i : i + 1]))
        for a, b in zip(together, one):
            assert a.asnumpy()[i] == pytest.approx(b.asscalar(), rel=1e-5)


@pytest.mark.usefixtures("bfloat16_processor")
def test_bfloat16_follows_float32(vgg19):
    x, style, content = picture(1), picture(2), picture(3)
    results = [
        Objective(PRESET, vgg19, "stylize", style, content, dtype=dtype).value_and_gradient(x)
        for dtype in ("float32", "bfloat16")
    ]
    (single, g32), (half, g16) = results
    assert half.objective == pytest.approx(single.objective, rel=0.05)
    assert half.objective != single.objective
    cosine = (g32 * g16).sum() / np.linalg.norm(g32) / np.linalg.norm(g16)
    assert cosine > 0.97  # random weights spread the rounding more than trained ones do


@pytest.mark.parametrize(("divisor", "scale"), [("none", 1), ("hw", 30), ("chw", 120)])
@pytest.mark.parametrize("batch", [1, 3])
def test_gram(divisor, scale, batch):
    x = np.random.default_rng(0).standard_normal((batch, 4, 5, 6)).astype("float32")
    actual = gram(mx.nd, mx.nd.array(x), x.shape, divisor).asnumpy()
    flat = x.reshape(batch, 4, 30).astype("float64")
    np.testing.assert_allclose(actual, np.einsum("nip,njp->nij", flat, flat) / scale, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["l1", "squared", "keras"])
def test_total_variation_of_a_flat_picture_is_zero_and_its_gradient_finite(kind):
    x = mx.nd.ones((1, 3, 4, 5)) * 0.5
    x.attach_grad()
    with mx.autograd.record():
        value = total_variation(mx.nd, x, kind)
    value.backward()
    assert value.asscalar() == 0
    assert (x.grad.asnumpy() == 0).all()


def test_bad_pictures_are_refused(vgg19):
    style, content = picture(2), picture(3)
    with pytest.raises(UserError, match="too small"):
        Objective(PRESET, vgg19, "texture", style[:, :, :8, :8])
    objective = Objective(PRESET, vgg19, "stylize", style, content)
    with pytest.raises(UserError, match="too small"):
        objective.terms(style[:, :, :15])
    with pytest.raises(NotFinite):
        objective.value_and_gradient(np.full_like(content, np.nan))
    with pytest.raises(UserError, match="content"):
        Objective(PRESET, vgg19, "stylize", style).terms(content)
