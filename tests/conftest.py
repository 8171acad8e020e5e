"""What all tests share.

With NST_GLUON_TEST_WITHOUT_ENGINE=1 (tox's noengine environments) every test that needs an engine is skipped, and
says so. Without it a missing engine is a failure: CI must not turn green by testing nothing.
"""

from __future__ import annotations

import importlib.abc
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy_net
from hypothesis import settings
from PIL import Image

os.environ.setdefault("MPLBACKEND", "Agg")

# What a shell's background jobs and nohup ignore, so would the programs that the tests start: undo that for them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

from nst_gluon.cli import console
from nst_gluon.descriptor import weights as vgg_weights
from nst_gluon.nets import netfile
from nst_gluon.system import runtime

runtime.prepare()

# The random tests try the same cases every time; `tox -e fuzz` has them search.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("search" if os.environ.get("NST_GLUON_FUZZ") else "same")

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_ENGINE = os.environ.get("NST_GLUON_TEST_WITHOUT_ENGINE") == "1"

# What the test suite puts before a program that must see no engine, installed or not.
ENGINES = ("mxnet", "torch", "onnxruntime", "openvino", "onnx")
BLOCK_ENGINE = f"""
import sys
class _NoEngine:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {ENGINES}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, _NoEngine)
"""


class _SkipEngine(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in (*ENGINES, "nst_gluon.system.engine"):
            pytest.skip(f"needs {name}", allow_module_level=True)


if WITHOUT_ENGINE:
    sys.meta_path.insert(0, _SkipEngine())


def pip(*arguments: object) -> None:
    words = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def python():
    """Run a program in a fresh interpreter: ``python(code, engine=True, **variables)``."""

    def run(code: str, engine: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in os.environ.items()
                     if name not in (*runtime.ENVIRONMENT, "OMP_NUM_THREADS")}  # fmt: skip
        return subprocess.run(
            [sys.executable, "-c", code if engine else BLOCK_ENGINE + code], env={**variables, **environment}, cwd=ROOT,
            capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The suite's wheel, built from a copy of this folder: building leaves files behind."""
    versions = [runtime.installed_version(name) for name in ("pip", "setuptools")]
    if None in versions or int(versions[1].split(".")[0]) < 64:
        pytest.skip("building needs pip and setuptools 64")
    source = tmp_path_factory.mktemp("source")
    for name in ("bench", "nst_gluon"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", source, source)
    (found,) = source.glob("*.whl")
    return found


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty working folder, and no NVIDIA driver."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime, "gpu_devices", lambda: [])


@pytest.fixture
def results_script(monkeypatch):
    """Imports a script of a folder of results, until the end of the test: ``results_script("textures", "draws")``."""
    known = set(sys.modules)

    def find(folder: str, name: str):
        monkeypatch.syspath_prepend(str(ROOT / "results" / folder))
        return importlib.import_module(name)

    yield find
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "results")):
            del sys.modules[name]


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Runs the main of a script: ``run_script(module, *arguments)`` -> (status, standard output, error lines)."""

    def run(module, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
        status = console.run(module.main)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def bfloat16_processor():
    """Skips a test on a processor without bfloat16."""
    if not runtime.cpu_supports_bfloat16():
        pytest.skip("needs a processor with bfloat16")


@pytest.fixture(scope="session")
def vgg16():
    """VGG-16's shapes with random weights."""
    return vgg_weights.random_weights("vgg16", seed=16)


@pytest.fixture(scope="session")
def vgg19():
    """VGG-19's shapes with random weights."""
    return vgg_weights.random_weights("vgg19", seed=19)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def rgb(rng):
    """A picture of 8-bit noise, 9 high and 13 wide, in which no symmetry hides a mistake."""
    return rng.integers(0, 256, (9, 13, 3), dtype=np.uint8)


@pytest.fixture
def picture(tmp_path):
    """Write a picture of smooth colours with some noise: ``picture(name, height, width)`` -> its path."""

    def make(name: str = "picture.png", height: int = 48, width: int = 48) -> Path:
        y, x = np.mgrid[:height, :width] / max(height, width)
        colours = np.stack([x, y, 1 - x * y], -1) * 200
        noise = np.random.default_rng(height * width).random((height, width, 3)) * 55
        Image.fromarray((colours + noise).astype(np.uint8)).save(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def net(tmp_path):
    """Write a net of random parameters of a method and task: ``net(method, task)`` -> its path."""

    def make(method: str, task: str):
        return netfile.save(tmp_path / f"{method}-{task}.npz", *toy_net.trained(method, task))

    return make


@pytest.fixture
def ctrl_c(monkeypatch):
    """Press Ctrl-C at a net's so-manieth picture: ``ctrl_c(at)``."""

    def press(at: int) -> None:
        from nst_gluon.nets.trained_net import TrainedNet

        generate, calls = TrainedNet.generate, []

        def interrupted(*arguments, **options):
            calls.append(1)
            if len(calls) == at:
                raise KeyboardInterrupt
            return generate(*arguments, **options)

        monkeypatch.setattr(TrainedNet, "generate", interrupted)

    return press


@pytest.fixture
def refused(capsys, tmp_path):
    """Run a command line that must be refused: returns its line, and sees that nothing was written."""

    from nst_gluon.cli.main import main

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def run(*arguments: str, status: int = console.MISUSED) -> str:
        before = files()
        assert main(arguments) == status
        captured = capsys.readouterr()
        lines = captured.err.splitlines()
        assert captured.out == "" and len(lines) == 1 and lines[0].startswith("error: "), captured
        assert files() == before
        return lines[0][len("error: ") :]

    return run
