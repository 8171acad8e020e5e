"""Revisions of a git repository as folders in which they can be measured, and what their commit messages declare."""

from __future__ import annotations

import ast
import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nst_gluon.system import children, files
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import printable

WORKER = Path("bench") / "run" / "worker.py"
PREFIX = f"{files.PREFIX}compare-"
# Where hooks are, and the encoding of messages, are the repository's to say; here neither may matter.
GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "i18n.logOutputEncoding=UTF-8")
TRAILER = re.compile(
    r"^Accept-Slower:[ \t]*(?P<metric>\w+)(?:[ \t]+(?P<cell>[^:\n]+?))?[ \t]*:[ \t]*(?P<reason>.*)$", re.MULTILINE
)


@dataclass(frozen=True)
class Checkout:
    """A folder that holds a revision. ``revision`` is None for a working tree as it is.

    ``origin`` is the repository: what the plan names in it is taken from ``folder``. A ``guest`` holds methods and not
    the suite: the installed suite measures it.
    """

    label: str
    folder: Path
    revision: str | None
    origin: Path | None = None
    guest: bool = False


@dataclass(frozen=True)
class Accepted:
    """A slow-down that a commit declares as wanted, by the trailer ``Accept-Slower: METRIC [CELL]: REASON``.

    ``cell`` holds words that the cell's name must contain; empty: every cell. Without a ``reason`` it does not count.
    """

    metric: str
    cell: str
    reason: str
    commit: str

    def covers(self, cell: str, metric: str) -> bool:
        return bool(self.reason) and metric == self.metric and set(self.cell.split()) <= set(cell.split())


def git(folder: Path, *arguments: str) -> str:
    """What git prints, stripped. Raises a UserError with git's reason if it fails, or if there is no git."""
    try:
        done = children.run([*GIT, "-C", str(folder), *arguments], stderr=subprocess.PIPE, errors="surrogateescape")
    except OSError as error:
        raise NoGit(f"git cannot be started ({error.strerror or error}); comparing revisions needs git") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise UserError(f"git {arguments[0]}: {next((line for line in lines if line.startswith('fatal:')), lines[-1])}")
    return done.stdout.strip()


class NoGit(UserError):
    """There is no git on this machine."""


def resolve(text: str, repository: Path) -> str | None:
    """The full hash of a revision, or None if ``text`` names none in ``repository``. Raises NoGit."""
    if text.startswith("-") or "\0" in text:
        return None
    return _parsed(repository, "--verify", "--quiet", f"{text}^{{commit}}")


def top(folder: Path) -> Path | None:
    """The repository that ``folder`` lies in; None if it is in none, or there is no git."""
    with contextlib.suppress(NoGit):
        found = _parsed(folder, "--show-toplevel")
        return Path(found) if found else None
    return None


def _parsed(folder: Path, *arguments: str) -> str | None:
    try:
        return git(folder, "rev-parse", *arguments)
    except UserError as error:
        if isinstance(error, NoGit) or "dubious ownership" in str(error):  # somebody else's folder, as in a container
            raise
        return None


def is_checkout(folder: Path) -> bool:
    """Whether the suite lies in ``folder``."""
    return (folder / WORKER).is_file() and (folder / "nst_gluon").is_dir()


def protocol(folder: Path) -> int | None:
    """The protocol that a checkout's worker speaks; None if it does not say."""
    return _said(folder, "PROTOCOL")


def takes_turns(folder: Path) -> bool:
    """Whether a checkout's worker can take turns with another."""
    return bool(_said(folder, "TAKES_TURNS"))


def _said(folder: Path, name: str) -> int | None:
    """A constant of a checkout's worker, read without running it; None if there is none of that name."""
    try:
        tree = ast.parse((folder / WORKER).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and any(getattr(t, "id", "") == name for t in statement.targets):
            value = getattr(statement.value, "value", None)
            return value if isinstance(value, int) else None
    return None


@contextlib.contextmanager
def worktrees(wanted: Sequence[tuple[str, str]], repository: Path) -> Iterator[list[Path]]:
    """Folders beside each other that hold revisions, gone afterwards. What a killed comparison left goes first.

    Args:
        wanted: (name of the folder, revision) each.
    """
    if not wanted:
        yield []
        return
    sweep(repository)
    with files.locked_folder(tempfile.gettempdir(), PREFIX) as root:
        made = [root.resolve() / name for name, _ in wanted]
        try:
            for path, (_, revision) in zip(made, wanted):
                git(repository, "worktree", "add", "--quiet", "--force", "--detach", str(path), revision)
            yield made
        finally:
            for path in made:
                _remove(repository, path)


def sweep(repository: Path) -> None:
    """Remove the folders and worktrees of comparisons that were killed before they could."""
    files.sweep(tempfile.gettempdir())
    with contextlib.suppress(UserError):
        for line in git(repository, "worktree", "list", "--porcelain").splitlines():
            path = Path(line.partition(" ")[2])
            if line.startswith("worktree ") and path.parent.name.startswith(PREFIX) and not path.exists():
                _remove(repository, path)


def _remove(repository: Path, worktree: Path) -> None:
    with contextlib.suppress(UserError):
        git(repository, "worktree", "remove", "--force", "--force", str(worktree))


def accepted(repository: Path, baseline: str, candidate: str) -> list[Accepted]:
    """What the commits after ``baseline`` up to ``candidate`` declare; also what lacks a reason."""
    log = git(repository, "log", "-z", "--format=%H%n%B", f"{baseline}..{candidate}")
    found = []
    for entry in filter(None, (part.strip() for part in log.split("\0"))):
        commit, _, message = entry.partition("\n")
        found += [
            Accepted(match["metric"], match["cell"] or "", printable(match["reason"]), commit)
            for match in TRAILER.finditer(message)
        ]
    return found
