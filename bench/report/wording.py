"""What only a benchmark has to say about numbers and names, as :mod:`nst_gluon.pages.wording` says the rest."""

from __future__ import annotations

import math

from bench.analysis.summary import LOWER_BOUND, NOT_REACHED, OK
from nst_gluon.pages.wording import clean, interval, quantity

ENGINES = {"gluon": "Gluon", "pytorch": "PyTorch", "onnxruntime": "ONNX Runtime"}
STATUS = {"oom": "out of memory", "timeout": "timed out", "error": "failed", "skipped": "skipped"}
MARKS = {"reproduced": "✔", "partly": "◐", "not reproduced": "✘", "not measured": "○"}


def engine_name(engine: str) -> str:
    return ENGINES.get(engine) or clean(engine, 40)


def setting_name(kind: str, value: str) -> str:
    """The value of an ``engine``, a ``dtype`` or a ``device`` as tables show it."""
    return engine_name(value) if kind == "engine" else clean(value, 60)


def status_name(status: str) -> str:
    return STATUS.get(status) or clean(status, 60)


def measured(value: float, unit: str, status: str = OK) -> str:
    """A value with what its status says of it: "≥ 80×" for a lower bound, "> 70 s (not reached)", "out of
    memory".
    """
    if status == LOWER_BOUND and not math.isnan(value):
        return f"≥ {quantity(value, unit)}"
    if status == NOT_REACHED:
        return f"> {quantity(value, unit)} (not reached)" if not math.isnan(value) else NOT_REACHED
    if status != OK:
        return status_name(status) if math.isnan(value) else f"{quantity(value, unit)} ({status_name(status)})"
    return quantity(value, unit)


def with_interval(value: float, low: float, high: float, unit: str, status: str = OK) -> str:
    """The same with its interval behind it, except for a bound, whose interval has no upper end."""
    text = measured(value, unit, status)
    brackets = interval(value, low, high, unit) if status == OK else ""
    return f"{text} {brackets}" if brackets else text


def still_warming_up(dropped: int, samples: int, cells: int, of_cells: int, most: int) -> str:
    """One sentence on samples that were left out: ``dropped`` of ``samples``, in ``cells`` of ``of_cells`` cells."""
    where = "in the one cell" if of_cells == 1 else f"in {cells} of {of_cells} cells"
    each = "" if cells == 1 else f", at most {most} in one"
    were = "was" if dropped == 1 else "were"
    return (
        f"{dropped} of {samples} timed samples {were} still slower than the rest and {were} left out as warm-up "
        f"({where}{each}); samples.csv has them as warm_up_latency_s and warm_up_iteration_s."
    )
