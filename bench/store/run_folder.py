"""The run directory ``results/<run id>/``: schema, appends that survive a kill at any moment, resume.

    run.json      written atomically (temporary file + rename), rewritten when the run's state changes
    cells.jsonl   one line per finished cell
    samples.csv   every raw sample of the finished cells: SAMPLE_COLUMNS
    curves.csv    every loss evaluation of the finished cells: CURVE_COLUMNS
    images/       pictures that cells made            logs/    what the workers printed

How a cell is committed: its rows are appended to samples.csv and curves.csv and forced to disk, and only then
its line is appended to cells.jsonl. The line says, in ``rows``, at which byte its rows begin and end in each
table. So the committed state is the longest prefix of whole lines whose rows are all there; anything beyond
it was cut off by a kill or a full disk. Readers stop at that point and a resume truncates there: nothing is
lost but the cell that was not finished, and nothing is there twice.

Imports neither pandas nor an engine: the orchestrator stays small.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import errno
import io
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.plan import older
from bench.plan.cells import CELL_COLUMNS, Plan
from bench.store.schema import check_record, check_run
from nst_gluon.objective.loss_terms import TERMS
from nst_gluon.system.documents import check, parse
from nst_gluon.system.errors import UserError, nearest
from nst_gluon.system.files import (
    lock,
    one_line,
    open_regular,
    quoted,
    read_bounded,
    replace,
    sweep,
    write_all,
)  # fmt: skip

SCHEMA_VERSION = 2
READS = (1, 2)
SAMPLE_COLUMNS = ("photo", *CELL_COLUMNS, "metric", "unit", "value")
CURVE_COLUMNS = ("photo", *CELL_COLUMNS, "seconds", "iteration", *TERMS)
TABLES = {"samples.csv": SAMPLE_COLUMNS, "curves.csv": CURVE_COLUMNS}
CELLS = "cells.jsonl"
RUN = "run.json"
FOLDERS = ("images", "logs")

FULL = {errno.ENOSPC, errno.EDQUOT}
MIB = 1 << 20
LARGEST = {RUN: 64 * MIB, CELLS: 256 * MIB, "samples.csv": 1024 * MIB, "curves.csv": 1024 * MIB}  # that is read


class DiskFull(UserError):
    """No space left; what was committed before stays."""

    @classmethod
    def at(cls, path: Path) -> DiskFull:
        return cls(f"--out: no space left for {path}; every finished cell is kept, free some space")


class NoRun(UserError):
    """A folder that is no run directory at all."""


class OtherSchema(UserError):
    """A run directory of a ``version`` of the schema that this suite does not read."""

    def __init__(self, message: str, version: Any):
        super().__init__(message)
        self.version = version


def explain(error: OSError, path: Path) -> UserError:
    """The one line for a file or folder that cannot be written."""
    if error.errno in FULL:
        return DiskFull.at(path)
    reason = (error.strerror or str(error)).lower()
    return UserError(f"--out: cannot write {path} ({reason}); give a folder that can be written")


def now() -> str:
    """The time as records have it: UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


# ---------------------------------------------------------------------------------------------------- writing


def refuse_links(run: Path, folders: Iterable[str]) -> None:
    """Raise UserError if one of these folders of a run, which may be anybody's, leads elsewhere."""
    for name in folders:
        if (run / name).is_symlink():
            raise UserError(f"RUN: {quoted(run / name)} is a symbolic link, and would be written to")


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as JSON: a reader sees the old file or the new one, never a part."""
    try:
        replace(path, as_json(value, indent=2))
    except OSError as error:
        raise explain(error, path) from error


def as_json(value: Any, indent: int | None = None) -> bytes:
    """A line of JSON, or several, in UTF-8. Bytes of names that are no UTF-8 become JSON's own escapes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def as_csv(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows of CSV, in UTF-8. Bytes of names that are no UTF-8 are escaped as in JSON: see :func:`unescaped`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def unescaped(text: str) -> str:
    """Names of a table (:func:`as_csv`) as they were, and as JSON gives them back."""
    return re.sub(r"\\u(dc[89a-f][0-9a-f])", lambda found: chr(int(found[1], 16)), text)


class Store:
    """A run directory opened for writing by this process alone. Use :meth:`create` or :meth:`resume`."""

    def __init__(self, path: Path, run: dict[str, Any], descriptors: dict[str, int]):
        self.path = path
        self.run = run
        self._descriptors = descriptors
        #: Whether this process is known to be the only one that writes; not where the file system has no locks.
        self.alone = False

    @property
    def mark(self) -> str:
        """What tells the processes of this run from those of any other, a copy of its folder included."""
        status = os.fstat(self._descriptors[CELLS])
        return f"{self.run['id']}:{status.st_dev}:{status.st_ino}"

    @classmethod
    def create(cls, root: Path, run: Mapping[str, Any]) -> Store:
        """A new run directory below ``root``, whose name no other run has. Raises UserError if it cannot be made."""
        path, descriptors = new_folder(root), {}
        try:
            run = {"schema_version": SCHEMA_VERSION, "id": path.name, "status": "running", **run}
            write_json(path / RUN, run)
            for folder in FOLDERS:
                (path / folder).mkdir()
            descriptors = _open(path)
            for name, columns in TABLES.items():
                write_all(descriptors[name], as_csv([columns]))
            store = cls(path, run, descriptors)
            store.alone = bool(lock(descriptors[CELLS]))
            return store
        except BaseException as error:  # a KeyboardInterrupt too: else there would be a run that never ends
            for descriptor in descriptors.values():
                os.close(descriptor)
            shutil.rmtree(path, ignore_errors=True)
            if isinstance(error, OSError):
                raise explain(error, path) from error
            raise

    @classmethod
    def resume(cls, path: Path) -> Store:
        """Open an existing run for writing and cut off what was not committed.

        Raises UserError if it is no run, has another schema, cannot be written, or another process is writing
        to it.
        """
        run = read_run(path, "--resume")
        older.refuse_to_resume(path / name for name in TABLES)
        try:
            descriptors = _open(path)
        except OSError as error:
            raise explain(error, path) from error
        store = cls(path, run, descriptors)
        held = lock(descriptors[CELLS])
        if held is False:
            store.close()
            raise UserError(f"--resume: another process is writing to {path}; wait until it has ended")
        store.alone = bool(held)
        try:
            store._recover()
        except OSError as error:
            store.close()
            raise explain(error, path) from error
        return store

    def _recover(self) -> None:
        cells, ends = _committed(self.path)
        for name, end in ends.items():
            if end is not None and os.fstat(self._descriptors[name]).st_size > end:
                os.ftruncate(self._descriptors[name], end)
        for name, columns in TABLES.items():
            if not cells:
                os.ftruncate(self._descriptors[name], 0)
                write_all(self._descriptors[name], as_csv([columns]))
        sweep(self.path)
        refuse_links(self.path, FOLDERS)
        for folder in FOLDERS:
            (self.path / folder).mkdir(exist_ok=True)
            sweep(self.path / folder)

    def cells(self) -> list[dict[str, Any]]:
        """The committed cells, in the order in which they were finished."""
        return read_cells(self.path)

    def append(
        self,
        cell: Mapping[str, Any],
        samples: Sequence[Sequence[Any]] = (),
        curve: Sequence[Sequence[Any]] = (),
    ) -> None:
        """Commit one finished cell: its rows first, then its line.

        Args:
            cell: the line of cells.jsonl; must hold CELL_COLUMNS, ``key`` and ``status``.
            samples: (metric, unit, value) each, and the photo where it is of one.
            curve: (seconds, iteration, objective, content, style, tv) each, and the photo where it is of one.

        Raises DiskFull (or another UserError) and leaves the files as they were, if they cannot be written.
        """
        columns = [cell.get(name, "") for name in CELL_COLUMNS]
        data = {
            "samples.csv": as_csv(
                [*(photo or [""]), *columns, metric, unit, repr(float(value))]
                for metric, unit, value, *photo in samples
            ),
            "curves.csv": as_csv([*(point[6:] or [""]), *columns, *point[:6]] for point in curve),
        }
        begin = {name: os.fstat(descriptor).st_size for name, descriptor in self._descriptors.items()}
        try:
            rows = {}
            for name, rows_data in data.items():
                write_all(self._descriptors[name], rows_data)
                os.fsync(self._descriptors[name])
                rows[name] = [begin[name], begin[name] + len(rows_data)]
            write_all(self._descriptors[CELLS], as_json({**cell, "rows": rows}))
            os.fsync(self._descriptors[CELLS])
        except BaseException as error:
            # A KeyboardInterrupt in between is like a full disk: back to the last committed state.
            for name, size in begin.items():
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptors[name], size)
            if isinstance(error, OSError):
                raise explain(error, self.path) from error
            raise

    def update(self, **fields: Any) -> None:
        """Set fields of run.json and write it."""
        self.run.update(fields)
        write_json(self.path / RUN, self.run)

    def close(self) -> None:
        """Close the files, which also gives the lock back."""
        for descriptor in self._descriptors.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._descriptors = {}


def _open(path: Path) -> dict[str, int]:
    descriptors: dict[str, int] = {}
    try:
        for name in (CELLS, *TABLES):
            descriptors[name] = open_regular(path / name, os.O_RDWR | os.O_CREAT | os.O_APPEND, follow=False)
    except BaseException:
        for descriptor in descriptors.values():
            os.close(descriptor)
        raise
    return descriptors


def new_folder(root: Path) -> Path:
    """``root``/<UTC time>-<suffix>, made by this call: two that start in the same second get two folders."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        while True:
            path = root / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(2)}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path
    except OSError as error:
        raise explain(error, root) from error


def check_writable(root: Path) -> None:
    """Raise a UserError if no run directory could be made below ``root``. Leaves nothing behind."""
    existing = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise UserError(f"--out: {existing} is a file; give a folder that can be written")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"--out: cannot write {existing} (permission denied); give a folder that can be written")


# ---------------------------------------------------------------------------------------------------- reading


def _read(path: Path, name: str) -> bytes:
    """One of the run directory's own files, nothing if it is missing. Raises UserError for what is no regular file."""
    try:
        return read_bounded(path / name, LARGEST[name], follow=False)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UserError(f"RUN: cannot read {quoted(path / name)} ({one_line(error).lower()})") from None


def read_run(path: Path, argument: str = "RUN") -> dict[str, Any]:
    """run.json of a run directory. Raises NoRun, OtherSchema, or another UserError if it cannot be read."""
    try:
        run = parse(read_bounded(path / RUN, LARGEST[RUN], follow=False))
        check(run, {"schema_version!": (int, str)}, "")
        version = run["schema_version"]
        if version in READS:
            check_run(run)
            run = older.run(run)
    except (FileNotFoundError, NotADirectoryError):
        raise NoRun(f"{argument}: {path} is not a run directory (it has no {RUN})") from None
    except ValueError as error:
        raise UserError(f"{argument}: {path / RUN} is damaged ({one_line(error)})") from None
    except OSError as error:
        raise UserError(f"{argument}: cannot read {path / RUN} ({one_line(error).lower()})") from None
    if version not in READS:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        advice = "update this suite" if newer else "measure it again"
        known = f"this suite reads {SCHEMA_VERSION}"
        raise OtherSchema(f"{argument}: {path} has schema_version {version!r} and {known}; {advice}", version)
    return run


def plan_of(run: Mapping[str, Any], path: Path, argument: str = "RUN") -> Plan:
    """The plan of a run. Raises UserError where run.json does not hold all of it."""
    try:
        return Plan.from_dict(run)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{argument}: {path / RUN} has no whole plan ({one_line(error)}); start a new run") from None


def read_committed(path: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The committed lines of cells.jsonl, the last of each cell (what a kill left behind is not among them), and by
    name the texts of samples.csv and curves.csv: header and the rows of committed cells only.
    """
    cells, ends = _committed(path)
    texts = {}
    for name, columns in TABLES.items():
        data = _read(path, name)
        text = data[: ends[name]].decode("utf-8", errors="replace")
        texts[name] = older.table(text) or as_csv([columns]).decode()
    return _latest(cells), texts


def read_cells(path: Path) -> list[dict[str, Any]]:
    """The committed lines of cells.jsonl, as :func:`read_committed` has them; UserError if they cannot be read."""
    return _latest(_committed(path)[0])


def _latest(cells: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    latest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell in map(older.cell, cells):
        identity = tuple(cell.get(name) for name in CELL_COLUMNS)
        latest.pop(identity, None)
        latest[identity] = cell
    return list(latest.values())


def _committed(path: Path) -> tuple[list[dict[str, Any]], dict[str, int | None]]:
    """The committed cells, and where they end in each file; None where the lines do not say (of a baseline)."""
    sizes = {name: (path / name).stat().st_size if (path / name).exists() else 0 for name in TABLES}
    cells: list[dict[str, Any]] = []
    ends: dict[str, int | None] = {name: len(as_csv([columns])) for name, columns in TABLES.items()}
    ends[CELLS] = 0
    position, lines = 0, _read(path, CELLS).splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        cell = _parse(line, f"{path / CELLS}, line {number}")
        if cell is None:
            # A kill leaves half a line at the end, and nothing after it.
            if any(_parse(later, f"{path / CELLS}, a line after {number}") for later in lines[number:]):
                raise UserError(f"RUN: {path / CELLS}, line {number} is damaged; remove it and all after it")
            break
        rows = cell.get("rows") or {}
        if any(rows[name][1] > sizes[name] for name in rows):
            break
        position += len(line)
        cells.append(cell)
        ends[CELLS] = position
        for name in TABLES:
            ends[name] = rows[name][1] if name in rows else None
    return cells, ends


def _parse(line: bytes, where: str) -> dict[str, Any] | None:
    """A whole line of cells.jsonl; None for what a kill or a full disk left. UserError for one that no run wrote."""
    if not line.endswith(b"\n"):
        return None
    try:
        cell = parse(line)
    except ValueError:
        return None
    if not isinstance(cell, dict) or "status" not in cell:
        return None
    try:
        check_record(cell)
        if any(name not in TABLES or len(span) != 2 for name, span in (cell.get("rows") or {}).items()):
            raise ValueError("its rows are in no table")
    except ValueError as error:
        raise UserError(f"RUN: {where} is damaged ({one_line(error)})") from None
    return cell


def list_runs(root: Path) -> list[dict[str, Any]]:
    """Every run below ``root`` that this suite reads, oldest first: path, id, run, planned, cells."""
    runs: list[dict[str, Any]] = []
    for folder in root.iterdir() if root.is_dir() else ():
        with contextlib.suppress(UserError):
            run, cells = read_run(folder), read_cells(folder)
            planned = len(run.get("cells") or cells)
            runs.append({"path": folder, "id": folder.name, "run": run, "planned": planned, "cells": cells})
    return sorted(runs, key=lambda one: (one["run"].get("merged") or one["run"].get("created") or "", one["id"]))


def find_run(text: str, root: Path, argument: str = "RUN") -> Path:
    """The run directory that a user means: a path, a run id below ``root``, or "latest"."""
    if text == "latest":
        runs = list_runs(root)
        if not runs:
            raise UserError(f"{argument}: there is no run below {root}; make one with python -m bench run")
        return runs[-1]["path"]
    for path in (Path(text), root / text):
        if path.is_dir():
            return path
    known = [run["id"] for run in list_runs(root)]
    near = nearest(text, [*known, "latest"])
    newest = f"the newest are: {', '.join(known[-3:])}" if known else f"there is none below {root}"
    raise UserError(f"{argument}: no run {text!r}; {near}{newest}")
