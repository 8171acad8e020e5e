"""``export --format onnx``: a trained net as one ONNX file, and its model card beside it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nst_gluon.cli import options
from nst_gluon.nets import model_card, netfile, onnx_export
from nst_gluon.system.errors import EngineMissing, NotFinite
from nst_gluon.system.files import one_line, write_atomically


def targets(output: Path | None, stem: str, force: bool) -> tuple[Path, Path]:
    """The files to write, the net and its card.

    Raises:
        UserError: they could not be written, or exist and ``force`` is false.
    """
    path = options.check_output(output or Path(f"{stem}.onnx"), force, (".onnx",))
    return path, options.check_output(path.with_suffix(".md"), force, (".md",))


def check(model: bytes, net: Path) -> str:
    """A sentence on how far the exported net's picture is from the original's, or why that is not known.

    Raises:
        NotFinite: it is another picture.
    """
    try:
        found = onnx_export.difference(model, net)
    except EngineMissing as error:
        return f"Not compared with the original ({one_line(error)})."
    except ImportError:
        return f"Not compared with the original, as ONNX Runtime is not installed ({onnx_export.INSTALL})."
    if not found < onnx_export.TOLERANCE:
        raise NotFinite(f"the exported net makes a different picture from {str(net)!r} (difference {found:g})")
    height, width = onnx_export.CHECK_SIZE
    return (
        f"In ONNX Runtime it makes the original's picture: at {width} x {height} pixels no value differs by more than "
        f"{found:.1e} of the range."
    )


def run(args: argparse.Namespace, net: Path) -> int:
    """Export, check, write."""
    path, card = targets(args.output, net.stem, args.force)
    described, params, meta = netfile.checked(net)
    model = onnx_export.build(described, params, meta).SerializeToString(deterministic=True)
    checked = check(model, net)
    text = model_card.card(described, meta, path.name, checked)
    print(write_atomically(path, model))
    print(write_atomically(card, text))
    print(checked, file=sys.stderr)
    return 0
