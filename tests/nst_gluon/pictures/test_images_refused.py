"""Files and folders that are no pictures are refused in one line that says why."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, png, refusal, write
from PIL import Image

from nst_gluon.pictures import images
from nst_gluon.system.errors import UserError


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def rgb(rng):
    """A picture of 8-bit noise, 9 high and 13 wide, in which no symmetry hides a mistake."""
    return rng.integers(0, 256, (9, 13, 3), dtype=np.uint8)


def test_missing(tmp_path):
    line = refusal(images.load, tmp_path / "none.png")
    assert line.startswith("there is no file ") and repr(str(tmp_path / "none.png")) in line


def test_empty(tmp_path):
    line = refusal(images.load, write(tmp_path / "a.png", b""))
    assert repr(str(tmp_path / "a.png")) in line and "empty" in line


def test_folder(tmp_path):
    line = refusal(images.load, tmp_path)
    assert repr(str(tmp_path)) in line and "is a folder" in line


def test_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert "not a regular file" in refusal(images.load, tmp_path / "a.png")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b.png", "two\nlines.png"])
def test_impossible_names(name):
    assert refusal(images.load, name)


def test_no_picture(tmp_path):
    line = refusal(images.load, write(tmp_path / "notes.png", b"These are notes.\n" * 99))
    assert "notes.png" in line and "is not a picture" in line and "PNG" in line


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP"])
def test_truncated_at_every_length(tmp_path, rgb, kind):
    data = encoded(Image.fromarray(rgb), kind)
    path = tmp_path / "a"
    for length in range(
        len(data) - 25
    ):  # what a decoder can do without (a checksum, an end marker) is shorter
        assert repr(str(path)) in refusal(images.load, write(path, data[:length]))
    assert images.load(write(path, data)).shape == (1, 3, 9, 13)


@pytest.mark.parametrize(("name", "kind"), [("half.jpg", "JPEG"), ("half.png", "PNG")])
def test_a_half_download(tmp_path, rng, name, kind):
    pixels = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(pixels), kind)
    line = refusal(images.load, write(tmp_path / name, data[: len(data) // 2]), 64)
    assert name in line and "truncated" in line and "complete" in line


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "PPM"])
def test_flipped_bytes_are_refused_or_harmless(tmp_path, rgb, rng, kind):
    data = encoded(Image.fromarray(rgb), kind)
    for _ in range(100):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(256)
        try:
            array = images.load(write(tmp_path / "a", bytes(damaged)))
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert array.min() >= 0 and array.max() <= 1


@pytest.mark.parametrize(("side", "pixels"), [(11, "121"), (20, "400")])
def test_more_pixels_than_pillow_thinks_safe(tmp_path, monkeypatch, side, pixels):
    """Above its limit Pillow warns, above twice the limit it raises: both are refused here."""
    path = write(tmp_path / "a.png", encoded(Image.new("RGB", (side, side)), "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 120)
    line = refusal(images.load, path, 8)
    assert f"{str(path)!r} has {pixels} pixels, more than the limit of 120;" in line


def test_as_many_pixels_as_the_limit_are_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.png", encoded(Image.new("RGB", (12, 10)), "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 120)
    assert images.load(path).shape == (1, 3, 10, 12)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert images.load(path).shape == (1, 3, 10, 12)


def test_a_decompression_bomb_of_a_few_bytes(tmp_path):
    path = write(tmp_path / "bomb.png", png(50000, 50000, 8, 2, [b""]))
    line = refusal(images.load, path, 256)
    assert "2,500,000,000 pixels" in line and f"{Image.MAX_IMAGE_PIXELS:,}" in line


def test_no_pixels(tmp_path):
    line = refusal(images.load, write(tmp_path / "a.ppm", b"P6 0 5 255\n"))
    assert "a.ppm" in line


def denied(path, follow=True):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def test_unreadable(tmp_path, rgb, monkeypatch):
    path = write(tmp_path / "a.png", encoded(Image.fromarray(rgb), "PNG"))
    monkeypatch.setattr(images, "reading", denied)
    assert "Permission denied" in refusal(images.load, path)


def test_ctrl_c_is_not_swallowed(tmp_path, rgb, monkeypatch):
    path = write(tmp_path / "a.png", encoded(Image.fromarray(rgb), "PNG"))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Image, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        images.load(path)


def test_list_folder(tmp_path, rgb):
    names = ["b.jpg", "a.PNG", "c.webp", "d.jpeg"]
    for name in [*names, "notes.txt", "data.csv", ".hidden.png", "png"]:
        write(tmp_path / name, b"x")
    (tmp_path / "folder.png").mkdir()
    assert images.list_folder(tmp_path) == [tmp_path / name for name in sorted(names)]
    assert images.list_folder(str(tmp_path)) == images.list_folder(tmp_path)


def test_folders_that_are_refused(tmp_path):
    assert "has no pictures" in refusal(images.list_folder, tmp_path)
    write(tmp_path / "notes.txt", b"x")
    line = refusal(images.list_folder, tmp_path)
    assert repr(str(tmp_path)) in line and ".png" in line
    assert "there is no folder" in refusal(images.list_folder, tmp_path / "none")
    assert "is not a folder" in refusal(images.list_folder, tmp_path / "notes.txt")
    assert "cannot read" in refusal(images.list_folder, "a\0b")


@pytest.mark.parametrize("kind", ["EPS", "PCX", "TGA", "ICO", "SGI"])
def test_only_known_formats_are_tried(tmp_path, rgb, monkeypatch, kind):
    """A PostScript file, whatever its name, would start Ghostscript."""
    monkeypatch.setattr(subprocess, "Popen", None)
    path = write(tmp_path / "a.png", encoded(Image.fromarray(rgb), kind))
    assert "not a picture of a known format" in refusal(images.load, path)


def test_nothing_but_the_door_opens_pictures():
    """``Image.open`` without ``formats`` tries all that Pillow knows."""
    root = Path(images.__file__).resolve().parents[2]
    found = [
        (path, line)
        for package in ("nst_gluon", "bench")
        for path in (root / package).rglob("*.py")
        for line in path.read_text().splitlines()
        if "Image.open(" in line and "formats=" not in line and 'Image.open("photo.jpg")' not in line
    ]
    assert found == []
