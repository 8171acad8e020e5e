"""Numbers and names as a reader wants to see them. Plain text: escaping is the business of each output
format.
"""

from __future__ import annotations

import math
import re
from typing import Any

from bench.analysis import LOWER_BOUND, NOT_REACHED, OK

METHODS = {
    "gatys": "optimisation",
    "gatys_pyramid": "optimisation, coarse to fine",
    "net_gatys": "optimisation from a net's picture",
    "johnson": "Johnson net",
    "texture_net": "texture network",
}
TASKS = {"stylize": "stylisation", "texture": "texture"}
STATUS = {"oom": "out of memory", "timeout": "timed out", "error": "failed", "skipped": "skipped"}
MISSING = "–"
MARKS = {"reproduced": "✔", "partly": "◐", "not reproduced": "✘", "not measured": "○"}

# Terminal colours, control characters, and those that turn the direction of the text that follows.
_CONTROL = re.compile(
    r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LONGEST = 300


def clean(value: Any, longest: int = LONGEST) -> str:
    """A string of anybody's as one line without control characters, cut at ``longest`` characters."""
    text = " ".join(_CONTROL.sub("", str(value).replace("\n", " ").replace("\t", " ")).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def method_name(method: str) -> str:
    return METHODS.get(method) or clean(method, 60)


def task_name(task: str) -> str:
    return TASKS.get(task) or clean(task, 60)


def size_name(size: int) -> str:
    return f"{size} × {size}"


def significant(value: float, digits: int = 3) -> str:
    """``digits`` significant digits without an exponent, thousands separated: 0.0463, 12.3, 71,659 ->
    71,700.
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ("∞" if value > 0 else MISSING)
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    return f"{rounded:,.{max(0, decimals)}f}"


def _is_plain(value: float) -> bool:
    """Whether a pure number is shown without a power of ten."""
    return (float(value).is_integer() and abs(value) < 1e7) or 1e-3 <= abs(value) < 1e5


def _plain(value: float) -> str:
    if _is_plain(value):
        return f"{int(value):,}" if float(value).is_integer() else significant(value, 4)
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def _scale(value: float, unit: str) -> tuple[float, str]:
    """The divisor and the suffix in which a quantity of this magnitude is shown."""
    steps = {
        "s": ((1e-3, 1e-6, " µs"), (1.0, 1e-3, " ms"), (600.0, 1.0, " s"), (math.inf, 60.0, " min")),
        "B": ((1e6, 1e3, " kB"), (1e9, 1e6, " MB"), (math.inf, 1e9, " GB")),
        "x": ((math.inf, 1.0, "×"),),
        "images/s": ((math.inf, 1.0, " images/s"),),
        "iterations": ((math.inf, 1.0, " iterations"),),
    }
    for limit, divisor, suffix in steps.get(unit, ()):
        if abs(value) < limit:
            return divisor, suffix
    return 1.0, ""


def quantity(value: float, unit: str) -> str:
    """A value with its unit: "46.3 ms", "1.10 GB", "612×", "71,659". NaN is a dash."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞"
    if unit == "1":
        return _plain(value)
    divisor, suffix = _scale(value, unit)
    return significant(value / divisor) + suffix


def published(value: float, unit: str) -> str:
    """A figure as it was printed: up to four digits, none invented."""
    if unit == "1":
        return _plain(value)
    divisor, suffix = _scale(value, unit)
    return f"{value / divisor:,.4g}".replace("e+", "e") + suffix


def interval(value: float, low: float, high: float, unit: str) -> str:
    """The interval in the scale of its value: "[580, 650]"; empty where there is none."""
    if math.isnan(low) or math.isnan(high):
        return ""
    divisor, digits, suffix = 1.0, 3, ""
    if unit != "1":
        divisor, _ = _scale(value, unit)
    else:
        digits = 4
        if not _is_plain(value):
            exponent = math.floor(math.log10(abs(value)))
            divisor, suffix = 10.0**exponent, f" × 10{str(exponent).translate(_SUPERSCRIPT)}"
        elif all(float(end).is_integer() for end in (low, high)):
            return f"[{_plain(low)}, {_plain(high)}]"
    low_text, high_text = significant(low / divisor, digits), significant(high / divisor, digits)
    return f"[{low_text}, {high_text}{')' if math.isinf(high) else ']'}{suffix}"


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


def listing(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def still_warming_up(dropped: int, samples: int, cells: int, of_cells: int, most: int) -> str:
    """One sentence on samples that were left out: ``dropped`` of ``samples``, in ``cells`` of ``of_cells`` cells."""
    where = "in the one cell" if of_cells == 1 else f"in {cells} of {of_cells} cells"
    each = "" if cells == 1 else f", at most {most} in one"
    were = "was" if dropped == 1 else "were"
    return (
        f"{dropped} of {samples} timed samples {were} still slower than the rest and {were} left out as warm-up "
        f"({where}{each}); samples.csv has them as warm_up_latency_s and warm_up_iteration_s."
    )
