"""Several processes that train one net: the group, started on this machine or over ssh, and ended as one.

MXNet's parameter server (KVStore ``dist_sync``) has three roles: workers, which each take their part of every batch, a
server, which adds the gradients up, and a scheduler, which introduces them. Its own launcher does not run on Python
3.9 and later. A member that dies leaves the others waiting for ever, so that the end of one is the end of all; the same
command goes on from the last checkpoint. No engine here: the members import it (:mod:`nst_gluon.training.member`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nst_gluon.system import children
from nst_gluon.system.errors import NotFinite, UserError
from nst_gluon.system.files import one_line, quoted, read_bounded

MEMBER = "nst_gluon.training.member"
HERE = "127.0.0.1"
TICK_S = 0.1
MOST_WORKERS, LARGEST_HOSTFILE = 256, 1 << 20
# A host that is gone is noticed after six seconds.
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=3", "-o", "ServerAliveCountMax=2")


@dataclass(frozen=True)
class Place:
    """Where a worker runs: a ``host`` for ssh, None: here; it is number ``index`` of the ``of`` workers there."""

    host: str | None
    index: int
    of: int


def places(workers: int | str | os.PathLike) -> list[Place]:
    """Where each worker runs: so many here, or what a file of hosts says, "HOST" or "HOST slots=N" a line.

    Raises UserError, in one line, for anything else.
    """
    if re.fullmatch(r"-?[0-9]{1,4}", str(workers)):
        count = int(workers)
        if not 1 <= count <= MOST_WORKERS:
            raise UserError(f"--workers: {count} is not from 1 to {MOST_WORKERS}")
        return [Place(None, index, count) for index in range(count)]
    path = Path(workers if isinstance(workers, os.PathLike) else str(workers))
    if not os.path.isfile(path):
        raise UserError(f"--workers: {str(workers)!r} is neither a number nor a file of hosts; give for example 2")
    try:
        data = read_bounded(path, LARGEST_HOSTFILE)
    except OSError as error:
        wrong = f"cannot read {quoted(path)}: {one_line(error)}"
        raise UserError(f"--workers: {wrong}; give a number, or a file of hosts that you may read") from error
    found = []
    for line in data.decode("utf-8", errors="replace").splitlines():
        text = line.split("#")[0].strip()
        match = re.fullmatch(r"([\w.:@][\w.:@-]*)(?:\s+slots=([1-9][0-9]{0,2}))?", text)
        if text and not match:
            raise UserError(f"--workers: {path}: {text!r} is not a host; a line is HOST or HOST slots=N")
        if match:
            count = int(match.group(2) or 1)
            found += [Place(match.group(1), index, count) for index in range(count)]
    if not found:
        raise UserError(f"--workers: {path} names no host; a line is HOST or HOST slots=N")
    return found


def check_batch(batch: int, workers: int) -> None:
    """Raise UserError if a batch cannot be split into equal parts."""
    if batch % workers:
        more = -(-batch // workers) * workers
        pictures = f"{batch} picture{'s' if batch != 1 else ''}"
        raise UserError(f"--batch: {pictures} cannot be split over {workers} workers; {more} would do")


def launch(job: Mapping[str, Any], where: Sequence[Place], device: str, threads: int | None) -> Path:
    """Start a group, wait for its end, and return the net that it has made.

    Args:
        job: what every worker needs to know, as JSON has it.
        device: ``cpu``, or ``gpu`` for one GPU each.
        threads: of each worker; None: its host's cores, shared out.

    Raises:
        UserError: a member failed, or was killed: none is left then.
        NotFinite: the training diverged.
    """
    root = HERE if where[0].host is None else _address_towards(where[0].host)
    network = {
        "DMLC_PS_ROOT_URI": root, "DMLC_PS_ROOT_PORT": str(_free_port()), "DMLC_NUM_SERVER": "1",
        "DMLC_NUM_WORKER": str(len(where)),
    }  # fmt: skip
    members: dict[str, subprocess.Popen] = {}
    try:
        for role in ("scheduler", "server"):
            members[f"the {role}"] = _start(None, {"role": role, "network": network, "address": root})
        for number, place in enumerate(where, 1):
            name = f"worker {number} of {len(where)}" + (f" on {place.host}" if place.host else "")
            members[name] = _start(place.host, {
                **job, "role": "worker", "network": network, "address": _address_of(place.host), "threads": threads,
                "share": place.of, "device": device if device == "cpu" else f"gpu:{place.index}",
            })  # fmt: skip
        return _wait(members)
    finally:
        for member in members.values():
            _kill(member)


def _start(host: str | None, job: Mapping[str, Any]) -> subprocess.Popen:
    """A member; it reads ``job`` from its standard input, and ends when that is closed."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    if host is None:
        member = children.start(children.python(MEMBER), **streams)
    else:
        path = shlex.quote(children.environment()["PYTHONPATH"])
        there = f"cd {shlex.quote(os.getcwd())} && PYTHONPATH={path} exec {shlex.quote(sys.executable)} -m {MEMBER}"
        member = children.start([*SSH, host, there], **streams)
    with contextlib.suppress(BrokenPipeError):  # it died at once; why is seen when it is waited for
        member.stdin.write(json.dumps(job) + "\n")
        member.stdin.flush()
    return member


def _wait(members: Mapping[str, subprocess.Popen]) -> Path:
    """The answer of the worker that writes the net, once all workers have ended well."""
    running, net = {name: member for name, member in members.items() if name.startswith("worker")}, None
    while running:
        for name, member in members.items():
            status = member.poll()
            if status is None or name not in running and status == 0:
                continue
            answer = _answer(member) if name in running else {}
            if status or "error" in answer:
                end = f"--workers: {name} {_what_became(status)}; the others were ended, and the same command goes on"
                kind = NotFinite if answer.get("diverged") else UserError
                raise kind(answer.get("error") or f"{end} from the last checkpoint")
            net = answer.get("net") or net
            del running[name]
        time.sleep(TICK_S)
    return Path(net)


def _answer(member: subprocess.Popen) -> dict[str, Any]:
    lines = member.stdout.read().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        return {}


def _what_became(status: int) -> str:
    return f"was killed ({signal.Signals(-status).name})" if status < 0 else f"ended with exit status {status}"


def _kill(member: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(member.pid, signal.SIGKILL)
    member.wait()
    for stream in (member.stdin, member.stdout):
        with contextlib.suppress(BrokenPipeError):
            stream.close()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("", 0))
        return listening.getsockname()[1]


def _address_of(host: str | None) -> str:
    """The IP address of a host: ps-lite takes no names."""
    try:
        return HERE if host is None else socket.gethostbyname(host.split("@")[-1])
    except OSError as error:
        raise UserError(f"--workers: {host} has no address ({error.strerror or error})") from None


def _address_towards(host: str) -> str:
    """This machine's address on the way to a host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((_address_of(host), 9))
        return probe.getsockname()[0]
