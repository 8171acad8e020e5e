"""The descriptor forward and backward to the picture: alone, in bfloat16, and beside PyTorch's.

The comparisons (see conftest.py for how to ask for them) alternate the two sides in one process or in alternating
blocks, so that a slow minute of the machine hits both. What they promise (no slower than PyTorch in float32; bfloat16
at least 1.6 times faster) is asserted: these are for a machine that does nothing else, and not part of the test suite.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nst_gluon import assets
from nst_gluon.descriptor import vgg
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.engine import mx

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
COMPARED_SIZE = 256
BLOCKS = 4
CALLS = 6
SIDES = "comparisons: all blocks of both sides"


@pytest.fixture(scope="module")
def photo():
    """What the comparisons are about: the size that the suite measures and the papers print."""
    return images.load(assets.content_path("chelsea"), COMPARED_SIZE)


def both_ways(weights, picture, dtype: str):
    """A function that does one forward and one backward pass; the heads' gradient is one everywhere."""
    descriptor = vgg.Descriptor(weights, LAYERS, dtype=dtype)
    x = mx.nd.array(picture)
    x.attach_grad()

    def call():
        with mx.autograd.record():
            activations = descriptor(x)
        mx.autograd.backward(activations)
        return x.grad

    return call


def seconds(call, calls: int = CALLS) -> list[float]:
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        mx.nd.waitall()
        times.append(time.perf_counter() - start)
    return times


def test_forward(measure, weights, content, dtype):
    descriptor = vgg.Descriptor(weights, LAYERS, dtype=dtype)
    x = mx.nd.array(content)
    measure(lambda: descriptor(x), "descriptor, forward")


def test_forward_and_backward(measure, weights, content, dtype):
    measure(both_ways(weights, content, dtype), "descriptor, forward and backward to the picture")


@pytest.mark.comparison
@pytest.mark.skipif(not runtime.cpu_supports_bfloat16(), reason="this CPU has no bfloat16 instructions")
def test_bfloat16_is_at_least_1_6_times_faster(benchmark, weights, photo):
    benchmark.group = SIDES
    single, half = (both_ways(weights, photo, dtype) for dtype in ("float32", "bfloat16"))
    times = {"single": [], "half": []}

    def compare():
        for _ in range(BLOCKS):
            times["single"] += seconds(single)
            times["half"] += seconds(half)

    seconds(single, 2), seconds(half, 2)
    benchmark.pedantic(compare, rounds=1)
    ratio = statistics.median(times["single"]) / statistics.median(times["half"])
    benchmark.extra_info["ratio"] = ratio
    print(f"\nfloat32 / bfloat16: {ratio:.2f}")
    assert ratio >= 1.6


@pytest.mark.comparison
def test_no_slower_than_pytorch(benchmark, weights, photo, tmp_path):
    """Alternating blocks, each side in its own process while the other waits; the same threads, layers and weights."""
    benchmark.group = SIDES
    peer = os.environ.get("NST_GLUON_TORCH_PYTHON", sys.executable)
    probe = [peer, "-c", "import torch"]
    if subprocess.run(probe, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("PyTorch is not installed here; set NST_GLUON_TORCH_PYTHON to a Python that has it")
    arrays = {f"conv{b}_{i}.{kind}": weights.params[f"conv{b}_{i}.{kind}"]
              for b, i in vgg.plan(weights.arch, LAYERS) for kind in ("weight", "bias")}
    path = tmp_path / "descriptor.npz"
    np.savez(path, picture=photo, mean=weights.mean, std=weights.std, **arrays)
    program = [peer, str(Path(__file__).with_name("torch_descriptor.py")), str(path), str(runtime.engine_threads())]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        times, norm = alternating(process, both_ways(weights, photo, "float32"), benchmark)
        process.stdin.close()
        process.wait(timeout=60)
    finally:
        process.kill()
    ours = float(np.linalg.norm(both_ways(weights, photo, "float32")().asnumpy().astype("float64")))
    assert norm == pytest.approx(ours, rel=1e-3), "the two sides do not compute the same gradient"
    medians = {side: statistics.median(values) for side, values in times.items()}
    benchmark.extra_info.update(medians)
    print("\n" + ", ".join(f"{side}: {1e3 * value:.1f} ms" for side, value in medians.items()))
    assert medians["gluon"] <= medians["contiguous"]


def alternating(process, call, benchmark) -> tuple[dict[str, list[float]], float]:
    """Seconds of each side, and the norm of PyTorch's gradient."""
    times: dict[str, list[float]] = {"gluon": [], "contiguous": [], "channels_last": []}

    def ask(*words) -> list[float]:
        print(*words, file=process.stdin, flush=True)
        answer = [float(value) for value in process.stdout.readline().split()]
        assert answer, "PyTorch's process ended"
        return answer

    def compare():
        for _ in range(BLOCKS):
            times["gluon"] += seconds(call)
            for layout in ("contiguous", "channels_last"):
                times[layout] += ask(layout, CALLS)

    seconds(call, 2), ask("contiguous", CALLS), ask("channels_last", CALLS)
    benchmark.pedantic(compare, rounds=1)
    return times, ask("check")[0]
