"""The harness: plan -> worker -> store -> analysis -> report.

It knows the methods only by their interface. The orchestrating process imports no engine: every cell of a
plan runs in a fresh process of its own (:mod:`bench.run.worker`), so that one cell's memory, threads and crashes
are its own.
"""

from pathlib import Path

RESULTS = Path("results")  # where runs go that are not told otherwise
