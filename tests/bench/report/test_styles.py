"""Reports of runs over several styles, and of textures alone, from committed runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.analysis.analysed import Analysed, analyse
from bench.plan.cells import parts_of
from bench.report import headline, judges, plots, referee, repeat
from bench.store.reader import read_run
from nst_gluon.pages import style

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"


@pytest.fixture(scope="module")
def styles() -> Analysed:
    """The committed run over styles and photos."""
    return analyse(read_run(REFERENCE.parent / "styles"))


def test_styles_are_kept_apart(styles):
    names = set(styles.run.cells["style_name"])
    table = referee.over_styles(styles)
    counted = {(row[0].text, row[2].text.split(",")[0]): int(row[3].text) for row in table.rows}
    assert counted["texture", "texture network"] == 6 and counted["stylisation", "slim Johnson net"] == 3
    of_net = {parts_of(use) for use in styles.run.meta["inputs"]["nets"]}
    assert {style for style, _, _ in of_net} == names and len(of_net) == 11
    terms = [plot.name for plot in plots.term_plots(styles)]
    assert len(terms) == len(set(terms)) == len(set(zip(styles.run.cells["style_name"], styles.run.cells["task"])))


def test_the_command_of_a_number_has_its_style_alone(styles):
    cell = next(record for record in styles.run.records if record["style_name"] == "brick")
    words = repeat.command(styles.run.meta, [cell])
    assert "--style brick " in words and "auvers" not in words


def test_a_run_of_textures_has_no_photo():
    found = analyse(read_run(REFERENCE.parent / "figure" / "run"))
    assert "photo" not in headline.subject(found) and not any("photo (" in line for line in referee.items(found))


def test_what_chance_gives_is_no_agreement():
    row = {"metric": "judge_gram", "correlation": 0.5, "pictures": 3, "groups": 1, "least": 0.5, "most": 0.5}
    assert "cannot be told from chance" in judges.sentence(row)
    assert "mostly agrees" in judges.sentence({**row, "pictures": 30})


def test_a_plot_has_one_mark_for_a_method_whatever_the_styles(styles):
    rows = styles.rows("speedup_at_equal_loss")
    textures = rows[rows["task"] == "texture"]
    (one,) = plots.over_styles(textures).to_dict("records")
    assert (one["value"], one["low"], one["high"]) == (
        textures["value"].median(), textures["value"].min(), textures["value"].max()
    )  # fmt: skip
    with style.context():
        assert all("Medians over styles" in plot.caption for plot in plots.size_plots(styles))
