"""``python -m nst_gluon``: what it writes, and one clear line, status 2 and nothing half-written for bad input."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst_gluon import console, images, runtime
from nst_gluon.cli import build_parser, main
from nst_gluon.errors import NotFinite, UserError

pytestmark = pytest.mark.usefixtures("workplace")

COMMANDS = ("stylize", "texture", "train", "score", "weights", "list", "export")
FAST = ["--random-weights", "--threads", "2"]


@pytest.fixture
def refused(capsys, tmp_path):
    """Run a command line that must be refused: returns its line, and sees that nothing was written."""

    def run(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main(arguments) == console.MISUSED
        captured = capsys.readouterr()
        lines = captured.err.splitlines()
        assert captured.out == "" and len(lines) == 1 and lines[0].startswith("error: "), captured
        assert "Traceback" not in captured.err and sorted(tmp_path.rglob("*")) == before
        return lines[0][len("error: ") :]

    return run


def example_of(parser) -> list[str]:
    """The arguments of a help text's example."""
    command = parser.epilog.splitlines()[1].strip()
    assert command.startswith("python -m nst_gluon ")
    return shlex.split(command)[3:]


def subparsers() -> dict:
    action = next(a for a in build_parser()._actions if a.dest == "command")
    return action.choices


# ---------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_text_has_an_example_that_parses(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "\nexample" in text and max(map(len, text.splitlines())) <= 110
    arguments = example_of(subparsers()[command] if command else build_parser())
    assert build_parser().parse_args(arguments).command in (command or "stylize")


def test_all_commands_are_there():
    assert set(subparsers()) == set(COMMANDS)


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "COMMAND"),
        ("stylise", "did you mean 'stylize'"),
        ("stylize", "PICTURE"),
        ("stylize chelsea --size 0", "--size: 0 is too small"),
        ("stylize chelsea --size -5", "--size: -5 is too small"),
        ("stylize chelsea --size big", "--size: 'big' is not a whole number"),
        ("stylize chelsea --size 1e3", "--size: '1e3' is not a whole number"),
        ("stylize chelsea --size", "--size"),
        ("stylize chelsea --sise 5", "--sise: there is no such option; did you mean '--size'?"),
        ("stylize chelsea --wobble", "--wobble: there is no such option (see python -m nst_gluon stylize --help)"),
        ("stylize chelsea --net great_wave-jonson-stylize", "did you mean 'great_wave-johnson-stylize'"),
        ("stylize chelsea --seed -1", "--seed: -1 is too small"),
        ("stylize chelsea --method jonson", "did you mean 'johnson'"),
        ("stylize chelsea --method gatys --style great_wav", "did you mean 'great_wave'"),
        ("stylize chelsey --method gatys", "PICTURE: 'chelsey' is neither a bundled picture nor a file"),
        ("stylize chelsea --preset gaty", "did you mean 'gatys'"),
        ("stylize chelsea --device tpu", "--device: 'tpu' is not a device; use cpu, gpu or gpu:1"),
        ("stylize chelsea --method gatys --device gpu", "--device gpu: no NVIDIA GPU"),
        ("stylize chelsea --dtype float16", "--dtype: unknown precision 'float16'"),
        ("stylize chelsea --method gatys --iterations 0", "--iterations: 0 is too small"),
        ("stylize chelsea --method gatys --optimizer sgd", "--optimizer: unknown 'sgd'"),
        ("stylize chelsea --method gatys --strength 1", "--strength: gatys weighs style and content by --preset"),
        ("stylize chelsea --method gatys --strength nan", "--strength: 'nan' is not a number"),
        ("stylize chelsea --method gatys --coarse 64,32", "--coarse: 64,32 does not ascend"),
        ("stylize chelsea --method gatys --size 64 --coarse 64", "--coarse: 64 is not smaller"),
        ("stylize chelsea --method gatys --tile 256", "--tile: gatys optimises the picture as a whole"),
        ("stylize chelsea --tile some", "--tile: 'some' is neither auto nor off nor a number of pixels"),
        ("stylize chelsea --tile 5", "--tile: 5 is too small"),
        ("stylize chelsea --method gatys --output x.gif", "--output: 'x.gif' does not end in"),
        ("stylize chelsea --method gatys --output nowhere/x.png", "--output: there is no folder"),
        ("texture --method gatys --output .", "--output: "),
        ("stylize chelsea --net nowhere.npz", "--net: 'nowhere.npz' is neither a file nor a bundled net"),
        ("stylize chelsea --style brick --method johnson", "--style: no net of johnson for stylize of 'brick'"),
        ("stylize chelsea --method gatys --size 100000", "GiB"),
        ("stylize chelsea --method gatys --size 20000", "--size: 20000x"),
        ("texture --method johnson", "--method: johnson cannot do 'texture'; use gatys, gatys_pyramid, net_gatys, tex"),
        ("stylize chelsea --method net_gatys --start noise", "--start: net_gatys starts from a net's picture"),
        ("stylize chelsea --method gatys --size 32 --segments 0", "--segments: 0 is too small"),
        ("stylize chelsea --method gatys --size 32 --segments 99", "--segments: 99 is not possible"),
        ("texture --method gatys --style nowhere.jpg", "--style: 'nowhere.jpg'"),
        ("texture --method gatys --threads 0", "--threads: 0 is too small"),
        ("score chelsea", "--style"),
        ("score nowhere.png --style great_wave", "PICTURE: 'nowhere.png'"),
        ("score chelsea --style great_wave --content nowhere.png", "--content: 'nowhere.png'"),
        ("score chelsea --style great_wave --preset nix", "--preset: unknown preset 'nix'"),
        ("score chelsea --style great_wave --size 0", "--size: 0 is too small"),
        ("train", "PAINTING: give the style to train for, a file or one of: great_wave, "),
        ("train great_wav", "did you mean 'great_wave'"),
        ("train great_wave --style brick", "--style: PAINTING is given already"),
        ("train great_wave --preview-every soon", "--preview-every: 'soon' is not a number"),
        ("train --method gatys --style great_wave", "--method: gatys optimises a picture"),
        ("train --method johnson --task texture --style great_wave", "--method: johnson cannot do 'texture'"),
        ("train --method johnson --style great_wave --photos nowhere", "--photos: there is no folder 'nowhere'"),
        ("train --method texture_net --task texture --style great_wave --photos .", "--photos: a texture"),
        ("train great_wave --scales 4", "--scales: only a texture network has scales"),
        ("train great_wave --start nowhere.npz", "--start: "),
        ("train great_wave --size 256,12", "--size: 12 is too small"),
        ("train great_wave --size 256,big", "--size: 'big' is not a whole number"),
        ("train --method johnson --style great_wave --batch 0", "--batch: 0 is too small"),
        ("train --method johnson --style great_wave --batch 9999", "GiB"),
        ("weights nowhere", "'nowhere'"),
        ("weights nowhere.npz", "nowhere.npz"),
        ("weights vgg19 --list", "--list"),
        ("list net", "did you mean 'nets'"),
        ("export nowhere", "net: 'nowhere' is neither a file nor a bundled net"),
        ("export nowhere --format onx", "--format: unknown 'onx'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(refused, arguments, said):
    assert said in refused(*shlex.split(arguments))


@pytest.mark.parametrize("argument", ["PICTURE", "--style", "--content"])
@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("empty.png", b"", "empty"),
        ("text.jpg", b"hello, world\n" * 9, "not a picture"),
        ("half.png", None, "truncated"),
    ],
)
def test_damaged_pictures_name_the_argument(refused, tmp_path, picture, argument, name, data, said):
    if data is None:
        data = picture("whole.png", 64, 64).read_bytes()[:900]
    (tmp_path / name).write_bytes(data)
    arguments = {"PICTURE": "chelsea", "--style": "great_wave", "--content": "chelsea"}
    arguments[argument] = name
    line = refused("score", arguments["PICTURE"], "--style", arguments["--style"], "--content", arguments["--content"],
                   "--size", "32")  # fmt: skip
    assert line.startswith(f"{argument}: ") and said in line


def test_a_line_break_in_a_name_stays_on_one_line(refused):
    assert "a\\nb.png" in refused("score", "a\nb.png", "--style", "great_wave")


def test_an_output_that_exists_is_kept(refused, tmp_path):
    (tmp_path / "x.png").write_bytes(b"precious")
    assert "--force" in refused("stylize", "chelsea", "--method", "gatys", "--output", "x.png")
    assert (tmp_path / "x.png").read_bytes() == b"precious"


def test_precision_that_the_processor_lacks(refused, monkeypatch):
    monkeypatch.setattr(runtime, "cpu_supports_bfloat16", lambda: False)
    assert "AVX512_BF16" in refused("texture", "--method", "gatys", "--dtype", "bfloat16")


# --------------------------------------------------------------------------------------------- exit statuses


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("--size: bad"), 2, "error: --size: bad\n"),
        (NotFinite("the objective became nan"), 1, "error: the objective became nan\n"),
        (MemoryError(), 2, "error: out of memory; use a smaller --size or --batch\n"),
        (OSError(28, "No space left on device", "a.png"), 2, "error: 'a.png': No space left on device\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
    ],
)
def test_errors_become_statuses(capsys, error, status, said):
    def command():
        raise error

    assert console.run(command) == status
    assert capsys.readouterr().err == said


def test_a_closed_pipe_is_no_traceback(python):
    done = python(
        "import os, sys\nfrom nst_gluon import console\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "def command():\n    print('x' * 100000)\n    return 0\n"
        "sys.exit(console.run(command))"
    )
    assert (done.returncode, done.stderr) == (1, "")


def test_interrupted_while_optimising_leaves_nothing(monkeypatch, capsys, tmp_path):
    pytest.importorskip("mxnet")
    from nst_gluon import loss

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loss.Objective, "value_and_gradient", interrupt)
    assert main(["texture", "--method", "gatys", "--size", "32", *FAST]) == 130
    assert list(tmp_path.iterdir()) == [] and "Traceback" not in capsys.readouterr().err


def test_without_an_engine(python):
    done = python(
        "import sys\nfrom nst_gluon.cli import main\nsys.exit(main(['score', 'chelsea', '--style', 'brick']))",
        engine=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(r"error: no engine: .*\.\[cpu\].*\n", done.stderr)


def test_listing_and_help_need_no_engine(python):
    done = python("import sys\nfrom nst_gluon.cli import main\nsys.exit(main(['list']))", engine=False)
    assert done.returncode == 0 and "great_wave" in done.stdout


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


def test_stylize_does_not_enlarge_unasked_and_marks_random_weights(capsys, picture):
    pytest.importorskip("mxnet")
    photo = str(picture("photo.png", 20, 30))
    status = main(["stylize", photo, "--method", "gatys", "--iterations", "2", *FAST])
    captured = capsys.readouterr()
    assert status == 0 and captured.out.strip() == "photo-great_wave-gatys-random-weights.png"
    assert "random weights" in captured.err and size_of(captured.out.strip()) == (30, 20)


def test_coarse_to_fine(capsys, picture):
    pytest.importorskip("mxnet")
    photo = str(picture("photo.png", 64, 48))
    out = run(capsys, "stylize", photo, "--method", "gatys", "--iterations", "2", "--coarse", "32,48", *FAST,
              "--output", "x.jpg")  # fmt: skip
    assert size_of(out) == (48, 64)


@pytest.mark.parametrize("method", ["johnson", "texture_net"])
def test_stylize_with_a_net_of_ones_own(capsys, picture, net, method):
    photo = str(picture("photo.png", 50, 70))
    file = str(net(method, "stylize"))
    out = run(capsys, "stylize", photo, "--net", file, "--output", "x.png")
    assert size_of(out) == (70, 50)


def test_a_picture_in_bfloat16(capsys, picture, net):
    if not runtime.cpu_supports_bfloat16():
        pytest.skip("needs a processor with bfloat16")
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
    from nst_gluon import tiles
    from nst_gluon.commands import options

    sides = []

    class Noted(tiles.Tiling):
        def __init__(self, *arguments):
            sides.append(arguments[3])
            super().__init__(*arguments)

    monkeypatch.setattr(tiles, "Tiling", Noted)
    monkeypatch.setattr(runtime, "memory_available_bytes", lambda: options.BASE_BYTES + 6_000_000)
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
        ("--style brick", "--style: a net has its style inside"),
        ("--method texture_net", "--method: "),
        ("--iterations 5", "--iterations: johnson works in one pass"),
        ("--dtype int8", "--dtype: int8 changes these nets' pictures too much"),
        ("--random-weights", "--random-weights: johnson works in one pass"),
        ("--strength 1.5", "--strength: 1.5 is too large for johnson"),
    ],
)
def test_options_that_a_net_does_not_take(refused, net, arguments, said):
    file = str(net("johnson", "stylize"))
    assert said in refused("stylize", "chelsea", "--net", file, *arguments.split())


def test_a_net_for_the_other_task(refused, net):
    assert "--net: " in refused("texture", "--net", str(net("johnson", "stylize")))


def test_a_file_that_is_no_net(refused, tmp_path):
    (tmp_path / "net.npz").write_bytes(b"PK\x03\x04 nothing")
    assert "--net: " in refused("stylize", "chelsea", "--net", "net.npz")


# ----------------------------------------------------------------------------------------------------- score


def score(capsys, *arguments: str) -> dict:
    return json.loads(run(capsys, "score", *arguments, "--json", *FAST))


def test_score_is_one_json_object_whose_terms_add_up(capsys, picture):
    pytest.importorskip("mxnet")
    made = str(picture("made.png", 48, 48))
    facts = score(capsys, made, "--style", "brick", "--content", "chelsea", "--size", "48", "--preset", "johnson")
    assert facts["objective"] == pytest.approx(facts["content"] + facts["style"] + facts["tv"], rel=1e-5)
    assert min(facts["content"], facts["style"], facts["tv"]) > 0
    assert (facts["preset"], facts["size"], facts["style_size"]) == ("johnson", 48, 48)
    assert facts["weights"]["random"] is True and facts["weights"]["arch"] == "vgg19"


def test_score_agrees_with_the_objective_itself(capsys, picture):
    pytest.importorskip("mxnet")
    from nst_gluon import assets, presets, weights
    from nst_gluon.loss import Objective

    made = picture("made.png", 48, 48)
    facts = score(capsys, str(made), "--style", "brick", "--content", "coffee", "--size", "48", "--style-size", "32")
    content = images.load(assets.content_path("coffee"), 48)
    style = images.load(assets.style_path("brick"), 32)
    objective = Objective(presets.get("texture_net"), weights.load(random=True), "stylize", style, content)
    expected = objective.terms(images.load(made)).as_dict()
    assert {name: facts[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_score_does_not_resample_a_picture_that_has_the_size(capsys, monkeypatch, picture):
    pytest.importorskip("mxnet")
    made, content = str(picture("made.png", 32, 48)), str(picture("content.png", 32, 48))
    from nst_gluon.loss import Objective

    seen = []
    terms = Objective.terms
    monkeypatch.setattr(Objective, "terms", lambda self, x: (seen.append(x), terms(self, x))[1])
    facts = score(capsys, made, "--style", "brick", "--content", content, "--size", "48")
    np.testing.assert_array_equal(seen[0], images.load(made))
    assert (facts["height"], facts["width"]) == (32, 48)
    assert score(capsys, made, "--style", "brick", "--content", content)["objective"] == facts["objective"]


@pytest.mark.parametrize("shape", [(48, 48), (40, 64), (48, 64)])
def test_the_content_gets_exactly_the_picture_s_size(picture, shape):
    from nst_gluon.commands.score import content_like

    photo = picture("photo.png", 60, 96)
    content = content_like(photo, shape)
    assert content.shape == (1, 3, *shape)
    if shape == (48, 48):  # prepared as the benchmark prepares it
        np.testing.assert_array_equal(content, images.load(photo, 48))
    if shape == (40, 64):
        np.testing.assert_array_equal(content, images.load(photo, 64, "fit"))


def test_score_of_a_picture_against_itself_is_nothing_but_tv(capsys, picture):
    pytest.importorskip("mxnet")
    same = str(picture("same.png", 48, 48))
    facts = score(capsys, same, "--style", same, "--content", same, "--preset", "texture_net")
    assert facts["objective"] == pytest.approx(0, abs=1e-6)


def test_score_for_people(capsys, picture):
    pytest.importorskip("mxnet")
    out = run(capsys, "score", str(picture()), "--style", "brick", *FAST)
    assert out.startswith("objective ") and "random" in out


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
    files = run(capsys, "export", net, "--output", "exported").splitlines()
    symbol, params, card = files
    with runtime.quiet_import():
        block = mx.gluon.SymbolBlock.imports(symbol, ["data"], params)
    content = images.load("photos/one.png")
    picture_again = block(mx.nd.array(content)).asnumpy()
    assert images.psnr(np.clip(picture_again, 0, 1), images.load("x.png")) > 45
    assert json.loads(Path(card).read_text())["inputs"][0]["name"] == "data"
    assert main(["export", net, "--output", "exported"]) == 2
    assert main(["train", "--method", "johnson", "--style", "brick", "--output", "nets", "--size", "48", *FAST]) == 2


def test_export_of_a_texture_net_has_an_input_per_scale(capsys, net):
    mx = pytest.importorskip("mxnet")
    file = net("texture_net", "texture")
    symbol, params, card = run(capsys, "export", str(file)).splitlines()
    inputs = json.loads(Path(card).read_text())["inputs"]
    assert [entry["shape_for_96x96"][2] for entry in inputs] == [96, 48, 24, 12, 6]
    with runtime.quiet_import():
        block = mx.gluon.SymbolBlock.imports(symbol, [entry["name"] for entry in inputs], params)
    noise = [mx.nd.ones((2, 3, 32 >> k, 32 >> k)) for k in range(5)]
    assert block(*noise).shape == (2, 3, 32, 32)


def test_list(capsys):
    everything = json.loads(run(capsys, "list", "--json"))
    assert set(everything) == {"methods", "presets", "styles", "contents", "nets"}
    names = ["gatys", "gatys_pyramid", "net_gatys", "johnson", "texture_net"]
    assert [entry["name"] for entry in everything["methods"]] == names
    assert run(capsys, "list", "styles").split()[0] == "great_wave"


def test_weights_of_a_file(capsys, tmp_path):
    from nst_gluon import weights

    file = tmp_path / "mine.npz"
    weights.save(weights.random_weights("vgg16", 3), file)
    identity = json.loads(run(capsys, "weights", str(file), "--json"))
    assert identity["arch"] == "vgg16" and len(identity["sha256"]) == 64
    assert "vgg16" in run(capsys, "weights", str(file))
    assert "cache" in run(capsys, "weights", "--list").lower()


def test_the_module_runs(python):
    done = python("import runpy, sys\nsys.argv = ['nst_gluon', '--version']\n"
                  "runpy.run_module('nst_gluon', run_name='__main__')")  # fmt: skip
    assert done.returncode == 0 and re.fullmatch(r"\d+\.\d+\.\d+\n", done.stdout)
    assert sys.version_info >= (3, 9)
