"""Numbers and names as a reader wants to see them. Plain text: escaping is the business of each output format."""

from __future__ import annotations

import math
import re
from typing import Any

TASKS = {"stylize": "stylisation", "texture": "texture"}
MISSING = "–"

# Terminal colours, control characters, and those that turn the direction of the text that follows.
_CONTROL = re.compile(
    r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LONGEST = 300


def harmless(text: str) -> str:
    """``text`` without terminal colours, control characters and turns of direction; its lines stay."""
    return _CONTROL.sub("", text)


def clean(value: Any, longest: int = LONGEST) -> str:
    """A string of anybody's as one line without control characters, cut at ``longest`` characters."""
    text = " ".join(harmless(str(value).replace("\n", " ").replace("\t", " ")).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


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
        "J": ((1.0, 1e-3, " mJ"), (1e4, 1.0, " J"), (math.inf, 1e3, " kJ")),
        "x": ((math.inf, 1.0, "×"),),
        "images/s": ((math.inf, 1.0, " images/s"),),
        "evaluations": ((math.inf, 1.0, " evaluations"),),
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
    suffix = "" if unit == "evaluations" else suffix
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


def listing(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
