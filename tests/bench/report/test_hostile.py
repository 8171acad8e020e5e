"""Names that are meant to break pages: on every page, and in every text, they come out as text and as nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re

import html5lib
import pytest
from synthetic import make_run

from bench.analysis import claims
from bench.cli import main
from bench.report.page import TEMPLATES
from nst_gluon.pages.wording import clean

EVIL = {
    "script": "<script>alert(1)</script>",
    "attribute": "\"'><img src=x onerror=alert(1)> <svg/onload=alert(1)>",
    "ends": "</title></style></script></dd>-->]]><!--",
    "template": "{{ 7 * 7 }} {% raw %} ${7*7} %s \\u003cb\\u003e &lt;i&gt; &#60;",
    "lines": "one\ntwo\r\nthree\tfour\x00\x1b[2J\x07",
    "long": "w" * 5000,
    "right to left": "\u202eevil\u202c \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "alphabets": "北斎 神奈川沖浪裏 Ουρανός Волна 🌊 é\u0301",
    "markdown": "[x](javascript:alert(1)) ![y](http://example.invalid/z.png) | `tick` **bold** @everyone #1",
}
PAPERS = {paper.url for paper in claims.PAPERS}
PLACES = ("style", "content", "preset", "model", "revision", "source", "net", "status", "task")


def named(text: str) -> str:
    """The name with something around it, so that its ends can be seen."""
    return f"a:{text}:z"


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """Every page and text about a run in which whatever can have a name has one of these."""
    root = tmp_path_factory.mktemp("a<b>'\"&\u05d0 runs")
    path = make_run(root, sizes=(64,), seeds=(0,), batches=(1,), pictures=False)
    names = [named(text) for text in EVIL.values()]
    at = dict(zip(PLACES, names))
    meta = json.loads((path / "run.json").read_text())
    meta["settings"].update(style=at["style"], content=at["content"], preset=at["preset"])
    meta["environment"]["cpu"]["model"] = meta["fingerprint"]["cpu"] = at["model"]
    meta["environment"]["git"]["revision"] = at["revision"]
    meta["inputs"]["weights"].update(source=at["source"], sha256=at["source"])
    meta["inputs"]["nets"] = {f"{name}/stylize": {"file": name, "sha256": name} for name in names}
    meta.update(warnings=names, command=["python", *names], status=at["status"])
    (path / "run.json").write_text(json.dumps(meta))
    with open(path / "cells.jsonl", "a") as cells:
        for name in names:
            cell = {"engine": name, "method": name, "task": name, "size": 64, "batch": 1, "dtype": name, "device": name,
                    "seed": 0, "kind": "generate", "status": "error", "reason": name, "key": name}  # fmt: skip
            cells.write(json.dumps(cell) + "\n")
    path = path.rename(root / named("<script>'\"\u202e\x1b[2J\n北斎"))
    changed = [dataclasses.replace(claim, text=names[index % len(names)],
                                   paper=claims.Paper(names[-1 - index % len(names)], claim.paper.title))
               for index, claim in enumerate(claims.CLAIMS)]  # fmt: skip
    fine = make_run(root, sizes=(64,), seeds=(0,), batches=(1,), pictures=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "CLAIMS", changed)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            for command in (["report", path], ["report", path, fine], ["compare", path, fine], ["list"]):
                assert main.main([*map(str, command), "--out", str(root)]) in (0, 1, 2, 3)
    pages = [path / "report.html", root / "index.html", root / "history" / "index.html",
             *root.glob("comparisons/*/compare.html")]  # fmt: skip
    texts = said.getvalue().replace(str(root), "")  # paths are printed as they are: other programs read them
    return {"pages": pages, "markdown": path / "report.md", "said": texts.replace(f"/{path.name}/", "")}


def words(tree) -> str:
    return " ".join("".join(tree.itertext()).split())


def test_on_every_page_it_is_text_and_nothing_else(evil):
    ours = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    assert len(evil["pages"]) == 4
    for page in evil["pages"]:
        parser = html5lib.HTMLParser(namespaceHTMLElements=False)
        elements = list(parser.parse(page.read_text(encoding="utf-8")).iter())
        assert parser.errors == [], page
        assert [one.text for one in elements if one.tag == "script"] in ([ours], []), page
        assert not [one for one in elements if one.tag in ("i", "iframe", "object", "form", "link")], page
        for one in elements:
            for name, value in one.attrib.items():
                assert not str(name).startswith("on"), (page, one.tag, name)
                outside = re.match(r"(?i)\s*(javascript|https?):", value) and value not in PAPERS
                assert name not in ("href", "src") or not outside, (page, value)


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_it_is_shown_as_it_was_written(evil, text):
    report = words(html5lib.parse(evil["pages"][0].read_text(encoding="utf-8"), namespaceHTMLElements=False))
    shown = clean(named(text))
    assert shown.startswith("a:") and shown.endswith((":z", "…"))
    assert report.count(shown) >= 3, "as a warning, as a reason, as a claim"


def test_in_markdown_it_is_no_markup(evil):
    said = re.sub(r"^(`{3,}).*?^\1", "", evil["markdown"].read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"<\s*/?[a-z!]", said), "tags"
    links = [link for link in re.findall(r"(?<!\\)\]\(([^)]*)\)", said) if link not in PAPERS]
    assert links and all(re.fullmatch(r"(plots|images)/[\w.%-]+", link) for link in links), links
    tables = [block.splitlines() for block in said.split("\n\n") if block.startswith("|")]
    for lines in tables:
        assert len({line.count("|") - line.count("\\|") for line in lines}) == 1, lines[0]


def test_in_a_terminal_it_moves_nothing(evil):
    assert "a:<script>" in evil["said"]
    assert all(letter.isprintable() or letter == "\n" for letter in evil["said"])
