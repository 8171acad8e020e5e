"""What a caller of ``stylize`` or ``texture`` wants, as plain data; the defaults are those of their signatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nst_gluon import assets, methods
from nst_gluon.api.inputs import Picture
from nst_gluon.system.files import PathLike

if TYPE_CHECKING:
    from nst_gluon.api import Net


@dataclass(frozen=True)
class Request:
    """How pictures are to be made; the fields mean what the parameters of :func:`nst_gluon.stylize` do.

    Attributes:
        task: ``stylize`` or ``texture``.
        given: the names of those arguments that are not at their default, by which what does not fit a method is found.
    """

    task: str
    style: Picture
    method: str | methods.Method | None
    net: PathLike | Net | None
    seed: int
    strength: float
    tile: int | str
    tile_statistics: str
    preset: str
    iterations: int
    optimizer: str
    coarse: Sequence[int]
    style_size: int | None
    segments: int | str
    weights: str | None
    random_weights: bool
    engine: str
    device: str
    dtype: str
    threads: int | None
    start: str = "noise"
    keep_colors: bool = False
    net_size: int | None = None
    given: frozenset[str] = frozenset()


def request(task: str, defaults: dict[str, Any], values: dict[str, Any]) -> Request:
    """The request of a function with these ``defaults`` that was called with ``values``."""
    values = {**values, "coarse": tuple(values["coarse"])}
    if values["segments"] == "off":
        values["segments"] = 1
    given = {name for name, value in values.items() if isinstance(value, np.ndarray) or value != defaults[name]}
    if values["style"] is None:
        values["style"] = assets.STYLES[0]
    return Request(task, **values, given=frozenset(given))
