"""A run's cells on the workers of a Dask cluster: ``run --cluster ADDRESS|FILE.json|slurm``.

What travels is a group of cells whose numbers are related to each other (:func:`bench.plan.shards.group_of`), so that
no ratio is of two machines. The longest group goes first, and no more groups are under way than there are machines: the
rest waits here, in that order. The run directory stays here and is the only memory; whatever ends early is gone on with
by ``--resume``. Dask is imported by :func:`connect`, and by nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import queue
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.plan import shards
from bench.plan.cells import Cell, Plan
from bench.run import cluster_worker
from bench.run.cluster_progress import Several
from bench.run.cluster_worker import EVENTS, FINISHED, RESOURCE, STARTED
from bench.run.outcome import Outcome
from bench.run.progress import Progress, duration
from bench.run.scheduler import Options, cell_record
from bench.store.machines import Machines
from bench.store.run_folder import FOLDERS, Store, explain
from nst_gluon import __version__
from nst_gluon.system import files
from nst_gluon.system.errors import UserError

SLURM = "slurm"
WORKER = f"dask worker ADDRESS --no-nanny --nthreads 1 --resources {RESOURCE}=1 --memory-limit 0 --death-timeout 60"
INSTALL = "python -m pip install -e '.[cluster]'"
CONNECT_S, ARRIVE_S, LOOK_AGAIN_S, STUCK_S = 15.0, 20.0, 2.0, 60.0
MOST_DEATHS = 4  # of the workers that measure one cell; Dask's own limit for a task
PACKAGES = ("dask", "distributed")
# A waiting worker uses 4 % of a core with Dask's defaults and 0.2 % with these.
QUIET_WORKER = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
}


class Lost(UserError):
    """The cluster is gone before the run has ended."""


# ----------------------------------------------------------------------------------------------------- the cluster


class Cluster:
    """A connection to a scheduler. Use :func:`connect`."""

    def __init__(self, client: Any, where: str, slurm: Any = None):
        self.client, self.where, self.slurm = client, where, slurm
        self._known: set[str] = set()

    def alive(self) -> bool:
        """Whether the scheduler still answers."""
        return self.client.status == "running"

    def machines(self) -> dict[str, int]:
        """How many cells each worker may measure at once, by address; those that offer no machine are left out.

        Raises UserError, in one line, if one of them has another version of Dask: it would accept work and hang.
        """
        workers = self.client.scheduler_info()["workers"]
        found = {address: int(worker.get("resources", {}).get(RESOURCE, 0)) for address, worker in workers.items()}
        if set(workers) - self._known:
            self._check_versions()
            self._known |= set(workers)
        return {address: count for address, count in found.items() if count}

    def _check_versions(self) -> None:
        told = self.client.get_versions()
        mine = told["client"]["packages"]
        for address, there in (("the scheduler", told["scheduler"]), *told["workers"].items()):
            for name in PACKAGES:
                if there and there["packages"].get(name) != mine[name]:
                    raise UserError(f"--cluster: {address} has {name} {there['packages'].get(name)} and this machine "
                                    f"{mine[name]}; install the same version everywhere")  # fmt: skip

    def wait_for_a_machine(self, say: Callable[[str], None]) -> None:
        """Return once a worker offers a machine. Raises UserError if none does; Slurm's may take any time to start."""
        begun, told = time.monotonic(), False
        while not self.machines():
            if not self.alive():
                raise Lost(f"--cluster: the scheduler at {self.where} is gone")
            if self.slurm is not None and not told:
                say("waiting for Slurm to start the first worker")
                told = True
            if self.slurm is None and time.monotonic() - begun > ARRIVE_S:
                count = len(self.client.scheduler_info()["workers"])
                have = f"none of the {count} workers at {self.where} offers the resource {RESOURCE}=1"
                have = have if count else f"{self.where} has no workers"
                raise UserError(f"--cluster: {have}; start one on each machine with: {WORKER}")
            time.sleep(0.1)


@contextmanager
def connect(where: str, jobs: int) -> Iterator[Cluster]:
    """Connect to a scheduler by its address or its file, or start up to ``jobs`` exclusive jobs with Slurm.

    Raises UserError, in one line, where that fails.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError(f"--cluster: needs Dask; install it with {INSTALL}") from None
    for name in list(logging.root.manager.loggerDict):  # what matters is told in one line, here
        if name.split(".")[0] in ("asyncio", "distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    slurm = _slurm(jobs) if where == SLURM else None
    try:
        if slurm is not None:
            client = Client(slurm, timeout=CONNECT_S, set_as_default=False)
        elif where.endswith(".json"):
            if not Path(where).is_file():
                raise UserError(f"--cluster: no file {where!r}; give what dask scheduler --scheduler-file wrote")
            client = Client(scheduler_file=where, timeout=CONNECT_S, set_as_default=False)
        else:
            client = Client(where, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"--cluster: no Dask scheduler answers at {where!r} ({files.one_line(error)}); give an address "
                        f"such as tcp://10.0.0.1:8786, a scheduler file, or {SLURM}") from None  # fmt: skip
    try:
        yield Cluster(client, where, slurm)
    finally:
        client.close(timeout=2)
        if slurm is not None:
            slurm.close()


def _slurm(jobs: int) -> Any:
    """Jobs of one exclusive node each; queue, account and time come from the user's jobqueue.yaml."""
    ours = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise UserError(f"--cluster: {SLURM} needs dask-jobqueue; install it with {INSTALL}") from None
    finally:
        signal.signal(signal.SIGINT, ours)  # its import takes Ctrl-C for itself
    try:
        cluster = SLURMCluster(
            cores=1, processes=1, memory="1GB", nanny=False, job_extra_directives=["--exclusive"],
            job_directives_skip=["--mem"], job_script_prologue=[f"export {n}={v}" for n, v in QUIET_WORKER.items()],
            worker_extra_args=["--resources", f"{RESOURCE}=1", "--memory-limit", "0"],
            scheduler_options={"dashboard_address": ":0"},
        )  # fmt: skip
        cluster.scale(jobs=jobs)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"--cluster: {SLURM} cannot start workers ({files.one_line(error)})") from None
    return cluster


# ------------------------------------------------------------------------------------------------------- the run


@dataclasses.dataclass
class Group:
    """Cells that stay together, as far as they are not done. ``machine`` is the label of the kind they are bound to."""

    name: str
    cells: list[Cell]
    seconds: float
    machine: str | None = None
    current: str | None = None
    starts: Counter = dataclasses.field(default_factory=Counter)
    submitted: int = 0
    where: list[str] | None = None


class Run:
    """One run's way through the cluster; see :meth:`measure`."""

    def __init__(
        self, cluster: Cluster, plan: Plan, inputs: Mapping[str, Any] | None, command: Sequence[str] | None = None
    ):
        """``inputs``: those that a worker must have, None: any. ``command`` starts a cell, None: each one's Python."""
        self.cluster, self.plan, self.inputs, self.command = cluster, plan, inputs, command
        self.topic = f"nst-bench-{secrets.token_hex(8)}"
        self.inbox: queue.Queue[tuple[str, Any, Any]] = queue.Queue()
        self.groups: dict[str, Group] = {}
        self.futures: dict[str, Any] = {}
        self.of_address: dict[str, str] = {}

    def request(self, plan: Plan, **fields: Any) -> dict[str, Any]:
        """What a worker must know; all of it as JSON has it."""
        return {
            "topic": self.topic,
            "suite": __version__,
            "inputs": self.inputs,
            **{f"{name}s": self.plan.values(name) for name in ("engine", "size", "device", "dtype")},
            "plan": plan.to_dict(),
            **fields,
        }

    def first_machine(self, say: Callable[[str], None]) -> dict[str, Any]:
        """What the run's numbers belong to: {"environment", "fingerprint"} of the first machine that is free."""
        self.cluster.wait_for_a_machine(say)
        plan = self.plan.only(lambda cell: False)
        future = self.cluster.client.submit(
            cluster_worker.arrive, self.request(plan), resources={RESOURCE: 1}, key=f"{self.topic}-arrive"
        )
        found = self._result(future)
        if found["refused"]:
            raise UserError(f"--cluster: a worker cannot take part: {found['refused']}")
        return found["machine"]

    def _result(self, future: Any) -> Any:
        from distributed import CancelledError

        try:
            return future.result()
        except CancelledError:
            raise Lost(f"--cluster: the scheduler at {self.cluster.where} is gone") from None
        except Exception as error:
            raise UserError(f"--cluster: a worker failed ({type(error).__name__}: {files.one_line(error)})") from None

    def measure(
        self, plan: Plan, store: Store, options: Options, progress: Progress, unavailable: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """:func:`bench.run.scheduler.run_cells` on the cluster: the records of all cells.

        Raises:
            Lost: the scheduler, or every machine of the kind that a group is bound to, is gone.
            UserError: a worker cannot take part.
            DiskFull: of this machine.
        """
        self.store, self.options, self.unavailable = store, options, unavailable
        self.machines = Machines(store)
        self.progress = Several(progress)
        self.records = [record for record in store.cells() if not record.get("killed")]
        done = {record["key"] for record in self.records}
        self.open = {cell.key: cell for cell in self.plan.cells if cell.key not in done}
        self.progress.begin(list(self.open.values()), self.records)
        client = self.cluster.client
        client.subscribe_topic(self.topic, lambda event: self.inbox.put(("event", event[1], None)))
        try:
            self._loop(self._groups())
        finally:
            self.progress.close()
            for future in self.futures.values():
                future.cancel()
        return self.records

    def _groups(self) -> list[Group]:
        """The groups that are not done, the longest first."""
        seconds, found = shards.loads(self.plan), {}
        for cell in self.open.values():
            found.setdefault(shards.group_of(cell), []).append(cell)
        bound = {shards.group_of(Cell.from_dict(record)): record.get("machine") or self.machines.first()
                 for record in self.records}  # fmt: skip
        groups = [Group(self._name(cells[0]), cells, seconds[name], bound.get(name)) for name, cells in found.items()]
        self.groups = {group.name: group for group in groups}
        return sorted(groups, key=lambda group: (-group.seconds, group.name))

    @staticmethod
    def _name(cell: Cell) -> str:
        """The name of a cell's group."""
        return "-".join(map(str, shards.group_of(cell)))

    def _loop(self, waiting: list[Group]) -> None:
        under_way: dict[str, Group] = {}
        offered, looked, idle_since = {}, float("-inf"), time.monotonic()
        while waiting or under_way:
            now = time.monotonic()
            if not self.cluster.alive():
                raise Lost(f"--cluster: the scheduler at {self.cluster.where} is gone")
            if now - looked > LOOK_AGAIN_S:
                offered, looked = self.cluster.machines(), now
                self.progress.machines = sum(offered.values())
                for name, group in list(under_way.items()):
                    if group.where and not set(group.where) & set(offered):  # it would wait for ever
                        waiting.append(under_way.pop(name))
                        self.futures.pop(name).cancel()
            for group in list(waiting):
                if len(under_way) < sum(offered.values()) and self._submit(group, offered):
                    waiting.remove(group)
                    under_way[group.name] = group
            if under_way and offered:
                idle_since = now
            elif now - idle_since > STUCK_S and self.cluster.slurm is None:
                rest = {group.machine or f"any {RESOURCE}" for group in (*waiting, *under_way.values())}
                kinds = ", ".join(sorted(rest))
                raise Lost(f"--cluster: for {duration(STUCK_S)} no worker has offered what the rest needs ({kinds})")
            try:
                kind, value, future = self.inbox.get(timeout=0.2)
            except queue.Empty:
                self.progress.tick()
                continue
            if kind == "event":
                self._event(value)
            elif self.futures.get(value) is future:
                group = under_way.pop(value)
                self._ended(group, future)
                if group.cells:
                    waiting.insert(0, group)

    def _submit(self, group: Group, offered: Mapping[str, int]) -> bool:
        """Hand a group out, to a machine of its kind if it is bound to one; False where there is none."""
        if group.machine:
            group.where = [at for at in offered if self.of_address.get(at, group.machine) == group.machine]
            if not group.where:
                return False
        done = {record["key"]: record for record in self.records if not record.get("killed")}
        names = {cell.key for cell in group.cells}
        names |= {cell.key for cell in self.plan.cells if cell.key in done and self._name(cell) == group.name}
        plan = self.plan.only(lambda cell: cell.key in names)
        request = self.request(
            plan,
            group=group.name,
            mark=f"{self.store.mark}:{group.name}",
            done=[record for key, record in done.items() if key in names],
            unavailable={key: why for key, why in self.unavailable.items() if key in names},
            options={**dataclasses.asdict(self.options), "command": self.command},
            fingerprint=self.machines.fingerprint(group.machine) if group.machine else None,
        )
        group.submitted += 1
        future = self.cluster.client.submit(
            cluster_worker.run_group, request, resources={RESOURCE: 1}, workers=group.where, pure=False,
            priority=round(group.seconds), key=f"{self.topic}-{group.name}-{group.submitted}",
        )  # fmt: skip
        self.futures[group.name] = future
        future.add_done_callback(lambda ended, name=group.name: self.inbox.put(("ended", name, ended)))
        return True

    def _event(self, message: Mapping[str, Any]) -> None:
        cell, group = self.open.get(message["cell"]), self.groups[message["group"]]
        if cell is None:
            return  # measured again by a worker that did not know: the first result counts
        if message["kind"] == EVENTS:
            for event in message["events"]:
                self.progress.told(cell.key, event)
            return
        label = self.machines.label(**json.loads(message["machine"]))
        self.of_address[message["worker"]] = label
        if message["kind"] == STARTED:
            group.current = cell.key
            group.starts[cell.key] += 1
            self.progress.started(cell, message["targets"])
        elif message["kind"] == FINISHED:
            result = json.loads(message["result"])
            for name, data in message["files"].items():
                folder, file = Path(name).parts
                if folder in FOLDERS:
                    try:
                        files.replace(self.store.path / folder / file, data)
                    except OSError as error:
                        raise explain(error, self.store.path) from error
            self._commit(cell, {**result["record"], "machine": label}, result["samples"], result["curve"])
            group.current, group.machine = None, label
            group.cells = [other for other in group.cells if other.key != cell.key]

    def _commit(self, cell: Cell, record: dict[str, Any], samples: Sequence = (), curve: Sequence = ()) -> None:
        del self.open[cell.key]
        self.store.append(record, samples, curve)
        self.records.append(record)
        self.progress.finished(cell, record)

    def _ended(self, group: Group, future: Any) -> None:
        """A group's task has ended: well, refused, or with the fourth death of a worker."""
        from distributed import KilledWorker

        if future.status == "cancelled":
            raise Lost(f"--cluster: the scheduler at {self.cluster.where} is gone")
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            key = group.current
            if key in self.open and group.starts[key] >= MOST_DEATHS:
                reason = f"{group.starts[key]} workers died while they measured it; --resume tries it again"
                outcome = Outcome("error", reason, crashed=True, killed=True)
                record = cell_record(self.open[key], outcome, group.starts[key], {})
                machine = {"machine": group.machine} if group.machine else {}
                group.cells = [cell for cell in group.cells if cell.key != key]
                self._commit(self.open[key], {**record, **machine, "killed": True, "medians": {}, "evaluations": 0})
            return
        found = self._result(future)
        if found["refused"]:
            raise UserError(f"--cluster: a worker cannot take part: {found['refused']}")
        if found["elsewhere"]:
            self.of_address[found["worker"]] = self.machines.label(**found["machine"])
        elif group.submitted > len(self.plan.cells) + MOST_DEATHS:
            raise UserError(f"--cluster: {group.name} ends again and again without a result")
