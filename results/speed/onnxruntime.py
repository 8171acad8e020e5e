"""The Johnson net's forward pass: ours against the same net, exported, in ONNX Runtime.

    python results/speed/onnxruntime.py --peer-python /path/to/venv/bin/python

The peer's environment needs onnxruntime and numpy; this one, to export the net, the extra ``onnx`` (or give --onnx, a
file that ``python -m nst_gluon export --format onnx`` wrote elsewhere). Both sides get the same picture and number of
threads, and must make the same picture of it. Needs a machine that does nothing else: five rounds at three sizes take
about ten minutes on two cores.

On a CPU, ONNX Runtime's most precise and only precision for these operators is float32: every precision of ours that
--dtype names is compared with that. Writes onnxruntime.csv (a row per forward pass) and onnxruntime.json (machine,
versions, settings), and prints the ratios.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import peers

from nst_gluon import assets
from nst_gluon.api.choice import net_path
from nst_gluon.cli.console import run
from nst_gluon.nets import netfile
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

NET = "great_wave-johnson-stylize"
SAME = 2e-3  # as a part of the range; a reduced precision may differ by SAME_REDUCED
SAME_REDUCED = 0.2


def arguments() -> peers.argparse.Namespace:
    """The command line."""
    parser = peers.parser(__doc__.splitlines()[0], "onnxruntime.csv")
    parser.set_defaults(size="256,512,1024")
    parser.add_argument("--net", default=NET, metavar="NET", help="a Johnson net, a file or a name (%(default)s)")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="that net, exported (default: export it now)")
    parser.add_argument("--dtype", default="float32", metavar="LIST", help="precisions of ours (%(default)s)")
    parser.add_argument("--samples", default="10", metavar="N", help="forward passes a block (%(default)s)")
    parser.add_argument("--warm-up", default="3", metavar="N", help="forward passes before them (%(default)s)")
    return parser.parse_args()


def exported(net: Path, folder: Path) -> Path:
    """The net as ONNX, made now."""
    from nst_gluon.nets import onnx_export

    path = folder / "net.onnx"
    try:
        path.write_bytes(onnx_export.build(*netfile.load(net)).SerializeToString())
    except UserError as error:
        raise UserError(f"--onnx: the net cannot be exported here ({error}); give it exported") from None
    return path


def compare(options: peers.argparse.Namespace, folder: Path) -> int:
    """Measure everything, write the record, print the table."""
    net = net_path(options.net, "--net")
    if netfile.load(net)[1].get("method") != "johnson":
        raise UserError(f"--net: {options.net!r} is no Johnson net")
    peers.check(options, "onnxruntime")
    sizes, rounds = peers.numbers("--size", options.size, 44), peers.numbers("--rounds", options.rounds)[0]
    dtypes = [runtime.parse_dtype(name) for name in options.dtype.split(",")]
    if options.onnx is not None and not options.onnx.is_file():
        raise UserError(f"--onnx: there is no file {str(options.onnx)!r}")
    threads = peers.threads_of(options)
    common = {
        "net": str(net), "onnx": str((options.onnx or exported(net, folder)).absolute()), "threads": threads,
        "samples": peers.numbers("--samples", options.samples)[0],
        "warm_up": peers.numbers("--warm-up", options.warm_up)[0],
    }  # fmt: skip
    record = peers.Record(options.output, threads, peers.settings(options))
    for size in sizes:
        content = folder / f"content-{size}.npy"
        side = -(-size // 4) * 4
        np.save(content, images.resize(images.load(assets.content_path(assets.HELD_OUT)), (side, side)))
        for dtype in dtypes:
            _cell(options, record, {**common, "content": str(content), "dtype": dtype}, f"{size}, {dtype}", rounds)
    print(peers.table(record.finish(), "ONNX Runtime"))
    print(options.output)
    return 0


def _cell(options: peers.argparse.Namespace, record: peers.Record, spec: dict, cell: str, rounds: int) -> None:
    grids: dict[str, list[float]] = {}
    programs = {
        peers.PEER: (options.peer_python, "onnxruntime_johnson.py"),
        peers.OURS: (sys.executable, "gluon_johnson.py"),
    }

    def measure(side: str):
        def run_block(number: int, position: int) -> None:
            found = peers.block(*programs[side], spec)
            record.add(cell, (number, position), "latency_s", found["latency_s"])
            record.facts["versions"][peers.NAMES[side]] = found["versions"]
            grids[side] = found["grid"]
            if len(grids) == 2:
                _check_same(grids, cell, SAME if spec["dtype"] == "float32" else SAME_REDUCED)

        return run_block

    peers.alternate(rounds, {side: measure(side) for side in programs}, cell)


def _check_same(grids: dict[str, list[float]], cell: str, most: float) -> None:
    difference = float(np.abs(np.subtract(*grids.values())).max())
    if not difference <= most:
        raise UserError(f"{cell}: the two make different pictures (by {difference:.2g}): nothing is compared")


def main() -> int:
    """Compare within a folder for what passes between the processes."""
    with tempfile.TemporaryDirectory() as folder:
        return compare(arguments(), Path(folder))


if __name__ == "__main__":
    sys.exit(run(main))
