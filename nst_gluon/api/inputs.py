"""What the interface takes, read and checked: pictures, devices, weights, and whether the memory suffices.

Imports no engine by itself. Errors name an argument as the command line spells it (``--style``), whoever called.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np
from tqdm import tqdm

from nst_gluon import assets
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import PathLike

if TYPE_CHECKING:
    from PIL import Image

    from nst_gluon.descriptor.weights import VggWeights

# A picture of the interface: a file, the name of a bundled picture, or pixels (H, W, 3), uint8 or floats in [0, 1].
Picture = Union[PathLike, np.ndarray]

# Resident bytes per pixel of the picture above BASE_BYTES, float32, measured on a CPU: an optimisation keeps
# the descriptor's activations for the way back, a descriptor's forward pass does not, and a net's graph for inference
# holds a few activations at a time (560 on the CPU).
BASE_BYTES = 450_000_000
OPTIMISE_BYTES, FORWARD_BYTES, NET_BYTES = 5_500, 3_000, 700
# Of each picture of a training's batch, as it waits for its turn: the batch in use, two ahead and one being made.
WAITING_BYTES = 48
# Sizes beside whole numbers: as the picture is but at most LARGEST, and as it is.
AUTO, ORIGINAL, LARGEST = "auto", "original", 512


class Listener:
    """Follows the work; this one keeps quiet. The command line has one that writes to a terminal.

    ``progress``: whether downloads show theirs.
    """

    progress = False

    def note(self, text: str) -> None:
        """Something that must not be missed, in one line."""

    def hint(self, text: str) -> None:
        """Something that helps, in one line."""

    def detail(self, text: str) -> None:
        """How one picture went, in one line."""

    def bar(self, total: int | None, unit: str) -> tqdm:
        """A progress bar, which is closed by its ``with``."""
        return tqdm(total=total, unit=unit, disable=True)


@dataclass(frozen=True)
class Engine:
    """What to compute with: MXNet's context and the precision of convolutions."""

    context: object
    dtype: str


def start_engine(device: str | runtime.Device = "cpu", dtype: str = "float32", threads: int | None = None) -> Engine:
    """Check device, precision and threads, import MXNet, and return what to compute with."""
    device = runtime.parse_device(device) if isinstance(device, str) else device
    runtime.check_device(device)
    dtype = runtime.parse_dtype(dtype)
    runtime.check_dtype(dtype, device)
    if threads is not None:
        threads = images.check_size(threads, "--threads")
    running = runtime.prepare(threads)
    if threads not in (None, running):
        raise UserError(
            f"--threads: MXNet already runs with {running} thread{'s' if running != 1 else ''} in this process; "
            "leave threads out, or give it in the first call"
        )
    from nst_gluon.system import engine

    return Engine(engine.context(device), dtype)


def check_seed(seed: int) -> int:
    """``seed`` as an int; UserError if it cannot be one."""
    with contextlib.suppress(TypeError):
        if 0 <= operator.index(seed) <= runtime.LARGEST_SEED:
            return operator.index(seed)
    raise UserError(f"--seed: {seed!r} is not a whole number from 0 to {runtime.LARGEST_SEED:,}")


def check_number(value: float, option: str) -> float:
    """``value`` as a float; UserError, naming ``option``, if it is not a finite number of 0 or more."""
    with contextlib.suppress(TypeError, ArithmeticError):
        if 0 <= value < math.inf:
            return float(value)
    raise UserError(f"{option}: {value!r} is not a finite number of 0 or more")


def load_weights(weights: str | None, random_weights: bool, listener: Listener) -> VggWeights:
    """The descriptor's weights; random ones are announced."""
    from nst_gluon.descriptor import weights as descriptor_weights

    loaded = descriptor_weights.load(weights, random=random_weights, progress=listener.progress)
    if loaded.random:
        listener.note("note: random weights: numbers and pictures are those of an untrained descriptor")
    return loaded


# ------------------------------------------------------------------------------------------------------ pictures


@contextlib.contextmanager
def naming(argument: str, side: str = "--size") -> Iterator[None]:
    """UserErrors of what happens inside name the argument that they are about: of a picture's size, ``side``."""
    try:
        yield
    except UserError as error:
        text = str(error)
        if text.startswith("size: "):
            raise UserError(text.replace("size", side, 1)) from error
        raise UserError(f"{argument}: {text}") from error


def style_path(name_or_file: PathLike) -> Path:
    """The file of --style: a bundled picture, by name, or a file."""
    with naming("--style"):
        _check_path(name_or_file)
        return assets.style_path(name_or_file)


def content_path(name_or_file: PathLike, argument: str) -> Path:
    """The file of a content picture: a bundled one, by name, or a file."""
    with naming(argument):
        _check_path(name_or_file)
        return assets.content_path(name_or_file)


def _check_path(name_or_file: object) -> None:
    if not isinstance(name_or_file, (str, os.PathLike)):
        raise UserError(f"a {type(name_or_file).__name__} is not a picture; give a name, a path or a numpy array")


def load_picture(
    argument: str, picture: Picture, size: int | None = None, crop: str = "square", side: str = "--size"
) -> np.ndarray:
    """A file or pixels as float32 (1, 3, H, W) in [0, 1], see :func:`nst_gluon.pictures.images.load`.

    Pixels give what a file of theirs would give. UserErrors name the ``argument``, or ``side``, which gave the size.
    """
    with naming(argument, side):
        return images.fitted(_pixels(picture), size, crop)


def _pixels(picture: Picture) -> Image.Image | np.ndarray:
    return _checked(picture) if isinstance(picture, np.ndarray) else images.read(picture)


def _checked(pixels: np.ndarray) -> np.ndarray:
    """The pixels of an array that is a picture: uint8 (H, W, 3), or float32 (3, H, W) in [0, 1]."""
    right = "give uint8, or floats from 0 to 1, of shape (H, W, 3)"
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise UserError(f"an array of shape {pixels.shape} is not a picture; {right}")
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f":
        raise UserError(f"an array of {pixels.dtype} is not a picture; {right}")
    if not (pixels.min() >= 0 and pixels.max() <= 1):  # false for NaN too
        raise UserError(f"the array's values are not all from 0 to 1; {right}")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def longer_side(shape: tuple[int, int], size: int | str) -> int:
    """The longer side of what is made of a picture of ``shape``: ``size``, or what AUTO or ORIGINAL mean for it."""
    if size == AUTO:
        return min(LARGEST, max(shape))
    return max(shape) if size == ORIGINAL else images.check_size(size, "--size")


def load_fitted(
    argument: str,
    picture: Picture,
    size: int | str,
    needs: Callable[[int, int], int],
    available: int | None = None,
) -> np.ndarray:
    """A picture whose longer side is as ``size`` says, if what is planned with it fits the memory.

    ``needs``: bytes for a picture of that height and width; ``available``: bytes of memory (default: those now).
    """
    with naming(argument):
        pixels = _pixels(picture)
    height, width = images.height_width(pixels)
    side = longer_side((height, width), size)
    scale = side / max(height, width)
    fitted = round(height * scale), round(width * scale)
    check_memory(*fitted, needs(*fitted), available)
    with naming(argument):
        return images.fitted(pixels, None if scale == 1.0 else side, "fit")


# -------------------------------------------------------------------------------------------------------- memory


def check_memory(height: int, width: int, needed: int, available: int | None = None, smaller: str = "size") -> None:
    """Refuse a picture that needs more memory than there is; say how much it would take, and what to make smaller."""
    needed += BASE_BYTES
    available = runtime.memory_available_bytes() if available is None else available
    if needed > available:
        raise UserError(
            f"--size: {width}x{height} pixels would take about {needed / 2**30:.1f} GiB and "
            f"{available / 2**30:.1f} GiB are available; use a smaller {smaller}"
        )
