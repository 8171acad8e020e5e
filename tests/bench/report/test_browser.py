"""The pages in a real browser: nothing is asked for, nothing is complained of, and the controls do what they say."""

from __future__ import annotations

from pathlib import Path

import browser
import pytest
from synthetic import make_run

from bench.cli import main
from bench.report.page import TEMPLATES

PROGRAM = browser.find()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on the PATH (or in NST_GLUON_CHROMIUM)"),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two runs with hostile names, their reports, their history and the list of them."""
    root = tmp_path_factory.mktemp("results")
    paths = [make_run(root, sizes=(256, 512), seeds=(0,), batches=(1,), hostile=hostile) for hostile in (False, True)]
    for path in paths:
        assert main.main(["report", str(path), "--out", str(root)]) == 0
    assert main.main(["report", *map(str, paths), "--out", str(root)]) == 0
    return {"root": root, "plain": paths[0] / "report.html", "hostile": paths[1] / "report.html"}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    running = browser.Browser(PROGRAM, tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


def pages(results):
    return [results["plain"], results["hostile"], results["root"] / "index.html",
            results["root"] / "history" / "index.html"]  # fmt: skip


@pytest.mark.parametrize("number", range(4))
def test_pages_ask_for_nothing_and_complain_of_nothing(chromium, results, number):
    page = pages(results)[number]
    chromium.open(page)
    assert chromium.complaints() == [] and chromium.requests() == [page.resolve().as_uri()]
    assert chromium.run("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("width", [320, 360])
def test_a_telephone_need_not_scroll_sideways(chromium, results, number, width):
    chromium.open(pages(results)[number], width=width, height=740)
    assert chromium.run("document.documentElement.scrollWidth") <= width
    # A wide table scrolls in its own box, and what heads a row stays in it.
    wide = "[...document.querySelectorAll('.claims')].map(one => one.closest('.scroll'))[0]"
    if chromium.run("document.querySelector('.claims') !== null"):
        assert chromium.run(f"{wide}.scrollWidth > {wide}.clientWidth")
        chromium.run(f"{wide}.scrollLeft = 99")
        assert chromium.run(f"{wide}.querySelector('tbody th').getBoundingClientRect().left") >= 0
    assert chromium.complaints() == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_axe_finds_no_barrier(chromium, results, width, scheme):
    """axe-core's rules for WCAG, with all parts unfolded, in both colour schemes."""
    axe = pytest.importorskip("axe_core_python", reason="needs axe-core-python (Python 3.10 or newer)")
    rules = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    chromium.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    chromium.send("Page.setBypassCSP", enabled=True)
    try:
        chromium.open(results["plain"], width, 800)
        chromium.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        chromium.run(f"{rules}; 0")
        found = chromium.run("axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html.slice(0, 200)))")
    finally:
        chromium.send("Page.setBypassCSP", enabled=False)
        chromium.send("Emulation.setEmulatedMedia", features=[])
    assert found == []


def test_a_script_that_is_not_the_pages_own_does_not_run(chromium, results, tmp_path):
    """The policy is in force: the same page with a second script and a picture from outside."""
    text = results["plain"].read_text(encoding="utf-8")
    evil = "<script>document.title = 'evil'</script><img src='https://example.invalid/x.png' alt='x'>"
    (tmp_path / "page.html").write_text(text.replace("</main>", f"{evil}</main>"), encoding="utf-8")
    chromium.open(tmp_path / "page.html")
    assert chromium.run("document.title") != "evil"
    assert len([line for line in chromium.complaints() if "Content Security Policy" in line]) == 2


def test_two_screens_have_answer_plot_pictures_and_claims(chromium, results):
    chromium.open(results["plain"], 1280, 1000)
    for what in ("h1", ".facts", "figure.plot", ".side figure:last-of-type", "table.claims tr:last-of-type"):
        bottom = f"[...document.querySelectorAll({what!r})].at(-1).getBoundingClientRect().bottom"
        if what == "figure.plot":
            bottom = "document.querySelector('figure.plot').getBoundingClientRect().bottom"
        assert 0 < chromium.run(bottom) <= 2000, what
    widths = chromium.run("[...document.querySelectorAll('.side figure img')].map(one => one.clientWidth)")
    assert len(widths) >= 6 and min(widths) >= 300
    assert chromium.run("document.querySelectorAll('.part[open]').length") == 0
    assert chromium.run("document.documentElement.scrollHeight") <= 3000


def test_nothing_is_cut_at_1280_and_a_link_unfolds_what_it_leads_to(chromium, results):
    chromium.open(results["plain"], 1280, 1000)
    chromium.run("document.querySelectorAll('.part').forEach(one => { one.open = true; })")
    wide = "[...document.querySelectorAll('.part > .scroll')].filter(one => one.scrollWidth > one.clientWidth + 1)"
    assert chromium.run(f"{wide}.map(one => one.ariaLabel)") == []
    chromium.open(results["plain"], 1280, 1000)
    chromium.run("document.querySelector('nav a[href=\"#glance\"]').click()")
    assert chromium.run("new Promise(done => setTimeout(() => done(document.getElementById('glance').open), 300))")


def test_tables_sort_by_number_and_say_so(chromium, results):
    chromium.open(results["plain"])
    chromium.run("document.getElementById('glance').open = true")
    column = "[...document.querySelectorAll('table.glance tbody tr')].map(r => r.cells[5].dataset.order ?? null)"
    head = "document.querySelector('table.glance thead tr').cells[5]"
    before = chromium.run(column)
    chromium.run(f"{head}.querySelector('button.sort').click()")
    ascending = [float(text) for text in chromium.run(column) if text is not None]
    assert ascending == sorted(ascending) and len(set(ascending)) > 2
    assert chromium.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    chromium.run(f"{head}.querySelector('button.sort').click()")
    descending = [float(text) for text in chromium.run(column) if text is not None]
    assert descending == ascending[::-1] and chromium.run(f"{head}.getAttribute('aria-sort')") == "descending"
    assert sorted(map(str, chromium.run(column))) == sorted(map(str, before))
    chromium.run("document.querySelector('table.glance thead tr').cells[4].querySelector('button.sort').click()")
    assert chromium.run("document.querySelectorAll('table.glance [aria-sort]').length") == 1
    last = chromium.run("[...document.querySelectorAll('table.glance tbody tr')].at(-1).cells[4].dataset.order ?? null")
    assert last is None, "what has no number goes last"


def test_a_picture_opens_in_a_dialog_that_escape_closes(chromium, results):
    chromium.open(results["plain"])
    chromium.run("document.querySelector('.side button.zoom').focus()")
    chromium.press("Enter", 13, "\r")
    assert chromium.run("viewer.open") and chromium.run("document.querySelectorAll('#viewer-stage img').length") == 1
    assert chromium.run("viewer.contains(document.activeElement)")
    assert not chromium.run("document.querySelector('#viewer-slider').checkVisibility()")
    chromium.press("Escape", 27)
    assert not chromium.run("viewer.open")
    assert chromium.run("document.activeElement.className") == "zoom", "the focus is back where it was"
    assert chromium.complaints() == []


def test_the_slider_moves_the_cut_between_two_pictures(chromium, results):
    chromium.open(results["plain"])
    chromium.run("document.getElementById('compare').click()")
    cut = "document.querySelectorAll('#viewer-stage img')[1].style.clipPath"
    sources = "new Set([...document.querySelectorAll('#viewer-stage img')].map(image => image.src)).size"
    assert chromium.run(cut) == "inset(0px 0px 0px 50%)" and chromium.run(sources) == 2
    chromium.run("document.getElementById('viewer-slider').focus()")
    for _ in range(5):
        chromium.press("ArrowRight", 39)
    assert chromium.run(cut) == "inset(0px 0px 0px 55%)"
    chromium.run("c = document.getElementById('viewer-second'); c.value = '-1'; c.dispatchEvent(new Event('change'))")
    assert chromium.run("document.querySelectorAll('#viewer-stage img').length") == 1
    chromium.run("document.getElementById('viewer-close').click()")
    assert not chromium.run("viewer.open") and chromium.complaints() == []


def test_a_number_tells_where_it_is_from(chromium, results):
    chromium.open(results["plain"])
    chromium.run("document.querySelector('table.claims button.story').focus()")
    chromium.press("Enter", 13, "\r")
    told = chromium.run("document.querySelector('[popover]:popover-open').innerText")
    assert "samples.csv, line" in told and "python -m bench run" in told and "speed-up at equal loss" in told
    left, right = (chromium.run(f"document.querySelector(':popover-open').getBoundingClientRect().{side}")
                   for side in ("left", "right"))  # fmt: skip
    assert 0 <= left < right <= 1366
    chromium.press("Escape", 27)
    assert chromium.run("document.querySelector('[popover]:popover-open') === null")


def test_what_is_folded_is_unfolded_for_paper_only(chromium, results):
    chromium.open(results["plain"])
    assert chromium.run("document.querySelectorAll('details[open]').length") == 0
    chromium.run("dispatchEvent(new Event('beforeprint'))")
    assert chromium.run("document.querySelectorAll('details:not([open])').length") == 0
    chromium.run("dispatchEvent(new Event('afterprint'))")
    assert chromium.run("document.querySelectorAll('details[open]').length") == 0


def test_every_control_can_be_reached_and_shows_its_focus(chromium, results):
    chromium.open(results["plain"])
    chromium.press("Tab", 9)
    assert chromium.run("document.activeElement.className") == "skip"
    assert chromium.run("document.activeElement.getBoundingClientRect().top") >= 0
    bare = chromium.run("""[...document.querySelectorAll('a, button, summary, select, input')]
        .filter(one => one.checkVisibility() && one.tabIndex < 0).length""")
    assert bare == 0
    for _ in range(12):
        chromium.press("Tab", 9)
        assert chromium.run("getComputedStyle(document.activeElement).outlineStyle") != "none"


@pytest.mark.parametrize("width", [360, 1280])
def test_what_can_be_pressed_in_a_table_is_no_smaller_than_a_finger_needs(chromium, results, width):
    """24 pixels each way (WCAG 2.2, target size)."""
    chromium.open(results["plain"], width=width)
    small = chromium.run("""[...document.querySelectorAll('table button, table .define, sup a')]
        .filter(one => one.checkVisibility() && one.getClientRects().length)
        .map(one => [one.className, ...['width', 'height'].map(side => one.getBoundingClientRect()[side])])
        .filter(([, width, height]) => Math.min(width, height) < 23.9)""")
    assert small == []


def test_without_its_script_the_page_is_complete(chromium, results, tmp_path):
    text = results["plain"].read_text(encoding="utf-8")
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    assert script in text
    (tmp_path / "page.html").write_text(text.replace(f"<script>{script}</script>", ""), encoding="utf-8")
    chromium.open(tmp_path / "page.html")
    assert not chromium.run("document.getElementById('compare').checkVisibility()")
    chromium.run("document.querySelector('.side input').click()")
    assert chromium.run("getComputedStyle(document.querySelector('.side img')).position") == "fixed"
    chromium.run("document.querySelector('table.claims button.story').click()")
    assert chromium.run("document.querySelector('[popover]:popover-open') !== null")


def test_it_prints_with_everything_unfolded(chromium, results, tmp_path):
    chromium.open(results["plain"])
    chromium.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").stat().st_size > 50_000
    chromium.send("Emulation.setEmulatedMedia", media="print")
    for what in ("nav", "#compare", ".skip", "dialog", "a.define"):
        assert chromium.run(f"getComputedStyle(document.querySelector({what!r})).display") == "none", what
    chromium.send("Emulation.setEmulatedMedia", media="")
