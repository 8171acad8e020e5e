"""Nets that other programs wrote: a state dictionary of PyTorch's TransformerNet, and ONNX files."""

from __future__ import annotations

import numpy as np
import pytest
import toy_net

from nst_gluon import assets, methods
from nst_gluon.nets import foreign, netfile
from nst_gluon.pictures import images
from nst_gluon.system.errors import UserError

NAMES = {"gamma": "weight", "beta": "bias"}


@pytest.fixture
def state():
    """A small state dictionary under the names of PyTorch's examples, by numpy."""
    net = methods.get("transformer_net").net(8, 9, 10, 2)
    named = ((name.rpartition("."), value) for name, value in toy_net.parameters(net).items())
    return {f"{layer}.{NAMES.get(part, part)}": value for (layer, _, part), value in named}


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def refused(path) -> str:
    with pytest.raises(UserError) as caught:
        netfile.load(path)
    assert "\n" not in str(caught.value) and repr(str(path)) in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------ state dictionaries


@pytest.mark.parametrize(
    ("shape", "how"),
    [
        ({}, {}),
        ({"old": True}, {}),
        ({"widths": (8, 16, 24), "residuals": 2}, {"_use_new_zipfile_serialization": False}),
    ],
    ids=["as today", "with statistics that nobody reads", "smaller, in the old format"],
)
def test_every_engine_makes_the_picture_of_the_net_s_own_code(tmp_path, shape, how):
    pytest.importorskip("torch")
    import transformer_net

    from bench.plan import engines

    own = transformer_net.random(0, **shape)
    path = transformer_net.save(own, tmp_path / "mosaic.pth", **how)
    content = images.load(assets.content_path("chelsea"), 128)[:, :, :72, :100]
    expected = transformer_net.picture(own, content)
    assert expected.std() > 0.05
    able = [engine for engine in engines.ENGINES.values() if engine.missing() is None]
    for engine in able:
        made = getattr(engine.load(), engine.backend)("cpu", "float32").generator(path).generate(content)
        assert images.psnr(made, expected) >= 60, engine.name
    assert netfile.describe(path)["style"] == "mosaic"


def test_a_state_dictionary_becomes_a_net_of_its_method(tmp_path, state):
    net, params, meta = netfile.checked(save(tmp_path / "udnie.npz", state))
    assert (meta["method"], meta["task"], meta["style"]) == ("transformer_net", "stylize", "udnie")
    assert meta["architecture"] == {"first": 8, "second": 9, "third": 10, "residuals": 2}
    assert net.parameter_count == sum(value.size for value in state.values())
    assert (params["in1.gamma"] == state["in1.weight"]).all()
    wrapped = {f"module.{name}": value for name, value in state.items()}
    assert netfile.checked(save(tmp_path / "wrapped.npz", wrapped))[0] == net
    assert methods.get("transformer_net").net().parameter_count == 1_679_235


def test_a_params_file_of_mxnet_is_a_state_dictionary(tmp_path, state):
    mx = pytest.importorskip("mxnet")
    mx.nd.save(str(tmp_path / "udnie.params"), {name: mx.nd.array(value) for name, value in state.items()})
    net, params, meta = netfile.checked(tmp_path / "udnie.params")
    assert net == netfile.checked(save(tmp_path / "udnie.npz", state))[0] and meta["style"] == "udnie"
    assert (params["in1.gamma"] == state["in1.weight"]).all()


def test_what_is_no_net_of_a_known_kind_is_named_as_such(tmp_path, state):
    path = tmp_path / "net.npz"
    for changed in (
        {"weight": np.ones((2, 2))},
        {**state, "extra": np.ones(3)},
        {name: value for name, value in state.items() if name != "in5.bias"},
    ):
        assert "are not those of a net that is known" in refused(save(path, changed))
    assert "in5.gamma is (3,)" in refused(save(path, {**state, "in5.weight": np.ones(3, "float32")}))
    assert "has values that are not numbers" in refused(save(path, {**state, "in5.weight": np.full(8, np.nan, "f4")}))
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, "float32"), (1 << 15, 3, 1, 1), (0, 0, 0, 0))
    assert "is not a whole number from 1 to" in refused(save(path, {**state, "conv1.conv2d.weight": huge}))
    path.write_bytes(b"no net")
    assert "no .npz, .pth or .onnx file" in refused(path)


# -------------------------------------------------------------------------------------------------------- ONNX files


def onnx_model(path, shape=("n", 3, "h", "w"), inputs=1, **props):
    """A net that inverts its input."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    names = [f"image{number}" for number in range(inputs)]
    one = onnx.numpy_helper.from_array(np.float32(1), "one")
    graph = helper.make_graph(
        [helper.make_node("Sub", ["one", names[0]], ["out"])], "inverter",
        [helper.make_tensor_value_info(name, kind, shape) for name in names],
        [helper.make_tensor_value_info("out", kind, shape)], [one],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.helper.set_model_props(model, props)
    path.write_bytes(model.SerializeToString())
    return path


def test_an_onnx_file_runs_in_onnx_runtime(tmp_path):
    pytest.importorskip("onnxruntime")
    from bench.engines.onnxruntime import OnnxRuntime

    path = onnx_model(tmp_path / "net.onnx")
    assert netfile.describe(path)["method"] == "onnx_file"
    content = np.random.default_rng(0).random((1, 3, 30, 41), dtype=np.float32)  # sides that are no multiples of 4
    backend = OnnxRuntime("cpu", "float32")
    generator = backend.generator(path)
    np.testing.assert_allclose(generator.generate(content), 1 - content, atol=1e-6)
    assert generator.parameter_count == 1
    assert "only `bench run --engine onnxruntime` runs" in refused(path)
    fixed = backend.generator(onnx_model(tmp_path / "fixed.onnx", (1, 3, 32, 32)))
    assert fixed.generate(content[:, :, :30, :30]).shape == (1, 3, 30, 30)
    with pytest.raises(UserError, match="never"):
        fixed.generate(content)


def test_an_onnx_file_of_the_suite_knows_its_inputs(tmp_path):
    pytest.importorskip("onnxruntime")
    from bench.engines.onnxruntime import OnnxRuntime
    from nst_gluon.nets import onnx_export

    bundled = assets.find_net("great_wave", "texture_net", "stylize")
    net, params, meta = netfile.checked(bundled)
    path = tmp_path / "own.onnx"
    path.write_bytes(onnx_export.build(net, params, meta).SerializeToString())
    found = netfile.describe(path)
    assert (found["task"], found["style"]) == ("stylize", "great_wave")
    assert netfile.net_of(found, "net") == net
    content, backend = images.load(assets.content_path("chelsea"), 64), OnnxRuntime("cpu", "float32")
    made, expected = (backend.generator(file).generate(content, seed=3) for file in (path, bundled))
    assert (made == expected).all()


def test_other_onnx_files_are_refused(tmp_path):
    pytest.importorskip("onnx")
    path = tmp_path / "net.onnx"
    for model, said in (
        ({"shape": ("n", 1, "h", "w")}, "image0 ('n', 1, 'h', 'w')"),
        ({"shape": ("n", 3)}, "known is one input"),
        ({"inputs": 2}, "image1"),
    ):
        onnx_model(path, **model)
        with pytest.raises(UserError) as caught:
            foreign.onnx_file(path)
        assert said in str(caught.value) and "\n" not in str(caught.value)
    path.write_bytes(b"\x08\x07garbage")
    with pytest.raises(UserError, match="not a valid ONNX file"):
        netfile.describe(path)
