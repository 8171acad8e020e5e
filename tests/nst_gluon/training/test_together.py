"""Several processes train one net: as one process would, and all of them or none."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import toy_methods
from plans import alive, wait_until

from nst_gluon import api, methods
from nst_gluon.api import inputs
from nst_gluon.nets import netfile
from nst_gluon.system import runtime
from nst_gluon.system.errors import NotFinite, UserError
from nst_gluon.training import member, run_folder, together
from nst_gluon.training.config import TrainConfig
from nst_gluon.training.member import Together
from nst_gluon.training.run_folder import train

ROOT = Path(__file__).resolve().parents[3]
CONFIG = TrainConfig("texture_net", "texture", "great_wave", iterations=20, size=32, batch=4, recipe="paper",
                     random_weights=True)  # fmt: skip
SAME = {"task": "texture", "size": 32, "batch": 4, "iterations": 20, "random_weights": True, "recipe": "paper"}


def members(folder: Path) -> list[int]:
    """The processes of a group whose launcher works in ``folder``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"nst_gluon.training.member" in (entry / "cmdline").read_bytes() and (entry / "cwd").resolve() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return sorted(found)


def alone(folder: Path) -> None:
    """The training of two workers in one process, part by part."""
    train(replace(CONFIG, workers=2), folder)


def test_two_workers_end_where_one_process_does(tmp_path, monkeypatch):
    """Over ssh, or what stands for it here: it runs the command on this machine."""
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PORT", "1")  # which ps-lite would bind
    hosts = tmp_path / "hosts"
    hosts.write_text("# this machine\n127.0.0.1 slots=2\n")
    # Of one thread like the workers: the order of a sum decides the sign of gradients that should be zero.
    alone = "import sys; from pathlib import Path; import test_together as t; t.alone(Path(sys.argv[1]))"
    folders = os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(__file__).parent)))
    subprocess.run([sys.executable, "-c", alone, str(tmp_path / "one")], check=True, timeout=120,
                   env={**os.environ, "PYTHONPATH": folders, "OMP_NUM_THREADS": "1"})  # fmt: skip
    (made,) = (tmp_path / "one").glob("*.npz")
    one = netfile.load(made)[0]
    path = api.train("great_wave", output=tmp_path / "two", workers=hosts, threads=1, **SAME)
    two, meta = netfile.load(path)
    learnt = [name for name in one if "running" not in name]
    assert len(learnt) > 20 and max(np.abs(one[name] - two[name]).max() for name in learnt) < 1e-5
    assert meta["training"]["workers"] == 2 and len(path.with_suffix(".csv").read_text().splitlines()) == 21


def test_a_killed_worker_ends_all_and_the_same_command_goes_on(tmp_path):
    command = [sys.executable, "-m", "nst_gluon", "train", "great_wave", "--task", "texture", "--size", "32", "--batch",
               "2", "--iterations", "24", "--random-weights", "--checkpoint-every", "2", "--workers", "2", "--quiet",
               "--threads", "1"]  # fmt: skip
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "text": True}
    group = subprocess.Popen(command, stderr=subprocess.PIPE, **options)
    assert wait_until(lambda: list(tmp_path.glob("*.checkpoint.npz")), 60)
    found = members(tmp_path)
    assert len(found) == 4
    os.kill(found[-1], signal.SIGKILL)
    _, error = group.communicate(timeout=30)
    assert group.returncode == 2 and not [pid for pid in found if alive(pid)]
    assert error == ("error: --workers: worker 2 of 2 was killed (SIGKILL); the others were ended, and the same "
                     "command goes on from the last checkpoint\n")  # fmt: skip
    subprocess.run(command, check=True, timeout=120, **options)
    (log,) = tmp_path.glob("*.csv")
    assert [int(line.split(",")[0]) for line in log.read_text().splitlines()[1:]] == [
        *range(1, 25)]  # fmt: skip


def test_workers_that_differ_are_told():
    def checked(rank, value, sent):
        worker = Together.__new__(Together)
        worker.rank, worker.workers = rank, 2
        worker.add_up = lambda arrays, numbers: sent.append(np.array(numbers)) or sum(sent).tolist()
        array = SimpleNamespace(size=100, asnumpy=lambda: np.full(100, value, np.float32))
        worker.check({"w": array}, [array], 10)

    for value, differs in ((1.0, False), (1.0000001, True)):
        sent = []
        with pytest.raises(UserError):  # the other one has not told yet
            checked(0, 1.0, sent)
        with pytest.raises(UserError, match="differ at iteration 10") if differs else contextlib.nullcontext():
            checked(1, value, sent)


class Ended:
    """A member that gave an answer."""

    def __init__(self, answer: dict):
        self.stdout = io.StringIO(json.dumps(answer))

    def poll(self) -> int:
        return 1


@pytest.fixture
def worker(monkeypatch):
    """What the only worker answers to a job: ``worker(job, train)``, with ``train`` for a training."""

    def answer(job, train):
        monkeypatch.setattr(member, "Together", lambda: None)
        monkeypatch.setattr(run_folder, "train", train)
        return member._answer({"device": "cpu", "threads": 1, "share": 1, **job})

    return answer


@pytest.fixture
def job(monkeypatch, tmp_path):
    """The job that a training gives its two workers: ``job(**options)``."""

    def made(**options):
        jobs = []
        monkeypatch.setattr(together, "launch", lambda job, *rest: jobs.append(json.loads(json.dumps(job))))
        api.train("great_wave", output=tmp_path / "out", **{"workers": 2, **SAME, **options})
        return jobs[0]

    return made


def test_a_method_of_ones_own_is_known_to_the_workers(monkeypatch, tmp_path, job, worker):
    monkeypatch.setattr(methods, "_registered", {})
    sent = job(method=f"{toy_methods.write(tmp_path)}:ToyNet", task="stylize")
    methods._registered.clear()  # as in another process
    answer = worker(sent, lambda config, *rest, **options: methods.get(config.method).title)
    assert answer == {"net": "toy network"}


def test_a_training_that_diverged_is_no_error_of_the_user_s(job, worker):
    def diverge(*rest, **options):
        raise NotFinite("training diverged at iteration 3: NaN or infinite values")

    with pytest.raises(NotFinite, match="diverged at iteration 3"):
        together._wait({"worker 1 of 1": Ended(worker(job(), diverge))})


def test_a_precision_that_a_worker_s_processor_lacks_is_one_line(monkeypatch, job, worker):
    sent = job()
    monkeypatch.setattr(runtime, "cpu_supports_bfloat16", lambda: False)
    for dtype, words in (("bfloat16", "AVX512_BF16"), ("float16", "unknown precision 'float16'")):
        with pytest.raises(UserError, match=words):
            job(dtype=dtype)
    sent["config"]["dtype"] = "bfloat16"  # as on another host
    assert "AVX512_BF16" in worker(sent, None)["error"]


@pytest.mark.parametrize(("workers", "words"), [
    (0, "0 is not from 1 to 256"), (-1, "-1 is not from 1 to 256"),
    ("nowhere", "'nowhere' is neither a number nor a file of hosts"), (3, "6 would do")
])  # fmt: skip
def test_what_cannot_be_is_one_line(workers, words, tmp_path):
    with pytest.raises(UserError, match=words):
        api.train("great_wave", output=tmp_path / "out", workers=workers, **SAME)
    assert not (tmp_path / "out").exists()


def test_one_picture_for_two_workers():
    with pytest.raises(UserError, match="--batch: 1 picture cannot be split over 2 workers; 2 would do"):
        together.check_batch(1, 2)


def test_the_memory_of_a_training_is_that_of_what_goes_through_its_net_at_once(monkeypatch, tmp_path, job):
    """With instance norm a picture for each worker; with batch norm all; on other machines nobody knows."""
    room = inputs.BASE_BYTES + 3 * 32**2 * inputs.OPTIMISE_BYTES
    monkeypatch.setattr(runtime, "memory_available_bytes", lambda: room)
    assert job(method="johnson", task="stylize", batch=8)["config"]["batch"] == 8
    with pytest.raises(UserError, match="^--size: 32x32 pixels .* use a smaller --size or --batch"):
        job(batch=8)
    (tmp_path / "hosts").write_text("127.0.0.1 slots=2\n")
    assert job(batch=8, workers=tmp_path / "hosts")["config"]["batch"] == 8


def test_a_file_of_hosts(tmp_path):
    file = tmp_path / "hosts"
    file.write_text("a\n\nuser@b.example slots=2  # two\n")
    expected = [("a", 0, 1), ("user@b.example", 0, 2), ("user@b.example", 1, 2)]
    assert together.places(file) == [together.Place(*place) for place in expected]
    for text in ("", "a b\n", "-oProxyCommand=x\n", "a slots=0\n"):
        file.write_text(text)
        with pytest.raises(UserError, match="a line is HOST or HOST slots=N"):
            together.places(file)
    file.write_bytes(b" " * (together.LARGEST_HOSTFILE + 1))
    with pytest.raises(UserError, match="^--workers: cannot read '.*': it is larger than "):
        together.places(file)
