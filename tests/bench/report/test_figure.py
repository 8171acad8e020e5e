"""The figure has a row for each style and a column for each method, whatever the runs have."""

from __future__ import annotations

import json

import pytest
from synthetic import make_run

from bench.analysis import summary
from bench.analysis.analysed import summarised
from bench.cli.main import main
from bench.report import figure
from bench.store.reader import read_run
from nst_gluon.system.errors import UserError


def change(path, name: str, edit) -> None:
    """Edit run.json, or each line of cells.jsonl, in place."""
    file = path / name
    lines = [json.loads(line) for line in file.read_text().splitlines()] if name == "cells.jsonl" else None
    if lines is None:
        found = json.loads(file.read_text())
        edit(found)
        file.write_text(json.dumps(found))
    else:
        for line in lines:
            edit(line)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of the wave, and one of gravel whose net failed."""
    made = [make_run(tmp_path_factory.mktemp(name), sizes=(256,), seeds=(0,)) for name in ("wave", "gravel")]
    change(made[1], "run.json", lambda meta: meta["settings"].update(style="gravel"))
    change(made[1], "cells.jsonl", lambda cell: cell.update(status="ok" if cell["method"] == "gatys" else "error"))
    return made


def laid_out(paths, *arguments):
    return figure.lay_out([summarised(run, summary.summarise_run(run)) for run in map(read_run, paths)], *arguments)


def test_styles_are_down_and_methods_across(runs):
    found = laid_out(runs, "texture")
    assert found.size == 256 and found.columns == ("style", "optimisation", "texture network")
    assert [row[0].lines for row in found.rows] == [("great wave",), ("gravel",)]
    wave, gravel = found.rows
    assert wave[1].lines[2] == "no training" and wave[2].file.is_file()
    assert gravel[1].file.is_file() and gravel[2].file is None
    titles = ("photo and style", "optimisation", "Johnson net", "texture network")
    assert laid_out(runs[:1], "stylize").columns == titles
    with pytest.raises(UserError, match="--size: no picture of 128; the runs have 256"):
        laid_out(runs, "texture", 128)


def test_a_name_may_have_a_comma(tmp_path):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,))
    change(path, "run.json", lambda meta: meta["settings"].update(style="wall, grey"))
    assert laid_out([path], "stylize").rows[0][0].lines == ("astronaut", "as wall, grey")
    assert laid_out([path], "texture").rows[0][0].lines == ("wall, grey",)


def test_a_net_to_start_from_that_is_no_name_is_damage(tmp_path, capsys):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), pictures=False)
    change(path, "cells.jsonl", lambda cell: cell.setdefault("info", {}).update(start_net=5))
    assert main(["figure", str(path), "--to", str(tmp_path / "made")]) == 2
    assert "start_net is a whole number, not a text" in capsys.readouterr().err


def test_the_command_draws_it(runs, tmp_path, capsys):
    assert main(["figure", *map(str, runs), "--to", str(tmp_path / "made"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["columns"] == ["style", "optimisation", "texture network"] and len(found["rows"]) == 2
    svg = (tmp_path / "made" / "figure-texture.svg").read_text()
    assert svg.count("data:image/jpeg;base64") == 5 and "image/png" not in svg
    assert (tmp_path / "made" / "figure-texture.png").read_bytes().startswith(b"\x89PNG")
