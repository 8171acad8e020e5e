"""The worker's own manners: what it reports of a failure, and that it does not outlive the orchestrator."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from plans import QUICK, alive, environment, small_plan, wait_until

from bench.engines import measure
from bench.machine.meters import NotSynchronised
from bench.plan import engines
from bench.run import worker
from bench.run.outcome import parse_event
from nst_gluon.system.errors import EngineMissing, NotFinite, UserError

PLAN = small_plan()


def chained(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "oom"),
        (RuntimeError("[bt] cudaMalloc failed: out of memory"), "oom"),
        (RuntimeError("std::bad_alloc"), "oom"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "oom"),
        (RuntimeError("MXNetError: Failed to allocate CPU Memory"), "oom"),
        (ImportError("Original error was: libblas.so: failed to map segment from shared object"), "oom"),
        (
            EngineMissing("no engine: MXNet (libX.so: failed to map segment from shared object)"),
            "oom",
        ),
        (EngineMissing("no engine: python -m pip install -e '.[cpu]'"), "user_error"),
        (chained(UserError("net: cannot be read"), MemoryError()), "oom"),
        (chained(UserError("net: cannot be read"), OSError(errno.ENOMEM, "Cannot allocate memory")), "oom"),
        (UserError("net: too old"), "user_error"),
        (UserError("--style: no file 'out of memory.png'"), "user_error"),
        (NotSynchronised("not synchronised: samples say 1 ms a call"), "error"),
        (NotFinite("the objective became nan"), "error"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (chained(UserError("cannot write"), OSError(errno.ENOSPC, "No space left on device")), "disk_full"),
    ],
)
def test_failures_that_are_understood(error, status):
    found, reason = worker.failure(error)
    assert found == status
    assert "\n" not in reason


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("y"), RuntimeError("operator not found")])
def test_anything_else_is_a_crash(error):
    assert worker.failure(error) is None


def test_what_only_means_memory_under_a_limit(monkeypatch):
    error = RuntimeError("MXNetError: Resource temporarily unavailable")
    assert worker.failure(error) is None
    monkeypatch.setattr(worker.environment, "address_space_limit", lambda: 1 << 50)
    assert worker.failure(error) is None  # far from it
    monkeypatch.setattr(worker.environment, "address_space_limit", lambda: 1 << 20)
    assert worker.failure(error)[0] == "oom"
    assert worker.failure(ValueError("x")) is None


def test_the_context_speaks_the_protocol(tmp_path):
    cell = PLAN.cells[0]
    read, write = os.pipe()
    context = worker.Context(write, tmp_path, cell, {"johnson": 3.0}, spawned=0.0)
    context.sample("latency_s", 0.1, "s")
    context.ready()
    context.progress("timing")
    context.saved(context.image())
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        events = [parse_event(line) for line in pipe]
    assert [event["event"] for event in events] == ["sample", "sample", "ready", "progress", "image"]
    assert events[0]["value"] == 0.1
    assert events[1]["metric"] == "setup_s"
    assert events[4]["path"] == f"images/{cell.key}.png"


def start_worker(tmp_path, engine: str) -> subprocess.Popen:
    """A parent that starts the real worker with an engine of one line, and waits."""
    spec = {
        "cell": PLAN.cells[0].to_dict(),
        "settings": PLAN.to_dict()["settings"],
        "budget": PLAN.to_dict()["budget"],
        "photos": [],
        "draws": 0,
        "targets": {},
        "run_dir": str(tmp_path),
    }
    (tmp_path / "toy.py").write_text(engine)
    registered = (
        "import dataclasses, sys; from bench.plan import engines; from bench.run import worker;"
        "engines.ENGINES['gluon'] = dataclasses.replace(engines.ENGINES['gluon'], module='toy');"
        "sys.exit(worker.main())"
    )
    parent = (
        "import json; from pathlib import Path; from bench.run.process import run_worker\n"
        "from nst_gluon.system import children\n"
        f"outcome = run_worker(children.python('-c', {registered!r}), json.loads({json.dumps(spec)!r}),"
        f" timeout_s=30, log_path=Path({str(tmp_path / 'log')!r}))\n"
        "print(json.dumps([outcome.status, outcome.reason, outcome.info]))"
    )
    paths = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    return subprocess.Popen(
        [sys.executable, "-c", parent], env={**environment(), "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
    )


BACKEND = "class Gluon:\n    def __init__(self, *given):\n        {does}\n"


def answer(tmp_path, engine: str) -> list:
    output, _ = start_worker(tmp_path, engine).communicate(timeout=60)
    return json.loads(output)


def test_the_worker_runs_the_engine_and_returns_its_facts(tmp_path):
    engine = BACKEND.format(does="pass") + (
        "from bench.engines import measure\n"
        "measure.execute = lambda backend, host, cell, settings, budget, context: {\n"
        "    'style': settings.style, 'budget': budget.name, 'memory': host.read().peak > 0}"
    )
    assert answer(tmp_path, engine) == ["ok", "", {"style": "great_wave", "budget": QUICK.name, "memory": True}]


def test_an_error_of_the_users_is_a_result_and_a_bug_is_a_crash(tmp_path):
    user = "from nst_gluon.system.errors import UserError\n" + BACKEND.format(does="raise UserError('net: wrong')")
    assert answer(tmp_path, user)[:2] == ["error", "net: wrong"]
    status, reason, _ = answer(tmp_path, BACKEND.format(does="raise ValueError('surprise')"))
    assert status == "error" and "ValueError: surprise" in reason


def test_an_engine_that_is_missing_is_one_line(tmp_path):
    code = "from nst_gluon.system.errors import EngineMissing\nraise EngineMissing('no engine')"
    status, reason, _ = answer(tmp_path, code)
    assert (status, reason) == ("error", "no engine")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's parent-death signal")
def test_the_worker_dies_with_an_orchestrator_that_is_killed(tmp_path):
    mark = tmp_path / "pid"
    does = f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = start_worker(tmp_path, "import os, time\n" + BACKEND.format(does=does))
    assert wait_until(lambda: mark.exists() and mark.read_text())
    pid = int(Path(mark).read_text())
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not alive(pid))


def test_what_is_measured_has_one_photo_in_memory(monkeypatch):
    """The others are read when their pictures are scored: their memory is not the net's."""
    read, cell = [], next(cell for cell in PLAN.cells if cell.kind == "generate" and cell.task == "stylize")
    monkeypatch.setattr(measure, "loaded", lambda role, photo, size: read.append(photo))
    net = SimpleNamespace(inputs=lambda *given: ())
    backend = SimpleNamespace(synchronise=lambda: None, generator=lambda file: net)
    context = SimpleNamespace(photos=["a.png", "b.png"], ready=lambda: None)

    class Meter:
        def start(self):
            raise StopIteration

    with pytest.raises(StopIteration):
        measure._generate(backend, cell, SimpleNamespace(net=lambda cell: "net.npz"), QUICK, context, Meter())
    assert read == ["a.png"]


def test_engines_are_registered_with_what_they_need():
    for engine in engines.ENGINES.values():
        assert engine.module.startswith("bench.engines.")
        assert "float32" in engine.generate_dtypes
    with pytest.raises(UserError, match="--engine: unknown engine 'glun'; did you mean 'gluon'"):
        engines.get("glun")
