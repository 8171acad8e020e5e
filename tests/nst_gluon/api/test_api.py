"""The Python interface: arrays and paths in, arrays out, the same pictures as the command line, the same defaults."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nst_gluon
from nst_gluon import api
from nst_gluon.api import inputs
from nst_gluon.api.maker import PictureMaker
from nst_gluon.api.request import request
from nst_gluon.cli.main import build_parser, main
from nst_gluon.cli.options import Terminal
from nst_gluon.descriptor import weights as vgg_weights
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

pytestmark = pytest.mark.usefixtures("workplace")

FAST = {"random_weights": True, "iterations": 2, "method": "gatys"}


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("name", ["stylize", "texture", "train", "score"])
def test_each_default_stands_once(name):
    """What the command line has where nothing is given is what the function has."""
    function = getattr(nst_gluon, name)
    words = {"stylize": ["photo.png"], "score": ["photo.png", "--style", "brick"], "train": ["brick"]}
    args = build_parser().parse_args([name, *words.get(name, [])])
    own = {"style", "quiet", "command", "listener", "architecture"}  # needed, or told in other words
    for option, value in api.defaults(function).items():
        if option not in own:
            assert getattr(args, option) == (value if value != "." else args.output), option


def test_the_package_exports_them_and_imports_no_engine(python):
    done = python(
        "import sys, nst_gluon\n"
        "print(sorted(nst_gluon.__all__), [callable(getattr(nst_gluon, name)) for name in nst_gluon.__all__])\n"
        "print('mxnet' in sys.modules)"
    )
    names = ["load_net", "score", "stylize", "texture", "train"]
    assert done.stdout.splitlines() == [f"{names} {[True] * 5}", "False"], done.stderr
    for name in names:
        parameters = inspect.signature(getattr(nst_gluon, name)).parameters.values()
        assert all(p.annotation is not p.empty for p in parameters)


def test_a_file_and_its_pixels_make_the_command_line_s_picture(picture, net):
    photo, file = picture("photo.png", 60, 80), net("johnson", "stylize")
    assert main(["stylize", str(photo), "--net", str(file), "--size", "48", "--output", "x.png", "-q"]) == 0
    made = nst_gluon.stylize(photo, net=file, size=48)
    assert made.dtype == np.uint8 and made.shape == (36, 48, 3)
    np.testing.assert_array_equal(made, pixels("x.png"))
    np.testing.assert_array_equal(nst_gluon.stylize(pixels(photo), net=file, size=48), made)


def test_a_loaded_net_is_called_with_photos(picture, net):
    file = net("johnson", "stylize")
    paint, photo = nst_gluon.load_net(file), pixels(picture("photo.png", 40, 40))
    assert paint.meta["method"] == "johnson"
    np.testing.assert_array_equal(paint(photo), nst_gluon.stylize(photo, net=file))
    np.testing.assert_array_equal(paint(photo, strength=0.0), photo)
    grain = nst_gluon.load_net(net("texture_net", "texture"))
    assert grain(size=48).shape == (48, 48, 3)
    for wrong in (lambda: paint(), lambda: grain(photo), lambda: nst_gluon.texture(net=paint)):
        with pytest.raises(UserError):
            wrong()


def test_the_fastest_engine_of_a_loaded_net_is_for_the_calls_that_ask_for_it(picture, net, monkeypatch):
    fastest = pytest.importorskip("nst_gluon.nets.fastest", reason="needs an engine")
    trials, trial = [], fastest.Fastest._trial
    monkeypatch.setattr(fastest, "PEERS", {})
    monkeypatch.setattr(fastest.Fastest, "_trial", lambda self, inputs: trials.append(1) or trial(self, inputs))
    paint, photo = nst_gluon.load_net(net("johnson", "stylize")), pixels(picture("photo.png", 40, 40))
    own = paint.generator.inference
    made = [paint(photo, engine=engine) for engine in ("fastest", "gluon", "fastest")]
    assert paint.generator.inference is own and len(trials) == 1
    for one in made[1:]:
        np.testing.assert_array_equal(one, made[0])
    for option in ({"device": "gpu"}, {"dtype": "bfloat16"}, {"threads": 1}):
        with pytest.raises(UserError, match=f"--{[*option][0]}: .* load_net"):
            paint(photo, **option)


@pytest.mark.parametrize("options", [
    {"tile_statistics": "thumbnails"}, {"engine": "quickest"}, {"net_size": 8}, {"strength": -0.5},
    {"strength": float("nan")}, {"seed": -1}, {"segments": 0}, {"coarse": (16, 8)}, {"coarse": (16, 16)},
    {"coarse": (0, 8), **FAST}, {"tile": "x"}, {"net_size": "x"}, {"strength": "x"},
    {"seed": 1.5}, {"tile_statistics": "thumbnail", "tile": "off"}, {"engine": "fastest", "tile": 64},
])  # fmt: skip
def test_values_that_no_method_knows_are_refused(options):
    with pytest.raises(UserError, match=f"^--{[*options][0].replace('_', '-')}: "):
        nst_gluon.stylize("chelsea", size=32, **options)


def test_a_net_takes_no_style_not_even_the_usual_one(net):
    with pytest.raises(UserError, match="^--style: a net is trained for one style"):
        nst_gluon.stylize("chelsea", net=net("johnson", "stylize"), style="great_wave")
    with pytest.raises(UserError, match="^--style: a net is trained for one style"):
        nst_gluon.texture(net=net("texture_net", "texture"), style="great_wave")


@pytest.mark.parametrize("picture", [Image.new("RGB", (8, 8)), None, 3, [1, 2]])
def test_what_is_no_picture_at_all_is_refused(picture):
    with pytest.raises(UserError, match="^content: a .* is not a picture; give a name, a path or a numpy array"):
        nst_gluon.stylize(picture)
    with pytest.raises(UserError, match="^--style: a .* is not a picture"):
        nst_gluon.score("chelsea", style=picture)


@pytest.mark.parametrize("name", ["stylize", "texture", "train", "score", "load_net"])
def test_an_argument_of_a_wrong_kind_is_named(name):
    """None where it means nothing, and things that no argument can be; a picture's kinds are tested above."""
    function = getattr(nst_gluon, name)
    first = {"stylize": ("chelsea",), "texture": (), "load_net": ("great_wave-johnson-stylize",)}.get(name, ("brick",))
    style = {"style": "brick"} if name == "score" else {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "Picture" not in parameter.annotation:
            for value in (None, {1}, object())["None" in parameter.annotation :]:
                with pytest.raises(UserError, match=f"^--{parameter.name.replace('_', '-')}: .* is not "):
                    function(*first, **{**style, parameter.name: value})


def test_a_name_with_a_nul_is_named():
    for name in ("output", "style"):
        with pytest.raises(UserError, match=rf"^-*{name}: 'a\\x00b' has a NUL in it; give a name without$"):
            nst_gluon.train(**{"style": "brick", name: "a\0b"})


def test_random_weights_of_each_net_by_name(monkeypatch):
    """And a download shows its progress where the command line is not quiet."""
    shown, load = [], vgg_weights.load
    monkeypatch.setattr(vgg_weights, "load", lambda *a, progress, **k: shown.append(progress) or load(*a, **k))
    for listener in (inputs.Listener(), Terminal(quiet=True), Terminal(quiet=False)):
        assert inputs.load_weights("gluon:vgg16", True, listener).arch == "vgg16"
    assert shown == [False, False, True]
    with pytest.raises(UserError, match="^weights 'a.pth': random weights take no file; leave out one of the two$"):
        inputs.load_weights("a.pth", True, inputs.Listener())


def test_what_a_picture_is_said_to_need():
    """A given tile counts, and with a net's size that of the small picture; a picture in one piece is the most."""
    def needed(**options):
        defaults = api.defaults(nst_gluon.stylize)
        values = {name: value for name, value in {**defaults, **options}.items() if name != "size"}
        return PictureMaker(request("stylize", defaults, values)).bytes_needed(1000, 500)

    tiled, large = needed(tile=128), needed(tile=5000)
    assert needed(tile="auto") < tiled < needed(tile="off") < large
    assert needed(tile="auto", net_size=250) < needed(tile="off", net_size=250) < needed(tile="off")
    assert needed(method="gatys") > large


@pytest.mark.parametrize("side", [0, 10**7, 10**400])
def test_a_style_size_that_cannot_be_is_named(side):
    with pytest.raises(UserError, match="^--style-size: "):
        nst_gluon.stylize("chelsea", size=32, style_size=side, **FAST)
    with pytest.raises(UserError, match="^--style-size: "):
        nst_gluon.score("chelsea", style="brick", size=32, style_size=side)


def test_threads_are_settled_when_the_engine_starts():
    pytest.importorskip("mxnet")
    running = runtime.engine_threads()
    inputs.start_engine(threads=running)
    with pytest.raises(UserError, match=f"^--threads: MXNet already runs with {running} thread.* in this process"):
        inputs.start_engine(threads=running + 1)
    for wrong in (0, "x"):
        with pytest.raises(UserError, match="^--threads: "):
            inputs.start_engine(threads=wrong)


def test_optimisation_takes_arrays_for_both_pictures(picture):
    pytest.importorskip("mxnet")
    photo, style = pixels(picture("photo.png", 32, 40)), pixels(picture("style.png", 50, 50))
    made = nst_gluon.stylize(photo / 255.0, style=style, size=32, **FAST)
    np.testing.assert_array_equal(made, nst_gluon.stylize(photo / 255.0, style="style.png", size=32, **FAST))
    assert nst_gluon.texture(style=style, size=32, **FAST).shape == (32, 32, 3)


def test_score_is_the_command_line_s(capsys, picture):
    pytest.importorskip("mxnet")
    made = str(picture("made.png", 40, 40))
    found = nst_gluon.score(pixels(made), style="brick", style_size=32, random_weights=True)
    assert found.objective == pytest.approx(found.content + found.style + found.tv, rel=1e-5)
    assert main(["score", made, "--style", "brick", "--style-size", "32", "--random-weights"]) == 0
    said = capsys.readouterr().out
    assert f"{found.objective:.6g}" in said and "40x40, style at 32x32" in said


def test_score_like_a_run(capsys, picture, tmp_path):
    pytest.importorskip("mxnet")
    made = str(picture("gluon-gatys-stylize-48.png", 48, 48))
    settings = {"style": "brick", "content": "coffee", "preset": "johnson", "style_size": 32, "weights": None,
                "random_weights": True}  # fmt: skip
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps({"settings": settings}))
    assert main(["score", made, "--like", "run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    alone = nst_gluon.score(made, style="brick", content="coffee", preset="johnson", style_size=32, random_weights=True)
    assert facts["objective"] == alone.objective and facts["style_size"] == 32 and facts["task"] == "stylize"
    for wrong in (["--like", "nowhere"], ["--like", "run", "--preset", "keras"], []):
        assert main(["score", made, *wrong]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_texture_of_a_run_is_scored_without_content(tmp_path):
    from nst_gluon.cli.score import like

    settings = dict.fromkeys(["style", "content", "preset", "weights"], "x")
    settings.update(style_size=8, random_weights=True)
    (tmp_path / "run.json").write_text(json.dumps({"settings": settings}))
    assert like(str(tmp_path), "images/gluon-gatys-texture-256-b1-float32-cpu-s0.png")["content"] is None
    assert like(str(tmp_path), "images/gluon-texture_net-stylize-256-b1-float32-cpu-s0.png")["content"] == "x"
    for wrong in ([1], 5, None):
        data = json.dumps({"settings": {**settings, "other_styles": wrong}}) if wrong else "[" * 100_000
        (tmp_path / "run.json").write_text(data)
        with pytest.raises(UserError, match="^--like: '.*' does not describe a run; give the folder of a run$"):
            like(str(tmp_path), "x.png")
    (tmp_path / "run.json").unlink()
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(UserError, match="^--like: cannot read .* named pipe"):
        like(str(tmp_path), "x.png")


@pytest.mark.parametrize("options", [
    {"seed": -1}, {"iterations": 0}, {"batch": 0}, {"checkpoint_every": 0}, {"size": []}, {"dtype": "int4"},
    {"seed": 1.5}, {"style_weight": -1}, {"learning_rate": -1}, {"preview_every": float("nan")}, {"workers": -1},
    {"workers": 1.5},
    {"device": "gpu:3", "workers": 2, "batch": 2},
])  # fmt: skip
def test_a_training_that_cannot_be_is_refused(options):
    with pytest.raises(UserError, match=f"^--{[*options][0].replace('_', '-')}: "):
        nst_gluon.train("brick", output="nets", task="texture", random_weights=True, **options)
    assert not Path("nets").exists()


def test_a_precision_is_taken_as_it_is_spelt(picture):
    pytest.importorskip("mxnet")
    made = str(picture("made.png", 32, 32))
    assert nst_gluon.score(made, style="brick", style_size=32, random_weights=True, dtype="Float32").dtype == "float32"


def test_training_from_python(picture):
    """With numbers of numpy, too, which JSON does not take."""
    pytest.importorskip("mxnet")
    net = nst_gluon.train(
        "brick", output="nets", task="texture", iterations=np.int64(2), size=np.int16(32), batch=np.uint8(1),
        seed=np.int32(1), learning_rate=np.float32(0.01), style_weight=np.float64(1), checkpoint_every=np.int64(1),
        random_weights=np.bool_(True),
    )  # fmt: skip
    assert net.name == "brick-texture_net-texture.npz" and nst_gluon.texture(net=net, size=32).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((3, 8, 8)), "shape"),
        (np.zeros((8, 8, 4), np.uint8), "shape"),
        (np.zeros((8, 8, 3), int), "int64"),
        (np.full((8, 8, 3), 1.5), "from 0 to 1"),
        (np.full((8, 8, 3), np.nan), "from 0 to 1"),
    ],
)
def test_arrays_that_are_no_pictures(array, said):
    with pytest.raises(UserError, match=said) as refused:
        inputs.load_picture("content", array)
    assert str(refused.value).startswith("content: ") and "(H, W, 3)" in str(refused.value)
