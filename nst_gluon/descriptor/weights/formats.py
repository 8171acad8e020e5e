"""Weights from a file of any known format, and to one of ours."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nst_gluon.descriptor.weights import ndarrays, pickles
from nst_gluon.descriptor.weights.containers import open_h5, read_npz
from nst_gluon.descriptor.weights.entries import Entry, Refused
from nst_gluon.descriptor.weights.model import VggWeights
from nst_gluon.descriptor.weights.naming import assemble
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import PathLike, one_line, printable, quoted, reading, write_atomically

FORMATS = "a torchvision .pth, Keras .h5, .npz or MXNet .params file"


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Mapping[str, Entry], bool]]:
    """The arrays of ``path``, whose content (not its suffix) says what it is, and whether torch wrote it."""
    with reading(path) as file:
        start = file.read(8)
        file.seek(0)
        if not start:
            raise Refused(f"it is empty; give {FORMATS}")
        if start.startswith(b"\x89HDF"):
            with open_h5(path) as entries:
                yield entries, False
        elif start.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(file) as archive:
                if any(name.endswith(".npy") for name in archive.namelist()):
                    yield read_npz(archive), False
                else:
                    yield pickles.read_zip(archive), True
        elif start == struct.pack("<Q", ndarrays.LIST_MAGIC):
            yield ndarrays.read(file), False
        elif start.startswith(b"\x80"):
            yield pickles.read_legacy(file), True
        else:
            raise Refused(f"it is of no known format; give {FORMATS}")


@contextmanager
def opened(path: PathLike, where: str) -> Iterator[tuple[Mapping[str, Entry], bool]]:
    """The named arrays of a file, none of them read, and whether torch wrote it; ``where`` begins each message.

    Raises UserError for a file that is missing, damaged, hostile or of no known format, also while arrays are read in
    the block. Nothing that a file says is executed.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise UserError(f"{where}: no such file; give {FORMATS}")
        with _opened(path) as found:
            yield found
    except Refused as e:
        raise UserError(f"{where}: {e}") from None
    except UserError:
        raise
    except Exception as e:  # a damaged file makes the libraries that read it raise nearly anything
        raise UserError(f"{where}: cannot be read: {printable(one_line(e), 160)}") from None


def load_file(path: PathLike, title: str | None = None) -> VggWeights:
    """Read VGG-16 or VGG-19 from a file: torch's (zip and legacy), Keras's HDF5, ``.npz`` or ``.params``.

    The input scaling follows from the format and its names (:mod:`nst_gluon.descriptor.weights.naming`); arrays
    ``mean`` and ``std`` in the file overrule it. ``title`` is the source where the file itself names none.

    Raises UserError as :func:`opened` does, and for a file that is incomplete or of another net. No array is read
    before its shape has been checked.
    """
    where = f"weights {quoted(path)}"
    with opened(path, where) as (entries, torch):
        return assemble(entries, where, title or Path(path).name, torch)


def save(weights: VggWeights, path: PathLike) -> Path:
    """Write ``weights``, their scaling, source and mark to a ``.params`` file, which appears whole or not at all.

    MXNet's ``nd.load`` and :func:`load_file` read it. Raises UserError where it cannot be written.
    """
    buffer = io.BytesIO()
    ndarrays.write(buffer, {
        **weights.params,
        "mean": np.array(weights.mean, "<f8"),
        "std": np.array(weights.std, "<f8"),
        "source": np.frombuffer(weights.source.encode("utf-8", "backslashreplace") or b"?", np.uint8),
        "random": np.array([weights.random], np.uint8),
    })  # fmt: skip
    return write_atomically(path, buffer.getbuffer())
