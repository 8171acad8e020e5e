"""Revisions of the suite as folders in which they can be measured, and what their commit messages declare."""

from __future__ import annotations

import ast
import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nst_gluon.system.errors import UserError

# Where a checkout's worker is; the second is that of versions up to 0.1.
WORKERS = (Path("bench") / "run" / "worker.py", Path("bench") / "worker.py")
TRAILER = re.compile(r"^Accept-Slower:\s*(?P<metric>\w+)(?:\s+(?P<cell>[^:]+?))?\s*:\s*(?P<reason>\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Checkout:
    """A folder that holds the suite. ``revision`` is None for a working tree as it is."""

    label: str
    folder: Path
    revision: str | None


@dataclass(frozen=True)
class Accepted:
    """A slow-down that a commit declares as wanted, by the trailer ``Accept-Slower: METRIC [CELL]: REASON``.

    ``cell`` holds words that the cell's name must contain; empty: every cell.
    """

    metric: str
    cell: str
    reason: str
    commit: str

    def covers(self, cell: str, metric: str) -> bool:
        return metric == self.metric and set(self.cell.split()) <= set(cell.split())


def git(folder: Path, *arguments: str) -> str:
    """What git prints, stripped; raises a UserError with git's last line if it fails."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"git: {error.strerror or error}; comparing revisions needs git") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"git {arguments[0]}: {last}")
    return done.stdout.strip()


def resolve(text: str, repository: Path) -> str | None:
    """The full hash of a revision, or None if ``text`` names none in ``repository``."""
    if text.startswith("-"):
        return None
    with contextlib.suppress(UserError):
        return git(repository, "rev-parse", "--verify", "--quiet", f"{text}^{{commit}}")
    return None


def is_checkout(folder: Path) -> bool:
    """Whether the suite lies in ``folder``."""
    return worker_of(folder) is not None and (folder / "nst_gluon").is_dir()


def worker_of(folder: Path) -> Path | None:
    """The worker's file in a checkout of the suite; None if there is none."""
    return next((folder / worker for worker in WORKERS if (folder / worker).is_file()), None)


def protocol(folder: Path) -> int | None:
    """The protocol that a checkout's worker speaks, read without running it; None if it does not say."""
    try:
        tree = ast.parse(worker_of(folder).read_text(encoding="utf-8"))
    except (AttributeError, OSError, SyntaxError, ValueError):
        return None
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and any(getattr(t, "id", "") == "PROTOCOL" for t in statement.targets):
            value = getattr(statement.value, "value", None)
            return value if isinstance(value, int) else None
    return None


@contextlib.contextmanager
def worktrees(wanted: list[tuple[str, str]], repository: Path) -> Iterator[list[Path]]:
    """Folders beside each other that hold revisions, gone afterwards.

    Args:
        wanted: (name of the folder, revision) each.
    """
    root = Path(tempfile.mkdtemp(prefix="bench-compare-"))
    try:
        git(repository, "worktree", "prune")
        for name, revision in wanted:
            git(repository, "worktree", "add", "--quiet", "--detach", str(root / name), revision)
        yield [root / name for name, _ in wanted]
    finally:
        shutil.rmtree(root, ignore_errors=True)
        with contextlib.suppress(UserError):
            git(repository, "worktree", "prune")


def accepted(repository: Path, baseline: str, candidate: str) -> list[Accepted]:
    """What the commits after ``baseline`` up to ``candidate`` declare."""
    log = git(repository, "log", "--format=%H%x00%B%x01", f"{baseline}..{candidate}")
    found = []
    for entry in filter(None, (part.strip() for part in log.split("\x01"))):
        commit, _, message = entry.partition("\x00")
        for match in TRAILER.finditer(message):
            found.append(Accepted(match["metric"], match["cell"] or "", match["reason"].strip(), commit))
    return found
