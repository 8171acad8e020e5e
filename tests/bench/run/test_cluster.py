"""A run on a cluster is a run on one machine: the same files, whatever dies meanwhile."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import types
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="needs the extra cluster: distributed")

import dask_cluster
from drive import INPUTS
from plans import QUICK, alive, environment, fake_command, samples_of, small_plan, wait_until

from bench.analysis import summary
from bench.plan import cells
from bench.run import cluster, session
from bench.run.output import QUIET
from bench.store import reader, run_folder, whole_runs
from nst_gluon.system.errors import UserError

JOHNSON = "gluon-johnson-stylize-64-b1-float32-cpu-s0"


@pytest.fixture(scope="module")
def two_workers():
    with dask_cluster.running(2) as found:
        yield found


def execute(plan, out: Path, where: str | None, modes=None, **how) -> tuple[int, Path]:
    how = session.How(out=out, command=fake_command(modes), ask=lambda *a: INPUTS, report=False, level=QUIET,
                      cluster=where, **how)  # fmt: skip
    status = session.execute(plan, how)
    return status, run_folder.list_runs(out)[-1]["path"]


def table(path: Path, name: str) -> list[list[str]]:
    return sorted(csv.reader((path / name).read_text().splitlines()))


def test_the_files_are_those_of_a_run_on_one_machine(two_workers, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as the workers have
    plan = small_plan(sizes=[64, 96])
    here = execute(plan, tmp_path / "here", None)
    there = execute(plan, tmp_path / "there", two_workers["address"])
    assert here[0] == there[0] == 0
    for name in ("samples.csv", "curves.csv"):
        assert table(here[1], name) == table(there[1], name)
    runs = [run_folder.read_run(path) for _, path in (here, there)]
    assert set(runs[0]) == set(runs[1]) and runs[0]["fingerprint"] == runs[1]["fingerprint"]
    assert runs[1]["status"] == "complete"
    cells = [{cell["key"]: cell for cell in run_folder.read_cells(path)} for _, path in (here, there)]
    assert cells[0].keys() == cells[1].keys()
    for key, cell in cells[1].items():
        assert set(cell) == {*cells[0][key], "machine"} and cell["targets"] == cells[0][key]["targets"]
        assert (there[1] / cell["log"]).is_file()


def test_a_killed_worker_is_one_attempt_and_leaves_nothing_at_work(two_workers, tmp_path):
    deaths = tmp_path / "deaths"
    plan = small_plan(sizes=[64, 96])
    status, path = execute(plan, tmp_path, two_workers["address"], {JOHNSON: f"kill_parent {deaths} 1"})
    cells = run_folder.read_cells(path)
    assert status == 0 and Counter(cell["key"] for cell in cells) == Counter(cell.key for cell in plan.cells)
    ((key, pid),) = map(str.split, deaths.read_text().splitlines())
    assert key == JOHNSON and wait_until(lambda: not alive(int(pid)), 3), "an orphan would run beside the retry"


def test_four_deaths_are_the_error_of_one_cell_which_resume_tries_again(two_workers, tmp_path):
    deaths = tmp_path / "deaths"
    plan = small_plan()
    status, path = execute(plan, tmp_path, two_workers["address"], {JOHNSON: f"kill_parent {deaths} 99"})
    assert status == session.FAILED and len(deaths.read_text().splitlines()) == cluster.MOST_DEATHS
    cells = {cell["key"]: cell for cell in run_folder.read_cells(path)}
    assert {key for key, cell in cells.items() if cell["status"] != "ok"} == {JOHNSON}
    assert len(cells) == len(plan.cells) and "4 workers died" in cells[JOHNSON]["reason"]
    assert execute(plan, tmp_path, two_workers["address"], resume=path)[0] == 0
    assert {cell["status"] for cell in run_folder.read_cells(path)} == {"ok"}


def test_a_killed_scheduler_is_one_line_and_resume_goes_on(two_workers, tmp_path):
    plan = small_plan(repeats=4)
    with dask_cluster.running(2) as found:
        def kill():
            wait_until(lambda: any(tmp_path.glob("*/cells.jsonl")) and len(
                next(tmp_path.glob("*/cells.jsonl")).read_text().splitlines()) > 1, 20)  # fmt: skip
            os.kill(found["scheduler"], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(cluster.Lost, match="is gone; .* of 20 cells are kept in .*; go on with: .*--resume"):
            execute(plan, tmp_path, found["address"], {"*": "slow"})
        killer.join()
    (run,) = run_folder.list_runs(tmp_path)
    kept = [cell["key"] for cell in run["cells"]]
    assert 1 < len(kept) < 20 and run["run"]["status"] == "interrupted"
    assert execute(plan, tmp_path, two_workers["address"], resume=run["path"])[0] == 0
    cells = [cell["key"] for cell in run_folder.read_cells(run["path"])]
    assert cells[: len(kept)] == kept and sorted(cells) == sorted(cell.key for cell in plan.cells)
    assert len(table(run["path"], "samples.csv")) == 1 + sum(
        samples_of(cell.task, cell.seed) for cell in plan.cells if cell.kind == "generate"
    )


def test_an_interrupt_stops_the_cells_that_are_under_way(two_workers, tmp_path):
    drive = Path(__file__).resolve().parents[2] / "drive.py"
    command = [sys.executable, str(drive), str(tmp_path), "", '{"*": "hang"}', "1", two_workers["address"]]
    child = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    assert wait_until(hanging, 20)
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=20)
    assert child.returncode == 130 and "interrupted: 0 of 5 cells" in error and "--cluster" in error
    assert "Traceback" not in error and wait_until(lambda: not hanging(), 5)


def hanging() -> list[str]:
    return [pid.name for pid in Path("/proc").glob("[0-9]*")
            if (text := _read(pid / "cmdline")) and "fake_worker.py" in text and '"hang"' in text]  # fmt: skip


def _read(path: Path) -> str:
    try:
        return path.read_text().replace("\0", " ")
    except OSError:
        return ""


def test_different_machines_stand_side_by_side(tmp_path):
    """A group stays with the kind of machine that began it, though its worker dies and the other one is idle."""
    plan = small_plan(sizes=[64, 96])
    last = "gluon-gatys-stylize-96-b1-float32-cpu-s0"
    modes = {"*": "slow", last: f"kill_parent {tmp_path / 'deaths'} 1"}
    with dask_cluster.running(2, "kinds") as found:
        status, path = execute(plan, tmp_path / "out", found["address"], modes)
    assert status == 0 and len((tmp_path / "deaths").read_text().splitlines()) == 1
    run, data = run_folder.read_run(path), reader.read_run(path)
    threads = {label: machine["threads"] for label, machine in run["machines"].items()}
    assert sorted(threads) == ["machine-1", "machine-2"] and sorted(threads.values()) == [1, 2]
    assert len(data.records) == len(plan.cells)
    for table in (data.samples, data.curves, data.cells):
        assert set(table.device) <= {"cpu@machine-1", "cpu@machine-2"}
        for _, group in table.groupby(["task", "size"]):
            assert group.device.nunique() == 1
    assert data.cells.device.nunique() == 2
    ratios = summary.summarise_run(data)
    assert set(ratios[ratios.metric == "speedup_at_500_iterations"].device) <= set(data.cells.device)
    with pytest.raises(UserError, match="several machines side by side"):
        whole_runs.read(path)


def test_another_version_of_dask_is_refused_at_the_door():
    """It would be let in, and hang."""
    def versions(name):
        return {"packages": {"dask": "1", "distributed": name}}

    client = types.SimpleNamespace(
        scheduler_info=lambda: {"workers": {"tcp://a": {"resources": {"machine": 1.0}}}},
        get_versions=lambda: dict.fromkeys(("client", "scheduler"), versions("1"))
        | {"workers": {"tcp://a": versions("2")}},
    )  # fmt: skip
    with pytest.raises(UserError, match="tcp://a has distributed 2 and this machine 1"):
        cluster.Cluster(client, "here").machines()


@pytest.mark.parametrize(("where", "words"), [
    ("127.0.0.1:1", "no Dask scheduler answers at '127.0.0.1:1'"),
    ("nowhere.json", "no file 'nowhere.json'"),
])  # fmt: skip
def test_a_cluster_that_is_not_there_is_one_line(where, words, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with pytest.raises(UserError, match=words):
        execute(small_plan(), tmp_path / "out", where)
    assert not (tmp_path / "out").exists()


def test_workers_that_offer_no_machine_are_one_line(tmp_path, monkeypatch):
    """Dask itself would wait for ever, without a word."""
    monkeypatch.setattr(cluster, "ARRIVE_S", 0.5)
    with dask_cluster.running(0) as found, pytest.raises(UserError, match=r"has no workers; .*--resources machine=1"):
        execute(small_plan(), tmp_path, found["address"])


def test_without_the_option_dask_is_not_imported(python, tmp_path):
    child = python("import sys, bench.cli.main, bench.run.session; print([m for m in sys.modules if 'dask' in m])")
    assert child.stdout.strip() == "[]"


def test_a_simulation_of_many_cells_and_deaths(tmp_path):
    """A small one of results/cluster/simulate.py: nothing is lost or there twice."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "results" / "cluster"))
    import simulate

    found = simulate.measure(cells=120, workers=8, mean=0.2, folder=tmp_path)
    assert found["cells"] == found["committed"] == 120 and found["deaths"] > 0
    assert found["client_bytes"] < 200e6


def test_slurm_starts_exclusive_workers(tmp_path, monkeypatch):
    """With a sbatch that starts the job here, at once."""
    if importlib.util.find_spec("dask_jobqueue") is None:  # its import would take Ctrl-C from this process
        pytest.skip("needs the extra cluster: dask-jobqueue")
    log = tmp_path / "job.sh"
    for name, text in {"sbatch": f'cp "$1" {log}; sh {log} > /dev/null 2>&1 & echo $!', "scancel": 'kill "$@"'}.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.chdir(tmp_path)
    plan, handler = small_plan(method_names=["johnson"]), signal.getsignal(signal.SIGINT)
    status, path = execute(plan, tmp_path / "out", cluster.SLURM)
    assert signal.getsignal(signal.SIGINT) is handler
    job = log.read_text()
    assert status == 0 and len(run_folder.read_cells(path)) == 1
    assert "#SBATCH --exclusive" in job and "--resources machine=1" in job and "--no-nanny" in job
    assert "PROFILE__ENABLED=False" in job and "#SBATCH --mem" not in job


def test_pictures_are_the_same_bit_for_bit(two_workers, tmp_path):
    """Real cells: a net, and the optimisation that is compared with it."""
    pytest.importorskip("mxnet")
    budget = dataclasses.replace(QUICK, min_samples=3, min_seconds=0.0, warm_up_seconds=0.0, optimise_seconds=600.0,
                                 stop_early=False, max_iterations=3)  # fmt: skip
    nets = (("texture_net/texture", f"{cells.BUNDLED}great_wave-texture_net-texture.npz"),)
    settings = cells.Settings("great_wave", "astronaut", random_weights=True, threads=1, nets=nets)
    plan = small_plan(method_names=["texture_net", "gatys"], tasks=["texture"], budget=budget, settings=settings)
    found = []
    for where in (None, two_workers["address"]):
        how = session.How(out=tmp_path / str(bool(where)), report=False, level=QUIET, cluster=where)
        assert session.execute(plan, how) == 0
        path = run_folder.list_runs(how.out)[-1]["path"]
        data = reader.read_run(path)
        assert {record["status"] for record in data.records} == {"ok"}
        table = summary.summarise_run(data)
        kinds = {*zip(table.method, table.metric, table.unit, table.status)}
        pictures = {record["key"]: (path / record["image"]).read_bytes() for record in data.records}
        curve = list(zip(data.curves.iteration, data.curves.objective))
        # How many leading samples were slow is chance.
        found.append((list(table.columns), {row for row in kinds if "warm_up" not in row[1]}, pictures, curve))
    assert found[0] == found[1] and len(pictures) == 2
    assert ("texture_net", "speedup_at_500_iterations", "x", "ok") in kinds
