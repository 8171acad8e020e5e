"""``stylize`` on several pictures: folders, patterns, what is never overwritten, and what if one is damaged."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst_gluon import assets
from nst_gluon.cli import input_files
from nst_gluon.cli.main import main
from nst_gluon.nets import netfile
from nst_gluon.pictures import color, images
from nst_gluon.system.errors import UserError

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture
def folder(tmp_path, picture):
    """Three pictures of different kinds and shapes in ``in``, beside what is none."""
    (tmp_path / "in").mkdir()
    picture("in/a.png", 40, 56)
    picture("in/b.jpg", 48, 32)
    picture("in/c.webp", 32, 32)
    (tmp_path / "in" / "notes.txt").write_text("none of them")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    return tmp_path / "in"


def size_of(path) -> tuple[int, int]:
    with Image.open(path) as made:
        return made.size



# ------------------------------------------------------------------------------------------- what is to be done


def test_names_stand_for_files_folders_and_patterns(folder):
    files = [Path("in/a.png"), Path("in/b.jpg"), Path("in/c.webp")]
    assert input_files.find(["in"]) == (files, True)
    assert input_files.find(["in/*"]) == (files, True)
    assert input_files.find(["in/[ab].*"]) == (files[:2], True)
    assert input_files.find(["in/a.png"]) == (files[:1], False)
    assert input_files.find(["in/c.webp", "in", "in/a.png"]) == ([files[2], *files[:2]], True)
    assert input_files.find(["chelsea"]) == ([assets.content_path("chelsea")], False)
    (folder / "x[1].png").write_bytes(b"")
    assert input_files.find(["in/x[1].png"]) == ([Path("in/x[1].png")], False)


def test_no_name_is_no_picture_and_results_of_an_interrupted_pattern_are_none(folder, picture):
    with pytest.raises(UserError, match="^PICTURE: the name is empty"):
        input_files.find([""])
    (folder / "painted").mkdir()
    picture("in/painted/a.png", 40, 56)
    jobs, skipped = input_files.jobs(["in/**/*"], folder / "painted", input_files.SKIP, ["s", "m"])
    assert [job.source.name for job in jobs] == ["b.jpg", "c.webp"] and skipped == 1


def test_results_keep_their_names_in_a_folder(folder):
    made, _ = input_files.jobs(["in"], Path("out"), input_files.REFUSE, ["s", "m"])
    assert [str(job.output) for job in made] == ["out/a.png", "out/b.jpg", "out/c.png"]
    assert [str(job.output) for job in input_files.jobs(["in"], None, input_files.REFUSE, ["s", "m"])[0]] == [
        "a-s-m.png", "b-s-m.png", "c-s-m.png",
    ]  # fmt: skip
    (folder / "clip.MP4").write_bytes(b"")
    (folder / "old.avi").write_bytes(b"")
    jobs, _ = input_files.jobs(["in"], Path("out"), input_files.REFUSE, ["s", "m"], "-marked")
    made = {str(job.source): job for job in jobs}
    assert made["in/clip.MP4"].is_video and str(made["in/clip.MP4"].output) == "out/clip-marked.MP4"
    assert made["in/old.avi"].is_video and str(made["in/old.avi"].output) == "out/old-marked.mp4"
    assert not made["in/a.png"].is_video
    ([turned], _) = input_files.jobs(["in/c.webp"], Path("moving.mp4"), input_files.REFUSE, ["s", "m"])
    assert turned.is_video and str(turned.output) == "moving.mp4"


@pytest.mark.parametrize("output", ["painted", "painted/", "x.png/"])
def test_a_name_without_a_suffix_or_with_a_slash_is_a_folder(capsys, folder, net, output):
    file = str(net("johnson", "stylize"))
    assert main(["stylize", "in/a.png", "--net", file, "--output", output, "-q"]) == 0
    assert capsys.readouterr().out.strip() == str(Path(output, "a.png")) and size_of(Path(output, "a.png")) == (56, 40)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("in --output x.png", "--output: 'x.png' is the name of one file"),
        ("in/nothing*.png", "PICTURE: no picture or video matches 'in/nothing*.png'"),
        ("in/aa.png", "did you mean 'in/a.png'?"),
        ("nowhere/a.png", "PICTURE: 'nowhere/a.png' is neither a bundled picture nor a file"),
        ("in/a.png/b.png", "PICTURE: 'in/a.png/b.png' is neither a bundled picture nor a file"),
        ("empty", "PICTURE: the folder 'empty' has no pictures"),
        ("in/a.png twin --output out", "would be written twice, for 'in/a.png' and 'twin/a.png'"),
        ("in --output full", "--output: 'full/b.jpg' exists; name another folder, or use --skip-existing or --force"),
        ("in --output in --force", "is one of the pictures to stylise"),
        ("in/a.png --output in/a.png --force", "is one of the pictures to stylise"),
        ("in --output in/notes.txt", "--output: 'in/notes.txt' is not a folder"),
        ("in --output in/notes.txt/out", "--output: "),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_done(refused, tmp_path, folder, picture, arguments, said):
    for name in ("empty", "twin", "full"):
        (tmp_path / name).mkdir()
    picture("twin/a.png", 32, 32)
    (tmp_path / "full" / "b.jpg").write_bytes(b"precious")
    assert said in refused("stylize", *arguments.split(), "--method", "gatys")


# ------------------------------------------------------------------------------------------------ pictures made


def test_a_folder_with_one_damaged_picture(capsys, folder, net):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    status = main(["stylize", "in", "--net", str(net("johnson", "stylize")), "--output", "out/deep"])
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out.splitlines() == ["out/deep/a.png", "out/deep/b.jpg", "out/deep/c.png"]
    first, last = captured.err.splitlines()
    assert first.startswith("error: PICTURE: ") and "broken.png" in first
    assert last.startswith("3 pictures in ") and "pictures/s" in last and "1 failed" in last
    assert [size_of(f"out/deep/{name}") for name in ("a.png", "b.jpg", "c.png")] == [(56, 40), (32, 48), (32, 32)]
    assert not list(Path("out").rglob("*.tmp"))


def test_a_picture_that_is_too_small_for_the_objective_is_named_and_the_others_are_made(capsys, picture):
    pytest.importorskip("mxnet")
    Path("thin").mkdir()
    picture("thin/a.png", 8, 64)
    picture("thin/b.png", 32, 64)
    picture("thin/c.png", 20, 64)
    arguments = ("thin", "--method", "gatys", "--iterations", "1", "--random-weights", "--output", "out", "--json",
                 "--coarse", "32")  # fmt: skip
    assert main(["stylize", *arguments]) == 2
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [Path(made["output"]).name for made in found["made"]] == ["b-random-weights.png"]
    assert "'thin/a.png': " in captured.err and "64x8 pixels is too small" in found["failed"][0]["error"]
    assert "--coarse: 32x10 pixels is too small" in found["failed"][1]["error"]


def test_json_says_what_was_made(capsys, folder, net):
    (folder / "broken.png").write_bytes(b"")
    file = str(net("texture_net", "stylize"))
    assert main(["stylize", "in", "--net", file, "--output", "out", "--json", "-q", "--size", "48"]) == 2
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    assert [entry["output"] for entry in facts["made"]] == ["out/a.png", "out/b.jpg", "out/c.png"]
    assert facts["made"][0]["source"] == "in/a.png" and "broken.png" in facts["failed"][0]["source"]
    assert facts["pictures"] == 3 and facts["pictures_per_s"] == pytest.approx(3 / facts["seconds"])
    assert len(captured.err.splitlines()) == 1
    assert size_of("out/a.png") == (48, 34)


def test_the_same_pictures_together_and_apart(capsys, folder, net):
    file = str(net("texture_net", "stylize"))
    assert main(["stylize", "in", "--net", file, "--output", "out", "-q"]) == 0
    assert main(["stylize", "in/a.png", "--net", file, "--output", "alone.png", "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert Path("alone.png").read_bytes() == Path("out/a.png").read_bytes()


def test_a_folder_that_was_half_done(capsys, refused, folder, net):
    arguments = ["stylize", "in", "--size", "32", "--net", str(net("johnson", "stylize")), "--output", "out"]
    Path("out").mkdir()
    Path("out/b.jpg").write_bytes(b"from before")
    assert main([*arguments, "--skip-existing"]) == 0
    captured = capsys.readouterr()
    assert captured.out.split() == ["out/a.png", "out/c.png"] and Path("out/b.jpg").read_bytes() == b"from before"
    assert captured.err.strip().endswith("; 1 skipped: the result exists")
    assert main([*arguments, "--skip-existing", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["made"], facts["failed"], facts["skipped"]) == ([], [], 3)
    assert "leave one of them out" in refused(*arguments, "--skip-existing", "--force")


@pytest.mark.parametrize(("size", "expected"), [("auto", (512, 64)), ("original", (600, 75)), ("40", (40, 5))])
def test_the_size_of_what_is_made(picture, net, size, expected):
    photo, file = str(picture("photo.png", 75, 600)), str(net("johnson", "stylize"))
    assert main(["stylize", photo, "--net", file, "--size", size, "--output", "x.png", "-q"]) == 0
    assert size_of("x.png") == expected


def test_a_picture_far_from_the_training_s_size_is_told_and_can_be_stylised_at_that_size(picture, net, capsys):
    file, photo = str(net("johnson", "stylize")), str(picture("photo.png", 192, 96))
    params, meta = netfile.load(file)
    netfile.save(file, params, {**meta, "size": 64})
    assert main(["stylize", photo, "--net", file, "--output", "plain.png"]) == 0
    said = capsys.readouterr().err
    assert said.count("was trained at 64 pixels; at 192 its strokes are small: try --net-size 64") == 1
    for name, more in {"small": ["--size", "64"], "carried": ["--net-size", "64"]}.items():
        assert main(["stylize", photo, "--net", file, "--output", f"{name}.png", *more]) == 0
    assert "was trained at" not in capsys.readouterr().err
    assert main(["stylize", photo, "--net", file, "--output", "coarse.png", "--net-size", "16"]) == 0
    assert "at 16 its strokes are large: try a larger --net-size" in capsys.readouterr().err
    content, small, carried = (images.load(name) for name in (photo, "small.png", "carried.png"))
    detail = color.luminance(content - images.resize(images.resize(content, (64, 32)), (192, 96)))
    expected = np.clip(images.resize(small, (192, 96)) + detail, 0, 1)
    assert carried.shape == content.shape and np.abs(carried - expected).mean() < 3 / 255  # files have 8 bits


def test_a_style_without_a_net_says_how_long_it_will_take_and_what_is_faster(capsys, monkeypatch, folder):
    from nst_gluon.cli import batch

    monkeypatch.setattr(batch.Batch, "run", lambda self, jobs: self.outcome)
    assert main(["stylize", "in", "--style", "brick", "--output", "out"]) == 0
    said = capsys.readouterr().err
    assert said.startswith(
        "note: no net is bundled for 'brick', so gatys optimises 3 pictures in 200 evaluations, about "
    )
    assert "great_wave" in said and "train" in said and len(said.splitlines()) == 1
    (folder / "clip.mp4").write_bytes(b"")
    Path("out").mkdir()
    for sources, what in ((["in/clip.mp4"], "each frame"), (["in"], "each picture and each frame")):
        assert main(["stylize", *sources, "--style", "brick", "--output", "out"]) == 0
        assert re.search(f"optimises {what} in 200 evaluations, about .* each here", capsys.readouterr().err)
    assert main(["stylize", "in", "--style", "brick", "--output", "out", "--method", "gatys"]) == 0
    assert capsys.readouterr().err == "", "who named the method knows"


def test_force_overwrites(folder, net):
    file = str(net("johnson", "stylize"))
    Path("out").mkdir()
    Path("out/b.jpg").write_bytes(b"old")
    assert main(["stylize", "in", "--net", file, "--output", "out", "--force", "-q"]) == 0
    assert size_of("out/b.jpg") == (32, 48)


def test_several_pictures_by_optimisation(capsys, folder):
    pytest.importorskip("mxnet")
    arguments = ["--method", "gatys", "--iterations", "2", "--size", "32", "--random-weights", "--output", "out"]
    assert main(["stylize", "in/a.png", "in/b.jpg", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["out/a-random-weights.png", "out/b-random-weights.jpg"]
    assert captured.err.count("random weights") == 1 and captured.err.splitlines()[-1].startswith("2 pictures in ")


def test_the_camera_s_orientation_is_applied(tmp_path, picture, net):
    upright = Image.open(picture("upright.png", 40, 60))
    turned = Image.Exif()
    turned[0x0112] = 6  # stored turned a quarter to the left
    stream = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(stream, "PNG", exif=turned)
    (tmp_path / "camera.png").write_bytes(stream.getvalue())
    file = str(net("johnson", "stylize"))
    for name in ("upright", "camera"):
        assert main(["stylize", f"{name}.png", "--net", file, "--output", f"made-{name}.png", "-q"]) == 0
    assert size_of("made-camera.png") == (60, 40)
    assert Path("made-camera.png").read_bytes() == Path("made-upright.png").read_bytes()


def test_strength_and_colours_of_a_johnson_net(picture, net):
    file, photo = str(net("johnson", "stylize")), str(picture("photo.png", 130, 90))
    made = {}
    for name, more in {
        "whole": [], "none": ["--strength", "0"], "half": ["--strength", "0.5"], "kept": ["--keep-colors"],
        "tiles": ["--keep-colors", "--tile", "64"],
    }.items():  # fmt: skip
        assert main(["stylize", photo, "--net", file, "--output", f"{name}.png", "-q", *more]) == 0
        made[name] = images.load(f"{name}.png")
    content = images.load(photo)
    np.testing.assert_array_equal(made["none"], content)
    np.testing.assert_allclose(made["half"], (content + made["whole"]) / 2, atol=2 / 255)
    np.testing.assert_allclose(made["kept"], color.keep_colors(content, made["whole"]), atol=2 / 255)
    np.testing.assert_allclose(made["tiles"], made["kept"], atol=3 / 255)


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(refused, monkeypatch, tmp_path, folder):
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed")
    assert "cannot be written to" in refused("stylize", "in", "--output", "closed/out")


def test_an_interrupt_between_pictures_leaves_whole_files_only(capsys, ctrl_c, folder, net):
    file = str(net("johnson", "stylize"))
    ctrl_c(3)
    assert main(["stylize", "in", "--net", file, "--output", "out"]) == 130
    assert "Traceback" not in capsys.readouterr().err
    made = sorted(path.name for path in Path("out").iterdir())
    assert made in (["a.png"], ["a.png", "b.jpg"])
    assert all(size_of(f"out/{name}") for name in made)


def test_a_full_disk_is_one_line(capsys, monkeypatch, folder, net):
    from nst_gluon.cli import batch
    from nst_gluon.system.errors import UserError

    def refuse(*_):
        raise UserError("cannot write 'out/a.png': No space left on device")

    monkeypatch.setattr(batch, "write_picture", refuse)
    assert main(["stylize", "in", "--net", str(net("johnson", "stylize")), "--output", "out"]) == 2
    assert capsys.readouterr().err == "error: cannot write 'out/a.png': No space left on device\n"


def test_progress_is_for_terminals(capsys, monkeypatch, folder, net):
    file = str(net("johnson", "stylize"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["stylize", "in", "--net", file, "--output", "out"]) == 0
    assert "picture/s" in capsys.readouterr().err.replace("s/picture", "picture/s")
    assert main(["stylize", "in", "--net", file, "--output", "quiet", "-q"]) == 0
    assert capsys.readouterr().err == ""
