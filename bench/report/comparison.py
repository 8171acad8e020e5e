"""The result of ``bench compare`` for a terminal, a code host, a CI comment and a browser; see :func:`write`.

A *result* is the dict of :mod:`bench.gate.comparison`, a *row* one of its ``rows``: one metric of one cell. Every
string in it may be anybody's: each output escapes all of them.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bench.analysis import metrics
from bench.gate.verdicts import FASTER, INCOMPARABLE, INCONCLUSIVE, MISSING, NEW, SAME, SLOWER, VERDICTS
from bench.report import run_facts
from bench.report.forest_plot import Forest
from bench.report.markdown import text as _escaped
from bench.report.page import render
from bench.run.output import COLOURS
from bench.store import run_folder
from nst_gluon.pages.wording import MISSING as NONE
from nst_gluon.pages.wording import clean, quantity
from nst_gluon.system.files import write_atomically

Result = Mapping[str, Any]
Row = Mapping[str, Any]

FILES = ("compare.json", "compare.md", "comment.md", "compare.html")
TITLES = {"revisions": "Comparison of two revisions", "runs": "Comparison of two runs"}
OUTCOMES = {0: "pass", 1: "regression", 2: "cells failed", 3: "nothing was measured"}
ENDINGS = {"decided": "until every verdict was clear", "time budget": "until the time was spent"}
MARKS = {SLOWER: "▲", FASTER: "▼", SAME: "=", INCONCLUSIVE: "?", NEW: "+", MISSING: "−", INCOMPARABLE: "≠"}
TONES = {SLOWER: "worse", FASTER: "better", INCONCLUSIVE: "open"}
MEANINGS = (
    (SLOWER, "slower, or more memory: the whole interval lies beyond the floor"),
    (FASTER, "faster, or less memory: the whole interval lies below it"),
    (SAME, "the whole interval lies so near 1 that nothing worth knowing has changed"),
    (INCONCLUSIVE, "too noisy or too few to tell; it fails nothing, and more time may settle it"),
    (NEW, "only the candidate has it"),
    (MISSING, "only the baseline has it"),
    (INCOMPARABLE, "measured on different machines or under different settings"),
)
COLUMNS = ("cell", "metric", "baseline", "candidate", "ratio [95 %]", "floor", "verdict")
NUMERIC = (2, 3, 4, 5)
FIRST_ROWS, MOST_ROWS = 10, 100


# ------------------------------------------------------------------------------------------------------------ wording


def verdict_name(row: Row) -> str:
    """A row's verdict for people: only times are slower or faster, memory is more or less."""
    memory = {SLOWER: "more memory", FASTER: "less memory"} if row["unit"] == "B" else {}
    return memory.get(row["verdict"], clean(row["verdict"], 40))


def tone(row: Row) -> str:
    """The colour of a row by what it means: worse, better, open or calm. What was declared as wanted is not worse."""
    return "open" if row.get("accepted") else TONES.get(row["verdict"], "calm")


def remark(row: Row) -> str:
    """What is to be said of a verdict: that it was declared, and the row's own note."""
    accepted = f"accepted: {row['accepted']}" if row.get("accepted") else ""
    return clean("; ".join(filter(None, [accepted, row.get("note")])))


def by_importance(rows: Sequence[Row]) -> list[Row]:
    """What changed for the worse first, what did not change last; otherwise the order stays."""
    ranks = {name: rank for rank, name in enumerate(VERDICTS)}
    return sorted(rows, key=lambda row: (ranks.get(row["verdict"], len(ranks)), bool(row.get("accepted"))))


def percent(fraction: float | None) -> str:
    """0.05 -> "5 %", 0.0234 -> "2.3 %"."""
    return NONE if not _known(fraction) else f"{100 * fraction:.2g} %"


def ratio_text(row: Row) -> str:
    """ "1.083 [1.051, 1.117]"."""
    value, low, high = (row.get(name) for name in ("ratio", "low", "high"))
    if not _known(value):
        return NONE
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if _known(low) and _known(high) else f"{value:.3f}"


def amount(row: Row, side: str) -> str:
    """The value of a side in the unit that people use: "61.2 ms", "223 MB"."""
    return quantity(row[side], row["unit"]) if _known(row.get(side)) else NONE


def side_name(side: Mapping[str, Any]) -> str:
    """A side's label, with its revision and its run where they say more."""
    label, revision, run = (clean(side.get(name) or "", 80) for name in ("label", "revision", "run"))
    parts = [label or "?"]
    if revision and not revision.startswith(label or " "):
        parts.append(f"revision {revision[:12]}")
    if run and run != label:
        parts.append(f"run {run}")
    return ", ".join(parts)


def measured(result: Result) -> str:
    """When, for how long, how often, and why it ended."""
    created = clean(result.get("created") or "", 40)
    parts = [re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)\S*?(?:\+00:00|Z)$", r"\1 \2 UTC", created)]
    if result.get("rounds"):
        rounds = result["rounds"]
        parts.append(f"{rounds} round{'s' * (rounds != 1)} in {quantity(float(result.get('seconds') or 0), 's')}")
    ended = str(result.get("stopped_because") or "")
    parts.append(ENDINGS.get(ended) or clean(ended, 80))
    return ", ".join(filter(None, parts))


def failure_text(failure: Mapping[str, Any]) -> str:
    words = (clean(failure.get(name) or "?") for name in ("cell", "side", "status", "reason"))
    return "{} ({}): {}, {}".format(*words)


def accepted_text(accepted: Mapping[str, Any]) -> str:
    commit = clean(accepted.get("commit") or "", 40)[:12]
    return clean(f"{accepted.get('metric')} of {accepted.get('cell')}: {accepted.get('reason')}") + (
        f" (declared in {commit})" if commit else ""
    )


def explanation(result: Result) -> str:
    """How a verdict comes about, in three sentences."""
    floors = result.get("minimum_floors") or {}
    least = " and ".join(
        f"{percent(floors[unit])} for {name}" for unit, name in (("s", "times"), ("B", "memory")) if unit in floors
    )
    if result.get("kind") == "runs":
        how = (
            "The two runs were measured at different times: a ratio is that of the medians of their samples, with a "
            "bootstrap 95 % interval. Two runs cannot tell their own noise, so the floor is what this machine's "
            f"self-test found, and where there was none, {least or 'a cautious one'}, and more for the memory of "
            "optimisation. "
        )
    else:
        how = (
            "Both sides were measured in one job, in rounds of the order A B B A (A is the baseline) with a fresh "
            "process for each block, the two of a pair in turns of a tenth of a second where they could, and a ratio "
            "is the mean of the paired log-ratios of all rounds, with Student's interval, widened so that the looks "
            "after every round together miss in 5 % at most. The floor "
            f"is {least or 'fixed'}. "
        )
    return (
        f"{how}A time is slower (memory: more) only if the whole interval lies beyond 1 + floor, faster "
        "(less) if it lies below 1 / (1 + floor), and the same if it lies between these two; everything else is "
        "inconclusive, which is said and fails nothing unless asked to."
    )


def _label(metric: str) -> str:
    """A metric's label; a result from elsewhere may have metrics of its own."""
    entry = metrics.METRICS.get(metrics.split(metric)[0])
    return entry.label if entry else clean(metric, 60)


def _known(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _texts(row: Row) -> list[str]:
    """A row under COLUMNS."""
    return [
        clean(row["cell"], 120), clean(row["metric"], 60), amount(row, "baseline"), amount(row, "candidate"),
        ratio_text(row), percent(row.get("floor")), verdict_name(row),
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- terminal


def terminal(result: Result, width: int = 100, colour: bool = False) -> str:
    """The result as aligned text; the cells get lines of their own where the table would be wider than ``width``.

    ``colour``: with ANSI colours for the verdicts.
    """
    lines = [*_wrapped("baseline:  ", side_name(result["baseline"]), width)]
    lines += [*_wrapped("candidate: ", side_name(result["candidate"]), width), ""]
    if result["rows"]:
        lines += [*_aligned(result["rows"], width, colour), ""]
    lines += textwrap.wrap(clean(result["summary"], 1000), width)
    for name, texts in (
        ("accepted: ", map(accepted_text, result["accepted"])),
        ("failed: ", map(failure_text, result["failures"])),
        ("warning: ", map(clean, result["warnings"])),
    ):
        for text in texts:
            lines += _wrapped(name, text, width)
    return "\n".join(lines)


def _wrapped(name: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 40), initial_indent=name, subsequent_indent=" " * len(name)) or [name]


def _aligned(rows: Sequence[Row], width: int, colour: bool) -> list[str]:
    texts = [_texts(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *texts)]
    shown = list(range(len(COLUMNS)))
    for dropped in (0, 5):  # the cell, which then stands above its metrics; the floor
        if sum(widths[index] + 2 for index in shown) - 2 > width - 2 * (0 not in shown):
            shown.remove(dropped)
    whole = 0 in shown
    margin = "" if whole else "  "
    lines = [margin + _line(COLUMNS, widths, shown)]
    cell = None
    for row, found in zip(rows, texts):
        if not whole and found[0] != cell:
            lines.append(found[0])
        cell = found[0]
        verdict, more = found[-1], remark(row)
        line = margin + _line([*found[:-1], ""], widths, shown)
        code = COLOURS.get(tone(row))
        said = f"\x1b[{code}m{verdict}\x1b[0m" if colour and code else verdict
        fits = len(line) + len(verdict) + len(more) + 3 <= width
        lines.append(line + said + (f" ({more})" if more and fits else ""))
        if more and not fits:
            lines += _wrapped(f"{margin}  ", more, width)
    return lines


def _line(texts: Sequence[str], widths: Sequence[int], shown: Sequence[int]) -> str:
    """The columns that are ``shown``, aligned; the last one is not filled up."""
    cells = [texts[index].rjust(widths[index]) if index in NUMERIC else texts[index].ljust(widths[index])
             for index in shown[:-1]]  # fmt: skip
    return "  ".join([*cells, texts[shown[-1]]])


# ----------------------------------------------------------------------------------------------------------- Markdown


def _inline(value: str) -> str:
    """Anybody's text for Markdown on one line; on a code host it mentions nobody and links to nothing."""
    return _escaped(value).replace("@", "@&#8203;").replace("\\#", "\\#&#8203;")


def _pipes(rows: Sequence[Row]) -> str:
    head = "| " + " | ".join(_inline(name) for name in COLUMNS) + " |"
    rule = "|" + "|".join("---:" if index in NUMERIC else "---" for index in range(len(COLUMNS))) + "|"
    lines = []
    for row in rows:
        *texts, verdict = _texts(row)
        more = remark(row)
        verdict = f"{MARKS.get(row['verdict'], '')} {verdict}".strip() + (f" ({more})" if more else "")
        lines.append("| " + " | ".join(map(_inline, [*texts, verdict])) + " |")
    return "\n".join([head, rule, *lines])


def _lists(result: Result, level: str) -> Iterator[str]:
    for title, texts in (
        ("Accepted slow-downs", map(accepted_text, result["accepted"])),
        ("Failures", map(failure_text, result["failures"])),
        ("Warnings", map(clean, result["warnings"])),
    ):
        items = [f"- {_inline(text)}" for text in texts]
        if items:
            yield from (f"{level} {title}", "", *items, "")


def _sides(result: Result) -> list[str]:
    return [
        f"- Baseline: {_inline(side_name(result['baseline']))}",
        f"- Candidate: {_inline(side_name(result['candidate']))}",
        f"- Machine: {_inline(run_facts.fingerprint(result.get('fingerprint') or {}))}",
        f"- Measured: {_inline(measured(result))}",
        f"- Exit status: {result['exit_status']} ({OUTCOMES.get(result['exit_status'], '?')})",
    ]


def markdown(result: Result) -> str:
    """The whole result: compare.md."""
    lines = [f"# {TITLES.get(result['kind'], 'Comparison')}", "", f"**{_inline(clean(result['summary'], 1000))}**", ""]
    lines += [*_sides(result), ""]
    if result["rows"]:
        lines += [_pipes(result["rows"]), ""]
    lines += _lists(result, "##")
    lines += ["## How a verdict comes about", "", _inline(explanation(result))]
    return "\n".join(lines).rstrip() + "\n"


def comment(result: Result) -> str:
    """What a CI job may post: the answer, the rows that are not the same (ten at most), and the rest folded away."""
    rows = by_importance(result["rows"])
    changed = [row for row in rows if row["verdict"] != SAME][:FIRST_ROWS]
    lines = [f"**{_inline(clean(result['summary'], 1000))}**", ""]
    if changed:
        lines += [_pipes(changed), ""]
    lines += ["<details>", f"<summary>Every metric ({len(rows)}), and how it was measured</summary>", ""]
    lines += [*_sides(result), ""]
    if rows:
        lines += [_pipes(rows[:MOST_ROWS]), ""]
    if len(rows) > MOST_ROWS:
        lines += [f"And {len(rows) - MOST_ROWS} more in compare.md.", ""]
    lines += [*_lists(result, "####"), _inline(explanation(result)), "", "</details>"]
    return "\n".join(lines) + "\n"


# --------------------------------------------------------------------------------------------------------------- HTML


def html(result: Result) -> str:
    """The page compare.html, which needs nothing else: no scripts, nothing is fetched, a light and a dark look."""
    rows = by_importance(result["rows"])
    forest = Forest(rows)
    shown = [
        {
            "texts": _texts(row),
            "label": _label(row["metric"]),
            "forest": Markup("" if row["verdict"] == INCOMPARABLE else forest.draw(row, verdict_name(row), tone(row))),
            "tone": tone(row),
            "mark": MARKS.get(row["verdict"], ""),
            "n": row.get("n") or 0,
            "remark": remark(row),
        }
        for row in rows
    ]
    status = result["exit_status"]
    return render(
        "compare.html.j2",
        title=TITLES.get(result["kind"], "Comparison"),
        name=f"{side_name(result['baseline'])} and {side_name(result['candidate'])}",
        summary=clean(result["summary"], 1000),
        outcome={1: "worse", 2: "worse", 3: "open"}.get(status, "better"),
        facts=[
            ("Baseline", side_name(result["baseline"])),
            ("Candidate", side_name(result["candidate"])),
            ("Machine", run_facts.fingerprint(result.get("fingerprint") or {})),
            ("Measured", measured(result)),
            ("Exit status", f"{status} ({OUTCOMES.get(status, '?')})"),
        ],
        rows=shown,
        axis=Markup(forest.axis()),
        limits=forest.limits(),
        key=Markup(forest.key()),
        explanation=explanation(result),
        meanings=[(MARKS[verdict], TONES.get(verdict, "calm"), verdict, text) for verdict, text in MEANINGS],
        failures=[failure_text(failure) for failure in result["failures"]],
        accepted=[accepted_text(found) for found in result["accepted"]],
        warnings=[clean(warning) for warning in result["warnings"]],
    )


# -------------------------------------------------------------------------------------------------------------- files


def write(result: Result, folder: Path) -> None:
    """Write FILES into ``folder`` (which is made if need be), each complete or not at all.

    Raises UserError if they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise run_folder.explain(error, folder) from error
    whole = json.dumps(_plain(result), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    for name, content in zip(FILES, (whole, markdown(result), comment(result), html(result))):
        write_atomically(folder / name, content.encode("utf-8", errors="replace"))


def _plain(value: Any) -> Any:
    """The same without NaN and infinities, which JSON has no numbers for."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
