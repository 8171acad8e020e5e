"""Draws hostile cases at random until its time is over: ``python tests/fuzz/fuzz.py SECONDS [SEED] [KIND...]``.

Each case is a command of one of the two programs in a process and a folder of its own: a command line, a picture, a
net, weights or a run folder that something is wrong with, and often a signal at a random moment. Whatever is drawn, no
case may end in a traceback, hang, have an exit status outside STATUSES, or leave processes or temporary files behind.
Exit status 1 if one did; the case is printed so that ``SEED`` and its number repeat it. The count of cases, by kind,
comes last.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

# No case may reach for the network, and none may wait for it.
os.environ.update(PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="0", MXNET_GLUON_REPO="http://127.0.0.1:9/",
                  OMP_NUM_THREADS="1", MPLBACKEND="Agg", BROWSER="true")  # fmt: skip

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from plans import alive  # noqa: E402
from synthetic import HOSTILE, make_run  # noqa: E402

# What commands import when they need it, once for all of them.
import bench.gate.comparison  # noqa: E402
import bench.report.document  # noqa: E402
import bench.report.html  # noqa: E402
import bench.report.markdown  # noqa: E402
from bench.cli.main import main as bench  # noqa: E402
from nst_gluon.cli.main import main as nst_gluon  # noqa: E402
from nst_gluon.nets import netfile  # noqa: E402
from nst_gluon.system import ending, files  # noqa: E402

STATUSES = {0, 1, 2, 3, 130, 143}
ORPHAN_S = 5.0
LONGEST_S, GRACE_S = 12.0, 40.0  # a command that is still at work is ended; one that does not end is a hang
PR_SET_CHILD_SUBREAPER = 36

NUMBERS = [0, 1, -1, 2, 0.5, 1e-30, 1e30, 2**31, 2**63, 10**18, -(2**40)]
TEXTS = ["", " ", "0", "-1", "x", "nan", "inf", "1e999", "latest", "..", ".", "/", "a" * 5000, "a\x1b[31mb", "\u202e",
         "\udcff\udcfe", "a\nb", "*", "[", "{}", "--", "-", "~", "%s%n", "$(id)", "all", "великая", "北斎", HOSTILE,
         "0,0", "256,", ",", "1/0", "2/1", "9" * 400, "/dev/null", "/dev/zero", "/proc/self/mem", "con\x00trol"]
VALUES = [None, True, False, [], {}, [[]], {"": ""}, *NUMBERS, *TEXTS]
WORDS = ["stylize", "texture", "train", "score", "weights", "list", "export", "run", "report", "compare", "baseline",
         "selftest", "merge", "roofline", "parity", "doctor", "figure", "judge", "article", "save", "johnson", "gatys",
         "texture_net", "sgan", "portilla_simoncelli", "great_wave", "chelsea", "nets", "styles", "runs", "onnx",
         "d2l"]  # fmt: skip
OPTIONS = [f"--{name}" for name in (  # noqa: SIM905
    "style method net size output force seed quiet json steps iterations optimizer preset device dtype weights "
    "random-weights batch repeats budget target-loss threads shard out resume engine task content photos start "
    "learning-rate tile noise fail-on floor time metric facet to index format help version init color recipe width "
    "scales finest filters workers cluster engine-python engine-option batch-size inconclusive skip-existing net-size"
).split()]  # fmt: skip


class Case:
    """One command: what is called in the child, its arguments, and whether the engine is so slow that it is ended."""

    def __init__(self, program: Callable, *arguments: object):
        self.program, self.arguments = program, [str(argument).replace("\0", "\\0") for argument in arguments]

    def __str__(self) -> str:
        return f"{self.program.__module__.split('.')[0]} {' '.join(map(repr, self.arguments))}"


# ----------------------------------------------------------------------------------------------------- kinds


def command_lines(chance: random.Random, folder: Path) -> Case:
    """Words and options in any order, some of them sensible."""
    picture = folder / "in.png"
    Image.new("RGB", (40, 30), "red").save(picture)
    pool = [*TEXTS, *WORDS, *OPTIONS, *map(str, NUMBERS), "in.png", "16", "32", "."]
    program = chance.choice([bench, nst_gluon])
    first = WORDS[:7] if program is nst_gluon else ["list", *WORDS[7:19]]
    words = [chance.choice(first)] if chance.random() < 0.9 else []
    words += [chance.choice(pool) for _ in range(chance.randrange(8))]
    if chance.random() < 0.4:
        words += ["--random-weights"]
    return Case(program, *words)


def damaged(chance: random.Random, data: bytes) -> bytes:
    """``data`` cut short, with bytes changed, with a piece repeated, or not at all itself."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8, 64])):
        how = chance.randrange(5)
        at = chance.randrange(len(changed) + 1)
        if how == 0:
            del changed[at:]
        elif how == 1 and at < len(changed):
            changed[at] = chance.randrange(256)
        elif how == 2:
            changed[at:at] = changed[: chance.randrange(200)]
        elif how == 3:
            changed[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b'"', b"[["])
        elif chance.random() < 0.05:
            changed = bytearray(chance.randbytes(chance.randrange(2000)))
    return bytes(changed)


def irregular(chance: random.Random, path: Path) -> None:
    """Something else in the place of a file."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    how = chance.randrange(6)
    if how == 0:
        os.mkfifo(path)
    elif how == 1:
        path.mkdir()
    elif how < 5:
        path.symlink_to(chance.choice(["/dev/zero", "/dev/full", "/etc/hostname", path.name, "..", "/nowhere"]))
    else:
        path.touch(mode=0)


def pictures(chance: random.Random, folder: Path) -> Case:
    """A picture of any format and mode, damaged, as style or as content."""
    kind = chance.choice(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "EPS", "PCX", "ICO"])
    mode = chance.choice(["RGB", "L", "1", "P", "CMYK", "RGBA", "I;16", "F"])
    stream = io.BytesIO()
    try:
        Image.new(mode, (chance.randrange(1, 90), chance.randrange(1, 90))).save(stream, kind)
    except (OSError, ValueError, KeyError):
        stream = io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    path = folder / chance.choice(["a.png", "a.jpg", "a.tif", "a.mp4", "\udcffa.png"])
    path.write_bytes(damaged(chance, stream.getvalue()))
    if chance.random() < 0.1:
        irregular(chance, path)
    small = ["--random-weights", "--size", "16", "--steps", "1"]
    return chance.choice([
        Case(nst_gluon, "stylize", path, "--output", "out.png", *small[:3], "--style", path.name),
        Case(nst_gluon, "stylize", folder, "--output", "out", *small[:3]),
        Case(nst_gluon, "score", path, "--style", "great_wave", "--random-weights"),
        Case(nst_gluon, "texture", "--style", path, "--method", "gatys", *small[:3], "--output", "out.png"),
        Case(bench, "run", "--method", "gatys", "--style", path, "--size", "16", "--random-weights"),
        Case(nst_gluon, "train", path, "--photos", folder, "--random-weights"),
    ])  # fmt: skip


def nets(chance: random.Random, folder: Path) -> Case:
    """A bundled net whose description or bytes are changed."""
    source = chance.choice(sorted((ROOT / "nst_gluon" / "assets" / "nets").glob("*.npz")))
    path = folder / "net.npz"
    if chance.random() < 0.3:
        path.write_bytes(damaged(chance, source.read_bytes()))
    else:
        params, meta = netfile.load(source)
        meta = altered(chance, meta, chance.choice([1, 1, 2, 5]))
        if chance.random() < 0.2:
            params.pop(chance.choice(sorted(params)))
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
            for entry in old.infolist():
                if entry.filename[:-4] in params:
                    new.writestr(entry, old.read(entry))
            array = io.BytesIO()
            np.lib.format.write_array(array, np.frombuffer(json.dumps(meta).encode(), np.uint8))
            new.writestr("meta.npy", array.getvalue())
    if chance.random() < 0.05:
        irregular(chance, path)
    return chance.choice([
        Case(nst_gluon, "stylize", "chelsea", "--net", path, "--size", "32", "--output", "out.png"),
        Case(nst_gluon, "texture", "--net", path, "--size", "32", "--output", "out.png"),
        Case(nst_gluon, "train", "great_wave", "--start", path, "--random-weights", "--output", "nets"),
        Case(nst_gluon, "export", path, "--output", "out"),
        Case(bench, "run", "--method", "johnson", "--net", path, "--size", "16", "--random-weights", "--budget",
             "quick"),
    ])  # fmt: skip


def weights(chance: random.Random, folder: Path) -> Case:
    """A file of weights in any format, damaged."""
    from torchfile import legacy, tensors, zipped

    arrays = {"features.0.weight": np.ones((64, 3, 3, 3), np.float32), "features.0.bias": np.ones(64, np.float32)}
    data = chance.choice([
        lambda: legacy(tensors(arrays)), lambda: zipped(tensors(arrays)), lambda: npz(arrays),
        lambda: b"\x12\x01" + bytes(6) + chance.randbytes(300), lambda: b"\x89HDF\r\n\x1a\n" + chance.randbytes(300),
        lambda: b"\x80\x02" + chance.randbytes(200),
    ])()  # fmt: skip
    path = folder / chance.choice(["w.pth", "w.npz", "w.h5", "w.params", "w.bin"])
    path.write_bytes(damaged(chance, data))
    if chance.random() < 0.05:
        irregular(chance, path)
    return Case(nst_gluon, "weights", path, *chance.choice([[], ["--json"]]))


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def altered(chance: random.Random, value: object, times: int) -> object:
    """JSON in which things are replaced by things of any other type, left out, or put where none were."""
    value = json.loads(json.dumps(value))
    for _ in range(times):
        places, todo = [], [value]
        while todo:
            node = todo.pop()
            inner = node.items() if isinstance(node, dict) else enumerate(node)
            for name, part in list(inner):
                places.append((node, name))
                if isinstance(part, (dict, list)):
                    todo.append(part)
        if not places:
            return chance.choice(VALUES)
        node, name = chance.choice(places)
        if chance.random() < 0.2:
            del node[name]
        elif isinstance(node, dict) and chance.random() < 0.1:
            node[chance.choice(TEXTS)] = chance.choice(VALUES)
        else:
            node[name] = chance.choice(VALUES)
    return value


BASE: list[Path] = []


def run_folders(chance: random.Random, folder: Path) -> Case:
    """A run folder with something wrong in it, read by every command that reads one."""
    if not BASE:
        kept = Path(tempfile.mkdtemp(prefix="fuzz-base-"))
        BASE.extend(make_run(kept, sizes=(256,), seeds=(0,), batches=(1,), pictures=chance.random() < 0.5)
                    for _ in range(2))  # fmt: skip
    paths = [Path(shutil.copytree(base, folder / "results" / base.name)) for base in BASE]
    path = paths[0]
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        how = chance.random()
        name = chance.choice(["run.json", "run.json", "cells.jsonl", "cells.jsonl", "samples.csv", "curves.csv"])
        file = path / name
        if how < 0.55 and file.is_file() and not file.is_symlink():
            with contextlib.suppress(ValueError, OSError, IndexError):  # what was damaged before
                if name == "run.json":
                    file.write_text(json.dumps(altered(chance, json.loads(file.read_text()), chance.choice([1, 3]))))
                elif name == "cells.jsonl":
                    lines = file.read_text().splitlines()
                    at = chance.randrange(len(lines))
                    lines[at] = json.dumps(altered(chance, json.loads(lines[at]), chance.choice([1, 2])))
                    file.write_text("\n".join(lines) + "\n")
                else:
                    rows = [row.split(",") for row in file.read_text().splitlines()]
                    row = chance.choice(rows)
                    row[chance.randrange(len(row))] = str(chance.choice(VALUES))
                    file.write_text("\n".join(map(",".join, rows)) + "\n", errors="replace")
        elif how < 0.8 and file.is_file() and not file.is_symlink():
            with contextlib.suppress(OSError):
                file.write_bytes(damaged(chance, file.read_bytes()))
        elif how < 0.9:
            irregular(chance, path / chance.choice([name, "summary.csv", "claims.csv", "report.html"]))
        else:
            for name in ("images", "logs"):
                shutil.rmtree(path / name, ignore_errors=True)
                with contextlib.suppress(OSError):
                    (path / name).symlink_to(chance.choice(["/etc", "/proc/self", "nowhere", name]))
    ids = [path.name for path in paths]
    return chance.choice([
        Case(bench, "report", ids[0]), Case(bench, "report", *ids), Case(bench, "report", "--index"),
        Case(bench, "list"), Case(bench, "list", "runs", "--json"), Case(bench, "merge", *ids),
        Case(bench, "merge", *ids, "--facet", "machine"), Case(bench, "compare", *chance.sample(ids, 2)),
        Case(bench, "baseline", "save", "main", ids[0]), Case(bench, "roofline", "--run", ids[0]),
        Case(bench, "run", "--resume", ids[0]), Case(bench, "run", "--resume", "latest"),
    ])  # fmt: skip


KINDS = {"command lines": (command_lines, 3), "pictures": (pictures, 3), "nets": (nets, 2), "weights": (weights, 8),
         "run folders": (run_folders, 10)}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ a case


def play(case: Case, folder: Path, moment: float | None, number: int) -> list[str]:
    """Run a case, with a signal ``moment`` seconds after it began; what was wrong with its end."""
    told, tell = os.pipe()

    def program() -> int:
        """The command, between two marks: outside them signals have their usual effect."""
        os.write(tell, b".")
        try:
            return case.program()
        finally:
            os.write(tell, b"!")

    pid = os.fork()
    if not pid:
        os.setsid()
        os.chdir(folder)
        for descriptor, name in ((0, os.devnull), (1, "../stdout"), (2, "../stderr")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644), descriptor)
        sys.stdin, sys.stdout, sys.stderr = (open(n, "w" if n else "r", closefd=False) for n in range(3))  # noqa: SIM115
        sys.argv = ["fuzz", *case.arguments]
        status = 70
        try:
            ending.program(program)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(status)
    os.close(tell)
    os.read(told, 1)
    started, sent, wrong = time.monotonic(), False, []
    status = None
    while status is None:
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(code)
            break
        seconds = time.monotonic() - started
        if not sent and seconds > (LONGEST_S if moment is None else moment):
            sent = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if seconds > LONGEST_S + GRACE_S:
            wrong.append("it hangs")
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        time.sleep(0.01)
    said = (folder.parent / "stderr").read_text(errors="replace")
    if "Traceback" in said:
        wrong.append("a traceback")
    late = sent and -status == number and os.read(told, 1)
    os.close(told)
    if status not in STATUSES and not late and not wrong:
        wrong.append(f"exit status {status}")
    wrong += [f"{path} was left" for path in folder.rglob(f"{files.PREFIX}*")]
    # A child that was just being started finds out by itself that nobody waits for it.
    patience = time.monotonic() + ORPHAN_S
    while orphans() and time.monotonic() < patience:
        time.sleep(0.02)
    for orphan in orphans():
        with contextlib.suppress(OSError):
            wrong.append(f"a process was left: {Path(f'/proc/{orphan}/cmdline').read_bytes()[:300]!r}")
            os.kill(orphan, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return [f"{what}\n{said[-3000:]}" if what in ("a traceback", "it hangs") else what for what in wrong]


def orphans() -> list[int]:
    """Processes that were adopted by this one, and are no zombies."""
    children = [(task / "children").read_text().split() for task in Path(f"/proc/{os.getpid()}/task").iterdir()]
    return [int(child) for of_task in children for child in of_task if alive(child)]


def main(seconds: float, seed: int = 0, *kinds: str) -> int:
    # What a shell's background jobs and nohup ignore, all cases would.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    until, counts, failed, number = time.monotonic() + seconds, Counter(), 0, 0
    chosen = kinds or tuple(KINDS)
    while time.monotonic() < until:
        number += 1
        chance = random.Random(f"{seed}/{number}")
        kind = chance.choices(chosen, [KINDS[name][1] for name in chosen])[0]
        scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
        folder = scratch / "work"
        folder.mkdir()
        try:
            case = KINDS[kind][0](chance, folder)
            moment = chance.choice([None, chance.uniform(0.3, 1.5), chance.uniform(0.3, 8.0)])
            sent = chance.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
            wrong = play(case, folder, moment, sent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        counts[kind] += 1
        if wrong:
            failed += 1
            print(f"case {number} of seed {seed} ({kind}): {case}", *wrong, sep="\n  ", flush=True)
    for base in BASE[:1]:
        shutil.rmtree(base.parent, ignore_errors=True)
    each = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    print(f"{sum(counts.values())} cases ({each}), {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), *map(int, sys.argv[2:3]), *sys.argv[3:]))
