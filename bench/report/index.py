"""The list of all runs of a folder as a page: index.html, with the result of each run in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.analysis import analysed, metrics
from bench.plan.cells import parts_of
from bench.report import headline, machines, run_facts
from bench.report.page import render
from bench.store import run_folder
from bench.store.reader import RunData, read_run, read_summary
from nst_gluon.pages.wording import clean, listing, task_name
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import write_atomically

NAME = "index.html"
GENERATOR = "nst-gluon: list of runs"
TITLE = "Runs of the style transfer benchmark"
STATES = {"running": "unfinished", "complete": "complete", "partial": "partial", "interrupted": "interrupted"}


@dataclass(frozen=True)
class Line:
    """What the list says of one run. ``link`` is empty where the run has no report; ``nets`` are its nets, with what
    makes each another one: architecture and identity.
    """

    name: str
    link: str
    when: str
    machine: str
    revision: str
    what: str
    nets: tuple[str, ...]
    status: str
    fine: bool
    headline: str


def write(folder: Path) -> Path:
    """Write index.html into the folder of runs; its path.

    Raises UserError if it cannot be written, or if there is an index.html that this suite did not make.
    """
    target = folder / NAME
    if target.exists() and f'content="{GENERATOR}"' not in _head(target):
        raise UserError(f"--out: {target} was not made by this suite; move it away, or give another folder")
    found = lines(folder)
    page = render(
        "index.html.j2",
        title=TITLE,
        generator=GENERATOR,
        lines=found,
        summary=_count(found),
        history="history/index.html" if (folder / "history" / NAME).is_file() else "",
    )
    return write_atomically(target, page)


def lines(folder: Path) -> list[Line]:
    """Every run below ``folder``, the newest first. One that cannot be read has a line too: it is there, after all."""
    found = []
    for path in folder.iterdir():
        try:
            found.append((str(run_folder.read_run(path).get("created") or ""), path.name, _line(path)))
        except run_folder.NoRun:
            continue
        except (UserError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            found.append(("", path.name, _unreadable(path, error)))
    return [line for _, _, line in sorted(found, key=lambda item: item[:2], reverse=True)]


def _line(path: Path) -> Line:
    run = read_run(path)
    meta = run.meta
    state = str(meta.get("status") or "complete")
    whole = 0 if state == "complete" else machines.planned(meta)
    planned = max(len(meta.get("cells") or run.records), len(run.records), whole)
    fine = sum(cell.get("status") == "ok" for cell in run.records)
    return Line(
        name=clean(path.name, 80),
        link=f"{quote(path.name)}/report.html" if (path / "report.html").is_file() else "",
        when=run_facts.when(meta),
        machine=machines.machine(meta),
        revision=machines.revision(meta),
        what=_what(run),
        nets=tuple(_nets(run)),
        status=f"{STATES.get(state, clean(state, 40))}, {fine} of {planned} cells ok",
        fine=state == "complete" and fine == planned,
        headline=_headline(run),
    )


def _unreadable(path: Path, error: Exception) -> Line:
    said = str(error).split(": ", 1)[-1] if isinstance(error, UserError) else "its files are damaged"
    return Line(clean(path.name, 80), "", "", "", "", "", (), "unreadable", False, clean(said))


def _what(run: RunData) -> str:
    """The methods, tasks, sizes and styles of a run."""
    planned = [cell for cell in run.meta.get("cells") or run.records if isinstance(cell, Mapping)]
    titles = {name: facts.title for name, facts in run.methods.items()}
    methods = listing(sorted({clean(titles.get(str(cell.get("method")), "?"), 60) for cell in planned}))
    tasks = listing(sorted({task_name(str(cell.get("task"))) for cell in planned}))
    sizes = listing([str(size) for size in sorted({int(cell.get("size") or 0) for cell in planned})])
    others = map(run_facts.stem, run_facts.setting(run.meta, "other_styles") or ())
    styles = [run_facts.named(run.meta, "style"), *others]
    return f"{methods}: {tasks} at {sizes}, style{'s' if styles[1:] else ''} {listing(styles)}" if planned else ""


def _nets(run: RunData) -> Iterator[str]:
    """Each net of a run: its file, its parameters, what its architecture was given, the first letters of its hash."""
    for use, net in sorted((run_facts.get(run.meta, "inputs", "nets") or {}).items()):
        style, method, task = parts_of(use)
        rows = run.samples[run.samples["metric"] == "parameters"]
        own = (rows["method"] == method) & (rows["task"] == task) & (rows["style_name"] == style)
        counted = rows[own]["value"]
        shape = run_facts.get(net, "meta", "architecture")
        parts = [f"{counted.iloc[0]:,.0f} parameters"] if len(counted) else []
        parts += [f"{clean(name, 20)} {clean(value, 20)}" for name, value in shape.items()] if shape else []
        parts += [clean(run_facts.get(net, "sha256") or "", 64)[:8]]
        yield f"{clean(run_facts.get(net, 'file') or use, 60)}: {', '.join(filter(None, parts))}"


def _headline(run: RunData) -> str:
    """The result in one sentence, from the summary that the run's report left; empty without one."""
    table = read_summary(run.directory)
    if table is None:
        return ""
    known = table[table["metric"].map(lambda name: metrics.split(name)[0] in metrics.METRICS)]
    return headline.of_run(analysed.summarised(run, known))


def _head(path: Path) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read(2000)


def _count(found: list[Line]) -> str:
    if not found:
        return "No runs yet; make one with python -m bench run."
    troubled = sum(not line.fine for line in found)
    tail = f", {troubled} of them incomplete or with cells that failed" if troubled else ""
    return f"{len(found)} run{'' if len(found) == 1 else 's'}{tail}."
