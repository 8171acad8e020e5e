"""What this machine can do at most through the engine: one process, ``python -m bench.engines.peaks THREADS``.

Prints JSON lines: before each part {"part", "done"}, the share of the work that was done by then, and at the end one
object with the times: for each precision those of a large matrix product by its side, and those of a copy of an array
that no cache holds. Whoever started it takes the best: everything that disturbs makes it slower.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nst_gluon.system import runtime

SIDES = (1024, 2048)
REPETITIONS = 12
COPY_WORK = 50  # multiplications that take as long as copying a number twice, about
CACHES = 8  # the copied array is so many times larger than the last cache
LEAST_COPY = 256 * 2**20
FLOAT_BYTES = 4
L3 = "/sys/devices/system/cpu/cpu0/cache/index3/size"


def timed(call: Callable[[], Any], repetitions: int) -> list[float]:
    """Seconds of each call, after one that does not count; ``call`` returns an array to wait for."""
    times = []
    for _ in range(repetitions + 1):
        begun = time.perf_counter()
        call().wait_to_read()
        times.append(time.perf_counter() - begun)
    return times[1:]


def cache_bytes() -> int:
    """The last cache's size; 0 where it is not told."""
    text = ""
    with contextlib.suppress(OSError):
        text = Path(L3).read_text(encoding="ascii").strip()
    return int(text[:-1]) * 1024 if text.endswith("K") and text[:-1].isdigit() else 0


def copy_elements() -> int:
    """Floats in the array that is copied: far more than the caches hold, and no more than an eighth of the memory."""
    wanted = max(LEAST_COPY, CACHES * cache_bytes())
    return min(wanted, runtime.memory_available_bytes() // 8) // FLOAT_BYTES


def measure(
    dtypes: Sequence[str],
    sides: Sequence[int],
    elements: int,
    repetitions: int,
    tell: Callable[[str, float], None] = lambda part, done: None,
) -> dict[str, Any]:
    """``products``: {precision: {side: seconds}}; ``copy``: {"bytes": read and written, "seconds": of each copy}.

    ``tell``: is told of each part before it begins, and which share of the work was done by then.
    """
    from nst_gluon.system.engine import mx

    bfloat16 = np.dtype([("bfloat16", np.uint16)])
    products: dict[str, dict[str, list[float]]] = {}
    done, work = 0.0, len(dtypes) * sum(side**3 for side in sides) + COPY_WORK * elements
    for dtype in dtypes:
        products[dtype] = {}
        for side in sides:
            tell(f"matrix product, {dtype}, {side} x {side}", done / work)
            done += side**3
            a, b = (mx.nd.random.uniform(shape=(side, side)) for _ in range(2))
            if dtype == "bfloat16":
                a, b = (mx.nd.amp_cast(array, dtype=bfloat16) for array in (a, b))

            def product(a=a, b=b, side=side):
                # oneDNN's matrix product; mx.nd.dot is OpenBLAS's, which is half as fast.
                return mx.nd.FullyConnected(a, b, no_bias=True, num_hidden=side)

            mx.nd.waitall()
            products[dtype][str(side)] = timed(product, repetitions)
    tell(f"copy of {FLOAT_BYTES * elements / 1e6:.0f} MB", done / work)
    source, target = mx.nd.ones((elements,)), mx.nd.zeros((elements,))
    mx.nd.waitall()
    ways = (lambda: mx.nd.identity(source, out=target), lambda: source.copyto(target))
    seconds = [time for way in ways for time in timed(way, repetitions)]
    return {"products": products, "copy": {"bytes": 2 * FLOAT_BYTES * elements, "seconds": seconds}}


def main() -> None:
    """Measure and print."""
    runtime.prepare(int(sys.argv[1]))
    dtypes = runtime.DTYPES if runtime.cpu_supports_bfloat16() else runtime.DTYPES[:1]

    def tell(part: str, done: float) -> None:
        print(json.dumps({"part": part, "done": done}), flush=True)

    print(json.dumps(measure(dtypes, SIDES, copy_elements(), REPETITIONS, tell)))


if __name__ == "__main__":
    main()
