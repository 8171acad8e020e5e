"""The wheel in an empty environment and an empty folder: every command works without the source beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import pip

import nst_gluon

WITH_ENGINE = os.environ.get("NST_GLUON_TEST_WITHOUT_ENGINE") != "1"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory, wheel) -> Path:
    """An environment with the wheel and, behind it, the packages that the tests run with; its folder of programs."""
    place = tmp_path_factory.mktemp("wheel")
    assert wheel.name.startswith(f"nst_gluon-{nst_gluon.__version__}-py3")
    venv.create(place / "env", with_pip=False, symlinks=True)
    (packages,) = (place / "env" / "lib").glob("python*/site-packages")
    # Plain paths: what these folders install by .pth files, such as this very source, is not seen.
    (packages / "behind.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    programs = place / "env" / "bin"
    pip("--python", programs / "python", "install", "--no-deps", "--no-index", wheel)
    return programs


@pytest.fixture
def command(environment, tmp_path):
    """Run a program of the environment in an empty folder; its standard output."""

    def run(name: str, *arguments: str) -> str:
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [str(environment / name), *arguments], cwd=tmp_path, env=variables, capture_output=True, text=True,
            timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
        return done.stdout

    return run


def test_both_packages_are_those_of_the_wheel(command, environment):
    where = command("python", "-c", "import nst_gluon, bench; print(nst_gluon.__file__); print(bench.__file__)")
    assert all(line.startswith(str(environment.parent)) for line in where.split())


def test_what_needs_no_engine(command):
    assert command("nst-gluon", "--version").strip() == nst_gluon.__version__
    assert "great_wave" in command("nst-gluon", "list")
    assert command("nst-bench", "list", "methods") == command("python", "-m", "bench", "list", "methods")
    assert json.loads(command("nst-bench", "list", "styles", "--json"))["styles"]


@pytest.mark.skipif(not WITH_ENGINE, reason="needs an engine")
def test_pictures_and_nets(command, tmp_path):
    command("nst-gluon", "texture", "--size", "64", "--output", "waves.png")
    command("nst-gluon", "train", "brick", "--task", "texture", "--iterations", "2", "--size", "32", "--random-weights")
    command("nst-gluon", "texture", "--net", "brick-texture_net-texture.npz", "--size", "64", "--output", "brick.png")
    assert {"waves.png", "brick.png", "brick-texture_net-texture.html"} <= {path.name for path in tmp_path.iterdir()}
    command("nst-bench", "doctor")


@pytest.mark.skipif(not WITH_ENGINE, reason="needs an engine")
def test_a_run_writes_into_the_folder_results(command, tmp_path):
    plan = ["--method", "texture_net", "--task", "texture", "--size", "64", "--batch", "1", "--budget", "quick"]
    page = Path(command("nst-bench", "run", *plan, "--random-weights", "-q").strip())
    assert (tmp_path / page).is_file() and [path.name for path in tmp_path.iterdir()] == ["results"]
    assert "unfinished" not in command("nst-bench", "list", "runs")
    command("nst-bench", "report", "latest")
