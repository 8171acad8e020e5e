"""Which pictures and videos ``stylize`` works on, and where each result goes: files, folders, patterns.

All of it is settled before anything is computed. Imports no engine.
"""

from __future__ import annotations

import contextlib
import difflib
import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nst_gluon import assets
from nst_gluon.api import inputs
from nst_gluon.cli import options
from nst_gluon.pictures import images, video
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import PathLike, is_there, quoted

PICTURE = "PICTURE"
KNOWN = images.SUFFIXES | video.SUFFIXES
REFUSE, REPLACE, SKIP = "refuse", "replace", "skip"  # what to do about a result that exists


@dataclass(frozen=True)
class Job:
    """One picture or video, and the file that it becomes."""

    source: Path
    output: Path
    is_video: bool


def find(names: Sequence[str], results: Path | None = None) -> tuple[list[Path], bool]:
    """The files that ``names`` stand for, each once, in order; and whether they may be several.

    A name is that of a bundled photo or a file, a folder (its pictures and videos, hidden ones left out), or a pattern
    with ``*``, ``?``, ``[...]`` or ``**``, which does not find what lies in the folder ``results``: a command that was
    interrupted has put it there.

    Raises:
        UserError: a name stands for nothing.
    """
    found: dict[Path, Path] = {}
    several = len(names) > 1
    for name in names:
        if not name:
            raise UserError(f"{PICTURE}: the name is empty; give a file, a folder or a pattern")
        path = Path(name)
        if name not in assets.STYLES + assets.CONTENTS and _is_folder(path):
            several = True
            with inputs.naming(PICTURE):
                files = images.list_folder(path, KNOWN)
        elif glob.has_magic(name) and not os.path.lexists(name):
            several = True
            files = [file for file in map(Path, sorted(glob.glob(name, recursive=True))) if _fits(file)]
            if "**" in name and results is not None:
                files = [file for file in files if file.resolve().parent != results.resolve()]
            if not files:
                raise UserError(f"{PICTURE}: no picture or video matches {name!r}; give a file, a folder or a pattern")
        else:
            files = [_file(name)]
        found.update((file.resolve(), file) for file in files)
    return list(found.values()), several


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long for the system, or with a NUL in it
        return False


def _fits(file: Path) -> bool:
    return file.suffix.lower() in KNOWN and file.is_file()


def _file(name: str) -> Path:
    """A bundled photo or a file; UserError with the nearest name of the same folder."""
    try:
        return inputs.content_path(name, PICTURE)
    except UserError:
        if is_there(name):
            raise
        folder, last = os.path.split(name)
        neighbours: list[str] = []
        with contextlib.suppress(OSError, ValueError):
            neighbours = [other for other in os.listdir(folder or ".") if Path(other).suffix.lower() in KNOWN]
        near = difflib.get_close_matches(last, neighbours, n=1)
        if near and not difflib.get_close_matches(name, assets.CONTENTS, n=1):
            there = os.path.join(folder, near[0])
            raise UserError(f"{PICTURE}: there is no file {quoted(name)}; did you mean {quoted(there)}?") from None
        raise


def jobs(
    names: Sequence[str], output: PathLike | None, existing: str, parts: Sequence[str], mark: str = ""
) -> tuple[list[Job], int]:
    """What to make of what, and how many results exist already and are skipped.

    Without ``output`` a result is NAME-PARTS in the current folder; one source goes to the file ``output``, unless that
    is a folder, has no suffix or ends in a slash. Otherwise, and of several sources, results go to the folder
    ``output``, which is made if missing, under their own names.

    Args:
        existing: REFUSE, REPLACE or SKIP: what to do about a result that exists.
        parts: what names the results, such as style and method; ``mark`` ends every name that the user did not give.

    Raises:
        UserError: a source is not there, or a result cannot be written, would be written twice, would replace a source
            or, with REFUSE, a file that is there.
    """
    slash = output is not None and os.fspath(output).endswith("/")
    output = None if output is None else Path(output)
    sources, several = find(names, output)
    into_folder = output is not None and (several or slash or not output.suffix or _is_folder(output))
    if into_folder:
        if not slash and output.suffix.lower() in KNOWN and not output.exists():
            raise UserError(
                f"--output: {quoted(output)} is the name of one file, and there may be several; name a folder"
            )
        options.check_folder(output)
    made, seen, skipped = [], {}, 0
    for source in sources:
        wanted = output.suffix.lower() if output is not None and not into_folder else ""
        is_video = source.suffix.lower() in video.SUFFIXES or wanted in video.SAVE_FORMATS
        formats = video.SAVE_FORMATS if is_video else tuple(images.SAVE_FORMATS)
        if into_folder:
            suffix = source.suffix if source.suffix.lower() in formats else formats[0]
            target = output / f"{source.stem}{mark}{suffix}"
        else:
            target = output or Path("-".join([source.stem, *parts]) + mark + formats[0])
        if target in seen:
            raise UserError(
                f"--output: {quoted(target)} would be written twice, for {quoted(seen[target])} and {quoted(source)}; "
                "rename one, or use separate commands"
            )
        seen[target] = source
        if existing == SKIP and target.is_file() and not any(target.samefile(other) for other in sources):
            skipped += 1
            continue
        _check_target(target, sources, formats, existing == REPLACE, into_folder)
        made.append(Job(source, target, is_video))
    return made, skipped


def _check_target(
    target: Path, sources: Sequence[Path], formats: Sequence[str], force: bool, into_folder: bool
) -> None:
    if target.exists() and any(target.samefile(source) for source in sources if source.exists()):
        raise UserError(f"--output: {quoted(target)} is one of the pictures to stylise; name another folder or file")
    if not into_folder:
        options.check_output(target, force, formats)
    elif target.is_dir():
        raise UserError(f"--output: {quoted(target)} is a folder, and a file of that name is to be written")
    elif target.exists() and not force:
        raise UserError(
            f"--output: {quoted(target)} exists; name another folder, or use --skip-existing or --force (overwrites)"
        )
