"""The JSON of pytest-benchmark (``tests/benchmarks``) as samples that can be compared."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nst_gluon.system.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

LATENCY, SECONDS, BYTES = "latency_s", "s", "B"
COLUMNS = ("cell", "metric", "unit", "value")
SECTIONS = ("machine_info", "commit_info", "benchmarks")
RAW_DATA = (
    "write it with --benchmark-json FILE, which has every sample (--benchmark-save and --benchmark-autosave leave them "
    "out unless --benchmark-save-data is given)"
)


def read(path: Path, argument: str = "FILE") -> tuple[dict[str, Any], pd.DataFrame]:
    """What machine and revision a file of pytest-benchmark is of, and its samples.

    Returns:
        meta: ``fingerprint`` (cpu, cores, threads, gpu, system, machine: None where the file does not say),
            ``revision`` (None outside of a repository; with uncommitted changes it ends in "+") and ``datetime``.
        samples: the columns COLUMNS, one row per sample. ``cell`` is the benchmark with its file, but without the
            file's folder ("test_methods.py::test_gram[relu1_1]"). ``metric`` is ``latency_s`` for the raw times
            (seconds of one call) and otherwise the name of a number of bytes in the benchmark's ``extra_info``.

    Raises:
        UserError: one line that begins with ``argument``, if the file cannot be read, is not pytest-benchmark's or
            has no raw times.
    """
    import pandas as pd

    found = _load(path, argument)
    try:
        rows = list(_rows(found["benchmarks"]))
        meta = _meta(found)
    except KeyError as error:
        if error.args[0] != "data":
            raise _damaged(path, argument, f"it lacks {error}") from None
        raise UserError(f"{argument}: {path} has no raw times; {RAW_DATA}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise _damaged(path, argument, str(error)) from None
    if not rows:
        raise UserError(f"{argument}: {path} has no benchmark that finished; run the benchmarks again")
    return meta, pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float})


def _damaged(path: Path, argument: str, why: str) -> UserError:
    return UserError(f"{argument}: {path} is damaged ({' '.join(why.split())}); run the benchmarks again")


def _load(path: Path, argument: str) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{argument}: cannot read {path} ({(error.strerror or str(error)).lower()})") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, argument, str(error)) from None
    if not (isinstance(found, Mapping) and all(name in found for name in SECTIONS)):
        raise UserError(f"{argument}: {path} is neither a run directory nor a JSON of pytest-benchmark")
    return found


def _rows(benchmarks: list[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, float]]:
    for cell, benchmark in zip(_cells(benchmarks), benchmarks):
        for seconds in benchmark["stats"]["data"]:
            yield cell, LATENCY, SECONDS, _number(seconds)
        for name, value in benchmark["extra_info"].items():
            if name.endswith("_bytes") and value is not None:
                yield cell, name, BYTES, _number(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is not a time or a size")
    return float(value)


def _cells(benchmarks: list[Mapping[str, Any]]) -> list[str]:
    """The names without folders, which depend on where pytest was started; whole where two would be the same."""
    names = [str(benchmark["fullname"]) for benchmark in benchmarks]
    short = []
    for name in names:
        file, colons, test = name.partition("::")
        short.append(file.rpartition("/")[2] + colons + test)
    count = Counter(short)
    return [name if count[cell] > 1 else cell for cell, name in zip(short, names)]


def _meta(found: Mapping[str, Any]) -> dict[str, Any]:
    machine, commit = found["machine_info"] or {}, found["commit_info"] or {}
    cpu = machine.get("cpu") or {}
    # What this suite's own benchmarks add is what a run of ``bench`` says of the machine, and better: the cores that
    # the process may use and not all that there are.
    own = machine.get("nst_gluon") or {}
    fingerprint = {
        "cpu": own.get("cpu") or cpu.get("brand_raw") or machine.get("processor") or None,
        "cores": own.get("cores") or cpu.get("count"),
        "threads": own.get("threads"),
        "gpu": own.get("gpu"),
        "system": machine.get("system"),
        "machine": machine.get("machine"),
    }
    revision = commit.get("id")
    if revision and commit.get("dirty"):
        revision += "+"
    return {"fingerprint": fingerprint, "revision": revision, "datetime": found.get("datetime")}
