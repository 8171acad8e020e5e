"""What executes a cell. Each engine is one module, imported in its own workers and nowhere else.

An engine's module has a :class:`bench.engines.measure.Backend`. How a cell is measured with it is the same for all
(:func:`bench.engines.measure.execute`).

    gluon         the suite's own methods, the reference
    pytorch       the same nets, weights and objective, written again; also for GPUs that MXNet's builds cannot use
    onnxruntime   the exported nets; it has no objective and optimises nothing
    openvino      likewise, on the CPU

A peer may be installed in an environment of its own (``--engine-python``), which needs no MXNet.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from nst_gluon.system import runtime
from nst_gluon.system.errors import EngineMissing, UserError, did_you_mean

REFERENCE = "gluon"


@dataclass(frozen=True)
class Option:
    """A choice that an engine leaves to the user: ``--engine-option ENGINE.NAME=VALUE``. The first is the default."""

    name: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Engine:
    """An engine by name. ``packages`` must be importable for it to work; ``install`` says how to get them.

    The dtypes are those that it can compute each kind of cell in; none: it has no such cells. ``backend`` is the class
    in ``module`` that computes, made with (device, dtype, seed, options).
    """

    name: str
    module: str
    backend: str
    packages: tuple[str, ...]
    install: str
    generate_dtypes: tuple[str, ...]
    optimise_dtypes: tuple[str, ...]
    options: tuple[Option, ...] = ()

    def dtypes(self, kind: str) -> tuple[str, ...]:
        """The precisions of a kind of method, ``generates`` or ``optimises``."""
        return self.generate_dtypes if kind == "generates" else self.optimise_dtypes

    def missing(self) -> str | None:
        """The first package that is not there, None if all are; nothing is imported."""
        return next((package for package in self.packages if not _is_there(package)), None)

    def installed(self) -> bool:
        """Whether all its packages are there."""
        return self.missing() is None

    def check(self) -> None:
        """Raise EngineMissing, in one line with what to install, if a package is not there."""
        if not self.installed():
            raise EngineMissing(f"--engine: no engine: {self.name} needs {self.missing()}; {self.install}")

    def check_device(self, device: runtime.Device, dtypes: Sequence[str], elsewhere: bool = False) -> None:
        """Raise a UserError, in one line, if it cannot compute on ``device`` in one of ``dtypes``.

        Nothing is imported: a build is told by the version of its distribution, unless that is ``elsewhere``.
        """
        if self.name == REFERENCE:
            runtime.check_device(device)
            for dtype in dtypes:
                runtime.check_dtype(dtype, device)
            return
        if device.kind == "gpu":
            runtime.find_gpu(device)
            if self.name == "openvino":
                raise UserError(f"--device {device}: OpenVINO computes on the CPU here; use --device cpu")
            if not elsewhere:
                self._check_build(device)
        elif "bfloat16" in dtypes and "bfloat16" in (*self.generate_dtypes, *self.optimise_dtypes):
            runtime.check_dtype("bfloat16", device)

    def _check_build(self, device: runtime.Device) -> None:
        if self.name == "pytorch" and (runtime.installed_version("torch") or "").endswith("+cpu"):
            raise UserError(
                f"--device {device}: the installed PyTorch is a CPU build; use --device cpu, or install one with CUDA: "
                "python -m pip install torch (see https://pytorch.org/get-started)"
            )
        if self.name == "onnxruntime" and runtime.installed_version("onnxruntime-gpu") is None:
            raise UserError(
                f"--device {device}: the installed ONNX Runtime is a CPU build; use --device cpu, or "
                "python -m pip uninstall -y onnxruntime && python -m pip install onnxruntime-gpu"
            )

    def load(self) -> ModuleType:
        """Import the engine's module, and with it the engine."""
        return importlib.import_module(self.module)

    def packages_loaded(self) -> list[ModuleType]:
        """Its packages, imported; raises EngineMissing, in one line, where that fails."""
        try:
            with runtime.quiet_import():
                return [importlib.import_module(package) for package in self.packages]
        except (ImportError, OSError) as error:
            reason = " ".join(str(error).split())
            raise EngineMissing(f"no engine: {self.name} cannot be imported ({reason}); {self.install}") from error

    def settle(self, chosen: dict[str, str]) -> dict[str, str]:
        """Every option's value: the ``chosen`` one or the default."""
        return {option.name: chosen.get(option.name, option.choices[0]) for option in self.options}


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            name="gluon",
            module="bench.engines.gluon",
            backend="Gluon",
            packages=("mxnet",),
            install="install it with python -m pip install -e '.[cpu]' (or '.[cu112]' for an NVIDIA GPU) "
            "on Python 3.9 to 3.11",
            generate_dtypes=("float32", "bfloat16"),
            optimise_dtypes=("float32", "bfloat16"),
        ),
        Engine(
            name="pytorch",
            module="bench.engines.pytorch.backend",
            backend="PyTorch",
            packages=("torch",),
            install="install it with python -m pip install -e '.[torch]'",
            generate_dtypes=("float32", "bfloat16"),
            optimise_dtypes=("float32", "bfloat16"),
            options=(
                Option("layout", ("fastest", "contiguous", "channels_last")),  # of activations; fastest: by trial
                Option("compile", ("no", "yes")),  # its time is in first_call_s
                Option("lbfgs", ("suite", "torch", "scipy")),
            ),
        ),
        Engine(
            name="onnxruntime",
            module="bench.engines.onnxruntime",
            backend="OnnxRuntime",
            packages=("onnxruntime", "onnx"),
            install="install it with python -m pip install -e '.[onnx]'",
            generate_dtypes=("float32",),
            optimise_dtypes=(),
        ),
        Engine(
            name="openvino",
            module="bench.engines.openvino",
            backend="OpenVino",
            packages=("openvino", "onnx"),
            install="install it with python -m pip install -e '.[openvino]'",
            generate_dtypes=("float32", "bfloat16"),
            optimise_dtypes=(),
        ),
    )
}


def get(name: str) -> Engine:
    """The engine of that name; an unknown one is a UserError that lists the known ones."""
    try:
        return ENGINES[name]
    except KeyError:
        raise UserError(f"--engine: unknown engine {name!r}; {did_you_mean(name, ENGINES)}") from None


def parse_pythons(given: Sequence[str], used: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """``onnxruntime=/there/bin/python`` and its like as sorted pairs of engine and absolute path.

    Raises:
        UserError: an engine that is not ``used`` or given twice, or no program that can be run.
    """
    found: dict[str, str] = {}
    for text in given:
        name, _, program = (part.strip() for part in text.partition("="))
        if get(name).name not in used:
            raise UserError(f"--engine-python: {name} is not measured; add it to --engine")
        if not (os.path.isfile(program) and os.access(program, os.X_OK)):
            raise UserError(f"--engine-python: {program!r} is not a program; give {name}=PATH of a Python")
        if found.setdefault(name, os.path.abspath(program)) != os.path.abspath(program):
            raise UserError(f"--engine-python: {name} is given twice; give it once")
    return tuple(sorted(found.items()))


def no_python(name: str, program: str) -> UserError:
    """That a program of --engine-python cannot be what it is given as."""
    return UserError(f"--engine-python: {program!r} is not a Python that can load {name}; give {name}=PATH of one")


def parse_options(given: Sequence[str], used: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """``pytorch.compile=yes`` and its like as sorted pairs ("pytorch.compile", "yes"), without those that are defaults.

    Raises:
        UserError: no such option or value, an engine that is not ``used``, or one option twice.
    """
    found: dict[str, str] = {}
    known = {f"{name}.{option.name}": option for name in used for option in get(name).options}
    for text in given:
        name, _, value = (part.strip() for part in text.partition("="))
        if name not in known:
            raise UserError(f"--engine-option: unknown option {name!r} of --engine {','.join(used)}; "
                            + (did_you_mean(name, known) if known else "it has none"))  # fmt: skip
        if value not in known[name].choices:
            hint = did_you_mean(value, known[name].choices)
            raise UserError(f"--engine-option: {name}={value!r} is not possible; {hint}")
        if found.setdefault(name, value) != value:
            raise UserError(f"--engine-option: {name} is given twice; give it once")
    return tuple(sorted((name, value) for name, value in found.items() if value != known[name].choices[0]))
