"""What judges say of a run's pictures, and how far they agree with the objective. No engine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from bench.analysis import metrics
from bench.plan.cells import CELL_COLUMNS
from bench.plan.engines import REFERENCE
from bench.store.reader import parse_table
from bench.store.schema import JUDGE_COLUMNS, JUDGES, NOISE, NOISE_COLUMNS
from nst_gluon.objective.loss_terms import TERMS
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import read_bounded

MOST_BYTES = 16 << 20
# Pictures that can be compared: the same picture was asked for, in the same precision.
GROUP = tuple(name for name in CELL_COLUMNS if name not in ("engine", "method", "batch", "seed"))
LEAST = 3  # pictures that an order says anything of


def read(run: Path) -> pd.DataFrame:
    """judges.csv with one row a picture: the cell's columns but the seed, ``target``, ``objective`` and the judges',
    means over the seeds; empty where the run was not judged.
    """
    return wide(_read(run / JUDGES, JUDGE_COLUMNS))


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """A table of judges.csv as :func:`read` gives it."""
    table = table[table["metric"].isin(["objective", *metrics.named(metrics.JUDGE)]) & table["value"].notna()]
    if table.empty:
        return pd.DataFrame()
    cell = [name for name in JUDGE_COLUMNS if name not in ("seed", "metric", "value")]
    found = table.pivot_table(index=cell, columns="metric", values="value", aggfunc="mean", sort=True).reset_index()
    return found if "objective" in found else found.assign(objective=np.nan)


def noise(run: Path) -> pd.DataFrame:
    """noise.csv (NOISE_COLUMNS), empty where the run has none."""
    table = _read(run / NOISE, NOISE_COLUMNS)
    for name in ("scale", *TERMS):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return table.dropna().sort_values(["method", "scale"])


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        text = read_bounded(path, MOST_BYTES).decode("utf-8", errors="replace")
        return parse_table(text, columns, path.name)
    except (OSError, UserError):  # not there, or not what this version wrote: it can be made anew
        return parse_table("", columns, path.name)


def _finished(table: pd.DataFrame) -> pd.DataFrame:
    """Each method's pictures once: those of the suite's own engine where several have it, and none "at the loss of" a
    net, which is a stage of a descent that is there already.
    """
    ended = table[table["target"].fillna("") == ""]
    ordered = ended.assign(other=ended["engine"] != REFERENCE).sort_values("other", kind="stable")
    return ordered.drop_duplicates([*GROUP, "method"])


def correlations(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Spearman's rank correlation of each judge with the objective, over the pictures of one or more runs.

    Only finished pictures of one run and one GROUP are put in order; a correlation is the mean over groups of LEAST
    pictures and more, weighted by how many they have. 1: the judge's order from best to worst is the objective's; 0:
    none of it.

    Returns:
        A row a judge: metric, correlation, pictures, groups, and least and most, those of single groups.
    """
    found: dict[str, list[tuple[float, int]]] = {}
    for table in tables:
        for _, group in _finished(table).groupby(list(GROUP)) if len(table) else ():
            for name in metrics.named(metrics.JUDGE):
                if name not in group:
                    continue
                pair = group[["objective", name]].dropna()
                if len(pair) < LEAST or pair.nunique().min() < 2:
                    continue
                ranks = pair.rank().to_numpy()
                sign = -1 if metrics.METRICS[name].better == metrics.HIGHER else 1
                found.setdefault(name, []).append((sign * float(np.corrcoef(ranks.T)[0, 1]), len(pair)))
    rows = [
        (name, np.average([r for r, _ in parts], weights=[n for _, n in parts]), sum(n for _, n in parts), len(parts),
         min(r for r, _ in parts), max(r for r, _ in parts))
        for name, parts in found.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["metric", "correlation", "pictures", "groups", "least", "most"])
