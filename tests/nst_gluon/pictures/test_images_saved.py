"""Saving a picture whole or not at all, and the arithmetic on arrays."""

from __future__ import annotations

import errno
import math
import os

import numpy as np
import pytest
from pictures import refusal, write
from PIL import Image

from nst_gluon.pictures import images
from nst_gluon.system.errors import NotFinite


def test_save_clips_and_rounds(tmp_path):
    array = np.array([-1, 0, 0.25, 100.4 / 255, 100.6 / 255, 1, 7], np.float32)
    path = images.save(np.broadcast_to(array, (1, 3, 1, 7)), tmp_path / "a.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.mode == "RGB"
        assert np.asarray(picture)[0, :, 1].tolist() == [0, 0, 64, 100, 101, 255, 255]


def test_save_and_load_a_png_bit_for_bit(tmp_path, rgb):
    array = images.from_uint8(rgb)
    for value in (array, array[0]):
        np.testing.assert_array_equal(images.load(images.save(value, tmp_path / "a.png")), array)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG"])
def test_save_jpeg(tmp_path, name):
    smooth = np.stack(np.broadcast_arrays(*np.ogrid[0:1:48j, 0:1:64j], 0.5))[None].astype(np.float32)
    path = images.save(smooth, tmp_path / name)
    with Image.open(path) as picture:
        assert picture.format == "JPEG" and picture.size == (64, 48)
    assert images.psnr(images.load(path), smooth) > 40


@pytest.mark.parametrize(
    ("name", "words"),
    [("a.bmp", "suffix"), ("a", "suffix"), ("a.png.txt", "suffix"), (".png", "suffix"),
     ("none/a.png", "does not exist"), ("file/a.png", "is not a folder"), ("folder.png", "it is a folder"),
     ("x" * 300 + ".png", "cannot write"),
     ("a\0b.png", "cannot write")],
)  # fmt: skip
def test_places_that_cannot_be_written(tmp_path, rgb, name, words):
    write(tmp_path / "file", b"x")
    (tmp_path / "folder.png").mkdir()
    assert words in refusal(images.save, images.from_uint8(rgb), f"{tmp_path}/{name}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_more_than_a_jpeg_can_hold(tmp_path):
    line = refusal(images.save, np.zeros((3, 1, 70000), np.float32), tmp_path / "a.jpg")
    assert "70000 x 1" in line and ".png" in line and not list(tmp_path.iterdir())


def test_overwriting(tmp_path, rgb):
    path = images.save(images.from_uint8(rgb), tmp_path / "a.png")
    before = path.read_bytes()
    assert "exists already" in refusal(images.save, np.zeros((3, 2, 2)), path, overwrite=False)
    assert path.read_bytes() == before
    images.save(np.zeros((3, 2, 2)), path)
    assert images.load(path).shape == (1, 3, 2, 2)
    assert list(tmp_path.iterdir()) == [path]


REAL_OPEN, REAL_WRITE = os.open, os.write


def refusing(monkeypatch, number: int) -> None:
    """A system that refuses to make files, or, for ENOSPC, to write more than ten bytes."""

    def opened(path, flags, *arguments, **options):
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return REAL_OPEN(path, flags, *arguments, **options)

    def written(descriptor, data):
        if len(data) <= 10:
            raise OSError(number, os.strerror(number))
        return REAL_WRITE(descriptor, data[:10])

    monkeypatch.setattr(os, *(("write", written) if number == errno.ENOSPC else ("open", opened)))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("existing", [False, True])
def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path, rgb, monkeypatch, number, existing):
    path = tmp_path / "a.png"
    if existing:
        images.save(np.zeros((3, 2, 2)), path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    refusing(monkeypatch, number)
    line = refusal(images.save, images.from_uint8(rgb), path)
    monkeypatch.undo()
    assert repr(str(path)) in line and os.strerror(number) in line and "writable" in line
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_ctrl_c_while_saving_leaves_nothing(tmp_path, rgb, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        images.save(images.from_uint8(rgb), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_picture_that_is_not_finite_is_not_saved(tmp_path, value):
    array = np.zeros((1, 3, 4, 4), np.float32)
    array[0, 1, 2, 3] = value
    with pytest.raises(NotFinite):
        images.save(array, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (2, 3, 4, 4), (1, 1, 4, 4), (3, 0, 4)])
def test_a_shape_that_is_no_picture(tmp_path, shape):
    with pytest.raises(ValueError, match="shape"):
        images.save(np.zeros(shape), tmp_path / "a.png")


def test_every_level_survives_the_round_trip():
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    array = images.from_uint8(levels)
    assert array.dtype == np.float32 and array.flags.c_contiguous
    np.testing.assert_array_equal(images.to_uint8(array), levels)
    np.testing.assert_array_equal(images.to_uint8(array.astype(np.float64)), levels)


def test_resize_keeps_constants_range_and_leading_axes(rng):
    array = rng.random((2, 3, 17, 23), dtype=np.float32)
    out = images.resize(array, (40, 9))
    assert out.shape == (2, 3, 40, 9) and out.dtype == np.float32
    assert out.min() >= array.min() and out.max() <= array.max()
    np.testing.assert_array_equal(out[1, 2], images.resize(np.concatenate([array[1], array[0]]), (40, 9))[2])
    np.testing.assert_allclose(images.resize(np.full((3, 5, 5), 0.3), (8, 2)), 0.3, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 4), (4, -1), (2.5, 4)])
def test_resize_to_nothing(shape):
    refusal(images.resize, np.zeros((3, 4, 4)), shape)


def test_psnr():
    a = np.full((1, 3, 4, 4), 0.5)
    assert images.psnr(a, a) == math.inf
    assert images.psnr(a, a + 0.1) == pytest.approx(20)
    assert images.psnr(a, a - 0.01) == pytest.approx(40)
    with pytest.raises(ValueError, match="shapes"):
        images.psnr(a, a[0])
