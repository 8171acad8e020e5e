"""What the benchmarks share: real weights, real pictures, one size, and the peak memory beside each time.

Run with ``python -m pytest tests/benchmarks`` (or ``tox -e benchmark``) on a machine that does nothing else; the JSON
of ``--benchmark-json FILE`` carries ``peak_memory_bytes`` in each benchmark's ``extra_info``.
"""

from __future__ import annotations

import sys

import pytest

from bench import meters
from nst_gluon import assets, images
from nst_gluon import weights as vgg_weights
from nst_gluon.engine import mx

SIZE = 256


@pytest.fixture(scope="session")
def weights():
    """The real VGG-19, downloaded once."""
    return vgg_weights.load(progress=sys.stderr.isatty())


@pytest.fixture(scope="session")
def style():
    return images.load(assets.style_path("great_wave"), SIZE)


@pytest.fixture(scope="session")
def content():
    return images.load(assets.content_path("chelsea"), SIZE)


@pytest.fixture
def measure(benchmark):
    """``measure(function)``: times ``function()`` to the end of all its asynchronous work, and its peak memory."""

    def run(function, rounds: int = 10):
        def synchronised():
            function()
            mx.nd.waitall()

        synchronised()
        meters.reset_peak()
        benchmark.pedantic(synchronised, rounds=rounds, warmup_rounds=2)
        benchmark.extra_info["peak_memory_bytes"] = meters.high_water_bytes()
        return benchmark.stats.stats.median

    return run
