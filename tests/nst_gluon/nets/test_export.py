"""``export --format onnx``: the graph's structure, the same pictures as the engine's, the model card, the refusals."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import toy_net
from PIL import Image

from nst_gluon import assets, methods
from nst_gluon.cli import console, export, options
from nst_gluon.cli.main import main
from nst_gluon.methods.description import NORMS, PADDINGS
from nst_gluon.nets import model_card, netfile, onnx_export
from nst_gluon.pictures import images
from nst_gluon.system.errors import EngineMissing, NotFinite, UserError


def without(package: str) -> pytest.MarkDecorator:
    there = importlib.util.find_spec(package) is not None
    return pytest.mark.skipif(not there, reason=f"needs {package}, which the extra onnx brings")


needs_onnx, needs_runtime = without("onnx"), without("onnxruntime")


# ---------------------------------------------------------------------------------------------------- structure


@needs_onnx
@pytest.mark.parametrize("net", assets.nets(), ids=lambda net: net.path.stem)
def test_bundled_nets_have_a_sound_graph(net):
    import onnx

    described, params, meta = netfile.checked(net.path)
    model = onnx_export.build(described, params, meta)
    assert [(given.domain, given.version) for given in model.opset_import] == [("", 13)]
    operators = [node.op_type for node in model.graph.node]
    learnt = sum(np.prod(constant.dims) for constant in model.graph.initializer if constant.data_type == 1)
    names = [given.name for given in model.graph.input]
    if net.method in ("johnson", "johnson_slim"):
        assert names == ["content"] and operators.count("Conv") == 16 and operators.count("Pad") == 1
        assert operators.count("InstanceNormalization") == 15 and operators.count("Resize") == 2
        assert described.parameter_count == {"johnson": 1_679_235, "johnson_slim": 424_899}[net.method]
        # Equal constants stand once: biases that an instance norm takes away again are zero as they were drawn.
        different = {(value.shape, value.tobytes()): value.size for value in params.values()}
        assert learnt == pytest.approx(sum(different.values()), abs=20)
    elif net.method == "coarse_net":
        assert names == ["content"] and operators.count("Conv") == 12 and "Pad" not in operators
        assert operators.count("InstanceNormalization") == 11 and operators.count("Resize") == 3
        assert described.parameter_count == 271_299
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
    assert (props["method"], props["task"], props["style"]) == (net.method, net.task, net.style)
    assert "public domain" in props["licence"] or "CC0" in props["licence"]
    assert json.loads(props["value_range"])["picture"] == "RGB in [0, 1]"
    again = onnx_export.build(described, params, meta)
    assert model.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    assert onnx.helper.printable_graph(model.graph)


def test_what_is_no_known_net_is_refused(tmp_path):
    params, meta = netfile.load(assets.find_net("great_wave", "johnson", "stylize"))
    for changes, said in [
        ({"method": "gatys"}, "gatys"),
        ({"architecture": {"depth": 3}}, "depth"),
        ({"architecture": {"norm": "layer"}}, "layer"),
        ({"architecture": {"norm": "instance", "residuals": 4}}, "residual.4"),
        ({"architecture": {"norm": "instance", "residuals": 6}}, "residual.5"),
    ]:
        path = netfile.save(tmp_path / "net.npz", params, {**meta, **changes})
        with pytest.raises(UserError, match=said) as caught:
            netfile.checked(path)
        assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------- pictures


@needs_onnx
@needs_runtime
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("mode", PADDINGS)
def test_every_layer_computes_what_numpy_does(norm, mode):
    """In a batch, of a size that the file does not fix."""
    import onnxruntime

    net = toy_net.net(norm, mode)
    params, rng = toy_net.parameters(net), np.random.default_rng(1)
    model = onnx_export.build(net, params, {"method": "toy", "task": "stylize"}).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for height, width in ((16, 24), (32, 16)):
        arrays = [
            rng.random((2, given.channels, height >> given.reduction, width >> given.reduction), dtype=np.float32)
            for given in net.inputs
        ]
        (made,) = session.run(None, {given.name: array for given, array in zip(net.inputs, arrays)})
        np.testing.assert_allclose(made, np.clip(toy_net.compute(net, params, arrays), 0, 1), atol=2e-5)


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
        from nst_gluon.nets.trained_net import load_net

        photo = np.asarray(Image.open("photo.jpg").convert("RGB").resize((192, 128)), "float32")
        expected = load_net(net.path).generate(photo.transpose(2, 0, 1)[None] / 255)
        assert np.abs(made - expected).max() < 1.01 / 255


@needs_onnx
@needs_runtime
def test_a_net_of_a_coarse_grid_is_compared_where_both_have_pixels(tmp_path):
    pytest.importorskip("mxnet")
    params, meta = toy_net.trained("texture_net", "texture", scales=8)  # its sides are multiples of 128
    path = netfile.save(tmp_path / "coarse.npz", params, meta)
    described, params, meta = netfile.checked(path)
    model = onnx_export.build(described, params, meta).SerializeToString()
    assert onnx_export.difference(model, path) < onnx_export.TOLERANCE


# ------------------------------------------------------------------------------------------------- command line


@pytest.fixture
def refused(refused, tmp_path, monkeypatch):
    """Run an export that must be refused: returns its line, and sees that nothing was written."""
    monkeypatch.chdir(tmp_path)
    command = ["export", "great_wave-johnson-stylize", "--format", "onnx"]
    return lambda *arguments, **options: refused(*command, *arguments, **options)


def test_without_the_extra_it_says_what_to_install(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "python -m pip install -e '.[onnx]'" in refused()


def test_places_that_cannot_be_written_are_refused_first(refused, tmp_path):
    (tmp_path / "there.onnx").write_text("precious")
    (tmp_path / "card.md").write_text("precious")
    assert "--output: 'there.onnx' exists" in refused("--output", "there.onnx")
    assert "--output: 'card.md' exists" in refused("--output", "card.onnx")
    assert "is a folder" in refused("--output", ".")
    assert "does not end in a supported format: .onnx" in refused("--output", "net.pb")
    assert "there is no folder" in refused("--output", "nowhere/net.onnx")


def test_what_is_no_folder_is_refused_before_the_work(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "export_mxnet", None)
    (tmp_path / "there").write_text("precious")
    assert "--output: 'there' is not a folder" in refused("--format", "mxnet", "--output", "there")
    assert "add --format onnx" in refused("--format", "mxnet", "--output", "waves.onnx")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match="^--output: '.*link' is not a folder; name another$"):
        options.check_folder(tmp_path / "link" / "in")


@pytest.mark.parametrize("place", [["--format", "mxnet", "--output", "new"], []])
def test_all_files_of_an_export_are_written_or_none(refused, monkeypatch, place):
    written = []

    def full(path, data):
        if written:
            raise OSError(28, "No space left on device", str(path))
        written.append(path.write_bytes(data))

    monkeypatch.setattr(export, "replace", full)
    monkeypatch.setattr(export, "export_mxnet", lambda path, stem: ({f"{stem}.a": b"a", f"{stem}.b": b"b"}, 0.0))
    monkeypatch.setattr(export.onnx_export, "build", lambda *_: SimpleNamespace(SerializeToString=lambda **_: b"onnx"))
    monkeypatch.setattr(export, "check_onnx", lambda *_: "")
    assert re.match(r"--output: cannot write to '.*': No space left on device; name a writable folder", refused(*place))


@needs_onnx
def test_a_net_whose_name_is_not_utf_8(tmp_path):
    pytest.importorskip("mxnet")
    params, meta = toy_net.trained("texture_net", "texture")
    path = netfile.save(tmp_path / os.fsdecode(b"n\xe4t.npz"), params, meta)
    files, difference = export.export_mxnet(path, path.stem)
    assert {name.removeprefix(path.stem) for name in files} == {"-symbol.json", "-0000.params", "-inputs.json"}
    assert difference < 1e-5
    described, params, meta = netfile.checked(path)
    model = onnx_export.build(described, params, {**meta, "style": path.stem})
    assert "n\\udce4t" in model.doc_string and model.SerializeToString()


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
        assert "makes a different picture" in refused(status=console.FAILED)
        with pytest.raises(NotFinite):
            export.check_onnx(b"", assets.nets()[0].path)


# ---------------------------------------------------------------------------------------------------------- card


@pytest.mark.parametrize("net", assets.nets(), ids=lambda net: net.path.stem)
def test_the_card_of_a_bundled_net(net):
    described, _, meta = netfile.checked(net.path)
    card = model_card.card(described, meta, "net.onnx", "Checked.")
    assert meta["command"] in card and f"steps: {meta['iterations']}" in card
    assert ("Hokusai" in card and "public domain" in card) == (net.style == "great_wave") and "Checked." in card
    assert f"multiples of {described.multiple} " in card
    assert f"objective {meta['final_objective']['objective']:.4g}" in card
    assert ("`content` (in)" in card) == (net.task == "stylize")
    assert "not recorded" not in card and ": None" not in card
    assert ("held-out draws of noise" in card) == (net.task == "texture" and meta.get("held_out") is not None)
    assert ("best on `rocket` and three drawn scenes" in card) == (net.task == "stylize")


def test_the_card_of_somebody_s_own_net():
    """Little is known of it, and the card says so instead of failing."""
    meta = {"method": "johnson", "task": "stylize", "style": "mine/painting.jpg", "architecture": {}}
    net = methods.get("johnson").net()
    card = model_card.card(net, {**meta, "weights": {"random": True}}, "net.onnx", "")
    assert "`painting`" in card and "theirs to say" in card and "random weights" in card
    assert "trained on: not recorded" in card and "minimised: not recorded" in card
    facts = model_card.facts(net, meta)
    for text in (card.split("## Licence")[1], facts["licence"]):
        assert "its licence is that of whoever trained it" in text and "graph" not in text and "VGG" not in text
    assert facts["value_range"] == {"content": "RGB in [0, 1]", "picture": "RGB in [0, 1]"}
    named_alike = {**meta, "style": "grass", "training": {"style": "photos/grass.jpg"}}
    assert "theirs to say" in model_card.card(net, named_alike, "net.onnx", "")
    assert "theirs to say" in model_card.facts(net, named_alike)["licence"]
    photos = model_card.card(net, {**meta, "training": {"photos": "/home/me/coco"}}, "net.onnx", "")
    assert "the photos in `coco`" in photos and "/home/me" not in photos
