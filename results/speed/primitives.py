"""Where a step of optimisation goes: oneDNN's own clock, primitive by primitive, in float32 and in bfloat16.

    python results/speed/primitives.py

oneDNN prints what it executes (``DNNL_VERBOSE``). Two fresh processes do few steps and more; the difference, over the
number of steps, has no set-up in it. What is left of the step's own time is no primitive of oneDNN's.
Writes primitives.csv.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter

import peers

from nst_gluon.cli import console
from nst_gluon.system import children, runtime

COLUMNS = ("dtype", "kind", "ms")
FEW, MORE = 4, 24
STEP = "the whole step"
WORK = {"work": "descent", "optimizer": "ours", "segments": 1, "warm_up": 3}
# oneDNN's names of primitives, and what they do in a step.
KINDS = {
    "convolution, forward": "convolutions, forward",
    "convolution, backward": "convolutions, back to the picture",
    "eltwise": "ReLU",
    "inner_product": "Gram matrices",
    "matmul": "Gram matrices",
    "pooling": "pooling",
    "pooling_v2": "pooling",
    "reorder": "changes of memory layout and precision",
    "sum": "sums of gradients",
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = peers.parser(__doc__, "primitives.csv")
    side = console.whole_number("--size", 16)
    parser.add_argument("--size", type=side, default=256, metavar="N", help="side in pixels (%(default)s)")
    peers.add_number(parser, "--threads", runtime.available_cores(), "(all cores that may be used)")
    return parser.parse_args()


def executed(text: str) -> Counter:
    """Milliseconds of each kind of primitive in what oneDNN printed."""
    found: Counter = Counter()
    for line in text.splitlines():
        parts = line.split(",")
        if len(parts) > 6 and parts[0].endswith("_verbose") and parts[1] == "exec":
            name = parts[3]
            if name == "convolution":
                name += f", {parts[5].split('_')[0]}"
            found[KINDS.get(name, name)] += float(parts[-1])
    return found


def steps(dtype: str, size: int, threads: int, samples: int) -> Counter:
    """Milliseconds of each kind of primitive, and of the steps, in a process that times so many steps."""
    spec = {**WORK, "dtype": dtype, "size": size, "threads": threads, "samples": samples}
    done = subprocess.run(
        [sys.executable, str(peers.HERE / "blocks" / "gluon_work.py"), json.dumps(spec)],
        env={**children.environment(), "DNNL_VERBOSE": "1", "PYTHONPATH": str(peers.ROOT)},
        capture_output=True, text=True, check=True, timeout=peers.LIMIT_S, cwd=peers.ROOT,
    )  # fmt: skip
    answer = json.loads(done.stdout[done.stdout.rindex('{"setup_s"') :].splitlines()[0])
    return executed(done.stdout) + Counter({STEP: 1e3 * sum(answer["seconds"])})


def main() -> int:
    """Profile both precisions, and write the record."""
    options = arguments()
    peers.check_output(options)
    rows = []
    for dtype in ("float32", "bfloat16") if runtime.cpu_supports_bfloat16() else ("float32",):
        few, more = (steps(dtype, options.size, options.threads, samples) for samples in (FEW, MORE))
        rows += [(dtype, kind, f"{(more[kind] - few[kind]) / (MORE - FEW):.3f}") for kind in more]
    peers.write_table(options.output, COLUMNS, rows)
    print("\n".join(f"{dtype:9} {ms:>9} ms  {kind}" for dtype, kind, ms in rows))
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(console.run(main))
