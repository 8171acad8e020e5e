"""Picture files to arrays and back, with Pillow.

One convention everywhere: float32, NCHW, RGB, values in [0, 1]. Colour profiles are not applied: RGB pixels
count as sRGB, and CMYK is converted by Pillow's plain formula.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import operator
import os
import re
import stat
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from nst_gluon.system.errors import NotFinite, UserError
from nst_gluon.system.files import PathLike, one_line, quoted, reading, write_atomically
from nst_gluon.system.runtime import LARGEST_SIDE, memory_available_bytes

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# What Pillow may take a file for, whatever its name says: others start programs (PostScript) or are seldom tried.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM")
SAVE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}

# What Pillow logs about damaged TIFF files would otherwise reach the terminal, beside the line of the error.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_LANCZOS = Image.Resampling.LANCZOS
_ORIENTATION, _BITS, _PHOTOMETRIC = 0x0112, 0x0102, 0x0106  # tags of EXIF and TIFF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# A PNG's transparent colour in 8 bits, as its pixels are, by Pillow's name of those: Pillow gives it as in the file.
_KEYS = {
    "L;2": lambda grey: grey % 4 * 85, "L;4": lambda grey: grey % 16 * 17,
    "RGB;16B": lambda colour: tuple(value >> 8 for value in colour),
}  # fmt: skip
_SIXTEEN_BIT_FORMATS = ("PNG", "PPM")
_BYTES_PER_PIXEL = 4 + 4 + 3 + 12  # resampling in two passes in Pillow, its copy as uint8, the float32 array


def load(path: PathLike, size: int | None = None, crop: str = "square") -> np.ndarray:
    """Read a picture file.

    size: the side of the picture wanted, in pixels. With ``crop="square"`` the centre is cropped to a
    square, which is resized to (size, size); with ``crop="fit"`` the longer side becomes ``size`` and the
    aspect stays, no side below 1. ``size=None`` leaves the picture as it is. Resampling is Lanczos; a
    picture that has the asked size already is not resampled.

    The EXIF orientation is applied, transparency is composited on white, every Pillow mode of 8 or 16 bits
    becomes RGB (16-bit grey is scaled by 1/65535; of 16-bit RGB and of its transparent colour, the high byte
    counts, which is all that Pillow reads). Of an animation, the first frame.

    Returns float32 (1, 3, H, W) in [0, 1].

    Raises UserError when the file is missing, empty, a folder, truncated, not a picture, larger than Pillow's
    ``Image.MAX_IMAGE_PIXELS``, or of pixels without a known range; when ``size`` is not a whole number of at least 1.
    """
    return fitted(read(path), size, crop)


def fitted(pixels: np.ndarray | Image.Image, size: int | None = None, crop: str = "square") -> np.ndarray:
    """What :func:`load` makes of a picture's pixels: uint8 (H, W, 3), or float32 (1 or 3, H, W) in [0, 1]."""
    if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8:
        pixels = Image.fromarray(pixels)
    if size is None:
        return from_uint8(pixels) if isinstance(pixels, Image.Image) else _colour(pixels)
    size = check_size(size)
    try:
        if crop == "square":
            pixels, (height, width) = _centre_square(pixels), (size, size)
        else:
            height, width = _fitted(height_width(pixels), size)
        _check_room(size, height, width)
        if isinstance(pixels, Image.Image):
            if pixels.size != (width, height):
                pixels = pixels.resize((width, height), _LANCZOS)
            return from_uint8(pixels)
        return _colour(resize(pixels, (height, width)))
    except (MemoryError, OverflowError) as error:
        raise UserError(f"size: {size} is more than Pillow can resize to; give a smaller one") from error


def check_size(size: object, name: str = "size") -> int:
    """``size`` as an int from 1 to LARGEST_SIDE; UserError, naming the argument ``name``, otherwise."""
    try:
        if isinstance(size, (bool, np.bool_)):
            raise TypeError
        number = operator.index(size)
    except TypeError:
        raise UserError(f"{name}: {size!r} is not a whole number; give one of at least 1, e.g. 256") from None
    if number < 1:
        raise UserError(f"{name}: {number} is too small; give a whole number of at least 1, e.g. 256")
    if number > LARGEST_SIDE:
        raise UserError(f"{name}: too large; give a whole number of at most {LARGEST_SIDE:,}, e.g. 256")
    return number


def save(array: np.ndarray, path: PathLike, overwrite: bool = True) -> Path:
    """Write a picture (1, 3, H, W) or (3, H, W), clipped to [0, 1] and rounded to 8 bits, or uint8 (H, W, 3).

    Returns the path.

    PNG or JPEG (quality 95, full chroma) by the suffix. The file is complete or not there at all.

    Raises UserError when the suffix is another, or the file cannot be written (or exists, without
    ``overwrite``); NotFinite when a value is NaN or infinite; ValueError when the shape is wrong.
    """
    path = Path(path)
    kind = SAVE_FORMATS.get(path.suffix.lower())
    if kind is None:
        suffix = f"the suffix {path.suffix!r} is unknown" if path.suffix else "it has no suffix"
        raise UserError(f"cannot write {quoted(path)}: {suffix}; end the name in {', '.join(SAVE_FORMATS)}")
    picture = Image.fromarray(array if array.dtype == np.uint8 else to_uint8(array))
    stream = io.BytesIO()
    try:
        picture.save(stream, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    except (OSError, ValueError) as error:
        width, height = picture.size
        raise UserError(
            f"cannot write {quoted(path)}: {kind} cannot hold {width} x {height} pixels ({one_line(error)}); "
            "end the name in .png, or make the picture smaller"
        ) from error
    return write_atomically(path, stream.getvalue(), overwrite)


def resize(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resample (..., H, W) to (..., h, w) with Lanczos, in float32, clipped to the range that ``array`` had.

    An array that has the shape already is copied, not resampled. Raises UserError when h or w is below 1.
    """
    array = np.asarray(array, dtype=np.float32)
    height, width = (check_size(side, name) for side, name in zip(shape, ("height", "width")))
    if array.shape[-2:] == (height, width):
        return array.copy()
    planes = array.reshape(-1, *array.shape[-2:])
    out = np.empty((len(planes), height, width), np.float32)
    for source, target in zip(planes, out):
        target[...] = np.asarray(Image.fromarray(source).resize((width, height), _LANCZOS))
    if array.size:
        np.clip(out, array.min(), array.max(), out=out)
    return out.reshape(*array.shape[:-2], height, width)


def to_uint8(array: np.ndarray) -> np.ndarray:
    """(1, 3, H, W) or (3, H, W) in [0, 1] to uint8 (H, W, 3); clipped, then rounded to the nearest.

    Raises NotFinite when a value is NaN or infinite, ValueError when the shape is wrong.
    """
    array = np.asarray(array)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3 or array.shape[0] != 3 or array.size == 0:
        raise ValueError(f"a picture has the shape (1, 3, H, W) or (3, H, W), not {array.shape}")
    if not np.isfinite(array).all():
        raise NotFinite("the picture has values that are NaN or infinite")
    levels = np.rint(np.clip(array.astype(np.float32, copy=False), 0, 1) * np.float32(255))
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 0))


def from_uint8(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) to float32 (1, 3, H, W) in [0, 1]: the inverse of :func:`to_uint8`."""
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels are uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
    array = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)
    array /= np.float32(255)
    return array


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio, in decibels, of two pictures in [0, 1]; infinite when they are equal.

    Raises ValueError when the shapes differ.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"the pictures have different shapes: {a.shape} and {b.shape}")
    error = float(np.mean((a - b) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def list_folder(path: PathLike, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """The files directly in a folder that end in one of ``suffixes``, sorted by name; hidden files are left out.

    Raises UserError when the folder is missing, is not a folder, cannot be read, or has no such file.
    """
    folder = Path(path)
    try:
        mode = folder.stat().st_mode
        names = os.listdir(folder) if stat.S_ISDIR(mode) else None
    except FileNotFoundError:
        raise UserError(f"there is no folder {quoted(path)}; give a folder of pictures") from None
    except (OSError, ValueError) as error:
        wrong = f"cannot read the folder {quoted(path)}: {one_line(error)}"
        raise UserError(f"{wrong}; give a folder of pictures") from error
    if names is None:
        raise UserError(f"{quoted(path)} is not a folder; give a folder of pictures")
    pictures = [folder / name for name in sorted(names) if not name.startswith(".")]
    pictures = [picture for picture in pictures if picture.suffix.lower() in suffixes and picture.is_file()]
    if not pictures:
        ends = ", ".join(sorted(suffixes))
        raise UserError(f"the folder {quoted(path)} has no pictures; give one with files that end in {ends}")
    return pictures


@contextlib.contextmanager
def opened(path: PathLike, follow: bool = True) -> Iterator[Image.Image]:
    """Pillow's picture of a regular file in one of FORMATS: the only door by which picture files come in.

    Raises UserError when the file is missing, no regular file (or, unless ``follow``, a symbolic link), empty, of no
    known format, or larger than Pillow's limit, and for all that fails while the picture is decoded inside the block.
    """
    try:
        stream = reading(path, follow)
    except FileNotFoundError:
        raise UserError(f"there is no file {quoted(path)}; give the path of a picture") from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {quoted(path)}: {one_line(error)}; give the path of a picture that you may read"
        ) from error
    try:
        # Pillow's warnings (bombs, odd metadata) would reach the terminal; what matters is judged by the caller.
        with stream, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\b")
            if not stream.read(1):
                raise UserError(f"{quoted(path)} is an empty file (0 bytes); give a complete picture file")
            stream.seek(0)
            with Image.open(stream, formats=FORMATS) as picture:
                _check_pixels(path, math.prod(picture.size))
                kind = picture.tile[0][3] if picture.format == "PNG" and picture.tile else None
                if kind in _KEYS and "transparency" in picture.info:
                    picture.info["transparency"] = _KEYS[kind](picture.info["transparency"])
                yield picture
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(
            f"{quoted(path)} is not a picture of a known format; give a PNG, JPEG, WebP, TIFF, GIF or BMP file"
        ) from None
    except Image.DecompressionBombError as error:
        found = re.search(r"\((\d+) pixels\)", str(error))
        raise _bomb(path, int(found.group(1)) if found else None) from None
    except MemoryError as error:
        raise UserError(f"{quoted(path)} needs more memory than there is; give a picture of fewer pixels") from error
    except Exception as error:  # a damaged file makes the decoders raise nearly anything
        raise UserError(f"{quoted(path)} cannot be decoded: {one_line(error)}; give a complete picture file") from error


def read(path: PathLike) -> Image.Image | np.ndarray:
    """The upright picture of a file, for :func:`fitted`: Pillow's, in RGB; of grey with more than 8 bits, float32
    (1, H, W) in [0, 1]. Raises UserError as :func:`load`.
    """
    with opened(path) as picture:
        picture.load()
        _check_pixels(path, math.prod(picture.size))
        return _decode(path, picture)


def check(path: PathLike) -> None:
    """Decode a picture for nothing but its errors; a JPEG at an eighth of its size, which takes a few milliseconds.

    Raises UserError as :func:`load` does.
    """
    with opened(path) as picture:
        picture.draft("RGB", (1, 1))
        picture.load()
        _decode(path, picture)



def _check_pixels(path: PathLike, pixels: int) -> None:
    if pixels < 1:
        raise UserError(f"{quoted(path)} has no pixels; give a picture of at least 1 x 1")
    if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
        raise _bomb(path, pixels)


def _bomb(path: PathLike, pixels: int | None) -> UserError:
    count = "too many" if pixels is None else f"{pixels:,}"
    return UserError(
        f"{quoted(path)} has {count} pixels, more than the limit of {Image.MAX_IMAGE_PIXELS:,}; "
        "give a smaller version of the picture"
    )


def _decode(path: PathLike, picture: Image.Image) -> Image.Image | np.ndarray:
    orientation = _orientation(picture)
    transparent = picture.info.get("transparency")
    grey = _grey(path, picture)
    if grey is not None:
        if isinstance(transparent, int):
            grey = np.where(grey == np.float32(transparent) / np.float32(65535), np.float32(1), grey)
        picture = Image.fromarray(grey)
    elif transparent is not None or picture.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA").convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture)
    picture = picture if grey is not None else picture.convert("RGB")
    picture = picture.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else picture
    return picture if grey is None else np.asarray(picture)[None]


def _orientation(picture: Image.Image) -> int:
    """How the loaded picture has yet to be turned, as in EXIF: 1 for not at all."""
    if picture.format == "TIFF":  # Pillow turned it as it loaded it
        return 1
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken metadata is no reason to refuse sound pixels
        return 1


def _grey(path: PathLike, picture: Image.Image) -> np.ndarray | None:
    """Grey of more than 8 bits as float32 (H, W) in [0, 1]; None for every other mode."""
    mode = picture.mode
    if mode.startswith("I;16") or (mode == "I" and picture.format in _SIXTEEN_BIT_FORMATS):
        tags = getattr(picture, "tag_v2", {})  # of a TIFF: Pillow neither scales 12 bits nor turns white that is zero
        values = np.asarray(picture).astype(np.float32) / np.float32((1 << tags.get(_BITS, (16,))[0]) - 1)
        return 1 - values if tags.get(_PHOTOMETRIC) == 0 else values
    if mode == "F":
        values = np.asarray(picture, np.float32)
        if values.min() >= 0 and values.max() <= 1:
            return values
    if mode in ("F", "I"):
        kind = "floating-point pixels outside [0, 1]" if mode == "F" else "32-bit integer pixels"
        raise UserError(f"{quoted(path)} has {kind}, whose range is not known; give 8 or 16 bits a channel")
    return None



def height_width(pixels: Image.Image | np.ndarray) -> tuple[int, int]:
    """The height and width of what :func:`fitted` takes."""
    if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8:
        return pixels.shape[:2]
    return pixels.size[::-1] if isinstance(pixels, Image.Image) else pixels.shape[-2:]


def _centre_square(pixels: Image.Image | np.ndarray) -> Image.Image | np.ndarray:
    height, width = height_width(pixels)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    if isinstance(pixels, Image.Image):
        return pixels if height == width else pixels.crop((left, top, left + side, top + side))
    return pixels[..., top : top + side, left : left + side]


def _fitted(shape: tuple[int, int], size: int) -> tuple[int, int]:
    longer = max(shape)
    height, width = (max(1, (2 * side * size + longer) // (2 * longer)) for side in shape)
    return height, width


def _check_room(size: int, height: int, width: int) -> None:
    needed, available = height * width * _BYTES_PER_PIXEL, memory_available_bytes()
    if needed > available:
        raise UserError(
            f"size: {size} would take {needed / 2**30:,.1f} GiB of memory for the picture alone and "
            f"{available / 2**30:,.1f} GiB are free; give a smaller size"
        )


def _colour(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[None], 3, axis=1) if len(values) == 1 else values[None]
