"""What a Dask worker does of a run: whole groups of cells, each cell in a fresh process as in a run on one machine.

The workers import this module by its name, so that no code travels. Finished cells go back, with their pictures and
logs, as events of the run's topic; the scheduler keeps their lines too, so that a group that begins again on another
worker goes on where the one before died. ``python -m bench.run.cluster_worker`` says what machine this is.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.machine import environment
from bench.plan import child
from bench.plan.cells import Cell, Plan
from bench.run import prepare
from bench.run.process import RUN_MARK, kill_marked, worker_command
from bench.run.scheduler import Options, run_cells
from bench.store.run_folder import FOLDERS
from nst_gluon import __version__
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

RESOURCE = "machine"
LOOK_S = 600.0  # for an engine's imports and a download of the weights
FLUSH_S = 0.5
STARTED, EVENTS, FINISHED = "started", "events", "finished"  # what is told; "kind" of a message
INPUTS = ("pictures", "weights", "nets", "methods")
_LOOKED: dict[str, dict[str, Any]] = {}


class Stopped(Exception):
    """Nobody waits for this group any more: the client ended, or the scheduler is gone."""


def run_group(request: Mapping[str, Any]) -> dict[str, Any]:
    """Measure the cells of one group that are not done yet; called by Dask, in the worker's thread.

    Returns:
        {"refused": why this worker cannot take part, or None; "elsewhere": whether the group was begun on another kind
        of machine than this "worker", which is "machine", and has to go on there}.
    """
    from distributed import get_client, get_worker

    worker, topic, group = get_worker(), request["topic"], request["group"]
    try:
        machine = look(request)
    except UserError as error:
        return {"refused": str(error), "elsewhere": False}
    kept = {name: json.loads(text) for name, text in get_client().get_metadata([topic, group], default={}).items()}
    begun_on = kept.pop("fingerprint", None) or request["fingerprint"]
    if begun_on and begun_on != machine["fingerprint"]:
        return {"refused": None, "elsewhere": True, "worker": worker.address, "machine": machine}
    kill_marked(RUN_MARK, request["mark"])  # what a worker that was killed left at work here
    folder = Path(tempfile.mkdtemp(prefix="nst-bench-", dir=worker.local_directory))
    try:
        store = _Store(folder, request, machine, list(kept.values()))
        options = request["options"]
        how = Options(**{**options, "command": options["command"] or worker_command()})
        run_cells(Plan.from_dict(request["plan"]), store, how, _Line(store), request["unavailable"])
    except Stopped:
        return {"refused": None, "elsewhere": False}
    except UserError as error:  # a full disk
        return {"refused": str(error), "elsewhere": False}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"refused": None, "elsewhere": False}


# ------------------------------------------------------------------------------------------------- the way back


class _Store:
    """What :func:`run_cells` takes for a run directory: a folder for the worker processes, and events for the rest."""

    def __init__(self, path: Path, request: Mapping[str, Any], machine: Mapping[str, Any], records: Sequence[Any]):
        from distributed import get_client, get_worker

        self.path, self.mark = path, request["mark"]
        self._worker, self._client, self._key = get_worker(), get_client(), get_worker().get_current_task()
        self._topic, self._group, self._machine = request["topic"], request["group"], json.dumps(machine)
        self._fingerprint = json.dumps(machine["fingerprint"])
        self._records = [*request["done"], *records]
        for name in FOLDERS:
            (path / name).mkdir()

    def cells(self) -> list[dict[str, Any]]:
        return list(self._records)

    def tell(self, kind: str, **fields: Any) -> None:
        message = {"kind": kind, "group": self._group, "worker": self._worker.address, **fields}
        self._worker.log_event(self._topic, message)

    def begun(self, cell: Cell, targets: Mapping[str, float]) -> None:
        self.tell(STARTED, cell=cell.key, targets=dict(targets), machine=self._machine)

    def append(
        self,
        cell: Mapping[str, Any],
        samples: Sequence[tuple[str, str, float, str]] = (),
        curve: Sequence[Sequence[float]] = (),
    ) -> None:
        files = {}
        for file in sorted(path for name in FOLDERS for path in (self.path / name).iterdir()):
            files[str(file.relative_to(self.path))] = file.read_bytes()
            file.unlink()
        result = json.dumps({"record": dict(cell), "samples": list(samples), "curve": list(curve)})
        self.tell(FINISHED, cell=cell["key"], machine=self._machine, result=result, files=files)
        # Only now: what is known here as done must have been told.
        self._client.set_metadata([self._topic, self._group, "fingerprint"], self._fingerprint)
        self._client.set_metadata([self._topic, self._group, cell["key"]], json.dumps(cell))

    def check_wanted(self) -> None:
        """Raise Stopped once the scheduler has dropped this task or is gone."""
        task = self._worker.state.tasks.get(self._key)
        if self._worker.status.name != "running" or task is None or task.state != "executing":
            raise Stopped


class _Line:
    """What :func:`run_cells` takes for its progress: it is told to the client, a few times a second at most."""

    def __init__(self, store: _Store):
        self.store = store
        self._cell, self._events, self._told = "", [], 0.0

    def begin(self, cells: Sequence[Cell], records: Sequence[Mapping[str, Any]]) -> None:
        self.store.check_wanted()

    def started(self, cell: Cell, targets: Mapping[str, float]) -> None:
        self.store.check_wanted()
        self._cell = cell.key
        self.store.begun(cell, targets)

    def event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "curve" and self._events and self._events[-1]["event"] == "curve":
            self._events.pop()  # progress shows the last one; all of them come with the finished cell
        self._events.append(dict(event))
        self.tick()

    def tick(self) -> None:
        self.store.check_wanted()
        now = time.monotonic()
        if self._events and now - self._told >= FLUSH_S:
            self.store.tell(EVENTS, cell=self._cell, events=self._events)
            self._events, self._told = [], now

    def finished(self, cell: Cell, record: Mapping[str, Any]) -> None:
        self._events = []

    def close(self) -> None:
        self._events = []


# ------------------------------------------------------------------------------------------------- the machine


def look(request: Mapping[str, Any]) -> dict[str, Any]:
    """The machine of this worker, its {"environment", "fingerprint"}; looked at once for each run.

    Raises UserError if it cannot take part: another version of the suite, other inputs, no engine, settings of a nanny.
    """
    topic = request["topic"]
    if topic not in _LOOKED:
        found = _look_at(request)
        _LOOKED.clear()
        _LOOKED[topic] = found
    return _LOOKED[topic]


def _look_at(request: Mapping[str, Any]) -> dict[str, Any]:
    if request["suite"] != __version__:
        raise UserError(f"it has version {__version__} of the suite, and the client {request['suite']}; install one")
    exported = _nannys_variables()
    if exported:
        raise UserError(f"its nanny sets {exported}, which every cell would inherit; start it with --no-nanny")
    asked = {name: request[name] for name in ("engines", "sizes", "inputs")}
    found = child.ask("bench.run.cluster_worker", {**asked, "settings": request["plan"]["settings"]},
                      "looking at the machine", LOOK_S)  # fmt: skip
    for name in INPUTS if request["inputs"] else ():
        if found["inputs"].get(name) != request["inputs"].get(name):
            raise UserError(f"its {name} are not those of the client; keep them in a folder that all machines see")
    fingerprint = environment.fingerprint(found["environment"], request["devices"], request["dtypes"])
    return {"environment": found["environment"], "fingerprint": fingerprint}


def _nannys_variables() -> str:
    """What a nanny has exported to this worker, as NAME=VALUE; empty without one."""
    import dask
    from distributed import get_worker

    if not get_worker().nanny:
        return ""
    usual = dask.config.get("distributed.nanny.pre-spawn-environ", {})
    return " ".join(f"{name}={value}" for name, value in usual.items() if os.environ.get(name) == str(value))


def arrive(request: Mapping[str, Any]) -> dict[str, Any]:
    """:func:`look` as a task of its own, before anything is measured: {"refused"} or {"machine"}."""
    try:
        return {"refused": None, "machine": look(request)}
    except UserError as error:
        return {"refused": str(error)}


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from bench.plan.cells import Settings

    settings = Settings.from_dict(request["settings"])
    threads = runtime.prepare(settings.threads)
    inputs = prepare.inputs(request["engines"], request["sizes"], settings) if request["inputs"] else {}
    return {"inputs": inputs, "environment": environment.capture(threads)}


if __name__ == "__main__":
    child.answer(_answer)
