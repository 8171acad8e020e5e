"""``python -m nst_gluon``: its help, and one clear line, status 2 and nothing half-written for bad input."""

from __future__ import annotations

import os
import re
import shlex

import pytest
import toy_methods

from nst_gluon import methods
from nst_gluon.cli import console
from nst_gluon.cli.main import build_parser, main
from nst_gluon.system import runtime
from nst_gluon.system.errors import NotFinite, UserError

pytestmark = pytest.mark.usefixtures("workplace")

FAST = ["--random-weights"]


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "COMMAND"),
        ("stylise", "did you mean 'stylize'"),
        ("stylize", "PICTURE"),
        ("stylize chelsea --size 0", "--size: 0 is too small"),
        (f"texture --size {10**170}", "is too large; the most is 1,000,000,000"),
        ("stylize chelsea --size big", "--size: 'big' is not a whole number"),
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
        ("stylize chelsea --method gatys --strength 0.5", "--strength: gatys weighs style and content by --preset"),
        ("stylize chelsea --method gatys --coarse 64,32", "--coarse: 64,32 does not ascend"),
        ("stylize chelsea --method gatys --size 64 --coarse 64", "--coarse: 64 is not smaller"),
        ("stylize chelsea --method gatys --tile 256", "--tile: gatys optimises the picture as a whole"),
        ("stylize chelsea --tile some", "--tile: 'some' is neither auto nor off nor a number of pixels"),
        ("stylize chelsea --method gatys --output x.gif", "--output: 'x.gif' does not end in"),
        ("stylize chelsea --method gatys --output nowhere/x.png", "--output: there is no folder"),
        ("stylize chelsea --net nowhere.npz", "--net: 'nowhere.npz' is neither a file nor a bundled net"),
        ("stylize chelsea --style brick --method johnson", "--style: no net of johnson for stylize of 'brick'"),
        ("stylize chelsea --method gatys --size 100000", "GiB"),
        ("texture --method johnson", "--method: johnson cannot do 'texture'; "),
        ("stylize chelsea --method net_gatys --start noise", "--start: net_gatys starts from a net's picture"),
        ("stylize chelsea --method gatys_pyramid --start noise", "--start: gatys_pyramid starts from a picture with"),
        ("stylize chelsea --method gatys --size 32 --segments 99", "--segments: 99 is not possible"),
        ("texture --method gatys --style nowhere.jpg", "--style: 'nowhere.jpg'"),
        ("texture --method gatys --threads 0", "--threads: 0 is too small"),
        ("score chelsea", "--style"),
        ("score chelsea --style great_wave --content nowhere.png", "--content: 'nowhere.png'"),
        ("score chelsea --style great_wave --preset nix", "--preset: unknown preset 'nix'"),
        ("train", "PAINTING: give the style to train for, a file or one of: great_wave, "),
        ("train great_wav", "did you mean 'great_wave'"),
        ("train great_wave --style brick", "--style: PAINTING is given already"),
        ("train great_wave --preview-every soon", "--preview-every: 'soon' is not a number"),
        ("train --method gatys --style great_wave", "--method: gatys optimises a picture"),
        ("train --method johnson --task texture --style great_wave", "--method: johnson cannot do 'texture'"),
        ("train --method johnson --style great_wave --photos nowhere", "--photos: there is no folder 'nowhere'"),
        ("train --method texture_net --task texture --style great_wave --photos .", "--photos: a texture"),
        ("train great_wave --scales 4", "--scales: a net of johnson does not have that; it takes --width"),
        ("train great_wave --task texture --scales 0", "scales: 0 is not a whole number from 1"),
        ("train great_wave --start nowhere.npz", "--start: "),
        ("train great_wave --size 256,12", "--size: 12 is too small"),
        ("train --method johnson --style great_wave --batch 0", "--batch: 0 is too small"),
        ("train --task texture --style great_wave --batch 9999", "use a smaller --size or --batch"),
        ("weights nowhere", "'nowhere'"),
        ("weights vgg19 --list", "--list"),
        ("list net", "did you mean 'nets'"),
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


def test_a_method_of_ones_own_has_its_options_in_either_spelling(tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "_registered", {})
    path = toy_methods.write(tmp_path).rename(tmp_path / os.fsdecode(b"n\xe4t.py"))
    with open(path, "a") as file:
        file.write("\n    def choices(self):\n        return {'petals': 'how many'}\n")
    for words in ([f"--method={path}:ToyNet"], ["--method", f"{path}:ToyNet"]):
        methods._registered.clear()
        arguments = ["train", "brick", *words, "--petals", "3"]
        args = build_parser(arguments).parse_args(arguments)
        assert (args.method, args.petals) == ("toy_net", 3)


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
        "import os, sys\nfrom nst_gluon.cli import console\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "def command():\n    print('x' * 100000)\n    return 0\n"
        "sys.exit(console.run(command))"
    )
    assert (done.returncode, done.stderr) == (1, "")


def test_interrupted_while_optimising_leaves_nothing(monkeypatch, capsys, tmp_path):
    pytest.importorskip("mxnet")
    from nst_gluon.objective import loss

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loss.Objective, "value_and_gradient", interrupt)
    assert main(["texture", "--method", "gatys", "--size", "32", *FAST]) == 130
    assert list(tmp_path.iterdir()) == [] and "Traceback" not in capsys.readouterr().err


def test_without_an_engine(python):
    done = python(
        "import sys\nfrom nst_gluon.cli.main import main\nsys.exit(main(['score', 'chelsea', '--style', 'brick']))",
        engine=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(r"error: no engine: .*\.\[cpu\].*\n", done.stderr)


def test_a_broken_photo_is_named_before_anything_is_trained(capsys, tmp_path, picture):
    pytest.importorskip("mxnet")
    (tmp_path / "photos").mkdir()
    picture("photos/a.png")
    (tmp_path / "photos" / "b.png").write_bytes((tmp_path / "photos" / "a.png").read_bytes()[:500])
    assert main(["train", "great_wave", "--photos", "photos", "--output", "nets", "--random-weights"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "photos/b.png" in line and "complete picture file" in line and not list((tmp_path / "nets").glob("*"))
