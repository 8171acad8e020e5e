"""What the tests of pictures share: files put together by hand, and the check of a refusal."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest

from nst_gluon.system.errors import UserError


def expected(pixels):
    """uint8 (H, W, 3) as the tensor that it must become, by plain arithmetic."""
    return np.stack([pixels[:, :, channel] for channel in range(3)])[None].astype(np.float64) / 255


def png(width, height, depth, colour_type, rows, **chunks):
    """A PNG file put together by hand: rows is a list of the bytes of each row."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    extra = b"".join(chunk(kind.encode(), data) for kind, data in chunks.items())
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def write(path, data):
    path.write_bytes(data)
    return path


def encoded(picture, kind, **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def refusal(function, *arguments, **options):
    """The one line with which a call is refused, no warning beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError) as caught:
            function(*arguments, **options)
    line = str(caught.value)
    assert line and "\n" not in line and "\r" not in line
    return line


def tiff(width, height, order, values, sample_format=1, bits=16, photometric=1):
    """A grey TIFF file put together by hand; order is "<" or ">", values are packed already."""
    tags = [
        (256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8 + 2 + 10 * 12 + 4), (277, 3, 1), (278, 3, height), (279, 4, len(values)),
        (339, 3, sample_format),
    ]  # fmt: skip
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, kind, 1) + struct.pack(f"{order}{'HH' if kind == 3 else 'I'}", *value)
        for tag, kind, number in tags
        for value in [(number, 0) if kind == 3 else (number,)]
    )
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return start + struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0) + values


# Where the first row and the first column of the file lie in the upright picture (Exif 2.3, tag 274).
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright.swapaxes(0, 1)[::-1],
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
}


def exif(orientation):
    return b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
