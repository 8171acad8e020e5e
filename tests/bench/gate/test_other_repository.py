"""The gate in a repository that is not the suite's: methods of its own, real processes, the suite from its wheel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_methods
from conftest import pip

from bench.cli import main
from bench.gate import guest
from bench.plan import outside

METHOD = '''"""A method of somebody's own."""

from nst_gluon.methods import Optimiser

import steps


class Mine(Optimiser):
    """Follows the sign of the gradient."""

    name = "mine"
    tasks = ("texture",)

    def descend(self, problem):
        picture = problem.start()
        while True:
            _, gradient = problem.evaluate(picture)
            picture = steps.step(picture, gradient)
'''
STEPS = '''"""Imported by mine.py: it must come from the same revision."""

import numpy as np


def step(picture, gradient):
    smooth = gradient.astype("float32")
    for _ in range({passes}):
        spectrum = np.fft.rfft2(np.tile(smooth, (1, 1, 4, 4)))
        smooth = 0.5 * smooth + 0.5 * np.fft.irfft2(spectrum)[:, :, : smooth.shape[2], : smooth.shape[3]]
    return np.clip(picture - 0.02 * np.sign(smooth), 0.0, 1.0).astype("float32")
'''
SETTINGS = """[nst-gluon:compare]
method = mine.py:Mine
task = texture
size = 32
threads = 1
random-weights = true
time = {time}
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory, wheel) -> dict[str, str]:
    """The environment of a Python that has the suite from its wheel, and not from this folder."""
    site = tmp_path_factory.mktemp("site")
    pip("install", "--no-deps", "--no-index", "--target", site, wheel)
    found = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    where = [sys.executable, "-c", "import bench, nst_gluon; print(bench.__file__, nst_gluon.__file__)"]
    told = subprocess.run(where, env=found, cwd=site.parent, capture_output=True, text=True, check=True)
    assert all(str(site) in path for path in told.stdout.split())
    return found


def test_what_lies_in_the_repository_is_taken_from_the_checkout_and_nothing_else(tmp_path):
    origin, checkout = tmp_path / "origin", tmp_path / "checkout"
    for path in (origin / "a.npz", origin / "untracked.npz", checkout / "a.npz"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    nets = [("m/texture", str(origin / "a.npz")), ("n/texture", str(origin / "untracked.npz")),
            ("o/texture", "bundled:x.npz"), ("p/texture", str(tmp_path / "elsewhere.npz"))]  # fmt: skip
    known = [("m", f"{origin / 'lib' / 'm.py'}:M"), ("n", "package.module:N"), ("o", "/somewhere/else.py:O")]
    moved = guest.at(checkout, origin, {"settings": {"nets": nets, "methods": known}})["settings"]
    assert moved["nets"] == [("m/texture", str(checkout / "a.npz")), *nets[1:]]
    assert moved["methods"] == [("m", f"{checkout / 'lib' / 'm.py'}:M"), *known[1:]]


def test_packages_below_src_are_the_checkout_s_too(tmp_path):
    assert str(tmp_path / "src") not in guest.command(tmp_path, {"settings": {}})
    (tmp_path / "src").mkdir()
    words = guest.command(tmp_path, {"settings": {}})
    assert words.index(str(tmp_path / "src")) < words.index(str(tmp_path))


def test_a_checkout_comes_after_the_standard_library_and_before_what_is_installed():
    found = guest.search(sys.path, ["/checkout"])
    standard, installed = Path(subprocess.__file__).parent, Path(pytest.__file__).parents[1]
    assert found.index(str(standard)) < found.index("/checkout") < found.index(str(installed))
    assert sorted(found) == sorted([*sys.path, "/checkout"])


class Repository:
    """Somebody's repository; its name has what paths may have."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder, self.environment = folder, environment
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch", "master")
        self.git("config", "user.name", "t")
        self.git("config", "user.email", "t@example.invalid")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", "-C", str(self.folder), *words], check=True, capture_output=True, text=True)
        return done.stdout

    def commit(self, message: str, **files: str) -> None:
        for name, text in files.items():
            (self.folder / f"{name}.py").write_text(text, encoding="utf-8")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", message)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "bench", "compare", *words, "--json", "--out", str(self.folder.parent / "out")]

    def compare(self, *words: str) -> tuple[int, dict, str]:
        done = subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr

    def worktrees(self) -> list[str]:
        return self.git("worktree", "list", "--porcelain").strip().split("\n\n")


@pytest.fixture
def repository(tmp_path, environment) -> Repository:
    found = Repository(tmp_path / "somebody's méthods", environment)
    (found.folder / "setup.cfg").write_text(SETTINGS.format(time=240))
    found.commit("first", mine=METHOD, steps=STEPS.format(passes=60))
    return found


@pytest.mark.slow
def test_a_slower_commit_is_red_and_a_comment_is_not(repository):
    # So slow that no shared machine hides it: results/gate has trials of 15 %.
    repository.commit("slower", steps=STEPS.format(passes=600))
    status, slower, said = repository.compare("HEAD~1", "HEAD", "--metric", "iteration_s")
    (row,) = slower["rows"]
    assert (status, row["verdict"]) == (1, "slower"), (row, said)
    assert row["cell"] == "mine texture 32" and row["ratio"] > 1.2
    repository.commit("a comment", mine=METHOD + "# A remark.\n")
    status, same, said = repository.compare("HEAD~1", "HEAD", "--metric", "iteration_s,peak_memory_bytes")
    assert status == 0 and "slower" not in {row["verdict"] for row in same["rows"]}, said
    assert len(repository.worktrees()) == 1 and repository.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_a_generator_has_its_net_from_its_own_revision(repository):
    toy_methods.write(repository.folder)
    train = ["nst_gluon", "train", "great_wave", "--method", "toys.py:ToyNet", "--iterations", "2", "--size", "32",
             "--random-weights", "--threads", "1", "--output", "nets", "-q"]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", *train], cwd=repository.folder, env=repository.environment,
                          capture_output=True, text=True, check=True)  # fmt: skip
    net = done.stdout.strip()
    repository.commit("a net")
    (repository.folder / net).write_bytes((repository.folder / net).read_bytes()[:100])
    repository.commit("a damaged net")
    repository.git("checkout", "--quiet", "HEAD~1")
    words = ("--method", "toys.py:ToyNet", "--task", "stylize", "--net", net, "--time", "1")
    status, result, said = repository.compare("HEAD", "HEAD", *words)
    assert (status, result["failures"], result["rounds"]) == (0, [], 1), said
    status, result, said = repository.compare("HEAD", "master", *words)
    assert status == 2 and [failure["side"] for failure in result["failures"]] == ["candidate"], (result, said)


@pytest.mark.slow
def test_a_candidate_that_breaks_is_a_failed_cell(repository):
    repository.commit("broken", steps="raise ImportError('not today')\n")
    repository.commit("whole again", steps=STEPS.format(passes=60))
    status, result, _ = repository.compare("HEAD~2", "HEAD~1")
    assert status == 2 and "not today" in result["failures"][0]["reason"]
    assert result["failures"][0]["side"] == "candidate"


@pytest.mark.slow
def test_a_working_tree_that_hangs_is_one_line(repository, monkeypatch, capsys):
    repository.commit("hangs", steps="import time\ntime.sleep(1000)\n")
    monkeypatch.setattr(outside, "IMPORT_S", 5.0)
    monkeypatch.chdir(repository.folder)
    assert main.main(["compare", "HEAD~1", "HEAD", "--out", str(repository.folder.parent)]) == 2
    assert capsys.readouterr().err.splitlines() == ["error: --method: the import took more than 5 s; it was ended"]


@pytest.mark.slow
def test_what_cannot_be_compared_is_status_3(repository):
    repository.git("mv", "mine.py", "other.py")
    repository.commit("moved")
    status, result, _ = repository.compare("HEAD~1", "HEAD", "--method", "other.py:Mine")
    assert status == 3 and "has no other.py" in result["warnings"][0]


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_ended_comparison_leaves_nothing_behind(repository, tmp_path, number, status):
    folders = tmp_path / "tmp"
    folders.mkdir()
    environment = {**repository.environment, "TMPDIR": str(folders)}
    repository.commit("second", mine=METHOD + "# Again.\n")
    with subprocess.Popen(
        repository.command("HEAD~1", "HEAD"), cwd=repository.folder, env=environment, stderr=subprocess.DEVNULL
    ) as running:
        while not list(tmp_path.glob("out/comparisons/*/logs/*")) and running.poll() is None:
            time.sleep(0.05)
        before = len(repository.worktrees())
        running.send_signal(number)
        assert running.wait(60) == status
    assert before == 3
    if number == signal.SIGKILL:
        assert len(repository.worktrees()) == 3
        words = repository.command("HEAD~1", "HEAD", "--time", "1", "--metric", "peak_memory_bytes")
        subprocess.run(words, cwd=repository.folder, env=environment, capture_output=True, check=False)
    else:
        assert not list(tmp_path.glob("out/comparisons/*"))
    assert len(repository.worktrees()) == 1 and not list(folders.iterdir())
    assert not workers_in(folders)


def workers_in(folder: Path) -> list[str]:
    """Command lines of processes that name ``folder``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found
