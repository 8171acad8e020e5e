"""One screen for a referee: what the ratio is, what is on each clock, how sure it is and why, and what it rests on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis import metrics
from bench.analysis import summary as analysis
from bench.analysis.analysed import Analysed
from bench.analysis.descents import by_photo
from bench.analysis.summary import SETTING, SPEEDUP_EQUAL
from bench.plan import older
from bench.plan.cells import GENERATE
from bench.report import run_facts
from bench.report.numbers import NOTHING, Book
from bench.report.tables import Entry, Table, table, value_entry
from bench.report.wording import head_of, measured
from nst_gluon.methods import Generator, bundled
from nst_gluon.objective import presets
from nst_gluon.pages.wording import MISSING, clean, listing, quantity, task_name

SOURCES = (
    ("processes", "between fresh processes of the net"),
    ("draws", "between the net's draws of noise"),
    ("starts", "between starts of optimisation"),
    ("photos", "between photos"),
)
ONE_START = (
    " Where a photo has one start, what another would change is in an interval only as part of what differs between "
    "photos."
)


def items(analysed: Analysed) -> Iterator[str]:
    """What a referee asks first, one sentence or two each."""
    meta = analysed.run.meta
    yield (
        "The ratio: seconds of optimisation to the target, over seconds of the net. The target is the net's own "
        "objective, for a texture the median over its draws of noise, for a photo that of the same photo. Both "
        "sides are medians: the seconds until the first evaluation at the full size has ended plus evaluations times "
        "the median step, over the median latency."
    )
    yield (
        "On the net's clock: the forward pass; on the second clock (call_s) also drawing the noise, moving the inputs, "
        "cropping, clipping and rounding. On that of optimisation: objective, gradient, the optimiser's own work, "
        "coarse levels. On neither: imports, loading weights and nets, building graphs, reading and writing files, "
        "scoring. Training is on neither; break-even says after how many pictures it has paid."
    )
    yield _design(analysed)
    yield f"{_pictures(meta)} {_objective(meta)}"
    yield _departures(meta)


def _design(analysed: Analysed) -> str:
    run = analysed.run
    budget, plain = older.budget(run.meta.get("budget") or {}), run.curves["method"] == analysed.methods.baseline
    processes = run.cells.loc[run.cells["kind"] == GENERATE, "seed"].nunique()
    parts = [f"{processes} process{'' if processes == 1 else 'es'} of each net"]
    parts.append(f"{budget['draws']} draws of noise for a texture")
    several = mixed = ""
    for task, own in run.curves[plain].groupby("task", sort=True):
        starts = own.groupby([*SETTING, "photo"])["seed"].nunique()
        least, most, photos = starts.min(), starts.max(), own["photo"].nunique()
        of = "each texture" if task == "texture" else "the photo"
        if photos > 1:
            dealt = "" if budget.get("crossed") else f", which are dealt out to {own['seed'].nunique()} processes"
            of, several = f"each of {photos} photos{dealt}", " and the photos"
            mixed = ONE_START if least == 1 else ""
        number = f"{least}" if least == most else f"{least} to {most}"
        parts.append(f"{number} start{'' if most == 1 else 's'} of optimisation for {of}")
    return (
        f"Repeated: {'; '.join(parts)}; in turns (net, optimisation, optimisation, net, ...). Intervals draw all of "
        f"these{several} again, level by level; an interval never covers latency alone.{mixed}"
    )


def _pictures(meta: Mapping[str, Any]) -> str:
    settings = meta.get("settings") or {}
    found = []
    textures = all(cell.get("task") == "texture" for cell in meta.get("cells") or [{}])
    kinds = (("style", "style", "other_styles"), ("photo", "content", "other_contents"))
    for noun, name, others in kinds[: 1 if textures else 2]:
        names = [run_facts.stem(value) for value in (settings.get(name), *(settings.get(others) or ())) if value]
        found.append(f"{len(names)} {noun}{'s' if len(names) != 1 else ''} ({', '.join(names)})")
    return f"On {listing(found)}."


def _objective(meta: Mapping[str, Any]) -> str:
    settings = meta.get("settings") or {}
    name = str(settings.get("preset") or presets.DEFAULT)
    source = presets.PRESETS[name].source if name in presets.PRESETS else "unknown to this version"
    bounds = "kept in [0, 1]" if settings.get("bounds", "pixels") == "pixels" else "not kept in [0, 1] (a departure)"
    return f"Objective: preset {clean(name, 40)} ({source}); optimised pictures are {bounds}."


def _departures(meta: Mapping[str, Any]) -> str:
    """What the run's preset and nets, as their files describe them, have otherwise than the papers."""
    preset = str((meta.get("settings") or {}).get("preset") or presets.DEFAULT)
    own = {
        "texture_net_relative": "layers count alike by dividing each difference by its target, where the paper has "
        "plain differences of Grams (preset texture_net)",
    }
    parts = [own[preset]] if preset in own else []
    seconds = analysis.training_seconds(meta)
    if seconds:
        least, most = (quantity(end(value for value, _ in seconds.values()), "s") for end in (min, max))
        took = least if least == most else f"{least} to {most}"
        partly = "" if all(whole for _, whole in seconds.values()) else " or more"
        parts.append(f"nets are trained here, for {took}{partly} each, on few photos, not on 80,000 for hours on a GPU")
    if "8 bit" in str(run_facts.get(meta, "inputs", "weights", "source")):
        parts.append("the descriptor's weights are rounded to 8 bits")
    known = bundled()
    for net in (run_facts.get(meta, "inputs", "nets") or {}).values():
        facts = (net or {}).get("meta") or {}
        method = known.get(facts.get("method"))
        if isinstance(method, Generator):
            parts += method.departures(facts.get("architecture") or {}, preset)
    return f"Departures from the papers: {'; '.join(dict.fromkeys(parts)) or 'none on record'}."


def spread(values: np.ndarray) -> float:
    """Largest over smallest, less one; NaN where there are no two."""
    values = values[np.isfinite(values)]
    return float(values.max() / values.min() - 1) if len(values) > 1 and values.min() > 0 else math.nan


def sources(analysed: Analysed, row: Mapping[str, Any]) -> dict[str, float]:
    """By how much a speed-up would have differed through each source alone, largest over smallest, less one."""
    run, methods = analysed.run, analysed.methods
    setting, net = {name: row[name] for name in SETTING}, str(row["method"])
    own = analysis.matching(run.samples, {**setting, "method": net, "batch": 1})
    latency = own[own["metric"] == "latency_s"].groupby("seed")["value"].median().to_numpy()
    found = {"processes": spread(latency)}
    aims = analysis.asked_for(analysis.targets(run.samples, [net], setting).get(net, {}), analysed.asked)
    descents = by_photo(analysis.matching(run.curves, {**setting, "method": methods.baseline}))
    photos = [photo for photo in aims if photo in descents]
    starts, draws, centres = [], [], []
    for photo in photos:
        target = np.array([np.median(aims[photo])])
        seconds = np.array([_seconds(descent, target)[0] for descent in descents[photo]])
        starts.append(spread(seconds))
        draws.append(spread(_seconds(descents[photo][0], np.sort(aims[photo]))))
        centres.append(float(np.median(seconds)))
    for name, values in (("starts", starts), ("draws", draws)):
        known = [value for value in values if not math.isnan(value)]
        found[name] = max(known, default=math.nan)
    found["photos"] = spread(np.array(centres))
    return found


def _seconds(descent: Any, targets: np.ndarray) -> np.ndarray:
    return descent.seconds_at(descent.iterations_to(targets))


def variance(analysed: Analysed) -> Table | None:
    """Where the uncertainty of each speed-up comes from; None without any."""
    rows = []
    for row in analysed.rows(SPEEDUP_EQUAL).to_dict("records"):
        if math.isnan(row["value"]):
            continue
        found = sources(analysed, row)
        names = [task_name(row["task"]), str(row["size"]), analysed.methods.title(row["method"])]
        names += [clean(row[name], 40) for name in analysed.several]
        ends = (row["low"], row["high"])
        whole = MISSING if any(map(math.isnan, ends)) else f"{quantity(ends[0], 'x')} to {_end(ends[1])}"
        rows.append([*names, quantity(row["value"], "x"), whole, *(_share(found[name]) for name, _ in SOURCES)])
    if not rows:
        return None
    columns = ["task", "size", "method", *map(head_of, analysed.several), "speed-up", "95 % interval",
               *(Entry(name, hover=text) for name, text in SOURCES)]  # fmt: skip
    note = (
        "By how much the speed-up would differ through each source alone: the largest over the smallest, less one. A "
        "draw below the lowest objective that optimisation went on to is left out."
    )
    first = len(columns) - len(SOURCES) - 2
    return table("variance", "Sources of variance", columns, rows, (1, *range(first, len(columns))), note)


def _end(value: float) -> str:
    return "unbounded" if math.isinf(value) else quantity(value, "x")


def _share(value: float) -> Entry:
    return Entry(MISSING, tone="missing") if math.isnan(value) else Entry(f"{100 * value:.0f} %", order=value)


def over_styles(analysed: Analysed) -> Table | None:
    """The speed-ups as medians over styles with their range; None for a run of one style."""
    rows = analysed.speedups()
    if "style_name" not in analysed.several or rows.empty:
        return None
    found = []
    setting = ["task", "size", "method", "engine", "dtype", "device"]
    for (task, size, method, *where), group in rows.groupby(setting):
        values, bounds = group["value"], group["status"] == analysis.LOWER_BOUND
        status = analysis.LOWER_BOUND if bounds.any() else analysis.OK
        found.append([
            task_name(task), str(size), ", ".join([analysed.methods.title(method), *(clean(one, 40) for one in where)]),
            str(len(group)), str(int(group["fine"].sum())), measured(float(values.median()), "x", status),
            f"{quantity(float(values.min()), 'x')} to {quantity(float(values.max()), 'x')}",
        ])  # fmt: skip
    columns = ["task", "size", "method", "styles", "above the quality floor",
               Entry("median over styles", metric=SPEEDUP_EQUAL), "range"]  # fmt: skip
    return table("styles", "Over styles", columns, found, (1, 3, 4, 5, 6), metrics.find(SPEEDUP_EQUAL).text)


def baselines(analysed: Analysed, book: Book = NOTHING) -> Table | None:
    """Each net against plain optimisation and its faster variants: both clocks, break-even; None without any."""
    rows = []
    if not analysed.methods.baseline:
        return None
    for row in analysed.rows(SPEEDUP_EQUAL).to_dict("records"):
        where = {name: row[name] for name in (*SETTING, "method")}
        known = analysed.rows(**where)
        for optimiser in (analysed.methods.baseline, *filter(analysed.methods.is_variant, analysed.methods.optimisers)):
            plain = optimiser == analysed.methods.baseline
            pass_name = SPEEDUP_EQUAL if plain else metrics.aimed_at("speedup_over_variant", optimiser)
            entries = [
                _value(known, name, book)
                for name in (pass_name, f"{pass_name}{analysis.WHOLE_CALL}", metrics.aimed_at("break_even", optimiser))
            ]
            if all(entry.text == MISSING for entry in entries) or analysed.methods[optimiser].from_net:
                continue
            names = [task_name(row["task"]), str(row["size"]), analysed.methods.title(row["method"])]
            names += [clean(row[name], 40) for name in analysed.several]
            rows.append([*names, analysed.methods.title(optimiser), *entries])
    if not rows:
        return None
    columns = ["task", "size", "net", *map(head_of, analysed.several), "against",
               Entry("forward pass", metric=SPEEDUP_EQUAL),
               Entry("whole call", metric=f"{SPEEDUP_EQUAL}{analysis.WHOLE_CALL}"),
               Entry("pictures to break even", metric="break_even")]  # fmt: skip
    return table("baselines", "At equal loss: against what, on which clock", columns, rows,
                 (1, *range(len(columns) - 3, len(columns))))  # fmt: skip


def _value(rows: pd.DataFrame, metric: str, book: Book) -> Entry:
    found = rows[rows["metric"] == metric].to_dict("records")
    return dataclasses.replace(value_entry(found[0] if found else None, book), metric=metric)
