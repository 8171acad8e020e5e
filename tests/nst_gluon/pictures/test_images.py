"""Pictures of every size and in every pixel format come out as float32 RGB in [0, 1]."""

from __future__ import annotations

import math
import struct
import warnings

import numpy as np
import pytest
from pictures import STORED, encoded, exif, expected, png, refusal, tiff, write
from PIL import Image

from nst_gluon.pictures import images


def test_as_it_is(tmp_path, rgb):
    array = images.load(write(tmp_path / "a.png", encoded(Image.fromarray(rgb), "PNG")))
    assert array.shape == (1, 3, 9, 13) and array.dtype == np.float32
    np.testing.assert_allclose(array, expected(rgb), atol=1e-7)


@pytest.mark.parametrize("crop", ["square", "fit"])
def test_the_asked_size_is_not_resampled(tmp_path, rng, crop):
    pixels = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    array = images.load(write(tmp_path / "a.png", encoded(Image.fromarray(pixels), "PNG")), 256, crop)
    np.testing.assert_array_equal(array, images.from_uint8(pixels))


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"), [(8, 13, (0, 8), (2, 10)), (15, 4, (5, 9), (0, 4))]
)
def test_square_crops_the_centre(tmp_path, rng, height, width, rows, columns):
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    array = images.load(
        write(tmp_path / "a.png", encoded(Image.fromarray(pixels), "PNG")), min(height, width)
    )
    np.testing.assert_array_equal(array, images.from_uint8(pixels[slice(*rows), slice(*columns)]))


def test_square_resamples_with_lanczos(tmp_path, rng):
    pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    array = images.load(write(tmp_path / "a.png", encoded(Image.fromarray(pixels), "PNG")), 12)
    assert array.shape == (1, 3, 12, 12)

    # Lanczos by its formula, in float64, one axis after the other.
    def matrix(length, size):
        scale = length / size
        centres = (np.arange(size)[:, None] + 0.5) * scale
        distance = (np.arange(length)[None] + 0.5 - centres) / max(scale, 1)
        weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
        return weights / weights.sum(1, keepdims=True)

    square = expected(pixels[:, 5:35])[0]
    lanczos = np.clip(matrix(30, 12) @ square @ matrix(30, 12).T, 0, 1)
    np.testing.assert_allclose(array[0], lanczos, atol=2 / 255)


@pytest.mark.parametrize(
    ("height", "width", "size", "shape"),
    [
        (300, 451, 256, (170, 256)),
        (451, 300, 256, (256, 170)),
        (5, 5, 64, (64, 64)),
        (1, 60000, 8, (1, 8)),
        (1, 1, 16, (16, 16)),
    ],
)
def test_fit_keeps_the_aspect(tmp_path, height, width, size, shape):
    path = write(tmp_path / "a.png", encoded(Image.new("RGB", (width, height), (10, 200, 30)), "PNG"))
    array = images.load(path, size, "fit")
    assert array.shape == (1, 3, *shape)
    np.testing.assert_allclose(array[0, :, 0, 0], np.array([10, 200, 30]) / 255, atol=1e-7)


@pytest.mark.parametrize("size", [0, -1, 2.5, 256.0, "256", True, math.nan, [256]])
def test_size_must_be_a_whole_number_of_at_least_1(tmp_path, rgb, size):
    path = write(tmp_path / "a.png", encoded(Image.fromarray(rgb), "PNG"))
    line = refusal(images.load, path, size)
    assert line.startswith(f"size: {size!r} ") and "at least 1" in line


def test_a_size_beyond_the_memory_says_how_much_it_would_take(tmp_path, rgb, monkeypatch):
    path = write(tmp_path / "a.png", encoded(Image.fromarray(rgb), "PNG"))
    monkeypatch.setattr(images, "memory_available_bytes", lambda: 2 * 2**30)
    line = refusal(
        images.load, path, 16384
    )  # 16384^2 values of 4 bytes in 3 channels are 3 GiB, and more is needed
    assert line.startswith("size: 16384 would take 5.8 GiB") and "2.0 GiB are free" in line
    assert "size: 1000000 would take" in refusal(images.load, path, 10**6)



SIXTEEN = [0, 1, 255, 256, 32768, 65534, 65535]
DEEP = np.array(SIXTEEN) / 65535


def gif() -> bytes:
    picture = Image.new("P", (2, 1), 0)
    picture.putpalette([9, 9, 9, 255, 0, 0])
    picture.putpixel((1, 0), 1)
    return encoded(picture, "GIF", transparency=0)


def cmyk(inks: list[tuple[int, ...]]) -> bytes:
    picture = Image.new("CMYK", (len(inks), 1))
    picture.putdata(inks)
    return encoded(picture, "TIFF")


RGB_PALETTE = bytes([255, 0, 0, 0, 255, 0, 0, 51, 102])
# A file of one row of pixels, and these: greys, or red, green and blue each. Transparent is white.
FORMATS = {
    "grey, 1 bit": (png(2, 1, 1, 0, [b"\x40"]), [0, 1]),
    "grey, 2 bits": (png(2, 1, 2, 0, [b"\x60"]), [1 / 3, 2 / 3]),
    "grey, 4 bits": (png(2, 1, 4, 0, [b"\x6f"]), [0.4, 1]),
    "grey, 8 bits": (png(3, 1, 8, 0, [b"\x00\x33\xff"]), [0, 0.2, 1]),
    "grey, 16 bits": (png(7, 1, 16, 0, [struct.pack(">7H", *SIXTEEN)]), DEEP),
    "grey, 16 bits, a transparent value": (
        png(7, 1, 16, 0, [struct.pack(">7H", *SIXTEEN)], tRNS=struct.pack(">H", 256)), [*DEEP[:3], 1, *DEEP[4:]]),
    "16-bit PGM": (b"P5 7 1 65535\n" + struct.pack(">7H", *SIXTEEN), DEEP),
    "16-bit TIFF": (tiff(7, 1, "<", struct.pack("<7H", *SIXTEEN)), DEEP),
    "16-bit TIFF, big-endian": (tiff(7, 1, ">", struct.pack(">7H", *SIXTEEN)), DEEP),
    "floating-point TIFF": (tiff(3, 1, "<", struct.pack("<3f", 0, 0.25, 1), 3, 32), [0, 0.25, 1]),
    "palette": (png(3, 1, 8, 3, [b"\2\0\1"], PLTE=RGB_PALETTE), [[0, 0.2, 0.4], [1, 0, 0], [0, 1, 0]]),
    "palette, transparency": (png(3, 1, 8, 3, [b"\0\1\2"], PLTE=RGB_PALETTE, tRNS=b"\0\x33"),
                              [[1, 1, 1], [0.8, 1, 0.8], [0, 0.2, 0.4]]),
    "GIF, a transparent colour": (gif(), [[1, 1, 1], [1, 0, 0]]),
    "alpha": (png(3, 1, 8, 6, [bytes([255, 0, 0, 0, 0, 0, 0, 51, 0, 102, 204, 255])]),
              [[1, 1, 1], [0.8, 0.8, 0.8], [0, 0.4, 0.8]]),
    "grey with alpha": (png(3, 1, 8, 4, [bytes([9, 0, 0, 51, 102, 255])]), [1, 0.8, 0.4]),
    "grey, a transparent value": (png(2, 1, 8, 0, [bytes([7, 51])], tRNS=struct.pack(">H", 7)), [1, 0.2]),
    "grey, 2 bits, a transparent value": (png(2, 1, 2, 0, [b"\x60"], tRNS=struct.pack(">H", 1)), [1, 2 / 3]),
    "grey, 4 bits, a transparent value": (png(2, 1, 4, 0, [b"\x6f"], tRNS=struct.pack(">H", 6)), [1, 1]),
    "16 bits, a transparent colour": (
        png(2, 1, 16, 2, [struct.pack(">6H", 300, 400, 500, *[51 * 257] * 3)], tRNS=struct.pack(">3H", 300, 400, 500)),
        [1, 0.2]),
    "a transparent colour": (png(2, 1, 8, 2, [bytes([1, 2, 3, 51, 51, 51])], tRNS=struct.pack(">3H", 1, 2, 3)),
                             [1, 0.2]),
    "CMYK": (cmyk([(0, 0, 0, 0), (0, 255, 255, 0), (255, 0, 255, 0), (0, 0, 0, 102)]),
             [[1, 1, 1], [1, 0, 0], [0, 1, 0], [0.6, 0.6, 0.6]]),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
def test_every_pixel_format_becomes_rgb(tmp_path, kind):
    data, colours = FORMATS[kind]
    wanted = np.array([[value] * 3 if np.isscalar(value) else value for value in colours])
    array = images.load(write(tmp_path / "picture", data))
    assert array.shape == (1, 3, 1, len(wanted)) and array.dtype == np.float32
    np.testing.assert_allclose(array[0, :, 0].T, wanted, rtol=1e-6, atol=1 / 255 if kind == "CMYK" else 1e-6)

def test_grey_of_a_tiff_that_pillow_does_not_scale_or_turn(tmp_path):
    twelve = write(tmp_path / "twelve.tif", tiff(2, 1, "<", b"\xff\xf0\x00", bits=12))
    zero_is_white = write(tmp_path / "turned.tif", tiff(2, 1, "<", struct.pack("<2H", 0, 65535), photometric=0))
    for path in (twelve, zero_is_white):
        np.testing.assert_array_equal(images.load(path)[0, :, 0], [[1.0, 0.0]] * 3)


def test_sixteen_bit_is_cropped_and_resampled_like_eight_bit(tmp_path, rng):
    pixels = rng.integers(0, 256, (20, 31), dtype=np.uint8)
    deep = write(
        tmp_path / "deep.png", png(31, 20, 16, 0, [(row.astype(">u2") * 257).tobytes() for row in pixels])
    )
    plain = write(tmp_path / "plain.png", png(31, 20, 8, 0, [row.tobytes() for row in pixels]))
    np.testing.assert_allclose(images.load(deep, 20), images.load(plain, 20), atol=1e-6)
    for crop in ("square", "fit"):
        a, b = images.load(deep, 11, crop), images.load(plain, 11, crop)
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=2 / 255)


@pytest.mark.parametrize(
    "values",
    [struct.pack("<3f", 0, 128, 255), struct.pack("<3f", 0, math.nan, 1), struct.pack("<3f", -1, 0, 1)],
)
def test_floating_point_of_unknown_range_is_refused(tmp_path, values):
    line = refusal(images.load, write(tmp_path / "a.tif", tiff(3, 1, "<", values, 3, 32)))
    assert "a.tif" in line and "floating-point" in line and "8 or 16 bits" in line


def test_integers_of_unknown_range_are_refused(tmp_path):
    line = refusal(images.load, write(tmp_path / "a.tif", tiff(2, 1, "<", struct.pack("<2i", 0, 9), 2, 32)))
    assert "a.tif" in line and "32-bit integer" in line


def test_cmyk_jpeg_is_not_a_negative(tmp_path):
    path = write(
        tmp_path / "a.jpg", encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    )
    array = images.load(path)
    np.testing.assert_allclose(array[0, :, 8, 8], [1, 0, 0], atol=0.03)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_gives_the_pixels_of_the_upright_picture(tmp_path, rgb, orientation, kind):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](rgb)))
    options = {"tiffinfo": {274: orientation}} if kind == "TIFF" else {"exif": exif(orientation)}
    array = images.load(write(tmp_path / "turned", encoded(stored, kind, **options)))
    np.testing.assert_array_equal(array, images.from_uint8(rgb))


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_of_a_jpeg(tmp_path, rng, orientation):
    upright = np.repeat(np.repeat(rng.integers(0, 256, (2, 3, 3), dtype=np.uint8), 32, 0), 32, 1)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    data = encoded(stored, "JPEG", quality=95, subsampling=0, exif=exif(orientation))
    array = images.load(write(tmp_path / "a.jpg", data))
    assert array.shape == (1, 3, 64, 96)
    np.testing.assert_allclose(array[:, :, 16::32, 16::32], expected(upright[16::32, 16::32]), atol=0.03)


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_of_sixteen_bits(tmp_path, orientation):
    upright = (np.arange(6) * 12345).astype(np.uint16).reshape(2, 3)
    stored = STORED[orientation](upright)
    data = png(
        stored.shape[1], stored.shape[0], 16, 0, [row.astype(">u2").tobytes() for row in stored],
        eXIf=exif(orientation)[6:],
    )  # fmt: skip
    array = images.load(write(tmp_path / "a.png", data))
    np.testing.assert_allclose(array[0, 1], upright / 65535, rtol=1e-6)


def test_orientation_comes_before_the_crop(tmp_path, rgb):
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](rgb)))
    turned = write(tmp_path / "turned.png", encoded(stored, "PNG", exif=exif(6)))
    upright = write(tmp_path / "upright.png", encoded(Image.fromarray(rgb), "PNG"))
    for crop in ("square", "fit"):
        np.testing.assert_array_equal(images.load(turned, 9, crop), images.load(upright, 9, crop))


@pytest.mark.parametrize("metadata", [b"Exif\0\0garbage", exif(9), exif(0), exif(6)[:-8]])
def test_broken_metadata_does_not_matter(tmp_path, rgb, metadata):
    path = write(tmp_path / "a.png", encoded(Image.fromarray(rgb), "PNG", exif=metadata))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(images.load(path).shape) == [1, 3, 9, 13]


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    path = write(tmp_path / "a.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(images.load(path)[0, :, 0, 0], [1, 0, 0])
