"""Which NVIDIA GPUs the installed MXNet can compute on: asked of the build itself. Imports no engine.

There are three ways onto a GPU: the wheel from PyPI, NVIDIA's container, whose build of MXNet 1.9.1 has code for newer
ones, and PyTorch. A CUDA build carries machine code for some compute capabilities, which runs on those of the same
major version from its minor version on, and may carry PTX, which the driver compiles for any later one. Headers in its
shared library tell both. Where they cannot be read, a small sum is computed, in a process of its own.
"""

from __future__ import annotations

import importlib.util
import json
import mmap
import os
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nst_gluon.system import children

Capability = tuple[int, int]

WHEEL, CONTAINER = ((5, 0), (8, 9)), ((6, 0), (9, 0))  # what those two run on: mxnet-cu112 and mxnet:24.06-py3
TO_WHEEL = "python -m pip uninstall -y mxnet && python -m pip install -e '.[cu112]'"
IMAGE = "nvcr.io/nvidia/mxnet:24.06-py3"
TO_CONTAINER = (
    f"docker run --gpus all --rm -it -v \"$PWD\":/suite -w /suite {IMAGE}, and in it: "
    "python -m pip install --no-deps -e ."
)
TO_PYTORCH = "bench run --engine pytorch"
PROBE_S = 120.0

_SECTION = b".nv_fatbin"
_CONTAINER_MAGIC, _CONTAINER_HEADER = 0xBA55ED50, struct.Struct("<IHHQ")
_ENTRY_HEADER = struct.Struct("<HHIQIIHHI")  # kind, version, its size, its payload's, four more, and the architecture
_PTX, _CODE = 1, 2
_SUM = """
import json, sys
from nst_gluon.system.engine import mx
print(json.dumps(float(mx.nd.ones((16, 16), ctx=mx.gpu(int(sys.argv[1]))).sum().asscalar())))
"""


@dataclass(frozen=True)
class Build:
    """An MXNet: the compute capabilities that its ``library`` has machine ``code`` and ``ptx`` for; none: for CPUs."""

    library: Path
    code: frozenset[Capability] = frozenset()
    ptx: frozenset[Capability] = frozenset()

    def runs_on(self, capability: Capability) -> bool:
        """Whether it holds code for a GPU of that compute capability."""
        major, minor = capability
        own = any(has[0] == major and has[1] <= minor for has in self.code)
        return own or any(has <= capability for has in self.ptx)

    def __str__(self) -> str:
        if not (self.code or self.ptx):
            return "CPU build"
        parts = [", ".join(".".join(map(str, one)) for one in sorted(self.code))] if self.code else []
        parts += [f"PTX of {'.'.join(map(str, one))}" for one in sorted(self.ptx)]
        return f"CUDA build for {' and '.join(parts)}"


def installed() -> Build | None:
    """The installed MXNet; None without one, or where its library is not found or cannot be read."""
    for path in _libraries():
        if path.is_file():
            status = path.stat()
            return _read(path, status.st_mtime_ns, status.st_size)
    return None


def _libraries() -> Iterator[Path]:
    """Where MXNet looks for its library."""
    if os.environ.get("MXNET_LIBRARY_PATH"):
        yield Path(os.environ["MXNET_LIBRARY_PATH"])
    try:
        spec = importlib.util.find_spec("mxnet")
    except (ImportError, ValueError):
        spec = None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield from (Path(folder) / "libmxnet.so", Path(folder).parents[1] / "libmxnet.so")
    yield Path("/usr/local/lib/libmxnet.so")


@lru_cache(maxsize=4)
def _read(path: Path, *_: int) -> Build | None:
    found: dict[int, set[Capability]] = {_PTX: set(), _CODE: set()}
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for begin, end in _sections(data):
                for kind, architecture in _entries(data, begin, end):
                    found.setdefault(kind, set()).add(divmod(architecture, 10))
    except (OSError, ValueError, struct.error):
        return None
    return Build(path, frozenset(found[_CODE]), frozenset(found[_PTX]))


def _sections(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """The parts of a 64-bit ELF file that hold GPU code. Raises ValueError if it is none."""
    if data[:5] != b"\x7fELF\x02":
        raise ValueError("no 64-bit ELF file")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, of_names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, table + index * size) for index in range(count)]
    names = headers[of_names][4]
    for name, _, _, _, offset, length in headers:
        if data[names + name : names + name + len(_SECTION) + 1] == _SECTION + b"\0":
            yield offset, min(offset + length, len(data))


def _entries(data: mmap.mmap, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """(kind, architecture such as 86) of every piece of GPU code: containers one after another, with padding."""
    magic = _CONTAINER_MAGIC.to_bytes(4, "little")
    at = data.find(magic, begin, end)
    while at != -1:
        _, _, header, length = _CONTAINER_HEADER.unpack_from(data, at)
        entry, at = at + header, min(at + header + length, end)
        while entry + _ENTRY_HEADER.size <= at:
            kind, _, own, payload, *_, architecture = _ENTRY_HEADER.unpack_from(data, entry)
            yield kind, architecture
            if not own:
                break
            entry += own + payload
        at = data.find(magic, at, end)


def computes_on(index: int) -> bool:
    """Whether a sum on the GPU of that number, in a process of its own, comes out right."""
    try:
        done = children.run(children.python("-c", _SUM, str(index)), timeout_s=PROBE_S, stderr=subprocess.PIPE)
        return json.loads(done.stdout.splitlines()[-1]) == 256.0
    except (subprocess.TimeoutExpired, IndexError, ValueError):
        return False


def problem(name: str, capability: Capability, index: int) -> str | None:
    """Why the installed MXNet cannot compute on a GPU, and which way fits it, in one line; None if it can.

    Args:
        name: the GPU's, for the line.
        index: its number, as the engine counts.
    """
    build = installed()
    if build.runs_on(capability) if build is not None else computes_on(index):
        return None
    has = f"the installed MXNet ({build or 'unknown build'}) has no code for it"
    return f"{name} has compute capability {'.'.join(map(str, capability))}, and {has}: {ways(capability)}"


def ways(capability: Capability) -> str:
    """Which of wheel, container and PyTorch run on a GPU, and how to get there, in one line."""
    found = []
    if WHEEL[0] <= capability <= WHEEL[1]:
        found.append(f"the wheel ({TO_WHEEL})")
    if CONTAINER[0] <= capability <= CONTAINER[1]:
        found.append(f"NVIDIA's container ({TO_CONTAINER})")
    found.append(f"PyTorch, if its build does ({TO_PYTORCH})")
    return f"use --device cpu, or what runs on it: {'; '.join(found)}"
