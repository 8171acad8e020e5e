"""The feed-forward nets: sizes, parameter counts, noise, and their layers against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import toy_net
from test_inference import trained

from nst_gluon import methods
from nst_gluon.methods.description import NORMS, PADDINGS, Builder, describe
from nst_gluon.nets import geometry, inputs, operators
from nst_gluon.nets.inference import Inference
from nst_gluon.nets.trained_net import TrainedNet
from nst_gluon.nets.training_net import initialised, with_parameters
from nst_gluon.system.engine import mx
from nst_gluon.system.errors import UserError


def described(method: str, **architecture):
    return describe(methods.get(method), architecture, "net")


@pytest.fixture(scope="module")
def johnson_net():
    return trained("johnson", "stylize")


@pytest.fixture(scope="module")
def texture_stylize():
    return trained("texture_net", "stylize")


@pytest.fixture(scope="module")
def texture_texture():
    return trained("texture_net", "texture")


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 3, height, width)).astype("float32")


def test_published_parameter_counts(johnson_net, texture_stylize, texture_texture):
    assert johnson_net.parameter_count == 1_679_235
    assert texture_texture.parameter_count == 71_659
    assert texture_stylize.parameter_count == 118_211
    assert trained("texture_net", "texture", scales=6).parameter_count == 116_915
    assert trained("johnson", "stylize", norm="batch").parameter_count == 1_679_235


@pytest.mark.parametrize("size", [(64, 64), (61, 47), (1, 1)])
def test_pictures_have_the_size_that_was_asked_for(size, johnson_net, texture_stylize, texture_texture):
    assert texture_texture.generate(size=size).shape == (1, 3, *size)
    for net in (johnson_net, texture_stylize):
        out = net.generate(photo(*size))
        assert out.shape == (1, 3, *size)
        assert np.isfinite(out).all() and 0 <= out.min() <= out.max() <= 1


def test_noise_follows_the_seed(texture_texture, texture_stylize):
    content = photo(64, 64)
    for net, given in ((texture_texture, {"size": (64, 64)}), (texture_stylize, {"content": content})):
        first, again, other = (net.generate(seed=seed, **given) for seed in (1, 1, 2))
        assert (first == again).all()
        assert (first != other).any()
    quiet = texture_stylize.inputs(content, noise_scale=0.0)
    assert all((z.asnumpy() == 0).all() for z in quiet[1:])
    batch = texture_texture.generate(size=(32, 32), batch=3)
    assert batch.shape[0] == 3 and (batch[0] != batch[1]).any()


def test_noise_tensors_halve_and_are_uniform_around_one_half():
    noise = inputs.drawn(described("texture_net"), None, np.random.default_rng(0), (2, 64, 96))
    assert [z.shape for z in noise] == [(2, 3, 64 >> k, 96 >> k) for k in range(5)]
    for z in noise:
        np.testing.assert_allclose(z.mean(axis=(2, 3), dtype="float64"), 0.5, atol=1e-6)
        assert z.dtype == np.float32 and -0.1 < z.min() < 0.15 and 0.85 < z.max() < 1.1
    drawn = np.random.default_rng(0).random(noise[0].shape, dtype=np.float32)
    assert np.ptp(noise[0] - drawn, axis=(2, 3)).max() < 1e-6 and abs(noise[0] - drawn).max() < 0.02
    assert abs(np.sort(noise[0].ravel()) - np.linspace(0, 1, noise[0].size)).max() < 0.02


@pytest.mark.parametrize("norm", NORMS)
def test_by_how_much_noise_differs_from_its_mean_is_all_that_training_sees(norm):
    description = described("texture_net", scales=2, norm=norm)
    net = initialised(description, "xavier")
    noise = inputs.arrays(description, size=(16, 16))
    with mx.autograd.record():
        plain, moved = (net(*(mx.nd.array(z + shift) for z in noise)).asnumpy() for shift in (0, 0.3))
    np.testing.assert_allclose(plain, moved, atol=2e-4)


def test_a_batch_gives_what_its_pictures_give(johnson_net):
    a, b = photo(48, 48, 1), photo(48, 48, 2)
    together = johnson_net.generate(np.concatenate([a, b]))
    np.testing.assert_array_equal(together, np.concatenate([johnson_net.generate(x) for x in (a, b)]))


def test_a_circular_texture_wraps_around():
    """Rolling every noise tensor by one cell of the coarsest rolls the texture: the net knows no border."""
    net = trained("texture_net", "texture", scales=3)
    noise = inputs.arrays(net.description, size=(32, 32))
    rolled = [np.roll(z, (4 >> k, 8 >> k), axis=(2, 3)) for k, z in enumerate(noise)]
    plain, moved = (net.forward(*map(mx.nd.array, zs)).asnumpy() for zs in (noise, rolled))
    np.testing.assert_allclose(np.roll(plain, (4, 8), axis=(2, 3)), moved, atol=1e-5)


@pytest.mark.parametrize("mode", PADDINGS)
@pytest.mark.parametrize("norm", NORMS)
def test_every_layer_computes_what_numpy_does(norm, mode):
    """The net as it is trained, with MXNet's operators for others, and the graph for inference."""
    net = toy_net.net(norm, mode)
    params = toy_net.parameters(net)
    arrays = inputs.arrays(net, photo(52, 68), batch=2)
    expected = toy_net.compute(net, params, arrays)
    given = [mx.nd.array(array) for array in arrays]
    for made in (with_parameters(net, params), with_parameters(net, params, portable=True), Inference(net, params)):
        np.testing.assert_allclose(made(*given).asnumpy(), expected, atol=1e-4)


@pytest.mark.parametrize("out", [2, 3])
def test_a_convolution_in_phases_is_the_convolution_and_so_are_its_gradients(out):
    rng, found = np.random.default_rng(0), []
    values = [mx.nd.array(rng.normal(size=shape)) for shape in ((1, 5, 12, 16), (out, 5, 9, 9), (out,))]
    for phased in (True, False):
        for value in values:
            value.attach_grad()
        with mx.autograd.record():
            if phased:
                y = operators.phased_convolution(mx.nd, *values, out, 9, 4)
            else:
                y = mx.nd.Convolution(*values, num_filter=out, kernel=(9, 9), pad=(4, 4))
        y.backward(mx.nd.sin(y))
        found.append([a.asnumpy() for a in (y, *(value.grad for value in values))])
    for phased, plain in zip(*found):
        np.testing.assert_allclose(phased, plain, rtol=1e-3, atol=1e-3)


def test_working_sizes_are_multiples_and_as_large_as_reflections_need():
    assert geometry.working_size(described("johnson"), 64, 61) == (64, 64)
    assert geometry.working_size(described("johnson"), 10, 100) == (44, 100)
    assert geometry.working_size(described("texture_net", scales=6, padding="reflect"), 33, 256) == (64, 256)
    assert geometry.working_size(described("texture_net"), 1, 17) == (16, 32)
    net = Builder()
    net.crop(net.content(), 1)
    with pytest.raises(UserError, match="^net: no size up to "):
        geometry.working_size(net.build(), 64, 64)


def test_a_stylising_net_needs_a_content(texture_stylize):
    with pytest.raises(UserError, match="content"):
        texture_stylize.generate(size=(64, 64))


def test_parameters_of_another_architecture_are_refused(texture_texture):
    _, meta = toy_net.trained("texture_net", "stylize")
    for method, words in (("texture_net", "parameters"), ("gatys", "optimises"), ("gatis", "unknown"), (3, "unknown")):
        with pytest.raises(UserError, match=words):
            TrainedNet(texture_texture.params, {**meta, "method": method})


@pytest.mark.parametrize(
    ("method", "architecture", "words"),
    [
        ("johnson", [], "not names and values"),
        ("johnson", {"nom": "batch"}, "has no 'nom'; did you mean 'norm'"),
        ("johnson", {"norm": "layer"}, "unknown norm 'layer'; choose from instance, batch"),
        ("johnson", {"residuals": 10**9}, "a whole number"),
        ("johnson", {"residuals": True}, "a whole number"),
        ("johnson", {"residuals": 800}, "from 1 to 4096"),
        ("johnson", {"width": 60.0}, r"5,\d+,\d+,\d+ parameters; the most is"),
        ("johnson", {"width": 1e8}, "channels of conv1.conv"),
        ("johnson", {"width": float("nan")}, "its width is nan, not a number"),
        ("texture_net", {"scales": "5"}, "its scales is '5', not a whole number"),
        ("texture_net", {"scales": None}, "its scales is None"),
        ("texture_net", {"scales": 40}, "of the side"),
        ("texture_net", {"scales": 0}, "."),
        ("texture_net", {"finest": 10**8}, "channels of joins.3"),
        ("texture_net", {"finest": 10.5}, "a whole number or null"),
        ("texture_net", {"padding": "x" * 1000}, "unknown padding 'xxx"),
        ("texture_net", {"noise": float("inf")}, "not a number"),
    ],
)
def test_an_architecture_that_nobody_vouches_for_is_refused_in_one_line(method, architecture, words):
    with pytest.raises(UserError, match=words) as refused:
        describe(methods.get(method), architecture, "the net 'x.npz'")
    assert str(refused.value).startswith("the net 'x.npz': ") and len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 300
