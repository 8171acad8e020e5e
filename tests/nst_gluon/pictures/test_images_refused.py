"""Files and folders that are no pictures are refused in one line that says why."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from pictures import encoded, png, refusal, write
from PIL import Image

from nst_gluon.pictures import images
from nst_gluon.system.errors import UserError


def look(path) -> tuple[int, int]:
    """A picture's size, for which nothing is decoded."""
    with images.opened(path) as picture:
        return picture.size


def test_what_is_no_picture_is_told_in_one_line(tmp_path, rgb, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    for path, words in (
        (tmp_path / "none.png", "there is no file "),
        (write(tmp_path / "empty.png", b""), "empty"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.png", "not a regular file"),
        (write(tmp_path / "notes.png", b"These are notes.\n" * 99), "is not a picture"),
        (write(tmp_path / "a.ppm", b"P6 0 5 255\n"), "a.ppm"),
        (write(tmp_path / "bomb.png", png(50000, 50000, 8, 2, [b""])), "2,500,000,000 pixels"),
    ):
        for reads in (images.load, look):
            line = refusal(reads, path)
            assert repr(str(path)) in line and words in line
    for name in ("x" * 5000, "a\0b.png", "two\nlines.png"):
        assert refusal(images.load, name)

    def denied(path, follow=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(images, "reading", denied)
    path = write(tmp_path / "a.png", encoded(Image.fromarray(rgb), "PNG"))
    assert "Permission denied" in refusal(images.load, path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP"])
def test_truncated_anywhere(tmp_path, rgb, kind):
    data = encoded(Image.fromarray(rgb), kind)
    path = tmp_path / "a"
    # What a decoder can do without (a checksum, an end marker) is shorter than 25 bytes.
    for length in [*range(0, len(data) - 25, 11), len(data) - 26]:
        assert repr(str(path)) in refusal(images.load, write(path, data[:length]))
    assert images.load(write(path, data)).shape == (1, 3, 9, 13)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "PPM"])
def test_flipped_bytes_are_refused_or_harmless(tmp_path, rgb, rng, kind):
    data = encoded(Image.fromarray(rgb), kind)
    for _ in range(25):
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
