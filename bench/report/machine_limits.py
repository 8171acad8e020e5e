"""What the run's machine can do at most, and how near its cells come: where ``bench roofline`` was run on it."""

from __future__ import annotations

from bench.analysis import roofline
from bench.report import roofline as drawing
from bench.report.plots import Plot
from bench.report.tables import Entry, Table, table
from bench.store.reader import RunData
from nst_gluon.pages.wording import clean, significant
from nst_gluon.system.errors import UserError


def _peaks(run: RunData) -> roofline.Peaks | None:
    """Those beside the run's folder; None where they were not measured, or the run is of several machines."""
    try:
        return roofline.read_peaks(run.directory.resolve().parent, run.meta)
    except (UserError, KeyError):
        return None


def ceilings(run: RunData) -> Table | None:
    """The peaks of the machine; None where they are not known."""
    peaks = _peaks(run)
    if peaks is None:
        return None
    rows = [
        [f"arithmetic, {clean(name, 20)}", Entry(f"{significant(value / 1e9)} billion operations/s", order=value)]
        for name, value in peaks.flops_per_s.items()
    ]
    rows.append(["memory, a copy", f"{significant(peaks.bytes_per_s / 1e9)} GB/s"])
    note = "A large matrix product and a copy, through the engine: no method can be faster than these."
    return table("ceilings", "What this machine can do at most", ["limit", "measured"], rows, (1,), note)


def plots(run: RunData) -> list[Plot]:
    """The roofline with the run's cells; none where the peaks or the cells' costs are not known."""
    peaks = _peaks(run)
    if peaks is None:
        return []
    try:
        rows = roofline.fractions(roofline.cell_costs(run), run.samples, peaks)
    except (UserError, KeyError, ValueError, TypeError):  # a net, preset or descriptor that this version does not know
        return []
    return [] if rows.empty else [drawing.plot(rows, peaks)]
