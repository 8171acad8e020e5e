"""The registry of methods: the bundled ones, those of installed packages, and those of a file or module that is named.

A bundled method is one file in this package and one line of :data:`BUNDLED`. An installed package offers methods as
entry points of the group ``nst_gluon.methods``, each under its method's name. Anything else is named by a reference:
``FILE.py:NAME`` or ``package.module:NAME``, a subclass of :class:`Optimiser` or :class:`Generator` or an instance of
one. Imports no engine, and what others wrote only when it is asked for.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from nst_gluon import assets
from nst_gluon.methods.base import GENERATES, OPTIMISES, TASKS, Facts, Generator, Method, Optimiser, Schedule
from nst_gluon.methods.description import Builder
from nst_gluon.system.errors import UserError, did_you_mean

__all__ = [
    "GENERATES", "OPTIMISES", "TASKS", "Builder", "Facts", "Generator", "Method", "Optimiser", "Schedule", "all",
    "bundled", "facts", "get", "installed", "is_reference", "loaded", "named", "names", "register", "usual",
]  # fmt: skip

GROUP = "nst_gluon.methods"
BUNDLED = (
    "nst_gluon.methods.gatys:Gatys",
    "nst_gluon.methods.gatys_pyramid:GatysPyramid",
    "nst_gluon.methods.net_gatys:NetGatys",
    "nst_gluon.methods.johnson:Johnson",
    "nst_gluon.methods.johnson:JohnsonSlim",
    "nst_gluon.methods.coarse_net:CoarseNet",
    "nst_gluon.methods.texture_net:TextureNet",
    "nst_gluon.methods.transformer_net:TransformerNet",
    "nst_gluon.methods.portilla_simoncelli:PortillaSimoncelli",
    "nst_gluon.methods.sgan:Sgan",
    "nst_gluon.methods.sgan:Dcgan",
    "nst_gluon.methods.onnx_file:OnnxFile",
)
FORMS = "FILE.py:NAME or package.module:NAME"

_bundled: dict[str, Method] = {}
_registered: dict[str, tuple[Method, str]] = {}  # by name: the method, and its reference


def bundled() -> dict[str, Method]:
    """The methods of this package by name, the one that others are measured against first."""
    if not _bundled:
        for reference in BUNDLED:
            module, name = reference.split(":")
            method = getattr(importlib.import_module(module), name)()
            _bundled[method.name] = method
    return dict(_bundled)


def installed() -> dict[str, str]:
    """References, "package.module:NAME", of the methods that installed packages offer, by name; none is imported."""
    return dict(_entry_points_on(tuple(sys.path)))


def names() -> list[str]:
    """Every name that :func:`get` knows; nothing from outside is imported."""
    return list(dict.fromkeys([*bundled(), *installed(), *_registered]))


def all() -> list[Method]:
    """Every known method; those of installed packages are imported. One that cannot be is left out with a warning."""
    found = []
    for name in names():
        try:
            found.append(get(name))
        except UserError as error:
            warnings.warn(str(error), stacklevel=2)
    return found


def loaded() -> list[Method]:
    """The bundled methods and those that this process has imported already."""
    return [*bundled().values(), *(method for method, _ in _registered.values())]


def usual() -> list[str]:
    """The :func:`names` that ``--method all`` means: not the bundled ones that need packages which are not there, or
    generate and have no bundled net of any style.
    """
    nets = {net.method for net in assets.nets()}
    without = {m.name for m in bundled().values() if m.kind == GENERATES} - nets
    return [name for name in names() if name not in without and not (name in bundled() and facts(name).missing())]


def is_reference(text: str) -> bool:
    """Whether ``text`` says where a method is, and not what it is called."""
    return ":" in text


def get(name_or_reference: str) -> Method:
    """The method of that name or reference; one of a reference is known by its name from then on.

    Raises:
        UserError: nobody knows the name, or what the reference says cannot be imported or is no method.
    """
    text = name_or_reference.strip()
    if not is_reference(text) or text in _registered:
        return named(text)
    for method, reference in _registered.values():
        if reference == text:
            return method
    return register(_found(text), text)


def named(text: str) -> Method:
    """The method of that name, for names that come from files: what a reference says there is never imported.

    Raises:
        UserError: nobody knows the name.
    """
    if text in _registered:
        return _registered[text][0]
    if text in bundled():
        return bundled()[text]
    if text in installed():
        return _installed(text)
    raise UserError(f"--method: unknown method {text!r}; {did_you_mean(text, names())}, or give {FORMS}")


def facts(name_or_reference: str) -> Facts:
    """What is known of a method without running it, with the reference that it came by."""
    method = get(name_or_reference)
    return method.facts(_registered[method.name][1] if method.name in _registered else "")


def register(method: Method, reference: str) -> Method:
    """Make a method known by its name.

    Raises:
        UserError: something that it says of itself is wrong, or another method has its name.
    """
    _check(method, reference)
    before = _registered.get(method.name)
    taken = bundled().get(method.name) or (before[0] if before and before[1] != reference else None)
    if taken is not None and type(taken) is not type(method):
        raise UserError(f"--method: {reference}: another method is called {method.name!r}; rename it")
    _registered[method.name] = (method, reference)
    return method


# ------------------------------------------------------------------------------------------------------- finding



@functools.lru_cache(maxsize=2)
def _entry_points_on(path: tuple[str, ...]) -> dict[str, str]:
    from importlib import metadata  # takes longer than all else here

    points: Any = metadata.entry_points()
    chosen = points.select(group=GROUP) if hasattr(points, "select") else points.get(GROUP, ())
    return dict(sorted((point.name, point.value) for point in chosen))


def _installed(name: str) -> Method:
    reference = installed()[name]
    method = register(_found(reference), reference)
    if method.name != name:
        raise UserError(f"--method: the entry point {name!r} is a method called {method.name!r}; give both one name")
    return method


def _found(reference: str) -> Method:
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise UserError(f"--method: {reference!r} is not a reference; give {FORMS}")
    module = _import(place, reference)
    if not hasattr(module, name):
        near = did_you_mean(name, [key for key, value in vars(module).items() if _is_method(value)])
        raise UserError(f"--method: {place} has no {name!r}; {near}")
    found = getattr(module, name)
    if not _is_method(found):
        raise UserError(f"--method: {reference} is not a method; subclass nst_gluon.methods.Optimiser or Generator")
    try:
        return found() if isinstance(found, type) else found
    except Exception as error:
        raise UserError(f"--method: {reference} cannot be made without arguments ({_words(error)})") from error


def _is_method(value: object) -> bool:
    return isinstance(value, Method) or (
        isinstance(value, type) and issubclass(value, Method) and value not in (Method, Optimiser, Generator)
    )


def _import(place: str, reference: str) -> ModuleType:
    """The module of a reference. A file is imported once; what lies beside it can be imported by it."""
    path = Path(os.path.expanduser(place))
    if place.endswith(".py"):
        if not os.path.isfile(path):
            raise UserError(f"--method: there is no file {place!r}; give {FORMS}")
        path = path.resolve()
        name = f"nst_gluon_method_{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"
    else:
        name = place
    if name in sys.modules:
        return sys.modules[name]
    try:
        if not place.endswith(".py"):
            return _import_module(name)
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        spec = importlib.util.spec_from_file_location(name, path)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise UserError(f"--method: {reference} cannot be imported ({_words(error)})") from error


def _import_module(name: str) -> ModuleType:
    """A module that is installed or, after all else, lies in the current folder."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        here = os.getcwd()
        if error.name != name.partition(".")[0] or here in sys.path:
            raise
        sys.path.append(here)
        importlib.invalidate_caches()
        return importlib.import_module(name)


def _words(error: BaseException) -> str:
    """An error of somebody's code in one line: its kind, its text, and where it is from."""
    text = " ".join(str(error).split())[:200]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)[1:] if not frame.filename.startswith("<")]
    where = f", {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


# ------------------------------------------------------------------------------------------------------ checking


def _check(method: Method, reference: str) -> None:
    """Raise a UserError for the first thing that a method says of itself and that the suite could not use."""

    def wrong(what: str, right: str) -> UserError:
        return UserError(f"--method: {reference}: {what}; {right}")

    name = getattr(method, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,39}", name) or name == "all":
        raise wrong(f"its name is {name!r}", "give at most 40 letters, digits and _, a letter first")
    if not isinstance(method, (Optimiser, Generator)):
        raise wrong("it neither optimises nor generates", "subclass Optimiser or Generator")
    tasks = getattr(method, "tasks", None)
    if not isinstance(tasks, (tuple, list)) or not tasks or not set(tasks) <= set(TASKS):
        raise wrong(f"its tasks are {tasks!r}", f"give a tuple of {' and '.join(TASKS)}")
    if not isinstance(method.engines, (tuple, list)):
        raise wrong(f"its engines are {method.engines!r}", "give a tuple of names, () for every engine")
    for what in ("title", "description", "paper"):
        text = getattr(method, what)
        if not isinstance(text, str) or not (text.isprintable() and len(text) <= 300):
            raise wrong(f"its {what} is {text!r}", "give one line of text")
    if not isinstance(method.color, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", method.color):
        raise wrong(f"its color is {method.color!r}", "give #rrggbb")
