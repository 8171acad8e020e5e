"""``export --format onnx``: the graph's structure, the same pictures as the engine's, the model card, the refusals."""

from __future__ import annotations

import importlib.util
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from nst_gluon import assets
from nst_gluon.cli import console, export_onnx
from nst_gluon.cli.main import main
from nst_gluon.nets import model_card, netfile, onnx_export
from nst_gluon.pictures import images
from nst_gluon.system.errors import EngineMissing, NotFinite, UserError

NETS = [
    ("johnson", "stylize", {}),
    ("johnson", "stylize", {"norm": "batch"}),
    ("johnson", "stylize", {"residuals": 2}),
    ("johnson", "stylize", {"output": "linear", "width": 0.5}),
    ("texture_net", "texture", {}),
    ("texture_net", "texture", {"finest": 12}),
    ("texture_net", "texture", {"norm": "instance", "padding": "reflect", "scales": 3}),
    ("texture_net", "texture", {"padding": "zero", "scales": 4}),
    ("texture_net", "stylize", {}),
    ("texture_net", "stylize", {"norm": "batch", "scales": 4}),
]
NAMES = [f"{method}-{task}-{'-'.join(map(str, changes.values())) or 'default'}" for method, task, changes in NETS]


def without(package: str) -> pytest.MarkDecorator:
    there = importlib.util.find_spec(package) is not None
    return pytest.mark.skipif(not there, reason=f"needs {package}, which the extra onnx brings")


needs_onnx, needs_runtime = without("onnx"), without("onnxruntime")


@pytest.fixture
def untrained(tmp_path):
    """A file of an untrained net, its statistics and scales drawn at random: ``untrained(method, task, **changes)``."""

    def make(method: str, task: str, **changes):
        pytest.importorskip("mxnet")
        from nst_gluon.nets import generator

        module = generator.method_module(method)
        architecture = {**module.architecture(task), **changes}
        net = module.build(architecture)
        net.initialize(module.initializer())
        rng = np.random.default_rng(0)
        params = {
            name: (value * rng.uniform(0.5, 1.5, value.shape) + rng.normal(0, 0.02, value.shape)).astype(np.float32)
            for name, value in ((name, p.data().asnumpy()) for name, p in generator.parameters_of(net).items())
        }
        meta = {"method": method, "task": task, "style": "mine/painting.jpg", "architecture": architecture}
        return netfile.save(tmp_path / f"{method}-{task}.npz", params, meta, half=False)

    return make


def meta_of(net: assets.NetInfo) -> dict:
    return netfile.load(net.path)[1]


# ---------------------------------------------------------------------------------------------------- structure


def test_constants_are_the_nets_own():
    pytest.importorskip("mxnet")
    from nst_gluon.methods import johnson, texture_net

    assert (onnx_export.TANH_SCALE, onnx_export.LEAK) == (johnson.TANH_SCALE, texture_net.LEAK)
    for net in assets.nets():
        meta = meta_of(net)
        module = {"johnson": johnson, "texture_net": texture_net}[net.method]
        smallest = module.working_size(meta["architecture"], 1, 1)
        assert smallest == (model_card.least(meta),) * 2
        step = model_card.multiple(meta)
        assert module.working_size(meta["architecture"], smallest[0] + 1, 1)[0] == smallest[0] + step


@needs_onnx
@pytest.mark.parametrize("net", assets.nets(), ids=lambda net: net.path.stem)
def test_bundled_nets_have_a_sound_graph(net):
    import onnx

    params, meta = netfile.load(net.path)
    model = onnx_export.build(params, meta)
    assert [(given.domain, given.version) for given in model.opset_import] == [("", 13)]
    operators = [node.op_type for node in model.graph.node]
    learnt = sum(np.prod(constant.dims) for constant in model.graph.initializer if constant.data_type == 1)
    names = [given.name for given in model.graph.input]
    if net.method == "johnson":
        assert names == ["content"] and operators.count("Conv") == 16 and operators.count("Pad") == 1
        assert operators.count("InstanceNormalization") == 15 and operators.count("Resize") == 2
        assert learnt == pytest.approx(1_679_235, abs=20)
    elif net.task == "texture":
        assert names == [f"noise{k}" for k in range(5)]
        assert not {"InstanceNormalization", "BatchNormalization", "Pad"} & set(operators)
        assert operators.count("Concat") - operators.count("Slice") == 4 - (2 * 9 * 2)  # the joins' own
    else:
        assert names == ["content", *(f"noise{k}" for k in range(6))] and operators.count("AveragePool") == 5
        assert learnt == pytest.approx(118_211, abs=20)
    dims = {
        given.name: [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim]
        for given in model.graph.input
    }
    assert dims[names[0]] == ["batch", 3, "height", "width"]
    assert dims.get("noise3", []) in ([], ["batch", 3, "height/8", "width/8"])
    assert [given.name for given in model.graph.output] == ["picture"]
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert (props["method"], props["task"], props["style"]) == (net.method, net.task, "great_wave")
    assert "public domain" in props["licence"] and json.loads(props["value_range"])["picture"] == "RGB in [0, 1]"
    again = onnx_export.build(params, meta)
    assert model.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    assert onnx.helper.printable_graph(model.graph)


@needs_onnx
def test_folding_is_exact():
    """Scaling and shifting around a convolution is another convolution."""
    rng = np.random.default_rng(0)
    weight, bias, x = rng.random((4, 3, 1, 1)), rng.random(4), rng.random((3, 5))
    scale_in, shift_in, scale_out, shift_out = rng.random(3), rng.random(3), rng.random(4), rng.random(4)
    direct = weight[:, :, 0, 0] @ (x * scale_in[:, None] + shift_in[:, None]) + bias[:, None]
    direct = direct * scale_out[:, None] + shift_out[:, None]
    folded = onnx_export.fold_before(weight, bias, (scale_in, shift_in))
    weight, bias = onnx_export.fold_after(*folded, (scale_out, shift_out))
    np.testing.assert_allclose(weight[:, :, 0, 0] @ x + bias[:, None], direct, rtol=1e-12)


@needs_onnx
def test_what_is_no_known_net_is_refused():
    net = assets.nets()[0]
    params, meta = netfile.load(net.path)
    for changes, said in [
        ({"method": "gatys"}, "gatys"),
        ({"architecture": {"depth": 3}}, "depth"),
        ({"architecture": {"norm": "layer"}}, "layer"),
        ({"architecture": {"norm": "instance", "residuals": 4}}, "residual.4"),
        ({"architecture": {"norm": "instance", "residuals": 6}}, "residual.5"),
    ]:
        with pytest.raises(UserError, match=said) as caught:
            onnx_export.build(params, {**meta, **changes})
        assert str(caught.value).startswith("net: ") and "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------- pictures


@needs_onnx
@needs_runtime
@pytest.mark.parametrize(("method", "task", "changes"), NETS, ids=NAMES)
def test_the_same_pictures_as_the_engine(untrained, method, task, changes):
    """At two sizes, in a batch, for every kind of net."""
    import onnxruntime

    from nst_gluon.nets.generator import load_net, method_module

    path = untrained(method, task, **changes)
    params, meta = netfile.load(path)
    model = onnx_export.build(params, meta).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    for size, batch in (((128, 192), 2), ((96, 128), 1)):
        content = np.random.default_rng(1).random((batch, 3, *size), dtype=np.float32) if task == "stylize" else None
        expected = load_net(path).generate(content, size, seed=3, batch=batch)
        rng = np.random.default_rng(3)
        arrays = method_module(method).inputs(meta["architecture"], content, rng, (batch, *size), 1.0)
        (picture,) = session.run(None, dict(zip(names, arrays)))
        assert expected.std() > 0.01
        # Untrained nets amplify rounding; a wrong layer is wrong by 0.1. Bundled nets are held to 1e-4 below.
        np.testing.assert_allclose(picture, expected, atol=3e-3)


@needs_onnx
@needs_runtime
@pytest.mark.parametrize("net", assets.nets(), ids=lambda net: net.path.stem)
def test_export_of_a_bundled_net_and_the_program_of_its_card(net, tmp_path, monkeypatch, capsys):
    pytest.importorskip("mxnet")
    monkeypatch.chdir(tmp_path)
    assert main(["export", net.path.stem, "--format", "onnx"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [f"{net.path.stem}.onnx", f"{net.path.stem}.md"]
    assert re.search(r"no value differs by more than \d\.\de-0[5-9]", captured.err)  # below 1e-4
    card = (tmp_path / f"{net.path.stem}.md").read_text(encoding="utf-8")
    assert captured.err.strip() in card
    (program,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(program.splitlines()) <= 10
    Image.open(assets.content_path("astronaut")).save("photo.jpg")
    exec(compile(program.replace("512", "192").replace("384", "128"), "card", "exec"), {})
    made = images.load(tmp_path / "picture.png")
    assert made.shape == (1, 3, 128, 192) and made.std() > 0.05
    if net.method == "johnson":  # no noise: the very picture
        from nst_gluon.nets.generator import load_net

        photo = np.asarray(Image.open("photo.jpg").convert("RGB").resize((192, 128)), "float32")
        expected = load_net(net.path).generate(photo.transpose(2, 0, 1)[None] / 255)
        assert np.abs(made - expected).max() < 1.01 / 255


# ------------------------------------------------------------------------------------------------- command line


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Run an export that must be refused: returns its line, and sees that nothing was written."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, status: int = console.MISUSED) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main(["export", "great_wave-johnson-stylize", "--format", "onnx", *arguments]) == status
        captured = capsys.readouterr()
        assert captured.out == "" and len(captured.err.splitlines()) == 1 and captured.err.startswith("error: ")
        assert sorted(tmp_path.rglob("*")) == before
        return captured.err

    return run


def test_without_the_extra_it_says_what_to_install(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "python -m pip install -e '.[onnx]'" in refused()


def test_places_that_cannot_be_written_are_refused_first(refused, tmp_path):
    (tmp_path / "there.onnx").write_text("precious")
    (tmp_path / "card.md").write_text("precious")
    assert "--output: 'there.onnx' exists" in refused("--output", "there.onnx")
    assert "--output: 'card.md' exists" in refused("--output", "card.onnx")
    assert "is a folder" in refused("--output", ".")
    assert "does not end in .onnx" in refused("--output", "net.pb")
    assert "there is no folder" in refused("--output", "nowhere/net.onnx")


@needs_onnx
def test_an_unchecked_export_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number, error in enumerate((ImportError("onnxruntime"), EngineMissing("no engine: install it"))):

        def fail(*arguments, error=error):
            raise error

        monkeypatch.setattr(onnx_export, "difference", fail)
        name = f"net{number}.onnx"
        assert main(["export", "great_wave-texture_net-texture", "--format", "onnx", "--output", name]) == 0
        assert "Not compared with the original" in capsys.readouterr().err
        assert "Not compared with the original" in (tmp_path / f"net{number}.md").read_text()


@needs_onnx
def test_another_picture_is_not_written(refused, monkeypatch):
    for wrong in (0.5, float("nan")):
        monkeypatch.setattr(onnx_export, "difference", lambda *arguments, wrong=wrong: wrong)
        assert "makes another picture" in refused(status=console.FAILED)
        with pytest.raises(NotFinite):
            export_onnx.check(b"", assets.nets()[0].path)


# ---------------------------------------------------------------------------------------------------------- card


@pytest.mark.parametrize("net", assets.nets(), ids=lambda net: net.path.stem)
def test_the_card_of_a_bundled_net(net):
    meta = meta_of(net)
    card = model_card.card(meta, "net.onnx", "Checked.")
    assert meta["command"] in card and f"steps: {meta['iterations']}" in card
    assert "Hokusai" in card and "public domain" in card and "Checked." in card
    assert f"multiples of {model_card.multiple(meta)} " in card
    assert f"objective {meta['final_objective']['objective']:.4g}" in card
    assert ("`content` (in)" in card) == (net.task == "stylize")
    assert "not recorded" not in card and ": None" not in card


def test_the_card_of_somebody_s_own_net():
    """Little is known of it, and the card says so instead of failing."""
    meta = {"method": "johnson", "task": "stylize", "style": "mine/painting.jpg", "architecture": {}}
    card = model_card.card({**meta, "weights": {"random": True}}, "net.onnx", "")
    assert "`painting`" in card and "theirs to say" in card and "not recorded" in card and "random weights" in card
    facts = model_card.facts(meta)
    assert facts["value_range"] == {"content": "RGB in [0, 1]", "picture": "RGB in [0, 1]"}
    photos = model_card.card({**meta, "training": {"photos": "/home/me/coco"}}, "net.onnx", "")
    assert "the photos in `coco`" in photos and "/home/me" not in photos
