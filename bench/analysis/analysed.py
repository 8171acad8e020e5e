"""One run, analysed: what every page, plot and table of its report takes. The run is read once, before. No engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from bench.analysis import claims, engine_comparison, growth, methods, roofline, summary
from bench.analysis.claims import QUALITY_FLOOR, Finding
from bench.analysis.methods import Methods
from bench.analysis.summary import SPEEDUP_EQUAL
from bench.store.reader import RunData
from nst_gluon.system.errors import UserError

EXTRAS = ("style_name", "engine", "dtype", "device")


@dataclass(frozen=True)
class Analysed:
    """A run with its summary, the findings on the claims, and everything else that is computed from it.

    Attributes:
        untrained: the verdict on each claim for the same nets before their training, by the claim's id.
        engines: :func:`bench.analysis.engine_comparison.compare`.
        laws: :func:`bench.analysis.growth.laws`.
        peaks: what the machine does at most; None where that was not measured beside the run's folder.
        roofline: :func:`bench.analysis.roofline.fractions`; empty without peaks.
    """

    run: RunData
    methods: Methods
    summary: pd.DataFrame
    findings: tuple[Finding, ...] = ()
    engines: pd.DataFrame = field(default_factory=pd.DataFrame)
    laws: tuple[Any, ...] = ()
    peaks: roofline.Peaks | None = None
    roofline: pd.DataFrame = field(default_factory=pd.DataFrame)
    untrained: Mapping[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> float | None:
        """The loss that was asked for (--target-loss); None: the nets' own."""
        return summary.asked_of(self.run)

    @cached_property
    def random_weights(self) -> bool:
        return claims.uses_random_weights(self.run.meta)

    @cached_property
    def several(self) -> tuple[str, ...]:
        """Those of style, engine, dtype and device of which the run has several, so that a label must name them."""
        return tuple(name for name in EXTRAS if self.summary[name].nunique() > 1)

    def rows(self, metric: str | None = None, **fields: Any) -> pd.DataFrame:
        """The rows of the summary with these fields, at batch 1 unless it is given."""
        found = self.summary
        for name, value in {"batch": 1, **({} if metric is None else {"metric": metric}), **fields}.items():
            found = found[found[name] == value]
        return found

    def row(self, metric: str, **fields: Any) -> dict[str, Any] | None:
        """The one such row; None where there is none."""
        found = self.rows(metric, **fields).to_dict("records")
        return found[0] if found else None

    def speedups(self) -> pd.DataFrame:
        """The known speed-ups at equal loss at batch 1, with ``evaluations``; ``fine``: above the quality floor."""
        rows = self.rows(SPEEDUP_EQUAL)
        rows = rows[rows["value"].notna()]
        steps = [claims.evaluations(self.summary, row, self.methods.baseline) for row in rows.to_dict("records")]
        return rows.assign(evaluations=pd.Series(steps, rows.index, dtype=float)).assign(
            fine=lambda table: table["evaluations"] >= QUALITY_FLOOR
        )


def analyse(run: RunData) -> Analysed:
    """Everything that a report says of a run, computed."""
    known, table = methods.of_run(run), summary.summarise_run(run)
    peaks = _peaks(run)
    return Analysed(
        run=run,
        methods=known,
        summary=table,
        findings=tuple(claims.of_run(run, table, known)),
        engines=engine_comparison.compare(run.cells, run.samples, table),
        laws=tuple(growth.laws(table)),
        peaks=peaks,
        roofline=pd.DataFrame() if peaks is None else _roofline(run, peaks),
        untrained={
            found.claim.id: found.verdict for found in claims.of_run(run, claims.untrained(table, known), known)
        },
    )


def summarised(run: RunData, table: pd.DataFrame) -> Analysed:
    """The same without what a sentence on the run does not need, from a summary that was computed before."""
    return Analysed(run, methods.of_run(run), table)


def _peaks(run: RunData) -> roofline.Peaks | None:
    try:
        return roofline.read_peaks(run.directory.resolve().parent, run.meta)
    except (UserError, KeyError):
        return None


def _roofline(run: RunData, peaks: roofline.Peaks) -> pd.DataFrame:
    try:
        return roofline.fractions(roofline.cell_costs(run), run.samples, peaks)
    except (UserError, KeyError, ValueError, TypeError):  # a preset or descriptor that this version does not know
        return pd.DataFrame()
