"""The graph for inference makes the picture that the net makes as it is trained, for every architecture."""

from __future__ import annotations

import numpy as np
import pytest
import toy_net

from nst_gluon import assets
from nst_gluon.methods.description import PADDINGS, Builder
from nst_gluon.nets import inference_graph, kernels, patterns, training_net
from nst_gluon.nets.geometry import margins
from nst_gluon.nets.inference import Inference
from nst_gluon.nets.trained_net import TrainedNet, load_net
from nst_gluon.pictures import images
from nst_gluon.system.engine import mx

TOLERANCE = 1e-4
SIZES = [(64, 64), (33, 100), (1, 1)]


def trained(method: str, task: str, **changes) -> TrainedNet:
    """A net whose normalisations are anything but trivial: scales of both signs, shifts, running statistics."""
    return TrainedNet(*toy_net.trained(method, task, **changes))


def photo(height: int, width: int) -> np.ndarray:
    return images.resize(images.load(assets.content_path("astronaut"), 128), (height, width))


def difference(net: TrainedNet, height: int, width: int, batch: int = 1) -> float:
    """Largest difference between the training graph's picture (in predict mode) and that for inference."""
    content = photo(height, width) if net.task == "stylize" else None
    inputs = net.inputs(content, (height, width), batch)
    expected = net.net(*inputs).asnumpy()
    return float(np.abs(net.forward(*inputs).asnumpy() - expected).max())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("residuals", [5, 2])
def test_johnson_with_batch_norm(residuals, size):
    assert difference(trained("johnson", "stylize", norm="batch", residuals=residuals), *size) < TOLERANCE


@pytest.mark.parametrize("width", [0.5, 0.25])
def test_a_slim_johnson_net_with_a_linear_output(width):
    net = trained("johnson", "stylize", output="linear", width=width)
    assert difference(net, 64, 48) < TOLERANCE
    picture = net.forward(*net.inputs(np.zeros((1, 3, 64, 48), np.float32))).asnumpy()
    assert picture.shape == (1, 3, 64, 48)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("padding", ["circular", "reflect", "zero"])
@pytest.mark.parametrize("task", ["texture", "stylize"])
def test_texture_net_with_batch_norm(task, padding, size):
    assert difference(trained("texture_net", task, norm="batch", padding=padding), *size) < TOLERANCE


@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize("net", ["johnson", "coarse_net", "circular", "reflect", "zero"])
def test_instance_norm(monkeypatch, net, size):
    """It divides by standard deviations that may be small, so that float32 itself is off by more: as near to the
    picture in float64 as the training graph is."""
    changes = {"coarse_net": {}, "johnson": {"norm": "instance"}}.get(net, {"norm": "instance", "padding": net})
    net = trained("texture_net" if "padding" in changes else net, "stylize", **changes)
    inputs = net.inputs(photo(*size))
    training, inference_ = net.net(*inputs).asnumpy(), net.forward(*inputs).asnumpy()

    def upsample(F, x, channels):
        return F.UpSampling(x, scale=2, sample_type="nearest")

    monkeypatch.setattr(training_net, "upsample", upsample)
    net.net.cast("float64")
    net.net.hybridize(False)
    truth = net.net(*(x.astype("float64") for x in inputs)).asnumpy()
    assert np.abs(inference_ - truth).max() <= max(TOLERANCE, 3 * np.abs(training - truth).max())


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_sums_of_branches_are_what_numpy_computes(norm):
    net = toy_net.branches(norm)
    params, content = toy_net.parameters(net), photo(40, 56)
    expected = toy_net.compute(net, params, [content])
    assert np.abs(Inference(net, params)(mx.nd.array(content)).asnumpy() - expected).max() < TOLERANCE


@pytest.mark.parametrize("scales", [1, 3, 6])
def test_any_number_of_scales(scales):
    for padding in ("circular", "reflect"):
        assert difference(trained("texture_net", "texture", scales=scales, padding=padding), 64, 96) < TOLERANCE


@pytest.mark.parametrize("finest", [8, 50])
def test_a_finest_scale_of_any_width(finest):
    for changes in ({}, {"scales": 2}, {"norm": "instance", "padding": "reflect"}):
        assert difference(trained("texture_net", "texture", finest=finest, **changes), 64, 96) < TOLERANCE


@pytest.mark.parametrize(("lanes", "widest"), [(8, 3), (16, 99)])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_graphs_of_every_processor(monkeypatch, lanes, widest, norm):
    """With AVX2 and with AVX-512, whatever this processor has."""
    monkeypatch.setattr(kernels, "LANES", lanes)
    monkeypatch.setattr(inference_graph, "WIDEST_PAD", widest)
    assert difference(trained("johnson", "stylize", norm=norm, residuals=1), 64, 80) < TOLERANCE
    assert difference(trained("texture_net", "stylize", norm=norm, scales=2, finest=24), 64, 80) < TOLERANCE


@pytest.mark.parametrize(("method", "changes"), [("johnson", {}), ("texture_net", {"scales": 3})])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_batches(method, changes, norm):
    assert difference(trained(method, "stylize", norm=norm, **changes), 64, 64, batch=3) < 5 * TOLERANCE


@pytest.mark.parametrize("net", assets.nets(), ids=lambda net: net.path.stem)
def test_bundled_nets(net):
    assert difference(load_net(net.path), 256, 192) < 2 * TOLERANCE


@pytest.mark.usefixtures("bfloat16_processor")
@pytest.mark.parametrize("net", assets.nets(), ids=lambda net: net.path.stem)
def test_bfloat16_keeps_the_picture(net):
    """At least 38 dB against float32; nothing was calibrated on these photos, nor on any others."""
    single, half = load_net(net.path), load_net(net.path, dtype="bfloat16")
    for name in ("astronaut", "rocket") if net.task == "stylize" else (None,):
        content = name and images.load(assets.content_path(name), 256)
        pictures = [made.generate(content, (256, 256), seed=1) for made in (single, half)]
        assert pictures[1].dtype == np.float32
        assert 38 < images.psnr(*pictures) < 80


def test_the_net_can_be_used_at_many_sizes_one_after_the_other():
    net = trained("texture_net", "texture")
    for side in (32, 48, 64, 32, 48):
        assert difference(net, side, side) < TOLERANCE


@pytest.mark.parametrize(("kernel", "apart"), [(5, True), (5, False), (7, False)])
@pytest.mark.parametrize("mode", PADDINGS)
def test_a_large_last_kernel_makes_four_pixels_at_a_time(mode, kernel, apart):
    """Of 5x5, right after upsampling (not ``apart``) and padded with zeros: from the coarser picture."""
    net = Builder()
    x = net.convolution("first", net.content(), 8, 3, stride=2, padding=1)
    x = net.activation(net.upsample(x), "relu") if apart else net.upsample(net.activation(x, "relu"))
    x = net.convolution("last", x, 3, kernel, padding=kernel // 2, mode=mode)
    net.affine(net.activation(x, "tanh"), 0.5, 0.5)
    net = net.build()
    assert patterns.is_phased(net, net["last"]) and not patterns.is_phased(net, net["first"])
    params, inputs = toy_net.parameters(net), [photo(24, 20)]
    graph = inference_graph.InferenceGraph(net, params, {}, [inputs[0].shape])
    *_, last = (array for array in graph.arrays.values() if array.ndim == 4)
    assert last.shape[2] == (3 if kernel == 5 and not apart and mode == "zero" else kernel + 1)
    for made in (Inference(net, params), training_net.with_parameters(net, params)):
        picture = made(*map(mx.nd.array, inputs)).asnumpy()
        np.testing.assert_allclose(picture, toy_net.compute(net, params, inputs), atol=TOLERANCE)


def test_margins_by_hand():
    """From the finest scale up: (m + 2) finer pixels are half as many coarser ones, rounded up; a block takes 2."""
    found = margins(trained("texture_net", "texture", scales=6).description)
    assert [found[f"noise{k}"] for k in range(6)] == [0 + 4, 1 + 4, 2 + 4, 2 + 4, 2 + 4, 2 + 2]
    assert margins(trained("johnson", "stylize").description) is None
    assert margins(toy_net.net("batch", "circular")) is None


@pytest.mark.parametrize("rows", [4, 24])
@pytest.mark.parametrize("scales", [2, 5])
def test_strips_of_the_finest_scale_make_the_same_picture(monkeypatch, scales, rows):
    """Of 4 and 24 rows, the last one shorter, and of all at once."""
    net = trained("texture_net", "texture", scales=scales)
    monkeypatch.setattr(inference_graph, "STRIP_ROWS", rows)
    assert difference(net, 64, 64) < TOLERANCE
    assert difference(net, 32, 64, batch=2) < TOLERANCE


@pytest.mark.parametrize(("faster", "expected"), [(1, 1), (4, 4), (8, 8)])
def test_a_batch_goes_through_in_the_groups_that_a_trial_finds_fastest(monkeypatch, faster, expected):
    net = trained("texture_net", "texture", scales=3)
    inputs = net.inputs(None, (32, 32), 8, seed=3)
    single = np.concatenate([net.forward(*(x[i : i + 1] for x in inputs)).asnumpy() for i in range(8)])
    run = Inference(net.description, net.params)
    tried = []

    def seconds(self, inputs, size):
        tried.append(size)
        return 0.5 if size == faster else 1.0

    monkeypatch.setattr(Inference, "_seconds", seconds)
    for _ in range(2):
        np.testing.assert_array_equal(run(*inputs).asnumpy(), single)
    assert tried == [1, 4, 8] and set(run._groups.values()) == {expected}


def test_a_group_is_no_larger_than_a_cache(monkeypatch):
    net = trained("texture_net", "texture", scales=3)
    inputs, run = net.inputs(None, (32, 32), 4), Inference(net.description, net.params)
    monkeypatch.setattr("nst_gluon.nets.inference.GROUP_PIXELS", 32 * 32)
    assert run(*inputs).shape == (4, 3, 32, 32) and set(run._groups.values()) == {1}
