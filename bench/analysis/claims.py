"""The published claims as data, and the verdict on each from a run's summary. Imports no engine.

A claim names a metric, whom it is of (the net of a paper, or the optimisation that speed-ups relate to), one or more
sizes with the published value of each, and a rule (RULES). The rule turns the measured interval into a verdict;
nothing else does, but for EXCEPTIONS. Where there is no interval (a single sample) the measured value stands for both
of its ends. Of several styles and sizes the worst speaks (:func:`worst`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis import metrics
from bench.analysis import summary as analysis
from bench.analysis.methods import Methods
from bench.store.reader import GROUP_COLUMNS, RunData
from nst_gluon.pages.wording import clean
from nst_gluon.system.files import write_atomically

REPRODUCED, PARTLY, NOT_REPRODUCED = "reproduced", "partly", "not reproduced"
BELOW_FLOOR, OTHER_HARDWARE, NOT_MEASURED = "below the quality floor", "other hardware", "not measured"
VERDICTS = (REPRODUCED, PARTLY, NOT_REPRODUCED, BELOW_FLOOR, OTHER_HARDWARE, NOT_MEASURED)
COUNTED = VERDICTS[:4]
BOUNDS = (analysis.LOWER_BOUND, analysis.NOT_REACHED)  # statuses of what is known only to be that or more
COLUMNS = ("claim", "source", "published", "measured", "low", "high", "verdict", "unit", "reason", "id", "size")

QUALITY_FLOOR = 20  # evaluations of the objective; Johnson et al. say 50 to 100 for their nets
AT_LEAST, AT_MOST, ABOUT = "at least", "at most", "about"
TOLERANCE = {AT_LEAST: 0.1, AT_MOST: 0.1, ABOUT: 0.2}
SAME_ORDER = 3.0
RULES = {
    AT_LEAST: f"At least: reproduced if the whole interval is above the published value less {TOLERANCE[AT_LEAST]:.0%} "
    f"(published figures are round); partly if it reaches that mark or is wholly above 1/{SAME_ORDER:.0f} of the "
    "published value; otherwise not reproduced.",
    AT_MOST: f"At most: reproduced if the whole interval is below the published value plus {TOLERANCE[AT_MOST]:.0%}; "
    f"partly if it reaches that mark or is wholly below {SAME_ORDER:.0f} times the published value; otherwise not "
    "reproduced.",
    ABOUT: f"About: reproduced if the whole interval is within {TOLERANCE[ABOUT]:.0%} of the published value or range; "
    f"partly if it meets that band or is wholly between 1/{SAME_ORDER:.0f} and {SAME_ORDER:.0f} times the published "
    "value; otherwise not reproduced.",
}
EXCEPTIONS = (
    f"Quality floor: a speed claim counts only for a net whose loss takes optimisation at least {QUALITY_FLOOR} "
    "evaluations to reach.",
    "Other hardware: seconds and bytes published for a GPU of 2016 are shown beside this machine's, without a verdict.",
    "A lower bound confirms an 'at least' that it already satisfies and refutes an 'about' that it already exceeds "
    "threefold; otherwise it leaves the claim not measured.",
    "Several styles or sizes: the worst verdict counts, and of equal ones the worst value. Where a style or size of "
    "the run could not be judged, the claim is partly reproduced at most.",
)
ABSENT = "not in this run"


@dataclass(frozen=True)
class Paper:
    """Where a claim was published. ``title`` is what a method's own ``paper`` names."""

    name: str
    title: str
    url: str = ""


PERCEPTUAL = Paper("Johnson et al. 2016, table 1", "Perceptual Losses", "https://arxiv.org/abs/1603.08155")
TEXTURE = Paper("Ulyanov et al. 2016", "Texture Networks", "https://arxiv.org/abs/1603.03417")
ARTICLE = Paper("article on texture networks", "Texture Networks")
PAPERS = (
    Paper("Gatys et al. 2015, textures", "Texture Synthesis", "https://arxiv.org/abs/1505.07376"),
    Paper("Gatys et al. 2015, style", "A Neural Algorithm of Artistic Style", "https://arxiv.org/abs/1508.06576"),
    Paper("Gatys et al. 2017", "Controlling Perceptual Factors", "https://arxiv.org/abs/1611.07865"),
    Paper("Johnson et al. 2016", PERCEPTUAL.title, PERCEPTUAL.url),
    TEXTURE,
)


@dataclass(frozen=True)
class Claim:
    """One published statement and how it is measured: one independent measurement, at one size or several.

    Attributes:
        published: (low, high) in ``unit`` by size; equal for a single figure.
        metric: of the summary, at batch 1 in float32. One of a family (:func:`bench.analysis.metrics.aimed_at`) is
            that for the paper's net.
        of_optimisation: the row is the optimisation's; otherwise that of the net which ``paper`` describes.
        needs_real_weights: the value depends on what the loss means; random descriptor weights cannot measure it.
        speed: it counts only for a net above the quality floor.
        hardware_bound: it is bound to the paper's hardware.
    """

    id: str
    text: str
    paper: Paper
    published: Mapping[int, tuple[float, float]]
    unit: str
    rule: str
    metric: str
    task: str
    of_optimisation: bool = False
    needs_real_weights: bool = False
    speed: bool = False
    hardware_bound: bool = False

    def published_text(self, size: int) -> str:
        """The published figure as it goes into claims.csv: one number, or a range with a hyphen."""
        low, high = (f"{value:.6g}" if value < 1e6 else f"{value:.0f}" for value in self.published[size])
        return low if low == high else f"{low}-{high}"


@dataclass(frozen=True)
class Part:
    """What a run says on a claim at one size. ``why`` explains the verdict where the numbers do not (ABSENT: the run
    has no such cell), ``basis`` is what it rests on; ``row`` is the row of the summary, None without one.
    """

    size: int
    measured: float
    low: float
    high: float
    verdict: str
    why: str
    basis: str = ""
    lower_bound: bool = False
    row: Mapping[str, Any] | None = None

    @property
    def reason(self) -> str:
        return "; ".join(filter(None, [self.why, self.basis]))


@dataclass(frozen=True)
class Finding:
    """What a run says on a claim."""

    claim: Claim
    parts: tuple[Part, ...]

    @property
    def worst(self) -> Part:
        """The size that speaks for the claim."""
        return worst(self.claim, self.parts, "sizes")

    @property
    def verdict(self) -> str:
        return self.worst.verdict


def _at_256(value: float, high: float | None = None) -> dict[int, tuple[float, float]]:
    return {256: (value, value if high is None else high)}


CLAIMS: tuple[Claim, ...] = (
    Claim("texture-net-speed", "A texture network reaches the same loss 500 times faster than optimisation",
          TEXTURE, _at_256(500), "x", AT_LEAST, analysis.SPEEDUP_EQUAL, "texture", needs_real_weights=True, speed=True),
    Claim("johnson-equal-loss-speed", "At equal loss the net stylises about 200 times faster than optimisation",
          PERCEPTUAL, _at_256(200), "x", AT_LEAST, analysis.SPEEDUP_EQUAL, "stylize", needs_real_weights=True,
          speed=True),
    Claim("johnson-speed-500", "The net stylises about 1,000 times faster than 500 iterations of optimisation",
          PERCEPTUAL, {256: (1060, 1060), 512: (1026, 1026), 1024: (1042, 1042)}, "x", AT_LEAST, analysis.SPEEDUP_500,
          "stylize", speed=True),
    Claim("johnson-quality", "The net's loss is what optimisation reaches after 50 to 100 iterations", PERCEPTUAL,
          _at_256(50, 100), "evaluations", ABOUT, "iterations_to_target", "stylize", of_optimisation=True,
          needs_real_weights=True),
    Claim("memory-ratio", "A texture network needs 4.3 (article) to 6.5 times (paper) less memory than optimisation",
          TEXTURE, _at_256(4.3, 6.5), "x", AT_LEAST, "working_memory_ratio", "texture"),
    Claim("parameters", "A texture network has about 65,000 parameters (a file of about 300 kB)", ARTICLE,
          _at_256(65_000), "1", ABOUT, "parameters", "texture"),
    Claim("texture-net-20ms", "A texture network makes a 256 × 256 sample in 20 ms", TEXTURE, _at_256(0.020), "s",
          AT_MOST, "latency_s", "texture", hardware_bound=True),
    Claim("optimisation-10s", "Optimisation takes about 10 s to the texture network's loss", TEXTURE, _at_256(10), "s",
          ABOUT, "time_to_target_s", "texture", of_optimisation=True, needs_real_weights=True, hardware_bound=True),
    Claim("texture-net-memory", "A texture network needs 170 MB (in the article 256 MB) at 256 × 256", TEXTURE,
          _at_256(170e6, 256e6), "B", AT_MOST, "working_memory_bytes", "texture", hardware_bound=True),
    Claim("optimisation-memory", "Optimisation needs 1,100 MB at 256 × 256", TEXTURE, _at_256(1100e6), "B", ABOUT,
          "working_memory_bytes", "texture", of_optimisation=True, hardware_bound=True),
)  # fmt: skip


def judge(rule: str, published: tuple[float, float], low: float, high: float) -> str:
    """The verdict of a rule (RULES) on a measured interval; every argument in the claim's unit."""
    least, most = published[0] * (1 - TOLERANCE[rule]), published[1] * (1 + TOLERANCE[rule])
    above = rule == AT_MOST or low >= least
    below = rule == AT_LEAST or high <= most
    if above and below:
        return REPRODUCED
    meets = (rule == AT_MOST or high >= least) and (rule == AT_LEAST or low <= most)
    near_above = rule == AT_MOST or low >= published[0] / SAME_ORDER
    near_below = rule == AT_LEAST or high <= published[1] * SAME_ORDER
    return PARTLY if meets or (near_above and near_below) else NOT_REPRODUCED


def evaluations(summary: pd.DataFrame, row: Mapping[str, Any], baseline: str) -> float:
    """How many evaluations the optimisation of a net's setting takes to the net's objective: its quality. NaN where
    that is not known, also because optimisation was ended before QUALITY_FLOOR evaluations.
    """
    found = _quality(summary, row, baseline)
    return math.nan if found is None else float(found["value"])


def _quality(summary: pd.DataFrame, row: Mapping[str, Any], baseline: str) -> Mapping[str, Any] | None:
    """The row of :func:`evaluations`, with their interval."""
    same = (summary["metric"] == metrics.aimed_at("iterations_to_target", str(row["method"]))) & (
        summary["method"] == baseline
    )
    for name in analysis.SETTING:
        same &= summary[name] == row[name]
    if not same.any():
        return None
    found = summary.loc[same].iloc[0]
    ended = found["status"] in BOUNDS and found["value"] < QUALITY_FLOOR
    return None if ended or math.isnan(found["value"]) else found


def _matched(quality: Mapping[str, Any]) -> str:
    """What a net's quality is, beside the floor, in whole evaluations: 19.8 is no 20."""
    value, low, high = (quality[name] for name in ("value", "low", "high"))
    known = low < high < math.inf and math.floor(low) < math.floor(high)
    interval = f" [{math.floor(low)}, {math.floor(high)}]" if known else ""
    return f"matched in {math.floor(value)} evaluations{interval}, {QUALITY_FLOOR} needed"


def find(claim: Claim, summary: pd.DataFrame, known: Methods, random_weights: bool = False) -> Finding:
    """The finding on one claim from a summary table of one run."""
    groups = [rows for _, rows in summary.groupby("style_name")] or [summary]
    each = [[net] for net in known.of_paper(claim.paper.title)] or [[]]

    def of_style(size: int, rows: pd.DataFrame) -> Part:
        return worst(claim, [_part(claim, size, rows, nets, known, random_weights) for nets in each], "nets")

    return Finding(claim, tuple(
        worst(claim, [of_style(size, rows) for rows in groups], "styles") for size in claim.published
    ))  # fmt: skip


def worst(claim: Claim, parts: Sequence[Part], what: str) -> Part:
    """Of several nets, styles or sizes (``what``) the one with the worst verdict, of equal ones with the worst value.

    Where the run has others that could not be judged, its verdict is PARTLY at most.
    """
    there = [part for part in parts if part.why != ABSENT]
    judged = [part for part in there if part.verdict != NOT_MEASURED]
    if not judged:
        return (there or parts)[0]
    found = max(judged, key=lambda part: (VERDICTS.index(part.verdict), _miss(claim, part)))
    if len(judged) == len(there):
        return found
    verdict = max(found.verdict, PARTLY, key=VERDICTS.index)
    counted = f"{len(judged)} of {len(there)} {what} measured"
    return replace(found, verdict=verdict, why="; ".join(filter(None, [found.why, counted])))


def _miss(claim: Claim, part: Part) -> float:
    """By what factor a value is on the wrong side of the published one; below 1 on the right side."""
    low, high = claim.published[part.size]
    short, over = low / part.measured if part.measured else math.inf, part.measured / high
    return {AT_LEAST: short, AT_MOST: over, ABOUT: max(short, over)}[claim.rule]


def _part(
    claim: Claim, size: int, summary: pd.DataFrame, nets: Sequence[str], known: Methods, random_weights: bool
) -> Part:
    """What one style says of the ``nets`` of the claim's paper."""
    cells = summary[
        summary["method"].isin([*nets, known.baseline])
        & (summary["task"] == claim.task)
        & (summary["size"] == size)
        & (summary["batch"] == 1)
        & (summary["dtype"] == "float32")
    ]
    row = _row(claim, cells, nets, known.baseline)
    if row is None:
        failed = cells.loc[~cells["status"].isin([analysis.OK, *BOUNDS]), "status"].tolist()
        why = f"no value: a cell ended as {failed[0]}" if failed and cells["method"].isin(nets).any() else ABSENT
        return Part(size, math.nan, math.nan, math.nan, NOT_MEASURED, why)
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    if math.isnan(value):
        why = f"no value: a cell ended as {row['status']}"
        return Part(size, value, low, high, NOT_MEASURED, why, _basis(row, known), row=row)
    bound = row["status"] in BOUNDS
    low, high = (value, math.inf) if bound else (low, high)
    quality = _quality(summary, row, known.baseline) if claim.speed else None
    if random_weights and (claim.needs_real_weights or claim.speed):
        verdict, why = NOT_MEASURED, "random descriptor weights: there is no loss to equal"
    elif claim.hardware_bound:
        verdict, why = OTHER_HARDWARE, ""
    elif claim.speed and quality is None:
        verdict = NOT_MEASURED
        why = f"its quality is not known: no optimisation reached its loss or made {QUALITY_FLOOR} evaluations"
    elif quality is not None and quality["value"] < QUALITY_FLOOR:
        verdict, why = BELOW_FLOOR, _matched(quality)
    elif bound:
        verdict, why = _judge_bound(claim, claim.published[size], value)
    else:
        ends = (value, value) if math.isnan(low) or math.isnan(high) else (low, high)
        verdict = judge(claim.rule, claim.published[size], *ends)
        why = _matched(quality) if quality is not None and quality["low"] < QUALITY_FLOOR else ""
    return Part(size, value, low, high, verdict, why, _basis(row, known), bound, row)


def _basis(row: Mapping[str, Any], known: Methods) -> str:
    """What a verdict rests on: style, method, engine, device and number of samples."""
    method, net = known.title(row["method"]), metrics.split(row["metric"])[1]
    method += f" to the loss of the {known.title(net)}" if net else ""
    style = clean(row["style_name"], 40)
    return ", ".join(filter(None, [style, method, f"{row['engine']} on {row['device']}", f"n = {row['n']}"]))


def _row(claim: Claim, cells: pd.DataFrame, nets: Sequence[str], baseline: str) -> Mapping[str, Any] | None:
    """The row that speaks for a claim: one with a value, of the suite's own engine, on a GPU; None without any."""
    family = metrics.split(claim.metric)[0]
    wanted = [claim.metric]
    if claim.of_optimisation and family in ("iterations_to_target", "time_to_target_s"):
        wanted = [metrics.aimed_at(family, net) for net in nets]
    rows = cells[cells["metric"].isin(wanted) & cells["method"].isin([baseline] if claim.of_optimisation else nets)]
    return min(rows.to_dict("records"), key=_preference, default=None)


def _preference(row: Mapping[str, Any]) -> tuple[bool, bool, bool, str, str]:
    return (
        math.isnan(row["value"]),
        row["engine"] != "gluon",
        not str(row["device"]).startswith("gpu"),
        str(row["engine"]),
        str(row["device"]),
    )


def _judge_bound(claim: Claim, published: tuple[float, float], bound: float) -> tuple[str, str]:
    """The verdict on a value that is known only to be ``bound`` or more."""
    if claim.rule == AT_LEAST and judge(claim.rule, published, bound, math.inf) == REPRODUCED:
        return REPRODUCED, "a lower bound, and the claim holds from there on"
    if claim.rule != AT_LEAST and bound > published[1] * SAME_ORDER:
        return NOT_REPRODUCED, "a lower bound, already beyond three times the published value"
    return NOT_MEASURED, "only a lower bound is known: optimisation ended before it reached the target"


def untrained(summary: pd.DataFrame, known: Methods) -> pd.DataFrame:
    """What the summary would say of the same nets before their training.

    They are as fast and as small; their pictures have the loss that optimisation starts from, which it therefore
    reaches at its first evaluation.
    """
    table = summary.copy()
    families, aims = (table["metric"].map(lambda name, part=part: metrics.split(str(name))[part]) for part in (0, 1))
    for name, value in (("iterations_to_target", 1.0), ("time_to_target_s", math.nan)):
        chosen = (families == name) & (aims.isin(known.nets) | (aims == ""))
        table.loc[chosen, ["value", "low", "high", "status"]] = [value, value, value, analysis.OK]
    keys = list(GROUP_COLUMNS)
    fixed = table[table["metric"] == analysis.SPEEDUP_500].set_index(keys)
    for index, row in table[table["metric"] == analysis.SPEEDUP_EQUAL].iterrows():
        place = tuple(row[name] for name in keys)
        if place in fixed.index:  # one step over one call
            values = fixed.loc[place, ["value", "low", "high"]].astype(float) / analysis.REFERENCE_ITERATIONS
            table.loc[index, ["value", "low", "high"]] = values.to_numpy()
            table.loc[index, "status"] = analysis.OK
    return table


def to_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """The rows of claims.csv (COLUMNS): one for each size of each claim."""
    return pd.DataFrame(
        [
            (f.claim.text, f.claim.paper.name, f.claim.published_text(part.size), part.measured, part.low, part.high,
             part.verdict, f.claim.unit, part.reason, f.claim.id, part.size)
            for f in findings
            for part in f.parts
        ],
        columns=list(COLUMNS),
    )  # fmt: skip


def uses_random_weights(meta: Mapping[str, Any]) -> bool:
    """Whether a run was made with random descriptor weights, from its run.json."""
    settings, inputs = meta.get("settings") or {}, meta.get("inputs") or {}
    return bool(settings.get("random_weights") or (inputs.get("weights") or {}).get("random"))


def of_run(run: RunData, summary: pd.DataFrame, known: Methods) -> list[Finding]:
    """The finding on each claim, in the order of CLAIMS, from a run and its summary."""
    random_weights = uses_random_weights(run.meta)
    return [find(claim, summary, known, random_weights) for claim in CLAIMS]


def write(findings: Sequence[Finding], directory: Path) -> pd.DataFrame:
    """Write a run's claims.csv; the table."""
    table = to_table(findings)
    text = table.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    write_atomically(directory / "claims.csv", text)
    return table
