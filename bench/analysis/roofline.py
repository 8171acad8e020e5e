"""How much of what the machine can do each cell of a run reaches: the roofline (Williams, Waterman, Patterson 2009).

A cell's operations per second (:mod:`bench.analysis.costs` over its measured time) stand beside the lower of two
limits: the peak of a large matrix product in its precision, and its operations per byte times the bandwidth of a copy.
Both are measured through the engine, in a process of their own, and kept for the machine below results/roofline.

A cell may lie above its roof: what stays in a cache, or is fused, is not moved, and a cleverer graph of the same net
does with fewer operations. A step of the optimisation has the optimiser's own work in its time and not among its
operations. Imports no engine.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis import costs
from bench.analysis.costs import Cost
from bench.analysis.intervals import resampled
from bench.machine import environment
from bench.plan.cells import OPTIMISE, use_of
from bench.plan.engines import REFERENCE
from bench.run.result_table import aligned
from bench.store import baselines, run_folder
from bench.store.reader import GROUP_COLUMNS, RunData
from nst_gluon.nets import netfile
from nst_gluon.nets.geometry import working_size
from nst_gluon.objective import presets
from nst_gluon.pages.wording import quantity, significant
from nst_gluon.system import children
from nst_gluon.system.errors import UserError

FOLDER = "roofline"
SCHEMA_VERSION = 1
TIME_LIMIT_S = 600
COMPUTE, MEMORY = "arithmetic", "memory"
TIMES = ("latency_s", "iteration_s")
CELL = ("method", "task", "size", "batch", "dtype")
KEY = (*CELL, "style_name")
COLUMNS = (
    *GROUP_COLUMNS, "seconds", "low", "high", "flops", "bytes", "intensity", "flops_per_s", "roof_flops_per_s",
    "fraction", "bound",
)  # fmt: skip

Key = tuple[str, str, int, int, str, str]


@dataclass(frozen=True)
class Peaks:
    """What a machine does at most: operations per second by precision, and bytes per second of a copy."""

    flops_per_s: Mapping[str, float]
    bytes_per_s: float

    def ridge(self, dtype: str) -> float:
        """Operations per byte from which on arithmetic is the limit and not memory."""
        return self.flops_per_s[dtype] / self.bytes_per_s

    def roof(self, intensity: float, dtype: str) -> float:
        """Operations per second that ``intensity`` operations per byte allow."""
        return min(self.flops_per_s[dtype], intensity * self.bytes_per_s)


# -------------------------------------------------------------------------------------------------------- peaks


def peaks_of(measured: Mapping[str, Any]) -> Peaks:
    """The best of every product and of every copy (see :func:`bench.engines.peaks.measure`)."""
    products = {
        dtype: max(2 * int(side) ** 3 / min(seconds) for side, seconds in sides.items())
        for dtype, sides in measured["products"].items()
    }
    copy = measured["copy"]
    return Peaks(products, copy["bytes"] / min(copy["seconds"]))


def measure(threads: int, tell: Callable[[str, float], None] = lambda part, done: None) -> dict[str, Any]:
    """Times of products and copies with so many threads, measured in a fresh process.

    ``tell``: is told of each part before it begins, and which share of the work was done by then.

    Raises:
        UserError: that process failed; what it said last is part of the line.
    """
    command = children.python("bench.engines.peaks", str(threads))
    with tempfile.TemporaryFile("w+") as said, children.start(
        command, stdout=subprocess.PIPE, stderr=said, text=True
    ) as child:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            children.end(child)

        timer = threading.Timer(TIME_LIMIT_S, give_up)
        timer.start()
        try:
            found = _follow(child.stdout, tell)
            status = child.wait()
        except BaseException:
            children.end(child)
            raise
        finally:
            timer.cancel()
        said.seek(0)
        last = (said.read().strip().splitlines() or [f"exit status {status}"])[-1]
    if late.is_set():
        raise UserError(f"roofline: the measurement took more than {TIME_LIMIT_S} s; try fewer --threads")
    if status or found is None:
        raise UserError(f"roofline: the measurement failed ({last})")
    return found


def _follow(lines: Iterable[str], tell: Callable[[str, float], None]) -> dict[str, Any] | None:
    """Read to the end what :mod:`bench.engines.peaks` prints; the times, None where they did not come."""
    found = None
    for line in lines:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if "part" in event:
                tell(event["part"], float(event["done"]))
            elif "products" in event:
                found = event
    return found


def machine(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's fingerprint that peaks belong to: CPU model, cores and threads."""
    return {name: fingerprint[name] for name in ("cpu", "cores", "threads")}


def path_of(results: Path, fingerprint: Mapping[str, Any]) -> Path:
    """Where the peaks of a machine are kept."""
    return results / FOLDER / f"{baselines.key(machine(fingerprint), SCHEMA_VERSION)}.json"


def record(measured: Mapping[str, Any], captured: Mapping[str, Any], warnings: Sequence[str]) -> dict[str, Any]:
    """What is written for a machine: its fingerprint, the peaks, and the times that they are the best of."""
    peaks = peaks_of(measured)
    return {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": machine(environment.fingerprint(captured, ["cpu"], measured["products"])),
        "flops_per_s": dict(peaks.flops_per_s),
        "bytes_per_s": peaks.bytes_per_s,
        "measured": dict(measured),
        "environment": dict(captured),
        "warnings": list(warnings),
    }


def read_peaks(results: Path, run: Mapping[str, Any]) -> Peaks:
    """The peaks of the machine that a run was measured on.

    Raises:
        UserError: there are none below ``results``, or they are damaged.
    """
    fingerprint = run.get("fingerprint")
    if run.get("machines"):
        raise UserError("--run: this run is not of one machine; give one of its parts")
    if any((fingerprint or {}).get(name) is None for name in ("cpu", "cores", "threads")):
        raise UserError("--run: this run does not say which machine it is of; measure it again")
    path = path_of(results, fingerprint)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Peaks({name: float(value) for name, value in kept["flops_per_s"].items()}, float(kept["bytes_per_s"]))
    except OSError:
        threads = fingerprint["threads"]
        raise UserError(
            f"--run: there is no {path} of its machine ({fingerprint['cpu']}, {fingerprint['cores']} cores, {threads} "
            f"threads); measure it there with python -m bench roofline --threads {threads}"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--run: {path} is damaged ({' '.join(str(error).split())}); measure it again") from None


def ceilings(peaks: Peaks) -> str:
    """The limits as a table for a terminal."""
    lines = [("limit", "at most", "arithmetic is the limit from")]
    for dtype, flops in peaks.flops_per_s.items():
        ridge = f"{significant(peaks.ridge(dtype))} operations per byte"
        lines.append((f"matrix product, {dtype}", operations(flops), ridge))
    lines.append(("copy", f"{quantity(peaks.bytes_per_s, 'B')}/s", ""))
    return aligned(lines)


def operations(per_second: float) -> str:
    """Operations per second: "226 GFLOP/s"."""
    return f"{significant(per_second / 1e9)} GFLOP/s"


# -------------------------------------------------------------------------------------------------------- a run


def cell_costs(run: RunData) -> dict[Key, Cost]:
    """What one picture of each generator's cell, or one step of each optimisation's, costs.

    Cells of nets or objectives that are not known here are left out.
    """
    try:
        preset, inputs = presets.get(run.meta["settings"]["preset"]), run.meta["inputs"]
        arch = inputs["weights"]["arch"]
    except (KeyError, TypeError):
        raise UserError("--run: this run does not say of which objective and weights it is; measure it again") from None
    found: dict[Key, Cost] = {}
    for row in run.cells.itertuples():
        key, size = tuple(getattr(row, name) for name in KEY), (row.size, row.size)
        if row.kind == OPTIMISE and getattr(run.methods.get(row.method), "own_loss", False):
            continue
        if row.kind == OPTIMISE:
            operators = costs.optimisation_step(preset, row.task, size, arch)
        else:
            meta = (inputs.get("nets") or {}).get(use_of(row.style_name, row.method, row.task), {}).get("meta")
            try:
                net = netfile.net_of(meta or {}, "net")
            except UserError:
                continue
            operators = costs.net(net, working_size(net, *size))
        found[key] = costs.total(costs.batched(operators, row.batch), row.dtype)
    return found


def fractions(cell_costs: Mapping[Key, Cost], samples: pd.DataFrame, peaks: Peaks) -> pd.DataFrame:
    """How fast each cell is, and how much of its roof that is.

    Args:
        cell_costs: costs of one call by KEY.
        samples: a run's (columns of :mod:`bench.store.run_folder`); ``latency_s`` and ``iteration_s`` are used, all
            seeds taken together.
        peaks: a precision without a peak is left out, and so is every device but the CPU and every other engine.

    Returns:
        COLUMNS, a row per cell: ``seconds`` is the median with its interval, ``fraction`` is ``flops_per_s`` over
        ``roof_flops_per_s``, and ``bound`` says which limit the roof is, arithmetic or memory.
    """
    here = (samples["device"] == "cpu") & (samples["engine"] == REFERENCE)  # whose limits the peaks are
    timed = samples[samples["metric"].isin(TIMES) & here]
    rows = []
    for group, values in timed.groupby(list(GROUP_COLUMNS), sort=False)["value"]:
        cell = dict(zip(GROUP_COLUMNS, group))
        cost = cell_costs.get(tuple(cell[name] for name in KEY))
        if cost is None or cell["dtype"] not in peaks.flops_per_s:
            continue
        seconds = resampled([values]).estimate()
        speed, roof = cost.flops / seconds.value, peaks.roof(cost.intensity, cell["dtype"])
        rows.append({
            **cell,
            "seconds": seconds.value, "low": seconds.low, "high": seconds.high,
            "flops": cost.flops, "bytes": cost.bytes, "intensity": cost.intensity,
            "flops_per_s": speed, "roof_flops_per_s": roof, "fraction": speed / roof,
            "bound": COMPUTE if cost.intensity >= peaks.ridge(cell["dtype"]) else MEMORY,
        })  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["task", "method", "size", "batch", "dtype"], kind="stable", ignore_index=True)


def table(rows: pd.DataFrame) -> str:
    """:func:`fractions` as a table for a terminal."""
    names = KEY if rows["style_name"].nunique() > 1 else CELL
    lines = [(*names, "time", "operations", "bytes", "per byte", "speed", "roof", "reached", "limit")]
    for row in rows.itertuples():
        lines.append((
            *(str(getattr(row, name)) for name in names),
            quantity(row.seconds, "s"), f"{significant(row.flops / 1e9)} G", quantity(row.bytes, "B"),
            significant(row.intensity), operations(row.flops_per_s), operations(row.roof_flops_per_s),
            f"{row.fraction:.0%}", row.bound,
        ))  # fmt: skip
    return aligned(lines)


def keep(results: Path, found: Mapping[str, Any]) -> Path:
    """Write a machine's record, replacing its last one.

    Raises:
        UserError: it cannot be written.
    """
    path = path_of(results, found["fingerprint"])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise run_folder.explain(error, path.parent) from error
    run_folder.write_json(path, dict(found))
    return path
