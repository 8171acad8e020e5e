"""Every help text of ``python -m bench`` has an example, and every example does what it says.

The cells of ``run`` are measured by fake workers here (tests/test_end_to_end.py has real ones); what would take minutes
besides is parsed and planned only, with the reason below.
"""

from __future__ import annotations

import argparse
import functools
import glob
import json
import shlex
import shutil
from pathlib import Path

import pytest
from drive import INPUTS
from plans import fake_command
from synthetic import make_run

from bench import report
from bench.analysis import roofline
from bench.cli import compare, main
from bench.machine import doctor
from bench.plan import engines
from bench.run import session
from bench.store import run_folder

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"
MEASURES = "measures for minutes; tests/test_compare.py measures with invented workers, .ci/run really"
PLANNED = {
    "compare HEAD~1 HEAD": MEASURES,
    "compare main . --method texture_net --size 256 --time 120": MEASURES,
    "selftest --method texture_net --task texture --time 120": "two minutes; tests/test_readme.py runs a shorter one",
    "parity --engine gluon,pytorch --content photo.jpg --size 256": "tests/test_parity.py and .ci/run, smaller",
    "article d2l": "a quarter of an hour; tests/bench/engines/test_article.py does a few steps of it",
    "article keras --weights vgg16.h5": "the same",
    "judge latest": "tests/test_end_to_end.py judges a run that has pictures",
    "judge results/2030*": "the same",
    "roofline --threads 2": "keeps both cores busy for half a minute; tests/test_roofline.py measures less",
}


def parsers(top: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser and those of its subcommands, all the way down."""
    below = [
        found for action in top._actions if isinstance(action, argparse._SubParsersAction)
        for found in action.choices.values()
    ]  # fmt: skip
    return [top, *(deeper for found in below for deeper in parsers(found))]


def examples_of(parser: argparse.ArgumentParser) -> list[str]:
    start = "python -m bench "
    lines = [line.strip() for line in (parser.epilog or "").splitlines()[1:]]
    assert all(line.startswith(start) for line in lines), lines
    return [line[len(start) :] for line in lines]


PARSERS = parsers(main.parser())
EXAMPLES = list(dict.fromkeys(example for parser in PARSERS for example in examples_of(parser)))


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_every_help_has_an_example_of_its_own_and_fits_a_terminal(parser, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text, examples = parser.format_help(), examples_of(parser)
    assert examples and all(example in text for example in examples)
    own = parser.prog.split()[3:]
    assert all(example.split()[: len(own)] == own for example in examples)
    arguments = [action for action in parser._actions if not isinstance(action, argparse._SubParsersAction)]
    assert all(action.help for action in arguments)
    assert max(map(len, text.splitlines())) <= 120
    assert "\n" not in (parser.description or ""), "prose is wrapped to the terminal, not by hand"


def test_what_is_only_planned_is_still_an_example():
    assert set(PLANNED) <= set(EXAMPLES)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in; cells are measured by fake workers, and nothing opens a browser."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines.Engine, "installed", lambda self: True)
    monkeypatch.setattr(session, "make_report", lambda path: str(path / "report.html"))
    monkeypatch.setattr(session, "judge_pictures", lambda path: None)
    monkeypatch.setattr(
        main.session, "How", functools.partial(session.How, command=fake_command(), ask=lambda *arguments: INPUTS)
    )
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    return tmp_path


def prepare(words: list[str], folder: Path, monkeypatch) -> None:
    """Make what an example speaks of: runs, a baseline, the machine's peaks."""
    results = folder / "results"
    if words[0] == "merge":
        monkeypatch.setattr(report, "build", lambda path: path / "report.html")
        for index, name in enumerate(words[1:3], 1):
            shard = ["--shard", f"{index}/2"]
            assert main.main(["run", "--size", "64", "--batch", "1", "--out", str(folder / "made"), *shard, "-q"]) == 0
            (made,) = run_folder.list_runs(folder / "made")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            made["path"].rename(folder / name)
    elif words[0] == "run":
        if "--resume" in words:
            assert main.main(["run", "--method", "gatys", "--size", "64", "-q"]) == 0
    elif words[:2] == ["roofline", "--run"]:
        shutil.copytree(REFERENCE, results / "reference")
    else:
        names = ["20300101T120000Z-1a2b", "20300102T120000Z-3c4d"] if "results/2030*" in words else ["reference"]
        for name in names:
            made = make_run(results, sizes=(64,), seeds=(0,), batches=(1,), pictures=False)
            made.rename(results / name)
    if "nightly" in words or words[:2] == ["baseline", "list"]:
        assert main.main(["baseline", "save", "nightly", "latest"]) == 0
    if words[:2] == ["roofline", "--run"]:
        peaks = {"flops_per_s": {"float32": 1e11, "bfloat16": 2e11}, "bytes_per_s": 1e10}
        path = roofline.path_of(results, run_folder.read_run(results / "reference")["fingerprint"])
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(peaks))


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example not in PLANNED])
def test_every_example_runs(example, folder, monkeypatch, capsys):
    words = shlex.split(example)
    monkeypatch.setattr(doctor, "probe_engine", lambda: {"version": "1.9.1", "computes": True})
    prepare(words, folder, monkeypatch)
    capsys.readouterr()
    words = [path for word in words for path in (sorted(glob.glob(word)) or [word] if "*" in word else [word])]
    assert main.main(words) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert said.out.strip() and "error" not in said.err
    if "--json" in words:
        assert isinstance(json.loads(said.out), dict)
    elif words[0] in ("report", "roofline"):
        assert Path(said.out.strip().splitlines()[-1].split(": ")[-1]).is_file()


@pytest.mark.parametrize("example", PLANNED)
def test_every_example_that_would_take_minutes_can_be_planned(example, folder):
    options = main.parser().parse_args(shlex.split(example))
    if options.command in ("compare", "selftest"):
        assert compare.plan_of(options).cells and compare.time_limit(options) >= 120
