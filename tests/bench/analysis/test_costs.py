"""Counted operations and bytes against published counts, against the nets' own parameters, and against hand counts."""

from __future__ import annotations

import numpy as np
import pytest

from bench.analysis import costs
from nst_gluon import assets
from nst_gluon.nets import netfile
from nst_gluon.objective import presets

PRESET = presets.get("texture_net")
BUNDLED = {(net.method, net.task): netfile.load(net.path) for net in assets.nets()}


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


@pytest.mark.parametrize(
    ("operators", "parameters"),
    [
        (costs.johnson((256, 256)), 1_679_235),
        (costs.johnson((256, 256), "batch"), 1_679_235),
        (costs.texture_net((256, 256)), 71_659),
        (costs.texture_net((256, 256), 6, True, "instance", "reflect"), 118_211),
        (costs.texture_net((256, 256), 6), 116_915),
    ],
)
def test_nets_have_the_published_parameters(operators, parameters):
    assert costs.total(operators).parameters == parameters
    assert costs.total(costs.batched(operators, 4)).parameters == parameters


@pytest.mark.parametrize(("method", "task"), BUNDLED, ids="-".join)
def test_counts_are_those_of_the_bundled_nets(method, task):
    params, meta = BUNDLED[method, task]
    operators = costs.net(method, meta["architecture"], (256, 256))
    learnt = sum(value.size for name, value in params.items() if "running" not in name)
    assert costs.total(operators).parameters == learnt
    convolutions = [o for o in operators if o.weights and "norm" not in o.name]
    assert len(convolutions) == sum(name.endswith("weight") for name in params)


def test_a_small_case_by_hand():
    """3x3, 2 -> 4 channels, 5x6 pixels: 2*9*2+1 operations for each of 120 outputs; 19*4 parameters."""
    small = costs.conv("c", 2, 4, 3, (5, 6))
    assert (small.flops, small.weights, small.read, small.written) == (37 * 120, 76, 60, 120)
    assert small.bytes() == 4 * 256 and small.bytes("bfloat16") == 2 * 256
    assert costs.conv("c", 2, 4, 3, (5, 6), margin=2).read == 2 * 7 * 8
    assert costs.conv("c", 2, 4, 3, (5, 6), stride=2).read == 2 * 10 * 12
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
    operators = costs.texture_net((4, 4), scales=1, padding="zero")
    convolutions = 16 * ((2 * 27 + 1) * 8 + (2 * 72 + 1) * 8 + (2 * 8 + 1) * 8 + (2 * 8 + 1) * 3)
    assert costs.total(operators).flops == convolutions + 3 * 16 * 8 * (2 + 1) + 16 * 3
    moved = 16 * ((3 + 8) + (8 + 8) + (8 + 8) + (8 + 3)) + 3 * 2 * 16 * (8 + 8) + 2 * 16 * 3
    parameters = 28 * 8 + 73 * 8 + 9 * 8 + 9 * 3 + 3 * 16
    assert costs.total(operators).bytes == 4 * (moved + parameters)
    padded = costs.texture_net((4, 4), scales=1)
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
    assert costs.names(PRESET, "stylize")[-1] == "relu4_2"


def test_half_precision_halves_the_bytes_of_what_works_in_it():
    net = costs.johnson((64, 64))
    assert 2 * costs.total(net, "bfloat16").bytes == costs.total(net).bytes
    step = costs.optimisation_step(PRESET, "texture", (64, 64))
    whole, half = costs.total(step), costs.total(step, "bfloat16")
    assert whole.flops == half.flops and whole.bytes / 2 < half.bytes < whole.bytes
    first = next(o for o in step if o.name == "conv1_1")
    assert first.bytes("bfloat16") == first.bytes()


def test_operations_grow_with_the_pixels_and_nets_work_at_their_own_sizes():
    small, large = (costs.total(costs.texture_net((side, side))).flops for side in (128, 256))
    assert large == 4 * small
    assert costs.net("johnson", {"norm": "instance"}, (254, 61)) == costs.johnson((256, 64))
    assert costs.net("johnson", {}, (9, 9)) == costs.johnson((44, 44))
    architecture = {"scales": 3, "content": True, "norm": "instance", "padding": "reflect", "noise": 0.1}
    assert costs.net("texture_net", architecture, (3, 9)) == costs.texture_net((8, 12), 3, True, "instance", "reflect")
    with pytest.raises(ValueError, match="gatys"):
        costs.net("gatys", {}, (64, 64))


def test_sizes_are_those_that_the_engine_works_at_and_layers_its_own():
    pytest.importorskip("mxnet")
    from nst_gluon.descriptor import vgg
    from nst_gluon.nets import generator

    assert (costs.CONVOLUTIONS, costs.CHANNELS) == (vgg.CONVOLUTIONS, vgg.CHANNELS)
    for (method, _), (_, meta) in BUNDLED.items():
        module = generator.method_module(method)
        for size in ((1, 1), (61, 130), (256, 256)):
            full = module.working_size(meta["architecture"], *size)
            assert costs.net(method, meta["architecture"], size) == costs.net(method, meta["architecture"], full)
            last = costs.net(method, meta["architecture"], size)[-1]
            assert last.written == 3 * full[0] * full[1]


def test_the_shapes_are_the_engine_s_own():
    """Elements of every convolution's output, against what MXNet infers for the net itself."""
    mx = pytest.importorskip("mxnet")
    from nst_gluon.nets.generator import method_module, parameters_of

    for (method, task), (_, meta) in BUNDLED.items():
        net = method_module(method).build(meta["architecture"])
        inputs = [mx.sym.var("content")] if task == "stylize" else []
        shapes = {"content": (1, 3, 128, 128)} if task == "stylize" else {}
        if method == "texture_net":
            for k in range(meta["architecture"]["scales"]):
                inputs.append(mx.sym.var(f"noise{k}"))
                shapes[f"noise{k}"] = (1, 3, 128 >> k, 128 >> k)
        assert parameters_of(net)
        outputs = net(*inputs).get_internals()
        _, found, _ = outputs.infer_shape(**shapes)
        listed = dict(zip(outputs.list_outputs(), found))
        engine = sorted(
            int(np.prod(shape)) for name, shape in listed.items()
            if name.endswith("_fwd_output") and ("conv" in name.rsplit("_", 2)[-3])
        )  # fmt: skip
        ours = sorted(
            o.written
            for o in costs.net(method, meta["architecture"], (128, 128))
            if o.weights and "norm" not in o.name
        )
        assert engine == ours, method
