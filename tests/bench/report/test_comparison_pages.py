"""The outputs of a comparison, from invented results: what they say, that they line up, and that no name breaks out."""

from __future__ import annotations

import copy
import html.parser
import json
import re

import pytest

from bench.gate import verdicts
from bench.report import comparison, markdown
from bench.report.forest_plot import Forest

VOID = {"meta", "img", "input", "br", "hr", "link"}
EVIL = "</td><script>alert(1)</script> | a\nb `c` @everyone #12 \x1b[31m ]( \u202e & \"' {{ 7 * 7 }}"


def row(cell, metric="latency_s", baseline=0.0612, ratio=1.001, spread=0.01, verdict="same", **changes):
    unit = "B" if metric.endswith("_bytes") else "s"
    found = {
        "cell": cell, "metric": metric, "unit": unit, "baseline": baseline,
        "candidate": None if baseline is None or ratio is None else baseline * ratio,
        "ratio": ratio, "low": ratio and ratio - spread, "high": ratio and ratio + spread,
        "floor": 0.02 if unit == "B" else 0.05, "n": 12, "verdict": verdict, "gated": True, "note": "",
        "accepted": None,
    }  # fmt: skip
    return {**found, **changes}


def realistic():
    """One job on two cores: a slow-down, an accepted one, less memory, noise, and cells that cannot be compared."""
    nothing = dict.fromkeys(("baseline", "candidate", "ratio", "low", "high", "floor"))
    return {
        "schema_version": 1,
        "kind": "revisions",
        "baseline": {"label": "main", "revision": "3b0e2de98ada9310fb3b255e3bd5712327711a1e", "run": None},
        "candidate": {"label": "HEAD", "revision": "8197d99aa0c5f1d2f7a43f2b8f0f1d9a1f3e5c77", "run": None},
        "fingerprint": {"cpu": "AMD EPYC 9R14", "cores": 2, "threads": 2, "gpu": None, "dtypes": ["float32"]},
        "created": "2026-11-21T06:29:12+00:00",
        "seconds": 284.2,
        "stopped_because": "time budget",
        "rounds": 6,
        "minimum_floors": {"s": 0.05, "B": 0.02},
        "rows": [
            row("texture_net texture 128", ratio=1.118, spread=0.024, verdict="slower"),
            row("texture_net texture 128", "peak_memory_bytes", 402e6, 1.003, 0.002),
            row("texture_net texture 128", "working_memory_bytes", 168e6, 0.912, 0.006, "faster"),
            row("texture_net stylize 128", baseline=0.0301, ratio=1.031, spread=0.049, verdict="inconclusive"),
            row("texture_net stylize 128", "peak_memory_bytes", 431e6, 1.062, 0.004, "slower",
                accepted="the noise is kept for the second pass"),
            row("johnson stylize 128", baseline=0.0791, ratio=0.871, spread=0.015, verdict="faster", floor=0.0734),
            row("johnson stylize 128", "peak_memory_bytes", 455e6, 1.0, 0.001),
            row("gatys stylize 128", "iteration_s", 0.164, 1.93, 0.21, "slower", note="one seed"),
            row("gatys stylize 128", "working_memory_bytes", 458e6, 0.998, 0.004),
            row("gatys texture 128", "iteration_s", 0.159, 1.012, 0.022),
            row("johnson stylize 512", verdict="failed", note="out of memory", **{**nothing, "n": 0}),
            row("texture_net texture 512", verdict="new", **{**nothing, "candidate": 0.194, "n": 0}),
            row("texture_net texture 1024", verdict="missing", **{**nothing, "baseline": 0.81, "n": 0}),
            row("gatys texture 1024", "iteration_s", verdict="incomparable", note="other machine: cpu", n=0),
        ],
        "failures": [
            {"cell": "johnson stylize 512", "side": "candidate", "status": "oom", "reason": "killed by the kernel"}
        ],
        "accepted": [
            {
                "metric": "peak_memory_bytes", "cell": "texture_net stylize 128",
                "reason": "the noise is kept for the second pass", "commit": "d3ac28de3ec61e47b46dcfe949d91e2368e646c9",
            }
        ],
        "warnings": ["busy machine: other processes used up to 0.4 cores on average while 3 blocks were measured"],
        "exit_status": 1,
        "summary": "Regression: of 14 metrics 3 slower or more memory, 1 failed, 1 inconclusive, 1 missing, 1 new, "
        "1 incomparable, 2 faster or less memory, 4 same.",
    }  # fmt: skip


def empty(**changes):
    found = realistic()
    return {**found, "rows": [], "failures": [], "accepted": [], "warnings": [], "rounds": 0, "seconds": 0.0,
            "exit_status": 3, "summary": "Nothing was compared.", "stopped_because": "compared from samples",
            **changes}  # fmt: skip


def hostile(value=EVIL):
    """The realistic result with every string that can be anybody's replaced."""

    def spoil(found, name=""):
        if isinstance(found, dict):
            return {key: spoil(inner, key) for key, inner in found.items()}
        if isinstance(found, list):
            return [spoil(inner, name) for inner in found]
        return value if isinstance(found, str) and name not in ("verdict", "unit", "kind") else found

    return spoil(realistic())


class Page(html.parser.HTMLParser):
    """What a browser would see: elements with attributes, text, and whether they nest properly."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements, self.words, self.open, self.rows = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
            if "tr" in self.open:
                self.rows[-1] = " ".join(f"{self.rows[-1]} {data}".split())

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


# ------------------------------------------------------------------------------------------------------------ wording


@pytest.mark.parametrize("kind", ["runs", "revisions"])
def test_the_explanation_is_three_sentences_with_the_floors(kind):
    said = comparison.explanation({**realistic(), "kind": kind, "minimum_floors": {"s": 0.1, "B": 0.02}})
    assert len(re.findall(r"\.(?: |$)", said)) == 3
    assert "10 % for times and 2 % for memory" in said
    assert ("A B B A" in said) == (kind == "revisions") and ("self-test" in said) == (kind == "runs")


# ----------------------------------------------------------------------------------------------------------- terminal


def test_terminal_table_is_aligned():
    text = comparison.terminal(realistic(), width=200)
    lines = text.splitlines()
    (head,) = (line for line in lines if line.startswith("cell"))
    table = lines[lines.index(head) + 1 :][: len(realistic()["rows"])]
    for name in ("baseline", "candidate", "ratio [95 %]", "floor"):
        end = head.index(name) + len(name)
        assert all(line[end : end + 2] == "  " and line[end - 1] != " " for line in table), name
    start = head.index("verdict")
    assert [line[start:].split(" (")[0] for line in table][:6] == [
        "slower", "same", "less memory", "inconclusive", "more memory", "faster"
    ]  # fmt: skip
    assert "68.4 ms" in table[0] and "1.118 [1.094, 1.142]" in table[0]


@pytest.mark.parametrize("width", [60, 140])
def test_terminal_keeps_whole_names_and_its_width(width):
    text = comparison.terminal(realistic(), width)
    for cell in {found["cell"] for found in realistic()["rows"]}:
        assert cell in text
    longest = max(map(len, text.splitlines()))
    assert longest <= max(width, 80)  # the narrowest that the table can be


def test_terminal_says_the_rest():
    text = " ".join(comparison.terminal(realistic(), 100).split())
    for said in (realistic()["summary"], "accepted: peak_memory_bytes of texture_net stylize 128: the noise is kept",
                 "failed: johnson stylize 512 (candidate): oom, killed by the kernel", "warning: busy machine",
                 "baseline: main, revision 3b0e2de98ada", "(one seed)"):  # fmt: skip
        assert said in text
    assert "\x1b" not in text


def test_colour_changes_no_character():
    plain, coloured = (comparison.terminal(realistic(), 120, colour) for colour in (False, True))
    assert "\x1b[31mslower\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


def test_terminal_of_hostile_names():
    text = comparison.terminal(hostile(), 100)
    assert "\x1b" not in text and "\u202e" not in text
    assert all(len(line) < 400 for line in text.splitlines())


# ----------------------------------------------------------------------------------------------------------- Markdown


def columns(line: str) -> int:
    return len(re.sub(r"\\\|", "", line).strip().strip("|").split("|"))


@pytest.mark.parametrize("make", [comparison.markdown, comparison.comment])
@pytest.mark.parametrize("result", [realistic(), hostile(), empty(), empty(kind="runs")], ids=str)
def test_markdown_tables_have_as_many_columns_everywhere(make, result):
    lines = [line for line in make(result).splitlines() if line.startswith("|")]
    assert {columns(line) for line in lines} <= {len(comparison.COLUMNS)}
    assert bool(lines) == bool(result["rows"])


@pytest.mark.parametrize("make", [comparison.markdown, comparison.comment])
def test_markdown_escapes(make):
    text = make(hostile())
    own = re.sub(r"</?(details|summary)>", "", text)
    assert "<" not in own and "@everyone" not in text and not re.search(r"(?<!&)#\d", own)
    assert "\x1b" not in text and "`c`" not in text.replace("\\`", "")


def test_markdown_is_the_whole_result():
    text = comparison.markdown(realistic())
    for found in realistic()["rows"]:
        assert markdown.text(found["cell"]) in text
    for said in ("▲ more memory (accepted: the noise is kept", "## Failures", "## Warnings", "## Accepted slow-downs",
                 "A B B A", "Exit status: 1 (regression)"):  # fmt: skip
        assert said in text


def test_comment_begins_with_the_answer_and_what_changed():
    text = comparison.comment(realistic())
    assert text.startswith("**Regression: of 14 metrics")
    above, folded = text.split("<details>")
    rows = [line for line in above.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 10 and "▲ slower" in rows[0] and not any("= same" in line for line in rows)
    assert "= same" in folded and folded.rstrip().endswith("</details>")
    # A code host reads Markdown inside of HTML only after an empty line.
    assert "</summary>\n\n" in folded and "\n\n</details>" in folded


def test_comment_of_a_pass_is_short():
    result = {**realistic(), "rows": [row(f"cell {number}") for number in range(300)], "summary": "Pass."}
    above, folded = comparison.comment(result).split("<details>")
    assert above == "**Pass.**\n\n"
    assert "And 200 more in compare.md." in folded and len(folded) < 60_000


# --------------------------------------------------------------------------------------------------------------- HTML


@pytest.fixture(scope="module")
def page():
    return Page(comparison.html(realistic()))


def test_page_says_what_the_result_says(page):
    for said in (realistic()["summary"], "main, revision 3b0e2de98ada", "AMD EPYC 9R14, 2 cores, no GPU",
                 "2026-11-21 06:29 UTC, 6 rounds in 284 s, until the time was spent", "1 (regression)",
                 "oom, killed by the kernel", "Keep in mind",
                 "declared in d3ac28de3ec6", "A B B A"):  # fmt: skip
        assert said in page.text
    assert page.rows[1].startswith("texture_net texture 128 latency of one call 61.2 ms 68.4 ms 1.118 [1.094, 1.142]")
    assert len(page.rows) == 1 + len(realistic()["rows"])


def test_page_needs_nothing_else(page):
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "img"}
    for _, attributes in page.elements:
        assert not set(attributes) & {"src", "href", "onload", "onclick", "style"}
    text = comparison.html(realistic())
    assert "url(" not in text and "@import" not in text and "http://" not in text and "https://" not in text
    assert "default-src 'none'" in text and "prefers-color-scheme: dark" in text


def test_page_has_a_graphic_with_words_for_each_ratio(page):
    drawn = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in drawn)
    ratios = [found for found in realistic()["rows"] if found["ratio"] and found["verdict"] != "incomparable"]
    assert len(drawn) == len(ratios) + 2  # the axis and the legend's
    labels = [attributes["aria-label"] for attributes in drawn]
    assert "ratio 1.118, interval 1.094 to 1.142, noise floor 0.952 to 1.050: slower" in labels
    assert any(label.endswith(": less memory") for label in labels)


@pytest.mark.parametrize("kind", ["runs", "revisions", "other"])
def test_an_empty_result_is_shown_everywhere(kind):
    result = empty(kind=kind)
    assert "There is nothing to show." in Page(comparison.html(result)).text
    assert "Nothing was compared." in comparison.terminal(result)


@pytest.mark.parametrize("verdict", verdicts.VERDICTS)
@pytest.mark.parametrize("value", [None, float("nan"), 1e12])
def test_every_verdict_with_every_kind_of_number(verdict, value, tmp_path):
    odd = row("cell", verdict=verdict, **dict.fromkeys(("baseline", "candidate", "ratio", "low", "high"), value))
    result = {**realistic(), "rows": [odd, {**odd, "low": None}, {**odd, "floor": None, "n": None}]}
    Page(comparison.html(result))
    assert verdict in comparison.terminal(result)
    assert comparison.MARKS[verdict] in comparison.comment(result) or verdict == "same"
    comparison.write(result, tmp_path)
    json.loads((tmp_path / "compare.json").read_text(), parse_constant=pytest.fail)


# ------------------------------------------------------------------------------------------------------------- forest


def test_the_axis_holds_every_row_or_an_arrow_says_so():
    small = Forest([row("a", ratio=1.01)])
    assert small.limit == 1.12
    large = Forest([row("a", ratio=1.01), row("b", ratio=1.93, spread=0.2)])
    assert large.limit == 1.12, "one far row does not flatten the others"
    assert "arrow" in large.draw(row("b", ratio=1.93, spread=0.2), "slower")
    assert "circle" not in large.draw(row("b", ratio=1.93, spread=0.2), "slower")
    assert "arrow" not in large.draw(row("a", ratio=1.01), "slower")
    assert Forest([row("a", ratio=1.35)]).limit == 1.5 and Forest([]).limit == 1.12


# -------------------------------------------------------------------------------------------------------------- files


def test_write(tmp_path):
    result = realistic()
    before = copy.deepcopy(result)
    comparison.write(result, tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(comparison.FILES)
    assert json.loads((tmp_path / "new" / "folder" / "compare.json").read_text()) == before == result
