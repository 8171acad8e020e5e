"""How programs end: signals, standard streams that are closed or full, messages that a terminal must survive."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from plans import alive, environment, wait_until

from nst_gluon.system import children, files

NST, BENCH = ([sys.executable, "-m", name] for name in ("nst_gluon", "bench"))
NEEDS_FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")

# A program that has a child and a temporary file, says so, and waits to be ended.
AT_WORK = """
import sys, time
from pathlib import Path
from nst_gluon.cli import console
from nst_gluon.system import children, ending, files
def command():
    target = Path(sys.argv[1])
    with files.temporary_beside(target):
        children.run(children.python("-c", "import os, sys, time\\n"
                     "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)", str(target)))
    return 0
ending.program(lambda: console.run(command))
"""


def start(folder: Path) -> tuple[subprocess.Popen, int]:
    """The program at work in ``folder``, and its child's process."""
    process = subprocess.Popen(
        [sys.executable, "-c", AT_WORK, str(folder / "child")], env=environment(), stderr=subprocess.PIPE, text=True
    )
    assert wait_until(lambda: (folder / "child").exists() and (folder / "child").read_text(), 30)
    return process, int((folder / "child").read_text())


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(files.PREFIX)]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGINT, 130)]
)
def test_a_signal_ends_children_and_removes_what_is_half_written(tmp_path, number, status):
    process, child = start(tmp_path)
    assert leftovers(tmp_path)
    for _ in range(2):  # CI sends more than one; the second must not disturb the cleaning up
        process.send_signal(number)
        time.sleep(0.05)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status and "Traceback" not in errors
    assert not leftovers(tmp_path) and wait_until(lambda: not alive(child))


def test_what_a_kill_leaves_is_gone_after_the_next_start(tmp_path):
    process, child = start(tmp_path)
    process.kill()
    process.communicate()
    assert leftovers(tmp_path) and wait_until(lambda: not alive(child))  # the kernel ends the child
    (tmp_path / "child").unlink()
    process, _ = start(tmp_path)
    process.terminate()
    process.communicate(timeout=30)
    assert not leftovers(tmp_path)


def test_a_signal_that_is_ignored_from_the_start_stays_ignored(tmp_path):
    """nohup."""
    code = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + AT_WORK
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "child")], env=environment())
    assert wait_until(lambda: (tmp_path / "child").exists(), 30)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.terminate()
    assert process.wait(30) == 143


def test_ctrl_c_during_the_imports_is_no_traceback(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Press:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'nst_gluon.cli.main':\n            import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Press)\n"
    )
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    done = subprocess.run([*NST, "list"], env={**environment(), "PYTHONPATH": path}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    "lost",
    [
        "try:\n    raise_signal()\nexcept BaseException:\n    raise ImportError('a library in C')",
        "class Lost:\n    def __del__(self): raise_signal()\nLost()\nimport time\ntime.sleep(30)",
        "import ctypes, time\nctypes.pythonapi.PyRun_SimpleString(b'raise_signal()')\ntime.sleep(30)",
        "try:\n    raise_signal()\nexcept BaseException:\n    pass\nwhile True:\n    ending.check()",
    ],
)
def test_a_signal_that_a_library_makes_something_else_of_still_counts(lost):
    code = (
        "import os, signal\nfrom nst_gluon.cli import console\nfrom nst_gluon.system import ending\n"
        "def raise_signal(): os.kill(os.getpid(), signal.SIGTERM); [0 for _ in range(10)]\n"
        "names = {'raise_signal': raise_signal, 'ending': ending}\n"
    )
    for main in ("lambda: console.run(lambda: exec(lost, names))", "lambda: exec(lost, names)"):  # a command; a child
        done = subprocess.run(
            [sys.executable, "-c", f"{code}lost = {lost!r}\nending.program({main})"],
            env=environment(), capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (143, "")


@pytest.mark.parametrize(
    "broken",
    ["import threading; thread = threading.Thread(target=lambda: 1 / 0)\nthread.start(); thread.join()",
     "class Broken:\n    def __del__(self): 1 / 0\nBroken()",
     "import ctypes; ctypes.pythonapi.PyRun_SimpleString(b'1 / 0')"],
    ids=["thread", "unraisable", "printed"],
)  # fmt: skip
@pytest.mark.parametrize("signalled", [True, False])
def test_what_breaks_after_a_signal_is_not_told_and_before_it_is(broken, signalled):
    code = (
        "import os, signal\nfrom nst_gluon.system import ending\ndef main():\n    try:\n"
        f"        if {signalled}: os.kill(os.getpid(), signal.SIGTERM); [0 for _ in range(10)]\n"
        f"    finally:\n        exec({broken!r})\n    return 0\nending.program(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=20)
    assert done.returncode == (143 if signalled else 0)
    assert ("ZeroDivisionError" in done.stderr) == (not signalled)


# ---------------------------------------------------------------------------------------------------- streams


def shell(redirection: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command], env={**environment(), **variables},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("command", [[*NST, "list"], [*BENCH, "list", "methods"]])
def test_closed_streams_are_harmless(command):
    for redirection in (">&-", ">&- 2>&- <&-"):
        done = shell(redirection, *command)
        assert (done.returncode, done.stderr) == (0, "")
    done = shell("2>&-", *command[:3], "nonsense")
    assert done.returncode == 2


@NEEDS_FULL
@pytest.mark.parametrize(
    ("command", "unbuffered"), [([*NST, "list"], ""), ([*NST, "--help"], "1"), ([*BENCH, "list", "methods"], "")]
)
def test_a_full_standard_output_is_one_line(command, unbuffered):
    done = shell(">/dev/full", *command, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "No space left" in done.stderr
    assert shell("2>/dev/full", *command[:3], "nonsense", PYTHONUNBUFFERED=unbuffered).returncode == 2


def test_a_file_does_not_get_the_number_of_a_closed_stream(tmp_path):
    """Else what libraries print would be in it."""
    code = (
        "import os, sys; from nst_gluon.system import ending, files\n"
        "def main():\n"
        "    files.write_atomically(sys.argv[1], b'mine'); os.write(1, b'noise'); return 0\n"
        "ending.program(main)"
    )
    done = shell(">&-", sys.executable, "-c", code, str(tmp_path / "file"))
    assert done.returncode == 0 and (tmp_path / "file").read_bytes() == b"mine"


# --------------------------------------------------------------------------------------------------- messages


def test_a_long_argument_is_not_echoed_whole():
    done = subprocess.run([*NST, "stylize", "a" * 60_000], env=environment(), capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr) < 1100 and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "name"),
    [([*NST, "stylize"], b"a\xffb.png"), ([*BENCH, "report"], b"\x1b[31m\x07\n.png"),
     ([*BENCH, "run", "--style"], "\u202eгора\u200b.png".encode())],
)  # fmt: skip
def test_names_are_printed_without_harm(command, name):
    done = subprocess.run([*command, name], env=environment(), capture_output=True, timeout=60)
    assert done.returncode == 2
    line = done.stderr.decode()  # UTF-8
    assert line.count("\n") == 1 and line.rstrip("\n").isprintable() and line.startswith("error: ")


def test_a_printable_line_of_bounded_length():
    assert files.printable(" a\n b\x1b\udcff ") == "a b\\x1b\\udcff"
    long = files.printable("a" * 500 + "z" * 600)
    assert len(long) == files.LONGEST_MESSAGE and long.startswith("aaa") and long.endswith("zzz") and "..." in long


# --------------------------------------------------------------------------------------------------- children


def test_children_run_no_module_of_the_current_folder(tmp_path):
    """csv.py and pip.py of a folder that somebody else filled; Python's option -P asks for no less."""
    for name in ("csv", "pip", "json", "subprocess", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    for what in (["-c", "import csv, json, subprocess, numpy"], ["pip", "--version"], ["bench", "list", "presets"]):
        code = f"from nst_gluon.system import children\nprint(children.run(children.python(*{what!r})).returncode)"
        where = f"import os; os.chdir({str(tmp_path)!r})\n"
        done = subprocess.run(
            [sys.executable, "-c", where + "import sys; sys.path = [p for p in sys.path if p]\n" + code],
            env=environment(), cwd="/", capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout.strip() == "0" and not (tmp_path / "run").exists(), (what, done.stderr)


def test_a_child_that_takes_too_long_is_ended_with_its_own_children(tmp_path):
    code = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.fork() or os.getpid()))\ntime.sleep(60)"
    with pytest.raises(subprocess.TimeoutExpired):
        children.run(children.python("-c", code), timeout_s=10)
    assert wait_until(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_without_docstrings_the_engine_is_refused_with_the_reason():
    done = subprocess.run(
        [*NST, "score", "chelsea", "--style", "great_wave"], env={**environment(), "PYTHONOPTIMIZE": "2"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "PYTHONOPTIMIZE=2" in done.stderr and done.stderr.count("\n") == 1


def test_the_package_may_lie_anywhere(tmp_path):
    """Spaces, quotes and other alphabets in its path, which goes into commands and PYTHONPATH."""
    root = tmp_path / "a b' \"$x" / "великая 北斎"
    shutil.copytree(files.__file__.rsplit("/", 2)[0], root / "nst_gluon", ignore=shutil.ignore_patterns("assets"))
    code = (
        "from nst_gluon.system import children\n"
        "print(children.run(children.python('-c', 'import nst_gluon; print(ascii(nst_gluon.__file__))')).stdout)"
    )
    variables = {**environment(), "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], env=variables, cwd="/", capture_output=True, text=True)
    assert done.stdout.strip() == ascii(str(root / "nst_gluon" / "__init__.py")), done.stderr
