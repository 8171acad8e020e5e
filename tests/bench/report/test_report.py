"""Reports from invented runs: what they say, that they need nothing else, and that no name breaks out of its place."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from htmlpage import Page
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from synthetic import HOSTILE, make_run

from bench import report
from bench.analysis import claims, metrics
from bench.analysis.analysed import Analysed, analyse
from bench.report import document, markdown, pictures, plots, run_facts
from bench.report.wording import measured
from bench.store import run_folder
from bench.store.reader import read_run
from bench.store.run_folder import Store
from nst_gluon.pages import style, wording
from nst_gluon.system.errors import UserError

RESULTS = Path(__file__).resolve().parents[3] / "results"
REFERENCE = RESULTS / "reference"

def build(path: Path) -> Page:
    assert report.build(path) == path / "report.html"
    return Page((path / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs"), sizes=(256, 512, 1024), oom_at=1024)


@pytest.fixture(scope="module")
def page(run) -> Page:
    return build(run)


@pytest.fixture(scope="module")
def analysed(run) -> Analysed:
    return analyse(read_run(run))


@pytest.fixture(scope="module")
def made(analysed) -> document.Document:
    return document.make(analysed)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    path = make_run(tmp_path_factory.mktemp("runs"), sizes=(256,), seeds=(0,), hostile=True, random_weights=True)
    build(path)
    return path


# ---------------------------------------------------------------------------------------------------------- content


def test_first_screens_say_what_where_and_how_much(page, run):
    table = pd.read_csv(run / "summary.csv")
    rows = table[(table.metric == "speedup_at_equal_loss") & (table.task == "texture") & table.value.notna()]
    assert len(rows) >= 2
    each = [wording.quantity(value, "x") for _, value in sorted(zip(rows["size"], rows["value"]))]
    level, answer = page.headings[0]
    assert level == 1 and answer.startswith("At equal loss, the ")
    assert f"a texture {wording.listing(each)} faster" in answer and "(at 256 and 512 pixels)." in answer
    row = rows[rows["size"] == 256].iloc[0]
    assert f"{row.value:.0f}× [{row.low:.0f}, {row.high:.0f}]" in page.text
    assert "Example CPU 9000 <fast>, 2 cores, 25.0 GB, no GPU; MXNet 1.9.1" in page.text
    assert "one style, great_wave; one photo, astronaut" in page.text
    n = table[table.metric.isin(["latency_s", "iteration_s"]) & table.value.notna()].n
    assert f"times are medians of {n.min()} to {n.max()} samples; 3 seeds." in page.text
    names = [text for _, text in page.headings]
    order = ["Loss against time", "Side by side", "Texture, 256 × 256", "The papers' claims, checked", "Keep in mind"]
    assert [name for name in names if name in order] == order


def test_a_net_below_the_quality_floor_is_not_counted_in_the_first_sentence(tmp_path):
    run = read_run(make_run(tmp_path, sizes=(256,), seeds=(0,), pictures=False))
    steep = run.curves.assign(objective=run.curves["objective"].where(run.curves["iteration"] < 3, 1.0))
    poor = document.headline.of_run(analyse(dataclasses.replace(run, curves=steep)))
    assert poor.startswith("No net of this run is good enough to count: optimisation matches the best of them in ")


def test_every_row_of_the_summary_is_in_the_report(page, run):
    table = pd.read_csv(run / "summary.csv")
    for _, row in table.iterrows():
        assert measured(row["value"], row["unit"], row["status"]) in page.text
    full = sum(attributes.get("class") == "metric" for attributes in page.all("table"))
    assert full == table["metric"].map(lambda name: metrics.split(name)[0]).nunique()


def test_every_claim_is_there_with_its_verdict(page):
    for claim in claims.CLAIMS:
        assert claim.text in page.text
    for rule in (*claims.RULES.values(), *claims.EXCEPTIONS):
        assert rule in page.text


def test_failures_and_bounds_are_shown_with_their_reasons(page):
    assert "killed by the kernel: out of memory" in page.text
    assert "ended above the objective of the texture network: time limit" in page.text
    assert re.search(r"≥ \d+×", page.text)
    assert re.search(r"> [\d.]+ s \(not reached\)", page.text)


def test_every_metric_of_a_run_is_defined_and_linked(page, run):
    ids = {attributes.get("id") for _, attributes in page.elements}
    for metric in set(pd.read_csv(run / "summary.csv")["metric"]):
        assert f"def-{metrics.split(metric)[0]}" in ids, metric
    for name in metrics.METRICS:
        assert f"def-{name}" in ids
    for link in page.all("a"):
        inside = link["href"].startswith("#") and link["href"][1:] in ids
        assert inside or (run / link["href"]).is_file() or link["href"] in {paper.url for paper in claims.PAPERS}


def test_warnings_are_there(page):
    for text in ("machine was busy before the run", "ended before they reached a target", "uncommitted changes"):
        assert text in page.text


# ------------------------------------------------------------------------------------------------------------ form


def test_page_needs_nothing_from_anywhere(page, run):
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "xlink:href", "data", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/jpeg;base64,"))
    source = (run / "report.html").read_text(encoding="utf-8")
    outside = set(re.findall(r"https?://[^\s\"'<)]+", source))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink", *(p.url for p in claims.PAPERS)}
    assert "@import" not in source and not re.search(r"url\((?!#)", source)
    assert "default-src 'none'" in source
    assert len(source.encode()) < 4_000_000


def test_only_the_pages_own_script_may_run(page, run):
    source = (run / "report.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    assert source.count("<script") == 1 and page.all("script") == [{}]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert f"script-src 'sha256-{digest}'" in policy and "'unsafe-eval'" not in policy
    assert "unsafe-inline" not in policy.replace("style-src 'unsafe-inline'", "")


def test_all_rows_of_a_table_are_equally_long(made):
    shown = [made.claims, *(table for section in made.sections for table in (*section.tables, *section.folded))]
    assert len(shown) > 20
    for table in shown:
        assert {len(row) for row in table.rows} == {len(table.columns)} == {len(table.numeric)}


def test_plots_are_there_as_files_and_in_the_page(page, run):
    names = {path.stem for path in (run / "plots").glob("*.svg")}
    for ending in ("png", "pdf"):
        assert names == {path.stem for path in (run / "plots").glob(f"*.{ending}")}
    assert len([name for name in names if name.startswith("loss-")]) == 4
    assert len(names) == 4 + len(metrics.named(metrics.SIZE)) + 1 + 6 + 2  # a figure for each task
    assert len(page.all("svg")) == len(names)
    for path in (run / "plots").glob("*.svg"):
        ElementTree.parse(path)
    for path in (run / "plots").glob("*.png"):
        with Image.open(path) as opened:
            assert opened.width > 800


def test_plots_describe_themselves_in_words(made):
    drawn = {plot.name: plot for plot in made.plots}
    told = drawn["loss-gluon-stylize-512-float32-cpu"].alt
    assert "the Johnson net is at" in told and "not within" in told
    told = drawn["speedup-at-equal-loss"].alt
    assert "≥" in told and "out of memory" in told


@pytest.fixture(scope="module")
def figures(analysed) -> list[Figure]:
    """Every figure of two runs as it is when it is rendered: an invented one, and the committed reference."""
    found: list[Figure] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "render", lambda drawn: (found.append(drawn), ("<svg>", b"", b""))[1])
        with style.context():
            plots.draw_all(analysed)
            plots.draw_all(analyse(read_run(REFERENCE)))
    return found


def collisions(drawn: Figure) -> list[str]:
    """The texts inside axes that are written over something else."""
    renderer = FigureCanvasAgg(drawn).get_renderer()
    return [f"{text.get_text()!r} lies on {what}" for axes in drawn.axes for text in axes.texts if text.get_text()
            for what in style.under(axes, text, renderer)]  # fmt: skip


def test_labels_never_lie_on_curves(figures):
    """By the plots' own boxes: each text inside axes against the paths of all lines, and against other texts."""
    assert len(figures) > 20
    assert [words for drawn in figures for words in collisions(drawn)] == []
    written = sum(bool(text.get_text()) for drawn in figures for axes in drawn.axes for text in axes.texts)
    assert written >= 8, "the factors are written somewhere"


def test_axes_have_two_ticks_and_legends_are_short(figures):
    most = read_run(REFERENCE).cells["method"].nunique()  # each once, in two columns
    for drawn in figures:
        for legend in drawn.legends:
            named = [text.get_text() for text in legend.get_texts()]
            assert len(set(named)) == len(named) <= most <= 8
        for axes in drawn.axes:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = [tick for tick in axis.get_majorticklocs() if low <= tick <= high]
                one_size = axis is axes.xaxis and len(set(axes.lines[0].get_xdata())) == 1
                assert len(ticks) >= 2 or one_size, (axes.get_title(loc="left"), ticks)


def test_a_text_on_a_line_is_found():
    drawn, (axes,) = style.figure()
    axes.plot([0, 1], [0, 1], label="a curve")
    axes.text(0.5, 0.5, "across", ha="center")
    assert collisions(drawn) == ["'across' lies on a line (a curve)"]
    assert style.write_near(axes, [(0.2, 0.8)], "beside") and not style.write_near(axes, [(5.0, 5.0)], "outside")
    assert len(collisions(drawn)) == 1


def test_a_report_reads_its_run_once(tmp_path, monkeypatch):
    path = make_run(tmp_path, sizes=(64,), seeds=(0,), batches=(1,), pictures=False)
    read: Counter[str] = Counter()
    for name in ("read_run", "_committed"):  # run.json; cells.jsonl with the two tables
        real = getattr(run_folder, name)
        monkeypatch.setattr(run_folder, name, lambda *a, _real=real, _name=name: (read.update([_name]), _real(*a))[1])
    report.build(path)
    assert read == {"read_run": 1, "_committed": 1}


def test_the_factor_in_a_loss_plot_is_the_summary_s():
    """Of a real run, in which faster variants of the optimisation reach the net's objective before it."""
    analysed = analyse(read_run(REFERENCE))
    with style.context():
        told = {plot.name: plot.alt for plot in plots.loss_plots(analysed)}
    rows = analysed.rows("speedup_at_equal_loss")
    assert len(rows) >= 6
    for row in rows.itertuples():
        alt = told[f"loss-{row.engine}-{row.task}-{row.size}-{row.dtype}-{row.device}"]
        assert f"{wording.quantity(row.value, 'x')} as long" in alt, alt


def test_building_again_gives_the_same_bytes(hostile):
    before = {path.name: path.read_bytes() for path in (*hostile.glob("report.*"), *hostile.glob("plots/*"))}
    build(hostile)
    assert before == {path.name: path.read_bytes() for path in (*hostile.glob("report.*"), *hostile.glob("plots/*"))}


def test_markdown_links_only_to_files_of_the_run(page, run):
    text = (run / "report.md").read_text(encoding="utf-8")
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert len(links) > 10
    for link in links:
        assert (run / link).is_file(), link
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for above, below in zip(lines, lines[1:]):
        if re.fullmatch(r"\|[-:|]+\|", below):
            assert len(re.findall(r"(?<!\\)\|", above)) == below.count("|")


def test_pictures_are_embedded_small(run, analysed):
    shown = [*pictures.inputs(analysed.run), *pictures.outputs(analysed)]
    # Style, content, and for each size: three stylisations and two textures, less the optimisations that failed.
    assert len(shown) == 2 + 5 + 5 + 3
    assert len(pictures.embed(shown[:3], shown[3:])) == len(shown)


def test_side_by_side_has_the_picture_at_equal_loss_or_says_that_there_is_none(tmp_path):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), batches=(1,))
    before = pictures.side_by_side(analyse(read_run(path)))
    assert [row.title for row in before] == ["Texture, 256 × 256", "Stylisation, 256 × 256"]
    assert all(not row.equal and row.optimised.title == "Optimisation, where it ended" for row in before)
    assert "kept no picture of the moment" in build(path).text
    kept = {"image": "images/style.png", "objective": 8.5e5, "evaluations": 61, "seconds": 15.25}
    lines = [json.loads(line) for line in (path / "cells.jsonl").read_text().splitlines()]
    for line in lines:
        if line["kind"] == "optimise":
            line["info"]["equal_loss"] = {"texture_net": kept, "johnson": {"image": "../../outside.png"}}
    (path / "cells.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    texture, _ = pictures.side_by_side(analyse(read_run(path)))
    assert texture.equal and texture.optimised.title == "Optimisation, at equal loss"
    assert texture.optimised.note == "objective 850,000, 61 evaluations, 15.2 s from this start"


# ---------------------------------------------------------------------------------------------------- hostile, broken


def test_random_weights_are_marked_loudly(hostile):
    page = Page((hostile / "report.html").read_text(encoding="utf-8"))
    assert page.text.index("RANDOM WEIGHTS") < page.text.index("With random descriptor weights there is no loss")
    assert "At equal loss, the " not in page.text
    assert "**RANDOM WEIGHTS" in (hostile / "report.md").read_text(encoding="utf-8")


def test_warnings_speak_of_methods_and_sizes_and_many_become_one(tmp_path):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), pictures=False)
    lines = [json.loads(line) for line in (path / "cells.jsonl").read_text().splitlines()]
    (path / "cells.jsonl").write_text("".join(json.dumps({**line, "foreign_cores": 1.25}) + "\n" for line in lines))
    meta = json.loads((path / "run.json").read_text())
    meta["warnings"] = [
        f"busy machine: other processes used 1.2 cores while {line['key']} was measured" for line in lines
    ] + [f"drift: most in {lines[1]['key']}"]
    (path / "run.json").write_text(json.dumps(meta))
    found = list(document.warnings(analyse(read_run(path))))
    busy = [line for line in found if "usy machine" in line]
    assert len(busy) == 1 and "up to 1.2 cores" in busy[0] and f"{len(lines)} of {len(lines)} cells" in busy[0]
    assert "Drift: most in the cell “Johnson net, stylisation, 256 × 256, batch 4”" in found


@pytest.mark.parametrize(("budget", "told"), [("standard", True), ("long", False), ("quick", False)])
def test_more_time_is_offered_where_a_target_was_not_reached_in_the_standard_one(tmp_path, budget, told):
    found = analyse(read_run(make_run(tmp_path, sizes=(256,), seeds=(0,), pictures=False)))
    found.run.meta["budget"] = {**found.run.meta["budget"], "name": budget}
    assert not any("lower bounds" in line for line in document.warnings(found))
    table = found.summary.copy()
    table.loc[table["metric"].str.startswith("time_to_target"), "status"] = "not reached"
    (line,) = (line for line in document.warnings(dataclasses.replace(found, summary=table)) if "lower bounds" in line)
    assert ("--budget long" in line) == told


@pytest.mark.parametrize("text", ["a|b", "<b>", "`x`", "[a](http://b)", "a\nb", "*bold*", "# head", "&lt;"])
def test_markdown_text_is_inert(text):
    shown = markdown.text(text)
    assert "\n" not in shown and "<" not in shown
    assert not re.search(r"(?<!\\)[|`*\[#_]", shown.replace("&#8203;", ""))
    assert "http://" not in shown


def test_markdown_code_cannot_be_closed_from_inside():
    assert markdown.code("a ``` b ```` c").splitlines()[0] == "`````"


def test_a_run_without_any_cell_says_so(tmp_path):
    cell = {"engine": "gluon", "method": "gatys", "task": "texture", "size": 64, "batch": 1, "dtype": "float32",
            "device": "cpu"}  # fmt: skip
    store = Store.create(tmp_path, {"command": ["x"], "cells": [{**cell, "seed": seed} for seed in range(3)]})
    store.close()
    page = build(store.path)
    assert "Nothing was measured." in page.text
    assert "This run has not ended: 0 of 3 cells are here." in page.text


def test_a_run_of_the_optimisation_alone(tmp_path):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), pictures=False)
    keep_cells(path, "gatys")
    page = build(path)
    assert "No speed-up at equal loss was measured" in page.text


@pytest.mark.parametrize("status", ["error", "oom", "timeout", "skipped"])
def test_a_run_of_a_net_alone_that_failed(tmp_path, status):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), pictures=False)
    keep_cells(path, "johnson")
    lines = [json.loads(line) for line in (path / "cells.jsonl").read_text().splitlines()]
    failed = [{**line, "status": status, "reason": "it broke"} for line in lines]
    (path / "cells.jsonl").write_text("".join(json.dumps(line) + "\n" for line in failed))
    for name in ("samples.csv", "curves.csv"):
        pd.read_csv(path / name, dtype=str)[:0].to_csv(path / name, index=False)
    page = build(path)
    assert "it broke" in page.text and "At equal loss: against what" not in page.text


def keep_cells(path: Path, method: str) -> None:
    """Leave one method's cells and rows in a run."""
    for name in ("samples.csv", "curves.csv"):
        table = pd.read_csv(path / name, dtype=str)
        table[table["method"] == method].to_csv(path / name, index=False)
    lines = [json.loads(line) for line in (path / "cells.jsonl").read_text().splitlines()]
    kept = [{**line, "rows": {}} for line in lines if line["method"] == method]
    (path / "cells.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))


def test_pictures_that_are_missing_broken_or_outside_are_left_out(tmp_path):
    path = make_run(tmp_path / "runs", sizes=(256,), seeds=(0,), batches=(1,))
    images = sorted((path / "images").glob("gluon-*.png"))
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:60])
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    lines = (path / "cells.jsonl").read_text().splitlines()
    record = json.loads(lines[0])
    lines[0] = json.dumps({**record, "image": f"../../{secret.name}"})
    (path / "cells.jsonl").write_text("\n".join(lines) + "\n")
    page = build(path)
    assert len(page.all("img")) == 2 + 5 - 3


# --------------------------------------------------------------------------------------------------------- wording


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0463, "s", "46.3 ms"),
        (0.00005, "s", "50.0 µs"),
        (12.345, "s", "12.3 s"),
        (1100e6, "B", "1.10 GB"),
        (256e6, "B", "256 MB"),
        (150_484, "B", "150 kB"),
        (612.4, "x", "612×"),
        (5.98, "x", "5.98×"),
        (2806.1, "x", "2,810×"),
        (21.7, "images/s", "21.7 images/s"),
        (71_659, "1", "71,659"),
        (1_679_235, "1", "1,679,235"),
        (1.1039205e6, "1", "1.104 × 10⁶"),
        (0.0, "1", "0"),
        (math.nan, "s", "–"),
        (math.inf, "x", "∞"),
        (0.99999, "s", "1,000 ms"),
    ],
)
def test_quantities(value, unit, text):
    assert wording.quantity(value, unit) == text


def test_intervals_are_in_the_scale_of_their_value():
    assert wording.interval(0.9, 0.85, 1.2, "s") == "[850, 1,200]"
    assert wording.interval(1104000.5, 1.09e6, 1.1118e6, "1") == "[1.090, 1.112] × 10⁶"
    assert wording.interval(80.0, 70.0, math.inf, "x") == "[70.0, ∞)"
    assert wording.interval(80.0, math.nan, math.nan, "x") == ""


def test_what_a_status_makes_of_a_value():
    assert measured(80.0, "x", "lower bound") == "≥ 80.0×"
    assert measured(70.3, "s", "not reached") == "> 70.3 s (not reached)"
    assert measured(math.nan, "s", "oom") == "out of memory"
    assert measured(2.0, "s", "timeout") == "2.00 s (timed out)"


def test_names_are_cleaned():
    assert wording.clean("a\n\tb\x00\x1b[31mc\u202e") == "a bc"
    assert len(wording.clean(HOSTILE * 20)) == wording.LONGEST


def test_a_run_of_which_only_the_summary_was_kept_is_refused_and_stays_as_it_is(tmp_path):
    kept = shutil.copytree(RESULTS / "repeats" / "1", tmp_path / "kept")
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    with pytest.raises(UserError, match="^RUN: .*kept' has only its summary"):
        report.build(kept)
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before


def test_a_run_took_as_long_as_its_sessions():
    """Not as long as the days between them."""
    sessions = [{"started": "2026-11-20T10:00:00Z", "finished": "2026-11-20T10:20:00Z"},
                {"started": "2026-11-27T10:00:00Z", "finished": "2026-11-27T10:05:00Z"}]  # fmt: skip
    meta = {"created": "2026-11-20T10:00:00Z", "finished": "2026-11-27T10:05:00Z", "sessions": sessions}
    assert run_facts.when(meta) == "2026-11-20 10:00, 25 min"
    assert run_facts.when({**meta, "sessions": [*sessions, {"started": "2026-11-28T10:00:00Z"}]}) == "2026-11-20 10:00"


def test_a_picture_of_another_photo_does_not_stand_beside_the_photo():
    """The photos are dealt out to the seeds."""
    place = {"style_name": "", "engine": "gluon", "method": "gatys", "task": "stylize", "size": 64, "batch": 1,
             "dtype": "float32", "device": "cpu"}  # fmt: skip
    cells = [{**place, "seed": seed} for seed in (0, 1)]
    run = SimpleNamespace(
        meta={"settings": {"content": "/photos/astronaut.jpg", "other_contents": ["/photos/aqua.jpg"]}},
        records=[{**cell, "key": f"s{cell['seed']}"} for cell in cells],
        samples=pd.DataFrame([{**cell, "photo": photo} for cell, photo in zip(cells, ("astronaut", "aqua"))]),
    )
    assert pictures.of_other_photos(run) == {"s1"}
    assert pictures.of_other_photos(SimpleNamespace(**{**vars(run), "meta": {}})) == set()
