"""What makes single numbers less trustworthy: the rules, and the marks that stand beside the numbers they touch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis import claims
from bench.analysis.summary import LOWER_BOUND, NOT_REACHED
from bench.machine.environment import BUSY_CORES, MOST_DRIFT
from bench.report.definitions import describe
from bench.store.reader import RunData
from nst_gluon.pages.wording import clean

FEW = 10
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SUPERSCRIPTS = dict(zip(LETTERS, "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ𐞥ʳˢᵗᵘᵛʷˣʸᶻ"))
TIMES = ("latency_s", "iteration_s", "throughput_images_per_s", "time_to_target_s", "speedup_at_equal_loss",
         "speedup_at_500_iterations")  # fmt: skip
OF_LOSS = ("objective", "content", "style", "target", "time_to_target_s", "iterations_to_target",
           "speedup_at_equal_loss")  # fmt: skip
OF_SEEDS = ("time_to_target_s", "iterations_to_target", "speedup_at_equal_loss")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Note:
    """A footnote: its ``mark`` is a letter, in the order in which the notes are met."""

    mark: str
    text: str

    @property
    def superscript(self) -> str:
        return SUPERSCRIPTS[self.mark]


class Notes:
    """Gives every text one mark, however many numbers it touches; those of one number come in the alphabet's order."""

    def __init__(self) -> None:
        self._marks: dict[str, Note] = {}

    def mark(self, texts: Sequence[str]) -> tuple[Note, ...]:
        for text in texts:
            letter = LETTERS[min(len(self._marks), len(LETTERS) - 1)]
            self._marks.setdefault(text, Note(letter, text))
        return tuple(sorted((self._marks[text] for text in texts), key=lambda note: note.mark))

    @property
    def all(self) -> tuple[Note, ...]:
        return tuple(self._marks.values())


def texts_of(row: Row, run: RunData, summary: pd.DataFrame, records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What to keep in mind with one row of the summary; ``records`` are the cells that it rests on."""
    family, n = describe(str(row["metric"])).name, int(row["n"])
    if claims.uses_random_weights(run.meta) and family in OF_LOSS:
        yield "Random descriptor weights: this number depends on what the loss means, and here it means nothing."
    if row["status"] == LOWER_BOUND:
        yield (
            "A lower bound: the optimisation did not come down to the net's objective in its time, so the true "
            "value is higher."
        )
    if row["status"] == NOT_REACHED:
        yield "Not reached: the time that was spent, in which the objective did not come down to the target."
    if family in OF_SEEDS and n == 1:
        yield (
            "One seed: the optimisation was run once, so the interval, if there is one, covers the spread of the "
            "net's latency only."
        )
    if family in ("latency_s", "iteration_s", "throughput_images_per_s") and 0 < n < FEW:
        yield f"Few samples: fewer than {FEW}."
    if row["dtype"] != "float32":
        yield f"Computed in {clean(row['dtype'], 20)}, not in float32: fewer digits."
    if family == "speedup_at_equal_loss" and no_better_than_start(summary, row):
        yield "The optimisation starts at or below this net's objective: such a speed-up means little."
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


def no_better_than_start(summary: pd.DataFrame, row: Row) -> bool:
    """Whether the optimisation of the row's setting starts at or below the objective of the row's net."""
    same = summary["metric"] == f"iterations_to_target_{row['method']}"
    for name in ("engine", "task", "size", "dtype", "device"):
        same &= summary[name] == row[name]
    return bool((summary.loc[same, "value"] <= 1).any())


def _number(record: Mapping[str, Any], name: str) -> float:
    value = record.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0
