"""``python -m nst_gluon`` at work: pictures, scores, and nets trained, exported and listed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst_gluon.cli.main import main
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

pytestmark = pytest.mark.usefixtures("workplace")

FAST = ["--random-weights"]


# -------------------------------------------------------------------------------------------------- pictures


def run(capsys, *arguments: str) -> str:
    """Run a command line that must work; its standard output."""
    status = main(arguments)
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return captured.out.strip()


def size_of(path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_stylize_keeps_the_aspect_and_follows_the_seed(capsys, picture):
    pytest.importorskip("mxnet")
    photo = str(picture("photo.png", 40, 64))
    common = ["stylize", photo, "--method", "gatys", "--size", "32", "--iterations", "3", "--start", "noise", *FAST]
    names = []
    for number, seed in enumerate(("1", "1", "2")):
        names.append(run(capsys, *common, "--seed", seed, "--output", f"{number}.png"))
    assert names == ["0.png", "1.png", "2.png"] and size_of("0.png") == (32, 20)
    first, again, other = (Path(name).read_bytes() for name in names)
    assert first == again != other



def test_coarse_to_fine(capsys, picture):
    pytest.importorskip("mxnet")
    photo = str(picture("photo.png", 64, 48))
    out = run(capsys, "stylize", photo, "--method", "gatys", "--iterations", "2", "--coarse", "32,48", *FAST,
              "--output", "x.jpg")  # fmt: skip
    assert size_of(out) == (48, 64)


@pytest.mark.usefixtures("bfloat16_processor")
def test_a_picture_in_bfloat16(capsys, picture, net):
    photo, file = str(picture("photo.png", 60, 52)), str(net("johnson", "stylize"))
    for dtype in ("float32", "bfloat16"):
        run(capsys, "stylize", photo, "--net", file, "--dtype", dtype, "--output", f"{dtype}.png")
    assert 38 < images.psnr(images.load("float32.png"), images.load("bfloat16.png")) < 80


def test_tiles_on_request(capsys, picture, net):
    photo, file = str(picture("photo.png", 150, 130)), str(net("johnson", "stylize"))
    for tile in ("off", "96"):
        out = run(capsys, "stylize", photo, "--net", file, "--tile", tile, "--output", f"{tile}.png")
        assert size_of(out) == (130, 150)
    whole, tiled = (np.asarray(Image.open(f"{tile}.png")).astype(int) for tile in ("off", "96"))
    assert np.abs(whole - tiled).max() <= 1


def test_tiles_where_memory_is_short(capsys, monkeypatch, picture, net):
    from nst_gluon.api import inputs
    from nst_gluon.nets import tiles

    sides = []

    class Noted(tiles.Tiling):
        def __init__(self, *arguments):
            sides.append(arguments[3])
            super().__init__(*arguments)

    monkeypatch.setattr(tiles, "Tiling", Noted)
    monkeypatch.setattr(runtime, "memory_available_bytes", lambda: inputs.BASE_BYTES + 6_000_000)
    photo, file = str(picture("photo.png", 150, 130)), str(net("johnson", "stylize"))
    run(capsys, "stylize", photo, "--net", file, "--output", "x.jpg")
    assert len(sides) == 1 and 16 <= sides[0] < 150
    run(capsys, "stylize", str(picture("small.png", 40, 40)), "--net", file, "--output", "y.png")
    assert len(sides) == 1


def test_the_strength_changes_a_texture_net_s_picture(capsys, picture, net):
    photo, file = str(picture("photo.png", 64, 64)), str(net("texture_net", "stylize"))
    for scale in ("0", "1"):
        run(capsys, "stylize", photo, "--net", file, "--strength", scale, "--output", f"{scale}.png")
    assert images.psnr(images.load("0.png"), images.load("1.png")) < 60


def test_texture(capsys, net):
    file = str(net("texture_net", "texture"))
    assert size_of(run(capsys, "texture", "--net", file, "--size", "48", "--output", "net.png")) == (48, 48)
    arguments = ["texture", "--method", "gatys", "--size", "32", "--iterations", "2", *FAST]
    assert run(capsys, *arguments) == "great_wave-gatys-texture-random-weights.png"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--style brick", "--style: a net is trained for one style"),
        ("--style=great_wave", "--style: a net is trained for one style"),
        ("--method texture_net", "--method: "),
        ("--iterations 5", "--iterations: johnson makes a picture in one pass"),
        ("--dtype int8", "--dtype: int8 changes these nets' pictures too much"),
        ("--random-weights", "--random-weights: johnson makes a picture in one pass"),
        ("--strength 1.5", "--strength: 1.5 is too large for johnson"),
    ],
)
def test_options_that_a_net_does_not_take(refused, net, arguments, said):
    file = str(net("johnson", "stylize"))
    assert said in refused("stylize", "chelsea", "--net", file, *arguments.split())


def test_a_net_for_the_other_task_and_a_file_that_is_no_net(refused, net, tmp_path):
    (tmp_path / "none.npz").write_bytes(b"PK\x03\x04 nothing")
    assert "--net: " in refused("texture", "--net", str(net("johnson", "stylize")))
    assert "--net: " in refused("stylize", "chelsea", "--net", "none.npz")


# ----------------------------------------------------------------------------------------------------- score


def score(capsys, *arguments: str) -> dict:
    return json.loads(run(capsys, "score", *arguments, "--json", *FAST))


def test_score_agrees_with_the_objective_itself(capsys, picture):
    pytest.importorskip("mxnet")
    from nst_gluon import assets
    from nst_gluon.descriptor import weights
    from nst_gluon.objective import presets
    from nst_gluon.objective.loss import Objective

    made = picture("made.png", 48, 48)
    facts = score(capsys, str(made), "--style", "brick", "--content", "coffee", "--size", "48", "--style-size", "32")
    content = images.load(assets.content_path("coffee"), 48)
    style = images.load(assets.style_path("brick"), 32)
    objective = Objective(presets.get("texture_net_relative"), weights.load(random=True), "stylize", style, content)
    expected = objective.terms(images.load(made)).as_dict()
    assert {name: facts[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_score_does_not_resample_a_picture_that_has_the_size(capsys, monkeypatch, picture):
    pytest.importorskip("mxnet")
    made, content = str(picture("made.png", 32, 48)), str(picture("content.png", 32, 48))
    from nst_gluon.objective.loss import Objective

    seen = []
    terms = Objective.terms
    monkeypatch.setattr(Objective, "terms", lambda self, x: (seen.append(x), terms(self, x))[1])
    facts = score(capsys, made, "--style", "brick", "--content", content, "--size", "48")
    np.testing.assert_array_equal(seen[0], images.load(made))
    assert (facts["height"], facts["width"]) == (32, 48)
    assert score(capsys, made, "--style", "brick", "--content", content)["objective"] == facts["objective"]


@pytest.mark.parametrize("shape", [(48, 48), (40, 64), (42, 64)])
def test_the_content_gets_exactly_the_picture_s_size(picture, shape):
    from nst_gluon.api import content_like

    photo = picture("photo.png", 60, 96)
    content = content_like(photo, shape)
    assert content.shape == (1, 3, *shape)
    if shape == (48, 48):  # prepared as the benchmark prepares it
        np.testing.assert_array_equal(content, images.load(photo, 48))
    if shape == (40, 64):
        np.testing.assert_array_equal(content, images.load(photo, 64, "fit"))
    with pytest.raises(UserError, match="--content: 96x60 pixels have another aspect than the picture's 64x44"):
        content_like(photo, (44, 64))


# --------------------------------------------------------------------------------- train, export, list, weights


def test_train_then_use_then_export(capsys, picture, tmp_path):
    mx = pytest.importorskip("mxnet")
    picture("photos/one.png" if (tmp_path / "photos").mkdir() is None else "", 60, 80)
    net = run(capsys, "train", "--method", "johnson", "--style", "brick", "--photos", "photos", "--iterations", "2",
              "--size", "48", "--batch", "1", "--output", "nets", *FAST)  # fmt: skip
    record = json.loads((tmp_path / "nets" / "brick-johnson-stylize.json").read_text())
    assert record["command"].startswith("python -m nst_gluon train --method johnson")
    assert record["weights"]["random"] is True
    run(capsys, "stylize", "photos/one.png", "--net", net, "--output", "x.png")
    files = run(capsys, "export", net, "--output", "nets").splitlines()  # beside the training's record
    symbol, params, card = files
    with runtime.quiet_import():
        block = mx.gluon.SymbolBlock.imports(symbol, ["data"], params)
    content = images.load("photos/one.png")
    picture_again = block(mx.nd.array(content)).asnumpy()
    assert images.psnr(np.clip(picture_again, 0, 1), images.load("x.png")) > 45
    found = json.loads(Path(card).read_text())
    assert found["inputs"] == [
        {"name": "data", "kind": "content", "values": "RGB in [0, 1]", "shape_for_96x96": [1, 3, 96, 96]}
    ]
    assert (found["multiple_of"], found["least_side"]) == (4, 44)
    assert main(["export", net, "--output", "nets"]) == 2
    assert main(["train", "--method", "johnson", "--style", "brick", "--output", "nets", "--size", "48", *FAST]) == 2


def test_training_goes_on_at_other_sizes_and_with_other_scales(capsys):
    texture = ("train", "great_wave", "--task", "texture", "--iterations", "2", *FAST)
    run(capsys, *texture, "--scales", "3", "--size", "32", "--output", "first")
    stem = "great_wave-texture_net-texture"
    run(capsys, *texture, "--start", f"first/{stem}.npz", "--size", "48,32", "--output", "second")
    record = json.loads(Path(f"second/{stem}.json").read_text())
    assert record["size"] == 48 and record["training"]["more_sizes"] == [32]
    assert record["architecture"]["scales"] == 3 and record["start"]["iterations"] == 2
    capsys.readouterr()
    assert main([*texture, "--start", f"first/{stem}.npz", "--scales", "4", "--size", "32", "--output", "third"]) == 2
    assert "--scales: " in capsys.readouterr().err and not Path("third").exists()


def test_list(capsys):
    everything = json.loads(run(capsys, "list", "--json"))
    assert set(everything) == {"methods", "presets", "styles", "contents", "nets"}
    names = [entry["name"] for entry in everything["methods"]]
    assert names[:7] == ["gatys", "gatys_pyramid", "net_gatys", "johnson", "johnson_slim", "coarse_net", "texture_net"]
    assert run(capsys, "list", "styles").split()[0] == "great_wave"


def test_weights_of_a_file(capsys, tmp_path):
    from nst_gluon.descriptor.weights import formats, random_weights

    file = formats.save(random_weights("vgg16", 3), tmp_path / "mine.params")
    identity = json.loads(run(capsys, "weights", str(file), "--json"))
    assert identity["arch"] == "vgg16" and len(identity["sha256"]) == 64
    assert "vgg16" in run(capsys, "weights", str(file))
    assert "cache" in run(capsys, "weights", "--list").lower()
