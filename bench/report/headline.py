"""The result of a run in one sentence, and the facts that belong beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pandas as pd

from bench.analysis import metrics
from bench.analysis.analysed import Analysed
from bench.analysis.claims import QUALITY_FLOOR
from bench.analysis.summary import LOWER_BOUND, REFERENCE_ITERATIONS, SETTING, SPEEDUP_500, SPEEDUP_EQUAL
from bench.plan.engines import REFERENCE
from bench.report import run_facts
from bench.report.tables import fastest_variant
from bench.report.wording import engine_name, measured, steps_text, with_interval
from nst_gluon.pages.wording import clean, listing, quantity, size_name, task_name

MEANING = (
    "Stylisation repaints a photo in the style of a picture; texture synthesis fills a new picture with it. "
    "Optimisation lowers a loss, the objective, step by step; a trained net needs one forward pass. The speed-up at "
    "equal loss is the time that optimisation takes to reach the loss of the net's picture, divided by the time of "
    "that pass."
)


NOUNS = {"texture": "a texture", "stylize": "a stylised picture"}
UNKNOWN = f"optimisation ended before {QUALITY_FLOOR} evaluations"


def of_run(analysed: Analysed) -> str:
    """The result in one sentence: by how much, with the range over sizes and nets, and against what."""
    if analysed.random_weights:
        return _of_random(analysed)
    rows = _of_one_engine(analysed.speedups())
    if rows.empty:
        return _no_answer(analysed)
    fine = _counted(rows)
    unknown = rows["evaluations"].isna()
    if fine.empty:
        said = f"At their losses the nets are {_range(rows)}."
        if unknown.any():
            which = "they count" if unknown.all() else "any of them counts"
            return f"{said} Whether {which} is not known: {UNKNOWN}."
        best = steps_text(rows["evaluations"].max())
        return f"No net of this run is good enough to count: optimisation matches the best of them in {best}. {said}"
    names = listing([analysed.methods.title(name) for name in sorted(set(fine["method"]))])
    strong, titles = _over_variants(analysed, fine)
    groups = [group for table in (fine, strong) for _, group in table.groupby("task")]
    at = {_at(group) for group in groups if not _by_size(group)}
    sentence = f"At equal loss, the {names} make{'s' if fine['method'].nunique() == 1 else ''}"
    sentence += f" {_faster(fine, len(at) > 1, NOUNS)} optimisation"
    if len(strong):
        sentence += f", and {_faster(strong, len(at) > 1, {}, fine['task'].nunique() > 1)} {titles}"
    sentence += f" ({at.pop()})" if len(at) == 1 and rows["size"].nunique() > 1 else ""
    others, unsure = sorted(set(rows["task"]) - set(fine["task"])), set(rows.loc[unknown, "task"])
    poor, unsettled = ([task_name(task) for task in others if (task in unsure) == how] for how in (False, True))
    sentence += f". No net for {listing(poor)} is good enough to count" if poor else ""
    sentence += f". Whether a net for {listing(unsettled)} is good enough to count is not known" if unsettled else ""
    return f"{sentence}."


def facts(analysed: Analysed) -> Iterator[tuple[str, str]]:
    """(term, text) of what puts the sentence in proportion."""
    rows = _of_one_engine(analysed.speedups())
    if len(rows) and not analysed.random_weights:
        yield "For example", _in_seconds(analysed, min(rows.to_dict("records"), key=_prominence))
    poor, unknown = rows[rows["evaluations"] < QUALITY_FLOOR], rows[rows["evaluations"].isna()]
    if 0 < len(poor) < len(rows):
        least, most = poor["evaluations"].min(), poor["evaluations"].max()
        told = steps_text(most) if least == most else f"{math.floor(least)} to {steps_text(most)}"
        yield "Below the quality floor", (
            f"{_named(analysed, poor, rows)}: optimisation matches their loss in {told}; the floor is {QUALITY_FLOOR}. "
            f"At their loss they are {_range(poor)}."
        )
    if 0 < len(unknown) < len(rows):
        yield "Not known to count", (
            f"{_named(analysed, unknown, rows)}: {UNKNOWN}. At their loss they are {_range(unknown)}."
        )
    yield "On what", subject(analysed)
    timed = analysed.summary
    timed = timed[timed["metric"].isin(["latency_s", "iteration_s"]) & timed["value"].notna()]
    if len(timed):
        low, high, seeds = int(timed["n"].min()), int(timed["n"].max()), analysed.run.cells["seed"].nunique()
        several = f"{seeds} seeds" if seeds > 1 else "one seed, so what another would change is not in them"
        samples = f"{low}" if low == high else f"{low} to {high}"
        yield "How sure", (
            "Brackets are 95 % intervals, resampled over processes, draws of noise and starts; "
            f"times are medians of {samples} samples; {several}."
        )


def _of_one_engine(rows: pd.DataFrame) -> pd.DataFrame:
    """The speed-ups of the reference engine, where a run has it: a range over engines would mix two merits."""
    reference = rows[rows["engine"] == REFERENCE]
    return rows if reference.empty else reference


def subject(analysed: Analysed) -> str:
    """What was painted, at which sizes, under which objective."""
    run = analysed.run
    if run.cells.empty:
        return "No cell of this run has finished."
    sizes = listing([f"{size}" for size in sorted(run.cells["size"].unique())])
    tasks = listing([task_name(task) for task in sorted(run.cells["task"].unique())])
    style, content, preset = (clean(run_facts.named(run.meta, name), 60) for name in ("style", "content", "preset"))
    others = {name: len(run_facts.setting(run.meta, name) or ()) for name in ("other_styles", "other_contents")}
    styles = f"{1 + others['other_styles']} styles, {style} first" if others["other_styles"] else f"one style, {style}"
    photos = others["other_contents"]
    photos = f"{1 + photos} photos, {content} first; " if photos else f"one photo, {content}; "
    photos = "" if set(run.cells["task"]) == {"texture"} else photos
    text = f"{tasks} at {sizes} pixels; {styles}; {photos}one objective, preset {preset}"
    return f"{text[:1].upper()}{text[1:]}."


def _at(rows: pd.DataFrame) -> str:
    return f"at {listing([str(size) for size in sorted(rows['size'].unique())])} pixels"


def _named(analysed: Analysed, rows: pd.DataFrame, among: pd.DataFrame) -> str:
    """The nets of some rows, each with its styles and sizes where ``among`` has it at others, too."""
    names, place = [], ["method", "task"]
    everywhere = dict(iter(among.groupby(place)))
    for (method, task), group in rows.groupby(place):
        every, styles = everywhere[method, task], {}
        for style, one in group.groupby("style_name"):
            whole = len(one) == (every["style_name"] == style).sum()
            styles.setdefault("" if whole else f" {_at(one)}", []).append(clean(style, 40))
        which = [f"{listing(sorted(named))}{sizes}".strip() for sizes, named in sorted(styles.items())]
        which = "; ".join(filter(None, which)) if len(group) < len(every) else ""
        names.append(f"the {analysed.methods.title(method)} ({', '.join(filter(None, [task_name(task), which]))})")
    text = listing(sorted(names))
    return f"{text[:1].upper()}{text[1:]}"


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    """What the sentence is about: the nets above the quality floor. Of several styles all, at each size where the net
    of one is: a median over those above alone would be one that the floor has chosen.
    """
    if _styles(rows) == 1:
        return rows[rows["fine"]]
    return rows[rows.groupby(["task", "method", "size"])["fine"].transform("any")]


def _how(rows: pd.DataFrame) -> tuple[str, str]:
    """("faster", "than"), or what is true of ratios below 1, too."""
    return ("faster", "than") if rows["value"].min() >= 1 else ("as fast", "as")


def _by_size(rows: pd.DataFrame) -> bool:
    """Whether :func:`_range` tells the sizes apart: at each, other styles may count; one median would mix them."""
    return _styles(rows) > 1 and rows["size"].nunique() > 1


def _styles(rows: pd.DataFrame) -> int:
    return rows["style_name"].nunique() if "style_name" in rows else 1


def _faster(rows: pd.DataFrame, sized: bool, nouns: Mapping[str, str], named: bool = False) -> str:
    """ "a texture 603× faster and a stylised picture 80.0× faster than": the ranges by task."""
    how, than = _how(rows)
    parts = []
    for task, group in sorted(rows.groupby("task"), reverse=True):
        words = [nouns.get(task, task_name(task)) if nouns else "", _range(group, how)]
        words.append(_at(group) if sized and not _by_size(group) else "")
        parts.append(" ".join(filter(None, [*words, f"({task_name(task)})" if named else ""])))
    return f"{listing(parts)} {than}"


def _range(rows: pd.DataFrame, how: str = "", at: str = "") -> str:
    """ "561× to 819× faster", "606× and at least 80.0× faster", "0.500× to 2.00× as fast"; of several styles the median
    at each size, and how many of them are above the quality floor, if any is.
    """
    how = how or _how(rows)[0]
    if _by_size(rows):
        return listing([_range(group, how, f" {_at(group)}") for _, group in rows.groupby("size")])
    styles = _styles(rows)
    least, most = (quantity(value, "x") for value in (rows["value"].min(), rows["value"].max()))
    bound = "at least " if (rows["status"] == LOWER_BOUND).any() else ""
    if styles > 1:
        over = f"{styles} styles" if len(rows) == styles else f"{len(rows)} cells of {styles} styles"
        above = rows["fine"].sum() if "fine" in rows else 0
        over += f", {above} of them above the quality floor" if 0 < above < len(rows) else ""
        median = quantity(float(rows["value"].median()), "x")
        return f"{bound}{median} {how}{at} (median over {over}; {least} to {most})"
    if len(rows) == rows["size"].nunique() <= 3:
        each = rows.sort_values("size").to_dict("records")
        told = [f"{'at least ' * (row['status'] == LOWER_BOUND)}{quantity(row['value'], 'x')}" for row in each]
        return f"{listing(told)} {how}"
    text = least if least == most else f"{least} to {most}"
    return f"{bound}{text} {how}"


def _over_variants(analysed: Analysed, rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The speed-ups over the fastest variant of optimisation at the same losses, and the titles of those variants."""
    found, titles = [], set()
    for row in rows.to_dict("records"):
        where = {name: row[name] for name in (*SETTING, "method")}
        best = fastest_variant(analysed, row)
        ratio = best and analysed.row(metrics.aimed_at("speedup_over_variant", best["method"]), **where)
        if ratio:
            found.append(ratio)
            titles.add(analysed.methods.title(best["method"]))
    return pd.DataFrame(found, columns=rows.columns), listing(sorted(titles))


def _in_seconds(analysed: Analysed, row: Mapping) -> str:
    """One cell in full: both times, the ratio with its interval, and the memory."""
    where = {name: row[name] for name in (*SETTING, "method")}
    latency, memory = (analysed.row(name, **where) for name in ("latency_s", "working_memory_ratio"))
    ratio = with_interval(*(row[name] for name in ("value", "low", "high", "unit", "status")))
    text = f"The {analysed.methods.title(row['method'])} at {size_name(row['size'])} ({task_name(row['task'])}): "
    if latency is not None:
        slow = measured(row["value"] * latency["value"], "s", row["status"])
        text += f"{quantity(latency['value'], 's')} against {slow}, "
    text += ratio
    if memory is not None and memory["value"] == memory["value"]:
        times, less = memory["value"], memory["value"] >= 1
        text += f", with {quantity(times if less else 1 / times, 'x')} {'less' if less else 'more'} memory"
    also = [engine_name(row[name]) if name == "engine" else clean(row[name], 40) for name in analysed.several]
    fixed = analysed.row(SPEEDUP_500, **where)
    text += f" ({', '.join(also)})" if also else ""
    if fixed:
        text += f"; {quantity(fixed['value'], 'x')} against {REFERENCE_ITERATIONS} evaluations, whatever the loss"
    return f"{text}."


def _of_random(analysed: Analysed) -> str:
    """What a run with random descriptor weights can say: nothing at equal loss."""
    rows = _of_one_engine(analysed.rows(SPEEDUP_500))
    rows = rows[rows["value"].notna()]
    sentence = "With random descriptor weights there is no loss at which to compare"
    if rows.empty:
        return f"{sentence}."
    return f"{sentence}; against {REFERENCE_ITERATIONS} iterations of optimisation the nets are {_range(rows)}."


def _no_answer(analysed: Analysed) -> str:
    rows = analysed.rows(SPEEDUP_EQUAL)
    if len(rows):
        states = [measured(math.nan, "x", status) for status in sorted(set(rows["status"]))]
        return f"No speed-up at equal loss was measured: {listing(states)}."
    if analysed.summary["value"].notna().any():
        return "No speed-up at equal loss was measured: it needs an optimisation and a net of the same task and size."
    return "Nothing was measured."


def _prominence(row: Mapping) -> tuple:
    """The papers' own setting first: a net above the floor, textures, 256 x 256, the suite's engine, a GPU."""
    return (
        not row["fine"],
        row["task"] != "texture",
        run_facts.from_papers_size(row["size"]),
        row["engine"] != "gluon",
        row["dtype"] != "float32",
        not str(row["device"]).startswith("gpu"),
        str(row["method"]),
    )
