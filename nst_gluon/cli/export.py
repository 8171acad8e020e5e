"""``export``: a trained net as files that others read, without this package: MXNet's own loaders, or ONNX."""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
from pathlib import Path

import numpy as np

from nst_gluon.cli import export_onnx, options
from nst_gluon.cli.method_choice import net_path
from nst_gluon.system import runtime
from nst_gluon.system.errors import NotFinite, UserError
from nst_gluon.system.files import write_atomically

FORMATS = ("mxnet", "onnx")
TOLERANCE = 1e-3  # of the picture's range; rounding alone makes about 1e-6
CHECK_SIZE = 96


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``export``."""
    parser = commands.add_parser(
        "export",
        help="a trained net for MXNet's own loaders, or as ONNX",
        description="mxnet: NAME-symbol.json and NAME-0000.params, which mxnet.gluon.SymbolBlock.imports "
        "reads, and NAME.json, which describes their inputs. onnx: one file for ONNX Runtime and others, "
        "and a model card beside it. The exported net must make the same picture as the original before "
        "anything is written.",
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
        help="mxnet: a folder, made if missing (default: this one); onnx: a file (default: NAME.onnx)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    parser.set_defaults(run=run)


def _instance_norm(F, x, gamma, beta, epsilon, **scratch):
    return F.InstanceNorm(x, gamma, beta, eps=epsilon)


def _use_operator(block) -> None:
    """Make our InstanceNorm, which needs train mode, MXNet's operator, which does not."""
    from nst_gluon.nets.layers import InstanceNorm

    if isinstance(block, InstanceNorm):
        block.hybrid_forward = functools.partial(_instance_norm, epsilon=block._epsilon)


def export_mxnet(path: Path, stem: str) -> tuple[dict[str, bytes], float]:
    """The exported files of a net by name, and the largest difference between its picture and theirs."""
    from nst_gluon.nets.generator import load_net, load_parameters, method_module
    from nst_gluon.nets.netfile import load
    from nst_gluon.system.engine import mx

    generator = load_net(path)
    content = np.random.default_rng(0).random((1, 3, CHECK_SIZE, CHECK_SIZE), dtype=np.float32)
    inputs = generator.inputs(content if generator.task == "stylize" else None, (CHECK_SIZE, CHECK_SIZE))
    expected = generator.forward(*inputs).asnumpy()

    params, meta = load(path)
    net = method_module(generator.method).build(meta["architecture"])
    load_parameters(net, params, mx.cpu(), str(path))
    net.apply(_use_operator)
    net.hybridize()
    names = [f"data{i}" for i in range(len(inputs))] if len(inputs) > 1 else ["data"]
    with tempfile.TemporaryDirectory() as folder, runtime.quiet_import():
        net(*inputs)
        net.export(str(Path(folder) / stem))
        files = {name: Path(folder) / name for name in (f"{stem}-symbol.json", f"{stem}-0000.params")}
        symbol, arrays = (str(file) for file in files.values())
        again = mx.gluon.SymbolBlock.imports(symbol, names, arrays)(*inputs).asnumpy()
        data = {name: file.read_bytes() for name, file in files.items()}
    card = {
        "method": generator.method,
        "task": generator.task,
        "style": meta.get("style"),
        "architecture": meta["architecture"],
        "inputs": [{"name": name, "shape_for_96x96": list(array.shape)} for name, array in zip(names, inputs)],
        "output": "pictures (N, 3, H, W), RGB; clip to [0, 1]",
    }
    data[f"{stem}.json"] = (json.dumps(card, indent=2) + "\n").encode()
    return data, float(np.abs(again - expected).max() / max(1.0, np.abs(expected).max()))


def run(args: argparse.Namespace) -> int:
    """Export, check, write."""
    path = net_path(args.net, "net")
    return export_onnx.run(args, path) if args.format == "onnx" else _run_mxnet(args, path)


def _run_mxnet(args: argparse.Namespace, path: Path) -> int:
    output = args.output or Path(".")
    targets = [output / f"{path.stem}{end}" for end in ("-symbol.json", "-0000.params", ".json")]
    existing = [target for target in targets if target.exists()]
    if existing and not args.force:
        raise UserError(f"--output: {str(existing[0])!r} exists; name another folder, or --force to overwrite it")
    files, difference = export_mxnet(path, path.stem)
    if not difference <= TOLERANCE:
        raise NotFinite(f"the exported net makes another picture than {str(path)!r} (difference {difference:g})")
    output.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        print(write_atomically(output / name, data))
    return 0
