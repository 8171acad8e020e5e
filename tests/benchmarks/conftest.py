"""What the benchmarks share: real weights and pictures, one size, and memory beside each time.

Run with ``tox -e benchmark`` or ``python -m pytest tests/benchmarks`` on a machine that does nothing else; less than
two minutes on two cores. The JSON of ``--benchmark-json FILE`` has every sample and, in each benchmark's
``extra_info``, ``peak_memory_bytes`` and ``working_memory_bytes``.
"""

from __future__ import annotations

import math
import statistics
import sys

import pytest

from bench.machine import environment, meters
from nst_gluon import assets
from nst_gluon.descriptor import weights as vgg_weights
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.engine import mx

# At 128 pixels an optimisation step takes a tenth of a second on two cores, so that enough samples fit into seconds,
# and yet convolutions are nearly all of it; relu5_1 still has 8 x 8 places.
SIZE = 128
WARM_UP_SECONDS = 1.0
LEAST_ROUNDS, MOST_ROUNDS = 10, 100
SECONDS = 3.0
# A clock and a loop of Python cost microseconds: what is quicker than this is called several times a round.
ROUND_SECONDS = 0.005

MEMORY = pytest.StashKey[dict]()


# --------------------------------------------------------------------------------------------------- pytest's hooks


def pytest_configure(config):
    config.stash[MEMORY] = {}
    if not any(word.startswith("--benchmark-columns") for word in config.invocation_params.args):
        config.option.benchmark_columns = ["median", "iqr", "min", "max", "rounds"]


def pytest_benchmark_update_machine_info(config, machine_info):
    """What tells two machines apart, as the runs of ``bench`` say it; read by bench.gate.pytest_benchmark."""
    machine_info["nst_gluon"] = {
        "cpu": environment.cpu_model(),
        "cores": runtime.available_cores(),
        "threads": runtime.engine_threads(),
        "gpu": None,
    }


def pytest_terminal_summary(terminalreporter, config):
    """The memory of each benchmark: pytest-benchmark's own table has times only."""
    lines = config.stash[MEMORY]
    if not lines:
        return
    terminalreporter.section("memory: the peak, and what it is above the memory resident before the first call")
    longest = max(map(len, lines))
    for name, memory in lines.items():
        peak, working = (f"{value / 1e6:,.0f} MB" for value in (memory.peak, memory.working))
        terminalreporter.write_line(f"{name:<{longest}}  {peak:>10}  {working:>10}")


# --------------------------------------------------------------------------------------------------------- fixtures


@pytest.fixture(scope="session")
def weights():
    """The real VGG-19, downloaded once."""
    return vgg_weights.load(progress=sys.stderr.isatty())


@pytest.fixture(scope="session")
def style():
    """The painting, (1, 3, SIZE, SIZE)."""
    return images.load(assets.style_path("great_wave"), SIZE)


@pytest.fixture(scope="session")
def content():
    """The photo, (1, 3, SIZE, SIZE)."""
    return images.load(assets.content_path("chelsea"), SIZE)


BFLOAT16 = pytest.param(
    "bfloat16",
    marks=pytest.mark.skipif(not runtime.cpu_supports_bfloat16(), reason="this CPU has no bfloat16 instructions"),
)


@pytest.fixture(params=["float32", BFLOAT16])
def dtype(request):
    """Each precision that this CPU computes in by itself."""
    return request.param


@pytest.fixture
def measure(benchmark, request):
    """``measure(function, group)``: the times of ``function()`` to the end of all its asynchronous work, and memory.

    After warming up, at least LEAST_ROUNDS rounds and about SECONDS, but no more than MOST_ROUNDS. The meter starts
    before the first call, which is when buffers are made that the engine then keeps.
    """

    def run(function, group: str) -> None:
        def synchronised():
            function()
            mx.nd.waitall()

        mx.nd.waitall()
        meters.HostMeter().start()  # gives back what earlier benchmarks left, which is no part of this one's baseline
        meter = meters.HostMeter()
        meter.start()
        call_seconds = statistics.median(meters.warm_up(synchronised, WARM_UP_SECONDS)[-meters.WINDOW :])
        iterations, rounds = loop(call_seconds)
        benchmark.group = group
        benchmark.pedantic(synchronised, rounds=rounds, iterations=iterations)
        memory = meter.read()
        benchmark.extra_info.update(peak_memory_bytes=memory.peak, working_memory_bytes=memory.working)
        if memory.peak is not None:
            request.config.stash[MEMORY][request.node.name] = memory

    return run


def loop(call_seconds: float) -> tuple[int, int]:
    """(calls a round, rounds) for a function whose call takes that many seconds."""
    iterations = max(1, math.ceil(ROUND_SECONDS / call_seconds))
    rounds = math.ceil(SECONDS / (call_seconds * iterations))
    return iterations, min(MOST_ROUNDS, max(LEAST_ROUNDS, rounds))
