"""What only a benchmark has to say about numbers and names, as :mod:`nst_gluon.pages.wording` says the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.analysis import metrics
from bench.analysis.claims import BELOW_FLOOR, NOT_MEASURED, NOT_REPRODUCED, OTHER_HARDWARE, PARTLY, REPRODUCED
from bench.analysis.methods import Methods
from bench.analysis.summary import LOWER_BOUND, NOT_REACHED, OK
from bench.plan.cells import USUAL
from nst_gluon.pages.wording import clean, interval, quantity, size_name, task_name

ENGINES = {"gluon": "Gluon", "pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
STATUS = {"oom": "out of memory", "timeout": "timed out", "error": "failed", "skipped": "skipped"}
MARKS = {REPRODUCED: "✔", PARTLY: "◐", NOT_REPRODUCED: "✘", BELOW_FLOOR: "✘", OTHER_HARDWARE: "○", NOT_MEASURED: "○"}
TONES = {REPRODUCED: "reproduced", PARTLY: "partly", NOT_REPRODUCED: "not", BELOW_FLOOR: "not"}


def engine_name(engine: str) -> str:
    return ENGINES.get(engine) or clean(engine, 40)


def setting_name(kind: str, value: str) -> str:
    """The value of an ``engine``, a ``dtype`` or a ``device`` as tables show it."""
    return engine_name(value) if kind == "engine" else clean(value, 60)


def head_of(column: str) -> str:
    """The head of a column of the run's tables."""
    return "style" if column == "style_name" else column


def status_name(status: str) -> str:
    return STATUS.get(status) or clean(status, 60)


def metric_label(name: str, methods: Methods) -> str:
    """A metric's label; one of a family names the method that it is aimed at."""
    family, method = metrics.split(name)
    label = metrics.find(family).label
    return f"{label}: {methods.title(method)}" if method else label


def cell_label(row: Mapping[str, Any], methods: Methods) -> str:
    """A cell in words; engine, precision and device only where they are not the usual ones."""
    words = [methods.title(str(row["method"])), task_name(str(row["task"])), size_name(row["size"])]
    words[2:2] = [clean(row["style_name"], 40)] if row.get("style_name") else []
    words += [f"batch {row['batch']}"] if int(row["batch"]) != 1 else []
    return ", ".join([*words, *(clean(row[name], 40) for name, value in USUAL.items() if row[name] != value)])


def series_label(method: str, row: Mapping[str, Any], several: Sequence[str], methods: Methods) -> str:
    """A method in a legend, with those of engine, dtype and device that a run has ``several`` of."""
    return ", ".join([clean(methods.title(method), 36), *(setting_name(name, str(row[name])) for name in several)])


def steps_text(steps: float) -> str:
    """ "1 evaluation", "15 evaluations"; whole ones, so that 19.8 is no 20."""
    return f"{math.floor(steps)} evaluation{'' if math.floor(steps) == 1 else 's'}"


def measured(value: float, unit: str, status: str = OK) -> str:
    """A value with what its status says of it: "≥ 80×" (a lower bound), "> 70 s (not reached)", "out of memory"."""
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
