"""What is said of a machine whose numbers are less trustworthy: threads, clock rate, drift, warm-up."""

from __future__ import annotations

import pytest
from drive import INPUTS
from plans import fake_command, small_plan

from bench.machine import environment
from bench.run import session
from bench.run.output import QUIET
from bench.store import run_folder as store
from bench.store.run_folder import Store

IDLE = [0.0, 0.0, 0.0]


def machine(threads: int = 2, cores: int = 2, **variables: str) -> dict:
    return {"cpu": {"cores_used": cores}, "threads": threads, "variables": variables}


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OMP_NUM_THREADS": "2,4"}, "OMP_NUM_THREADS=2,4: 8 nested threads on 2 cores"),
        ({"MKL_NUM_THREADS": "16"}, "MKL_NUM_THREADS=16 on 2 cores"),
        ({"OPENBLAS_NUM_THREADS": "3"}, "OPENBLAS_NUM_THREADS=3 on 2 cores"),
        ({"MXNET_CPU_WORKER_NTHREADS": "4"}, "4 workers of 2 threads each on 2 cores"),
        ({"OMP_PLACES": "{0}"}, "2 threads are bound to 1 of 2 cores (OMP_PLACES={0})"),
        ({"OMP_PROC_BIND": "master"}, "bound to 1 of 2 cores (OMP_PROC_BIND=master)"),
        ({"GOMP_CPU_AFFINITY": "1"}, "bound to 1 of 2 cores (GOMP_CPU_AFFINITY=1)"),
        ({"OMP_PROC_BIND": "close", "OMP_PLACES": "cores(1)"}, "(OMP_PROC_BIND=close OMP_PLACES=cores(1))"),
    ],
)
def test_more_threads_than_there_are_cores_for_them(variables, words):
    (warning,) = environment.warnings_before(machine(**variables), IDLE)
    assert words in warning and "times may be far too long" in warning


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OMP_NUM_THREADS": "2"},
        {"OMP_NUM_THREADS": "2,1"},
        {"MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "NUMEXPR_NUM_THREADS": "many"},
        {"MXNET_CPU_WORKER_NTHREADS": "1"},
        {"OMP_PROC_BIND": "true"},
        {"OMP_PROC_BIND": "spread", "OMP_PLACES": "threads"},
        {"OMP_PROC_BIND": "false", "OMP_PLACES": "{0}"},
        {"OMP_PLACES": "{0},{1}"},
        {"OMP_PLACES": "what is this"},
        {"GOMP_CPU_AFFINITY": "0-1"},
    ],
)
def test_threads_that_have_their_cores_are_no_warning(variables):
    assert environment.warnings_before(machine(**variables), IDLE) == []


def test_an_oversubscribed_number_of_threads_is_told_whatever_set_it():
    (warning,) = environment.warnings_before(machine(threads=8, OMP_NUM_THREADS="8"), IDLE)
    assert warning == "8 threads on 2 cores: oversubscribed, times may be far too long"
    bound = environment.warnings_before(machine(threads=1, OMP_PLACES="{0}"), IDLE)
    assert bound == []  # one thread needs no more than one place


def test_the_variables_that_warnings_rest_on_are_recorded(monkeypatch):
    for name in (*environment.OTHER_THREADS, "OMP_NUM_THREADS", "OMP_PLACES", "OMP_PROC_BIND", "GOMP_CPU_AFFINITY",
                 "MXNET_CPU_WORKER_NTHREADS"):  # fmt: skip
        monkeypatch.setenv(name, "1")
        assert environment.capture(threads=1)["variables"][name] == "1"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("{0}", [{0}]),
        ("{0,1},{2,3}", [{0, 1}, {2, 3}]),
        ("{0:4}", [{0, 1, 2, 3}]),
        ("{0:2:8}", [{0, 8}]),
        ("{0:2}:3", [{0, 1}, {1, 2}, {2, 3}]),
        ("{0}:3:4", [{0}, {4}, {8}]),
        (" { 0 } , { 5 } ", [{0}, {5}]),
        ("cores(2)", [{0}, {1}]),
        ("threads", None),
        ("sockets", None),
        ("", None),
        ("{}", None),
        ("!{0}", None),
    ],
)
def test_places(text, places):
    assert environment.parse_places(text) == places


# --------------------------------------------------------------------------------------------------- clock rate


@pytest.fixture
def files(monkeypatch):
    """Puts texts in the place of the system's files."""
    texts: dict[str, str] = {}
    monkeypatch.setattr(environment, "read", lambda path: texts.get(str(path), ""))
    return texts


def test_the_clock_rate_is_that_of_the_fastest_processor_of_this_process(files):
    assert environment.cpu_mhz({0, 1}) is None
    files["/proc/cpuinfo"] = (
        "processor\t: 0\nmodel name\t: x\ncpu MHz\t\t: 2596.120\n\nprocessor\t: 1\ncpu MHz\t\t: 3100.5\n\n"
        "processor\t: 10\ncpu MHz\t\t: 4000.0\n"
    )
    assert environment.cpu_mhz({0}) == 2596.1
    assert environment.cpu_mhz({0, 1}) == 3100.5
    assert environment.cpu_mhz({7}) is None
    files["/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"] = "1800000\n"
    assert environment.cpu_mhz({0, 1}) == 1800.0


def test_a_processor_without_a_clock_rate_is_no_error(files):
    files["/proc/cpuinfo"] = "processor\t: 0\nBogoMIPS\t: 50.00\n"
    assert environment.cpu_mhz({0}) is None
    files["/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"] = "<unknown>"
    assert environment.cpu_mhz({0}) is None


def test_the_limit_of_an_address_space(files):
    assert environment.address_space_limit() is None
    files["/proc/7/limits"] = "Max address space         unlimited            unlimited            bytes\n"
    assert environment.address_space_limit(7) is None
    files["/proc/7/limits"] = "Max address space         1048576              unlimited            bytes\n"
    assert environment.address_space_limit(7) == 1 << 20


# -------------------------------------------------------------------------------------------- after the cells


def record(key: str = "cell", **fields) -> dict:
    return {"key": key, **fields}


def test_drift_is_told_with_the_worst_cell():
    records = [record("a", drift=0.02), record("b", drift=-0.08), record("c", drift=0.3), record("d", drift=None)]
    (warning,) = environment.warnings_after(records)
    assert warning.startswith("drift: the times changed steadily while 2 of 3 cells were measured, most by +30% in c")
    assert environment.warnings_after([record(drift=0.05), record(drift=-0.05), record()]) == []


def test_a_clock_rate_that_fell_is_told():
    def at(before, after):
        return record(info={"cpu_mhz": [before, after]})

    (warning,) = environment.warnings_after([at(3000.0, 2400.0), at(3000.0, 2900.0), at(3000.0, 2600.0)])
    assert warning.startswith("clock rate: the processor slowed down while 2 of 3 cells were measured, most from 3000 ")
    assert "to 2400 MHz" in warning
    fine = [at(3000.0, 2750.0), at(2000.0, 3000.0), at(None, 3000.0), at(3000.0, None), record(info={}), record()]
    assert environment.warnings_after(fine) == []


def test_a_warm_up_that_was_too_short_is_told():
    def of(dropped, timed):
        return record(info={"dropped_samples": dropped, "timed_samples": timed})

    (warning,) = environment.warnings_after([of(5, 10), of(1, 10), of(4, 12)])
    assert warning.startswith("warm-up: the first times were still falling in 2 of 3 cells")
    assert "up to 5 of 10 samples" in warning
    assert environment.warnings_after([of(2, 10), of(0, 0), record(info=None)]) == []


def test_every_line_begins_as_announced():
    records = [record(drift=0.5, foreign_cores=1.0,
                      info={"cpu_mhz": [3.0, 1.0], "dropped_samples": 5, "timed_samples": 10})]  # fmt: skip
    found = environment.warnings_after(records)
    assert len(found) == len(environment.AFTER)
    assert all(line.startswith(begin) for line, begin in zip(found, environment.AFTER))


def test_the_warnings_of_a_run_that_was_gone_on_with_replace_those_of_its_first_session(tmp_path):
    store = Store.create(tmp_path, {**small_plan().to_dict(), "warnings": []})
    session._warn(store, ["the machine was busy before the run"])
    for count in (1, 2):
        records = [record(drift=0.2)] * count
        session._warn(store, environment.warnings_after(records), instead_of=environment.AFTER)
    first, second = store.run["warnings"]
    assert first == "the machine was busy before the run" and "2 of 2 cells" in second
    session._warn(store, [], instead_of=environment.AFTER)
    assert store.run["warnings"] == [first]
    store.close()


def test_a_run_carries_what_its_cells_tell_against_it(tmp_path):
    plan = small_plan(method_names=["johnson", "texture_net"], tasks=["stylize"])
    how = session.How(
        out=tmp_path, level=QUIET, command=fake_command({plan.cells[0].key: "drifting"}), ask=lambda *arguments: INPUTS,
        report=False, arguments=["test"],
    )  # fmt: skip
    assert session.execute(plan, how) == session.OK
    (found,) = store.list_runs(tmp_path)
    assert [record["drift"] for record in found["cells"]] == [pytest.approx(0.43, abs=0.01), 0.0]
    lines = "\n".join(found["run"]["warnings"])
    assert f"1 of 2 cells were measured, most by +43% in {plan.cells[0].key}" in lines
    assert "slowed down while 1 of 1 cells were measured, most from 3000 to 2400 MHz" in lines
    assert "up to 12 of 24 samples of a cell were left out" in lines
