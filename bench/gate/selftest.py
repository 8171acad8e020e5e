"""How far this machine's numbers can be trusted: the code measured against itself, and gates simulated from that.

:func:`analyse` is a pure function on the samples of such a measurement (both sides are the same code). The result is
kept for the machine below results/selftests, where a comparison of two runs finds its noise floors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.gate import verdicts
from bench.gate.verdicts import BASELINE, INCONCLUSIVE, ORDER, SLOWER, Rules
from bench.run.result_table import aligned
from bench.store import baselines, run_folder

FOLDER = "selftests"
SCHEMA_VERSION = 1
GATES = 200
POWER = 0.9
LARGEST = 1.0  # a slow-down to twice the time that is not detected is not looked for further
STEPS = 6

# Two runs were measured at different times, by one process a cell. What no self-test of the machine has told: how much
# less than this is no change. Measured on two cores: a cell's time differs by 4 % (one standard deviation) from process
# to process, a generator's memory by 0.3 %, an optimisation's peak by 1.3 % and its working memory by 2.7 %: the
# floors are three standard deviations of a difference of two.
POOL_FLOORS = {"s": 0.10, "B": 0.02}
OPTIMISED_FLOORS = {"peak_memory_bytes": 0.06, "working_memory_bytes": 0.12}


def spread(values: np.ndarray) -> dict[str, float | None]:
    """How much a block's number differs from process to process, as fractions; None where there is one block.

    ``standard_deviation`` of the logarithms, and ``between_two``: 95 % of all pairs of processes differ by less.
    """
    logs = np.log(values)
    apart = [abs(a - b) for a, b in combinations(logs, 2)]
    return {
        "standard_deviation": float(np.std(logs, ddof=1)) if len(logs) > 1 else None,
        "between_two": math.expm1(float(np.quantile(apart, 0.95))) if apart else None,
    }


def simulated_gate(rounds: np.ndarray, shift: float, rules: Rules, floor: float, most: int, rng) -> str:
    """The verdict of one gate whose rounds are drawn from ``rounds``, the candidate being slower by ``shift``.

    Args:
        rounds: (R, 4), logarithms of the blocks' numbers in the order of ORDER, all of the same code.
        shift: a fraction; 0.15 makes the candidate take 1.15 times as long.
        floor: the metric's floor.
        most: rounds after which it stays inconclusive.
    """
    drawn = rounds[rng.integers(len(rounds), size=most)]
    drawn = np.where(rng.random((most, 1)) < 0.5, drawn[:, ::-1], drawn)  # a round backwards is a round
    table = pd.DataFrame(drawn + np.array([0.0 if side == BASELINE else math.log1p(shift) for side in ORDER]))
    for count in range(rules.least_rounds, most + 1):
        ratio = verdicts.ratio_of(table.iloc[:count], rules.least_rounds)
        found = verdicts.verdict(math.exp(ratio.low), math.exp(ratio.high), floor)
        if found != INCONCLUSIVE:
            return found
    return INCONCLUSIVE


def share_of_slower(rounds: np.ndarray, shift: float, rules: Rules, floor: float, most: int, gates: int) -> float:
    """The share of simulated gates that say slower."""
    rng = np.random.default_rng(0)
    found = [simulated_gate(rounds, shift, rules, floor, most, rng) for _ in range(gates)]
    return found.count(SLOWER) / gates


def smallest_detected(rounds: np.ndarray, rules: Rules, floor: float, most: int, gates: int) -> float | None:
    """The smallest slow-down, as a fraction, that POWER of the gates detect; None if even LARGEST is not."""
    low, high = 0.0, LARGEST
    if share_of_slower(rounds, high, rules, floor, most, gates) < POWER:
        return None
    for _ in range(STEPS):
        middle = (low + high) / 2
        if share_of_slower(rounds, middle, rules, floor, most, gates) >= POWER:
            high = middle
        else:
            low = middle
    return high


def analyse(samples: pd.DataFrame, rules: Rules, most: int, gates: int = GATES) -> list[dict[str, Any]]:
    """A row per cell and metric of an A/A measurement.

    Args:
        samples: as for :func:`bench.gate.verdicts.compare_rounds`, both sides being the same code.
        most: how many rounds a gate may have.
        gates: how many gates are simulated for each question.

    Returns:
        Rows with cell, metric, unit, value (median of all blocks), blocks, standard_deviation, between_two,
        verdict (of the measurement itself), false_alarm_rate, smallest_detected.
    """
    blocks = verdicts.block_medians(samples)
    own = verdicts.compare_rounds(samples, rules).set_index(["cell", "metric"])["verdict"]
    found = []
    for (cell, metric, unit), group in blocks.groupby(verdicts.KEYS, sort=False):
        floor = rules.floor(cell, metric, unit)
        rounds = verdicts.rounds_of(group).to_numpy()
        enough = len(rounds) >= rules.least_rounds
        alarms = smallest = None
        if enough:
            alarms = share_of_slower(rounds, 0.0, rules, floor, most, gates)
            smallest = smallest_detected(rounds, rules, floor, most, max(gates // 4, 20))
        found.append({
            "cell": cell, "metric": metric, "unit": unit, "value": float(group["value"].median()),
            "blocks": int(len(group)), **spread(group["value"].to_numpy()),
            "verdict": str(own[cell, metric]),
            "false_alarm_rate": alarms,
            "smallest_detected": smallest,
        })  # fmt: skip
    return found


def table(result: Mapping[str, Any]) -> str:
    """A self-test's result for people."""
    head = ("cell", "metric", "value", "from process to process", "false alarms", "smallest slow-down found")
    lines = [head]
    for row in result["rows"]:
        value = f"{row['value'] / 1e6:.1f} MB" if row["unit"] == "B" else f"{row['value'] * 1e3:.4g} ms"
        alarms, smallest = row["false_alarm_rate"], row["smallest_detected"]
        lines.append((
            row["cell"], row["metric"], value,
            "one block" if row["between_two"] is None
            else f"{row['standard_deviation']:.1%} (two differ by up to {row['between_two']:.1%})",
            "too few rounds" if alarms is None else f"{alarms:.1%}",
            "too few rounds" if alarms is None else "none up to 100 %" if smallest is None else f"{smallest:.0%}",
        ))  # fmt: skip
    about = (
        f"{result['rounds']} rounds in {result['seconds']:.0f} s. False alarms: of simulated gates on unchanged code. "
        "Smallest slow-down: found by nine gates of ten."
    )
    return "\n".join([aligned(lines), about, *(f"warning: {text}" for text in result["warnings"])])


# ------------------------------------------------------------------------------------------------------ keeping


def path_of(results: Path, fingerprint: Mapping[str, Any]) -> Path:
    """Where the self-test of a machine is kept, of which the precisions that were measured are no part."""
    machine = {name: value for name, value in fingerprint.items() if name != "dtypes"}
    return results / FOLDER / f"{baselines.key(machine)}.json"


def keep(results: Path, result: Mapping[str, Any]) -> Path:
    """Write a self-test's result, replacing the machine's last one."""
    path = path_of(results, result["fingerprint"])
    path.parent.mkdir(parents=True, exist_ok=True)
    run_folder.write_json(path, dict(result))
    return path


def floors(results: Path, fingerprint: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """The floors that the machine's self-test found for two runs, by (cell, metric); {} without one.

    Two runs are one process each: what 95 % of all pairs of processes of the same code differ by, and never less than
    the floor of a comparison in rounds.
    """
    try:
        rows = json.loads(path_of(results, fingerprint).read_text(encoding="utf-8"))["rows"]
        return {
            (row["cell"], row["metric"]): max(Rules().floors[row["unit"]], float(row["between_two"]))
            for row in rows
            if row["between_two"] is not None
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def pool_rules(results: Path, fingerprint: Mapping[str, Any], optimised: Iterable[str]) -> tuple[Rules, bool]:
    """The rules for two runs on a machine, and whether it has a self-test.

    Args:
        optimised: the cells whose method optimises.
    """
    found = floors(results, fingerprint)
    cautious = {(cell, metric): floor for cell in optimised for metric, floor in OPTIMISED_FLOORS.items()}
    return Rules(floors=POOL_FLOORS, floor_of={**cautious, **found}), bool(found)
