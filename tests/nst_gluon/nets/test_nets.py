"""The feed-forward nets: sizes, parameter counts, noise, and their layers against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from nst_gluon.methods import johnson, texture_net
from nst_gluon.nets import generator, layers
from nst_gluon.nets.generator import Generator, parameters_of
from nst_gluon.system.engine import mx
from nst_gluon.system.errors import UserError


def fresh(method: str, task: str, seed: int = 0, **changes) -> Generator:
    """An untrained net."""
    module = generator.method_module(method)
    architecture = {**module.architecture(task), **changes}
    mx.random.seed(seed)
    np.random.seed(seed)
    net = module.build(architecture)
    net.initialize(module.initializer())
    params = {name: p.data().asnumpy() for name, p in parameters_of(net).items()}
    return Generator(params, {"method": method, "task": task, "architecture": architecture})


@pytest.fixture(scope="module")
def johnson_net():
    return fresh("johnson", "stylize")


@pytest.fixture(scope="module")
def texture_stylize():
    return fresh("texture_net", "stylize")


@pytest.fixture(scope="module")
def texture_texture():
    return fresh("texture_net", "texture")


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 3, height, width)).astype("float32")


def test_published_parameter_counts(johnson_net, texture_stylize, texture_texture):
    assert johnson_net.parameter_count == 1_679_235
    assert texture_texture.parameter_count == 71_659
    assert texture_stylize.parameter_count == 118_211
    assert fresh("texture_net", "texture", scales=6).parameter_count == 116_915
    assert fresh("johnson", "stylize", norm="batch").parameter_count == 1_679_235


@pytest.mark.parametrize("size", [(64, 64), (48, 60), (61, 47), (30, 33), (2, 5), (1, 1)])
def test_output_has_the_size_of_the_content(size, johnson_net, texture_stylize):
    for net in (johnson_net, texture_stylize):
        out = net.generate(photo(*size))
        assert out.shape == (1, 3, *size)
        assert np.isfinite(out).all() and 0 <= out.min() <= out.max() <= 1


@pytest.mark.parametrize("size", [(64, 64), (16, 32), (50, 33), (1, 1)])
def test_textures_of_any_size(size, texture_texture):
    assert texture_texture.generate(size=size).shape == (1, 3, *size)


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
    noise = texture_net.sample_noise(np.random.default_rng(0), 2, 64, 96, 5)
    assert [z.shape for z in noise] == [(2, 3, 64 >> k, 96 >> k) for k in range(5)]
    for z in noise:
        np.testing.assert_allclose(z.mean(axis=(2, 3), dtype="float64"), 0.5, atol=1e-6)
        assert z.dtype == np.float32 and -0.1 < z.min() < 0.15 and 0.85 < z.max() < 1.1
    drawn = np.random.default_rng(0).random(noise[0].shape, dtype=np.float32)
    assert np.ptp(noise[0] - drawn, axis=(2, 3)).max() < 1e-6 and abs(noise[0] - drawn).max() < 0.02
    assert abs(np.sort(noise[0].ravel()) - np.linspace(0, 1, noise[0].size)).max() < 0.02


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_by_how_much_noise_differs_from_its_mean_is_all_that_training_sees(norm):
    net = texture_net.build({"scales": 2, "norm": norm})
    net.initialize(mx.init.Xavier())
    noise = texture_net.sample_noise(np.random.default_rng(0), 1, 16, 16, 2)
    with mx.autograd.record():
        plain, moved = (net(*(mx.nd.array(z + shift) for z in noise)).asnumpy() for shift in (0, 0.3))
    np.testing.assert_allclose(plain, moved, atol=2e-4)


def test_a_batch_gives_what_its_pictures_give(johnson_net):
    a, b = photo(48, 48, 1), photo(48, 48, 2)
    together = johnson_net.generate(np.concatenate([a, b]))
    np.testing.assert_array_equal(together, np.concatenate([johnson_net.generate(x) for x in (a, b)]))


def test_a_circular_texture_wraps_around():
    """Rolling every noise tensor by one cell of the coarsest rolls the texture: the net knows no border."""
    net = fresh("texture_net", "texture", scales=3)
    noise = texture_net.sample_noise(np.random.default_rng(0), 1, 32, 32, 3)
    rolled = [np.roll(z, (4 >> k, 8 >> k), axis=(2, 3)) for k, z in enumerate(noise)]
    plain, moved = (net.forward(*map(mx.nd.array, zs)).asnumpy() for zs in (noise, rolled))
    np.testing.assert_allclose(np.roll(plain, (4, 8), axis=(2, 3)), moved, atol=1e-5)


@pytest.mark.parametrize(("mode", "numpy_mode"), [("circular", "wrap"), ("reflect", "reflect"), ("zero", "constant")])
@pytest.mark.parametrize("amount", [0, 1, 3])
def test_padding(mode, numpy_mode, amount):
    x = photo(5, 6)
    expected = np.pad(x, ((0, 0), (0, 0), (amount, amount), (amount, amount)), mode=numpy_mode)
    np.testing.assert_array_equal(layers.pad(mx.nd, mx.nd.array(x), amount, mode).asnumpy(), expected)


def test_upsampling_repeats_every_pixel():
    x = photo(3, 4)
    expected = x.repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_array_equal(layers.upsample(mx.nd, mx.nd.array(x), 3).asnumpy(), expected)


@pytest.mark.parametrize("out", [2, 3])
def test_a_convolution_in_phases_is_the_convolution_and_so_are_its_gradients(out):
    x, found = mx.nd.array(np.random.default_rng(0).normal(size=(1, 5, 12, 16))), []
    for kind in (layers.PhasedConv2D, layers.Conv2D):
        mx.random.seed(1)
        conv = kind(out, 9, padding=4, in_channels=5)
        conv.initialize(mx.init.Normal(0.1))
        x.attach_grad()
        with mx.autograd.record():
            y = conv(x)
        y.backward(mx.nd.sin(y))
        found.append([a.asnumpy() for a in (y, x.grad, conv.weight.grad(), conv.bias.grad())])
    for phased, plain in zip(*found):
        np.testing.assert_allclose(phased, plain, rtol=1e-4, atol=1e-5)


def test_instance_norm_is_the_formula():
    layer = layers.InstanceNorm(4)
    layer.initialize()
    gamma, beta = np.array([1.0, 2, 0.5, -1]), np.array([0.0, 1, -1, 3])
    layer.gamma.set_data(mx.nd.array(gamma))
    layer.beta.set_data(mx.nd.array(beta))
    x = np.random.default_rng(0).standard_normal((1, 4, 6, 7)).astype("float32") * 3 + 1
    with mx.autograd.train_mode():
        actual = layer(mx.nd.array(x)).asnumpy()
    mean, variance = x.mean(axis=(2, 3), keepdims=True), x.var(axis=(2, 3), keepdims=True)
    expected = (x - mean) / np.sqrt(variance + 1e-5) * gamma.reshape(1, 4, 1, 1) + beta.reshape(1, 4, 1, 1)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_instance_normalised_nets_ignore_brightness_and_contrast_of_other_pictures(johnson_net):
    """Each picture of a batch is normalised by itself."""
    a = photo(48, 48, 1)
    alone = johnson_net.generate(a)
    beside = johnson_net.generate(np.concatenate([a, np.zeros_like(a)]))[:1]
    np.testing.assert_array_equal(alone, beside)


def test_johnson_needs_multiples_of_four_and_says_which(johnson_net):
    assert johnson.working_size({}, 64, 61) == (64, 64)
    assert johnson.working_size({}, 10, 100) == (44, 100)
    assert texture_net.working_size(texture_net.architecture("stylize"), 33, 256) == (64, 256)


def test_a_stylising_net_needs_a_content(texture_stylize):
    with pytest.raises(UserError, match="content"):
        texture_stylize.generate(size=(64, 64))


def test_parameters_of_another_architecture_are_refused(texture_texture):
    meta = {**texture_texture.meta, "architecture": texture_net.architecture("stylize")}
    params = {name: p.data().asnumpy() for name, p in parameters_of(texture_texture.net).items()}
    with pytest.raises(UserError, match="parameters"):
        Generator(params, meta)
    with pytest.raises(UserError, match="optimises"):
        generator.method_module("gatys")
