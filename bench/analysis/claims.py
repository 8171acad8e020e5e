"""The published claims as data, and the verdict on each from a run's summary. Imports no engine.

A claim names a metric of the summary, the cell it belongs to, the published value and one of three rules
(RULES). The rule turns the measured interval into a verdict; nothing else does. Where the interval is missing
(a single sample), the measured value stands for both of its ends.

A lower bound (the optimisation did not reach the target in its time) confirms an 'at least' that it already
satisfies and refutes an 'about' that it already exceeds threefold; anything else it leaves not measured.

An absolute time belongs to the hardware it was measured on. Such a claim is marked ``hardware_bound``: a
CPU that is slower than the published GPU, or any machine that is faster than an 'about' allows, refutes
nothing. The claim is then 'not measured', and the value is there for comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis import summary as analysis
from bench.store.reader import SUMMARY_COLUMNS, parse_table, read_run
from nst_gluon.system.files import write_atomically

REPRODUCED = "reproduced"
PARTLY = "partly"
NOT_REPRODUCED = "not reproduced"
NOT_MEASURED = "not measured"
VERDICTS = (REPRODUCED, PARTLY, NOT_REPRODUCED, NOT_MEASURED)
COLUMNS = ("claim", "source", "published", "measured", "low", "high", "verdict", "unit", "reason", "id")

AT_LEAST, AT_MOST, ABOUT = "at least", "at most", "about"
TOLERANCE = {AT_LEAST: 0.1, AT_MOST: 0.1, ABOUT: 0.2}
SAME_ORDER = 3.0
RULES = {
    AT_LEAST: f"At least (ratios): reproduced if the whole interval is at or above the published value less "
    f"{TOLERANCE[AT_LEAST]:.0%}, as published figures are round; partly if it reaches that mark, or lies wholly above "
    f"1/{SAME_ORDER:.0f} of the published value; else not reproduced.",
    AT_MOST: f"At most (times, sizes, memory): reproduced if the whole interval is at or below the published value "
    f"plus {TOLERANCE[AT_MOST]:.0%}; partly if it reaches that mark, or lies wholly below {SAME_ORDER:.0f} times the "
    "published value; else not reproduced.",
    ABOUT: f"About: reproduced if the whole interval is within {TOLERANCE[ABOUT]:.0%} of the published value or range; "
    f"partly if it meets that band, or lies wholly between 1/{SAME_ORDER:.0f} and {SAME_ORDER:.0f} times the published "
    "value; else not reproduced.",
}
EXCEPTIONS = (
    "A lower bound confirms an 'at least' that it already satisfies and refutes an 'about' that it already exceeds "
    "threefold; anything else it leaves not measured. A time published for a GPU is not refuted by a slower CPU, nor "
    "an 'about' by a faster machine: that is not measured, and the value is there for comparison."
)

ULYANOV = "Ulyanov et al. 2016, Texture Networks"
ARTICLE = "article on texture networks"
JOHNSON = "Johnson et al. 2016, table 1"


@dataclass(frozen=True)
class Claim:
    """One published statement and how it is measured.

    ``published`` is (low, high) in ``unit``, equal for a single figure. The measured value is ``factor``
    times the summary's ``metric`` of ``method`` at ``task``, ``size``, batch 1, float32.
    ``needs_real_weights``: the value depends on what the loss means, so random descriptor weights cannot
    measure it. ``headline``: one of the few that a reader came for.
    """

    id: str
    text: str
    source: str
    published: tuple[float, float]
    unit: str
    rule: str
    metric: str
    method: str
    task: str
    size: int
    factor: float = 1.0
    hardware_bound: bool = False
    needs_real_weights: bool = False
    headline: bool = False

    @property
    def published_text(self) -> str:
        """The published figure as it goes into claims.csv: one number, or a range with a hyphen."""
        low, high = (f"{value:.6g}" if value < 1e6 else f"{value:.0f}" for value in self.published)
        return low if low == high else f"{low}-{high}"


@dataclass(frozen=True)
class Finding:
    """What a run says on a claim. ``reason`` says on what the verdict rests, or why there is none."""

    claim: Claim
    measured: float
    low: float
    high: float
    verdict: str
    reason: str
    lower_bound: bool = False


def _one(value: float) -> tuple[float, float]:
    return (value, value)


def _johnson_table() -> tuple[Claim, ...]:
    published = {256: (212, 636, 1060), 512: (205, 615, 1026), 1024: (208, 625, 1042)}
    return tuple(
        Claim(
            id=f"johnson-speedup-{size}-{iterations}",
            text=f"The Johnson net is {value} times faster than {iterations} iterations of optimisation at "
            f"{size} x {size}",
            source=JOHNSON,
            published=_one(value),
            unit="x",
            rule=AT_LEAST,
            metric=f"speedup_at_{analysis.REFERENCE_ITERATIONS}_iterations",
            method="johnson",
            task="stylize",
            size=size,
            factor=iterations / analysis.REFERENCE_ITERATIONS,
            headline=(size, iterations) == (256, 500),
        )
        for size, values in published.items()
        for iterations, value in zip((100, 300, 500), values)
    )


_TEXTURE: dict[str, Any] = {"task": "texture", "size": 256}
_STYLIZE: dict[str, Any] = {"task": "stylize", "size": 256}

CLAIMS: tuple[Claim, ...] = (
    Claim("texture-net-500x", "A texture network makes a texture 500 times faster than optimisation reaches the same "
          "loss", ULYANOV, _one(500), "x", AT_LEAST, "speedup_at_equal_loss", "texture_net", **_TEXTURE,
          needs_real_weights=True, headline=True),
    Claim("texture-net-20ms", "A texture network makes a 256 x 256 sample in 20 ms", ULYANOV, _one(0.020), "s",
          AT_MOST, "latency_s", "texture_net", **_TEXTURE, hardware_bound=True),
    Claim("optimisation-10s", "Optimisation takes about 10 s to reach the texture network's loss at 256 x 256",
          ULYANOV, _one(10), "s", ABOUT, "time_to_target_texture_net_s", "gatys", **_TEXTURE, hardware_bound=True,
          needs_real_weights=True),
    Claim("memory-ratio-article", "A texture network needs 256 MB where optimisation needs 1100 MB, 4.3 times less",
          ARTICLE, _one(4.3), "x", AT_LEAST, "working_memory_ratio", "texture_net", **_TEXTURE, headline=True),
    Claim("memory-ratio-paper", "A texture network needs 170 MB where optimisation needs 1100 MB, 6.5 times less",
          ULYANOV, _one(6.5), "x", AT_LEAST, "working_memory_ratio", "texture_net", **_TEXTURE),
    Claim("memory-256mb", "A texture network needs 256 MB for 256 x 256", ARTICLE, _one(256e6), "B", AT_MOST,
          "working_memory_bytes", "texture_net", **_TEXTURE),
    Claim("memory-170mb", "A texture network needs 170 MB for 256 x 256", ULYANOV, _one(170e6), "B", AT_MOST,
          "working_memory_bytes", "texture_net", **_TEXTURE),
    Claim("memory-1100mb", "Optimisation needs 1100 MB for 256 x 256", ULYANOV, _one(1100e6), "B", ABOUT,
          "working_memory_bytes", "gatys", **_TEXTURE),
    Claim("parameters-65k", "A texture network has about 65,000 parameters", ARTICLE, _one(65_000), "1", ABOUT,
          "parameters", "texture_net", **_TEXTURE, headline=True),
    Claim("file-300kb", "A texture network is a file of about 300 kB", ARTICLE, _one(300e3), "B", AT_MOST,
          "net_file_bytes", "texture_net", **_TEXTURE),
    Claim("johnson-equal-loss-iterations", "The Johnson net's picture has the loss that optimisation reaches after 50 "
          "to 100 iterations", JOHNSON, (50, 100), "iterations", ABOUT, "iterations_to_target_johnson", "gatys",
          **_STYLIZE, needs_real_weights=True),
    Claim("johnson-equal-loss-speedup", "At equal loss the Johnson net is about 200 times faster than optimisation",
          JOHNSON, _one(200), "x", AT_LEAST, "speedup_at_equal_loss", "johnson", **_STYLIZE, needs_real_weights=True,
          headline=True),
    *_johnson_table(),
)  # fmt: skip


def judge(rule: str, published: tuple[float, float], low: float, high: float) -> str:
    """The verdict of a rule (module docstring) on a measured interval; every argument in the claim's unit."""
    least, most = published[0] * (1 - TOLERANCE[rule]), published[1] * (1 + TOLERANCE[rule])
    above = rule == AT_MOST or low >= least
    below = rule == AT_LEAST or high <= most
    if above and below:
        return REPRODUCED
    meets = (rule == AT_MOST or high >= least) and (rule == AT_LEAST or low <= most)
    near_above = rule == AT_MOST or low >= published[0] / SAME_ORDER
    near_below = rule == AT_LEAST or high <= published[1] * SAME_ORDER
    return PARTLY if meets or (near_above and near_below) else NOT_REPRODUCED


def find(claim: Claim, summary: pd.DataFrame, random_weights: bool = False) -> Finding:
    """The finding on one claim from a summary table of one run."""
    row = row_of(claim, summary)
    if row is None:
        return _unmeasured(claim, f"the run has no {claim.metric} of {claim.method}, {claim.task} at {claim.size}")
    value, low, high = (claim.factor * float(row[name]) for name in ("value", "low", "high"))
    if math.isnan(value):
        return _unmeasured(claim, f"no value, because a cell that it needs ended as: {row['status']}")
    device, basis = str(row["device"]), f"{row['engine']} on {row['device']}, n = {row['n']}"
    bound = row["status"] in (analysis.LOWER_BOUND, analysis.NOT_REACHED)
    if claim.needs_real_weights and random_weights:
        return Finding(claim, value, low, high, NOT_MEASURED, f"random descriptor weights: no loss to equal; {basis}")
    if bound:
        verdict, reason = _judge_bound(claim, value)
        return Finding(claim, value, value, math.inf, verdict, f"{reason}; {basis}", lower_bound=True)
    ends = (value, value) if math.isnan(low) or math.isnan(high) else (low, high)
    verdict, reason = judge(claim.rule, claim.published, *ends), basis
    if claim.hardware_bound:
        times = value / claim.published[1]
        reason = f"hardware-bound: {times:.2g} times the time published for a GPU of 2016; {basis}"
        if verdict == NOT_REPRODUCED and (times < 1 or not device.startswith("gpu")):
            verdict, reason = NOT_MEASURED, f"for comparison only, {reason}"
    return Finding(claim, value, low, high, verdict, reason)


def row_of(claim: Claim, summary: pd.DataFrame) -> pd.Series | None:
    """The row of the summary that speaks for a claim; None where the run has none."""
    rows = summary[
        (summary["metric"] == claim.metric)
        & (summary["method"] == claim.method)
        & (summary["task"] == claim.task)
        & (summary["size"] == claim.size)
        & (summary["batch"] == 1)
        & (summary["dtype"] == "float32")
    ]
    if rows.empty:
        return None
    return rows.loc[min(rows.index, key=lambda index: _preference(rows.loc[index]))]


def _judge_bound(claim: Claim, bound: float) -> tuple[str, str]:
    """The verdict on a value that is known only to be ``bound`` or more."""
    if claim.rule == AT_LEAST and bound >= claim.published[0] / SAME_ORDER:
        return judge(claim.rule, claim.published, bound, math.inf), "a lower bound, and the claim holds from there on"
    if claim.rule != AT_LEAST and not claim.hardware_bound and bound > claim.published[1] * SAME_ORDER:
        return NOT_REPRODUCED, "a lower bound, already beyond three times the published value"
    return NOT_MEASURED, "only a lower bound is known: the target was not reached in the time allowed"


def find_all(summary: pd.DataFrame, random_weights: bool = False, claims: Sequence[Claim] = CLAIMS) -> list[Finding]:
    """The finding on each claim, in the order of ``claims``."""
    return [find(claim, summary, random_weights) for claim in claims]


def to_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """The rows of claims.csv (COLUMNS)."""
    return pd.DataFrame(
        [
            (f.claim.text, f.claim.source, f.claim.published_text, f.measured, f.low, f.high, f.verdict, f.claim.unit,
             f.reason, f.claim.id)
            for f in findings
        ],
        columns=list(COLUMNS),
    )  # fmt: skip


def uses_random_weights(meta: Mapping[str, Any]) -> bool:
    """Whether a run was made with random descriptor weights, from its run.json."""
    settings, inputs = meta.get("settings") or {}, meta.get("inputs") or {}
    return bool(settings.get("random_weights") or (inputs.get("weights") or {}).get("random"))


def evaluate(run_dir: str | Path) -> pd.DataFrame:
    """Judge every claim on a run's summary.csv, write its claims.csv, and return that table."""
    table = to_table(findings_of(run_dir))
    text = table.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    write_atomically(Path(run_dir) / "claims.csv", text.encode())
    return table


def findings_of(run_dir: str | Path) -> list[Finding]:
    """The findings of a run from its summary.csv."""
    run = read_run(run_dir)
    text = (run.directory / "summary.csv").read_text(encoding="utf-8")
    return find_all(parse_table(text, SUMMARY_COLUMNS, "summary.csv"), uses_random_weights(run.meta))


def _unmeasured(claim: Claim, reason: str) -> Finding:
    return Finding(claim, math.nan, math.nan, math.nan, NOT_MEASURED, reason)


def _preference(row: pd.Series) -> tuple[bool, bool, bool, str, str]:
    """Which of several rows speaks for the run: one with a value, the suite's own engine, a GPU."""
    return (
        math.isnan(row["value"]),
        row["engine"] != "gluon",
        not str(row["device"]).startswith("gpu"),
        str(row["engine"]),
        str(row["device"]),
    )
