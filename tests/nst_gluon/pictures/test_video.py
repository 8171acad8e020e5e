"""Videos: read, stylised and written with the sound they had; the flicker; what is refused; nothing half-written."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nst_gluon import assets
from nst_gluon.cli.main import main
from nst_gluon.pictures import video
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

pytestmark = pytest.mark.usefixtures("workplace")

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="needs the extra video")

SECONDS, RATE = 10, 4
HEIGHT, WIDTH = 48, 64


def ffmpeg(*arguments: str) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *arguments], check=True)


def crops(count: int) -> list[np.ndarray]:
    """Frames of a camera that moves over a bundled photo."""
    photo = np.asarray(Image.open(assets.content_path("chelsea")).convert("RGB").resize((160, 106)))
    places = [(round(20 + 20 * np.sin(i / 6)), round(90 * i / count)) for i in range(count)]
    return [np.ascontiguousarray(photo[y : y + HEIGHT, x : x + WIDTH]) for y, x in places]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A clip of 10 seconds with sound."""
    folder = tmp_path_factory.mktemp("clip")
    stream = imageio_ffmpeg.write_frames(str(folder / "silent.mp4"), (WIDTH, HEIGHT), fps=RATE, macro_block_size=2)
    next(stream)
    for frame in crops(SECONDS * RATE):
        stream.send(frame)
    stream.close()
    ffmpeg("-i", str(folder / "silent.mp4"), "-f", "lavfi", "-i", f"sine=440:duration={SECONDS}", "-c:v", "copy",
           "-c:a", "aac", "-b:a", "32k", str(folder / "clip.mp4"))  # fmt: skip
    return folder / "clip.mp4"


def frames_of(path: Path) -> np.ndarray:
    opened = video.open_clip(path)
    return np.stack(list(video.read(opened, opened.size)))


@pytest.mark.parametrize(
    ("printed", "exact"),
    [(25, Fraction(25)), (29.97, Fraction(30000, 1001)), (23.98, Fraction(24000, 1001)), (12.5, Fraction(25, 2)),
     (30, Fraction(30)), (59.94, Fraction(60000, 1001)), (24, Fraction(24))],
)  # fmt: skip
def test_rates_of_television(printed, exact):
    assert video.exact_rate(printed) == exact


@pytest.mark.parametrize(
    ("size", "longer", "expected"),
    [((144, 256), None, (144, 256)), ((143, 256), None, (144, 256)), ((1080, 1920), 256, (144, 256)),
     ((1920, 1080), 101, (100, 56)), ((2, 999), 100, (2, 100))],
)  # fmt: skip
def test_sides_are_even_and_the_aspect_stays(size, longer, expected):
    assert video.even_size(size, longer) == expected


def test_frames_come_back_as_they_were_written(clip, tmp_path):
    source = video.open_clip(clip)
    frames = crops(8)
    with video.Writer(tmp_path / "again.mp4", source, source.size) as file:
        for frame in frames:
            file.add(frame)
    assert file.sound_kept and [path.name for path in tmp_path.iterdir()] == ["again.mp4"]
    read = frames_of(tmp_path / "again.mp4")
    assert read.shape == (8, HEIGHT, WIDTH, 3)
    difference = np.abs(read.astype(int) - np.stack(frames).astype(int))
    assert difference.mean() < 6  # of 255; half the colour's resolution is lost
    assert np.abs(read.mean(axis=(0, 1, 2)) - np.mean(frames, axis=(0, 1, 2))).max() < 2  # no tint


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize(("matrix", "size"), [("bt709", "1280x720"), ("bt709", "1280x544"), ("bt601", "640x360")])
def test_a_video_that_does_not_say_its_colour_matrix_has_that_of_its_size(tagged, matrix, size, tmp_path):
    """As players have it: high definition is bt709, smaller is bt601. An orange that the other matrix would change."""
    number = {"bt709": 1, "bt601": 6}[matrix] if tagged else 2
    filters = f"format=rgb24,scale=out_color_matrix={matrix}:out_range=tv,format=yuv420p"
    tags = f"h264_metadata=matrix_coefficients={number}:video_full_range_flag=0"
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", f"color=0xE06020:s={size}:r=10:d=0.3",
         "-vf", filters, "-c:v", "libx264", "-bsf:v", tags, str(tmp_path / "c.mp4")],
        check=True,
    )  # fmt: skip
    colour = frames_of(tmp_path / "c.mp4").mean(axis=(0, 1, 2))
    assert np.abs(colour - (0xE0, 0x60, 0x20)).max() < 5  # the other matrix: 14 and more


@pytest.mark.parametrize(
    ("pixels", "says"),
    [("yuv420p", False), ("yuv420p(tv, unknown/bt709/bt709, progressive)", False), ("yuv420p(tv, bt709)", True),
     ("yuv420p(tv, smpte170m/unknown/unknown)", True), ("gbrp", True)],
)  # fmt: skip
def test_what_says_the_colour_matrix(pixels, says):
    assert video._says_matrix(pixels) is says


@pytest.mark.parametrize(("transfer", "name"), [("arib-std-b67", "HLG"), ("smpte2084", "PQ")])
def test_a_video_in_hdr_is_refused(transfer, name, tmp_path):
    ffmpeg("-f", "lavfi", "-i", "color=0xE06020:s=64x48:r=10:d=0.2", "-vf",
           f"format=yuv420p10le,setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc={transfer}",
           "-c:v", "ffv1", str(tmp_path / "hdr.mkv"))  # fmt: skip
    with pytest.raises(UserError, match=rf"hdr.mkv' is HDR \({name}\).*; convert it to SDR first$"):
        video.open_clip(tmp_path / "hdr.mkv")


def test_the_rate_is_exact(clip, tmp_path):
    ntsc = replace(video.open_clip(clip), rate=Fraction(30000, 1001), sound=False)
    with video.Writer(tmp_path / "ntsc.mp4", ntsc, ntsc.size) as file:
        for frame in crops(30):
            file.add(frame)
    assert video.open_clip(tmp_path / "ntsc.mp4").rate == Fraction(30000, 1001)
    told = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-i", "ntsc.mp4", "-f", "framecrc", "-"], capture_output=True, text=True
    )
    assert "#tb 0: 1001/30000" in told.stdout


def test_a_turned_video_is_read_upright(clip, tmp_path):
    ffmpeg("-display_rotation", "90", "-i", str(clip), "-c", "copy", str(tmp_path / "turned.mp4"))
    assert video.open_clip(tmp_path / "turned.mp4").size == (WIDTH, HEIGHT)
    straight, turned = frames_of(clip), frames_of(tmp_path / "turned.mp4")
    assert np.abs(np.rot90(straight[0], 1).astype(int) - turned[0]).mean() < 3


def test_pixels_that_are_not_square_become_so(clip, tmp_path):
    ffmpeg("-i", str(clip), "-t", "0.2", "-vf", "setsar=2/1", "-an", str(tmp_path / "wide.mp4"))
    assert video.open_clip(tmp_path / "wide.mp4").size == (HEIGHT, 2 * WIDTH)
    assert frames_of(tmp_path / "wide.mp4").shape[1:] == (HEIGHT, 2 * WIDTH, 3)


def test_an_error_leaves_no_file_and_keeps_the_old_one(clip, tmp_path):
    source = video.open_clip(clip)
    (tmp_path / "old.mp4").write_bytes(b"precious")
    for error in (KeyboardInterrupt, RuntimeError):
        with pytest.raises(error), video.Writer(tmp_path / "old.mp4", source, source.size) as file:
            file.add(crops(1)[0])
            raise error
    assert [path.name for path in tmp_path.iterdir()] == ["old.mp4"]
    assert (tmp_path / "old.mp4").read_bytes() == b"precious"


def test_what_ffmpeg_refuses_is_one_line(clip, tmp_path):
    source = video.open_clip(clip)
    with pytest.raises(UserError, match=r"^cannot write .*ffmpeg"):  # noqa: SIM117
        with video.Writer(tmp_path / "no" / "where.mp4", source, source.size) as file:
            for frame in crops(40) * 5:
                file.add(frame)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(clip, tmp_path, monkeypatch):
    source = video.open_clip(clip)
    monkeypatch.setattr(video.shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    with pytest.raises(UserError, match=r"^cannot write .*out\.mp4': the disk is full; "):  # noqa: SIM117
        with video.Writer(tmp_path / "out.mp4", source, source.size) as file:
            file._stream.close()
            file.add(crops(1)[0])


@pytest.mark.parametrize("data", [b"", b"no video at all" * 100])
def test_what_is_no_video(tmp_path, data):
    (tmp_path / "x.mp4").write_bytes(data)
    with pytest.raises(UserError, match="not a video that ffmpeg can read"):
        video.open_clip(tmp_path / "x.mp4")


def test_without_the_extra(python, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"")
    done = python(
        "import sys\nsys.modules['imageio_ffmpeg'] = None\nfrom nst_gluon.cli.main import main\n"
        f"sys.exit(main(['stylize', {str(tmp_path / 'clip.mp4')!r}, '--output', {str(tmp_path / 'x.mp4')!r}]))"
    )
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(r"error: PICTURE: .*imageio-ffmpeg.*\.\[cpu,video\].*\n", done.stderr)


# ------------------------------------------------------------------------------------------------- from one command


def test_ten_seconds_from_one_command(capsys, clip, tmp_path, net):
    """With its frames a second and its flicker in the output, and the sound in the file."""
    file = str(net("texture_net", "stylize"))
    assert main(["stylize", str(clip), "--net", file, "--output", "out.mp4"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "out.mp4\n"
    [line] = captured.err.splitlines()
    assert line.startswith(f"40 frames of {WIDTH}x{HEIGHT} (10 s of video) in ") and " frames/s; flicker " in line
    made = video.open_clip(tmp_path / "out.mp4")
    assert (made.rate, made.size, made.frames, made.sound) == (RATE, (HEIGHT, WIDTH), SECONDS * RATE, True)
    assert len(frames_of(tmp_path / "out.mp4")) == SECONDS * RATE
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".mp4", ".npz"]


def test_the_facts_of_a_video(capsys, clip, net):
    file = str(net("johnson", "stylize"))
    common = ["stylize", str(clip), "--net", file, "--size", "32", "--json", "-q"]
    assert main([*common, "--output", "whole.mkv"]) == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    [made] = facts["made"]
    assert captured.err == "" and facts["frames"] == made["frames"] == 40
    assert made["frames_per_s"] == pytest.approx(40 / made["seconds"]) and facts["frames_per_s"] > 0
    assert (made["width"], made["height"], made["video_frames_per_s"], made["sound"]) == (32, 24, RATE, True)
    assert made["flicker"] == pytest.approx(made["change_of_output"] / made["change_of_input"])
    assert main([*common, "--output", "none.mkv", "--strength", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["made"][0]["flicker"] == pytest.approx(1, abs=0.02)


def test_a_size_that_does_not_fit_is_named_as_that_of_a_picture_is(capsys, monkeypatch, clip):
    monkeypatch.setattr(runtime, "memory_available_bytes", lambda: 0)
    for source in ("chelsea", str(clip)):
        assert main(["stylize", source, "--method", "gatys", "--size", "48", "--output", "out"]) == 2
        assert re.search(r"^error: '[^']+': --size: 48x\d+ pixels would take about", capsys.readouterr().err)


def test_the_noise_is_the_same_for_every_frame(capsys, tmp_path, net):
    stream = imageio_ffmpeg.write_frames("still.mp4", (WIDTH, HEIGHT), fps=RATE, macro_block_size=2)
    next(stream)
    for _ in range(3):
        stream.send(np.full((HEIGHT, WIDTH, 3), 128, np.uint8))
    stream.close()
    assert main(["stylize", "still.mp4", "--net", str(net("texture_net", "stylize")), "--json", "-q"]) == 0
    [made] = json.loads(capsys.readouterr().out)["made"]
    assert made["change_of_input"] == 0 and made["change_of_output"] == 0 and made["flicker"] is None
    assert made["output"] == "still-great_wave-texture_net.mp4" and made["sound"] is None


def test_a_folder_of_pictures_and_videos(capsys, clip, tmp_path, picture, net):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(clip.read_bytes()[:-2000])  # cut short: its index is at the end
    (tmp_path / "in" / "b.mp4").write_bytes(clip.read_bytes())
    picture("in/c.png", 40, 40)
    file = str(net("johnson", "stylize"))
    assert main(["stylize", "in", "--net", file, "--output", "out", "--size", "32"]) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["out/c.png", "out/b.mp4"]
    first, _, last = captured.err.splitlines()
    assert first.startswith("error: PICTURE: ") and "a.mp4" in first
    assert last.startswith("1 picture and 40 frames in ") and last.endswith("1 failed, see above")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.mp4", "c.png"]


def test_an_interrupt_leaves_no_video(capsys, ctrl_c, clip, tmp_path, net):
    file = str(net("johnson", "stylize"))
    ctrl_c(5)
    assert main(["stylize", str(clip), "--net", file, "--output", "out.mp4"]) == 130
    assert "Traceback" not in capsys.readouterr().err and not list(tmp_path.glob("*.mp4"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_video_that_is_cut_short_is_told(capsys, clip, tmp_path, net, suffix):
    """Its index at the beginning, as on the web: ffmpeg itself plays it to where it ends and says nothing."""
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    video._ffmpeg("-i", str(clip), "-c", "copy", *(["-movflags", "+faststart"] if suffix == ".mp4" else []), str(whole))
    assert video.open_clip(whole).frames == SECONDS * RATE
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert main(["stylize", str(cut), "--net", str(net("johnson", "stylize")), "--output", "out.mp4"]) == 2
    assert f"cut{suffix}' is cut short" in capsys.readouterr().err and not Path("out.mp4").exists()
