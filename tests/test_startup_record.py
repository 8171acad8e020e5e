"""results/speed/startup.py: its commands are the suite's, each is timed in turns, and the record has what was timed."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nst_gluon.cli import console
from nst_gluon.cli.main import build_parser

SPEED = Path(__file__).resolve().parent.parent / "results" / "speed"


def test_whole_commands_are_timed_in_turns(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SPEED))
    startup = pytest.importorskip("startup")
    run, output = [], tmp_path / "s.csv"
    monkeypatch.setattr(startup, "subprocess", SimpleNamespace(run=lambda words, **options: run.append(words)))
    monkeypatch.setattr(sys, "argv", ["script", "--rounds", "2", "--output", str(output)])
    assert console.run(startup.main) == 0
    assert len(run) == 3 * len(startup.COMMANDS)  # the first round only brings files into memory
    for words in run:
        assert words[:3] == [sys.executable, "-m", "nst_gluon"] and build_parser().parse_args(words[3:]).run
    rows = list(csv.DictReader(output.open()))
    assert [row["command"] for row in rows] == [*startup.COMMANDS] * 2
    for name in ("startup", "peers"):
        sys.modules.pop(name, None)
