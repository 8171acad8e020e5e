"""What makes single numbers less trustworthy: the rules, and the marks that stand beside the numbers they touch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis import claims, metrics
from bench.analysis.analysed import Analysed
from bench.analysis.summary import LOWER_BOUND, NOT_REACHED, SPEEDUP_500, SPEEDUP_EQUAL, WHOLE_CALL, matching
from bench.machine.environment import BUSY_CORES, MOST_DRIFT
from bench.store.reader import GROUP_COLUMNS
from nst_gluon.methods import OPTIMISES
from nst_gluon.pages.wording import clean

FEW = 10
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SUPERSCRIPTS = dict(zip(LETTERS, "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ𐞥ʳˢᵗᵘᵛʷˣʸᶻ"))
AT_EQUAL_LOSS = (SPEEDUP_EQUAL, f"{SPEEDUP_EQUAL}{WHOLE_CALL}", "speedup_over_variant",
                 f"speedup_over_variant{WHOLE_CALL}")  # fmt: skip
TIMES = ("latency_s", "iteration_s", "throughput_images_per_s", "time_to_target_s", *AT_EQUAL_LOSS,
         SPEEDUP_500)  # fmt: skip
OF_LOSS = ("objective", "content", "style", "target", "time_to_target_s", "iterations_to_target",
           *AT_EQUAL_LOSS)  # fmt: skip
OF_SEEDS = ("time_to_target_s", "iterations_to_target", "break_even", *AT_EQUAL_LOSS)
OF_TRAINING = ("training_s", "break_even")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Note:
    """A footnote: its ``mark`` is a letter, in the order in which the notes are met."""

    mark: str
    text: str

    @property
    def superscript(self) -> str:
        return SUPERSCRIPTS[self.mark]


class Notes(dict[str, Note]):
    """Gives every text one mark, however many numbers it touches; those of one number come in the alphabet's order."""

    def __missing__(self, text: str) -> Note:
        return self.setdefault(text, Note(LETTERS[min(len(self), len(LETTERS) - 1)], text))

    def mark(self, texts: Iterable[str]) -> tuple[Note, ...]:
        return tuple(sorted((self[text] for text in texts), key=lambda note: note.mark))


def one_start(row: Row, analysed: Analysed) -> str:
    """What to keep in mind where a number rests on one start of an optimisation, or on one of a photo; else empty."""
    optimiser = metrics.split(str(row["metric"]))[1] or analysed.methods.baseline
    if analysed.methods[str(row["method"])].kind == OPTIMISES:
        optimiser = row["method"]
    of = {name: row[name] for name in GROUP_COLUMNS} | {"method": optimiser, "batch": 1}
    starts = matching(analysed.run.curves, of).groupby("photo")["seed"].nunique()
    if not row["n"] or 1 not in (row["n"], *starts):
        return ""
    if len(starts) > 1:
        return (
            "One start: some photos, or all, were optimised once only, so what another start would change is in the "
            "interval only as part of what differs between photos."
        )
    return (
        "One start: optimisation was run once, so what another start would change is not in the interval, if there "
        "is one."
    )


def texts_of(row: Row, analysed: Analysed, records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What to keep in mind with one row of the summary; ``records`` are the cells that it rests on."""
    family, n = metrics.split(str(row["metric"]))[0], int(row["n"])
    if analysed.random_weights and family in OF_LOSS:
        yield "Random descriptor weights: this number depends on what the loss means, and here it means nothing."
    if row["status"] == LOWER_BOUND and family in OF_TRAINING:
        yield "A lower bound: how long the first part of the net's training took is not on record."
    elif row["status"] == LOWER_BOUND:
        yield "A lower bound: optimisation ended before it reached the net's objective, so the true value is higher."
    if row["status"] == NOT_REACHED:
        yield "Not reached: what was spent without reaching the target."
    if family in OF_SEEDS:
        yield from filter(None, [one_start(row, analysed)])
    if family in ("latency_s", "iteration_s", "throughput_images_per_s") and 0 < n < FEW:
        yield f"Few samples: fewer than {FEW}."
    if row["dtype"] != "float32":
        yield f"Computed in {clean(row['dtype'], 20)}, with fewer digits than float32."
    if family in AT_EQUAL_LOSS:
        steps = claims.evaluations(analysed.summary, row, analysed.methods.baseline)
        if steps < claims.QUALITY_FLOOR:
            yield (
                f"Below the quality floor: optimisation reaches this net's loss in fewer than {claims.QUALITY_FLOOR} "
                "evaluations."
            )
    if family in TIMES:
        yield from _of_times(records)


def _of_times(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if any(_number(record, "foreign_cores") > BUSY_CORES for record in records):
        yield (
            "Busy machine: other programs used the processor while this was measured (more than "
            f"{BUSY_CORES:g} of a core), so the time may be too long."
        )
    if any(abs(_number(record, "drift")) > MOST_DRIFT for record in records):
        yield (
            f"Drift: the times changed steadily, by more than {MOST_DRIFT:.0%}, while this was measured: heat, the "
            "clock rate, or the load of the machine."
        )


def _number(record: Mapping[str, Any], name: str) -> float:
    value = record.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0
