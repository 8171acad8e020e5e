"""The result of a run in one sentence, and the facts that belong beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pandas as pd

from bench.analysis import metrics
from bench.analysis.analysed import Analysed
from bench.analysis.claims import QUALITY_FLOOR
from bench.analysis.summary import LOWER_BOUND, REFERENCE_ITERATIONS, SPEEDUP_500, SPEEDUP_EQUAL
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


def of_run(analysed: Analysed) -> str:
    """The result in one sentence: by how much, with the range over sizes and nets, and against what."""
    if analysed.random_weights:
        return _of_random(analysed)
    rows = _of_one_engine(analysed.speedups())
    if rows.empty:
        return _no_answer(analysed)
    fine = rows[rows["fine"]]
    if fine.empty:
        said = f"At their losses the nets are {_range(rows)}."
        if rows["evaluations"].isna().any():
            return f"{said} Whether they count is not known: optimisation ended before {QUALITY_FLOOR} evaluations."
        best = steps_text(rows["evaluations"].max())
        return f"No net of this run is good enough to count: optimisation matches the best of them in {best}. {said}"
    subject = listing([analysed.methods.title(name) for name in sorted(set(fine["method"]))])
    several = fine["method"].nunique() > 1
    groups = sorted(fine.groupby("task"), reverse=True)
    parts = [f"{NOUNS.get(task, task_name(task))} {_range(group)}" for task, group in groups]
    sentence = f"At equal loss, the {subject} make{'' if several else 's'} {listing(parts)} than optimisation"
    poor = sorted(set(rows["task"]) - set(fine["task"]))
    rest = f" No net for {listing([task_name(task) for task in poor])} is good enough to count." if poor else ""
    sizes = sorted(fine["size"].unique())
    where = f" (at {listing([str(size) for size in sizes])} pixels)" if len(sizes) > 1 else ""
    return f"{sentence}{_strong(analysed, fine, len(groups) > 1)}{where}.{rest}"


def facts(analysed: Analysed) -> Iterator[tuple[str, str]]:
    """(term, text) of what puts the sentence in proportion."""
    rows = _of_one_engine(analysed.speedups())
    if len(rows) and not analysed.random_weights:
        yield "In full", _in_seconds(analysed, min(rows.to_dict("records"), key=_prominence))
    poor = rows[rows["evaluations"] < QUALITY_FLOOR]
    if len(poor) and len(poor) < len(rows):
        named = sorted({
            f"the {analysed.methods.title(row['method'])} "
            f"({', '.join(filter(None, [task_name(row['task']), clean(row['style_name'], 40)]))})"
            for row in poor.to_dict("records")
        })  # fmt: skip
        least, most = poor["evaluations"].min(), poor["evaluations"].max()
        told = steps_text(most) if least == most else f"{math.floor(least)} to {steps_text(most)}"
        text = listing(named)
        yield "Not counted", (
            f"{text[:1].upper()}{text[1:]}: optimisation matches their loss in {told}; a net counts if that takes "
            f"{QUALITY_FLOOR} or more. At their loss they are {_range(poor)}."
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


def _range(rows: pd.DataFrame) -> str:
    """ "561× to 819× faster", "at least 80.0× faster", "0.500× to 2.00× as fast"."""
    styles = rows["style_name"].nunique() if "style_name" in rows else 1
    low, high = rows["value"].min(), rows["value"].max()
    least, most = quantity(low, "x"), quantity(high, "x")
    bound = "at least " if (rows["status"] == LOWER_BOUND).any() else ""
    how = "faster" if low >= 1 else "as fast"
    if styles > 1:
        over = f"{styles} styles" if len(rows) == styles else f"{len(rows)} cells of {styles} styles"
        median = quantity(float(rows["value"].median()), "x")
        return f"{bound}{median} {how} (median over {over}; {least} to {most})"
    if low >= 1 and 1 < len(rows) == rows["size"].nunique() <= 3 and not bound:
        return f"{listing([quantity(value, 'x') for value in rows.sort_values('size')['value']])} faster"
    text = least if least == most else f"{least} to {most}"
    return f"{bound}{text} {how}"


def _strong(analysed: Analysed, rows: pd.DataFrame, several: bool) -> str:
    """The same against the fastest variant of optimisation, at the same losses; empty where a run has none. ``several``
    tasks are named.
    """
    found, titles = [], set()
    for row in rows.to_dict("records"):
        where = {name: row[name] for name in ("style_name", "engine", "method", "task", "size", "dtype", "device")}
        best = fastest_variant(analysed, row)
        ratio = best and analysed.row(metrics.aimed_at("speedup_over_variant", best["method"]), **where)
        if ratio:
            found.append(ratio)
            titles.add(analysed.methods.title(best["method"]))
    if not found:
        return ""
    groups = sorted(pd.DataFrame(found).groupby("task"), reverse=True)
    parts = [f"{_range(group)}{f' ({task_name(task)})' if several else ''}" for task, group in groups]
    return f", and {listing(parts)} than {listing(sorted(titles))}"


def _in_seconds(analysed: Analysed, row: Mapping) -> str:
    """One cell in full: both times, the ratio with its interval, and the memory."""
    where = {name: row[name] for name in ("style_name", "engine", "method", "task", "size", "dtype", "device")}
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
    text += f"; {quantity(fixed['value'], 'x')} against {REFERENCE_ITERATIONS} steps, at any loss" if fixed else ""
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
