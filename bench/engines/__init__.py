"""What executes a cell. Each engine is one module, imported in its own workers and nowhere else.

An engine's module has one function, ``execute(cell, settings, budget, context) -> dict``: it measures one
cell, reports samples, curve and picture through ``context`` (:class:`bench.worker.Context`), and returns
facts for the record.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType

from nst_gluon.errors import EngineMissing, UserError, did_you_mean


@dataclass(frozen=True)
class Engine:
    """An engine by name. ``package`` must be importable for it to work; ``install`` says how to get it.

    The dtypes are those that it can compute each kind of cell in.
    """

    name: str
    module: str
    package: str
    install: str
    generate_dtypes: tuple[str, ...]
    optimise_dtypes: tuple[str, ...]

    def installed(self) -> bool:
        """Whether the package is there; it is not imported."""
        try:
            return importlib.util.find_spec(self.package) is not None
        except (ImportError, ValueError):
            return False

    def check(self) -> None:
        """Raise EngineMissing, in one line with what to install, if the package is not there."""
        if not self.installed():
            raise EngineMissing(f"--engine: no engine: {self.name} needs {self.package}; {self.install}")

    def load(self) -> ModuleType:
        """Import the engine's module, and with it the engine."""
        return importlib.import_module(self.module)


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            name="gluon",
            module="bench.engines.gluon",
            package="mxnet",
            install="install it with python -m pip install -e '.[cpu]' (or '.[cu112]' for an NVIDIA GPU) "
            "on Python 3.9 to 3.11",
            generate_dtypes=("float32", "bfloat16"),
            optimise_dtypes=("float32", "bfloat16"),
        ),
    )
}


def get(name: str) -> Engine:
    """The engine of that name; an unknown one is a UserError that lists the known ones."""
    try:
        return ENGINES[name]
    except KeyError:
        raise UserError(f"--engine: unknown engine {name!r}; {did_you_mean(name, ENGINES)}") from None
