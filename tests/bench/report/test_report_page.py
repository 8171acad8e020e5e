"""The page as such: colours that can be read in both modes, controls that have names, and what else stands on it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path

import html5lib
import pytest
from htmlpage import Page
from synthetic import make_run

from bench import report
from bench.analysis import roofline
from bench.analysis.analysed import analyse
from bench.cli import main
from bench.plan.cells import NETS, use_of
from bench.report import document, training
from bench.store.reader import read_run
from nst_gluon.methods import bundled
from nst_gluon.pages import style, style_sheet
from nst_gluon.system.files import digest

CSS = style_sheet()
ON_PAPER = ("ink", "muted", "link", "good", "fair", "poor", "none")
PAIRS = [(name, paper) for name in ON_PAPER for paper in ("paper", "card")]
PAIRS += [("alarm", "alarm-paper"), ("ink", "notice"), ("link", "notice"), ("muted", "notice")]


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def modes() -> dict[str, dict[str, str]]:
    """The colours of the style sheet by mode: the first :root is light, those in a media query replace some of it."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    light, dark, paper = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})\b", block)) for block in blocks)
    paper = {name: value if len(value) == 7 else re.sub(r"([0-9a-f])", r"\1\1", value) for name, value in paper.items()}
    return {"light": light, "dark": {**light, **dark}, "print": {**light, **paper}}


@pytest.mark.parametrize("mode", ["light", "dark", "print"])
def test_text_has_a_contrast_of_four_and_a_half_to_one(mode):
    colours = modes()[mode]
    low = {f"{a} on {b}": contrast(colours[a], colours[b]) for a, b in PAIRS if contrast(colours[a], colours[b]) < 4.5}
    assert not low


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_marks_in_plots_have_a_contrast_of_three_to_one(mode):
    colours = modes()[mode]
    known = style.marks({name: method.color for name, method in bundled().items()})
    shown = {colour: colours[style._PROPERTIES[colour][2:]] if colour in style._PROPERTIES else colour
             for colour, _ in known.values()}  # fmt: skip
    assert all(contrast(seen, colours["card"]) >= 3 for seen in shown.values())
    assert len({marker for _, marker in known.values()}) == len(known), "told apart without colour, too"
    for colour, name in style._PROPERTIES.items():
        assert modes()["light"][name[2:]] == colour, "a plot's own colour is that of the light page"


# ------------------------------------------------------------------------------------------------------------ structure


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run with hostile names everywhere, a failed cell, three sizes."""
    path = make_run(tmp_path_factory.mktemp("runs"), sizes=(64, 256, 512), seeds=(0,), oom_at=512, hostile=True)
    report.build(path)
    return path


@pytest.fixture(scope="module")
def pages(run) -> list[Path]:
    """Every kind of page: the report of a run, a comparison, the history of runs, the list of runs."""
    root, other = run.parent, make_run(run.parent, sizes=(256,), seeds=(0, 1), batches=(1,))
    assert main.main(["report", str(other), "--out", str(root)]) == 0
    assert main.main(["report", str(run), str(other), "--out", str(root)]) == 0
    assert main.main(["compare", str(run), str(other), "--out", str(root), "-q"]) in (0, 1, 2)
    (comparison,) = root.glob("comparisons/*/compare.html")
    return [run / "report.html", other / "report.html", comparison, root / "history" / "index.html",
            root / "index.html"]  # fmt: skip


@pytest.fixture(scope="module")
def page(run) -> Page:
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_every_control_has_a_name_and_none_is_out_of_order(page):
    assert not [one for _, one in page.elements if int(one.get("tabindex", 0)) > 0]
    for tag, one in page.elements:
        if "popover" in one or tag == "dialog" or one.get("role") == "region":
            assert one["aria-label"]
    assert all(one["type"] == "button" for one in page.all("button"))
    shown = {one["id"] for _, one in page.elements if "popover" in one}
    assert all(one["popovertarget"] in shown for one in page.all("button") if "popovertarget" in one)


def test_the_pages_parse_without_an_error_and_nothing_refers_to_nothing(pages):
    """By the parser of the HTML standard; and what parsing does not look at: identities, references, nesting."""
    for path in pages:
        parser = html5lib.HTMLParser(namespaceHTMLElements=False)
        tree = parser.parse(path.read_text(encoding="utf-8"))
        assert [(place, code, data) for place, code, data in parser.errors] == [], path
        ids = [one.get("id") for one in tree.iter() if one.get("id")]
        assert len(ids) == len(set(ids)), path
        for one in tree.iter():
            for name in ("aria-labelledby", "aria-describedby", "popovertarget", "for"):
                assert set((one.get(name) or "").split()) <= set(ids), (path, name, one.get(name))
            if one.tag in ("a", "button"):
                inside = {found.tag for found in one.iter() if found is not one}
                assert not inside & {"a", "button", "label", "select", "table", "div", "p"}, (path, one.tag, inside)
            assert one.tag != "img" or one.get("alt"), path


def test_headings_go_down_one_level_at_a_time_on_every_page(pages):
    for path in pages:
        levels = [level for level, _ in Page(path.read_text(encoding="utf-8")).headings]
        assert levels[0] == 1 and levels.count(1) == 1, path
        assert all(1 < after <= before + 1 for before, after in zip(levels, levels[1:])), path


def test_landmarks_have_names_of_their_own(pages):
    for path in pages:
        page = Page(path.read_text(encoding="utf-8"))
        titles = {one["id"]: text for (tag, one), (_, text) in zip(
            [found for found in page.elements if re.fullmatch("h[1-6]", found[0])], page.headings) if one.get("id")}
        names = [titles.get(one.get("aria-labelledby")) for one in page.all("section")]
        names += [one["aria-label"] for _, one in page.elements if one.get("role") == "region"]
        assert len(names) == len(set(names)), path


def test_growth_and_quality_are_shown(page, run):
    assert "cost = factor × pixels ^ exponent" in page.text and "Terms of the objective" in page.text
    words = (run / "report.md").read_text(encoding="utf-8")
    assert "## Growth" in words and "plots/quality-texture-256.png" in words


# ------------------------------------------------------------------------------------------------------------- training


def with_nets(path: Path, sha256: str | None = None) -> None:
    """Say in run.json that the run was made with the bundled nets."""
    meta = json.loads((path / "run.json").read_text())
    nets = {f"{m}/{t}": f"great_wave-{m}-{t}.npz" for m, t in (("johnson", "stylize"), ("texture_net", "texture"))}
    meta["settings"]["nets"] = [[use, f"bundled:{file}"] for use, file in nets.items()]
    meta["inputs"]["nets"] = {
        use: {"file": file, "sha256": sha256 or digest(NETS / file, "sha256"),
              "meta": {"iterations": 700, "seconds": 600.0, "final_objective": {"objective": 12.5}, "final_window": 50,
                       "training": {"batch": 1, "size": 256, "dtype": "bfloat16"}, "command": "python <b>"}}
        for use, file in nets.items()
    }  # fmt: skip
    (path / "run.json").write_text(json.dumps(meta))


def test_the_training_of_the_nets_is_kept_with_the_run_and_shown(tmp_path):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), batches=(1,), pictures=False)
    with_nets(path)
    report.build(path)
    kept = path / "training" / "johnson-stylize.csv"
    assert kept.read_bytes() == (NETS / "great_wave-johnson-stylize.csv").read_bytes()
    page = Page((path / "report.html").read_text(encoding="utf-8"))
    assert "Training of the nets" in page.text and "python <b>" in page.text and "10.0 min" in page.text
    assert "Objective against iterations of training: Johnson net, stylisation: from" in page.text
    before = kept.stat().st_mtime_ns
    report.build(path)
    assert kept.stat().st_mtime_ns == before


def test_many_trainings_have_a_plot_for_each_method(tmp_path):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), batches=(1,), pictures=False)
    with_nets(path)
    meta = json.loads((path / "run.json").read_text())
    (first, *_), styles = meta["inputs"]["nets"].values(), ("auvers", "great_wave", "moulin")
    uses = {use_of(*use) for use in itertools.product(styles, ("johnson", "texture_net"), ("stylize", "texture"))}
    meta["inputs"]["nets"] = dict.fromkeys([*uses, "brick/texture_net/texture"], first)
    (path / "run.json").write_text(json.dumps(meta))
    (path / "training").mkdir()
    for use in uses:
        (path / "training" / f"{style.slug(*use.split('/'))}.csv").write_text("iteration,objective\n1,9\n2,3\n")
    found = {plot.name: plot for plot in document.make(analyse(read_run(path))).plots if plot.section == "training"}
    assert list(found) == ["training-johnson", "training-texture-net"]
    assert "brick" not in found["training-johnson"].caption and "brick" in found["training-texture-net"].caption
    assert all(plot.alt.count("in 2 iterations") == 6 for plot in found.values())


@pytest.mark.parametrize(("earlier", "told"), [
    ({"seconds": 1200.0}, "30.0 min"),
    ({}, "10.0 min of 1 in 2 parts"),
    ({"seconds": "<b>"}, "10.0 min of 1 in 2 parts"),
])  # fmt: skip
def test_a_training_that_went_on_from_another_says_so(tmp_path, earlier, told):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), batches=(1,), pictures=False)
    with_nets(path)
    record = json.loads((path / "run.json").read_text())
    (found,) = [net["meta"] for use, net in record["inputs"]["nets"].items() if use == "johnson/stylize"]
    found["training"]["more_sizes"] = [512]
    found["start"] = {"command": "python <first>", "iterations": 6000, "start": None, **earlier}
    (path / "run.json").write_text(json.dumps(record))
    report.build(path)
    text = " ".join(Page((path / "report.html").read_text(encoding="utf-8")).text.split())
    assert "700 after 6000" in text and "256 × 256 and 512 × 512" in text and told in text
    assert "python <first>, then python <b>" in text


def test_the_training_of_another_net_is_not_shown(tmp_path):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), batches=(1,), pictures=False)
    with_nets(path, sha256="00" * 32)
    training.record(read_run(path))
    assert not (path / "training").exists() and training.curves(read_run(path)) == {}
    assert "training" not in {plot.name for plot in document.make(analyse(read_run(path))).plots}
    with_nets(path)
    (path / "training").mkdir()
    (path / "training" / "johnson-stylize.csv").write_text("iteration,objective\n1,nan\nx,2\n")
    found = training.curves(read_run(path))
    assert found == {}


# ------------------------------------------------------------------------------------------------------------- roofline


def test_the_limits_of_this_machine_are_shown_where_they_were_measured(tmp_path):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), batches=(1,), pictures=False)
    run = read_run(path)
    run = dataclasses.replace(run, meta={**run.meta, "fingerprint": {"cpu": "A", "cores": 2, "threads": 2}})

    def shown(run):
        made = document.make(analyse(run))
        drawn = [plot for plot in made.plots if plot.name == "roofline"]
        return drawn, [table for section in made.sections for table in section.tables if table.name == "ceilings"]

    assert shown(run) == ([], [])
    kept = roofline.path_of(tmp_path, run.meta["fingerprint"])
    kept.parent.mkdir()
    kept.write_text("{")
    assert shown(run) == ([], [])
    kept.write_text(json.dumps({"flops_per_s": {"float32": 1.5e11, "bfloat16": 4e11}, "bytes_per_s": 2.1e10}))
    (drawn,), (table,) = shown(run)
    texts = [[entry.text for entry in row] for row in table.rows]
    assert ["arithmetic, float32", "150 billion operations/s"] in texts and ["memory, a copy", "21.0 GB/s"] in texts
    assert "<svg" in drawn.svg and "optimisation (texture, 256" in drawn.alt
    assert shown(dataclasses.replace(run, meta={**run.meta, "machines": {"m": {}}})) == ([], [])
