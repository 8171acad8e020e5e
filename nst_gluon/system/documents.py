"""JSON that somebody else wrote: bounded while it is read, and held against a description of what it should be.

A description is a type or a tuple of types; ``[d]`` for a list of things like ``d``; or a dictionary from a name to
the description of its value, where a name that ends in "!" must be there, "*" describes all other names ("*!": none of
which is null), and whatever is not described may be anything. ``null`` stands for "not known" wherever a thing need not
be there.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

DEEPEST = 32
LARGEST = 1 << 53  # of whole numbers: what every reader of JSON, and a float, holds exactly

NUMBER = (int, float)
_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object",
          list: "a list", type(None): "null"}  # fmt: skip


def parse(data: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError if it is none, is nested too deeply, or has NaN or a huge number."""
    try:
        value = json.loads(data, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _bounded(value, DEEPEST)
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _bounded(value: Any, depth: int) -> None:
    if isinstance(value, (dict, list)):
        if not depth:
            raise ValueError("it is nested too deeply")
        for part in value.values() if isinstance(value, dict) else value:
            _bounded(part, depth - 1)
    elif isinstance(value, float) and not math.isfinite(value) or isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError("it has a number that is too large")


def check(value: Any, description: Any, where: str) -> None:
    """Raise ValueError, naming the place, where ``value`` is not as ``description`` says."""
    if isinstance(description, dict):
        _check_type(value, dict, where)
        needed = [name[:-1] for name in description if name.endswith("!")]
        for name in value if "*" in needed else needed:
            if value.get(name) is None:
                raise ValueError(f"{where} has no {name}")
        others = description.get("*", description.get("*!"))
        for name, part in value.items():
            known = description.get(name, description.get(f"{name}!", others))
            if known is not None and part is not None:
                check(part, known, f"{where}.{name}" if where else name)
    elif isinstance(description, list):
        _check_type(value, list, where)
        for index, part in enumerate(value):
            check(part, description[0], f"{where}[{index}]")
    else:
        _check_type(value, description, where)


def _check_type(value: Any, types: Any, where: str) -> None:
    types = types if isinstance(types, tuple) else (types,)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        wanted = " or ".join(dict.fromkeys(_NAMES[kind] for kind in types if not (kind is int and float in types)))
        raise ValueError(f"{where} is {_NAMES[type(value)]}, not {wanted}")
