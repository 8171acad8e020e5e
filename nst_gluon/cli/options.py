"""Options that several subcommands share, and what follows from them. Imports no engine by itself."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nst_gluon import assets
from nst_gluon.cli.console import whole_number
from nst_gluon.objective import presets
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

if TYPE_CHECKING:
    from nst_gluon.descriptor.weights import VggWeights

# Resident bytes per pixel of the picture above BASE_BYTES, float32, measured on a CPU: an optimisation keeps
# the descriptor's activations for the way back, a descriptor's forward pass does not, and a net's graph for inference
# holds a few activations at a time (560 on the CPU).
BASE_BYTES = 450_000_000
OPTIMISE_BYTES, FORWARD_BYTES, NET_BYTES = 5_500, 3_000, 700
WEIGHTS = "vgg19 (default), gluon:vgg16, gluon:vgg19, or a file (.pth, .h5, .npz, .params)"
DEFAULT_PRESET = "texture_net"


@dataclass(frozen=True)
class Engine:
    """What an engine command computes with: MXNet's context and the descriptor's precision."""

    context: object
    dtype: str


def parse_tile(text: str) -> int | str:
    """``auto``, ``off`` or the side of a tile in pixels; anything else is a UserError."""
    if text in ("auto", "off"):
        return text
    if text.isdigit():
        return whole_number("--tile", 16)(text)
    raise UserError(f"--tile: {text!r} is neither auto nor off nor a number of pixels, e.g. 512")


def parse_dtype(text: str) -> str:
    """``float32`` or ``bfloat16``; anything else is a UserError, and why there is no int8."""
    if text.strip().lower() == "int8":
        raise UserError(
            "--dtype: int8 changes these nets' pictures too much (28 to 33 dB against float32); use bfloat16"
        )
    return runtime.parse_dtype(text)


def example(*texts: str) -> str:
    """The epilogue of a help text; tests/test_examples.py runs what it shows."""
    return "\n".join(["examples:" if texts[1:] else "example:", *(f"  python -m nst_gluon {text}" for text in texts)])


def add_engine_options(parser: argparse.ArgumentParser, descriptor: bool = True) -> None:
    """--device, --threads and, for commands that use the descriptor, --dtype, --weights, --random-weights."""
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--device",
        type=runtime.parse_device,
        default=runtime.Device("cpu"),
        metavar="DEVICE",
        help="cpu (default), gpu or gpu:1",
    )
    group.add_argument(
        "--threads",
        type=whole_number("--threads", 1, 2),
        metavar="N",
        help="threads (default: OMP_NUM_THREADS, or all available cores)",
    )
    if descriptor:
        group.add_argument(
            "--dtype",
            type=parse_dtype,
            default="float32",
            metavar="DTYPE",
            help="precision of the descriptor, or of a net's picture: float32 (default) or bfloat16",
        )
        group.add_argument("--weights", metavar="SPEC", help=f"weights of the descriptor: {WEIGHTS}")
        group.add_argument(
            "--random-weights",
            action="store_true",
            help="an untrained descriptor, for machines without network; results are marked",
        )


def start_engine(args: argparse.Namespace) -> Engine:
    """Check device and precision, import MXNet, and return what to compute with."""
    dtype = getattr(args, "dtype", "float32")
    runtime.check_device(args.device)
    runtime.check_dtype(dtype, args.device)
    runtime.prepare(args.threads)
    from nst_gluon.system import engine

    return Engine(engine.context(args.device), dtype)


def load_weights(args: argparse.Namespace) -> VggWeights:
    """The descriptor's weights as asked for; random ones are announced on stderr."""
    from nst_gluon.descriptor import weights

    if args.random_weights and args.weights not in (None, "vgg16", "vgg19"):
        raise UserError("--random-weights: there is nothing to load then; leave --weights out")
    loaded = weights.load(args.weights, random=args.random_weights)
    if loaded.random:
        print(
            "note: random weights: the numbers and the picture are those of an untrained descriptor",
            file=sys.stderr,
        )
    return loaded


@contextlib.contextmanager
def naming(argument: str) -> Iterator[None]:
    """UserErrors of what happens inside name the argument that they are about."""
    try:
        yield
    except UserError as error:
        text = str(error)
        if text.startswith("size: "):
            raise UserError(f"--{text}") from error
        bare = f"{argument.lstrip('-')}: "
        raise UserError(f"{argument}: {text[len(bare) :] if text.startswith(bare) else text}") from error


def style_path(name_or_file: str) -> Path:
    """The file of --style: a bundled picture, by name, or a file."""
    with naming("--style"):
        return assets.style_path(name_or_file)


def content_path(name_or_file: str, argument: str) -> Path:
    """The file of a content picture: a bundled one, by name, or a file."""
    with naming(argument):
        try:
            return assets.content_path(name_or_file)
        except UserError as error:
            raise UserError(str(error).partition("content: ")[2] or str(error)) from error


def load_picture(argument: str, path: Path, size: int | None = None, crop: str = "square") -> np.ndarray:
    """:func:`nst_gluon.pictures.images.load`, whose complaints name the argument."""
    with naming(argument):
        return images.load(path, size, crop)


def load_fitted(
    argument: str, path: Path, size: int | None, bytes_per_pixel: int, available: int | None = None
) -> np.ndarray:
    """A picture whose longer side is ``size`` (None: as it is), if what is planned with it fits the memory.

    ``available``: bytes of memory (default: those at this moment).
    """
    picture = load_picture(argument, path)
    height, width = picture.shape[2:]
    scale = 1.0 if size is None else size / max(height, width)
    check_memory(round(height * scale), round(width * scale), bytes_per_pixel, available)
    return picture if scale == 1.0 else load_picture(argument, path, size, "fit")


def parse_preset(name: str) -> presets.Preset:
    """The preset of that name; an unknown one is a UserError."""
    return presets.get(name)


def check_output(path: Path, force: bool, formats: Collection[str] = tuple(images.SAVE_FORMATS)) -> Path:
    """Refuse, before anything is computed, a file that could not be written afterwards."""
    if path.suffix.lower() not in formats:
        raise UserError(f"--output: {str(path)!r} does not end in a format that is written: {', '.join(formats)}")
    if path.is_dir():
        raise UserError(f"--output: {str(path)!r} is a folder; name a file in it")
    if path.exists() and not force:
        raise UserError(f"--output: {str(path)!r} exists; give another name, or --force to overwrite it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(f"--output: there is no folder {str(folder)!r}; make it, or name another")
    if not os.access(folder, os.W_OK):
        raise UserError(f"--output: the folder {str(folder)!r} cannot be written to; name another")
    return path


def fits_memory(height: int, width: int, bytes_per_pixel: int) -> bool:
    """Whether what is planned with a picture fits into the memory that is available."""
    return BASE_BYTES + bytes_per_pixel * height * width <= runtime.memory_available_bytes()


def check_memory(height: int, width: int, bytes_per_pixel: int, available: int | None = None) -> None:
    """Refuse a picture that does not fit into the memory, and say how much it would take."""
    needed = BASE_BYTES + bytes_per_pixel * height * width
    available = runtime.memory_available_bytes() if available is None else available
    if needed > available:
        raise UserError(
            f"--size: {width}x{height} pixels would take about {needed / 2**30:.1f} GiB and "
            f"{available / 2**30:.1f} GiB are available; use a smaller size"
        )
