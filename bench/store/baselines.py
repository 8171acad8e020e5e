"""Runs kept under a name, each for one machine: what a later run on that machine is compared with. Imports no engine.

    results/baselines/NAME/<hash of the fingerprint>-schema<version>/    run.json, cells.jsonl, samples.csv

An entry is read like a run directory; its pictures, logs and curves were left behind. Numbers of another machine are no
baseline, so that which entry is meant follows from the machine (:func:`bench.machine.environment.fingerprint`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.store import run_folder
from bench.store.whole_runs import machine_difference
from nst_gluon.system.errors import UserError, did_you_mean
from nst_gluon.system.files import one_line, scratch_folder, write_atomically

FOLDER = "baselines"
LONGEST_NAME = 100
ENTRY = re.compile(r"[0-9a-f]{12}-schema[0-9]+")


@dataclass(frozen=True)
class Saved:
    """What :func:`save` made: the entry's folder, whether it took the place of an older one, and what the run lacks."""

    path: Path
    replaced: bool
    warnings: tuple[str, ...]


def key(fingerprint: Mapping[str, Any], version: int = run_folder.READS[0]) -> str:
    """The name of a machine's entry: equal for equal fingerprints only, whatever the order of their fields."""
    text = json.dumps(fingerprint, sort_keys=True, separators=(",", ":"))
    return f"{hashlib.sha256(text.encode()).hexdigest()[:12]}-schema{version}"


def check_name(name: str) -> str:
    """``name``, if it can be a baseline's. Raises UserError, in one line, if it cannot."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) or len(name) > LONGEST_NAME:
        raise UserError(
            f"NAME: {name!r} cannot be a baseline's name; give letters, digits, - _ and . (not first), at most "
            f"{LONGEST_NAME}, for example main"
        )
    return name


def names(root: Path) -> list[str]:
    """The names of the baselines below ``root``, the folder of runs."""
    folder = root / FOLDER
    found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [path.name for path in found if entries(root, path.name)]


def entries(root: Path, name: str) -> list[Path]:
    """The entries of a baseline, one for each machine and schema."""
    folder = root / FOLDER / name
    return sorted(path for path in folder.iterdir() if ENTRY.fullmatch(path.name)) if folder.is_dir() else []


def find(root: Path, name: str, fingerprint: Mapping[str, Any]) -> Path | None:
    """The entry of a baseline for the machine of ``fingerprint``; None if there is none for it in this schema.

    ``root`` is the folder of runs. Raises UserError if there is no baseline of that name.
    """
    known = names(root)
    if name not in known:
        hint = did_you_mean(name, known) if known else "make one with python -m bench baseline save NAME RUN"
        raise UserError(f"baseline: there is none named {name!r} below {root / FOLDER}; {hint}")
    own = root / FOLDER / name / key(fingerprint)
    alike = [path for path in entries(root, name) if path.name.split("-")[1] == own.name.split("-")[1]]
    for path in sorted(alike, key=lambda path: path != own):  # the key has precisions, which are no part of a machine
        with contextlib.suppress(UserError):
            if machine_difference(run_folder.read_run(path).get("fingerprint") or {}, fingerprint) is None:
                return path
    return None


def save(root: Path, name: str, run_dir: Path, force: bool = False) -> Saved:
    """Keep a run as the baseline ``name`` of its machine, below the folder of runs ``root``.

    Raises UserError if the run has nothing to compare with, is of several machines, or if there is an entry already
    and ``force`` is false; an older entry is then left as it was.
    """
    check_name(name)
    run = run_folder.read_run(run_dir)
    try:
        cells, texts = run_folder.read_committed(run_dir)
    except OSError as error:
        raise UserError(f"RUN: cannot read {run_dir} ({one_line(error).lower()})") from None
    fingerprint = _fingerprint(run, run_dir)
    fine = sum(cell["status"] == "ok" for cell in cells)
    if not fine:
        raise UserError(f"RUN: {run_dir} has no cell that is ok: there is nothing to compare with; measure it again")
    target = root / FOLDER / name / key(fingerprint)
    replaced = target.exists()
    if replaced and not force:
        raise UserError(
            f"NAME: {name} has an entry for this machine already ({target}); --force replaces it, or give another name"
        )
    kept = {"name": name, "run": run_dir.resolve().name, "saved": run_folder.now()}
    files = {
        run_folder.RUN: json.dumps({**run, "baseline": kept}, indent=2, ensure_ascii=False) + "\n",
        run_folder.CELLS: "".join(json.dumps(_kept(cell), ensure_ascii=False) + "\n" for cell in cells),
        "samples.csv": texts["samples.csv"],
    }
    _put(target, files)
    return Saved(target, replaced, tuple(_lacks(run, cells)))


def _fingerprint(run: Mapping[str, Any], run_dir: Path) -> dict[str, Any]:
    if run.get("machines"):
        raise UserError(f"RUN: {run_dir} is of several machines; save the runs it was merged from, each on its own")
    fingerprint = run.get("fingerprint")
    if not isinstance(fingerprint, Mapping) or not fingerprint:
        raise UserError(f"RUN: {run_dir} does not say which machine it is of (no fingerprint); measure it again")
    return dict(fingerprint)


def _kept(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A line of cells.jsonl without what is not kept, pictures and logs, and without its places in the tables: those of
    an older run are written anew and lie elsewhere. All of samples.csv counts.
    """
    return {name: value for name, value in cell.items() if name not in ("rows", "image", "log")}


def _lacks(run: Mapping[str, Any], cells: list[dict[str, Any]]) -> Iterator[str]:
    """What a later comparison will not find, each in a line."""
    failed = Counter(cell["status"] for cell in cells if cell["status"] != "ok")
    if failed:
        each = ", ".join(f"{count} {status}" for status, count in failed.items())
        yield f"{sum(failed.values())} of {len(cells)} cells have no result ({each}): nothing is compared there"
    planned = len(run.get("cells") or cells)
    if len(cells) < planned:
        yield f"the run is not complete: {len(cells)} of {planned} cells are here"


def _put(target: Path, files: Mapping[str, str]) -> None:
    """Write a folder through one beside it: the old folder is there, or the new one, never a part."""
    try:
        run_folder.check_writable(target.parent)
        with scratch_folder(target.parent) as scratch:
            # The old entry goes aside under a name that is never swept: a kill between two moves must not lose it.
            fresh, old = scratch / "new", target.parent / f".replaced-{secrets.token_hex(4)}"
            fresh.mkdir()
            for name, text in files.items():
                write_atomically(fresh / name, text)
            if target.exists():
                target.rename(old)
            try:
                fresh.rename(target)
            except BaseException:
                if old.exists():
                    old.rename(target)
                raise
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise run_folder.explain(error, target) from error
