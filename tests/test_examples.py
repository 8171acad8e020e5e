"""The example in each help text of ``python -m nst_gluon``: it works as printed, but for fewer pixels and steps."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

import pytest
from plans import run_module

from nst_gluon.cli.main import build_parser

# What makes an example affordable, appended where the command has the options. The last one of each counts.
SHORTER = {"train": ["--iterations", "2", "--size", "64"], "stylize": ["--size", "64"], "texture": ["--size", "64"],
           "score": ["--size", "64"]}  # fmt: skip


def parsers() -> Iterator[argparse.ArgumentParser]:
    """The parser of ``python -m nst_gluon`` and those of its commands."""
    top = build_parser()
    yield top
    yield from next(a for a in top._actions if isinstance(a, argparse._SubParsersAction)).choices.values()


def examples() -> list[str]:
    """The command lines below "example:" or "examples:" in every help text."""
    found = []
    for parser in parsers():
        heading, *lines = parser.epilog.splitlines()
        assert heading in ("example:", "examples:") and lines, parser.prog
        found += [line.strip() for line in lines]
    return list(dict.fromkeys(found))


def test_every_command_has_an_example_of_its_own():
    commands = {shlex.split(example)[3] for example in examples()}
    assert commands == {parser.prog.split()[-1] for parser in parsers()} - {"nst_gluon"}


def test_help_fits_a_terminal_and_is_not_wrapped_by_hand(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    for parser in parsers():
        assert "\n" not in (parser.description or ""), parser.prog
        assert max(map(len, parser.format_help().splitlines())) <= 110, parser.prog


@pytest.mark.slow
@pytest.mark.parametrize("example", examples())
def test_the_example_works(tmp_path, example):
    pytest.importorskip("mxnet")
    for package in ("onnx", "onnxruntime") if "--format onnx" in example else ():
        pytest.importorskip(package)
    words = shlex.split(example)
    assert words[:3] == ["python", "-m", "nst_gluon"]
    done = run_module(*words[2:], *SHORTER.get(words[3], []), cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr, done.stderr
    if "--output" in words:
        assert (tmp_path / words[words.index("--output") + 1]).exists()
