"""``export``: a trained net as files that others read, without this package: MXNet's own loaders, or ONNX."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nst_gluon import methods
from nst_gluon.api.choice import net_path
from nst_gluon.cli import options
from nst_gluon.nets import geometry, model_card, netfile, onnx_export
from nst_gluon.system import runtime
from nst_gluon.system.errors import EngineMissing, NotFinite, UserError
from nst_gluon.system.files import one_line, quoted, replace, scratch_folder

FORMATS = ("mxnet", "onnx")
TOLERANCE = 1e-3  # of the picture's range; rounding alone makes about 1e-6
CHECK_SIZE = 96


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``export``."""
    parser = commands.add_parser(
        "export",
        help="export a trained net to MXNet or ONNX files",
        description="mxnet: write NAME-symbol.json and NAME-0000.params for mxnet.gluon.SymbolBlock.imports, and "
        "NAME-inputs.json, which describes their inputs. onnx: write one file for ONNX Runtime and others, and a model "
        "card beside it. Nothing is written unless the exported net makes the same picture as the original.",
        epilog=options.example("export great_wave-johnson-stylize --format onnx --output waves.onnx"),
    )
    parser.add_argument(
        "net", metavar="NET", help="a file that train wrote, or the name of a bundled net (see list nets)"
    )
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], metavar="FORMAT", help="mxnet (default) or onnx"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="mxnet: a folder, created if missing (default: the current one); onnx: a file (default: NAME.onnx)",
    )
    parser.add_argument(
        "--method", type=methods.get, metavar="METHOD", help=f"{methods.FORMS} of a net whose method is your own"
    )
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.set_defaults(run=run)


def export_mxnet(path: Path, stem: str) -> tuple[dict[str, bytes], float]:
    """The exported files of a net by name, and the largest difference between its picture and theirs."""
    from nst_gluon.nets.trained_net import load_net
    from nst_gluon.nets.training_net import with_parameters
    from nst_gluon.system.engine import mx

    generator = load_net(path)
    content = np.random.default_rng(0).random((1, 3, CHECK_SIZE, CHECK_SIZE), dtype=np.float32)
    inputs = generator.inputs(content if generator.task == "stylize" else None, (CHECK_SIZE, CHECK_SIZE))
    expected = generator.forward(*inputs).asnumpy()

    net = with_parameters(generator.description, generator.params, portable=True)
    net.hybridize()
    names = [f"data{i}" for i in range(len(inputs))] if len(inputs) > 1 else ["data"]
    with tempfile.TemporaryDirectory() as folder, runtime.quiet_import():
        net(*inputs)
        net.export(str(Path(folder) / "net"))  # MXNet writes and reads names in UTF-8, which stem need not be
        files = {f"{stem}{end}": Path(folder) / f"net{end}" for end in ("-symbol.json", "-0000.params")}
        symbol, arrays = (str(file) for file in files.values())
        again = mx.gluon.SymbolBlock.imports(symbol, names, arrays)(*inputs).asnumpy()
        data = {name: file.read_bytes() for name, file in files.items()}
    described = generator.description
    card = {
        "method": generator.method,
        "task": generator.task,
        "style": generator.meta.get("style"),
        "architecture": generator.architecture,
        "inputs": [
            {"name": name, "kind": type(given).__name__.lower(), "values": model_card.values(given),
             "shape_for_96x96": list(array.shape)}
            for name, given, array in zip(names, described.inputs, inputs)
        ],
        "multiple_of": described.multiple,
        "least_side": geometry.working_size(described, 1, 1)[0],
        "output": "pictures (N, 3, H, W), RGB; clip to [0, 1]",
    }  # fmt: skip
    data[f"{stem}-inputs.json"] = (json.dumps(card, indent=2) + "\n").encode()
    return data, float(np.abs(again - expected).max() / max(1.0, np.abs(expected).max()))


def check_onnx(model: bytes, net: Path) -> str:
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


def run(args: argparse.Namespace) -> int:
    """Export, check, write."""
    path = net_path(args.net, "net")
    return _run_onnx(args, path) if args.format == "onnx" else _run_mxnet(args, path)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all of the files, or none, into a folder, which is made if missing; print their paths."""
    odd = [name for name in files if (folder / name).exists() and not (folder / name).is_file()]
    if odd:
        raise UserError(f"--output: {quoted(folder / odd[0])} is not a regular file; name another folder")
    try:
        with scratch_folder(folder) as scratch:
            for name, data in files.items():
                replace(scratch / name, data)
            for name in files:
                os.replace(scratch / name, folder / name)
    except OSError as error:
        size = sum(map(len, files.values()))
        raise UserError(
            f"--output: cannot write to {quoted(folder)}: {one_line(error)}; name a writable folder with {size:,} "
            "bytes free"
        ) from error
    for name in files:
        print(folder / name)


def _run_mxnet(args: argparse.Namespace, path: Path) -> int:
    output = args.output or Path(".")
    if output.suffix.lower() == ".onnx" and not output.is_dir():
        raise UserError(f"--output: {quoted(output)} is the name of an ONNX file; name a folder, or add --format onnx")
    options.check_folder(output)
    targets = [output / f"{path.stem}{end}" for end in ("-symbol.json", "-0000.params", "-inputs.json")]
    existing = [target for target in targets if target.exists()]
    if existing and not args.force:
        raise UserError(f"--output: {str(existing[0])!r} exists; name another folder, or --force to overwrite it")
    files, difference = export_mxnet(path, path.stem)
    if not difference <= TOLERANCE:
        raise NotFinite(f"the exported net makes a different picture from {str(path)!r} (difference {difference:g})")
    _write(output, files)
    return 0


def _run_onnx(args: argparse.Namespace, net: Path) -> int:
    path = options.check_output(args.output or Path(f"{net.stem}.onnx"), args.force, (".onnx",))
    card = options.check_output(path.with_suffix(".md"), args.force, (".md",))
    described, params, meta = netfile.checked(net)
    model = onnx_export.build(described, params, meta).SerializeToString(deterministic=True)
    checked = check_onnx(model, net)
    text = model_card.card(described, meta, path.name, checked)
    _write(path.parent, {path.name: model, card.name: text.encode("utf-8", "backslashreplace")})
    print(checked, file=sys.stderr)
    return 0
