"""The one door for arguments of a wrong kind: what a public function's annotations say is checked when it is called.

So are texts and paths with a NUL, of which the system and the engine make nothing good.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from nst_gluon.methods.description import shown
from nst_gluon.system.errors import UserError

# By annotation: words for it, and types. How large a number may be, and what a text may say, is checked where it is
# used; a number may be a text there, as the command line has it.
KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "str": ("a text", (str,)),
    "bool": ("True or False", (bool, np.bool_)),
    "int": ("a whole number", (numbers.Number, str)),
    "float": ("a number", (numbers.Number, str)),
    "PathLike": ("a path", (str, os.PathLike)),
    "Sequence[int]": ("a list of whole numbers", (Sequence, np.ndarray)),
    "Mapping[str, float]": ("names with numbers", (Mapping,)),
    "None": ("None", (type(None),)),
}

Function = TypeVar("Function", bound=Callable[..., Any])


def checked(function: Function) -> Function:
    """``function``, which raises a UserError, naming the argument, for one that is not of a kind in its annotation, and
    for a text or a path with a NUL.

    Other kinds than KINDS are classes of the function's module; an argument that may be of something else (a picture)
    is not checked. Annotations are texts (``from __future__ import annotations``).
    """
    signature = inspect.signature(function)
    keyword = {p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            kinds = [_kind(one, function) for one in str(signature.parameters[name].annotation).split(" | ")]
            argument = f"--{name.replace('_', '-')}" if name in keyword else name
            if isinstance(value, (str, os.PathLike)) and "\0" in os.fsdecode(value):
                raise UserError(f"{argument}: {shown(value)} has a NUL in it; give a name without")
            if None not in kinds and not any(isinstance(value, types) for _, types in kinds):
                raise UserError(f"{argument}: {shown(value)} is not {' or '.join(words for words, _ in kinds)}")
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def _kind(annotation: str, function: Callable[..., Any]) -> tuple[str, tuple[type, ...]] | None:
    found = function.__globals__.get(annotation)
    return KINDS.get(annotation) or ((f"a {annotation}", (found,)) if isinstance(found, type) else None)
