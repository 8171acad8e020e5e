"""A comparison from its two sides to its result: one dict that can be written as JSON (schema: :func:`result`)."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.gate import guest, revisions, rounds, selftest, sources, verdicts
from bench.gate.revisions import Accepted, Checkout
from bench.gate.verdicts import BASELINE, CANDIDATE, Rules
from bench.machine import environment
from bench.plan.cells import Plan
from bench.run import prepare
from bench.run.output import USUAL
from bench.run.progress import Rounds
from bench.store import baselines, run_folder
from bench.store.whole_runs import machine_difference, short
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

SCHEMA_VERSION = 1
FROM_SAMPLES = "compared from samples"


@dataclass(frozen=True)
class How:
    """What is compared and when it counts as a regression.

    ``metrics``: those asked for; None: those of the sides. ``floor`` replaces the least floor of times.
    """

    metrics: Sequence[str] | None
    fail_on: Sequence[str]
    floor: float | None
    results: Path

    def rules(self, usual: Rules) -> Rules:
        if self.floor is None:
            return usual
        times = {key: max(value, self.floor) for key, value in usual.floor_of.items() if key[1].endswith("_s")}
        return replace(usual, floors={**usual.floors, "s": self.floor}, floor_of={**usual.floor_of, **times})


def new_folder(results: Path) -> Path:
    """A new folder for a comparison below ``results``/comparisons."""
    return run_folder.new_folder(results / "comparisons")


@contextlib.contextmanager
def measuring_folder(results: Path) -> Iterator[Path]:
    """:func:`new_folder` for what is measured in the block; it is gone again after a UserError and after Ctrl-C."""
    folder = new_folder(results)
    try:
        yield folder
    except (UserError, KeyboardInterrupt):
        shutil.rmtree(folder, ignore_errors=True)
        raise


# ---------------------------------------------------------------------------------------------------- revisions


class NotComparable(Exception):
    """Two checkouts that one harness cannot measure; the text says why."""


def measure(
    pair: Mapping[str, sources.Revision],
    plan: Plan,
    folder: Path,
    rules: Rules,
    metrics: Sequence[str],
    time_limit_s: float,
    repository: Path,
    level: int = USUAL,
) -> tuple[rounds.Measured, dict[str, Any]]:
    """Measure two revisions in one job; the samples go to ``folder``. Returns them and the machine's fingerprint.

    Args:
        repository: the suite's, whose checkouts measure themselves, or one with methods, which the installed suite
            measures.
        level: how much is told meanwhile, one of bench.run.output.

    Raises NotComparable, and UserError for inputs that are not right.
    """
    guests = not revisions.is_checkout(repository)
    wanted = [(name, side.revision) for name, side in pair.items() if side.revision is not None]
    prepare.ask(plan.values("engine"), plan.values("size"), plan.to_dict()["settings"])
    machine = environment.capture(runtime.prepare(plan.settings.threads))
    fingerprint = environment.fingerprint(machine, plan.values("device"), plan.values("dtype"))
    with revisions.worktrees(wanted, repository) as folders:
        places = dict(zip([name for name, _ in wanted], folders))
        checkouts = {
            name: Checkout(side.label, places.get(name, side.folder), side.revision, repository, guests)
            for name, side in pair.items()
        }
        reason = lacking(checkouts, plan) if guests else not_comparable(checkouts)
        if reason:
            raise NotComparable(reason)
        for checkout in checkouts.values():
            if not guests:
                rounds.prepare(checkout.folder)
        progress = Rounds(plan.budget, time_limit_s, level=level)
        measured = rounds.Gate(checkouts, plan, folder, rules, metrics, time_limit_s, progress).measure()
    measured.warnings[:0] = environment.warnings_before(machine, None)
    return measured, fingerprint


def of_revisions(
    baseline: sources.Revision,
    candidate: sources.Revision,
    how: How,
    folder: Path,
    plan: Plan,
    time_limit_s: float,
    repository: Path,
    level: int = USUAL,
) -> dict[str, Any]:
    """Measure two revisions in one job and compare them; the samples go to ``folder``."""
    pair, rules = {BASELINE: baseline, CANDIDATE: candidate}, how.rules(Rules())
    try:
        metrics = how.metrics or verdicts.GATED_METRICS
        measured, fingerprint = measure(pair, plan, folder, rules, metrics, time_limit_s, repository, level)
    except NotComparable as reason:
        return _finish(_head(pair, {}), _from_samples(_no_rows(), [], [str(reason)]), how, rules)
    declared = _declared(baseline, candidate, repository)
    measured.warnings += [
        f"commit {found.commit[:12]}: Accept-Slower: {found.metric} does not count, as it gives no reason"
        for found in declared
        if not found.reason
    ]
    return _finish(_head(pair, fingerprint), measured, how, rules, declared)


def _declared(baseline: sources.Revision, candidate: sources.Revision, repository: Path) -> list[Accepted]:
    """The slow-downs that the commits from one to the other declare; none of a folder that knows no such commits."""
    if baseline.revision is None:
        return []
    if candidate.revision:
        return revisions.accepted(repository, baseline.revision, candidate.revision)
    with contextlib.suppress(UserError):
        return revisions.accepted(candidate.folder or repository, baseline.revision, "HEAD")
    return []


def lacking(checkouts: Mapping[str, Checkout], plan: Plan) -> str | None:
    """Which method's file one of two checkouts lacks, in words; None if both have all."""
    for name, checkout in checkouts.items():
        for file in guest.method_files(guest.at(checkout.folder, checkout.origin, plan.to_dict())):
            if not file.is_file():
                return f"not compared: the {name} {checkout.label} has no {file.relative_to(checkout.folder)}"
    return None


def not_comparable(checkouts: Mapping[str, Checkout]) -> str | None:
    """Why two checkouts cannot be measured by one harness: their workers speak other protocols."""
    from bench.run.worker import PROTOCOL

    for name, checkout in checkouts.items():
        spoken = revisions.protocol(checkout.folder)
        if spoken != PROTOCOL:
            tells = "is older than comparisons" if spoken is None else f"speaks worker protocol {spoken}"
            return (
                f"not compared: the {name} {checkout.label} {tells}, and this suite speaks protocol {PROTOCOL}; "
                "the next comparison can begin from here"
            )
    return None


# --------------------------------------------------------------------------------------------------------- runs


def of_runs(
    baseline: sources.Measured | sources.Named, candidate: sources.Measured | sources.Named, how: How
) -> dict[str, Any]:
    """Compare what was measured before, from the samples."""
    if isinstance(candidate, sources.Named):
        candidate = _own_entry(candidate, how.results)
    if isinstance(baseline, sources.Named):
        path = baselines.find(how.results, baseline.name, candidate.fingerprint)
        if path is None:
            head = _head({BASELINE: sources.Revision(baseline.name, None), CANDIDATE: candidate}, candidate.fingerprint)
            note = (
                f"no baseline {baseline.name!r} for this machine yet, so nothing is compared: keep one with python -m "
                f"bench baseline save {baseline.name} {candidate.label}"
            )
            return _finish(head, _from_samples(_no_rows(), [], [note]), how, Rules())
        baseline = sources.from_run(path, "BASELINE")
    usual, tested = selftest.pool_rules(how.results, candidate.fingerprint, baseline.optimised | candidate.optimised)
    rules, warnings = how.rules(usual), []
    if not tested:
        warnings.append(
            f"this machine's noise is not known: less than {100 * rules.floors['s']:.0f} % of a time counts as no "
            "change; python -m bench selftest finds out"
        )
    unsteady = [
        f"{side} {measured.label}: {text}"
        for side, measured in ((BASELINE, baseline), (CANDIDATE, candidate))
        for text in measured.unsteady
    ]
    metrics = how.metrics or [name for name in baseline.metrics if name in candidate.metrics]
    kept = [side.samples[side.samples["metric"].isin(metrics)] for side in (baseline, candidate)]
    rows = verdicts.compare_pools(*kept, rules)
    shaken = rows["unit"].eq("s") & rows["cell"].isin(baseline.shaken | candidate.shaken)
    shaken &= rows["verdict"].isin([verdicts.SLOWER, verdicts.FASTER])
    rows.loc[shaken, ["verdict", "note"]] = [verdicts.INCONCLUSIVE, "a run warned of the machine"]
    for cell in rows["cell"].unique():
        note = _other_input(*(side.inputs.get(cell) for side in (baseline, candidate)))
        if note:
            rows.loc[rows["cell"] == cell, ["verdict", "note"]] = [verdicts.INCOMPARABLE, note]
    other = machine_difference(baseline.fingerprint, candidate.fingerprint)
    if other:
        values = f"{baseline.fingerprint.get(other)!r} there and {candidate.fingerprint.get(other)!r} here"
        rows = rows.assign(verdict=verdicts.INCOMPARABLE, note=f"other machine: {other} is {values}")
    failures = [
        {"cell": cell, "side": side, "status": status, "reason": reason}
        for side, measured in ((BASELINE, baseline), (CANDIDATE, candidate))
        for cell, (status, reason) in measured.failed.items()
    ]
    head = _head({BASELINE: baseline, CANDIDATE: candidate}, candidate.fingerprint)
    measured = _from_samples(rows, failures, [*warnings, *unsteady])
    return _finish(head, measured, how, rules, able=baseline.able)


def _other_input(there: Mapping[str, str] | None, here: Mapping[str, str] | None) -> str | None:
    """In what two cells were made with different inputs, in words; None if in nothing, or where one is not known."""
    for name in dict.fromkeys((*there, *here)) if there and here else ():
        if there.get(name) != here.get(name):
            values = (short(side.get(name, "none")) for side in (there, here))
            return "other inputs: {} is {} there and {} here".format(name, *values)
    return None


def _from_samples(rows: pd.DataFrame, failures: list[dict[str, str]], warnings: list[str]) -> rounds.Measured:
    return rounds.Measured(pd.DataFrame(), rows, failures, FROM_SAMPLES, 0, 0.0, warnings)


def _own_entry(named: sources.Named, results: Path) -> sources.Measured:
    """A baseline as the candidate: that of this machine."""
    machine = environment.capture(runtime.engine_threads())
    path = baselines.find(results, named.name, environment.fingerprint(machine, {"cpu"}, {"float32"}))
    if path is None:
        raise UserError(f"CANDIDATE: the baseline {named.name!r} has no entry for this machine; give a run directory")
    return sources.from_run(path, "CANDIDATE")


# ------------------------------------------------------------------------------------------------------- result


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame(columns=list(verdicts.ROW_COLUMNS))


def _head(pair: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    revisions_only = all(isinstance(side, sources.Revision) for side in pair.values())
    about = {
        name: {
            "label": side.label,
            "revision": side.revision,
            "run": side.label if isinstance(side, sources.Measured) else None,
        }
        for name, side in pair.items()
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "revisions" if revisions_only else "runs",
        **about,
        "fingerprint": dict(fingerprint),
        "created": run_folder.now(),
    }


def _finish(
    head: Mapping[str, Any],
    measured: rounds.Measured,
    how: How,
    rules: Rules,
    declared: Sequence[Accepted] = (),
    able: Iterable[str] | None = None,
) -> dict[str, Any]:
    """The whole result; ``able``: the cells that the baseline could do, where it was measured before."""
    rows = measured.rows
    wanted: dict[tuple[str, str], Accepted] = {}
    for row in rows[rows["verdict"] == verdicts.SLOWER].itertuples():
        for found in declared:
            if found.covers(row.cell, row.metric):
                wanted.setdefault((row.cell, row.metric), found)
    broken = rounds.failed_cells(measured.failures, able)
    status = verdicts.exit_status(rows, len(broken), how.fail_on, wanted)
    listed = [
        {
            **{name: _plain(getattr(row, name)) for name in verdicts.ROW_COLUMNS},
            "gated": True,
            "accepted": getattr(wanted.get((row.cell, row.metric)), "reason", None),
        }
        for row in rows.itertuples()
    ]
    return {
        **head,
        "seconds": round(measured.seconds, 1),
        "stopped_because": measured.stopped_because,
        "rounds": measured.rounds,
        "minimum_floors": dict(rules.floors),
        "rows": listed,
        "failures": [dict(failure) for failure in measured.failures],
        "accepted": [
            {"metric": metric, "cell": cell, "reason": found.reason, "commit": found.commit}
            for (cell, metric), found in wanted.items()
        ],
        "warnings": list(measured.warnings),
        "exit_status": status,
        "summary": summary(rows, broken, wanted, measured.stopped_because, status),
    }


def summary(
    rows: pd.DataFrame,
    broken: Sequence[str],
    accepted: Iterable[tuple[str, str]],
    stopped_because: str,
    status: int,
) -> str:
    """The result in one sentence."""
    if rows.empty and not broken:
        return "Nothing could be compared."
    count = rows["verdict"].value_counts().to_dict()
    words = {verdicts.SLOWER: "slower or more memory", verdicts.FASTER: "faster or less memory"}
    parts = [f"{count[name]} {words.get(name, name)}" for name in verdicts.VERDICTS if name in count]
    head = {
        verdicts.PASS: "Pass",
        verdicts.REGRESSION: "Regression" if verdicts.SLOWER in count else "Failed",
        verdicts.CELLS_FAILED: "Cells failed",
        verdicts.NOTHING_MEASURED: "Nothing could be compared",
    }[status]
    said = [f"of {_count(len(rows), 'metric')} {', '.join(parts)}"] if parts else []
    said += [f"{_count(len(broken), 'cell')} failed ({', '.join(broken)})"] if broken else []
    wanted = len(set(accepted))
    said += [f"{_count(wanted, 'slow-down')} {'were' if wanted > 1 else 'was'} declared as wanted"] if wanted else []
    said += ["the time was spent before all was clear"] if stopped_because == rounds.TIME_IS_UP else []
    return f"{head}: {'; '.join(said)}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _plain(value: Any) -> Any:
    """A number or text as JSON knows it; None for what is not finite."""
    if isinstance(value, str):
        return value
    number = float(value)
    return None if not math.isfinite(number) else int(number) if number.is_integer() and abs(number) < 1e15 else number
