"""Imports that are put off until somebody looks into them: what MXNet imports and a picture does not need."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

# Of MXNet 1.9.1's import, these take a third of the time: quantisation, its export to ONNX, and downloads.
UNNEEDED = ("scipy.stats", "onnx", "requests")


class _Later(ModuleType):
    """A module that is executed when it is first asked for what it does not have yet.

    (importlib's LazyLoader executes it as soon as it is imported a second time.)
    """

    def __getattr__(self, name: str) -> Any:
        if type(self) is not _Later:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def put_off(names: Sequence[str]) -> None:
    """Let each module that is there and not imported yet be executed when it is first needed."""
    for name in names:
        package, _, own = name.rpartition(".")
        try:
            spec = None if name in sys.modules else importlib.util.find_spec(name)  # imports the package
        except (ImportError, ValueError):
            continue
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            continue
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        module.__class__ = _Later
        if package:
            setattr(sys.modules[package], own, module)


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """An import that makes objects by the hundred thousand and frees none: without the collector of garbage, and with
    Python's own ``distutils`` instead of setuptools, which would be imported for it."""
    collects = gc.isenabled()
    gc.disable()
    try:
        with _own_distutils():
            yield
    finally:
        if collects:
            gc.enable()


@contextlib.contextmanager
def _own_distutils() -> Iterator[None]:
    hack = sys.modules.get("_distutils_hack")
    shim = getattr(hack, "DISTUTILS_FINDER", None)
    if shim not in sys.meta_path:
        yield
        return
    place = sys.meta_path.index(shim)
    sys.meta_path.remove(shim)
    try:
        yield
    finally:
        sys.meta_path.insert(place, shim)
