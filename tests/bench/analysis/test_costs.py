"""Counted operations and bytes against published counts, against the nets' own parameters, and against hand counts."""

from __future__ import annotations

import pytest

from bench.analysis import costs
from nst_gluon import assets, methods
from nst_gluon.methods.description import Builder
from nst_gluon.nets import netfile
from nst_gluon.objective import presets

PRESET = presets.get("texture_net_relative")


def johnson(size, **architecture):
    return costs.net(methods.get("johnson").net(**architecture), size)


def texture_net(size, **architecture):
    return costs.net(methods.get("texture_net").net(**architecture), size)


def of_kind(operators, name):
    return [operator for operator in operators if operator.name.startswith(name)]


def test_vgg_has_the_published_operations_and_parameters():
    """Simonyan & Zisserman 2014: 19.6 billion multiply-adds for VGG-19 at 224, 0.12 of them fully connected."""
    every = costs.descriptor("vgg19", ["relu5_4"], (224, 224))
    multiply_adds = sum((o.flops - o.written) / 2 for o in of_kind(every, "conv"))
    assert multiply_adds + (25088 + 4096) * 4096 + 4096 * 1000 == pytest.approx(19.6e9, rel=0.005)
    assert costs.total(every).parameters == 20_024_384
    assert costs.total(costs.descriptor("vgg16", ["relu5_3"], (32, 32))).parameters == 14_714_688


def test_the_descriptor_ends_after_its_deepest_layer():
    names = [o.name for o in costs.descriptor("vgg19", ["relu1_1", "relu3_1", "relu2_1"], (64, 48))]
    assert names == ["mean", "conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1", "relu2_1", "conv2_2",
                     "relu2_2", "pool2", "conv3_1", "relu3_1"]  # fmt: skip
    by_name = {o.name: o for o in costs.descriptor("vgg19", ["relu3_1"], (64, 48))}
    assert by_name["conv3_1"].written == 256 * 16 * 12 and by_name["pool2"].read == 128 * 32 * 24
    assert by_name["pool1"].flops == 64 * 64 * 48  # as many as it reads


@pytest.mark.parametrize("bundled", assets.nets(), ids=lambda net: net.path.stem)
def test_counts_are_those_of_the_bundled_nets(bundled):
    net, params, meta = netfile.checked(bundled.path)
    operators = costs.net(net, (256, 256))
    assert net.parameter_count == sum(v.size for name, v in params.items() if "running" not in name)
    assert costs.total(costs.batched(operators, 4)).parameters == costs.total(operators).parameters
    assert operators[-1].written == 3 * 256 * 256
    kept = {  # as reports of earlier versions have them
        "johnson-stylize": costs.Cost(25_632_526_336, 469_779_980, 1_679_235),
        "texture_net-stylize": costs.Cost(7_261_390_848, 512_995_468, 118_211),
        "texture_net-texture": costs.Cost(3_799_437_312, 380_442_380, 62_923),
    }
    whole = costs.total(operators)
    if meta["method"] == "coarse_net":  # by hand in the next test
        assert whole.parameters == 271_299
    elif meta["method"] == "johnson_slim":  # half the channels: a quarter of the inner layers' work, half of the ends'
        assert 0.25 < whole.flops / kept["johnson-stylize"].flops < 0.5 and whole.parameters == 424_899
    else:
        assert whole == kept[f"{meta['method']}-{meta['task']}"]


def test_the_coarse_net_has_a_seventh_of_the_slim_johnson_nets_operations():
    """As the README says; its own products by hand, at 256: down, residual blocks, up, and the last 5x5."""
    coarse, slim = (
        costs.total(costs.net(method.net(**method.architecture("stylize")), (256, 256)))
        for method in (methods.get("coarse_net"), methods.get("johnson_slim"))
    )
    down = 128**2 * 16 * 3 * 25 + 64**2 * 32 * 16 * 9 + 32**2 * 64 * 32 * 9
    up = 64**2 * 32 * 64 * 9 + 128**2 * 16 * 32 * 9 + 256**2 * 3 * 16 * 25
    products = down + 6 * 32**2 * 64 * 64 * 9 + up
    assert 2 * products < coarse.flops < 2.05 * products and coarse.parameters == 271_299
    assert 6.5 < slim.flops / coarse.flops < 7.5


def test_a_small_case_by_hand():
    """3x3, 2 -> 4 channels, 5x6 pixels: 2*9*2+1 operations for each of 120 outputs; 19*4 parameters."""
    small = costs.conv("c", 2, 4, 3, (5, 6))
    assert (small.flops, small.weights, small.read, small.written) == (37 * 120, 76, 60, 120)
    assert small.bytes() == 4 * 256 and small.bytes("bfloat16") == 2 * 256
    assert costs.conv("c", 2, 4, 3, (5, 6), (7, 8)).read == 2 * 7 * 8
    one = costs.norm("n", "instance", 4, (5, 6))
    assert (one.flops, one.weights, one.read, one.written) == (6 * 120, 8, 120, 120)
    assert costs.norm("n", "batch", 4, (5, 6)).flops == 2 * 120
    assert costs.pool("p", 4, (2, 3), 2).read == 96 and costs.pool("p", 4, (2, 3), 2).written == 24
    pair = [small, one]
    assert costs.total(pair) == costs.Cost(37 * 120 + 6 * 120, 4 * (256 + 248), 84)
    assert costs.total(pair).intensity == pytest.approx(43 * 120 / (4 * 504))
    assert costs.total(costs.batched(pair, 3)).bytes == 4 * (3 * (180 + 240) + 84)


def test_a_texture_net_of_one_scale_by_hand():
    """3 -> 8, 8 -> 8, 8 -> 8 (1x1), 8 -> 3 (1x1) at 4x4, batch norm and leaky ReLU after the first three."""
    operators = texture_net((4, 4), scales=1, padding="zero")
    convolutions = 16 * ((2 * 27 + 1) * 8 + (2 * 72 + 1) * 8 + (2 * 8 + 1) * 8 + (2 * 8 + 1) * 3)
    assert costs.total(operators).flops == convolutions + 3 * 16 * 8 * (2 + 1) + 16 * 3
    moved = 16 * ((3 + 8) + (8 + 8) + (8 + 8) + (8 + 3)) + 3 * 2 * 16 * (8 + 8) + 2 * 16 * 3
    parameters = 28 * 8 + 73 * 8 + 9 * 8 + 9 * 3 + 3 * 16
    assert costs.total(operators).bytes == 4 * (moved + parameters)
    padded = texture_net((4, 4), scales=1)
    assert costs.total(padded).flops == costs.total(operators).flops
    assert costs.total(padded).bytes - costs.total(operators).bytes == 4 * sum(
        channels * (16 + 36 + 36 - 16) for channels in (3, 8)
    )


def test_a_step_is_two_forward_passes_of_operations_and_no_gradient_of_weights():
    for task in ("stylize", "texture"):
        forward = costs.evaluation(PRESET, task, (128, 128))
        step = costs.optimisation_step(PRESET, task, (128, 128))
        assert costs.total(step).flops == 2 * costs.total(forward).flops
        assert len(step) == 2 * len(forward) and step[-1].name == "mean backward"
        assert step[-1].written == 3 * 128 * 128  # the gradient to the picture
    by_name = {o.name: o for o in step}
    conv = by_name["conv3_1"]
    assert (by_name["conv3_1 backward"].read, by_name["conv3_1 backward"].written) == (conv.written, conv.read)
    relu = by_name["relu3_1"]
    assert by_name["relu3_1 backward"].read == relu.written + relu.read
    gram = by_name["gram relu2_1"]
    assert by_name["gram relu2_1 backward"].read == 128 * 128 + gram.read


def test_losses_follow_the_preset_and_the_task():
    texture, stylize = (costs.losses(PRESET, task, (64, 64)) for task in ("texture", "stylize"))
    assert len(texture) == 10 and [o.name for o in stylize[10:]] == ["content relu4_2"]
    assert texture[0].flops == 2 * 64 * 64 * 64 * 64 and texture[0].written == 64 * 64
    assert costs.losses(presets.get("johnson"), "texture", (64, 64))[-1].name == "tv"
    assert not any(o.half for o in stylize)
    described = [o.name for o in costs.evaluation(PRESET, "stylize", (64, 64)) if o.name.startswith("relu")]
    assert "relu4_2" in described and "relu5_1" in described


def test_half_precision_halves_the_bytes_of_what_works_in_it():
    net = johnson((64, 64))
    assert 2 * costs.total(net, "bfloat16").bytes == costs.total(net).bytes
    step = costs.optimisation_step(PRESET, "texture", (64, 64))
    whole, half = costs.total(step), costs.total(step, "bfloat16")
    assert whole.flops == half.flops and whole.bytes / 2 < half.bytes < whole.bytes
    first = next(o for o in step if o.name == "conv1_1")
    assert first.bytes("bfloat16") == first.bytes()


def test_operations_grow_with_the_pixels_and_sizes_must_be_possible():
    small, large = (costs.total(texture_net((side, side))).flops for side in (128, 256))
    assert large == 4 * small
    with pytest.raises(ValueError, match="40 x 44"):
        johnson((40, 44))


def test_layers_are_those_of_the_descriptor():
    pytest.importorskip("mxnet")
    from nst_gluon.descriptor import vgg

    assert (costs.CONVOLUTIONS, costs.CHANNELS) == (vgg.CONVOLUTIONS, vgg.CHANNELS)


def test_a_net_of_every_other_layer_by_hand():
    """On 8x8: what the nets above do not have, and what costs nothing."""
    net = Builder()
    x = net.affine(net.content(), 2.0)  # 192 operations, moves 384
    y = net.crop(net.pad(x, 1, "zero"), 1)  # moves 192 + 300
    x = net.add(x, y)  # 192; 576
    z = net.upsample(net.average_pool(x, 2))  # 192; 192 + 48; 48 + 192
    net.affine(net.activation(net.concatenate(z), "tanh"), 2.0, 1.0)  # 384; then 192 * 3; 384
    total = costs.total(costs.net(net.build(), (8, 8)))
    assert total == costs.Cost(192 * (1 + 1 + 1 + 3), 4 * (384 + 492 + 576 + 240 + 240 + 384 + 384), 0)
