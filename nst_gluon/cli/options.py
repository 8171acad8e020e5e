"""Options that several subcommands share, and how their values are read."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nst_gluon import api
from nst_gluon.api import inputs
from nst_gluon.api.inputs import Listener
from nst_gluon.cli.console import whole_number, wrapped
from nst_gluon.objective import presets
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import one_line, quoted

WEIGHTS = "vgg19 (default), gluon:vgg16, gluon:vgg19, or a file (.pth, .h5, .npz, .params)"


class Terminal(Listener):
    """Tells what happens on stderr; progress bars are for terminals only.

    Args:
        quiet: no progress and no details.
        alone: one picture is all there is, so that its own progress and objective are shown.
    """

    def __init__(self, quiet: bool, alone: bool = True):
        self._quiet, self._alone, self.progress = quiet, alone, not quiet

    def note(self, text: str) -> None:
        tqdm.write(wrapped(text, sys.stderr), file=sys.stderr)

    def hint(self, text: str) -> None:
        if not self._quiet:
            self.note(text)

    def detail(self, text: str) -> None:
        if self._alone and not self._quiet:
            self.note(text)

    def bar(self, total: int | None, unit: str) -> tqdm:
        disable = True if self._quiet else None  # None: unless stderr is no terminal
        return tqdm(total=total, unit=unit, disable=disable, leave=self._alone, dynamic_ncols=True)


def take_defaults(parser: argparse.ArgumentParser, function: Callable[..., Any]) -> None:
    """Give the parser's options the defaults of the function's parameters of the same names."""
    known = {action.dest for action in parser._actions}
    parser.set_defaults(**{name: value for name, value in api.defaults(function).items() if name in known})


def values(args: argparse.Namespace, function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword arguments of ``function`` as the command line has them."""
    return {name: getattr(args, name) for name in api.defaults(function) if hasattr(args, name)}


def parse_size(text: str) -> int | str:
    """The longer side in pixels, ``auto`` or ``original``."""
    return text if text in (inputs.AUTO, inputs.ORIGINAL) else whole_number("--size", 1)(text)


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



def parse_coarse(text: str) -> tuple[int, ...]:
    """Sides of --coarse, ascending."""
    sides = tuple(whole_number("--coarse", 16, 128)(part.strip()) for part in text.split(","))
    if list(sides) != sorted(set(sides)):
        raise UserError(f"--coarse: {text} does not ascend; give e.g. 128,256")
    return sides


def parse_segments(text: str) -> int | str:
    """Segments of --segments: a number, ``auto`` or ``off``."""
    return text if text in ("auto", "off") else whole_number("--segments", 1, 3)(text)


def example(*texts: str) -> str:
    """The epilogue of a help text; tests/test_examples.py runs what it shows."""
    return "\n".join(["examples:" if texts[1:] else "example:", *(f"  python -m nst_gluon {text}" for text in texts)])


def add_preset(add: Callable[..., Any]) -> None:
    """--preset."""
    known = lambda name: presets.get(name).name  # noqa: E731
    add("--preset", type=known, metavar="PRESET", help="the objective (default: %(default)s; see list presets)")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """--device, --threads, --dtype, --weights, --random-weights."""
    add = parser.add_argument_group("engine").add_argument
    add("--device", type=_device, metavar="DEVICE", help="cpu (default), gpu or gpu:1")
    add(
        "--threads",
        type=whole_number("--threads", 1, 2),
        metavar="N",
        help="number of threads (default: OMP_NUM_THREADS, or all available cores)",
    )
    add(
        "--dtype",
        type=parse_dtype,
        metavar="DTYPE",
        help="precision of convolutions: float32 (default), or bfloat16, which is faster on recent processors",
    )
    add("--weights", metavar="SPEC", help=f"weights of the descriptor (VGG): {WEIGHTS}")
    add(
        "--random-weights",
        action="store_true",
        help="use an untrained descriptor: for tests without a network connection; results are marked",
    )


def _device(text: str) -> str:
    return str(runtime.parse_device(text))


def check_folder(folder: Path) -> None:
    """Refuse, before anything is computed, a folder that could not be made, or not written to."""
    there = folder
    try:
        while not (there.exists() or there.is_symlink()):  # one that leads nowhere is there, too
            there = there.absolute().parent
    except (OSError, ValueError) as error:
        raise UserError(f"--output: cannot make the folder {quoted(folder)}: {one_line(error)}") from error
    if not there.is_dir():
        raise UserError(f"--output: {quoted(there)} is not a folder; name another")
    if not os.access(there, os.W_OK):
        raise UserError(f"--output: the folder {quoted(there)} cannot be written to; name another")


def check_output(path: Path, force: bool, formats: Collection[str] = tuple(images.SAVE_FORMATS)) -> Path:
    """Refuse, before anything is computed, a file that could not be written afterwards."""
    if os.path.isdir(path):
        raise UserError(f"--output: {str(path)!r} is a folder; name a file in it")
    if path.suffix.lower() not in formats:
        raise UserError(f"--output: {str(path)!r} does not end in a supported format: {', '.join(formats)}")
    if os.path.exists(path) and not force:
        raise UserError(f"--output: {str(path)!r} exists; give another name, or --force to overwrite it")
    folder = path.absolute().parent
    if not os.path.isdir(folder):
        raise UserError(f"--output: there is no folder {str(folder)!r}; make it, or name another")
    if not os.access(folder, os.W_OK):
        raise UserError(f"--output: the folder {str(folder)!r} cannot be written to; name another")
    return path
