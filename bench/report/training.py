"""How the nets of a run were trained: their curves, kept in the run directory, and what their files say.

The curve is the CSV file that training wrote beside the net. The first report of a run copies it to
``training/<method>-<task>.csv``, if the net is still the one that the run measured; from then on the run needs
nothing else. A net whose file came without a curve, or was trained anew since, is shown without one.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.analysed import Analysed
from bench.analysis.methods import Methods
from bench.analysis.summary import known_seconds, stages
from bench.plan.cells import net_path, parts_of
from bench.report import run_facts
from bench.report.plots import Plot, finished
from bench.report.tables import Entry, Table, table
from bench.store.reader import RunData
from nst_gluon.pages import style, training_curve
from nst_gluon.pages.wording import clean, listing, quantity, size_name, task_name
from nst_gluon.system.files import digest, write_atomically

FOLDER = "training"
MOST_BYTES = 5_000_000
MOST_CURVES = 6  # whose colours can be told apart in one plot


def record(run: RunData) -> None:
    """Copy the curves of the run's nets into its directory, where they are not there yet and can be had."""
    for use, name in run_facts.setting(run.meta, "nets") or ():
        with contextlib.suppress(OSError, ValueError):  # of names that no file can have
            net, target = net_path(name), _kept(run, use)
            source = net.with_suffix(".csv")
            known = run_facts.get(run.meta, "inputs", "nets", use, "sha256")
            if target.exists() or source.stat().st_size > MOST_BYTES or digest(net, "sha256") != known:
                continue
            if _parse(source.read_text(encoding="utf-8", errors="replace")) is not None:
                target.parent.mkdir(exist_ok=True)
                write_atomically(target, source.read_bytes())


def curves(run: RunData) -> dict[str, pd.DataFrame]:
    """The curves that the run directory has, by "method/task": columns iteration and objective."""
    found = {}
    for use in sorted(run_facts.get(run.meta, "inputs", "nets") or {}):
        with contextlib.suppress(OSError):
            curve = _parse(_kept(run, use).read_text(encoding="utf-8", errors="replace"))
            if curve is not None:
                found[use] = curve
    return found


def _kept(run: RunData, use: str) -> Path:
    return run.directory / FOLDER / f"{style.slug(*filter(None, parts_of(use)))}.csv"


def _parse(text: str) -> pd.DataFrame | None:
    """A training's log; None for a text that is none."""
    try:
        table = pd.read_csv(io.StringIO(text), usecols=["iteration", "objective"]).apply(pd.to_numeric, errors="coerce")
    except ValueError:
        return None
    table = table[(table > 0).all(axis=1) & np.isfinite(table).all(axis=1)]
    return table.sort_values("iteration") if len(table) > 1 else None


def net_table(analysed: Analysed) -> Table | None:
    """How each net was trained, as its file says; None where there is no net on record."""
    rows = []
    for use, found in sorted((run_facts.get(analysed.run.meta, "inputs", "nets") or {}).items()):
        meta = found.get("meta") if isinstance(found, Mapping) else None
        if not isinstance(meta, Mapping):
            continue
        asked = meta.get("training") if isinstance(meta.get("training"), Mapping) else {}
        sizes = [side for side in (asked.get("size"), *(asked.get("more_sizes") or ())) if isinstance(side, int)]
        final, before = run_facts.get(meta, "final_objective", "objective"), stages(meta)[:-1]
        commands = [clean(stage.get("command") or "", 300) for stage in (*before, meta)]
        earlier = " and ".join(clean(stage.get("iterations") or "?", 20) for stage in before)
        time, part = seconds(found)
        rows.append([
            _name(use, analysed.methods),
            Entry(clean(meta.get("iterations") or "?", 20), f"after {earlier}" if earlier else ""),
            clean(asked.get("batch") or "?", 20), listing([size_name(side) for side in sizes]) or "?",
            clean(asked.get("dtype") or "float32", 20), Entry(_number(time, "s"), part),
            Entry(_number(final, "1"), _window(meta)), Entry(", then ".join(commands)),
        ])  # fmt: skip
    columns = ["net", "iterations", "batch", "pictures", "precision", "time", "objective at the end", "command"]
    note = (
        "The objective of training is that of the pictures it was trained on; the net's own objective in this run, on "
        "this run's picture, is another number."
    )
    return table("training", "The nets and their training", columns, rows, (1, 2, 5, 6), note) if rows else None


def seconds(net: Any) -> tuple[float | None, str]:
    """How long a net, as run.json has it, was trained, with all trainings that it went on from; and of how many of them
    that is known, where it is not of all.
    """
    known, parts = known_seconds(run_facts.get(net, "meta") or {})
    part = f"of {len(known)} in {parts} parts" if 0 < len(known) < parts else ""
    return sum(known) if known else None, part


def _name(use: str, methods: Methods) -> str:
    style_name, method, task = parts_of(use)
    return ", ".join(filter(None, [methods.title(method), task_name(task), clean(style_name, 40)]))


def _number(value: Any, unit: str) -> str:
    return quantity(float(value), unit) if isinstance(value, (int, float)) else "?"


def _window(meta: Mapping[str, Any]) -> str:
    window = meta.get("final_window")
    return f"mean of the last {window}" if isinstance(window, int) and window > 1 else ""


def plots(analysed: Analysed) -> Iterator[Plot]:
    """One plot with the curve of every net that the run directory has one of; of many nets one for each method."""
    found, known = curves(analysed.run), analysed.methods
    used = run_facts.get(analysed.run.meta, "inputs", "nets") or {}
    several = len(found) > MOST_CURVES
    for method in sorted({parts_of(use)[1] for use in found}) if several else [""] if found else []:
        own = [use for use in sorted({*found, *used}) if method in ("", parts_of(use)[1])]
        missing = [_name(use, known) for use in own if use not in found]
        title = "Training of the nets" + (f", {clean(known.title(method), 40)}" if several else "")
        name = style.slug(*filter(None, ("training", method)))
        yield _plot({use: found[use] for use in own if use in found}, missing, known, name, title)


def _plot(found: Mapping[str, pd.DataFrame], missing: list[str], known: Methods, name: str, title: str) -> Plot:
    drawn, (axes,) = style.figure()
    told, styles = [], sorted({parts_of(use)[0] for use in found})
    for use, curve in found.items():
        own, method, task = parts_of(use)
        text, line = clean(_name(use, known), 60), style.LINES.get(task, ":")
        color = style.tint(known[method].color, 0.75 * styles.index(own) / len(styles))
        first, last = training_curve.draw(axes, curve["iteration"], curve["objective"], text, color, line)
        told.append(f"{text}: from {first} to {last} in {int(curve['iteration'].iloc[-1]):,} iterations")
    training_curve.finish(drawn, title)
    caption = f"{training_curve.CAPTION} Of a net that was trained in parts, the last part."
    caption += f" Not on record: the training of {listing(missing)}." if missing else ""
    alt = f"Objective against iterations of training: {'; '.join(told)}"
    return finished(drawn, name, title, caption, alt, "training")
