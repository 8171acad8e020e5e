"""Reports of runs over several styles, and of textures alone, from committed runs."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.analysis.analysed import Analysed, analyse
from bench.plan.cells import parts_of
from bench.report import document, figure, headline, index, judges, notes, pictures, plots, referee, repeat
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
    assert {style for style, _, _ in of_net} == names and len(of_net) == 17
    terms = [plot.name for plot in plots.term_plots(styles)]
    assert len(terms) == len(set(terms)) == len(styles.run.cells[["style_name", "task", "size"]].drop_duplicates())


def test_the_headline_tells_sizes_apart_and_how_many_styles_are_above_the_floor(styles):
    """Its median is over all styles: the floor, which fewer pass at the larger size, does not choose among them."""
    rows = styles.speedups()
    textures, said = rows[rows["task"] == "texture"], headline.of_run(styles)
    for size, group in textures.groupby("size"):
        median, least, most = (round(number) for number in np.quantile(group["value"], [0.5, 0, 1]))
        over = f"median over 6 styles, {group['fine'].sum()} of them above the quality floor"
        assert f"{median:,}× faster at {size} pixels ({over}; {least:,}× to" in said
        assert most < 1000 or f"{round(most, -1):,}×)" in said
    assert sorted(textures.groupby("size")["fine"].sum()) == [2, 5] and "cells" not in said
    told = dict(headline.facts(styles))["Below the quality floor"]
    assert "the texture network (texture, auvers; brick, grass and gravel at 512 pixels)" in told
    assert "the coarse net (stylisation) and" not in told and "coarse net (stylisation)" in told


def test_the_referees_page_names_the_departures(styles):
    (departures,) = (line for line in referee.items(styles) if line.startswith("Departures "))
    for what in ("weights are rounded to 8 bits", "on few photos", "has 32 channels", "where the paper's has VGG-16"):
        assert what in departures


def test_the_command_of_a_number_has_its_style_alone(styles):
    cell = next(record for record in styles.run.records if record["style_name"] == "brick")
    words = repeat.command(styles.run.meta, [cell])
    assert "--style brick " in words and "auvers" not in words


def test_styles_whose_names_come_out_alike_have_files_of_their_own():
    setting = {"engine": "gluon", "task": "texture", "size": 256, "dtype": "float32", "device": "cpu"}
    named = {name: plots.loss_name({"style_name": name, **setting})
             for name in ("a_b", "a b", "A_b", "a__b", "北斎", "神奈川", "w" * 90 + "1", "w" * 90 + "2")}  # fmt: skip
    assert named["a_b"] == "loss-a-b-gluon-texture-256-float32-cpu"
    assert len(set(named.values())) == len(named)
    assert all(re.fullmatch(r"[a-z0-9-]{1,80}", name) for name in named.values())


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
    marks = plots.over_styles(textures).to_dict("records")
    assert [mark["size"] for mark in marks] == [256, 512]
    for mark in marks:
        values = textures.loc[textures["size"] == mark["size"], "value"]
        assert (mark["value"], mark["low"], mark["high"]) == (values.median(), values.min(), values.max())
    with style.context():
        drawn = list(plots.size_plots(styles))
    assert all("Medians over styles" in plot.caption and "left out" not in plot.caption for plot in drawn)


def test_a_style_that_failed_is_left_out_of_a_median_and_bounds_nothing(styles):
    table = styles.summary.copy()
    table = table[table["size"] == 256]
    speedups = (table["metric"] == "speedup_at_equal_loss") & (table["task"] == "texture")
    failed = speedups & (table["style_name"] == "brick")
    table.loc[failed, ["value", "low", "high", "status"]] = [math.nan, math.nan, math.nan, "error"]
    (one,) = plots.over_styles(table[speedups]).to_dict("records")
    others = table[speedups & ~failed]
    assert (one["value"], one["status"], one["n"]) == (others["value"].median(), "ok", len(others))
    table.loc[speedups, ["value", "status"]] = [math.nan, "error"]
    (none,) = plots.over_styles(table[speedups]).to_dict("records")
    assert math.isnan(none["value"]) and none["status"] == "error"
    table.loc[speedups & ~failed, ["value", "status"]] = others[["value", "status"]]
    with style.context():
        drawn = {plot.name: plot for plot in plots.size_plots(dataclasses.replace(styles, summary=table))}
    plot = drawn["speedup-at-equal-loss"]
    assert "Styles that failed are left out." in plot.caption and "texture network at 256: ≥" not in plot.alt


# ------------------------------------------------------------------------------------------------------------- photos


def test_what_stands_under_a_picture_is_of_its_photo(styles):
    """The optimisation of the first photo took 17 evaluations; with its two others it took 42."""
    record = next(one for one in styles.run.records if one["key"].startswith("great_wave-gluon-gatys-stylize-"))
    assert (record["evaluations"], record["info"]["evaluations"]) == (42, 17)
    shown = [picture.note for picture in pictures.outputs(styles) if "-gatys-stylize-256" in picture.path]
    assert shown == ["stylisation, 256 × 256, objective 239.9, 17 evaluations"]
    _, photo = pictures.side_by_side(styles)
    assert "17 evaluations" in photo.optimised.alt and "42" not in photo.optimised.alt
    assert photo.made.note == "objective 246.8 (median over photos 401.3), 10.1 ms"
    texture, _ = pictures.side_by_side(styles)
    assert "(median of all draws " in texture.made.note
    row = figure.lay_out([styles], "stylize").rows[0]
    assert row[1].lines[0] == "14.6 s, 17 evaluations"


def test_a_loss_plot_names_its_photo(styles):
    with style.context():
        drawn = {plot.name: plot for plot in plots.loss_plots(styles)}
    plot = drawn["loss-great-wave-gluon-stylize-256-float32-cpu"]
    assert "of the photo astronaut, one of 8," in plot.caption and "photo astronaut, one of 8: " in plot.alt
    assert not any("photo" in drawn[name].caption + drawn[name].alt for name in drawn if "texture" in name)


def test_starts_are_counted_for_each_photo(styles):
    (design,) = (line for line in referee.items(styles) if line.startswith("Repeated: "))
    assert "1 start of optimisation for each of 8 photos, which are dealt out to 3 processes" in design
    assert "3 starts of optimisation for each texture" in design and "Where a photo has one start" in design
    (warning,) = (line for line in document.warnings(styles) if "one start" in line)
    assert "--budget full" in warning
    rows = styles.summary[styles.summary["style_name"] == "great_wave"]
    of_photos = rows[(rows["task"] == "stylize") & rows["metric"].isin(["break_even_gatys", "speedup_at_equal_loss"])]
    assert len(of_photos) == 16 and (of_photos["n"] == 8).all()
    for row in of_photos.to_dict("records"):
        assert any("part of what differs between photos" in text for text in notes.texts_of(row, styles, []))
    rows = rows[rows["size"] == 256]
    (plain,) = rows[(rows["task"] == "texture") & (rows["metric"] == "break_even_gatys")].to_dict("records")
    assert not any("One start" in text for text in notes.texts_of(plain, styles, []))
    (lone,) = rows[(rows["task"] == "texture") & (rows["metric"] == "break_even_net_gatys")].to_dict("records")
    assert any("optimisation was run once" in text for text in notes.texts_of(lone, styles, []))


def test_starts_that_make_every_photo_are_enough(styles):
    again = styles.run.curves.assign(seed=styles.run.curves["seed"] + 10)
    meta = {**styles.run.meta, "budget": {**styles.run.meta["budget"], "crossed": True}}
    run = dataclasses.replace(styles.run, curves=pd.concat([styles.run.curves, again]), meta=meta)
    crossed = dataclasses.replace(styles, run=run)
    (design,) = (line for line in referee.items(crossed) if line.startswith("Repeated: "))
    assert "2 starts of optimisation for each of 8 photos;" in design and "one start" not in design
    assert not any("one start" in line for line in document.warnings(crossed))


def test_the_list_of_runs_names_every_style():
    what = {line.name: line.what for line in index.lines(REFERENCE.parent)}
    assert what["styles"].endswith("styles great_wave, auvers, moulin_de_la_galette, brick, gravel and grass")
    assert what["reference"].endswith(", style great_wave")
